//! What the owner of a kind does with its entities.

use std::collections::HashMap;
use std::sync::Arc;

use checkstack_events::{Actor, EventBus, Subscriber};
use futures::future::BoxFuture;
use sqlx::PgConnection;

use crate::diff::{State, state_of};
use crate::entities::Shared;
use crate::error::EntityError;
use crate::kind::EntityKind;
use crate::mutation::{Goal, Mutated};
use crate::name::check_id;
use crate::settings::EntitySettings;
use crate::store::{self, Store};

/// The entities of one kind, for its owner. Cheap to clone.
pub struct EntityHandle<Kind> {
    shared: Arc<Shared>,
    kind: Arc<Kind>,
    owner: Subscriber,
}

impl<Kind> Clone for EntityHandle<Kind> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), kind: self.kind.clone(), owner: self.owner.clone() }
    }
}

impl<Kind: EntityKind> EntityHandle<Kind> {
    pub(crate) fn new(shared: Arc<Shared>, kind: Arc<Kind>, owner: Subscriber) -> Self {
        Self { shared, kind, owner }
    }

    /// The plugin that has defined the kind.
    pub fn owner(&self) -> &Subscriber {
        &self.owner
    }

    pub(crate) fn bus(&self) -> &EventBus {
        &self.shared.bus
    }

    pub(crate) fn settings(&self) -> &EntitySettings {
        &self.shared.settings
    }

    pub(crate) fn store(&self) -> &Store {
        &self.shared.store
    }

    /// Changes an entity: `apply` is given its state, and writes. What the owner reads afterwards is compared with what it read before; if
    /// anything is different, the change is noted and told with [`crate::ENTITY_CHANGED`]. All of it is one transaction. An entity that is
    /// not there before is made, one that is not there afterwards removed.
    ///
    /// Nobody else changes the entity meanwhile, and so `apply` must not call this method: what belongs together is changed with
    /// [`Self::mutate_in`].
    ///
    /// # Errors
    /// That of `apply`; otherwise see [`EntityError`].
    pub async fn mutate<T, E, Apply>(&self, id: &str, actor: &Actor, apply: Apply) -> Result<Mutated<T, Kind::State>, E>
    where
        T: Send,
        E: From<EntityError> + Send,
        Apply: for<'c> FnOnce(&'c mut PgConnection, Option<&'c Kind::State>) -> BoxFuture<'c, Result<T, E>> + Send,
    {
        self.transacted(id, actor, apply, Goal::Any).await
    }

    /// Removes an entity: `apply` deletes it. Listeners are told a tombstone, unless it was not there.
    ///
    /// # Errors
    /// As [`Self::mutate`]; [`EntityError::NotRemoved`].
    pub async fn remove<T, E, Apply>(&self, id: &str, actor: &Actor, apply: Apply) -> Result<Mutated<T, Kind::State>, E>
    where
        T: Send,
        E: From<EntityError> + Send,
        Apply: for<'c> FnOnce(&'c mut PgConnection, Option<&'c Kind::State>) -> BoxFuture<'c, Result<T, E>> + Send,
    {
        self.transacted(id, actor, apply, Goal::Gone).await
    }

    async fn transacted<T, E, Apply>(&self, id: &str, actor: &Actor, apply: Apply, goal: Goal) -> Result<Mutated<T, Kind::State>, E>
    where
        T: Send,
        E: From<EntityError> + Send,
        Apply: for<'c> FnOnce(&'c mut PgConnection, Option<&'c Kind::State>) -> BoxFuture<'c, Result<T, E>> + Send,
    {
        let change = async {
            let turn = self.shared.turns.take(Kind::KIND, id).await;
            let mut connection = self.store().take().await?;
            let mut transaction = store::begin(&mut connection).await.map_err(EntityError::from)?;
            match Box::pin(self.change_in(&mut transaction, id, actor, apply, goal)).await {
                Ok(pending) => {
                    transaction.commit().await.map_err(EntityError::from)?;
                    connection.rest();
                    Ok((turn, pending))
                }
                Err(problem) => {
                    if transaction.rollback().await.is_ok() {
                        connection.rest();
                    }
                    Err(problem)
                }
            }
        };
        let (turn, pending) = self.store().within(change).await?;
        let mutated = pending.committed().await;
        drop(turn);
        Ok(mutated)
    }

    /// The state of an entity.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn get(&self, id: &str) -> Result<Option<Kind::State>, EntityError> {
        Ok(self.get_many(&[id.to_owned()]).await?.remove(id))
    }

    /// The states of those of the entities that there are.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn get_many(&self, ids: &[String]) -> Result<HashMap<String, Kind::State>, EntityError> {
        for id in ids {
            check_id(Kind::KIND, id)?;
        }
        let read = async {
            let mut connection = self.store().take().await?;
            let states = self.kind.read(&mut connection, ids).await?;
            connection.rest();
            Ok(states)
        };
        self.store().within(read).await
    }

    /// As its owner sees it, and as others do.
    pub(crate) async fn read_one(&self, connection: &mut PgConnection, id: &str) -> Result<Option<(Kind::State, State)>, EntityError> {
        let state = self.kind.read(connection, &[id.to_owned()]).await?.remove(id);
        state.map(|state| state_of(Kind::KIND, id, &state).map(|json| (state, json))).transpose()
    }
}
