//! Groups: which there are, the jobs that wait for a first one, and those that have waited too long.

use super::PostgresStore;
use crate::QueueError;
use crate::job::QueueName;
use crate::store::{Claim, Ending, Outcome};

/// Once joined, a group is known to whoever enqueues. It is a statement of its own: see [`ADOPT`].
const JOIN: &str = "
    INSERT INTO checkstack_jobs.groups AS g (queue, group_name) VALUES ($1, $2)
    ON CONFLICT (queue, group_name) DO UPDATE SET owner = NULL, lease_until = NULL WHERE g.owner IS NOT NULL";

/// Gives jobs that wait for a first group to the groups that there are. Ephemeral ones get nothing from before.
const ADOPT: &str = "
    WITH waiting AS (
        DELETE FROM checkstack_jobs.deliveries d
        WHERE d.group_name = '' AND ($1::text IS NULL OR d.queue = $1)
            AND EXISTS (SELECT FROM checkstack_jobs.groups g WHERE g.queue = d.queue AND g.owner IS NULL)
        RETURNING *
    )
    INSERT INTO checkstack_jobs.deliveries (queue, group_name, job_id, named, schedule, once_key, data, priority, enqueued_at, run_at)
    SELECT w.queue, g.group_name, w.job_id, w.named, w.schedule, w.once_key, w.data, w.priority, w.enqueued_at, w.run_at
    FROM waiting w JOIN checkstack_jobs.groups g ON g.queue = w.queue AND g.owner IS NULL ORDER BY w.id
    ON CONFLICT (queue, group_name, once_key) WHERE once_key IS NOT NULL DO NOTHING";

const FORGET: &str = "
    WITH forgotten AS (DELETE FROM checkstack_jobs.groups WHERE queue = $1 AND group_name = $2 RETURNING queue),
    dropped AS (DELETE FROM checkstack_jobs.deliveries WHERE queue = $1 AND group_name = $2)
    SELECT count(*) FROM forgotten";

const FORGET_GROUPS: &str = "
    WITH forgotten AS (
        DELETE FROM checkstack_jobs.groups WHERE starts_with(queue, $1) AND starts_with(group_name, $2) RETURNING queue, group_name
    ), dropped AS (
        DELETE FROM checkstack_jobs.deliveries d USING forgotten f WHERE d.queue = f.queue AND d.group_name = f.group_name
    )
    SELECT count(*) FROM forgotten";

const FORGET_QUEUES: &str = "
    WITH groups AS (DELETE FROM checkstack_jobs.groups WHERE starts_with(queue, $1) RETURNING queue),
    deliveries AS (DELETE FROM checkstack_jobs.deliveries WHERE starts_with(queue, $1) RETURNING queue),
    schedules AS (DELETE FROM checkstack_jobs.schedules WHERE starts_with(queue, $1) RETURNING queue),
    finished AS (DELETE FROM checkstack_jobs.finished WHERE starts_with(queue, $1) RETURNING queue),
    counters AS (DELETE FROM checkstack_jobs.counters WHERE starts_with(queue, $1) RETURNING queue)
    SELECT EXISTS (TABLE groups UNION ALL TABLE deliveries UNION ALL TABLE schedules UNION ALL TABLE finished UNION ALL TABLE counters)";

/// What was enqueued for a group in the moment in which it was forgotten
const DROP_ORPHANS: &str = "
    DELETE FROM checkstack_jobs.deliveries d
    WHERE d.group_name <> '' AND NOT EXISTS (SELECT FROM checkstack_jobs.groups g WHERE g.queue = d.queue AND g.group_name = d.group_name)";

/// Claims the jobs that have waited too long in the name of this store, a part at a time; they are then ended like any other.
const CLAIM_OLD: &str = "
    UPDATE checkstack_jobs.deliveries SET owner = $1, lease_until = now(), fence = fence + 1, max_retries = 0
    WHERE id IN (
        SELECT id FROM checkstack_jobs.deliveries WHERE owner IS NULL AND run_at < now() - make_interval(secs => $2)
        ORDER BY id LIMIT 500 FOR UPDATE SKIP LOCKED)
    RETURNING id, fence, queue";

impl PostgresStore {
    pub(super) async fn join_group(&self, queue: &QueueName, group: &str) -> Result<(), QueueError> {
        let joined = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            sqlx::query(JOIN).bind(queue.as_str()).bind(group).execute(&mut *connection).await?;
            connection.rest();
            Ok(())
        });
        joined.await?;
        self.adopt(Some(queue)).await?;
        Ok(())
    }

    /// Of one queue, or of all.
    pub(super) async fn adopt(&self, queue: Option<&QueueName>) -> Result<u64, QueueError> {
        let adopted = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let adopted = sqlx::query(ADOPT).bind(queue.map(QueueName::as_str)).execute(&mut *connection).await?;
            connection.rest();
            Ok(adopted.rows_affected())
        });
        adopted.await
    }

    pub(super) async fn forget_group(&self, queue: &QueueName, group: &str) -> Result<bool, QueueError> {
        let forgotten = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let forgotten: i64 = sqlx::query_scalar(FORGET).bind(queue.as_str()).bind(group).fetch_one(&mut *connection).await?;
            connection.rest();
            Ok(forgotten > 0)
        });
        forgotten.await
    }

    pub(super) async fn drop_groups(&self, queue_prefix: &str, group_prefix: &str) -> Result<u64, QueueError> {
        let forgotten = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let ask = sqlx::query_scalar(FORGET_GROUPS).bind(queue_prefix).bind(group_prefix);
            let forgotten: i64 = ask.fetch_one(&mut *connection).await?;
            connection.rest();
            Ok(forgotten)
        });
        Ok(u64::try_from(forgotten.await?).unwrap_or(0))
    }

    pub(super) async fn drop_queues(&self, prefix: &str) -> Result<bool, QueueError> {
        let dropped = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let dropped = sqlx::query_scalar(FORGET_QUEUES).bind(prefix).fetch_one(&mut *connection).await?;
            connection.rest();
            Ok(dropped)
        });
        dropped.await
    }

    pub(super) async fn give_up_the_old(&self) -> Result<(), QueueError> {
        let dropped = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            sqlx::query(DROP_ORPHANS).execute(&mut *connection).await?;
            connection.rest();
            Ok(())
        });
        dropped.await?;
        while self.give_up_some().await? > 0 {}
        Ok(())
    }

    async fn give_up_some(&self) -> Result<usize, QueueError> {
        let retention = self.timings.retention;
        let old = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let claim = sqlx::query_as(CLAIM_OLD).bind(self.owner).bind(retention.as_secs_f64());
            let old: Vec<(i64, i32, String)> = claim.fetch_all(&mut *connection).await?;
            connection.rest();
            Ok(old)
        });
        let outcomes: Vec<Outcome> = old
            .await?
            .into_iter()
            .map(|(delivery, fence, queue)| Outcome {
                claim: Claim { delivery, fence },
                queue: QueueName::stored(queue),
                ending: Ending::Failed { reason: format!("it waited for longer than {} s", retention.as_secs()) },
            })
            .collect();
        self.end(&outcomes).await?;
        Ok(outcomes.len())
    }
}
