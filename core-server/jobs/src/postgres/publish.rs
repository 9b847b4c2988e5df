//! Adding a job for the groups that there are.

use sqlx::PgConnection;

use super::{CHANNEL, PostgresStore};
use crate::QueueError;
use crate::job::{CheckedJob, QueueName};
use crate::store::Published;

/// Nothing is written, and nobody is told, when there is no group.
///
/// Times are those of the statement and not of its transaction (`now()`), which may have begun long before: jobs are taken by time, and who
/// publishes while they hold a lock counts as later than who held it before, whichever of them began first.
const PUBLISH: &str = "
    WITH added AS (
        INSERT INTO checkstack_jobs.deliveries (queue, group_name, job_id, data, priority, enqueued_at, run_at)
        SELECT $1, g.group_name, $2, $3::json, $4, statement_timestamp(), statement_timestamp() + make_interval(secs => $5)
        FROM checkstack_jobs.groups g WHERE g.queue = $1 AND g.group_name <> ALL ($6::text[])
        RETURNING id
    )
    SELECT count(*), CASE WHEN count(*) > 0 THEN pg_notify($7, 'q' || $1)::text END FROM added";

/// How many jobs wait for each group.
const DEPTHS: &str = "SELECT group_name, count(*) FROM checkstack_jobs.deliveries WHERE queue = $1 AND group_name <> '' AND owner IS NULL GROUP BY group_name";

impl PostgresStore {
    pub(super) async fn add_for_present(&self, queue: &QueueName, job: &CheckedJob) -> Result<Published, QueueError> {
        let published = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let published = self.insert_for_present(&mut connection, queue, job).await?;
            connection.rest();
            Ok(published)
        });
        published.await
    }

    /// In a transaction of the caller.
    pub(super) async fn add_for_present_in(
        &self,
        connection: &mut PgConnection,
        queue: &QueueName,
        job: &CheckedJob,
    ) -> Result<Published, QueueError> {
        self.connections.answer(self.insert_for_present(connection, queue, job)).await
    }

    /// Without a question where it is known that there is room.
    pub(super) async fn groups_without_room(&self, queue: &QueueName) -> Result<Vec<String>, QueueError> {
        if self.depths.has_room(queue, 1, self.max_queue_size) {
            return Ok(Vec::new());
        }
        let count = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let full = self.count_full(&mut connection, queue).await?;
            connection.rest();
            Ok(full)
        });
        count.await
    }

    async fn count_full(&self, connection: &mut PgConnection, queue: &QueueName) -> Result<Vec<String>, sqlx::Error> {
        let depths: Vec<(String, i64)> = sqlx::query_as(DEPTHS).bind(queue.as_str()).fetch_all(connection).await?;
        let (mut full, mut deepest) = (Vec::new(), 0);
        for (group, depth) in depths {
            match usize::try_from(depth).unwrap_or(usize::MAX) {
                depth if depth < self.max_queue_size => deepest = deepest.max(depth),
                _ => full.push(group),
            }
        }
        if full.is_empty() {
            self.depths.note(queue, deepest.saturating_add(1));
        }
        Ok(full)
    }

    async fn insert_for_present(
        &self,
        connection: &mut PgConnection,
        queue: &QueueName,
        job: &CheckedJob,
    ) -> Result<Published, sqlx::Error> {
        let full = match self.depths.has_room(queue, 1, self.max_queue_size) {
            true => Vec::new(),
            false => self.count_full(connection, queue).await?,
        };
        let (groups, _): (i64, Option<String>) = sqlx::query_as(PUBLISH)
            .bind(queue.as_str())
            .bind(&job.id)
            .bind(&job.data)
            .bind(job.priority)
            .bind(job.delay.as_secs_f64())
            .bind(&full)
            .bind(CHANNEL)
            .fetch_one(connection)
            .await?;
        Ok(Published { groups: u64::try_from(groups).unwrap_or(0), full })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_tells_those_who_listen() {
        let function = include_str!("../../migrations/0003_publish.sql");
        assert!(function.contains(&format!("pg_notify('{CHANNEL}', 'q' || the_queue)")));
    }
}
