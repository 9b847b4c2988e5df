//! The clock of the database, by which all times of jobs are. It can be set, and everything can stand still for a while.
//!
//! Every process looks at it before it takes jobs from workers that seem to be gone, and all remember together when that was last done.
//! - **It went back**: what waits would wait for so much longer, and who is gone would keep its jobs. All times are moved with it.
//! - **Nobody has looked for a while**: the clock went forward, or nobody could look. Leases have expired without a fault of their
//!   holders, who get a whole one to say that they are there.

use std::time::Duration;

use sqlx::PgConnection;
use tracing::{error, warn};

use super::{CHANNEL, PostgresStore, timestamp};
use crate::recurring::Schedule;
use crate::{QueueError, Timings};

/// Seconds since somebody has looked.
const LOOK: &str = "
    WITH before AS MATERIALIZED (SELECT seen FROM checkstack_jobs.clock FOR UPDATE)
    UPDATE checkstack_jobs.clock c SET seen = clock_timestamp() FROM before
    RETURNING extract(epoch FROM c.seen - before.seen)::float8";

// From here on the time is that of the statement: the clock may have been set since the transaction began.

const EXTEND_LEASES: &str = "
    WITH jobs AS (
        UPDATE checkstack_jobs.deliveries SET lease_until = clock_timestamp() + make_interval(secs => $1)
        WHERE owner IS NOT NULL AND lease_until < clock_timestamp() RETURNING 1
    ), groups AS (
        UPDATE checkstack_jobs.groups SET lease_until = clock_timestamp() + make_interval(secs => $1)
        WHERE lease_until < clock_timestamp() RETURNING 1
    )
    SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM groups)";

const CUT_LEASES: &str = "
    WITH groups AS (
        UPDATE checkstack_jobs.groups SET lease_until = clock_timestamp() + make_interval(secs => $1)
        WHERE lease_until > clock_timestamp() + make_interval(secs => $1)
    )
    UPDATE checkstack_jobs.deliveries SET lease_until = clock_timestamp() + make_interval(secs => $1)
    WHERE owner IS NOT NULL AND lease_until > clock_timestamp() + make_interval(secs => $1)";

/// Those that were to wait keep what they had left.
const MOVE_WAITING: &str = "
    WITH moved AS (
        UPDATE checkstack_jobs.deliveries SET run_at = run_at - make_interval(secs => $1), enqueued_at = least(enqueued_at, clock_timestamp())
        WHERE owner IS NULL AND run_at > clock_timestamp() RETURNING queue
    )
    SELECT count(pg_notify($2, 'q' || queue)::text) FROM (SELECT DISTINCT queue FROM moved) q";

const SCHEDULES: &str = "
    SELECT queue, schedule_id, definition, (extract(epoch FROM next_run) * 1000000)::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
    FROM checkstack_jobs.schedules WHERE next_run > clock_timestamp() ORDER BY queue, schedule_id FOR UPDATE";

const MOVE_SCHEDULES: &str = "
    WITH moved AS (
        UPDATE checkstack_jobs.schedules s SET next_run = timestamptz 'epoch' + a.next * interval '1 microsecond', set_at = least(set_at, clock_timestamp())
        FROM unnest($1::text[], $2::text[], $3::bigint[]) AS a (queue, schedule_id, next)
        WHERE s.queue = a.queue AND s.schedule_id = a.schedule_id
    )
    SELECT pg_notify($4, 's')::text";

/// What is to be thought of the time since somebody has looked last.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Verdict {
    Steady,
    /// By at least so much.
    WentBack(Duration),
    NobodyLooked,
}

impl Verdict {
    /// After so many seconds. Who holds a lease says once in `renewal` that it is there: a step forward that is not taken for one is too
    /// small to let a lease expire that somebody holds.
    fn of(seconds: f64, timings: &Timings) -> Self {
        if seconds > longest_look_away(timings) {
            Self::NobodyLooked
        } else if seconds < timings.renewal.as_secs_f64() * -0.5 {
            Self::WentBack(Duration::try_from_secs_f64(-seconds).unwrap_or(Duration::MAX))
        } else {
            Self::Steady
        }
    }
}

/// How many seconds after somebody has looked leases that have expired still mean that their holders are gone.
pub(super) fn longest_look_away(timings: &Timings) -> f64 {
    (timings.lease.as_secs_f64() - timings.renewal.as_secs_f64()) * 0.9
}

impl PostgresStore {
    /// Whether leases that have expired mean that their holders are gone.
    pub(super) async fn clock_is_steady(&self) -> Result<bool, QueueError> {
        let looked = self.connections.answer(async {
            let mut connection = self.connections.take().await?;
            let mut transaction = connection.begin().await?;
            let seconds: f64 = sqlx::query_scalar(LOOK).fetch_one(&mut *transaction).await?;
            let lease = self.timings.lease.as_secs_f64();
            let verdict = Verdict::of(seconds, &self.timings);
            match verdict {
                Verdict::Steady => {}
                Verdict::WentBack(by) => {
                    warn!(seconds = by.as_secs(), "the clock of the database went back: what waits is moved with it");
                    sqlx::query(CUT_LEASES).bind(lease).execute(&mut *transaction).await?;
                    move_back(&mut transaction, by, self.timings.renewal).await?;
                }
                Verdict::NobodyLooked => {
                    let extended: i64 = sqlx::query_scalar(EXTEND_LEASES).bind(lease).fetch_one(&mut *transaction).await?;
                    if extended > 0 {
                        warn!(seconds, extended, "nobody has looked at the queues for a while: who has jobs gets time to say so");
                    }
                }
            }
            transaction.commit().await?;
            connection.rest();
            Ok(verdict != Verdict::NobodyLooked)
        });
        looked.await
    }
}

/// The last look may have been `uncertain` before the clock was set, which is missing in `by`.
async fn move_back(connection: &mut PgConnection, by: Duration, uncertain: Duration) -> Result<(), sqlx::Error> {
    let _: i64 = sqlx::query_scalar(MOVE_WAITING).bind(by.as_secs_f64()).bind(CHANNEL).fetch_one(&mut *connection).await?;
    let schedules: Vec<(String, String, String, i64, i64)> = sqlx::query_as(SCHEDULES).fetch_all(&mut *connection).await?;
    let (mut queues, mut ids, mut next) = (Vec::new(), Vec::new(), Vec::new());
    for (queue, id, definition, next_run, now) in schedules {
        let moved = Schedule::from_definition(&definition)
            .and_then(|schedule| schedule.after_clock_went_back(timestamp(next_run), timestamp(now), by, uncertain));
        match moved {
            Ok(moved) => {
                queues.push(queue);
                ids.push(id);
                next.push(moved.as_microsecond());
            }
            Err(problem) => error!(queue, schedule = id, %problem, "a recurring job keeps its time"),
        }
    }
    let _: String = sqlx::query_scalar(MOVE_SCHEDULES).bind(queues).bind(ids).bind(next).bind(CHANNEL).fetch_one(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_steps_are_none() {
        // Leases of 30 s, renewed every 10 s.
        let verdict = |seconds| Verdict::of(seconds, &Timings::default());
        for seconds in [0.0, 10.5, 18.0, -0.1, -5.0] {
            assert_eq!(verdict(seconds), Verdict::Steady, "{seconds}");
        }
        assert_eq!(verdict(18.1), Verdict::NobodyLooked);
        assert_eq!(verdict(-3600.0), Verdict::WentBack(Duration::from_secs(3600)));
    }
}
