//! A queue of objects that should be reconciled because something outside the API server changed.
//!
//! Waking an object that is already queued does nothing, so the queue is never longer than there
//! are objects, however often they are woken.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::Stream;
use tokio::sync::Notify;

use crate::object_key::ObjectKey;

/// The queue. Clones share it; one of them is turned into the stream that a controller reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wake {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<BTreeSet<ObjectKey>>,
    changed: Notify,
}

impl Wake {
    /// Queues an object.
    pub(crate) fn wake(&self, key: ObjectKey) {
        self.shared.waiting().insert(key);
        self.shared.changed.notify_one();
    }

    /// How many objects wait.
    pub(crate) fn len(&self) -> usize {
        self.shared.waiting().len()
    }

    /// The objects as they are woken. Has one reader.
    pub(crate) fn stream(&self) -> impl Stream<Item = ObjectKey> + Send + 'static + use<> {
        let shared = self.shared.clone();
        futures::stream::unfold(shared, |shared| async move {
            loop {
                let next = shared.waiting().pop_first();
                if let Some(key) = next {
                    return Some((key, shared));
                }
                shared.changed.notified().await;
            }
        })
    }
}

impl Shared {
    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeSet<ObjectKey>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;

    #[tokio::test]
    async fn an_object_woken_twice_is_reconciled_once() {
        let wake = Wake::default();
        for name in ["b", "a", "b"] {
            wake.wake(ObjectKey::new("ns", name));
        }
        let mut stream = Box::pin(wake.stream());
        assert_eq!(stream.next().await, Some(ObjectKey::new("ns", "a")));
        assert_eq!(stream.next().await, Some(ObjectKey::new("ns", "b")));
        assert_eq!(stream.next().now_or_never(), None);
    }

    #[tokio::test]
    async fn waking_ends_the_wait_of_the_reader() {
        let wake = Wake::default();
        let mut stream = Box::pin(wake.stream());
        let reader = tokio::spawn(async move { stream.next().await });
        tokio::task::yield_now().await;
        wake.wake(ObjectKey::new("ns", "a"));
        let woken = tokio::time::timeout(std::time::Duration::from_secs(5), reader).await;
        assert_eq!(woken.ok().and_then(Result::ok).flatten(), Some(ObjectKey::new("ns", "a")));
    }
}
