//! Groups that end with their process: it renews them, by the clock of the database, and whoever finds one that was not renewed removes
//! it with its jobs.

use std::collections::HashSet;

use super::PostgresStore;
use super::clock::longest_look_away;
use crate::QueueError;
use crate::job::QueueName;
use crate::store::Membership;

/// Nothing is left of one of another process, or of another time, that had the same name.
const JOIN: &str = "
    WITH dropped AS (
        DELETE FROM checkstack_jobs.deliveries WHERE queue = $1 AND group_name = $2
            AND NOT EXISTS (SELECT FROM checkstack_jobs.groups WHERE queue = $1 AND group_name = $2 AND owner = $3)
    )
    INSERT INTO checkstack_jobs.groups (queue, group_name, owner, lease_until) VALUES ($1, $2, $3, now() + make_interval(secs => $4))
    ON CONFLICT (queue, group_name) DO UPDATE SET owner = excluded.owner, lease_until = excluded.lease_until";

/// One that has expired and was not removed has lost nothing.
const RENEW: &str = "
    WITH held AS MATERIALIZED (
        SELECT g.queue, g.group_name FROM checkstack_jobs.groups g
        JOIN unnest($1::text[], $2::text[]) AS m (queue, group_name) ON g.queue = m.queue AND g.group_name = m.group_name
        WHERE g.owner = $3 ORDER BY g.queue, g.group_name FOR UPDATE OF g
    )
    UPDATE checkstack_jobs.groups g SET lease_until = now() + make_interval(secs => $4)
    FROM held h WHERE g.queue = h.queue AND g.group_name = h.group_name RETURNING g.queue, g.group_name";

/// While the database was away nobody could renew anything: after its start all have a whole lease to do it. Nor does it count what has expired
/// because the clock was set since this process has looked at it.
const REMOVE_EXPIRED: &str = "
    WITH expired AS MATERIALIZED (
        SELECT queue, group_name FROM checkstack_jobs.groups
        WHERE lease_until < now() AND pg_postmaster_start_time() + make_interval(secs => $1) < now()
            AND (SELECT seen FROM checkstack_jobs.clock) > now() - make_interval(secs => $2)
        ORDER BY queue, group_name LIMIT 500 FOR UPDATE SKIP LOCKED
    ), removed AS (
        DELETE FROM checkstack_jobs.groups g USING expired e WHERE g.queue = e.queue AND g.group_name = e.group_name
    ), dropped AS (
        DELETE FROM checkstack_jobs.deliveries d USING expired e WHERE d.queue = e.queue AND d.group_name = e.group_name
    )
    SELECT count(*) FROM expired";

impl PostgresStore {
    pub(super) async fn join_ephemeral(&self, queue: &QueueName, group: &str) -> Result<(), QueueError> {
        let joined = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let lease = self.timings.lease.as_secs_f64();
            sqlx::query(JOIN).bind(queue.as_str()).bind(group).bind(self.owner).bind(lease).execute(&mut *connection).await?;
            connection.rest();
            Ok(())
        });
        joined.await
    }

    pub(super) async fn renew_memberships(&self, groups: &[Membership]) -> Result<HashSet<Membership>, QueueError> {
        let (queues, names): (Vec<&str>, Vec<&str>) = groups.iter().map(|of| (of.queue.as_str(), of.group.as_str())).unzip();
        let renewed = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let held: Vec<(String, String)> = sqlx::query_as(RENEW)
                .bind(queues)
                .bind(names)
                .bind(self.owner)
                .bind(self.timings.lease.as_secs_f64())
                .fetch_all(&mut *connection)
                .await?;
            connection.rest();
            Ok(held)
        });
        Ok(renewed.await?.into_iter().map(|(queue, group)| Membership { queue: QueueName::stored(queue), group }).collect())
    }

    pub(super) async fn remove_groups_of_the_gone(&self) -> Result<(), QueueError> {
        let removed = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let removed: i64 = sqlx::query_scalar(REMOVE_EXPIRED)
                .bind(self.timings.lease.as_secs_f64())
                .bind(longest_look_away(&self.timings))
                .fetch_one(&mut *connection)
                .await?;
            connection.rest();
            Ok(removed)
        });
        let removed = removed.await?;
        if removed > 0 {
            tracing::info!(removed, "removed groups of processes that are gone");
        }
        Ok(())
    }
}
