//! Recurring jobs. A slot is made by whoever locks its row first, in one transaction with the step to the next slot; so each is made
//! once, whatever happens to whom.

use std::time::Duration;

use sqlx::{FromRow, PgConnection};
use tracing::error;

use super::{CHANNEL, PostgresStore, timestamp};
use crate::MAX_SCHEDULES;
use crate::QueueError;
use crate::job::QueueName;
use crate::recurring::{RecurringJob, Schedule};

const NOW: &str = "
    SELECT (extract(epoch FROM now()) * 1000000)::bigint,
        (SELECT count(*) FROM checkstack_jobs.schedules WHERE queue = $1 AND schedule_id <> $2)";

/// When it is there already as it is, nothing happens.
const PUT: &str = "
    WITH changed AS (
        INSERT INTO checkstack_jobs.schedules AS s (queue, schedule_id, definition, next_run)
        VALUES ($1, $2, $3, timestamptz 'epoch' + $4 * interval '1 microsecond')
        ON CONFLICT (queue, schedule_id) DO UPDATE SET definition = excluded.definition, next_run = excluded.next_run, set_at = now()
            WHERE s.definition <> excluded.definition
        RETURNING 1
    ), cancelled AS (
        DELETE FROM checkstack_jobs.deliveries
        WHERE queue = $1 AND schedule = $2 AND owner IS NULL AND EXISTS (SELECT FROM changed)
    )
    SELECT count(*), (SELECT pg_notify($5, 's')::text) FROM changed";

const REMOVE: &str = "
    WITH removed AS (DELETE FROM checkstack_jobs.schedules WHERE queue = $1 AND schedule_id = $2 RETURNING 1),
    cancelled AS (DELETE FROM checkstack_jobs.deliveries WHERE queue = $1 AND schedule = $2 AND owner IS NULL)
    SELECT count(*) FROM removed";

const LIST: &str = "
    SELECT queue, definition, (extract(epoch FROM next_run) * 1000000)::bigint FROM checkstack_jobs.schedules
    WHERE $1::text IS NULL OR queue = $1 ORDER BY queue, schedule_id";

/// Rows that another process is just working on are left out. The time is that of the statement: the clock may have been set since its transaction
/// began.
const DUE: &str = "
    SELECT queue, schedule_id, definition, (extract(epoch FROM next_run) * 1000000)::bigint AS slot,
        (extract(epoch FROM statement_timestamp()) * 1000000)::bigint AS now
    FROM checkstack_jobs.schedules WHERE next_run <= statement_timestamp() ORDER BY next_run LIMIT 100 FOR UPDATE SKIP LOCKED";

const ADVANCE: &str = "
    UPDATE checkstack_jobs.schedules s SET next_run = timestamptz 'epoch' + a.next * interval '1 microsecond'
    FROM unnest($1::text[], $2::text[], $3::bigint[]) AS a (queue, schedule_id, next)
    WHERE s.queue = a.queue AND s.schedule_id = a.schedule_id";

/// A run for each group that has none of the schedule which waits or is being run
const ADD_RUNS: &str = "
    WITH run AS (
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::integer[])
            WITH ORDINALITY AS r (queue, schedule, job_id, data, priority, place)
    ), added AS (
        INSERT INTO checkstack_jobs.deliveries (queue, group_name, job_id, schedule, once_key, data, priority, run_at)
        SELECT r.queue, coalesce(g.group_name, ''), r.job_id, r.schedule, 'schedule:' || r.schedule, r.data::json, r.priority, now()
        FROM run r LEFT JOIN checkstack_jobs.groups g USING (queue)
        ORDER BY r.place
        ON CONFLICT (queue, group_name, once_key) WHERE once_key IS NOT NULL DO NOTHING
        RETURNING queue
    ), queues AS MATERIALIZED (SELECT DISTINCT queue FROM added)
    SELECT queue, pg_notify($6, 'q' || queue)::text FROM queues";

const NEXT: &str = "SELECT extract(epoch FROM min(next_run) - now())::float8 FROM checkstack_jobs.schedules";

/// When to look again for a slot that is due and that another process has locked.
const HELD_BY_ANOTHER: Duration = Duration::from_millis(250);
/// When a schedule is looked at again that cannot be read: a newer release may have written it.
const UNREADABLE: Duration = Duration::from_secs(3600);

#[derive(FromRow)]
struct Due {
    queue: String,
    schedule_id: String,
    definition: String,
    slot: i64,
    now: i64,
}

