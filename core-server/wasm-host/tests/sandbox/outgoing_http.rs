//! Outgoing HTTP: to what is granted, within limits, and nowhere else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use bytes::Bytes;
use checkstack_platform::plugin::{Plugin, PluginServices};
use http::HeaderValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::task::AbortOnDropHandle;

use crate::fixture::{Sandbox, ask, post, services_with};
use crate::guest;

/// A server on loopback.
struct Server {
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

async fn serve() -> Server {
    let chunks = |count: usize| futures::stream::iter((0..count).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 64 * 1024]))));
    let router = Router::new()
        .route("/hello", get(|| async { "hello" }))
        .route("/headers", get(|request: Request| async move { format!("{:?}", request.headers()) }))
        .route("/redirect", get(|| async { Redirect::temporary("http://169.254.169.254/latest/meta-data") }))
        .route("/slow", get(|| async { tokio::time::sleep(Duration::from_secs(20)).await }))
        .route("/drip", get(|| async { drip() }))
        .route("/large", get(move || async move { Body::from_stream(chunks(200)) }))
        .route("/allowed", get(move || async move { Body::from_stream(chunks(128)) }))
        .route("/many-headers", get(many_headers));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Server { address, _task: AbortOnDropHandle::new(task) }
}

/// A byte now and then, without end.
fn drip() -> Response {
    let stream = futures::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b".")), ()))
    });
    Body::from_stream(stream).into_response()
}

async fn many_headers() -> Response {
    let mut response = StatusCode::OK.into_response();
    for index in 0..1000 {
        response.headers_mut().append("x-many", HeaderValue::from(index));
    }
    response
}

impl Server {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn granted(allow: &[String], ranges: &[&str]) -> PluginServices {
    services_with(|grants| {
        grants.http.allow = allow.to_vec();
        grants.http.allow_cidrs = ranges.iter().map(|range| range.parse().unwrap()).collect();
    })
}

async fn plugin(sandbox: &Sandbox, services: PluginServices) -> Arc<dyn Plugin> {
    sandbox.start(&guest::plain(), services).await
}

#[tokio::test]
async fn a_granted_address_is_reached() {
    let (sandbox, server) = (Sandbox::new(), serve().await);
    let plugin = plugin(&sandbox, granted(&[server.url("")], &["127.0.0.0/8"])).await;
    assert_eq!(ask(&plugin, "/h", &server.url("/hello")).await, (200, "hello".into()));
    assert_eq!(ask(&plugin, "/h", &server.url("/nothing")).await.0, 404);
}

#[tokio::test]
async fn a_granted_name_is_reached_through_the_checked_address_only() {
    let (sandbox, server) = (Sandbox::new(), serve().await);
    let origin = format!("http://localhost:{}", server.address.port());
    let url = format!("{origin}/hello");
    let with_range = plugin(&sandbox, granted(std::slice::from_ref(&origin), &["127.0.0.0/8"])).await;
    assert_eq!(ask(&with_range, "/h", &url).await, (200, "hello".into()));
    // The name is granted, but it leads to loopback: what a rebinding attack looks like.
    let without = plugin(&sandbox, granted(&[origin], &[])).await;
    let (status, message) = ask(&without, "/h", &url).await;
    assert_eq!(status, 500, "{message}");
    assert!(message.contains("a loopback address") && message.contains("spec.grants.http.allowCidrs"), "{message}");
}

#[tokio::test]
async fn loopback_and_metadata_addresses_are_denied_in_every_form() {
    let (sandbox, server) = (Sandbox::new(), serve().await);
    let port = server.address.port();
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[fe80::1]",
    ] {
        let origin = format!("http://{host}:{port}");
        let plugin = plugin(&sandbox, granted(std::slice::from_ref(&origin), &[])).await;
        let (status, message) = ask(&plugin, "/h", &format!("{origin}/hello")).await;
        assert_eq!(status, 500, "{host}: {message}");
        assert!(message.contains("spec.grants.http.allowCidrs"), "{host}: {message}");
    }
}

#[tokio::test]
async fn another_origin_is_denied() {
    let (sandbox, server) = (Sandbox::new(), serve().await);
    let other = serve().await;
    let plugin = plugin(&sandbox, granted(&[server.url("")], &["127.0.0.0/8"])).await;
    let (status, message) = ask(&plugin, "/h", &other.url("/hello")).await;
    assert_eq!((status, message), (500, format!("no grant covers {}; spec.grants.http.allow must contain it", other.url(""))));
}

