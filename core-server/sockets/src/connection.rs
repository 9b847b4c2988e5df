//! A connection as those see it who attend to it.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::sync::CancellationToken;

use crate::close::{CloseReason, Ended};
use crate::drive::drive;
use crate::inbox::ChannelInbox;
use crate::outbox::{Outbox, SocketSender, queue};
use crate::rules::Rules;

/// Messages of the peer that wait to be attended to.
const WAITING: usize = 8;
/// For who attends to a connection, once it has ended.
const FAREWELL: Duration = Duration::from_secs(10);

/// The near end of a connection: what the peer says comes out of [`Self::next`], what it is told goes into [`Self::sender`].
#[derive(Debug)]
pub struct SocketConnection {
    sender: SocketSender,
    texts: mpsc::Receiver<Utf8Bytes>,
}

/// The far end, for [`Far::drive`].
#[derive(Debug)]
pub struct Far {
    sender: SocketSender,
    outbox: Outbox,
    inbox: ChannelInbox,
}

impl SocketConnection {
    /// Both ends of a connection that is not open yet.
    pub fn new(rules: &Rules) -> (Self, Far) {
        let (sender, outbox) = queue(rules);
        let (inbox, texts) = mpsc::channel(WAITING);
        (Self { sender: sender.clone(), texts }, Far { sender, outbox, inbox: ChannelInbox::new(inbox) })
    }

    /// Waits for the next message of the peer, in the order in which they were sent. Binary ones are read as UTF-8, with U+FFFD for what is
    /// none. None: the connection has ended.
    pub async fn next(&mut self) -> Option<Utf8Bytes> {
        self.texts.recv().await
    }

    /// Sends to the peer, and closes.
    pub fn sender(&self) -> &SocketSender {
        &self.sender
    }
}

impl Far {
    /// The life of the connection, and of what attends to it: ends when both have. When `attended` returns, the connection is closed;
    /// when the connection has ended, `attended` has 10 s left.
    pub async fn drive<Stream>(
        self,
        stream: Stream,
        attended: impl Future<Output = ()> + Send,
        rules: &Rules,
        ending: &CancellationToken,
    ) -> Ended
    where
        Stream: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let Self { sender, outbox, mut inbox } = self;
        let connection = async {
            let ended = drive(stream, outbox, &mut inbox, rules, ending).await;
            drop(inbox);
            ended
        };
        let mut connection = std::pin::pin!(connection);
        let mut attended = std::pin::pin!(attended);
        tokio::select! {
            ended = connection.as_mut() => {
                let _ = tokio::time::timeout(FAREWELL, attended).await;
                ended
            }
            () = attended.as_mut() => {
                sender.close(CloseReason::DONE);
                connection.await
            }
        }
    }
}