impl PostgresStore {
    pub(super) async fn put_schedule(&self, queue: &QueueName, schedule: &Schedule) -> Result<bool, QueueError> {
        let definition = schedule.definition()?;
        let asked = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let now: (i64, i64) = sqlx::query_as(NOW).bind(queue.as_str()).bind(&schedule.job_id).fetch_one(&mut *connection).await?;
            connection.rest();
            Ok(now)
        });
        let (now, others) = asked.await?;
        if usize::try_from(others).unwrap_or(usize::MAX) >= MAX_SCHEDULES {
            return Err(QueueError::Invalid(format!("queue '{queue}' has {MAX_SCHEDULES} recurring jobs, and more are not taken")));
        }
        let first = schedule.first_run(timestamp(now))?.as_microsecond();
        let changed = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let put = sqlx::query_as(PUT).bind(queue.as_str()).bind(&schedule.job_id).bind(&definition).bind(first).bind(CHANNEL);
            let (changed, _): (i64, Option<String>) = put.fetch_one(&mut *connection).await?;
            connection.rest();
            Ok(changed > 0)
        });
        changed.await
    }

    pub(super) async fn remove_schedule(&self, queue: &QueueName, job_id: &str) -> Result<bool, QueueError> {
        let removed = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let removed: i64 = sqlx::query_scalar(REMOVE).bind(queue.as_str()).bind(job_id).fetch_one(&mut *connection).await?;
            connection.rest();
            Ok(removed > 0)
        });
        removed.await
    }

    pub(super) async fn list_schedules(&self, queue: Option<&QueueName>) -> Result<Vec<(QueueName, RecurringJob)>, QueueError> {
        let listed = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let listed = sqlx::query_as(LIST).bind(queue.map(QueueName::as_str)).fetch_all(&mut *connection).await?;
            connection.rest();
            Ok(listed)
        });
        let listed: Vec<(String, String, i64)> = listed.await?;
        let read = |(queue, definition, next): (String, String, i64)| {
            let schedule = Schedule::from_definition(&definition)?;
            Ok((QueueName::stored(queue), RecurringJob { schedule, next_run_at: timestamp(next) }))
        };
        listed.into_iter().map(read).collect()
    }

    pub(super) async fn make_runs(&self) -> Result<(Vec<QueueName>, Option<Duration>), QueueError> {
        let made = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let mut transaction = connection.begin().await?;
            let due: Vec<Due> = sqlx::query_as(DUE).fetch_all(&mut *transaction).await?;
            let queues = match due.is_empty() {
                true => Vec::new(),
                false => make(&mut transaction, &due).await?,
            };
            transaction.commit().await?;
            // Those that another process has locked are its own: they are not waited for.
            let next: Option<f64> = sqlx::query_scalar(NEXT).fetch_one(&mut *connection).await?;
            connection.rest();
            Ok((queues, next, due.is_empty()))
        });
        let (queues, next, none_made) = made.await?;
        let next = next.map(|seconds| match seconds <= 0.0 && none_made {
            // Another process is making it; should it not come to that, this one does.
            true => HELD_BY_ANOTHER,
            false => Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX),
        });
        Ok((queues, next))
    }
}

async fn make(connection: &mut PgConnection, due: &[Due]) -> Result<Vec<QueueName>, sqlx::Error> {
    let mut runs = Runs::default();
    let mut advance = (Vec::new(), Vec::new(), Vec::new());
    for row in due {
        let (slot, now) = (timestamp(row.slot), timestamp(row.now));
        let read = Schedule::from_definition(&row.definition).and_then(|schedule| Ok((schedule.next_run(slot, now)?, schedule)));
        let next = match read {
            Ok((next, schedule)) => {
                runs.add(row, &schedule, slot);
                next.as_microsecond()
            }
            Err(problem) => {
                error!(queue = row.queue, schedule = row.schedule_id, %problem, "a recurring job is left out for an hour");
                row.now.saturating_add(i64::try_from(UNREADABLE.as_micros()).unwrap_or(i64::MAX))
            }
        };
        advance.0.push(row.queue.as_str());
        advance.1.push(row.schedule_id.as_str());
        advance.2.push(next);
    }
    sqlx::query(ADVANCE).bind(advance.0).bind(advance.1).bind(advance.2).execute(&mut *connection).await?;
    let queues: Vec<(String, String)> = sqlx::query_as(ADD_RUNS)
        .bind(runs.queues)
        .bind(runs.schedules)
        .bind(runs.job_ids)
        .bind(runs.data)
        .bind(runs.priorities)
        .bind(CHANNEL)
        .fetch_all(connection)
        .await?;
    Ok(queues.into_iter().map(|(queue, _)| QueueName::stored(queue)).collect())
}

/// Columns of [`ADD_RUNS`]
#[derive(Default)]
struct Runs {
    queues: Vec<String>,
    schedules: Vec<String>,
    job_ids: Vec<String>,
    data: Vec<String>,
    priorities: Vec<i32>,
}

impl Runs {
    fn add(&mut self, row: &Due, schedule: &Schedule, slot: jiff::Timestamp) {
        self.queues.push(row.queue.clone());
        self.schedules.push(row.schedule_id.clone());
        self.job_ids.push(schedule.run_id(slot));
        self.data.push(schedule.data.to_string());
        self.priorities.push(schedule.priority);
    }
}
