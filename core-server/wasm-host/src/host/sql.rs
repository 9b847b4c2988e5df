//! `sql`: the plugin's own schema.

use std::sync::Arc;

use checkstack_platform::plugin::{SqlDatabase, SqlError, SqlRows, SqlStatement, SqlValue};

use super::HostState;
use crate::bindings::checkstack::plugin::sql::{DatabaseError, Error, Host, Rows, Statement, Value};

impl From<SqlError> for Error {
    fn from(error: SqlError) -> Self {
        match error {
            SqlError::Database { code, message, constraint } => Self::Database(DatabaseError { code, message, constraint }),
            SqlError::UnsupportedType(message) => Self::UnsupportedType(message),
            SqlError::TooLarge(message) => Self::TooLarge(message),
            SqlError::Timeout(message) => Self::Timeout(message),
            SqlError::Unavailable(message) => Self::Unavailable(message),
        }
    }
}

impl From<Statement> for SqlStatement {
    fn from(statement: Statement) -> Self {
        Self { text: statement.text, parameters: statement.parameters.into_iter().map(SqlValue::from).collect() }
    }
}

impl From<Value> for SqlValue {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Boolean(value) => Self::Boolean(value),
            Value::Integer(value) => Self::Integer(value),
            Value::Float(value) => Self::Float(value),
            Value::Text(value) => Self::Text(value),
            Value::Bytes(value) => Self::Bytes(value),
            Value::Timestamp(value) => Self::Timestamp(value),
            Value::Json(value) => Self::Json(value),
            Value::Uuid(value) => Self::Uuid(value),
            Value::Numeric(value) => Self::Numeric(value),
        }
    }
}

impl From<SqlValue> for Value {
    fn from(value: SqlValue) -> Self {
        match value {
            SqlValue::Null => Self::Null,
            SqlValue::Boolean(value) => Self::Boolean(value),
            SqlValue::Integer(value) => Self::Integer(value),
            SqlValue::Float(value) => Self::Float(value),
            SqlValue::Text(value) => Self::Text(value),
            SqlValue::Bytes(value) => Self::Bytes(value),
            SqlValue::Timestamp(value) => Self::Timestamp(value),
            SqlValue::Json(value) => Self::Json(value),
            SqlValue::Uuid(value) => Self::Uuid(value),
            SqlValue::Numeric(value) => Self::Numeric(value),
        }
    }
}

impl From<SqlRows> for Rows {
    fn from(rows: SqlRows) -> Self {
        let row = |row: Vec<SqlValue>| row.into_iter().map(Value::from).collect();
        Self { columns: rows.columns, rows: rows.rows.into_iter().map(row).collect() }
    }
}

impl HostState {
    fn sql(&self) -> Result<Arc<dyn SqlDatabase>, Error> {
        self.database(self.plugin.services.sql.as_ref()).map_err(Error::Denied)
    }
}

impl Host for HostState {
    async fn query(&mut self, statement: Statement) -> Result<Rows, Error> {
        Ok(self.sql()?.query(statement.into()).await?.into())
    }

    async fn execute(&mut self, statement: Statement) -> Result<u64, Error> {
        Ok(self.sql()?.execute(statement.into()).await?)
    }

    async fn transact(&mut self, statements: Vec<Statement>) -> Result<Vec<u64>, Error> {
        Ok(self.sql()?.transact(statements.into_iter().map(SqlStatement::from).collect()).await?)
    }
}
