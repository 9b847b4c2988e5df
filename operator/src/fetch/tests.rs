//! Fetching from a server on this machine that misbehaves in every way.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use super::{FetchError, FetchLimits, FetchSlots, HttpFetcher, SecretHeaders};
use crate::telemetry::{FetchSource, Metrics};

/// A server that answers each connection by hand, and writes down the requests.
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    async fn start<Answer, Answering>(answer: Answer) -> Self
    where
        Answer: Fn(String, TcpStream) -> Answering + Send + Sync + 'static,
        Answering: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = requests.clone();
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).await.unwrap_or(0) == 0 {
                        break;
                    }
                    request.push(byte[0]);
                }
                let request = String::from_utf8(request).unwrap();
                log.lock().unwrap().push(request.clone());
                tokio::spawn(answer(request, stream));
            }
        });
        Self { address, requests, _task: AbortOnDropHandle::new(task) }
    }

    /// One that always sends this.
    async fn sending(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |_, mut stream| {
            let bytes = bytes.clone();
            async move {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
            }
        })
        .await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn limits() -> FetchLimits {
    FetchLimits { size: 1024, total: Duration::from_millis(500), connect: Duration::from_millis(500), redirects: 3 }
}

async fn fetch(url: &str) -> Result<Vec<u8>, FetchError> {
    fetch_with(url, &SecretHeaders::default()).await
}

async fn fetch_with(url: &str, headers: &SecretHeaders) -> Result<Vec<u8>, FetchError> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    HttpFetcher::new(limits()).unwrap().fetch(url, headers).await
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn redirect(target: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn the_bytes_come_as_they_are() {
    let server = Server::sending(ok("package")).await;
    assert_eq!(fetch(&server.url("/p.tgz")).await.unwrap(), b"package");
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_not_read() {
    let server = Server::sending("HTTP/1.1 200 OK\r\nContent-Length: 1025\r\n\r\n").await;
    let error = fetch(&server.url("/p.tgz")).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { limit: 1024, .. }), "{error}");
    assert!(!error.is_transient());
}

