//! The plugin's own PostgreSQL schema. Its tables come from the migrations in the package.
//!
//! Needs the grant `database`.
//!
//! ```no_run
//! use checkstack_plugin::{clock, params, sql};
//!
//! # fn f() -> Result<(), sql::Error> {
//! sql::execute("INSERT INTO visits (page, at) VALUES ($1, $2)", params!["home", clock::now()])?;
//! for row in sql::query("SELECT page, count(*) AS visits FROM visits GROUP BY page", params![])? {
//!     let (page, visits): (String, i64) = (row.get("page")?, row.get("visits")?);
//! }
//! # Ok(()) }
//! ```

mod value;

use std::rc::Rc;

use crate::bindings::checkstack::plugin::sql as host;

pub use value::{FromValue, Numeric, Uuid, Value};

/// The parameters of a statement, `$1` first, each of a type that is `Into<`[`Value`]`>`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        ::std::vec![$($crate::sql::Value::from($value)),*]
    };
}

/// Why a statement did not run, or a row is not as expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The grant `database` is missing.
    #[error("{0}")]
    Denied(String),
    /// The database refused the statement.
    #[error("{message} (SQLSTATE {code})")]
    Database {
        /// The five characters of SQLSTATE.
        code: String,
        /// As the database put it.
        message: String,
        /// The constraint that was violated, where one was.
        constraint: Option<String>,
    },
    /// A column of a type that has no counterpart here: cast it.
    #[error("{0}")]
    UnsupportedType(String),
    /// More than 10,000 rows or 8 MiB: add a LIMIT, or select less of large values. A transaction is
    /// not done then; of a single statement that also writes nobody knows.
    #[error("{0}")]
    TooLarge(String),
    /// The statement ran into the plugin's deadline.
    #[error("{0}")]
    Timeout(String),
    /// The database does not answer; the same call may work later.
    #[error("{0}")]
    Unavailable(String),
    /// The rows have no such column.
    #[error("the rows have no column '{0}'")]
    NoSuchColumn(String),
    /// A column has another type than asked for.
    #[error("column '{column}' is {found}, not {expected}")]
    Type {
        /// Its name.
        column: String,
        /// What it is.
        found: &'static str,
        /// What was asked for.
        expected: &'static str,
    },
    /// There is not exactly one row.
    #[error("one row was expected, and there are {0}")]
    RowCount(usize),
}

impl Error {
    /// Whether a unique constraint was violated: the row is there already.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Database { code, .. } if code == "23505")
    }
}

/// One row of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    columns: Rc<[String]>,
    values: Vec<Value>,
}

impl Row {
    /// A row as a test makes one.
    pub fn new(columns: &[&str], values: Vec<Value>) -> Self {
        Self { columns: columns.iter().map(|column| (*column).to_owned()).collect(), values }
    }

    /// The value of a column. A column that can be NULL is an `Option`.
    pub fn get<T: FromValue>(&self, column: &str) -> Result<T, Error> {
        let position = self.columns.iter().position(|known| known == column);
        let value = position.and_then(|position| self.values.get(position)).ok_or_else(|| Error::NoSuchColumn(column.to_owned()))?;
        T::from_value(value).ok_or_else(|| Error::Type { column: column.to_owned(), found: value.kind(), expected: T::EXPECTED })
    }
}

/// The rows of one statement: 10,000 and 8 MiB at most.
pub fn query(text: &str, parameters: Vec<Value>) -> Result<Vec<Row>, Error> {
    let rows = host::query(&statement(text, parameters))?;
    let columns: Rc<[String]> = rows.columns.into();
    let row = |values: Vec<host::Value>| Row { columns: Rc::clone(&columns), values: values.into_iter().map(Value::from).collect() };
    Ok(rows.rows.into_iter().map(row).collect())
}

/// The only row of a statement.
pub fn query_one(text: &str, parameters: Vec<Value>) -> Result<Row, Error> {
    query_optional(text, parameters)?.ok_or(Error::RowCount(0))
}

/// The only row of a statement, if it has one.
pub fn query_optional(text: &str, parameters: Vec<Value>) -> Result<Option<Row>, Error> {
    let mut rows = query(text, parameters)?;
    let row = rows.pop();
    if rows.is_empty() { Ok(row) } else { Err(Error::RowCount(rows.len() + 1)) }
}

/// Runs one statement; the number of rows it touched.
pub fn execute(text: &str, parameters: Vec<Value>) -> Result<u64, Error> {
    Ok(host::execute(&statement(text, parameters))?)
}

/// Statements that all happen, or none.
#[derive(Default)]
pub struct Transaction {
    statements: Vec<host::Statement>,
}

impl Transaction {
    /// Without statements.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a statement.
    #[must_use]
    pub fn execute(mut self, text: &str, parameters: Vec<Value>) -> Self {
        self.statements.push(statement(text, parameters));
        self
    }

    /// Runs them in order; the number of rows that each touched.
    pub fn commit(self) -> Result<Vec<u64>, Error> {
        Ok(host::transact(&self.statements)?)
    }
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.statements.iter().map(|statement| &statement.text)).finish()
    }
}

pub(crate) fn statement(text: &str, parameters: Vec<Value>) -> host::Statement {
    host::Statement { text: text.to_owned(), parameters: parameters.into_iter().map(host::Value::from).collect() }
}

impl From<host::Error> for Error {
    fn from(error: host::Error) -> Self {
        match error {
            host::Error::Denied(message) => Self::Denied(message),
            host::Error::Database(error) => Self::Database { code: error.code, message: error.message, constraint: error.constraint },
            host::Error::UnsupportedType(message) => Self::UnsupportedType(message),
            host::Error::TooLarge(message) => Self::TooLarge(message),
            host::Error::Timeout(message) => Self::Timeout(message),
            host::Error::Unavailable(message) => Self::Unavailable(message),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn columns_are_read_by_name_and_type() {
        let at = Timestamp::from_unix_microseconds(7);
        let row = Row::new(&["name", "visits", "at", "note"], params!["home", 3, at, None::<String>]);
        assert_eq!(row.get::<String>("name").unwrap(), "home");
        assert_eq!(row.get::<i64>("visits").unwrap(), 3);
        assert_eq!(row.get::<u16>("visits").unwrap(), 3);
        assert_eq!(row.get::<Timestamp>("at").unwrap(), at);
        assert_eq!(row.get::<Option<String>>("note").unwrap(), None);
        assert_eq!(row.get::<Option<String>>("name").unwrap().as_deref(), Some("home"));
    }

    #[test]
    fn a_wrong_column_or_type_is_named() {
        let row = Row::new(&["visits"], params![300]);
        let message = |error: Error| error.to_string();
        assert_eq!(message(row.get::<String>("visits").unwrap_err()), "column 'visits' is an integer, not a text");
        assert_eq!(message(row.get::<u8>("visits").unwrap_err()), "column 'visits' is an integer, not an integer from 0 to 255");
        assert_eq!(message(row.get::<i64>("other").unwrap_err()), "the rows have no column 'other'");
        let null = Row::new(&["name"], params![None::<i64>]);
        assert_eq!(message(null.get::<i64>("name").unwrap_err()), "column 'name' is NULL, not an integer");
    }
}
