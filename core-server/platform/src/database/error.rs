//! What can go wrong between the core and PostgreSQL.

use std::time::Duration;

use super::names;

/// Why the database did not do what the core asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// No connection, or no answer. The same may work later.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    /// Connections to it are limited, and all that could be used are in use. The same may work later.
    #[error("{0}")]
    Busy(String),
    /// It answered with an error.
    #[error("the database refused: {message} (SQLSTATE {code})")]
    Refused {
        /// SQLSTATE
        code: String,
        /// As the database put it.
        message: String,
    },
    /// The URL in the settings is none.
    #[error("DATABASE_URL is not a PostgreSQL URL: {0}")]
    InvalidUrl(String),
    /// The server's release is not supported.
    #[error("the database is PostgreSQL {0}; version 14 or newer is needed")]
    TooOld(String),
    /// It belongs to another instance.
    #[error(
        "the database belongs to the instance '{owner}', and this is '{this}': give this instance a database of its own \
         (spec.database.urlSecretRef); or, if '{owner}' is gone for good and this one shall go on with its data, \
         run in that database: UPDATE checkstack.instance SET name = {}",
        names::literal(.this)
    )]
    OtherInstance {
        /// Whose it is.
        owner: String,
        /// Who wanted it.
        this: String,
    },
    /// The core's own schema is not what this release needs, and could not be made so.
    #[error("the schema of the core could not be brought up to date: {0}")]
    CoreMigration(String),
    /// The driver and the database misunderstood each other.
    #[error("unexpected answer of the database: {0}")]
    Unexpected(String),
}

impl DatabaseError {
    /// True when waiting may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Busy(_))
    }

    /// For everybody who asks this pod: one of a few fixed texts, with nothing in it that the database or
    /// an admin has written.
    pub(crate) fn summary(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "the database does not answer",
            Self::Busy(_) => "all connections to the database are in use",
            Self::Refused { .. } => "the database refused",
            Self::InvalidUrl(_) => "the URL of the database is not valid",
            Self::TooOld(_) => "the version of the database is not supported",
            Self::OtherInstance { .. } => "the database belongs to another instance",
            Self::CoreMigration(_) => "the schema of the core could not be brought up to date",
            Self::Unexpected(_) => "unexpected answer of the database",
        }
    }

    /// SQLSTATE, when the database refused.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    pub(crate) fn no_answer(deadline: Duration) -> Self {
        Self::Unavailable(format!("no answer within {} ms", deadline.as_millis()))
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => {
                let code = error.code().map(|code| code.into_owned()).unwrap_or_default();
                match means_unavailable(&code) {
                    true => Self::Unavailable(error.message().to_owned()),
                    false => Self::Refused { code, message: error.message().to_owned() },
                }
            }
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                Self::Unavailable(error.to_string())
            }
            sqlx::Error::Configuration(error) => Self::InvalidUrl(error.to_string()),
            other => Self::Unexpected(other.to_string()),
        }
    }
}

/// Whether the server says that it cannot serve at the moment.
pub(crate) fn means_unavailable(code: &str) -> bool {
    // 08: connection exception. 53: out of resources, too many connections among them. 57P01 to
    // 57P03: shutting down, crashed, starting up. 58: its disk fails it. 25006: a standby after a failover.
    code.starts_with("08") || code.starts_with("53") || code.starts_with("58") || matches!(code, "57P01" | "57P02" | "57P03" | "25006")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_pass_are_told_from_those_that_do_not() {
        for code in ["08006", "53300", "57P03", "58P01", "25006"] {
            assert!(means_unavailable(code), "{code}");
        }
        for code in ["57014", "42501", "23505", "28P01", ""] {
            assert!(!means_unavailable(code), "{code}");
        }
    }
}
