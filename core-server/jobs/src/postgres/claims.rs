//! Claims: taking jobs, renewing, ending, and taking them from workers that are gone.
//!
//! All times are those of the database. A claim is named by the delivery and its fence, which grows with each claim; nothing that is
//! said with an older fence has an effect.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::clock::longest_look_away;
use super::{CHANNEL, PostgresStore, timestamp};
use crate::QueueError;
use crate::job::QueueName;
use crate::listing::HISTORY;
use crate::store::{Claim, ClaimRequest, Claimed, ClaimedJob, Ending, Outcome};

/// Rows that another worker is just taking are left out, so that nobody waits for anybody.
const CLAIM: &str = "
    WITH next AS MATERIALIZED (
        SELECT id FROM checkstack_jobs.deliveries
        WHERE queue = $1 AND group_name = $2 AND owner IS NULL AND run_at <= now()
        ORDER BY priority DESC, run_at, id LIMIT $3 FOR UPDATE SKIP LOCKED
    )
    UPDATE checkstack_jobs.deliveries d
    SET owner = $4, fence = d.fence + 1, lease_until = now() + make_interval(secs => $5), started_at = now(), max_retries = $6,
        once_key = CASE WHEN d.schedule IS NOT NULL THEN d.once_key END
    FROM next WHERE d.id = next.id
    RETURNING d.id, d.fence, d.job_id, d.data::text AS data, d.priority, d.attempts,
        (extract(epoch FROM d.enqueued_at) * 1000000)::bigint AS enqueued_at, (extract(epoch FROM d.run_at) * 1000000)::bigint AS run_at";

const NEXT_DUE: &str = "
    SELECT extract(epoch FROM min(run_at) - now())::float8 FROM checkstack_jobs.deliveries
    WHERE queue = $1 AND group_name = $2 AND owner IS NULL";

const RENEW: &str = "
    WITH held AS MATERIALIZED (
        SELECT d.id FROM checkstack_jobs.deliveries d
        JOIN unnest($1::bigint[], $2::integer[]) AS c (id, fence) ON d.id = c.id AND d.fence = c.fence
        WHERE d.owner = $3 ORDER BY d.id FOR UPDATE OF d
    )
    UPDATE checkstack_jobs.deliveries d SET lease_until = now() + make_interval(secs => $4)
    FROM held WHERE d.id = held.id RETURNING d.id, d.fence";

/// Locks in one order, so that two that end jobs do not wait for each other in a circle. The newest that ended are remembered in
/// places that come round again: the counter says which is next.
const FINISH: &str = "
    WITH held AS MATERIALIZED (
        SELECT d.id, d.fence, o.ending, o.after, o.reason
        FROM checkstack_jobs.deliveries d
        JOIN unnest($1::bigint[], $2::integer[], $3::text[], $4::float8[], $5::text[]) AS o (id, fence, ending, after, reason)
            ON d.id = o.id AND d.fence = o.fence
        WHERE d.owner = $6 ORDER BY d.id FOR UPDATE OF d
    ), again AS (
        UPDATE checkstack_jobs.deliveries d
        SET owner = NULL, lease_until = NULL,
            attempts = d.attempts + CASE h.ending WHEN 'retry' THEN 1 ELSE 0 END,
            run_at = CASE h.ending WHEN 'retry' THEN now() + make_interval(secs => h.after) ELSE d.run_at END,
            failed_reason = coalesce(h.reason, d.failed_reason)
        FROM held h WHERE d.id = h.id AND h.ending IN ('retry', 'given-back')
        RETURNING d.queue
    ), ended AS (
        DELETE FROM checkstack_jobs.deliveries d USING held h
        WHERE d.id = h.id AND h.ending IN ('completed', 'failed')
        RETURNING d.*, h.ending, h.reason
    ), counted AS (
        INSERT INTO checkstack_jobs.counters AS c (queue, completed, failed)
        SELECT queue, count(*) FILTER (WHERE ending = 'completed'), count(*) FILTER (WHERE ending = 'failed')
        FROM ended GROUP BY queue ORDER BY queue
        ON CONFLICT (queue) DO UPDATE SET completed = c.completed + excluded.completed, failed = c.failed + excluded.failed
        RETURNING queue, completed, failed
    ), numbered AS (
        SELECT e.*, CASE e.ending WHEN 'completed' THEN c.completed ELSE c.failed END AS newest,
            row_number() OVER (PARTITION BY e.queue, e.ending ORDER BY e.id DESC) - 1 AS back
        FROM ended e JOIN counted c USING (queue)
    ), remembered AS (
        INSERT INTO checkstack_jobs.finished AS f (queue, state, place, group_name, job_id, recurring, enqueued_at, started_at,
            finished_at, attempts, failed_reason)
        SELECT queue, ending, ((newest - back) % $7)::integer, group_name, job_id, schedule IS NOT NULL, enqueued_at, started_at, now(),
            attempts + CASE ending WHEN 'failed' THEN 1 ELSE 0 END, coalesce(reason, failed_reason)
        FROM numbered WHERE back < $7
        ON CONFLICT (queue, state, place) DO UPDATE SET group_name = excluded.group_name, job_id = excluded.job_id,
            recurring = excluded.recurring, enqueued_at = excluded.enqueued_at, started_at = excluded.started_at,
            finished_at = excluded.finished_at, attempts = excluded.attempts, failed_reason = excluded.failed_reason
    ), told AS MATERIALIZED (
        SELECT pg_notify($8, 'q' || queue)::text AS told FROM (SELECT DISTINCT queue FROM again) q
    )
    SELECT id, fence FROM held WHERE (SELECT count(told) FROM told) >= 0";

