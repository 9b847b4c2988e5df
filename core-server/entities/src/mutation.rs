//! Changing an entity within a transaction.

use checkstack_events::{Actor, Emission};
use futures::future::BoxFuture;
use sqlx::PgConnection;
use tracing::warn;

use crate::change::{ENTITY_CHANGED, EntityChanged};
use crate::diff::diff;
use crate::error::EntityError;
use crate::handle::EntityHandle;
use crate::kind::EntityKind;
use crate::name::check_id;
use crate::store::{self, NewChange};

/// What became of a change that was committed.
#[derive(Debug, Clone, PartialEq)]
pub struct Mutated<T, State> {
    /// What the owner's write returned
    pub value: T,
    /// None: the state is what it was, and nobody was told anything.
    pub change: Option<EntityChanged<State>>,
}

/// A change in a transaction of the caller, who says with [`Self::committed`] that it was committed, and drops this otherwise.
#[must_use = "with some queue providers nobody is told before `committed` is called"]
pub struct PendingMutation<T, State> {
    /// What the owner's write returned
    pub value: T,
    /// None: the state is what it was.
    pub change: Option<EntityChanged<State>>,
    pub(crate) emission: Option<Emission>,
}

/// What a change has to lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    Any,
    /// The entity is not there.
    Gone,
}

impl<T, State> PendingMutation<T, State> {
    /// Whether listeners are told at the moment in which the transaction is committed, and not only by [`Self::committed`]: see
    /// [`checkstack_events::Emission`].
    pub fn is_transactional(&self) -> bool {
        self.emission.as_ref().is_none_or(Emission::is_transactional)
    }

    /// The transaction was committed. Where the change can be told only now, and cannot, that is in the log: it is made all the same.
    pub async fn committed(self) -> Mutated<T, State> {
        let Self { value, change, emission } = self;
        if let Some(emission) = emission
            && let Err(problem) = emission.committed().await
        {
            let (kind, id) = change.as_ref().map(|change| (change.kind.as_str(), change.id.as_str())).unwrap_or_default();
            warn!(kind, entity = id, %problem, "a change of an entity was made, and not told");
        }
        Mutated { value, change }
    }
}

impl<Kind: EntityKind> EntityHandle<Kind> {
    /// As [`Self::mutate`], in a transaction of the caller, which may change more: other entities among them, in an order that all who do so
    /// have in common. The transaction is to be undone after an error.
    ///
    /// While the queue provider `postgres` is active, the event is a part of the transaction. With any other it is told after the commit, and
    /// changes of one entity that follow each other at once may be heard in another order than theirs.
    ///
    /// # Errors
    /// As there.
    pub async fn mutate_in<T, E, Apply>(
        &self,
        transaction: &mut PgConnection,
        id: &str,
        actor: &Actor,
        apply: Apply,
    ) -> Result<PendingMutation<T, Kind::State>, E>
    where
        T: Send,
        E: From<EntityError>,
        Apply: for<'c> FnOnce(&'c mut PgConnection, Option<&'c Kind::State>) -> BoxFuture<'c, Result<T, E>> + Send,
    {
        self.change_in(transaction, id, actor, apply, Goal::Any).await
    }

    /// As [`Self::mutate_in`], and the entity is not there any more afterwards.
    ///
    /// # Errors
    /// As there; [`EntityError::NotRemoved`].
    pub async fn remove_in<T, E, Apply>(
        &self,
        transaction: &mut PgConnection,
        id: &str,
        actor: &Actor,
        apply: Apply,
    ) -> Result<PendingMutation<T, Kind::State>, E>
    where
        T: Send,
        E: From<EntityError>,
        Apply: for<'c> FnOnce(&'c mut PgConnection, Option<&'c Kind::State>) -> BoxFuture<'c, Result<T, E>> + Send,
    {
        self.change_in(transaction, id, actor, apply, Goal::Gone).await
    }

    pub(crate) async fn change_in<T, E, Apply>(
        &self,
        transaction: &mut PgConnection,
        id: &str,
        actor: &Actor,
        apply: Apply,
        goal: Goal,
    ) -> Result<PendingMutation<T, Kind::State>, E>
    where
        T: Send,
        E: From<EntityError>,
        Apply: for<'c> FnOnce(&'c mut PgConnection, Option<&'c Kind::State>) -> BoxFuture<'c, Result<T, E>> + Send,
    {
        check_id(Kind::KIND, id)?;
        let is_new = store::lock(transaction, Kind::KIND, id, self.owner()).await?;
        let prev = self.read_one(transaction, id).await?;
        let value = apply(&mut *transaction, prev.as_ref().map(|(state, _)| state)).await?;
        let next = self.read_one(transaction, id).await?;
        if next.is_some() && goal == Goal::Gone {
            return Err(EntityError::NotRemoved { kind: Kind::KIND.to_owned(), id: id.to_owned() }.into());
        }
        let states = [prev, next].map(|state| state.map(|(_, json)| json));
        let Some(delta) = diff(states[0].as_ref(), states[1].as_ref()) else {
            if is_new {
                store::unmake(transaction, Kind::KIND, id).await.map_err(EntityError::from)?;
            }
            return Ok(PendingMutation { value, change: None, emission: None });
        };
        let present = [states[0].is_some(), states[1].is_some()];
        let new = NewChange { kind: Kind::KIND, id, owner: self.owner(), delta: &delta, present };
        let position = store::record(transaction, &new, self.settings().changes).await?;
        let change = EntityChanged::new(Kind::KIND, id, states, delta, actor, position);
        let typed = change.typed()?;
        let emission = ENTITY_CHANGED.emit_in(transaction, self.bus(), &change, actor).await.map_err(EntityError::from)?;
        Ok(PendingMutation { value, change: Some(typed), emission: Some(emission) })
    }
}
