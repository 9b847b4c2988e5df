//! Answers that are streams of events: each goes out when the one before has been taken, a comment when nothing happens, and all end
//! with the server (platform facts §9.1).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use checkstack_calls::error::{CallError, ErrorCode};
use checkstack_calls::event_stream;
use http::{HeaderName, HeaderValue, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::Shared;
use super::budget::{Exhausted, overloaded};
use crate::dispatch::Call;
use crate::procedures::{Events, Next};

/// In this pod. Each holds a connection, and an event at the most.
pub(crate) const MAX_EVENT_STREAMS: usize = 256;
/// A sign of life, and a look whether the caller may still have the events.
const BEAT: Duration = Duration::from_secs(5);

/// Places for streams.
pub(crate) struct EventStreams {
    most: usize,
    places: Arc<Semaphore>,
}

impl EventStreams {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, places: Arc::new(Semaphore::new(most)) }
    }

    /// Streams that have not ended.
    pub(crate) fn open(&self) -> usize {
        self.most.saturating_sub(self.places.available_permits())
    }
}

/// What is being sent.
struct Stream {
    shared: Arc<Shared>,
    call: Call,
    events: Events,
    beats: Interval,
    has_ended: bool,
    _place: OwnedSemaphorePermit,
}

/// The answer to a call that has opened a stream.
pub(super) fn answer(shared: &Arc<Shared>, call: Call, events: Events) -> Response {
    let Ok(place) = shared.event_streams.places.clone().try_acquire_owned() else { return overloaded() };
    let mut beats = tokio::time::interval_at(Instant::now() + BEAT, BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stream = Stream { shared: shared.clone(), call, events, beats, has_ended: false, _place: place };
    let pieces = futures::stream::unfold(stream, |mut stream| async move {
        let piece = stream.next().await?;
        Some((Ok::<_, Infallible>(piece), stream))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    for (name, value) in [
        (header::CONTENT_TYPE, event_stream::CONTENT_TYPE),
        (header::CACHE_CONTROL, "no-store"),
        // A proxy that collects an answer before it passes it on would keep the events.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

impl Stream {
    async fn next(&mut self) -> Option<Bytes> {
        if self.has_ended {
            return None;
        }
        let (endpoint, identity) = (self.call.endpoint(), self.shared.identity());
        let next = tokio::select! {
            // Events that come without a pause must keep neither the end nor the look from having their turn.
            biased;
            () = self.shared.gate.ending() => {
                Next::Last(self.events.refusal(&CallError::with_message(ErrorCode::ServiceUnavailable, "the server is ending")))
            }
            _ = self.beats.tick() => match self.events.check(endpoint, identity).await {
                Ok(()) => Next::Event(event_stream::KEEP_ALIVE.to_owned()),
                Err(refused) => Next::Last(self.events.refusal(&refused)),
            },
            next = self.events.next(endpoint, identity) => next,
        };
        let text = match next {
            Next::Event(text) => text,
            Next::Last(text) => {
                self.has_ended = true;
                text
            }
        };
        Some(self.shared.bodies.counted(text.into()).unwrap_or_else(|Exhausted| {
            self.has_ended = true;
            self.events.refusal(&CallError::new(ErrorCode::ServiceUnavailable)).into()
        }))
    }
}
