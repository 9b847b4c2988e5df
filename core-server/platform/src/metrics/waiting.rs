//! What waits in the queues. Only the store knows, and it is asked now and then, however often somebody looks.

use std::time::Duration;

use checkstack_jobs::{QueueManager, Waiting};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::debug;

/// How long an answer is shown.
const SHOWN: Duration = Duration::from_secs(10);
/// For the store's answer.
const ANSWER: Duration = Duration::from_secs(2);

/// The provider's id, and what waits in it.
type Found = (String, Vec<Waiting>);

/// See the module.
#[derive(Default)]
pub(crate) struct WaitingJobs(Mutex<Option<Looked>>);

struct Looked {
    at: Instant,
    /// None: the store has not answered.
    found: Option<Found>,
}

impl WaitingJobs {
    /// What there is, or was some seconds ago. None while it is not known.
    pub(crate) async fn look(&self, queues: &QueueManager) -> Option<Found> {
        let mut looked = self.0.lock().await;
        if let Some(Looked { at, found }) = &*looked
            && at.elapsed() < SHOWN
        {
            return found.clone();
        }
        // Noted before: who gives up waiting for the answer has asked all the same.
        let last = looked.insert(Looked { at: Instant::now(), found: None });
        last.found = match tokio::time::timeout(ANSWER, queues.waiting()).await {
            Ok(Ok(found)) => Some(found),
            Ok(Err(problem)) => {
                debug!(%problem, "what waits in the queues is not known");
                None
            }
            Err(_) => None,
        };
        last.found.clone()
    }
}
