//! The life of one connection.

use std::ops::ControlFlow;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use crate::close::{CloseReason, Ended};
use crate::inbox::Inbox;
use crate::outbox::{Closing, Outbox};
use crate::rules::Rules;

/// A longer message goes in parts of this size: the codec copies each part for each socket, and keeps the room for the largest.
const PART_BYTES: usize = 8 * 1024;
/// Kept by each socket.
const READ_BYTES: usize = 1024;
/// Messages that are written before they are flushed.
const BATCH: usize = 32;

/// Drives a connection whose handshake is done, until it has ended: sends what comes out of `outbox`, gives `inbox` what the peer says,
/// asks the peer whether it is there, and closes with 1001 when `ending` says so.
pub async fn drive<Stream>(stream: Stream, outbox: Outbox, inbox: &mut impl Inbox, rules: &Rules, ending: &CancellationToken) -> Ended
where
    Stream: AsyncRead + AsyncWrite + Unpin + Send,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(READ_BYTES)
        .max_message_size(Some(rules.max_message_bytes))
        .max_frame_size(Some(rules.max_message_bytes));
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let closing = outbox.closing();
    Box::pin(Driven { socket, outbox, closing, rules, within_message: false }.live(inbox, ending)).await
}

struct Driven<'a, Stream> {
    socket: WebSocketStream<Stream>,
    outbox: Outbox,
    closing: Closing,
    rules: &'a Rules,
    /// A message has begun and not ended: nothing but control frames may follow.
    within_message: bool,
}

impl<Stream: AsyncRead + AsyncWrite + Unpin + Send> Driven<'_, Stream> {
    async fn live(mut self, inbox: &mut impl Inbox, ending: &CancellationToken) -> Ended {
        let ended = self.serve(inbox, ending).await;
        if let Ended::Closed(reason) = ended {
            let _ = timeout(self.rules.close_within, self.close(reason)).await;
        }
        ended
    }

    async fn serve(&mut self, inbox: &mut impl Inbox, ending: &CancellationToken) -> Ended {
        let mut heard = Instant::now();
        let mut look = std::pin::pin!(tokio::time::sleep(self.rules.ping_after));
        loop {
            let flow = tokio::select! {
                reason = self.closing.told() => ControlFlow::Break(Ended::Closed(reason)),
                () = ending.cancelled() => ControlFlow::Break(Ended::Closed(CloseReason::GOING_AWAY)),
                () = look.as_mut() => {
                    look.as_mut().reset(Instant::now() + self.rules.ping_after);
                    // A peer that is not read cannot be heard.
                    if inbox.is_full() {
                        heard = Instant::now();
                    }
                    self.look_after(heard.elapsed()).await
                }
                Some(text) = self.outbox.next() => self.write(text).await,
                frame = receive(&mut self.socket, inbox) => {
                    heard = Instant::now();
                    self.received(frame, inbox).await
                }
            };
            if let ControlFlow::Break(ended) = flow {
                return ended;
            }
        }
    }

    async fn look_after(&mut self, quiet: Duration) -> ControlFlow<Ended> {
        if quiet >= self.rules.silent_for {
            return ControlFlow::Break(Ended::Closed(CloseReason::SILENT));
        }
        // A little less: it is looked at no more often than that.
        match quiet >= self.rules.ping_after.mul_f64(0.9) {
            true => within(self.rules.write_within, self.socket.send(Message::Ping(Bytes::new()))).await,
            false => ControlFlow::Continue(()),
        }
    }

    /// Writes a text, and those that wait behind it. Whoever is to be closed because too much waits for it is not waited for.
    async fn write(&mut self, first: Utf8Bytes) -> ControlFlow<Ended> {
        let Self { socket, outbox, closing, rules, within_message } = self;
        let mut next = Some(first);
        let mut written = 0;
        while let Some(text) = next {
            let flow = tokio::select! {
                flow = within(rules.write_within, feed(socket, text, within_message)) => flow,
                reason = closing.too_slow() => ControlFlow::Break(Ended::Closed(reason)),
            };
            if flow.is_break() {
                return flow;
            }
            written += 1;
            next = if written < BATCH { outbox.try_next() } else { None };
        }
        tokio::select! {
            flow = within(rules.write_within, socket.flush()) => flow,
            reason = closing.too_slow() => ControlFlow::Break(Ended::Closed(reason)),
        }
    }

    async fn received(&mut self, frame: Option<Result<Message, Error>>, inbox: &mut impl Inbox) -> ControlFlow<Ended> {
        match frame {
            Some(Ok(Message::Text(text))) => inbox.take(text),
            Some(Ok(Message::Binary(bytes))) => inbox.take(Utf8Bytes::from(String::from_utf8_lossy(&bytes).into_owned())),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(_))) => {
                // The answer is in the buffer.
                let _ = timeout(self.rules.close_within, self.socket.flush()).await;
                return ControlFlow::Break(Ended::ByPeer);
            }
            None => return ControlFlow::Break(Ended::ByPeer),
            Some(Err(error)) => return ControlFlow::Break(ended_by(&error)),
        }
        ControlFlow::Continue(())
    }

    /// Sends what waits, if the peer can still make sense of it, says why, and waits for the answer.
    async fn close(&mut self, reason: CloseReason) {
        while !self.within_message && reason != CloseReason::TOO_SLOW {
            let Some(text) = self.outbox.try_next() else { break };
            if feed(&mut self.socket, text, &mut self.within_message).await.is_err() {
                return;
            }
        }
        let frame = CloseFrame { code: CloseCode::from(reason.code()), reason: Utf8Bytes::from_static(reason.text()) };
        if self.socket.close(Some(frame)).await.is_err() {
            return;
        }
        while let Some(Ok(_)) = self.socket.next().await {}
        // What cannot be read as messages any more is read all the same: if it were not, the peer might be cut off before it has read why.
        if matches!(reason, CloseReason::TOO_LARGE | CloseReason::PROTOCOL | CloseReason::NOT_TEXT) {
            let mut discarded = [0; 512];
            while self.socket.get_mut().read(&mut discarded).await.is_ok_and(|bytes| bytes > 0) {}
        }
    }
}

