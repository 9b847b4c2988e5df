//! The SQL that a plugin runs in its own schema.

use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use sqlx::postgres::{PgArguments, PgQueryResult, PgRow};
use sqlx::{Arguments as _, AssertSqlSafe, Column as _, Connection as _, PgConnection, Row as _};
use tracing::Instrument as _;

use super::sessions::{Lease, PluginLogin, PluginSessions};
use super::values::{self, Parameter};
use super::{DatabaseError, error};
use crate::plugin::{SqlDatabase, SqlError, SqlRows, SqlStatement};
use crate::trace;

/// Most rows of one result.
pub(crate) const MAX_ROWS: usize = 10_000;
/// Most bytes of one result.
pub(crate) const MAX_RESULT_BYTES: usize = 8 * 1024 * 1024;
/// What a value costs beside its own bytes.
const VALUE_OVERHEAD: usize = 32;
/// The database ends a statement at its deadline and says so; only when it does not answer at all
/// is this much added.
const GRACE: Duration = Duration::from_millis(500);

/// The schema of one plugin.
pub(crate) struct PluginSql {
    sessions: PluginSessions,
    login: PluginLogin,
    deadline: Duration,
}

impl PluginSql {
    /// `deadline` is that of one statement; the sessions of `login` begin with it as `statement_timeout`.
    pub(crate) fn new(sessions: PluginSessions, login: PluginLogin, deadline: Duration) -> Self {
        Self { sessions, login, deadline }
    }

    async fn lease(&self) -> Result<Lease, SqlError> {
        // Whatever is wrong with the login, it is not the statement.
        self.sessions.acquire(&self.login, self.deadline).await.map_err(|error| SqlError::Unavailable(error.to_string()))
    }

    async fn within_deadline<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.deadline + GRACE, work).await {
            Ok(result) => result,
            Err(_) => Err(Failure::InTheMiddle(SqlError::Unavailable(format!(
                "the database did not answer within {} ms",
                (self.deadline + GRACE).as_millis()
            )))),
        }
    }
}

/// Where a failure leaves the connection.
pub(super) enum Failure {
    /// The statement is over.
    AtRest(SqlError),
    /// The statement may still be running, or its result be on its way.
    InTheMiddle(SqlError),
}

#[async_trait]
impl SqlDatabase for PluginSql {
    async fn query(&self, statement: SqlStatement) -> Result<SqlRows, SqlError> {
        let work = async {
            let mut lease = self.lease().await?;
            let result = self.within_deadline(query(lease.connection()?, statement)).await;
            finish(lease, result)
        };
        work.instrument(trace::database("plugins")).await
    }

    async fn execute(&self, statement: SqlStatement) -> Result<u64, SqlError> {
        let work = async {
            let mut lease = self.lease().await?;
            let result = self.within_deadline(execute(lease.connection()?, statement)).await;
            finish(lease, result)
        };
        work.instrument(trace::database("plugins")).await
    }

    async fn transact(&self, statements: Vec<SqlStatement>) -> Result<Vec<u64>, SqlError> {
        let work = async {
            let mut lease = self.lease().await?;
            let result = self.within_deadline(transact(lease.connection()?, statements)).await;
            finish(lease, result)
        };
        work.instrument(trace::database("plugins")).await
    }
}

fn finish<T>(lease: Lease, result: Result<T, Failure>) -> Result<T, SqlError> {
    match result {
        Ok(value) => {
            lease.give_back();
            Ok(value)
        }
        Err(Failure::AtRest(error)) => {
            lease.give_back();
            Err(error)
        }
        Err(Failure::InTheMiddle(error)) => {
            let error = if lease.was_cut() { too_large() } else { error };
            drop(lease);
            Err(error)
        }
    }
}

async fn query(connection: &mut PgConnection, statement: SqlStatement) -> Result<SqlRows, Failure> {
    let query = prepare(statement)?;
    let mut rows = query.fetch(connection);
    let mut result = SqlRows::default();
    let mut size = 0;
    while let Some(row) = rows.try_next().await.map_err(failure)? {
        if result.rows.is_empty() {
            result.columns = row.columns().iter().map(|column| column.name().to_owned()).collect();
        }
        let (values, bytes) = decode(&row).map_err(Failure::InTheMiddle)?;
        size += bytes;
        if result.rows.len() == MAX_ROWS || size > MAX_RESULT_BYTES {
            return Err(Failure::InTheMiddle(too_large()));
        }
        result.rows.push(values);
    }
    Ok(result)
}

pub(super) async fn execute(connection: &mut PgConnection, statement: SqlStatement) -> Result<u64, Failure> {
    prepare(statement)?.execute(connection).await.map(|result: PgQueryResult| result.rows_affected()).map_err(failure)
}

async fn transact(connection: &mut PgConnection, statements: Vec<SqlStatement>) -> Result<Vec<u64>, Failure> {
    let mut transaction = connection.begin().await.map_err(failure)?;
    let mut touched = Vec::with_capacity(statements.len());
    for statement in statements {
        touched.push(execute(&mut transaction, statement).await?);
    }
    transaction.commit().await.map_err(failure)?;
    Ok(touched)
}

fn prepare(statement: SqlStatement) -> Result<sqlx::query::Query<'static, sqlx::Postgres, PgArguments>, Failure> {
    let mut arguments = PgArguments::default();
    for value in statement.parameters {
        let parameter = Parameter::new(value).map_err(Failure::AtRest)?;
        arguments.add(parameter).map_err(|error| {
            Failure::AtRest(SqlError::Database { code: "22023".into(), message: format!("parameter: {error}"), constraint: None })
        })?;
    }
    // The plugin's own text, for its own role: there is nobody else's data within its reach. With
    // arguments, even none, the extended protocol is used, which takes one statement only. The
    // statement is prepared under a name, because the driver's look-ups of a plugin's own types
    // would replace one without; the name goes when the session is reset.
    Ok(sqlx::query_with(AssertSqlSafe(statement.text), arguments))
}

fn decode(row: &PgRow) -> Result<(Vec<crate::plugin::SqlValue>, usize), SqlError> {
    let mut values = Vec::with_capacity(row.len());
    let mut size = 0;
    for (index, column) in row.columns().iter().enumerate() {
        let raw = row.try_get_raw(index).map_err(|error| SqlError::UnsupportedType(error.to_string()))?;
        let (value, bytes) = values::decode(column.name(), raw)?;
        size += bytes + VALUE_OVERHEAD;
        values.push(value);
    }
    Ok((values, size))
}

pub(super) fn too_large() -> SqlError {
    let mebibytes = MAX_RESULT_BYTES / 1024 / 1024;
    SqlError::TooLarge(format!("the result has more than {MAX_ROWS} rows or {mebibytes} MiB: add a LIMIT, or select less of large values"))
}

pub(super) fn failure(error: sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().map(|code| code.into_owned()).unwrap_or_default();
            let message = error.message().to_owned();
            Failure::AtRest(match code.as_str() {
                "57014" => SqlError::Timeout("the statement ran into the plugin's deadline".into()),
                code if error::means_unavailable(code) => SqlError::Unavailable(message),
                _ => SqlError::Database { code, message, constraint: error.constraint().map(str::to_owned) },
            })
        }
        other => Failure::InTheMiddle(SqlError::from(DatabaseError::from(other))),
    }
}

impl From<DatabaseError> for SqlError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Refused { code, message } => Self::Database { code, message, constraint: None },
            other => Self::Unavailable(other.to_string()),
        }
    }
}
