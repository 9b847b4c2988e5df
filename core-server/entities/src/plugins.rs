//! Entities of plugins in the sandbox: on connections with the roles of the plugins, which have no rights on the tables of this crate. What is
//! noted and told goes through functions of the database, see `migrations/0002_plugins.sql`.
//!
//! Whoever has the connection runs the transaction: [`PluginEntities::lock`], the plugin's query, its statements, its query again,
//! [`PluginEntities::record`], the commit.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use checkstack_events::{Actor, EmissionDraft, Subscriber};
use jiff::Timestamp;
use serde_json::Value;
use sqlx::PgConnection;
use tokio::sync::MutexGuard;

use crate::change::{ENTITY_CHANGED, EntityChanged};
use crate::diff::{Delta, State, diff, state_of};
use crate::entities::{Entities, Shared};
use crate::error::EntityError;
use crate::mutation::PendingMutation;
use crate::name::{check_id, check_kind};
use crate::order::Position;
use crate::store::{newest_of, timestamp, values};
use crate::turns::Turns;

const ADMIT: &str = "SELECT checkstack_entities.admit_plugin($1, $2, $3)";
const LOCK: &str = "SELECT number, moment, in_transaction, is_new FROM checkstack_entities.plugin_lock($1, $2, $3, $4)";
const RECORD: &str = "SELECT checkstack_entities.plugin_record($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
const UNMAKE: &str = "SELECT checkstack_entities.plugin_unmake($1, $2, $3, $4)";
const NEWEST: &str = "SELECT to_value, moment, ago FROM checkstack_entities.plugin_newest($1, $2, $3)";
const COUNT: &str = "SELECT checkstack_entities.plugin_count($1, $2, $3, $4)";

/// Entities of one kind, of a plugin.
const MOST: u32 = 50_000;

/// SQLSTATEs that the functions raise.
const PROGRAM_LIMIT_EXCEEDED: &str = "54000";
const INVALID_TRANSACTION_STATE: &str = "25000";

/// What shows the database that it is the server that changes entities of a plugin, and not the plugin's own SQL, which comes with the same
/// role. All replicas have the same.
#[derive(Clone)]
pub struct PluginKey([u8; 32]);

impl PluginKey {
    /// Of 32 bytes that nobody guesses.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for PluginKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PluginKey(…)")
    }
}

/// The entities of one plugin in the sandbox.
pub struct PluginEntities {
    shared: Arc<Shared>,
    owner: Subscriber,
    key: PluginKey,
    /// Its own: who holds one of these holds up nobody else.
    turns: Turns,
}

/// See [`PluginEntities::turn`].
pub struct Turn<'t>(Option<MutexGuard<'t, ()>>);

impl fmt::Debug for Turn<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Turn").field(&self.0.is_some()).finish()
    }
}

/// An entity that nobody else changes until the transaction ends.
#[derive(Debug)]
pub struct LockedEntity {
    kind: String,
    id: String,
    /// The next change.
    position: Position,
    moment: i64,
    transaction: String,
    is_new: bool,
}

/// Since when a field has the value that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InStateSince {
    /// By the clock of the database
    pub at: Timestamp,
    /// Until now
    pub ago: Duration,
}

impl Entities {
    /// Lets the role of a plugin change entities, for who has the key. To be called again when either may be another one.
    ///
    /// # Errors
    /// When the database does not answer, or refuses.
    pub async fn admit_plugin(&self, plugin: &Subscriber, role: &str, key: &PluginKey) -> Result<(), EntityError> {
        let admit = async {
            let mut connection = self.store().take().await?;
            sqlx::query(ADMIT).bind(plugin.as_str()).bind(role).bind(&key.0[..]).execute(&mut *connection).await?;
            connection.rest();
            Ok(())
        };
        self.store().within(admit).await
    }

    /// The entities of a plugin that was admitted.
    pub fn of_plugin(&self, plugin: Subscriber, key: PluginKey) -> PluginEntities {
        PluginEntities { shared: self.shared().clone(), owner: plugin, key, turns: Turns::default() }
    }
}

