//! How long things last.

use std::time::Duration;

use crate::retry::RetryDelays;

/// Durations of an engine and its store. The defaults are meant for production; tests make them short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// How long a worker that says nothing keeps its jobs.
    pub lease: Duration,
    /// How often a worker says that it is there, and looks for jobs of workers that are not.
    pub renewal: Duration,
    /// How often to look for jobs that nobody has told of; up to a third is added as jitter.
    pub safety_poll: Duration,
    /// How often to look for jobs that have waited too long.
    pub sweep: Duration,
    /// How long a job waits at most.
    pub retention: Duration,
    /// For one answer of the database.
    pub statement: Duration,
    /// Between attempts at a job.
    pub retry: RetryDelays,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            renewal: Duration::from_secs(10),
            safety_poll: Duration::from_secs(15),
            sweep: Duration::from_secs(300),
            retention: Duration::from_secs(7 * 24 * 3600),
            statement: Duration::from_secs(5),
            retry: RetryDelays::default(),
        }
    }
}
