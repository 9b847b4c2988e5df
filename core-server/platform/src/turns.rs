//! How many calls of one plugin are answered at a time. A plugin that has become slow would otherwise keep one request after the other, until
//! the pod has no place left for its neighbours. Few may wait, and not for long; who has no turn then is told to come back.
//!
//! A plugin in the sandbox has less, since its pool has fewer instances and a queue of its own; but of who calls it, and whether they may, the
//! platform has to ask others before.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::http::MAX_REQUESTS;

/// Of one plugin, at a time: a quarter of what the pod answers.
const CALLS: usize = MAX_REQUESTS / 4;
/// Calls that may wait besides.
const WAITING: usize = MAX_REQUESTS / 32;
/// For how long.
const PATIENCE: Duration = Duration::from_millis(250);

/// The calls of one plugin, and those that wait.
#[cfg(test)]
pub(crate) const fn limits() -> (usize, usize) {
    (CALLS, WAITING)
}

/// The turns of one plugin.
pub(crate) struct Turns {
    calls: Semaphore,
    waiting: AtomicUsize,
    most_waiting: usize,
    patience: Duration,
}

impl Default for Turns {
    fn default() -> Self {
        Self::new(CALLS, WAITING, PATIENCE)
    }
}

impl Turns {
    pub(crate) fn new(calls: usize, most_waiting: usize, patience: Duration) -> Self {
        Self { calls: Semaphore::new(calls), waiting: AtomicUsize::new(0), most_waiting, patience }
    }

    /// A turn, until it is dropped. None: there is none in time.
    pub(crate) async fn take(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(turn) = self.calls.try_acquire() {
            return Some(turn);
        }
        let _waiting = Waiting::enter(&self.waiting, self.most_waiting)?;
        tokio::time::timeout(self.patience, self.calls.acquire()).await.ok()?.ok()
    }
}

/// One of those that wait.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize, most: usize) -> Option<Self> {
        // Leaving is counted by dropping, also right here when too many wait.
        let entered = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < most).then_some(entered)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn few_wait_and_not_for_long() {
        let turns = Turns::new(2, 1, PATIENCE);
        let (one, _two) = (turns.take().await.unwrap(), turns.take().await.unwrap());
        let mut third = Box::pin(turns.take());
        assert!((&mut third).now_or_never().is_none(), "it waits");
        assert!(turns.take().now_or_never().unwrap().is_none(), "one waits already");
        drop(one);
        let third = third.await.unwrap();
        let begin = tokio::time::Instant::now();
        assert!(turns.take().await.is_none());
        assert!(begin.elapsed() >= PATIENCE);
        drop(third);
        assert!(turns.take().now_or_never().unwrap().is_some());
    }
}
