//! What a native plugin does besides answering calls.

use std::sync::{Mutex, PoisonError};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Tasks that live as long as their plugin.
#[derive(Debug, Default)]
pub struct PluginTasks {
    stop: CancellationToken,
    running: Mutex<JoinSet<()>>,
}

impl PluginTasks {
    /// Begins one. It is told by the token when it is to end.
    pub fn spawn<Work>(&self, work: impl FnOnce(CancellationToken) -> Work)
    where
        Work: Future<Output = ()> + Send + 'static,
    {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).spawn(work(self.stop.clone()));
    }

    /// Tells all to end, and waits until they have. For the plugin's shutdown, which has a deadline.
    pub async fn end(&self) {
        self.stop.cancel();
        let mut running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        while running.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn tasks_end_in_their_own_way() {
        let (tasks, ended) = (PluginTasks::default(), Arc::new(AtomicBool::new(false)));
        let noted = ended.clone();
        tasks.spawn(|stop| async move {
            stop.cancelled().await;
            tokio::task::yield_now().await;
            noted.store(true, Ordering::SeqCst);
        });
        tokio::task::yield_now().await;
        assert!(!ended.load(Ordering::SeqCst));
        tasks.end().await;
        assert!(ended.load(Ordering::SeqCst));
    }
}
