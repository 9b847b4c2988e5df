//! The life of one socket of a browser.

use std::sync::Arc;

use checkstack_sockets::{CloseReason, Ended, Inbox, Rules, SocketSender, Utf8Bytes, drive, queue};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::hub::Hub;
use crate::message::{self, Heard};
use crate::quota::{Quota, Rate};
use crate::standing::{self, Holder, StandingTimings};

/// Browsers say nothing but `ping`.
const MAX_MESSAGE_BYTES: usize = 4 * 1024;
/// What a client may say.
const CLIENT: (Rate, Rate) = (Rate { burst: 60.0, each_second: 10.0 }, Rate { burst: 64.0 * 1024.0, each_second: 8.0 * 1024.0 });

/// The bounds of such sockets.
pub fn rules() -> Rules {
    Rules { max_message_bytes: MAX_MESSAGE_BYTES, ..Rules::default() }
}

/// Attends to a socket whose handshake is done, until it has ended: tells it who it is taken for, and what it may hear. `user` is who has
/// opened it, asked for again and again. None: it is not known.
pub async fn attend<Stream>(
    stream: Stream,
    hub: &Arc<Hub>,
    user: Option<(&str, &dyn Holder)>,
    rules: &Rules,
    timings: &StandingTimings,
    ending: &CancellationToken,
) -> Ended
where
    Stream: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (sender, outbox) = queue(rules);
    let user_id = user.map(|(id, _)| id);
    let _membership = hub.join(sender.clone(), user_id, message::connected(user_id));
    let mut inbox = Client { sender: sender.clone(), quota: Quota::new(CLIENT) };
    let mut connection = Box::pin(drive(stream, outbox, &mut inbox, rules, ending));
    let ended = match user {
        None => connection.await,
        Some((_, holder)) => tokio::select! {
            ended = connection.as_mut() => ended,
            reason = standing::lost(holder, timings) => {
                sender.close(reason);
                connection.await
            }
        },
    };
    if ended == Ended::Closed(CloseReason::TOO_SLOW) {
        hub.closed_for_being_slow();
    }
    ended
}

/// What a client says is answered at once.
struct Client {
    sender: SocketSender,
    quota: Quota,
}

impl Inbox for Client {
    async fn room(&mut self) {}

    fn is_full(&self) -> bool {
        false
    }

    fn take(&mut self, text: Utf8Bytes) {
        if !self.quota.take(1, text.len()) {
            return self.sender.close(CloseReason::TOO_MANY_MESSAGES);
        }
        match Heard::of(&text) {
            // A socket that cannot take it is closed by this.
            Heard::Ping => drop(self.sender.send(message::pong())),
            Heard::Unknown => {}
            Heard::Malformed => debug!(bytes = text.len(), "a message of a browser is not JSON"),
        }
    }
}
