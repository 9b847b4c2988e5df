//! What can be seen of queues from outside. The data of jobs never can.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::QueueError;

/// Most jobs that are listed at once.
pub const MAX_LISTED: usize = 200;
/// Furthest that a listing can begin.
pub const MAX_OFFSET: usize = 10_000;
/// Completed jobs, and failed ones, that are remembered for each queue.
pub const HISTORY: usize = 200;

/// What state jobs are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Waiting or delayed.
    Pending,
    /// Could be taken now.
    Waiting,
    /// Being run.
    Active,
    /// To be taken later: delayed, waiting for a retry, or the next run of a recurring job.
    Delayed,
    /// Done; the newest [`HISTORY`] are remembered.
    Completed,
    /// Given up; the newest [`HISTORY`] are remembered.
    Failed,
}

/// Whether figures are those of this process or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Of this process.
    Instance,
    /// Of all replicas.
    Cluster,
}

/// One job for one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobSummary {
    /// Of the job
    pub id: String,
    /// Name of its queue
    pub queue: String,
    /// Which it is for; none while no group has joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Never [`JobState::Pending`]
    pub state: JobState,
    /// When it was enqueued
    pub enqueued_at: Timestamp,
    /// When its newest attempt began
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it was completed or given up
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Attempts that failed
    pub attempts: u32,
    /// Why the newest attempt failed
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_reason: Option<String>,
    /// When a delayed job can be taken
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_run_at: Option<Timestamp>,
    /// Whether it is the next run of a schedule, or one that has been made
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub recurring: bool,
}

/// Which jobs to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobQuery {
    /// Only those
    pub state: JobState,
    /// How many to leave out; at most [`MAX_OFFSET`].
    pub offset: usize,
    /// How many at most; at most [`MAX_LISTED`].
    pub limit: usize,
}

impl JobQuery {
    pub(crate) fn check(&self) -> Result<(), QueueError> {
        match (self.limit, self.offset) {
            (limit, _) if limit > MAX_LISTED => {
                Err(QueueError::Invalid(format!("{limit} jobs are asked for, and at most {MAX_LISTED} are listed")))
            }
            (_, offset) if offset > MAX_OFFSET => Err(QueueError::Invalid(format!("an offset of {offset} is more than {MAX_OFFSET}"))),
            _ => Ok(()),
        }
    }

    /// How many a queue is asked for, so that the part that was asked for can be cut from all queues' jobs together.
    pub(crate) fn reach(&self) -> usize {
        self.offset.saturating_add(self.limit)
    }
}

/// A part of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobPage {
    /// In the order of their state: newest finished first, longest running first, first enqueued first.
    pub items: Vec<JobSummary>,
    /// How many there are altogether.
    pub total: u64,
    /// Whether there are any behind these.
    pub has_more: bool,
}

impl JobPage {
    /// The part that was asked for, of the first [`JobQuery::reach`] jobs at least.
    pub(crate) fn cut(mut all: Vec<JobSummary>, total: u64, query: &JobQuery) -> Self {
        all.sort_by(|one, other| in_order(query.state, one, other));
        let items: Vec<JobSummary> = all.into_iter().skip(query.offset).take(query.limit).collect();
        let end = query.offset.saturating_add(items.len());
        Self { has_more: !items.is_empty() && (end as u64) < total, items, total }
    }
}

fn in_order(state: JobState, one: &JobSummary, other: &JobSummary) -> std::cmp::Ordering {
    match state {
        JobState::Completed | JobState::Failed => other.finished_at.cmp(&one.finished_at),
        JobState::Active => one.started_at.cmp(&other.started_at),
        JobState::Pending | JobState::Waiting | JobState::Delayed => one.enqueued_at.cmp(&other.enqueued_at),
    }
}

/// Figures of one queue, or of several together. A job counts once for each group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueStats {
    /// Waiting or delayed; the next runs of recurring jobs do not count until they are made.
    pub pending: u64,
    /// Being run
    pub processing: u64,
    /// Done since the store was made
    pub completed: u64,
    /// Given up since the store was made
    pub failed: u64,
    /// Groups that have joined and were not forgotten
    pub consumer_groups: u64,
    /// Of what these are the figures
    pub scope: Scope,
}

impl QueueStats {
    /// No jobs.
    pub fn empty(scope: Scope) -> Self {
        Self { pending: 0, processing: 0, completed: 0, failed: 0, consumer_groups: 0, scope }
    }
}

/// Jobs of one queue that wait for one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Name of the queue.
    pub queue: String,
    /// Which they are for; empty while none has joined.
    pub group: String,
    /// Jobs that could be taken now.
    pub due: u64,
    /// Jobs that are to be taken later.
    pub delayed: u64,
    /// For how long the first of those that could be taken could have been; zero when there is none.
    pub lag: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(id: &str, second: i64) -> JobSummary {
        let at = Timestamp::from_second(second).unwrap();
        JobSummary {
            id: id.into(),
            queue: "q".into(),
            group: Some("g".into()),
            state: JobState::Completed,
            enqueued_at: at,
            started_at: Some(at),
            finished_at: Some(at),
            attempts: 0,
            failed_reason: None,
            next_run_at: None,
            recurring: false,
        }
    }

    #[test]
    fn jobs_of_several_queues_are_merged_newest_first_and_cut() {
        let query = JobQuery { state: JobState::Completed, offset: 1, limit: 2 };
        let all = vec![finished("b", 2), finished("a", 1), finished("d", 4), finished("c", 3)];
        let page = JobPage::cut(all, 4, &query);
        assert_eq!(page.items.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["c", "b"]);
        assert!(page.has_more && page.total == 4);
        let query = JobQuery { limit: 3, ..query };
        assert!(!JobPage::cut(vec![finished("a", 1); 4], 4, &query).has_more);
    }
}
