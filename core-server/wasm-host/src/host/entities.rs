//! `entities`: things of the plugin whose changes others hear.

use std::sync::Arc;
use std::time::Duration;

use checkstack_platform::plugin::{EntityChanged, EntityFailure, EntityMutation, EntityStore, InStateSince, SqlError, SqlStatement};

use super::HostState;
use crate::bindings::checkstack::plugin::entities::{Change, Error, Host, Mutation, Since};
use crate::bindings::checkstack::plugin::sql::{DatabaseError, Statement};

impl From<EntityFailure> for Error {
    fn from(failure: EntityFailure) -> Self {
        match failure {
            EntityFailure::Invalid(message) => Self::Invalid(message),
            EntityFailure::Limited(message) => Self::Limited(message),
            EntityFailure::Unavailable(message) => Self::Unavailable(message),
            EntityFailure::Sql(error) => match error {
                SqlError::Database { code, message, constraint } => Self::Database(DatabaseError { code, message, constraint }),
                SqlError::UnsupportedType(message) | SqlError::TooLarge(message) => Self::Invalid(message),
                SqlError::Timeout(message) => Self::Timeout(message),
                SqlError::Unavailable(message) => Self::Unavailable(message),
            },
        }
    }
}

impl From<EntityMutation> for Mutation {
    fn from(EntityMutation { touched, change }: EntityMutation) -> Self {
        Self { touched, change: change.map(Change::from) }
    }
}

impl From<EntityChanged> for Change {
    fn from(change: EntityChanged) -> Self {
        let EntityChanged { prev, next, changed_fields, occurred_at, change_id, sequence, .. } = change;
        Self {
            sequence,
            id: change_id.to_string(),
            before: prev.map(|state| state.to_string()),
            after: next.map(|state| state.to_string()),
            changed_fields,
            occurred_at: u64::try_from(occurred_at.as_microsecond()).unwrap_or_default(),
        }
    }
}

impl From<InStateSince> for Since {
    fn from(InStateSince { at, ago }: InStateSince) -> Self {
        Self { at: u64::try_from(at.as_microsecond()).unwrap_or_default(), ago: u64::try_from(ago.as_millis()).unwrap_or(u64::MAX) }
    }
}

impl HostState {
    fn entities(&self) -> Result<Arc<dyn EntityStore>, Error> {
        self.database(self.plugin.services.entities.as_ref()).map_err(Error::Denied)
    }

    async fn change_entity(&self, kind: &str, id: &str, statements: Vec<Statement>, removes: bool) -> Result<Mutation, Error> {
        let statements = statements.into_iter().map(SqlStatement::from).collect();
        Ok(self.entities()?.mutate(kind, id, statements, removes, self.call.actor.clone()).await?.into())
    }
}

impl Host for HostState {
    async fn mutate(&mut self, kind: String, id: String, statements: Vec<Statement>) -> Result<Mutation, Error> {
        self.change_entity(&kind, &id, statements, false).await
    }

    async fn remove(&mut self, kind: String, id: String, statements: Vec<Statement>) -> Result<Mutation, Error> {
        self.change_entity(&kind, &id, statements, true).await
    }

    async fn in_state_since(&mut self, kind: String, id: String, field: String) -> Result<Option<Since>, Error> {
        Ok(self.entities()?.in_state_since(&kind, &id, &field).await?.map(Since::from))
    }

    async fn transition_count(&mut self, kind: String, id: String, field: String, within: u64) -> Result<u64, Error> {
        Ok(self.entities()?.transition_count(&kind, &id, &field, Duration::from_millis(within)).await?)
    }
}