#[tokio::test]
async fn a_redirect_is_answered_and_not_followed() {
    let (sandbox, server) = (Sandbox::new(), serve().await);
    let plugin = plugin(&sandbox, granted(&[server.url("")], &["127.0.0.0/8"])).await;
    let response = plugin.handle(post("/h", &server.url("/redirect"))).await.unwrap();
    assert_eq!(response.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(response.headers["location"], "http://169.254.169.254/latest/meta-data");
}

#[tokio::test]
async fn header_fields_are_sent_except_those_of_the_connection() {
    let (sandbox, server) = (Sandbox::new(), serve().await);
    let plugin = plugin(&sandbox, granted(&[server.url("")], &["127.0.0.0/8"])).await;
    let mut request = post("/h", &server.url("/headers"));
    request.headers.insert("x-token", HeaderValue::from_static("secret"));
    let answer = plugin.handle(request).await.unwrap();
    let seen = String::from_utf8(answer.body.into()).unwrap();
    assert!(seen.contains("\"x-token\": \"secret\"") && seen.contains("(plugin subject)"), "{seen}");

    let mut request = post("/h", &server.url("/headers"));
    request.headers.insert("host", HeaderValue::from_static("internal.example"));
    let answer = plugin.handle(request).await.unwrap();
    assert_eq!(answer.status.as_u16(), 501, "invalid");
    assert!(String::from_utf8_lossy(&answer.body).contains("header 'host'"));
}

#[tokio::test]
async fn a_slow_answer_times_out() {
    let (sandbox, server) = (Sandbox::new(), serve().await);
    let plugin = plugin(&sandbox, granted(&[server.url("")], &["127.0.0.0/8"])).await;
    for path in ["/slow", "/drip"] {
        let mut request = post("/h", &server.url(path));
        // The guest asks for 200 ms when there is a query.
        request.query = Some("limit".into());
        let begin = Instant::now();
        let answer = plugin.handle(request).await.unwrap();
        assert_eq!(answer.status.as_u16(), 503, "{path}");
        assert!(begin.elapsed() < Duration::from_millis(1500), "{path}: {:?}", begin.elapsed());
    }
    // And without: a moment before the plugin's own deadline, so that it can say something.
    let (status, message) = ask(&plugin, "/h", &server.url("/slow")).await;
    assert_eq!(status, 503, "{message}");
}

#[tokio::test]
async fn a_large_answer_is_refused_while_it_arrives() {
    let (sandbox, server) = (Sandbox::new(), serve().await);
    let plugin = plugin(&sandbox, granted(&[server.url("")], &["127.0.0.0/8"])).await;
    assert_eq!(ask(&plugin, "/h", &server.url("/large")).await.0, 504);
    assert_eq!(ask(&plugin, "/h", &server.url("/allowed")).await.1.len(), 8 * 1024 * 1024);
    let (status, message) = ask(&plugin, "/h", &server.url("/many-headers")).await;
    assert_eq!(status, 502, "{message}");
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let sandbox = Sandbox::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let reach = plugin(&sandbox, granted(std::slice::from_ref(&origin), &["127.0.0.0/8"])).await;
    assert_eq!(ask(&reach, "/h", &origin).await.0, 502);
    let unknown = plugin(&sandbox, granted(&["http://no-such-name.invalid".into()], &[])).await;
    let (status, message) = ask(&unknown, "/h", "http://no-such-name.invalid/").await;
    assert_eq!(status, 502, "{message}");
    assert!(message.contains("'no-such-name.invalid' has no address"), "{message}");
}

/// One connection for each origin would be kept for half a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_origins_do_not_make_a_thousand_connections() {
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = (open.clone(), most.clone());
    let _server = AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let (open, most) = counted.clone();
            tokio::spawn(async move {
                most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let mut request = [0; 4096];
                while connection.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {
                    connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
                }
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    }));
    let origins: Vec<String> = (0..1000).map(|number| format!("http://127.0.{}.{}:{port}", number / 250 + 1, number % 250 + 1)).collect();
    let sandbox = Sandbox::new();
    let plugin = plugin(&sandbox, granted(&origins, &["127.0.0.0/8"])).await;
    for origin in &origins {
        assert_eq!(ask(&plugin, "/h", &format!("{origin}/")).await, (200, "hi".into()));
    }
    // Those of two clients, the one before not quite closed yet.
    let most = most.load(Ordering::SeqCst);
    assert!((32..=70).contains(&most), "{most} connections at a time");
    // What is asked again and again keeps its connection.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = open.load(Ordering::SeqCst);
    for _ in 0..20 {
        ask(&plugin, "/h", &format!("{}/", origins[999])).await;
    }
    assert!(open.load(Ordering::SeqCst) <= before + 1, "{} after {before}", open.load(Ordering::SeqCst));
}
