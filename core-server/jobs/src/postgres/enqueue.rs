//! Adding jobs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::Instant;

use super::{CHANNEL, PostgresStore};
use crate::QueueError;
use crate::job::{CheckedJob, QueueName};

/// One delivery for each group, and a message to who listens. The message is sent when the transaction ends well.
///
/// A named job is left out for a group that has one with its id waiting. Two that enqueue the same id at the same time do not see
/// each other: that is what the unique key is for.
const ENQUEUE: &str = "
    WITH job AS (
        SELECT * FROM unnest($2::text[], $3::boolean[], $4::text[], $5::integer[], $6::float8[])
            WITH ORDINALITY AS j (id, named, data, priority, delay, place)
    ), target AS (
        SELECT group_name FROM checkstack_jobs.groups WHERE queue = $1
        UNION ALL SELECT '' WHERE NOT EXISTS (SELECT FROM checkstack_jobs.groups WHERE queue = $1)
    ), added AS (
        INSERT INTO checkstack_jobs.deliveries (queue, group_name, job_id, named, once_key, data, priority, run_at)
        SELECT $1, t.group_name, j.id, j.named, CASE WHEN j.named THEN 'job:' || j.id END, j.data::json, j.priority,
            now() + make_interval(secs => j.delay)
        FROM job j CROSS JOIN target t
        WHERE NOT j.named OR NOT EXISTS (
            SELECT FROM checkstack_jobs.deliveries d
            WHERE d.named AND d.queue = $1 AND d.group_name = t.group_name AND d.job_id = j.id AND d.owner IS NULL)
        ORDER BY j.place
        ON CONFLICT (queue, group_name, once_key) WHERE once_key IS NOT NULL DO NOTHING
        RETURNING group_name
    )
    SELECT count(*), coalesce(bool_or(group_name = ''), false), pg_notify($7, 'q' || $1)::text FROM added";

/// How many jobs wait for the group that is furthest behind.
const DEPTH: &str = "
    SELECT group_name, count(*) FROM checkstack_jobs.deliveries WHERE queue = $1 AND owner IS NULL GROUP BY group_name
    ORDER BY count(*) DESC LIMIT 1";

/// How long a count of waiting jobs is believed.
const BELIEVED: Duration = Duration::from_secs(1);

impl PostgresStore {
    pub(super) async fn add(&self, queue: &QueueName, jobs: &[CheckedJob]) -> Result<(), QueueError> {
        let added = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            if let Err(full) = self.check_depth(&mut connection, queue, jobs.len()).await? {
                connection.rest();
                return Ok(Err(full));
            }
            let waits_for_group = insert(&mut connection, queue, jobs).await?;
            connection.rest();
            Ok(Ok(waits_for_group))
        });
        if added.await?? {
            // A group may have joined in the same moment: then either it has seen these jobs, or this sees the group.
            self.adopt(Some(queue)).await?;
        }
        Ok(())
    }

    /// In a transaction of the caller. Should the first group of the queue join in the same moment, it gets the jobs a little later
    /// (`recover`).
    pub(super) async fn add_in(&self, connection: &mut PgConnection, queue: &QueueName, jobs: &[CheckedJob]) -> Result<(), QueueError> {
        let added = self.connections.answer(async {
            if let Err(full) = self.check_depth(connection, queue, jobs.len()).await? {
                return Ok(Err(full));
            }
            insert(connection, queue, jobs).await.map(Ok)
        });
        added.await?.map(drop)
    }

    async fn check_depth(
        &self,
        connection: &mut PgConnection,
        queue: &QueueName,
        more: usize,
    ) -> Result<Result<(), QueueError>, sqlx::Error> {
        if self.depths.has_room(queue, more, self.max_queue_size) {
            return Ok(Ok(()));
        }
        let found: Option<(String, i64)> = sqlx::query_as(DEPTH).bind(queue.as_str()).fetch_optional(connection).await?;
        let (group, depth) = found.unwrap_or_default();
        let depth = usize::try_from(depth).unwrap_or(usize::MAX);
        if depth.saturating_add(more) > self.max_queue_size {
            let group = Some(group).filter(|group| !group.is_empty());
            return Ok(Err(QueueError::Full { queue: queue.to_string(), group, most: self.max_queue_size }));
        }
        self.depths.note(queue, depth.saturating_add(more));
        Ok(Ok(()))
    }
}

/// Whether the jobs wait for a first group.
async fn insert(connection: &mut PgConnection, queue: &QueueName, jobs: &[CheckedJob]) -> Result<bool, sqlx::Error> {
    let (_, waits_for_group, _): (i64, bool, String) = sqlx::query_as(ENQUEUE)
        .bind(queue.as_str())
        .bind(jobs.iter().map(|job| job.id.as_str()).collect::<Vec<_>>())
        .bind(jobs.iter().map(|job| job.named).collect::<Vec<_>>())
        .bind(jobs.iter().map(|job| job.data.as_str()).collect::<Vec<_>>())
        .bind(jobs.iter().map(|job| job.priority).collect::<Vec<_>>())
        .bind(jobs.iter().map(|job| job.delay.as_secs_f64()).collect::<Vec<_>>())
        .bind(CHANNEL)
        .fetch_one(connection)
        .await?;
    Ok(waits_for_group)
}

/// What is known of how many jobs wait. To count them for each job that is added would make a queue slower the fuller it is; so the
/// limit may be exceeded by what other replicas add within a second.
#[derive(Debug, Default)]
pub(super) struct Depths(Mutex<HashMap<QueueName, (usize, Instant)>>);

impl Depths {
    /// Whether there is certainly room for some more, which then count. Near the limit nothing is certain.
    pub(super) fn has_room(&self, queue: &QueueName, more: usize, limit: usize) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((depth, since)) = known.get_mut(queue) else { return false };
        let expected = depth.saturating_add(more);
        if since.elapsed() > BELIEVED || expected > limit / 10 * 9 {
            return false;
        }
        *depth = expected;
        true
    }

    pub(super) fn note(&self, queue: &QueueName, depth: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(queue.clone(), (depth, Instant::now()));
    }
}
