//! Forgetting what is old.

use std::time::Duration;

use sqlx::PgConnection;
use tracing::debug;

use crate::entities::Entities;
use crate::error::EntityError;

/// Whose turn it is: one replica, once in a while.
const CLAIM: &str = "
    UPDATE checkstack_entities.sweeps SET swept_at = now() WHERE swept_at < now() - make_interval(secs => $1) RETURNING singleton";

/// With their transitions. Those that somebody is just changing are left.
const REMOVED_ENTITIES: &str = "
    WITH old AS (
        SELECT kind, entity_id FROM checkstack_entities.entities
        WHERE NOT present AND changed_at < now() - make_interval(secs => $1) LIMIT $2 FOR UPDATE SKIP LOCKED
    )
    DELETE FROM checkstack_entities.entities e USING old o WHERE e.kind = o.kind AND e.entity_id = o.entity_id";

/// The newest of each field stays.
const OLD_TRANSITIONS: &str = "
    WITH old AS (
        SELECT t.kind, t.entity_id, t.field, t.sequence FROM checkstack_entities.transitions t
        WHERE t.transitioned_at < now() - make_interval(secs => $1) AND EXISTS (
            SELECT FROM checkstack_entities.transitions newer
            WHERE newer.kind = t.kind AND newer.entity_id = t.entity_id AND newer.field = t.field AND newer.sequence > t.sequence)
        LIMIT $2 FOR UPDATE OF t SKIP LOCKED
    )
    DELETE FROM checkstack_entities.transitions t USING old o
    WHERE t.kind = o.kind AND t.entity_id = o.entity_id AND t.field = o.field AND t.sequence = o.sequence";

/// Rows of one statement: none takes long.
const AT_ONCE: i64 = 5_000;

/// What was forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// That were removed long ago, with their transitions
    pub entities: u64,
    /// Of others
    pub transitions: u64,
}

impl Entities {
    /// Forgets what is older than [`crate::EntitySettings::retention`], if it is time to and no other replica does it. None: it is not.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn sweep(&self) -> Result<Option<Swept>, EntityError> {
        let settings = self.settings();
        let claim = async {
            let mut connection = self.store().take().await?;
            let claimed: Option<bool> =
                sqlx::query_scalar(CLAIM).bind(settings.sweep.as_secs_f64()).fetch_optional(&mut *connection).await?;
            connection.rest();
            Ok::<_, EntityError>(claimed.is_some())
        };
        if !self.store().within(claim).await? {
            return Ok(None);
        }
        let entities = self.delete_all(REMOVED_ENTITIES, settings.retention).await?;
        let transitions = self.delete_all(OLD_TRANSITIONS, settings.retention).await?;
        Ok(Some(Swept { entities, transitions }))
    }

    /// Sweeps now and then, until it is dropped.
    pub async fn keep_swept(&self) {
        loop {
            // Replicas that started together do not ask together whose turn it is.
            tokio::time::sleep(self.settings().sweep.mul_f64(0.5 + rand::random::<f64>())).await;
            match self.sweep().await {
                Ok(None) => {}
                Ok(Some(Swept { entities, transitions })) => debug!(entities, transitions, "forgot old transitions of entities"),
                Err(problem) => debug!(%problem, "old transitions of entities could not be forgotten"),
            }
        }
    }

    /// A part at a time.
    async fn delete_all(&self, statement: &'static str, retention: Duration) -> Result<u64, EntityError> {
        let mut all = 0;
        loop {
            let delete = async {
                let mut connection = self.store().take().await?;
                let deleted = delete(&mut connection, statement, retention).await?;
                connection.rest();
                Ok::<_, EntityError>(deleted)
            };
            let deleted = self.store().within(delete).await?;
            all += deleted;
            if deleted < AT_ONCE.unsigned_abs() {
                return Ok(all);
            }
        }
    }
}

async fn delete(connection: &mut PgConnection, statement: &'static str, retention: Duration) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query(statement).bind(retention.as_secs_f64()).bind(AT_ONCE).execute(connection).await?;
    Ok(deleted.rows_affected())
}