#[tokio::test]
async fn a_body_that_grows_too_large_is_cut_off() {
    let mut answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    answer.extend_from_slice(&vec![b'x'; 1025]);
    let server = Server::sending(answer).await;
    assert!(matches!(fetch(&server.url("/p.tgz")).await, Err(FetchError::TooLarge { .. })));
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_fine() {
    let server = Server::sending(ok(&"x".repeat(1024))).await;
    assert_eq!(fetch(&server.url("/p.tgz")).await.unwrap().len(), 1024);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_told_as_such() {
    let server = Server::sending("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
    let error = fetch(&server.url("/p.tgz")).await.unwrap_err();
    assert!(matches!(error, FetchError::Truncated { .. }), "{error}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_server_that_drips_is_left_after_the_time_limit() {
    let server = Server::start(|_, mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").await;
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let began = Instant::now();
    let error = fetch(&server.url("/p.tgz")).await.unwrap_err();
    assert!(matches!(error, FetchError::TimedOut { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_after_the_time_limit() {
    let server = Server::start(|_, stream| async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(stream);
    })
    .await;
    assert!(matches!(fetch(&server.url("/p.tgz")).await, Err(FetchError::TimedOut { .. })));
}

#[tokio::test]
async fn every_status_has_its_error() {
    for (status, expected, transient) in [
        (401, "refused access (HTTP 401)", true),
        (403, "refused access (HTTP 403)", true),
        (404, "does not exist (HTTP 404)", true),
        (410, "does not exist (HTTP 410)", true),
        (204, "answered HTTP 204 instead", true),
        (429, "answered HTTP 429 instead", true),
        (500, "answered HTTP 500 instead", true),
        (304, "answered HTTP 304 instead", true),
    ] {
        let server = Server::sending(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")).await;
        let error = fetch(&server.url("/p.tgz")).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.is_transient(), transient, "{error}");
    }
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told_in_the_same_words_each_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/p.tgz", listener.local_addr().unwrap());
    drop(listener);
    let first = fetch(&url).await.unwrap_err();
    assert_eq!(first.to_string(), format!("{url} cannot be reached: the connection was refused; check the URL and the network"));
    assert_eq!(fetch(&url).await.unwrap_err(), first);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_told() {
    let error = fetch("http://no-such-host.invalid/p.tgz").await.unwrap_err();
    let expected = "http://no-such-host.invalid/p.tgz cannot be reached: its name cannot be resolved; check the URL and the network";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn redirects_are_followed_up_to_the_limit() {
    let server = Server::start(|request, mut stream| async move {
        let left: u32 = request.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
        let answer = if left == 0 { ok("found") } else { redirect(&format!("/{}", left - 1)) };
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    assert_eq!(fetch(&server.url("/3")).await.unwrap(), b"found");
    let error = fetch(&server.url("/4")).await.unwrap_err();
    assert!(matches!(error, FetchError::TooManyRedirects { limit: 3, .. }), "{error}");
}

#[tokio::test]
async fn a_redirect_to_what_is_not_allowed_is_not_followed() {
    for target in ["file:///etc/passwd", "http://169.254.169.254/latest", "http://user:hunter2@example.com/", "ftp://example.com/"] {
        let server = Server::sending(redirect(target)).await;
        let error = fetch(&server.url("/p.tgz")).await.unwrap_err();
        assert!(matches!(error, FetchError::RefusedRedirect { .. }), "{target}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn secret_headers_stay_with_the_origin_that_the_admin_named() {
    let other = Server::sending(ok("package")).await;
    let target = other.url("/elsewhere");
    let server = Server::start(move |request, mut stream| {
        let target = target.clone();
        async move {
            let answer = if request.starts_with("GET /start") { redirect("/same") } else { redirect(&target) };
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let headers =
        SecretHeaders::from_entries("token", [("PRIVATE-TOKEN", b"s3cret\n".as_slice()), ("Authorization", b"Bearer s3cret")]).unwrap();
    assert_eq!(fetch_with(&server.url("/start"), &headers).await.unwrap(), b"package");
    for request in server.requests() {
        assert!(request.contains("private-token: s3cret\r\n") && request.contains("authorization: Bearer s3cret\r\n"), "{request}");
    }
    assert_eq!(server.requests().len(), 2);
    // Another port is another origin.
    assert!(!other.requests()[0].contains("s3cret"), "{}", other.requests()[0]);
}

#[tokio::test]
async fn an_entry_that_is_no_header_is_refused_without_showing_it() {
    for (name, value) in [("white space", b"x".as_slice()), ("X-Token", b"two\r\nlines")] {
        let error = SecretHeaders::from_entries("token", [(name, value)]).err().unwrap();
        assert_eq!(error, FetchError::InvalidSecretHeader { name: "token".into(), key: name.into() });
        assert!(!error.is_transient());
    }
}

#[tokio::test]
async fn urls_that_cannot_be_used_are_refused_at_once() {
    for url in [
        "ftp://example.com/p.tgz",
        "not a url",
        "http://user:hunter2@example.com/p.tgz",
        "http://169.254.169.254/p.tgz",
        "http://[fe80::1]/p.tgz",
    ] {
        let error = fetch(url).await.unwrap_err();
        assert!(matches!(error, FetchError::InvalidUrl { .. }), "{url}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(!error.is_transient());
    }
}

#[tokio::test]
async fn messages_do_not_show_the_query() {
    let server = Server::sending("HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n").await;
    let error = fetch(&server.url("/p.tgz?signature=s3cret")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} does not exist (HTTP 404): check the URL, or publish the package there", server.url("/p.tgz"))
    );
}

#[tokio::test]
async fn only_so_many_packages_are_in_memory_at_once() {
    let slots = FetchSlots::new(Metrics::new());
    let fetch = || slots.fetch(FetchSource::Url, async { Ok(vec![1]) });
    let first = fetch().await.unwrap();
    let _second = fetch().await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), fetch()).await.is_err());
    drop(first);
    assert!(tokio::time::timeout(Duration::from_secs(5), fetch()).await.is_ok());
}
