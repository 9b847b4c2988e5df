//! Kinds of entities.

use std::collections::HashMap;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::PgConnection;

use crate::diff::{State, state_of};
use crate::error::EntityError;

/// A kind of entities, and how its owner reads them.
#[async_trait]
pub trait EntityKind: Send + Sync + 'static {
    /// Lower-case letters, digits and `-`, like `satellite-connection`. Only its owner has it.
    const KIND: &'static str;
    /// What others see: a JSON object of at most [`crate::MAX_FIELDS`] fields and [`crate::MAX_STATE_BYTES`].
    type State: Serialize + DeserializeOwned + JsonSchema + Clone + Send + Sync + 'static;

    /// The states of those of the ids that there are; the others are left out. The connection may be in a transaction, whose changes are to be
    /// seen: everything is read through it.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn read(&self, connection: &mut PgConnection, ids: &[String]) -> Result<HashMap<String, Self::State>, sqlx::Error>;
}

/// A kind that was defined.
#[derive(Debug, Clone, PartialEq)]
pub struct KindDescription {
    /// Its name
    pub kind: String,
    /// The plugin that owns it
    pub owner: String,
    /// JSON Schema (draft 2020-12) of a state
    pub schema: Value,
}

/// A kind whose states are JSON.
#[async_trait]
pub(crate) trait AnyKind: Send + Sync {
    async fn states(&self, connection: &mut PgConnection, ids: &[String]) -> Result<HashMap<String, State>, EntityError>;
}

#[async_trait]
impl<Kind: EntityKind> AnyKind for Kind {
    async fn states(&self, connection: &mut PgConnection, ids: &[String]) -> Result<HashMap<String, State>, EntityError> {
        let states = self.read(connection, ids).await?.into_iter();
        states.map(|(id, state)| state_of(Kind::KIND, &id, &state).map(|state| (id, state))).collect()
    }
}
