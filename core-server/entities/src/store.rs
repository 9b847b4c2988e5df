//! The schema of the entities.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use checkstack_connections::{ConnectionPool, Lent};
use checkstack_events::Subscriber;
use jiff::Timestamp;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::diff::Delta;
use crate::error::EntityError;
use crate::order::Position;

/// The schema.
pub const SCHEMA: &str = "checkstack_entities";
/// Steps that make the schema and bring it up to date: number, name, text. Whoever runs them makes the schema before, and sees to it that one
/// replica does so at a time.
pub const MIGRATIONS: &[(i64, &str, &str)] =
    &[(1, "entities", include_str!("../migrations/0001_entities.sql")), (2, "plugins", include_str!("../migrations/0002_plugins.sql"))];

/// A transaction that the database undoes when nothing is heard of it for a few seconds: should this process be stopped in the middle, others
/// go on without it. Nor does it wait on for a lock when nobody waits for it any more.
const BEGIN: &str = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '5s'; SET LOCAL lock_timeout = '5s'";
/// A question of several statements that sees one moment.
const BEGIN_LOOKING: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

const LOCK: &str = "SELECT sequence FROM checkstack_entities.entities WHERE kind = $1 AND entity_id = $2 FOR UPDATE";
/// Waits for whoever makes the same one.
const MAKE: &str = "
    INSERT INTO checkstack_entities.entities (kind, entity_id, plugin_id) VALUES ($1, $2, $3)
    ON CONFLICT (kind, entity_id) DO NOTHING RETURNING sequence";
/// Of one that was made for a change that was none.
const UNMAKE: &str = "DELETE FROM checkstack_entities.entities WHERE kind = $1 AND entity_id = $2 AND sequence = 0";
/// An entity may be removed by the sweep between two of them.
const LOCK_ATTEMPTS: u32 = 5;

/// Transitions beyond the bound go, except for the newest of a field. Those of this statement are not seen by it, so that a field may have one
/// more until the next change.
const RECORD: &str = "
    WITH entity AS (
        UPDATE checkstack_entities.entities
        SET sequence = sequence + 1, plugin_id = $3, present = $4, changed_at = greatest(clock_timestamp(), changed_at)
        WHERE kind = $1 AND entity_id = $2 RETURNING sequence, changed_at
    ), added AS (
        INSERT INTO checkstack_entities.transitions (kind, entity_id, sequence, field, from_value, to_value, transitioned_at)
        SELECT $1, $2, e.sequence, f.field, f.from_value::json, f.to_value::json, e.changed_at
        FROM entity e CROSS JOIN unnest($5::text[], $6::text[], $7::text[]) AS f (field, from_value, to_value)
    ), dropped AS (
        DELETE FROM checkstack_entities.transitions t USING entity e
        WHERE t.kind = $1 AND t.entity_id = $2 AND t.sequence <= e.sequence - $8 AND EXISTS (
            SELECT FROM checkstack_entities.transitions newer
            WHERE newer.kind = $1 AND newer.entity_id = $2 AND newer.field = t.field AND newer.sequence > t.sequence)
    )
    SELECT sequence, (extract(epoch FROM changed_at) * 1000000)::bigint FROM entity";

const NEWEST: &str = "
    SELECT to_value::text, (extract(epoch FROM transitioned_at) * 1000000)::bigint, extract(epoch FROM now() - transitioned_at)::float8
    FROM checkstack_entities.transitions WHERE kind = $1 AND entity_id = $2 AND field = $3 ORDER BY sequence DESC LIMIT 1";

/// That an entity comes or goes is no transition of its fields.
const COUNT: &str = "
    SELECT count(*) FROM checkstack_entities.transitions
    WHERE kind = $1 AND entity_id = $2 AND field = $3 AND from_value IS NOT NULL AND to_value IS NOT NULL
        AND transitioned_at > now() - make_interval(secs => $4)";

/// A plugin in the sandbox has a role that may call functions.
const DISMISS: &str = "SELECT checkstack_entities.dismiss_plugin($1)";
const FORGET: &str = "DELETE FROM checkstack_entities.entities WHERE plugin_id = $1";

/// Connections that are used at once: others use the pool, too, and changes of an entity that another replica holds wait on one.
const AT_ONCE: usize = 2;

/// Connections, and how long answers may take.
#[derive(Clone)]
pub(crate) struct Store {
    pool: ConnectionPool,
    turns: Arc<Semaphore>,
    deadline: Duration,
}

/// A connection, and the turn that goes with it. Unless it is said to be at rest it is closed when it is dropped, and what was begun on it is
/// undone.
pub(crate) struct Used {
    connection: Lent,
    _turn: OwnedSemaphorePermit,
}

impl Used {
    /// Its last answer was complete.
    pub(crate) fn rest(&mut self) {
        self.connection.rest();
    }
}

impl Deref for Used {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Used {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

/// A change to be noted.
pub(crate) struct NewChange<'a> {
    pub(crate) kind: &'a str,
    pub(crate) id: &'a str,
    pub(crate) owner: &'a Subscriber,
    pub(crate) delta: &'a Delta,
    /// Whether the entity was there before, and is afterwards.
    pub(crate) present: [bool; 2],
}

/// The newest transition of a field.
pub(crate) struct Newest {
    /// None: the entity went.
    pub(crate) value: Option<Value>,
    pub(crate) at: Timestamp,
    pub(crate) ago: Duration,
}

impl Store {
    pub(crate) fn new(pool: ConnectionPool, deadline: Duration) -> Self {
        Self { pool, turns: Arc::new(Semaphore::new(AT_ONCE)), deadline }
    }

