//! Why a secret is not kept or read.

use checkstack_calls::error::{CallError, ErrorCode};
use checkstack_platform::DatabaseError;
use checkstack_platform::encryption::EncryptionKeysError;
use checkstack_platform::native::ConfigurationError;
use checkstack_platform::secrets::SecretError;
use checkstack_settings::keyring::EncryptionError;
use checkstack_settings::reference::SecretName;

use crate::seal::OpenError;

/// See the module. Has nothing of a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeeperError {
    /// The request is wrong.
    #[error("{0}")]
    Invalid(String),
    /// It contradicts what there is.
    #[error("{0}")]
    Conflict(String),
    /// See there.
    #[error(transparent)]
    Keys(#[from] EncryptionKeysError),
    /// See there.
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    /// What is stored does not open.
    #[error("the secret `{name}` cannot be read: {problem}")]
    Unreadable {
        /// Which one.
        name: SecretName,
        /// Why.
        problem: OpenError,
    },
    /// See there.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The directory of a mounted Secret cannot be read.
    #[error("the mounted Secrets cannot be read: {0}")]
    Mounted(std::io::Error),
}

impl From<sqlx::Error> for KeeperError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<ConfigurationError> for KeeperError {
    fn from(error: ConfigurationError) -> Self {
        match error {
            ConfigurationError::Database(problem) => Self::Database(problem),
            ConfigurationError::Keys(problem) => Self::Keys(problem),
            other => Self::Conflict(other.to_string()),
        }
    }
}

impl KeeperError {
    /// For who needs the secrets of these names.
    pub(crate) fn for_reader(self, first: Option<&SecretName>) -> SecretError {
        match (self, first) {
            (Self::Unreadable { name, problem }, _) => SecretError::Unreadable { name, problem: problem.to_string() },
            (Self::Keys(problem), Some(name)) => SecretError::Unreadable { name: name.clone(), problem: problem.to_string() },
            (other, _) => SecretError::Unavailable(other.to_string()),
        }
    }
}

impl From<KeeperError> for CallError {
    fn from(error: KeeperError) -> Self {
        match error {
            KeeperError::Invalid(problem) => Self::with_message(ErrorCode::BadRequest, problem),
            KeeperError::Conflict(problem) => Self::with_message(ErrorCode::Conflict, problem),
            KeeperError::Keys(problem) => {
                tracing::warn!(%problem, "secrets cannot be encrypted");
                Self::with_message(ErrorCode::ServiceUnavailable, problem.to_string())
            }
            KeeperError::Database(problem) if problem.is_transient() => {
                tracing::warn!(%problem, "the database cannot be asked about secrets");
                Self::with_message(ErrorCode::ServiceUnavailable, "the database does not answer")
            }
            problem => {
                tracing::error!(%problem, "secrets cannot be kept");
                Self::internal()
            }
        }
    }
}
