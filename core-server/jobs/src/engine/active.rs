//! The jobs that this process has claimed, from the claim until the store has accepted how the attempt ended.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::store::Claim;

/// How long an attempt may go on.
#[derive(Debug)]
pub(super) struct Lease {
    /// By the clock of this process, and not later than the store's. None: for ever.
    until: Mutex<Option<Instant>>,
    lost: CancellationToken,
}

impl Lease {
    /// Returns when another worker may have the job.
    pub(super) async fn lost(&self) {
        loop {
            let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
            let expiry = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            if self.lost.run_until_cancelled(expiry).await.is_none() {
                return;
            }
            // It may have been renewed meanwhile.
            if *self.until.lock().unwrap_or_else(PoisonError::into_inner) == until {
                return;
            }
        }
    }
}

#[derive(Debug)]
struct Entry {
    lease: Arc<Lease>,
    /// How it ended is on its way to the store.
    ended: bool,
    /// The consumer waits for it.
    _token: TaskTrackerToken,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Active {
    entries: Mutex<HashMap<Claim, Entry>>,
}

impl Active {
    /// An attempt begins.
    pub(super) fn add(&self, claim: Claim, until: Option<Instant>, token: TaskTrackerToken) -> Arc<Lease> {
        let lease = Arc::new(Lease { until: Mutex::new(until), lost: CancellationToken::new() });
        let entry = Entry { lease: lease.clone(), ended: false, _token: token };
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).insert(claim, entry);
        lease
    }

    pub(super) fn claims(&self) -> Vec<Claim> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// It has ended; the claim is renewed until the store knows.
    pub(super) fn ended(&self, claim: Claim) {
        if let Some(entry) = self.entries.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&claim) {
            entry.ended = true;
        }
    }

    /// The store knows how it ended, or another worker has it.
    pub(super) fn remove(&self, claim: &Claim) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).remove(claim);
    }

    /// What the store said about `asked`, where the question was put at `since`. Returns how many attempts go on without a claim: they
    /// are told so.
    pub(super) fn renewed(&self, asked: &[Claim], held: &HashSet<Claim>, since: Instant, lease: Duration) -> usize {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lost = 0;
        for claim in asked {
            let Some(entry) = entries.get_mut(claim) else { continue };
            match held.contains(claim) {
                true => *entry.lease.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(since + lease),
                // The store may have accepted its end a moment ago.
                false if entry.ended => {}
                false => {
                    entry.lease.lost.cancel();
                    lost += 1;
                }
            }
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::*;

    const CLAIM: Claim = Claim { delivery: 1, fence: 1 };
    const LEASE: Duration = Duration::from_millis(60);

    #[tokio::test]
    async fn a_lease_is_lost_when_it_was_not_renewed() {
        let (active, begin) = (Active::default(), Instant::now());
        let lease = active.add(CLAIM, Some(begin + LEASE), TaskTracker::new().token());
        let renewal = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            assert_eq!(active.renewed(&[CLAIM], &HashSet::from([CLAIM]), Instant::now(), LEASE), 0);
        };
        tokio::join!(lease.lost(), renewal);
        assert!((90..2_000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
    }

    #[tokio::test]
    async fn a_lease_is_lost_when_the_store_says_so() {
        let (active, begin) = (Active::default(), Instant::now());
        let lease = active.add(CLAIM, Some(begin + LEASE), TaskTracker::new().token());
        assert_eq!(active.renewed(&[CLAIM], &HashSet::new(), begin, LEASE), 1);
        lease.lost().await;
        assert!(begin.elapsed() < LEASE, "{:?}", begin.elapsed());
    }
}
