//! What has become of jobs in this process, by provider and queue. It goes on when the provider changes, and counts what its store has
//! accepted: an attempt whose claim was lost is not among them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::job::QueueName;
use crate::store::Ending;

/// Attempts at the jobs of one queue that have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttemptCounts {
    /// Done.
    pub completed: u64,
    /// Failed, to be tried again.
    pub retried: u64,
    /// Failed for good.
    pub failed: u64,
    /// Given back because the worker went away.
    pub given_back: u64,
}

/// With one provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderCounts {
    /// By the name of the queue.
    pub attempts: BTreeMap<QueueName, AttemptCounts>,
    /// Jobs that this process has taken from workers that were gone: a failed attempt each.
    pub recovered: u64,
}

/// What is counted with one provider. Queues with consumers are bounded by the manager, and so is this.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    attempts: Mutex<BTreeMap<QueueName, AttemptCounts>>,
    recovered: AtomicU64,
}

impl Tally {
    pub(crate) fn ended(&self, queue: &QueueName, ending: &Ending) {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = match attempts.get_mut(queue) {
            Some(counts) => counts,
            None => attempts.entry(queue.clone()).or_default(),
        };
        let counter = match ending {
            Ending::Completed => &mut counts.completed,
            Ending::Retry { .. } => &mut counts.retried,
            Ending::Failed { .. } => &mut counts.failed,
            Ending::GivenBack => &mut counts.given_back,
        };
        *counter = counter.saturating_add(1);
    }

    pub(crate) fn recovered(&self, jobs: u64) {
        self.recovered.fetch_add(jobs, Ordering::Relaxed);
    }

    fn counts(&self) -> ProviderCounts {
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ProviderCounts { attempts, recovered: self.recovered.load(Ordering::Relaxed) }
    }
}

/// Of all providers that were ever active.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Mutex<BTreeMap<String, Arc<Tally>>>);

impl Tallies {
    pub(crate) fn of(&self, provider: &str) -> Arc<Tally> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(provider.to_owned()).or_default().clone()
    }

    pub(crate) fn counts(&self) -> BTreeMap<String, ProviderCounts> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(provider, tally)| (provider.clone(), tally.counts())).collect()
    }

    /// Queues of which nobody has jobs any more.
    pub(crate) fn forget(&self, prefix: &str) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for tally in all.values() {
            tally.attempts.lock().unwrap_or_else(PoisonError::into_inner).retain(|queue, _| !queue.as_str().starts_with(prefix));
        }
    }
}
