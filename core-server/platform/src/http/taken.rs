//! What is sent on connections of several streams, and whether the other side takes it.
//!
//! HTTP/1.1 has one answer on a connection, and who does not take it keeps the [stream](super::paced) from being written. Of HTTP/2 a client
//! can have many, give none of them room, and still answer every ping. So what it has been given and has not taken is counted here.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::paced::Pace;

/// What a connection has not taken yet.
#[derive(Default)]
pub(super) struct Untaken {
    pieces: AtomicUsize,
    taken: AtomicUsize,
    /// It had taken everything, at some time since the last look.
    was_empty: AtomicBool,
}

impl Untaken {
    /// Ends when the other side is too slow: within the time it has taken neither everything nor enough.
    pub(super) async fn too_slow(&self, pace: Pace) {
        loop {
            tokio::time::sleep(pace.within).await;
            let was_empty = self.was_empty.swap(false, Ordering::Relaxed) || self.pieces.load(Ordering::Relaxed) == 0;
            let taken = self.taken.swap(0, Ordering::Relaxed);
            if !was_empty && taken < pace.bytes {
                return;
            }
        }
    }

    /// The same bytes, which count until nobody holds them.
    fn count(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        self.pieces.fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(Piece { bytes, untaken: self.clone() })
    }
}

struct Piece {
    bytes: Bytes,
    untaken: Arc<Untaken>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.untaken.taken.fetch_add(self.bytes.len(), Ordering::Relaxed);
        if self.untaken.pieces.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.untaken.was_empty.store(true, Ordering::Relaxed);
        }
    }
}

/// The body of an answer, and what it keeps until it has been sent.
pub(super) struct Sent<Kept> {
    body: Body,
    /// None: the connection itself is watched.
    untaken: Option<Arc<Untaken>>,
    _kept: Kept,
}

impl<Kept> Sent<Kept> {
    pub(super) fn new(body: Body, untaken: Option<Arc<Untaken>>, kept: Kept) -> Self {
        Self { body, untaken, _kept: kept }
    }
}

impl<Kept: Unpin> HttpBody for Sent<Kept> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        match &self.untaken {
            Some(untaken) => frame.map_ok(|frame| frame.map_data(|bytes| untaken.count(bytes))),
            None => frame,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;
    use http_body_util::BodyExt as _;

    use super::*;

    const PACE: Pace = Pace { bytes: 1000, within: Duration::from_millis(200) };

    #[tokio::test]
    async fn who_takes_nothing_or_too_little_is_too_slow() {
        let untaken = Arc::new(Untaken::default());
        assert!(tokio::time::timeout(PACE.within * 3, untaken.too_slow(PACE)).await.is_err(), "nothing has been sent");
        let _held = untaken.count(Bytes::from_static(b"held"));
        tokio::time::timeout(PACE.within * 4, untaken.too_slow(PACE)).await.unwrap();
        drop(untaken.count(Bytes::from(vec![0; 999])));
        tokio::time::timeout(PACE.within * 4, untaken.too_slow(PACE)).await.unwrap();
        let mut watch = Box::pin(untaken.too_slow(PACE));
        for _ in 0..15 {
            drop(untaken.count(Bytes::from(vec![0; 1000])));
            assert!(tokio::time::timeout(PACE.within / 4, &mut watch).await.is_err(), "it takes enough");
        }
        tokio::time::timeout(PACE.within * 4, watch).await.unwrap();
    }

    #[tokio::test]
    async fn who_takes_everything_may_take_long() {
        let untaken = Arc::new(Untaken::default());
        let mut watch = Box::pin(untaken.too_slow(PACE));
        for _ in 0..5 {
            let held = untaken.count(Bytes::from_static(b"held"));
            assert!(tokio::time::timeout(PACE.within / 4, &mut watch).await.is_err());
            drop(held);
            assert!(tokio::time::timeout(PACE.within / 4, &mut watch).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_body_is_what_it_was() {
        let untaken = Arc::new(Untaken::default());
        let body = Sent::new(Body::from("checkstack"), Some(untaken.clone()), ());
        assert_eq!(body.size_hint().exact(), Some(10));
        let bytes = body.collect().await.unwrap().to_bytes();
        assert_eq!((&bytes[..], untaken.pieces.load(Ordering::Relaxed)), (&b"checkstack"[..], 1));
        drop(bytes);
        assert_eq!((untaken.pieces.load(Ordering::Relaxed), untaken.taken.load(Ordering::Relaxed)), (0, 10));
        assert!(Sent::new(Body::empty(), Some(untaken), ()).collect().now_or_never().is_some());
    }
}
