//! Where what a peer has sent goes.

use tokio::sync::mpsc::{self, OwnedPermit};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Takes the messages of one connection. While it has no room, the peer is not read.
pub trait Inbox: Send {
    /// Waits until there is room for a message. May be dropped and called again.
    fn room(&mut self) -> impl Future<Output = ()> + Send;

    /// Whether [`Self::room`] would wait.
    fn is_full(&self) -> bool;

    /// Takes a message. Called only when there is room.
    fn take(&mut self, text: Utf8Bytes);
}

/// For who attends to a connection in its own time.
#[derive(Debug)]
pub struct ChannelInbox {
    queue: mpsc::Sender<Utf8Bytes>,
    room: Option<OwnedPermit<Utf8Bytes>>,
}

impl ChannelInbox {
    /// Into this queue. When nobody takes from it any more, nothing more is read.
    pub fn new(queue: mpsc::Sender<Utf8Bytes>) -> Self {
        Self { queue, room: None }
    }
}

impl Inbox for ChannelInbox {
    async fn room(&mut self) {
        if self.room.is_none() {
            match self.queue.clone().reserve_owned().await {
                Ok(room) => self.room = Some(room),
                Err(_) => std::future::pending().await,
            }
        }
    }

    fn is_full(&self) -> bool {
        self.room.is_none() && self.queue.capacity() == 0
    }

    fn take(&mut self, text: Utf8Bytes) {
        if let Some(room) = self.room.take() {
            room.send(text);
        }
    }
}
