//! What waits to be sent on one connection: a bounded queue, of which many may hold the end that sends.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::close::CloseReason;
use crate::rules::Rules;

/// Why a message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Too much waits already. The connection is closed.
    #[error("the peer does not take what it is sent: its connection is closed")]
    TooSlow,
    /// The connection is over.
    #[error("the connection has ended")]
    Closed,
}

/// Sends on one connection, or closes it. Neither waits. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SocketSender {
    queue: mpsc::Sender<Utf8Bytes>,
    shared: Arc<Shared>,
}

/// What [`drive`](crate::drive) takes from.
#[derive(Debug)]
pub struct Outbox {
    queue: mpsc::Receiver<Utf8Bytes>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    closing: OnceLock<CloseReason>,
    closed: Notify,
    waiting_bytes: AtomicUsize,
    most_bytes: usize,
}

/// The two ends of the queue of one connection.
pub fn queue(rules: &Rules) -> (SocketSender, Outbox) {
    let shared =
        Shared { closing: OnceLock::new(), closed: Notify::new(), waiting_bytes: AtomicUsize::new(0), most_bytes: rules.waiting_bytes };
    let (sender, receiver) = mpsc::channel(rules.waiting_messages.max(1));
    let shared = Arc::new(shared);
    (SocketSender { queue: sender, shared: shared.clone() }, Outbox { queue: receiver, shared })
}

impl SocketSender {
    /// Sends a text, which is shared with everybody else who is sent the same. What is sent before the socket is open, waits.
    ///
    /// # Errors
    /// When the connection has ended, or ends now because of this.
    pub fn send(&self, text: Utf8Bytes) -> Result<(), SendError> {
        if self.shared.closing.get().is_some() {
            return Err(SendError::Closed);
        }
        let bytes = text.len();
        let before = self.shared.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before > 0 && before.saturating_add(bytes) > self.shared.most_bytes {
            self.close(CloseReason::TOO_SLOW);
            return Err(SendError::TooSlow);
        }
        self.queue.try_send(text).map_err(|refused| match refused {
            TrySendError::Full(_) => {
                self.close(CloseReason::TOO_SLOW);
                SendError::TooSlow
            }
            TrySendError::Closed(_) => SendError::Closed,
        })
    }

    /// Closes the connection. What was sent before comes through, unless the peer is too slow for it. Only the first reason counts.
    pub fn close(&self, reason: CloseReason) {
        if self.shared.closing.set(reason).is_ok() {
            self.shared.closed.notify_one();
        }
    }

    /// Whether it has neither ended nor been told to.
    pub fn is_open(&self) -> bool {
        !self.queue.is_closed() && self.shared.closing.get().is_none()
    }
}

impl Outbox {
    /// Waits for a text. None: nobody can send any more.
    pub(crate) async fn next(&mut self) -> Option<Utf8Bytes> {
        let text = self.queue.recv().await;
        text.inspect(|text| self.taken(text))
    }

    /// A text that waits already.
    pub fn try_next(&mut self) -> Option<Utf8Bytes> {
        let text = self.queue.try_recv().ok();
        text.inspect(|text| self.taken(text))
    }

    fn taken(&self, text: &Utf8Bytes) {
        self.shared.waiting_bytes.fetch_sub(text.len(), Ordering::Relaxed);
    }

    /// Tells when the connection is to be closed.
    pub(crate) fn closing(&self) -> Closing {
        Closing(self.shared.clone())
    }
}

/// See [`Outbox::closing`].
#[derive(Debug)]
pub(crate) struct Closing(Arc<Shared>);

impl Closing {
    /// Waits until the connection is to be closed.
    pub(crate) async fn told(&self) -> CloseReason {
        loop {
            // The notification is kept for who has not waited yet.
            let closed = self.0.closed.notified();
            if let Some(reason) = self.0.closing.get() {
                return *reason;
            }
            closed.await;
        }
    }

    /// Waits until it is to be closed because too much waits for the peer.
    pub(crate) async fn too_slow(&self) -> CloseReason {
        match self.told().await {
            CloseReason::TOO_SLOW => CloseReason::TOO_SLOW,
            _ => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn rules(waiting_messages: usize, waiting_bytes: usize) -> Rules {
        Rules { waiting_messages, waiting_bytes, ..Rules::default() }
    }

    #[tokio::test]
    async fn who_has_too_much_waiting_is_closed_and_not_left_without_a_message() {
        for (rules, bytes) in [(rules(2, 1_000), 1), (rules(100, 100), 50)] {
            let (sender, mut outbox) = queue(&rules);
            let text = Utf8Bytes::from("x".repeat(bytes));
            assert_eq!([sender.send(text.clone()), sender.send(text.clone())], [Ok(()), Ok(())]);
            assert!(sender.is_open() && outbox.closing().told().now_or_never().is_none());
            assert_eq!(sender.send(text.clone()), Err(SendError::TooSlow));
            assert_eq!(outbox.closing().told().now_or_never(), Some(CloseReason::TOO_SLOW));
            assert_eq!((sender.is_open(), sender.send(text)), (false, Err(SendError::Closed)));
            assert!(outbox.next().await.is_some() && outbox.try_next().is_some() && outbox.try_next().is_none());
        }
    }

    #[tokio::test]
    async fn a_single_message_may_be_larger_than_what_may_wait_and_room_comes_back() {
        let (sender, mut outbox) = queue(&rules(10, 100));
        for _ in 0..20 {
            sender.send(Utf8Bytes::from("x".repeat(300))).unwrap();
            assert_eq!(outbox.next().await.unwrap().len(), 300);
        }
        sender.send("a".into()).unwrap();
        assert_eq!(sender.send(Utf8Bytes::from("x".repeat(300))), Err(SendError::TooSlow));
    }

    #[tokio::test]
    async fn only_the_first_reason_counts_and_ends_are_noticed() {
        let (sender, outbox) = queue(&Rules::default());
        sender.close(CloseReason::DONE);
        sender.clone().close(CloseReason::TOO_SLOW);
        assert_eq!([outbox.closing().told().await, outbox.closing().told().await], [CloseReason::DONE; 2]);
        let (sender, outbox) = queue(&Rules::default());
        drop(outbox);
        assert_eq!((sender.is_open(), sender.send("x".into())), (false, Err(SendError::Closed)));
    }
}
