//! Work that is done later, again and again, or although a replica dies; grant `database`.
//!
//! A plugin names its queues and what does their jobs in [`Plugin::queues`](crate::Plugin::queues), and fills them with [`enqueue`]
//! or a [`schedule`]. Jobs are kept in the instance's database and done once, by whichever replica has time; after a crash, again.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use checkstack_plugin::jobs::{self, JobError, Queue, Recurrence};
//! use checkstack_plugin::{InitError, NoConfig, Plugin};
//!
//! struct Mailer;
//!
//! impl Plugin for Mailer {
//!     type Config = NoConfig;
//!
//!     fn init(_: NoConfig) -> Result<Self, InitError> {
//!         Ok(Self)
//!     }
//!
//!     fn queues() -> Vec<Queue<Self>> {
//!         vec![Queue::new("mail", Self::send).retries(5)]
//!     }
//!
//!     fn after_plugins_ready(&self) -> Result<(), InitError> {
//!         jobs::schedule("mail", "digest", &"everybody", Recurrence::cron_in("0 7 * * MON-FRI", "Europe/Berlin"))?;
//!         Ok(())
//!     }
//! }
//!
//! impl Mailer {
//!     fn send(&self, to: String, job: &jobs::Job) -> Result<(), JobError> {
//!         if to.is_empty() {
//!             return Err(JobError::permanent("there is nobody to write to"));
//!         }
//!         # let _ = (job, Duration::ZERO);
//!         Ok(())
//!     }
//! }
//! ```

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::checkstack::plugin::jobs as host;
use crate::clock::Timestamp;

/// Why a queue did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The grant `database` is missing.
    #[error("{0}")]
    Denied(String),
    /// A queue that the plugin does not name, data that is too large, a recurrence that never comes.
    #[error("{0}")]
    Invalid(String),
    /// Too many jobs wait already.
    #[error("{0}")]
    Full(String),
    /// The database does not answer; the same call may work later.
    #[error("{0}")]
    Unavailable(String),
}

/// A queue, and what does its jobs.
pub struct Queue<P> {
    pub(crate) name: &'static str,
    pub(crate) concurrency: u32,
    pub(crate) max_retries: u32,
    pub(crate) work: Work<P>,
}

type Work<P> = Box<dyn Fn(&P, &str, &Job) -> Result<(), JobError>>;

/// A job, beside its data.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Job {
    /// The same for each attempt.
    pub id: String,
    /// How many attempts have failed before.
    pub attempts: u32,
    /// When it was enqueued.
    pub enqueued_at: Timestamp,
}

/// Why a job was not done. Every `std::error::Error` becomes one that is worth another attempt, with `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobError {
    /// Another attempt may work.
    Retry(String),
    /// No attempt will work.
    Permanent(String),
}

/// When a schedule adds its jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recurrence {
    /// At once, and then after so much time each; 100 ms at least.
    Interval(Duration),
    /// When the clock of a time zone shows what the pattern says.
    Cron {
        /// Five fields (minute, hour, day, month, weekday), or six with seconds before them.
        pattern: String,
        /// Of the IANA database.
        time_zone: String,
    },
}

/// How a job is enqueued. The default is: at once, as important as others, with an id of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Higher is earlier; among equals, the first that was enqueued.
    pub priority: i32,
    /// Nobody does it before this time has passed, a year at most.
    pub delay: Duration,
    /// While a job of this id waits, no other is added.
    pub id: Option<String>,
}

impl<P> Queue<P> {
    /// One job at a time in each replica, and 3 retries, after 2, 4 and 8 seconds. Data that cannot be read is never done.
    pub fn new<D: DeserializeOwned>(name: &'static str, work: impl Fn(&P, D, &Job) -> Result<(), JobError> + 'static) -> Self {
        let work: Work<P> = Box::new(move |plugin, data, job| {
            let data = serde_json::from_str(data).map_err(|problem| JobError::permanent(format!("its data cannot be read: {problem}")))?;
            work(plugin, data, job)
        });
        Self { name, concurrency: 1, max_retries: 3, work }
    }