    /// All of it within the deadline.
    pub(crate) async fn within<T, E: From<EntityError>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        tokio::time::timeout(self.deadline, work).await.unwrap_or_else(|_| Err(EntityError::no_answer(self.deadline).into()))
    }

    /// To be used with [`Self::within`].
    pub(crate) async fn take(&self) -> Result<Used, EntityError> {
        // The semaphore is never closed.
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        // The driver's future is large, and that of each caller would be.
        let connection = Box::pin(self.pool.take(self.deadline)).await?;
        Ok(Used { connection, _turn: turn })
    }

    /// How many entities of a plugin there were.
    pub(crate) async fn forget(&self, plugin: &Subscriber) -> Result<u64, EntityError> {
        let forget = async {
            let mut connection = self.take().await?;
            sqlx::query(DISMISS).bind(plugin.as_str()).execute(&mut *connection).await?;
            let forgotten = sqlx::query(FORGET).bind(plugin.as_str()).execute(&mut *connection).await?;
            connection.rest();
            Ok(forgotten.rows_affected())
        };
        self.within(forget).await
    }
}

pub(crate) async fn begin(connection: &mut PgConnection) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
    connection.begin_with(BEGIN).await
}

pub(crate) async fn begin_looking(connection: &mut PgConnection) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
    connection.begin_with(BEGIN_LOOKING).await
}

/// Until the transaction ends, nobody else changes the entity. What is read from now on is what whoever had the lock before has left. Whether
/// it was made for this.
pub(crate) async fn lock(connection: &mut PgConnection, kind: &str, id: &str, owner: &Subscriber) -> Result<bool, EntityError> {
    for _ in 0..LOCK_ATTEMPTS {
        let found: Option<i64> = sqlx::query_scalar(LOCK).bind(kind).bind(id).fetch_optional(&mut *connection).await?;
        if found.is_some() {
            return Ok(false);
        }
        let made = sqlx::query_scalar(MAKE).bind(kind).bind(id).bind(owner.as_str());
        let made: Option<i64> = made.fetch_optional(&mut *connection).await?;
        if made.is_some() {
            return Ok(true);
        }
    }
    Err(EntityError::Unavailable(format!("entity '{id}' of kind '{kind}' is being made and removed all the time")))
}

/// Leaves no trace of an entity that was locked and not changed.
pub(crate) async fn unmake(connection: &mut PgConnection, kind: &str, id: &str) -> Result<(), sqlx::Error> {
    sqlx::query(UNMAKE).bind(kind).bind(id).execute(connection).await.map(drop)
}

/// Of an entity that is locked. `keep` changes of it keep their transitions.
pub(crate) async fn record(connection: &mut PgConnection, change: &NewChange<'_>, keep: u32) -> Result<Position, EntityError> {
    let NewChange { kind, id, owner, delta, present: [before, after] } = change;
    let (sequence, microseconds): (i64, i64) = sqlx::query_as(RECORD)
        .bind(kind)
        .bind(id)
        .bind(owner.as_str())
        .bind(after)
        .bind(delta.keys().map(String::as_str).collect::<Vec<_>>())
        .bind(values(delta, *before, |field| &field.from))
        .bind(values(delta, *after, |field| &field.to))
        .bind(i64::from(keep))
        .fetch_one(connection)
        .await?;
    Ok(Position { sequence: u64::try_from(sequence).unwrap_or_default(), occurred_at: timestamp(microseconds) })
}

/// One side of a difference as JSON texts, where the entity was there.
pub(crate) fn values(delta: &Delta, there: bool, of: fn(&crate::FieldChange) -> &Value) -> Vec<Option<String>> {
    delta.values().map(|field| there.then(|| of(field).to_string())).collect()
}

pub(crate) async fn newest(connection: &mut PgConnection, kind: &str, id: &str, field: &str) -> Result<Option<Newest>, EntityError> {
    let newest = sqlx::query_as(NEWEST).bind(kind).bind(id).bind(field);
    newest_of(field, newest.fetch_optional(connection).await?)
}

/// Of a row: value, microseconds since 1970, seconds that have passed.
pub(crate) fn newest_of(field: &str, row: Option<(Option<String>, i64, f64)>) -> Result<Option<Newest>, EntityError> {
    let Some((value, at, ago)) = row else { return Ok(None) };
    let value = value.map(|value| serde_json::from_str(&value)).transpose();
    let value = value.map_err(|problem| EntityError::Refused(format!("a value of field '{field}' is not JSON: {problem}")))?;
    Ok(Some(Newest { value, at: timestamp(at), ago: Duration::try_from_secs_f64(ago).unwrap_or_default() }))
}

pub(crate) async fn count(connection: &mut PgConnection, kind: &str, id: &str, field: &str, within: Duration) -> Result<u64, EntityError> {
    let count = sqlx::query_scalar(COUNT).bind(kind).bind(id).bind(field).bind(within.as_secs_f64());
    let count: i64 = count.fetch_one(connection).await?;
    Ok(u64::try_from(count).unwrap_or_default())
}

/// Of microseconds since 1970; PostgreSQL's times all are within the calendar.
pub(crate) fn timestamp(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap_or(Timestamp::UNIX_EPOCH)
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
        let listed: Vec<_> = MIGRATIONS.iter().map(|(version, name, up)| (format!("{version:04}_{name}.sql"), (*up).to_owned())).collect();
        assert_eq!(files, listed);
    }
}
