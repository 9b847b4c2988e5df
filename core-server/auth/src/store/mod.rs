//! The schema `plugin_auth`.

mod accounts;
mod applications;
mod attempts;
mod audit;
mod external;
mod granted;
mod purge;
mod roles;
mod service_keys;
mod sessions;
mod teams;
mod users;

use std::time::Duration;

use checkstack_calls::access::{Account, Permissions, Principal};
use checkstack_calls::error::{CallError, ErrorCode};
use checkstack_platform::DatabaseError;
use checkstack_platform::native::{Migrations, NativeDatabase};
use futures::future::BoxFuture;
use sqlx::PgConnection;

pub(crate) use applications::Application;
pub(crate) use audit::{Audit, AuditRecord};
pub(crate) use external::{AdmissionPolicy, NotAdmitted};
pub(crate) use roles::{Role, RuleInfo};
pub(crate) use service_keys::{ServiceKeyInfo, StoredServiceKey};
pub(crate) use sessions::SignedIn;
pub(crate) use teams::{Team, TeamGrant};
pub(crate) use users::User;

pub(crate) const MIGRATIONS: Migrations = Migrations {
    schema: "plugin_auth",
    steps: &[
        (1, "identity", include_str!("../../migrations/0001_identity.sql")),
        (2, "sign_in_at_providers", include_str!("../../migrations/0002_sign_in_at_providers.sql")),
        (3, "service_keys", include_str!("../../migrations/0003_service_keys.sql")),
        (4, "sliding_sessions", include_str!("../../migrations/0004_sliding_sessions.sql")),
        (5, "sign_in_attempts", include_str!("../../migrations/0005_sign_in_attempts.sql")),
    ],
};

/// For one question or change.
const DEADLINE: Duration = Duration::from_secs(5);

/// Why nothing was read or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    /// There is no such thing: what.
    #[error("{0}")]
    NotFound(String),
    /// It does not go together with what there is.
    #[error("{0}")]
    Conflict(String),
    /// Who asks for it would give or touch more than they have.
    #[error("{0}")]
    Forbidden(String),
    /// See there.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<StoreError> for CallError {
    /// For the caller. What only the log may know goes there.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(what) => Self::with_message(ErrorCode::NotFound, what),
            StoreError::Conflict(what) => Self::with_message(ErrorCode::Conflict, what),
            StoreError::Forbidden(why) => Self::with_message(ErrorCode::Forbidden, why),
            StoreError::Database(problem) if problem.is_transient() => {
                tracing::warn!(%problem, "the database cannot be asked about users");
                Self::with_message(ErrorCode::ServiceUnavailable, "the database does not answer")
            }
            StoreError::Database(problem) => {
                tracing::error!(%problem, "the database refused a statement about users");
                Self::internal()
            }
        }
    }
}

/// Who changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Actor {
    pub(crate) kind: &'static str,
    pub(crate) id: String,
    pub(crate) name: String,
    /// What they may do themselves: nobody gives more, or changes somebody who may more.
    pub(crate) may: Permissions,
}

impl Actor {
    /// The server itself.
    pub(crate) fn system(what: &str) -> Self {
        Self { kind: "system", id: what.to_owned(), name: what.to_owned(), may: Permissions::All }
    }

    pub(crate) fn of(principal: Option<&Principal>) -> Self {
        match principal {
            Some(Principal::User(account)) => Self::with_account("user", account),
            Some(Principal::Application(account)) => Self::with_account("application", account),
            Some(Principal::Service(plugin)) => {
                Self { kind: "service", id: plugin.to_string(), name: plugin.to_string(), may: Permissions::All }
            }
            None => Self { kind: "anonymous", id: String::new(), name: String::new(), may: Permissions::None },
        }
    }

    fn with_account(kind: &'static str, account: &Account) -> Self {
        Self { kind, id: account.id.clone(), name: account.name.clone(), may: account.permissions.clone() }
    }
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Store {
    database: NativeDatabase,
}

impl Store {
    pub(crate) fn new(database: NativeDatabase) -> Self {
        Self { database }
    }

    pub(crate) async fn migrate(&self) -> Result<(), DatabaseError> {
        self.database.migrate(MIGRATIONS).await
    }

    async fn read<T, Work>(&self, work: Work) -> Result<T, StoreError>
    where
        T: Send,
        Work: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
    {
        Ok(self.database.run(DEADLINE, work).await?)
    }

    /// All of it, or nothing.
    async fn change<T, Work>(&self, work: Work) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Work: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        self.database.transact(DEADLINE, work).await?
    }
}

/// What a violated constraint means to whoever asked for the change.
fn conflict(error: sqlx::Error, constraint: &str, meaning: impl FnOnce() -> String) -> StoreError {
    match error.as_database_error().and_then(|error| error.constraint()) {
        Some(violated) if violated == constraint => StoreError::Conflict(meaning()),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_applied_in_its_order() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap()))
            .collect();
        files.sort();
        let listed: Vec<_> =
            MIGRATIONS.steps.iter().map(|(version, name, up)| (format!("{version:04}_{name}.sql"), (*up).to_owned())).collect();
        assert_eq!(files, listed);
    }
}