async fn receive<Stream>(socket: &mut WebSocketStream<Stream>, inbox: &mut impl Inbox) -> Option<Result<Message, Error>>
where
    Stream: AsyncRead + AsyncWrite + Unpin + Send,
{
    inbox.room().await;
    socket.next().await
}

/// Writes one text, in parts if it is long (RFC 6455 §5.4).
async fn feed<Stream>(socket: &mut WebSocketStream<Stream>, text: Utf8Bytes, within_message: &mut bool) -> Result<(), Error>
where
    Stream: AsyncRead + AsyncWrite + Unpin + Send,
{
    if text.len() <= PART_BYTES {
        return socket.feed(Message::Text(text)).await;
    }
    let mut rest = Bytes::from(text);
    let mut kind = Data::Text;
    *within_message = true;
    while !rest.is_empty() {
        let part = rest.split_to(PART_BYTES.min(rest.len()));
        socket.feed(Message::Frame(Frame::message(part, OpCode::Data(kind), rest.is_empty()))).await?;
        kind = Data::Continue;
    }
    *within_message = false;
    Ok(())
}

async fn within(time: Duration, written: impl Future<Output = Result<(), Error>>) -> ControlFlow<Ended> {
    match timeout(time, written).await {
        Ok(Ok(())) => ControlFlow::Continue(()),
        Ok(Err(error)) => ControlFlow::Break(ended_by(&error)),
        Err(_) => ControlFlow::Break(Ended::Closed(CloseReason::TOO_SLOW)),
    }
}

fn ended_by(error: &Error) -> Ended {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => Ended::ByPeer,
        Error::Capacity(_) => Ended::Closed(CloseReason::TOO_LARGE),
        Error::Utf8(_) => Ended::Closed(CloseReason::NOT_TEXT),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Ended::ByPeer,
        Error::Protocol(_) => Ended::Closed(CloseReason::PROTOCOL),
        error => Ended::Broken(error.to_string()),
    }
}
