//! The owner of all connections of a kind.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tasks of connections. Each is told by a token when it has to end.
#[derive(Debug, Clone, Default)]
pub struct Sockets {
    tasks: TaskTracker,
    ending: CancellationToken,
}

impl Sockets {
    /// Begins a task. It gets the token that [`drive`](crate::drive) has to be given, and has to end soon after that says so.
    pub fn spawn<Task>(&self, task: impl FnOnce(CancellationToken) -> Task)
    where
        Task: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(task(self.ending.clone()));
    }

    /// Whether no more connections are to be taken.
    pub fn is_ending(&self) -> bool {
        self.ending.is_cancelled()
    }

    /// Connections that there are.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Tells all to end, with 1001.
    pub fn begin_end(&self) {
        self.ending.cancel();
        self.tasks.close();
    }

    /// Tells all to end, with 1001, and waits for them, `within` at most. How many are left.
    pub async fn end(&self, within: Duration) -> usize {
        self.begin_end();
        let _ = tokio::time::timeout(within, self.tasks.wait()).await;
        self.tasks.len()
    }
}
