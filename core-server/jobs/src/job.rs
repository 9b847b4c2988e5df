//! Jobs, and how they are named.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::QueueError;

/// Most bytes of the JSON of one job's data.
pub const MAX_DATA_BYTES: usize = 256 * 1024;
/// Most jobs that are enqueued at once.
pub const MAX_BATCH: usize = 1_000;
/// Most bytes of the name of a queue or a group.
pub const MAX_NAME_BYTES: usize = 200;
/// Most bytes of the id of a job or a schedule.
pub const MAX_ID_BYTES: usize = 400;
/// Longest delay.
pub const MAX_DELAY: Duration = Duration::from_secs(366 * 24 * 3600);
/// Most retries of a job.
pub const MAX_RETRIES: u32 = 20;

/// The name of a queue: 1 to [`MAX_NAME_BYTES`] bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueName(String);

impl QueueName {
    /// One that was checked before it was stored.
    pub(crate) fn stored(name: String) -> Self {
        Self(name)
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for QueueName {
    type Err = QueueError;

    fn from_str(name: &str) -> Result<Self, QueueError> {
        check_name("a queue", name, MAX_NAME_BYTES)?;
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Names go into logs and tables as they are.
pub(crate) fn check_name(of: &str, name: &str, most: usize) -> Result<(), QueueError> {
    match name {
        "" => Err(QueueError::Invalid(format!("the name of {of} is empty"))),
        _ if name.len() > most => {
            Err(QueueError::Invalid(format!("the name of {of} has {} bytes, and at most {most} are allowed", name.len())))
        }
        _ if name.chars().any(char::is_control) => Err(QueueError::Invalid(format!("the name of {of} has control characters: {name:?}"))),
        _ => Ok(()),
    }
}

/// A job, as its handler gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Of the job; the same for each group, and for each attempt.
    pub id: String,
    /// What was enqueued.
    pub data: Value,
    /// Higher is earlier.
    pub priority: i32,
    /// When it was enqueued, by the clock of the store.
    pub timestamp: Timestamp,
    /// Attempts that have failed before this one.
    pub attempts: u32,
}

/// How a job is enqueued.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnqueueOptions {
    /// Higher is earlier; among equals, the first enqueued is the first taken.
    pub priority: i32,
    /// Nobody takes the job before this time has passed.
    pub start_delay: Duration,
    /// A random id unless given. While a job with the same given id waits for a group (for a retry, too), the group does not get
    /// another one. A job that is being run does not count as waiting.
    pub job_id: Option<String>,
}

/// A job to enqueue.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// For the handler.
    pub data: Value,
    /// How.
    pub options: EnqueueOptions,
}

impl NewJob {
    /// With a random id, at once, of priority 0.
    pub fn new(data: Value) -> Self {
        Self { data, options: EnqueueOptions::default() }
    }

    /// With options.
    pub fn with(data: Value, options: EnqueueOptions) -> Self {
        Self { data, options }
    }
}

/// A job that has been checked, as stores take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedJob {
    pub(crate) id: String,
    /// Whether the id was given by who enqueues.
    pub(crate) named: bool,
    /// JSON
    pub(crate) data: String,
    pub(crate) priority: i32,
    pub(crate) delay: Duration,
}

impl CheckedJob {
    /// Checks names and limits.
    ///
    /// # Errors
    /// [`QueueError::Invalid`] and [`QueueError::TooLarge`].
    pub fn new(queue: &QueueName, job: &NewJob) -> Result<Self, QueueError> {
        let NewJob { data, options } = job;
        let data = data.to_string();
        if data.len() > MAX_DATA_BYTES {
            return Err(QueueError::TooLarge { queue: queue.to_string(), bytes: data.len(), most: MAX_DATA_BYTES });
        }
        if let Some(id) = &options.job_id {
            check_name("a job", id, MAX_ID_BYTES)?;
        }
        check_delay(options.start_delay)?;
        Ok(Self {
            id: options.job_id.clone().unwrap_or_else(|| Uuid::new_v4().to_string()),
            named: options.job_id.is_some(),
            data,
            priority: options.priority,
            delay: options.start_delay,
        })
    }

    /// Checks a batch.
    ///
    /// # Errors
    /// As for one, and when there are more than [`MAX_BATCH`].
    pub fn batch(queue: &QueueName, jobs: &[NewJob]) -> Result<Vec<Self>, QueueError> {
        if jobs.len() > MAX_BATCH {
            return Err(QueueError::Invalid(format!(
                "{} jobs are enqueued at once, and at most {MAX_BATCH} are taken: split them",
                jobs.len()
            )));
        }
        jobs.iter().map(|job| Self::new(queue, job)).collect()
    }
}

pub(crate) fn check_delay(delay: Duration) -> Result<(), QueueError> {
    match delay > MAX_DELAY {
        true => Err(QueueError::Invalid(format!("a delay of {} s is longer than {} s", delay.as_secs(), MAX_DELAY.as_secs()))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_printable() {
        assert!("uptime.checks".parse::<QueueName>().is_ok());
        for name in ["", "a\nb", &"x".repeat(MAX_NAME_BYTES + 1)] {
            assert!(matches!(name.parse::<QueueName>(), Err(QueueError::Invalid(_))), "{name}");
        }
    }

    #[test]
    fn data_ids_delays_and_batches_are_bounded() {
        let queue: QueueName = "q".parse().unwrap();
        let with = |options| CheckedJob::new(&queue, &NewJob::with(Value::Null, options));
        let large = NewJob::new("x".repeat(MAX_DATA_BYTES).into());
        assert_eq!(
            CheckedJob::new(&queue, &large).unwrap_err(),
            QueueError::TooLarge { queue: "q".into(), bytes: MAX_DATA_BYTES + 2, most: MAX_DATA_BYTES }
        );
        assert!(with(EnqueueOptions { job_id: Some(String::new()), ..Default::default() }).is_err());
        assert!(with(EnqueueOptions { start_delay: MAX_DELAY + Duration::from_secs(1), ..Default::default() }).is_err());
        assert!(CheckedJob::batch(&queue, &vec![NewJob::new(Value::Null); MAX_BATCH + 1]).is_err());
        assert!(!with(EnqueueOptions::default()).unwrap().named);
    }
}
