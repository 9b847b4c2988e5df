//! Requests of one connection: whether one is under way, and whether too many of them are given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Version};
use tokio::sync::watch;

/// Requests that are given up while they are being answered, more than there are answers. To begin one costs the client a frame, and the
/// server some work (CVE-2023-44487).
const MAX_GIVEN_UP: usize = 100;

/// The requests of a connection.
pub(super) struct Streams {
    under_way: watch::Sender<usize>,
    given_up: AtomicUsize,
}

/// A request, until its answer has been sent.
pub(super) struct Stream {
    streams: Arc<Streams>,
    is_answered: bool,
}

impl Streams {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { under_way: watch::Sender::new(0), given_up: AtomicUsize::new(0) })
    }

    pub(super) fn begin(self: &Arc<Self>) -> Stream {
        self.under_way.send_modify(|count| *count += 1);
        Stream { streams: self.clone(), is_answered: false }
    }

    /// Ends when there has been no request for this long.
    pub(super) async fn quiet(&self, long: Duration) {
        let mut under_way = self.under_way.subscribe();
        loop {
            // Who changes it is this: it does not go before.
            let _ = under_way.wait_for(|count| *count == 0).await;
            if tokio::time::timeout(long, under_way.changed()).await.is_err() {
                return;
            }
        }
    }

    /// Ends when too many have been given up.
    pub(super) async fn abused(&self) {
        let mut under_way = self.under_way.subscribe();
        while self.given_up.load(Ordering::Relaxed) <= MAX_GIVEN_UP {
            let _ = under_way.changed().await;
        }
    }
}

impl Stream {
    /// There is an answer.
    pub(super) fn answered(&mut self) {
        self.is_answered = true;
        let one_less = |given_up: usize| given_up.checked_sub(1);
        let _ = self.streams.given_up.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.is_answered {
            self.streams.given_up.fetch_add(1, Ordering::Relaxed);
        }
        self.streams.under_way.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// A request of HTTP/2 in the form of one of HTTP/1.1, which is what everything behind the listener knows (RFC 9113 §8.2.3, §8.3.1).
pub(super) fn as_before<Body>(request: &mut Request<Body>) {
    if request.version() != Version::HTTP_2 {
        return;
    }
    let host = request.uri().authority().and_then(|authority| HeaderValue::try_from(authority.as_str()).ok());
    let headers = request.headers_mut();
    if let Some(host) = host {
        headers.entry(header::HOST).or_insert(host);
    }
    join_cookies(headers);
}

/// They may come one by one.
fn join_cookies(headers: &mut HeaderMap) {
    let mut all = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    let (Some(first), Some(second)) = (all.next(), all.next()) else { return };
    let joined = [first, second].into_iter().chain(all).collect::<Vec<_>>().join(&b"; "[..]);
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_quiet_between_requests() {
        let (streams, long) = (Streams::new(), Duration::from_millis(300));
        let mut quiet = Box::pin(streams.quiet(long));
        let stream = streams.begin();
        assert!(tokio::time::timeout(long * 3, &mut quiet).await.is_err(), "one is under way");
        drop(stream);
        assert!(tokio::time::timeout(long / 2, &mut quiet).await.is_err());
        drop(streams.begin());
        assert!(tokio::time::timeout(long / 2, &mut quiet).await.is_err(), "it begins anew");
        tokio::time::timeout(long * 5, quiet).await.unwrap();
    }

    #[tokio::test]
    async fn who_gives_up_more_than_is_answered_is_told_from_others() {
        let streams = Streams::new();
        for _ in 0..1000 {
            drop(streams.begin());
            streams.begin().answered();
        }
        assert_eq!(streams.given_up.load(Ordering::Relaxed), 0);
        for _ in 0..MAX_GIVEN_UP {
            drop(streams.begin());
        }
        let mut abused = Box::pin(streams.abused());
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut abused).await.is_err());
        drop(streams.begin());
        tokio::time::timeout(Duration::from_secs(5), abused).await.unwrap();
    }

    #[test]
    fn a_request_looks_as_it_always_did() {
        let mut request = Request::builder().version(Version::HTTP_2).uri("http://pod:3000/api").body(()).unwrap();
        for cookie in ["a=1", "b=2", "c=3"] {
            request.headers_mut().append(header::COOKIE, HeaderValue::from_static(cookie));
        }
        as_before(&mut request);
        assert_eq!(
            (&request.headers()["host"], &request.headers()["cookie"]),
            (&"pod:3000".parse().unwrap(), &"a=1; b=2; c=3".parse().unwrap())
        );
        assert_eq!(request.headers().len(), 2);
        let mut request = Request::builder().header("host", "a").uri("http://b/").body(()).unwrap();
        as_before(&mut request);
        assert_eq!(request.headers()["host"], "a");
    }
}