/// Claims that have expired: which, and whether their jobs have attempts left. None, if the clock was set since this process has looked at it.
const EXPIRED: &str = "
    SELECT id, fence, queue, owner, attempts < coalesce(max_retries, 0) AS again FROM checkstack_jobs.deliveries
    WHERE owner IS NOT NULL AND lease_until < now() AND (SELECT seen FROM checkstack_jobs.clock) > now() - make_interval(secs => $1)
    ORDER BY id LIMIT 500 FOR UPDATE SKIP LOCKED";

#[derive(FromRow)]
struct Taken {
    id: i64,
    fence: i32,
    job_id: String,
    data: String,
    priority: i32,
    attempts: i32,
    enqueued_at: i64,
    run_at: i64,
}

#[derive(FromRow)]
struct Expired {
    id: i64,
    fence: i32,
    queue: String,
    owner: Uuid,
    again: bool,
}

impl PostgresStore {
    pub(super) async fn take(&self, request: &ClaimRequest) -> Result<Claimed, QueueError> {
        let most = i64::try_from(request.most).unwrap_or(i64::MAX);
        let max_retries = i32::try_from(request.max_retries).unwrap_or(i32::MAX);
        let mut taken: Vec<Taken> = self
            .connections
            .answer(async {
                let mut connection = self.connections.take().await?;
                let taken = sqlx::query_as(CLAIM)
                    .bind(request.queue.as_str())
                    .bind(&request.group)
                    .bind(most)
                    .bind(self.owner)
                    .bind(self.timings.lease.as_secs_f64())
                    .bind(max_retries)
                    .fetch_all(&mut *connection)
                    .await?;
                connection.rest();
                Ok(taken)
            })
            .await?;
        let next_due = match taken.len() < request.most {
            true => match self.next_due(request).await {
                Ok(next_due) => next_due,
                // The jobs are claimed all the same.
                Err(_) if !taken.is_empty() => Some(Duration::ZERO),
                Err(problem) => return Err(problem),
            },
            false => None,
        };
        taken.sort_unstable_by_key(|job| (std::cmp::Reverse(job.priority), job.run_at, job.id));
        Ok(Claimed { jobs: taken.into_iter().map(claimed).collect(), next_due })
    }

