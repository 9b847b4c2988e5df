//! One call of a plugin at a time: the store of the queues has two connections in a pod, and one that floods it with jobs or events has no
//! more than one of them.

use std::time::Duration;

use checkstack_jobs::QueueError;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How long a call waits for the one before.
const WAIT: Duration = Duration::from_secs(2);

/// The turn of one version of a plugin.
pub(crate) struct Turn(Semaphore);

impl Turn {
    pub(crate) fn new() -> Self {
        Self(Semaphore::new(1))
    }

    /// It is this call's turn until the permit is dropped.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`]: it did not come in time.
    pub(crate) async fn take(&self) -> Result<SemaphorePermit<'_>, QueueError> {
        let busy = || QueueError::Unavailable("other calls of the same plugin in this pod are under way".to_owned());
        tokio::time::timeout(WAIT, self.0.acquire()).await.map_err(|_| busy())?.map_err(|_| busy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_call_waits_for_the_other_but_not_for_long() {
        let turn = Turn::new();
        let first = turn.take().await.unwrap();
        let refused = turn.take().await.unwrap_err();
        assert!(refused.is_transient(), "{refused}");
        drop(first);
        assert!(turn.take().await.is_ok());
    }
}
