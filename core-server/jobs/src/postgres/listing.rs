//! What can be seen of jobs in the database.

use std::time::Duration;

use sqlx::FromRow;

use super::{PostgresStore, timestamp};
use crate::QueueError;
use crate::job::QueueName;
use crate::listing::{JobPage, JobQuery, JobState, JobSummary, QueueStats, Scope, Waiting};

const COUNT: &str = "
    SELECT count(*) FILTER (WHERE owner IS NULL), count(*) FILTER (WHERE owner IS NOT NULL),
        (SELECT coalesce(sum(completed), 0)::bigint FROM checkstack_jobs.counters WHERE queue = ANY ($1)),
        (SELECT coalesce(sum(failed), 0)::bigint FROM checkstack_jobs.counters WHERE queue = ANY ($1)),
        (SELECT count(*) FROM checkstack_jobs.groups WHERE queue = ANY ($1))
    FROM checkstack_jobs.deliveries WHERE queue = ANY ($1)";

/// Jobs that wait or are being run, and the next run of each schedule: a page, and how many there are.
const UNFINISHED: &str = "
    WITH found AS (
        SELECT queue, job_id, group_name, enqueued_at, started_at, run_at, attempts, failed_reason, schedule IS NOT NULL AS recurring,
            CASE WHEN owner IS NOT NULL THEN 'active' WHEN run_at > now() THEN 'delayed' ELSE 'waiting' END AS state
        FROM checkstack_jobs.deliveries WHERE queue = ANY ($1)
        UNION ALL
        SELECT queue, schedule_id, '', set_at, NULL, next_run, 0, NULL, true, 'delayed' FROM checkstack_jobs.schedules WHERE queue = ANY ($1)
    )
    SELECT queue, job_id, group_name, state, recurring, attempts, failed_reason,
        (extract(epoch FROM enqueued_at) * 1000000)::bigint AS enqueued_at, (extract(epoch FROM started_at) * 1000000)::bigint AS started_at,
        NULL::bigint AS finished_at, (extract(epoch FROM run_at) * 1000000)::bigint AS run_at, count(*) OVER () AS total
    FROM found WHERE state = ANY ($2)
    ORDER BY CASE state WHEN 'active' THEN started_at ELSE enqueued_at END LIMIT $3";

const FINISHED: &str = "
    SELECT queue, job_id, group_name, state, recurring, attempts, failed_reason,
        (extract(epoch FROM enqueued_at) * 1000000)::bigint AS enqueued_at, (extract(epoch FROM started_at) * 1000000)::bigint AS started_at,
        (extract(epoch FROM finished_at) * 1000000)::bigint AS finished_at, NULL::bigint AS run_at, count(*) OVER () AS total
    FROM checkstack_jobs.finished WHERE queue = ANY ($1) AND state = ANY ($2) ORDER BY finished_at DESC LIMIT $3";

/// From when on a job could have been taken is when it was due.
const WAITING: &str = "
    SELECT queue, group_name, count(*) FILTER (WHERE run_at <= now()), count(*) FILTER (WHERE run_at > now()),
        greatest(0, coalesce(extract(epoch FROM now() - min(run_at)), 0))::float8
    FROM checkstack_jobs.deliveries WHERE owner IS NULL GROUP BY queue, group_name";

#[derive(FromRow)]
struct Row {
    queue: String,
    job_id: String,
    group_name: String,
    state: String,
    recurring: bool,
    attempts: i32,
    failed_reason: Option<String>,
    enqueued_at: i64,
    started_at: Option<i64>,
    finished_at: Option<i64>,
    run_at: Option<i64>,
    total: i64,
}

impl PostgresStore {
    pub(super) async fn count(&self, queues: &[QueueName]) -> Result<QueueStats, QueueError> {
        let counted = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let counted: (i64, i64, i64, i64, i64) = sqlx::query_as(COUNT).bind(names(queues)).fetch_one(&mut *connection).await?;
            connection.rest();
            Ok(counted)
        });
        let (pending, processing, completed, failed, consumer_groups) = counted.await?;
        Ok(QueueStats {
            pending: pending.unsigned_abs(),
            processing: processing.unsigned_abs(),
            completed: completed.unsigned_abs(),
            failed: failed.unsigned_abs(),
            consumer_groups: consumer_groups.unsigned_abs(),
            scope: Scope::Cluster,
        })
    }

    pub(super) async fn count_waiting(&self) -> Result<Vec<Waiting>, QueueError> {
        let counted = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let counted = sqlx::query_as(WAITING).fetch_all(&mut *connection).await?;
            connection.rest();
            Ok(counted)
        });
        let counted: Vec<(String, String, i64, i64, f64)> = counted.await?;
        let waiting = |(queue, group, due, delayed, lag): (_, _, i64, i64, f64)| Waiting {
            queue,
            group,
            due: due.unsigned_abs(),
            delayed: delayed.unsigned_abs(),
            lag: Duration::try_from_secs_f64(lag).unwrap_or(Duration::MAX),
        };
        Ok(counted.into_iter().map(waiting).collect())
    }

    pub(super) async fn list(&self, queues: &[QueueName], query: &JobQuery) -> Result<JobPage, QueueError> {
        let (statement, states): (_, &[&str]) = match query.state {
            JobState::Pending => (UNFINISHED, &["waiting", "delayed"]),
            JobState::Waiting => (UNFINISHED, &["waiting"]),
            JobState::Delayed => (UNFINISHED, &["delayed"]),
            JobState::Active => (UNFINISHED, &["active"]),
            JobState::Completed => (FINISHED, &["completed"]),
            JobState::Failed => (FINISHED, &["failed"]),
        };
        let reach = i64::try_from(query.reach()).unwrap_or(i64::MAX);
        let found = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let found = sqlx::query_as(statement).bind(names(queues)).bind(states).bind(reach).fetch_all(&mut *connection).await?;
            connection.rest();
            Ok(found)
        });
        let found: Vec<Row> = found.await?;
        let total = found.first().map_or(0, |row| row.total.unsigned_abs());
        Ok(JobPage::cut(found.into_iter().map(Row::summary).collect(), total, query))
    }
}

fn names(queues: &[QueueName]) -> Vec<&str> {
    queues.iter().map(QueueName::as_str).collect()
}

impl Row {
    fn summary(self) -> JobSummary {
        let state = match self.state.as_str() {
            "active" => JobState::Active,
            "delayed" => JobState::Delayed,
            "completed" => JobState::Completed,
            "failed" => JobState::Failed,
            _ => JobState::Waiting,
        };
        JobSummary {
            id: self.job_id,
            queue: self.queue,
            group: Some(self.group_name).filter(|group| !group.is_empty()),
            state,
            enqueued_at: timestamp(self.enqueued_at),
            // Of a job that waits again, it is when the attempt before began.
            started_at: self.started_at.map(timestamp),
            finished_at: self.finished_at.map(timestamp),
            attempts: u32::try_from(self.attempts).unwrap_or(0),
            failed_reason: self.failed_reason,
            next_run_at: self.run_at.filter(|_| state == JobState::Delayed).map(timestamp),
            recurring: self.recurring,
        }
    }
}
