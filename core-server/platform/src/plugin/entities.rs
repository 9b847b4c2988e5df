//! Entities of a plugin: things whose changes others hear.

use std::time::Duration;

use async_trait::async_trait;
use checkstack_entities::{EntityChanged, EntityError, InStateSince};
use checkstack_events::Actor;

use super::{EntityKindDescription, SqlError, SqlStatement};

/// What became of a change.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityMutation {
    /// Rows that each statement touched.
    pub touched: Vec<u64>,
    /// None: nothing is different.
    pub change: Option<EntityChanged>,
}

/// Why an entity was not changed, or nothing is known of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntityFailure {
    /// What was asked for, or what came of it, cannot be.
    #[error("{0}")]
    Invalid(String),
    /// The plugin's quota is used up.
    #[error("{0}")]
    Limited(String),
    /// Of the plugin's statements, or of its query.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The database does not answer; the same may work later.
    #[error("{0}")]
    Unavailable(String),
}

impl From<EntityError> for EntityFailure {
    fn from(error: EntityError) -> Self {
        match error {
            EntityError::Refused(_) => {
                tracing::error!(problem = %error, "entities of a plugin cannot be changed: a fault of the server, or of its rights");
                Self::Unavailable(error.to_string())
            }
            error if error.is_transient() => Self::Unavailable(error.to_string()),
            error => Self::Invalid(error.to_string()),
        }
    }
}

/// The entities of one plugin, on connections with its own login role.
#[async_trait]
pub trait EntityStore: Send + Sync {
    /// The kinds that the plugin describes, once.
    ///
    /// # Errors
    /// What is wrong with them.
    fn describe(&self, kinds: &[EntityKindDescription]) -> Result<(), String>;

    /// Runs statements in one transaction, and tells what is different afterwards. `removes`: the entity has to be gone. `actor` has caused it;
    /// none is the plugin itself.
    async fn mutate(
        &self,
        kind: &str,
        id: &str,
        statements: Vec<SqlStatement>,
        removes: bool,
        actor: Option<Actor>,
    ) -> Result<EntityMutation, EntityFailure>;

    /// Since when a field has the value that it has.
    async fn in_state_since(&self, kind: &str, id: &str, field: &str) -> Result<Option<InStateSince>, EntityFailure>;

    /// How often a field has changed within some time.
    async fn transition_count(&self, kind: &str, id: &str, field: &str, within: Duration) -> Result<u64, EntityFailure>;
}