impl PluginEntities {
    /// What others call a kind of the plugin.
    ///
    /// # Errors
    /// [`EntityError::Invalid`]: it is no name of a kind.
    pub fn kind(&self, name: &str) -> Result<String, EntityError> {
        check_kind(name)?;
        Ok(format!("{}.{name}", self.owner))
    }

    /// For how long a change may take.
    pub fn deadline(&self) -> Duration {
        self.shared.settings.deadline
    }

    /// To be taken before a connection, and dropped when the change is made and told: who changes the same entity in this process waits here.
    pub async fn turn(&self, kind: &str, id: &str) -> Turn<'_> {
        Turn(self.turns.take(kind, id).await)
    }

    /// Locks an entity of the kind `<plugin>.<name>` for the transaction of the connection, which is one of the plugin's role.
    ///
    /// # Errors
    /// [`EntityError::TooMany`]; when the database does not answer or others hold it for too long.
    pub async fn lock(&self, connection: &mut PgConnection, kind: &str, id: &str) -> Result<LockedEntity, EntityError> {
        check_id(kind, id)?;
        let locked = sqlx::query_as(LOCK).bind(&self.key.0[..]).bind(kind).bind(id).bind(i64::from(MOST)).persistent(false);
        let locked: Result<(i64, i64, String, bool), _> = locked.fetch_one(connection).await;
        let (sequence, moment, transaction, is_new) = locked.map_err(|problem| problem_of(problem, kind, id))?;
        let position = Position { sequence: u64::try_from(sequence).unwrap_or_default() + 1, occurred_at: timestamp(moment) };
        Ok(LockedEntity { kind: kind.to_owned(), id: id.to_owned(), position, moment, transaction, is_new })
    }

    /// A state as the plugin's query has read it, if it can be one.
    ///
    /// # Errors
    /// [`EntityError::Invalid`], [`EntityError::StateTooLarge`].
    pub fn state(kind: &str, id: &str, read: &Value) -> Result<Value, EntityError> {
        state_of(kind, id, read).map(Value::Object)
    }

    /// Notes what is different, and tells it with the transaction of the connection. Listeners are told of the states as they were given, which
    /// are what [`Self::state`] returned. `admit` is asked before, with the bytes of what would be told.
    ///
    /// # Errors
    /// [`EntityError::TransactionEnded`]; that of `admit`; when the database does not answer. The transaction is to be undone.
    pub async fn record<E: From<EntityError>>(
        &self,
        connection: &mut PgConnection,
        locked: LockedEntity,
        states: [Option<Value>; 2],
        actor: &Actor,
        admit: impl FnOnce(usize) -> Result<(), E>,
    ) -> Result<PendingMutation<(), Value>, E> {
        let states = states.map(|state| match state {
            Some(Value::Object(fields)) => Some(fields),
            _ => None,
        });
        let Some(delta) = diff(states[0].as_ref(), states[1].as_ref()) else {
            if locked.is_new {
                self.unmake(connection, &locked).await?;
            }
            return Ok(PendingMutation { value: (), change: None, emission: None });
        };
        let present = [&states[0], &states[1]].map(Option::is_some);
        let change = change_of(&locked, states, delta, actor);
        let payload = serde_json::to_value(&change).map_err(|problem| EntityError::Invalid(problem.to_string()))?;
        admit(payload.to_string().len())?;
        let hook = ENTITY_CHANGED.id().map_err(EntityError::from)?;
        let draft = self.shared.bus.draft(&hook, payload, actor).await.map_err(EntityError::from)?;
        let groups = self.note(connection, &locked, &change, present, &draft).await?;
        Ok(PendingMutation { value: (), change: Some(change), emission: Some(draft.published(groups)) })
    }

    async fn unmake(&self, connection: &mut PgConnection, locked: &LockedEntity) -> Result<(), EntityError> {
        let LockedEntity { kind, id, transaction, .. } = locked;
        let unmake = sqlx::query(UNMAKE).bind(&self.key.0[..]).bind(kind).bind(id).bind(transaction).persistent(false);
        unmake.execute(connection).await.map(drop).map_err(|problem| problem_of(problem, kind, id))
    }

    /// How many groups hear of it.
    async fn note(
        &self,
        connection: &mut PgConnection,
        locked: &LockedEntity,
        change: &EntityChanged,
        [before, after]: [bool; 2],
        draft: &EmissionDraft,
    ) -> Result<u64, EntityError> {
        let LockedEntity { kind, id, position, moment, transaction, .. } = locked;
        let row = draft.row();
        let note = sqlx::query_scalar(RECORD)
            .bind(&self.key.0[..])
            .bind(kind)
            .bind(id)
            .bind(transaction)
            .bind(i64::try_from(position.sequence).unwrap_or(i64::MAX))
            .bind(moment)
            .bind(after)
            .bind(&change.changed_fields)
            .bind(values(&change.delta, before, |field| &field.from))
            .bind(values(&change.delta, after, |field| &field.to))
            .bind(i64::from(self.shared.settings.changes))
            .bind(row.map(|row| row.id))
            .bind(row.map(|row| row.data))
            .bind(row.map(|row| row.left_out).unwrap_or_default())
            .persistent(false);
        let groups: i64 = note.fetch_one(connection).await.map_err(|problem| problem_of(problem, kind, id))?;
        Ok(u64::try_from(groups).unwrap_or_default())
    }

    /// Since when a field has the value that it has in this state, which was read in the same transaction. None: nothing is known of it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn in_state_since(
        &self,
        connection: &mut PgConnection,
        kind: &str,
        id: &str,
        field: &str,
        state: &Value,
    ) -> Result<Option<InStateSince>, EntityError> {
        check_id(kind, id)?;
        let newest = sqlx::query_as(NEWEST).bind(kind).bind(id).bind(field).persistent(false).fetch_optional(connection).await?;
        let current = state.get(field).cloned().unwrap_or_default();
        let newest = newest_of(field, newest)?.filter(|newest| newest.value.as_ref() == Some(&current));
        Ok(newest.map(|newest| InStateSince { at: newest.at, ago: newest.ago }))
    }

    /// As [`crate::EntityHandle::transition_count`].
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn transition_count(
        &self,
        connection: &mut PgConnection,
        kind: &str,
        id: &str,
        field: &str,
        within: Duration,
    ) -> Result<u64, EntityError> {
        check_id(kind, id)?;
        let within = within.min(self.shared.settings.retention.saturating_mul(2));
        let count = sqlx::query_scalar(COUNT).bind(kind).bind(id).bind(field).bind(within.as_secs_f64()).persistent(false);
        let count: i64 = count.fetch_one(connection).await?;
        Ok(u64::try_from(count).unwrap_or_default())
    }
}

fn change_of(locked: &LockedEntity, states: [Option<State>; 2], delta: Delta, actor: &Actor) -> EntityChanged {
    EntityChanged::new(&locked.kind, &locked.id, states, delta, actor, locked.position)
}

fn problem_of(problem: sqlx::Error, kind: &str, id: &str) -> EntityError {
    let code = problem.as_database_error().and_then(|refusal| refusal.code()).map(|code| code.into_owned());
    match code.as_deref() {
        Some(PROGRAM_LIMIT_EXCEEDED) => EntityError::TooMany { kind: kind.to_owned(), most: MOST },
        Some(INVALID_TRANSACTION_STATE) => EntityError::TransactionEnded { kind: kind.to_owned(), id: id.to_owned() },
        _ => problem.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The function has the name of the queue in its text.
    #[test]
    fn changes_are_told_by_their_hook() {
        let queue = checkstack_events::queue_of(&ENTITY_CHANGED.id().unwrap()).unwrap();
        assert!(include_str!("../migrations/0002_plugins.sql").contains(&format!("checkstack_jobs.publish('{queue}',")));
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", PluginKey::new([7; 32])), "PluginKey(…)");
    }
}