    /// How many of its jobs a replica does at once, 1 to 100.
    #[must_use]
    pub fn concurrency(mut self, concurrency: u32) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// How often a job is tried again that has failed, 0 to 20.
    #[must_use]
    pub fn retries(mut self, max_retries: u32) -> Self {
        self.max_retries = max_retries;
        self
    }
}

impl<P> std::fmt::Debug for Queue<P> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Queue").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Recurrence {
    /// By a cron pattern, in UTC.
    pub fn cron(pattern: &str) -> Self {
        Self::cron_in(pattern, "UTC")
    }

    /// By a cron pattern, in a time zone: `Europe/Berlin`.
    pub fn cron_in(pattern: &str, time_zone: &str) -> Self {
        Self::Cron { pattern: pattern.to_owned(), time_zone: time_zone.to_owned() }
    }
}

impl JobError {
    /// No attempt will work.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::Permanent(message.into())
    }

    /// Another attempt may work.
    pub fn retry(message: impl Into<String>) -> Self {
        Self::Retry(message.into())
    }
}

impl<E: std::error::Error> From<E> for JobError {
    fn from(error: E) -> Self {
        Self::Retry(error.to_string())
    }
}

/// Adds a job; its id.
pub fn enqueue(queue: &str, data: &(impl Serialize + ?Sized)) -> Result<String, Error> {
    enqueue_with(queue, data, Options::default())
}

/// The same, later or with an id.
pub fn enqueue_with(queue: &str, data: &(impl Serialize + ?Sized), options: Options) -> Result<String, Error> {
    let Options { priority, delay, id } = options;
    let options = host::Options { priority, delay: milliseconds(delay), id };
    Ok(host::enqueue(queue, &json(data)?, &options)?)
}

/// Adds a job each time, once for all replicas. A schedule of that id is replaced; one that is the same goes on as it is, so that
/// every start may set it. A time that comes while the job before still waits or is being done is left out.
pub fn schedule(queue: &str, id: &str, data: &(impl Serialize + ?Sized), recurrence: Recurrence) -> Result<(), Error> {
    let recurrence = match recurrence {
        Recurrence::Interval(every) => host::Recurrence::Interval(milliseconds(every)),
        Recurrence::Cron { pattern, time_zone } => host::Recurrence::Cron(host::Cron { pattern, time_zone }),
    };
    Ok(host::schedule(queue, id, &json(data)?, &recurrence)?)
}

/// Ends a schedule; true when there was one.
pub fn cancel(queue: &str, id: &str) -> Result<bool, Error> {
    Ok(host::cancel(queue, id)?)
}

/// Ids of the schedules of a queue.
pub fn scheduled(queue: &str) -> Result<Vec<String>, Error> {
    Ok(host::scheduled(queue)?)
}

fn json(data: &(impl Serialize + ?Sized)) -> Result<String, Error> {
    serde_json::to_string(data).map_err(|problem| Error::Invalid(problem.to_string()))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<host::Error> for Error {
    fn from(error: host::Error) -> Self {
        match error {
            host::Error::Denied(message) => Self::Denied(message),
            host::Error::Invalid(message) => Self::Invalid(message),
            host::Error::Full(message) => Self::Full(message),
            host::Error::Unavailable(message) => Self::Unavailable(message),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job { id: "1".into(), attempts: 0, enqueued_at: Timestamp::from_unix_microseconds(0) }
    }

    #[test]
    fn data_has_the_type_that_the_work_takes() {
        let queue: Queue<u32> = Queue::new("add", |base: &u32, more: u32, _: &Job| match base + more {
            42 => Ok(()),
            other => Err(JobError::retry(other.to_string())),
        });
        assert_eq!((queue.work)(&40, "2", &job()), Ok(()));
        assert_eq!((queue.work)(&40, "3", &job()), Err(JobError::Retry("43".into())));
        let unreadable = (queue.work)(&40, "\"two\"", &job());
        assert!(matches!(unreadable, Err(JobError::Permanent(problem)) if problem.starts_with("its data cannot be read")));
    }

    #[test]
    fn any_error_is_worth_another_attempt() {
        let fails = || -> Result<(), JobError> { Ok(Err(Error::Unavailable("down".into()))?) };
        assert_eq!(fails(), Err(JobError::Retry("down".into())));
    }
}