    async fn next_due(&self, request: &ClaimRequest) -> Result<Option<Duration>, QueueError> {
        let answer = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let ask = sqlx::query_scalar(NEXT_DUE).bind(request.queue.as_str()).bind(&request.group);
            let seconds: Option<f64> = ask.fetch_one(&mut *connection).await?;
            connection.rest();
            Ok(seconds)
        });
        Ok(answer.await?.map(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)))
    }

    pub(super) async fn renew_claims(&self, claims: &[Claim]) -> Result<HashSet<Claim>, QueueError> {
        let (ids, fences) = columns(claims.iter());
        let renewed = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let held: Vec<(i64, i32)> = sqlx::query_as(RENEW)
                .bind(ids)
                .bind(fences)
                .bind(self.owner)
                .bind(self.timings.lease.as_secs_f64())
                .fetch_all(&mut *connection)
                .await?;
            connection.rest();
            Ok(held)
        });
        Ok(renewed.await?.into_iter().map(|(delivery, fence)| Claim { delivery, fence }).collect())
    }

    pub(super) async fn end(&self, outcomes: &[Outcome]) -> Result<HashSet<Claim>, QueueError> {
        let ended = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let ended = finish(&mut connection, self.owner, outcomes).await?;
            connection.rest();
            Ok(ended)
        });
        ended.await
    }

    /// In the name of the workers that have gone.
    pub(super) async fn take_from_the_gone(&self) -> Result<u64, QueueError> {
        let taken = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let mut transaction = connection.begin().await?;
            let expired: Vec<Expired> = sqlx::query_as(EXPIRED).bind(longest_look_away(&self.timings)).fetch_all(&mut *transaction).await?;
            let mut owners: Vec<Uuid> = expired.iter().map(|expired| expired.owner).collect();
            owners.sort_unstable();
            owners.dedup();
            for gone in owners {
                let outcomes: Vec<Outcome> = expired.iter().filter(|expired| expired.owner == gone).map(Expired::outcome).collect();
                finish(&mut transaction, gone, &outcomes).await?;
            }
            transaction.commit().await?;
            connection.rest();
            Ok(expired.len() as u64)
        });
        taken.await
    }
}

impl Expired {
    fn outcome(&self) -> Outcome {
        let reason = "its worker was gone before it had ended".to_owned();
        let ending = match self.again {
            // It has waited long enough.
            true => Ending::Retry { after: Duration::ZERO, reason },
            false => Ending::Failed { reason },
        };
        Outcome { claim: Claim { delivery: self.id, fence: self.fence }, queue: QueueName::stored(self.queue.clone()), ending }
    }
}

async fn finish(connection: &mut PgConnection, owner: Uuid, outcomes: &[Outcome]) -> Result<HashSet<Claim>, sqlx::Error> {
    let (ids, fences) = columns(outcomes.iter().map(|outcome| &outcome.claim));
    let endings = outcomes.iter().map(|outcome| match &outcome.ending {
        Ending::Completed => ("completed", 0.0, None),
        Ending::Retry { after, reason } => ("retry", after.as_secs_f64(), Some(reason.as_str())),
        Ending::Failed { reason } => ("failed", 0.0, Some(reason.as_str())),
        Ending::GivenBack => ("given-back", 0.0, None),
    });
    let (mut kinds, mut delays, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
    for (kind, delay, reason) in endings {
        kinds.push(kind);
        delays.push(delay);
        reasons.push(reason);
    }
    let held: Vec<(i64, i32)> = sqlx::query_as(FINISH)
        .bind(ids)
        .bind(fences)
        .bind(kinds)
        .bind(delays)
        .bind(reasons)
        .bind(owner)
        .bind(i64::try_from(HISTORY).unwrap_or(i64::MAX))
        .bind(CHANNEL)
        .fetch_all(connection)
        .await?;
    Ok(held.into_iter().map(|(delivery, fence)| Claim { delivery, fence }).collect())
}

fn columns<'a>(claims: impl Iterator<Item = &'a Claim>) -> (Vec<i64>, Vec<i32>) {
    claims.map(|claim| (claim.delivery, claim.fence)).unzip()
}

fn claimed(taken: Taken) -> ClaimedJob {
    ClaimedJob {
        claim: Claim { delivery: taken.id, fence: taken.fence },
        id: taken.job_id,
        data: Arc::from(taken.data),
        priority: taken.priority,
        enqueued_at: timestamp(taken.enqueued_at),
        attempts: u32::try_from(taken.attempts).unwrap_or(0),
    }
}
