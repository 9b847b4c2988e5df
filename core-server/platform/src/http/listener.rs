//! Accepting connections: HTTP/1.1 and HTTP/2, a bounded number, with time limits, and an orderly end.
//!
//! HTTP/2 is for who begins with it ("prior knowledge"): connections come from within the cluster, and TLS ends before the pod.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::connections::{Connections, Place};
use super::paced::{Pace, Paced};
use super::plugins::failure;
use super::streams::{self, Stream, Streams};
use super::taken::{Sent, Untaken};
use super::{MAX_REQUESTS, Surface};

/// Those that are busy with requests, and some whose places the kubelet, the operator and
/// Prometheus can have.
const MAX_CONNECTIONS: usize = MAX_REQUESTS + 256;
/// The head of a request, and the pause between two requests of a connection.
const HEAD: Duration = Duration::from_secs(75);
/// What a connection has in memory of what it reads, and therefore the longest head.
const READ_BYTES: usize = 32 * 1024;
/// Of a request.
const MAX_FIELDS: usize = 128;
/// Requests of one connection at a time. What is over it is refused by the protocol, and need not be sent again by a person.
const MAX_STREAMS: u32 = 32;
/// What a connection, and each of its streams, may send before somebody has read it. Less than this no connection can have.
const WINDOW_BYTES: u32 = 64 * 1024;
/// Streams of a connection that are reset before anybody looked at them, and by faults of the client (CVE-2023-44487, CVE-2025-8671).
const MAX_RESETS: usize = 20;
/// Whether the other side is there.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(10);
/// 16 MiB, the largest answer, within a quarter of an hour.
const PACE: Pace = Pace { bytes: 512 * 1024, within: Duration::from_secs(30) };
/// After an error of `accept`, for example too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What connections may do.
#[derive(Debug, Clone, Copy)]
struct Limits {
    connections: usize,
    pace: Pace,
    head: Duration,
    ping: Duration,
    pong: Duration,
}

/// Serves until `stop`; then takes no more connections and ends those there are after the request
/// that each is busy with, `drain` at the most.
pub async fn serve(listener: TcpListener, surface: Surface, stop: CancellationToken, drain: Duration) {
    let limits = Limits { connections: MAX_CONNECTIONS, pace: PACE, head: HEAD, ping: PING, pong: PONG };
    serve_within(limits, listener, surface, stop, drain).await;
}

async fn serve_within(limits: Limits, listener: TcpListener, surface: Surface, stop: CancellationToken, drain: Duration) {
    let places = Connections::new(limits.connections);
    let connections = TaskTracker::new();
    let ending = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let tasks = Tasks(connections.clone());
                connections.spawn(connection(stream, limits, surface.clone(), ending.clone(), Arc::new(place), tasks));
            }
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    ending.cancel();
    connections.close();
    if tokio::time::timeout(drain, connections.wait()).await.is_err() {
        warn!(connections = connections.len(), "some connections did not end in time");
    }
}

async fn accept(listener: &TcpListener, places: &Arc<Connections>) -> std::io::Result<(TcpStream, Place)> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, places.place().await))
}

/// How connections are spoken on: HTTP/1.1, or HTTP/2 for who begins with it.
fn builder(limits: Limits, tasks: Tasks) -> auto::Builder<Tasks> {
    let mut builder = auto::Builder::new(tasks);
    let mut one = builder.http1();
    one.timer(TokioTimer::new()).header_read_timeout(limits.head).max_headers(MAX_FIELDS).max_buf_size(READ_BYTES).half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(READ_BYTES as u32)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buf_size(WINDOW_BYTES as usize)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_RESETS)
        .keep_alive_interval(limits.ping)
        .keep_alive_timeout(limits.pong);
    builder
}

async fn connection(stream: TcpStream, limits: Limits, surface: Surface, ending: CancellationToken, place: Arc<Place>, tasks: Tasks) {
    let (streams, untaken) = (Streams::new(), Arc::new(Untaken::default()));
    let service = {
        let (place, streams, untaken) = (place.clone(), streams.clone(), untaken.clone());
        service_fn(move |request: hyper::Request<Incoming>| {
            let stream = streams.begin();
            answer(request, surface.clone(), place.clone(), untaken.clone(), stream)
        })
    };
    let builder = builder(limits, tasks);
    let stream = TokioIo::new(Paced::new(stream, limits.pace, place.clone()));
    let mut connection = pin!(builder.serve_connection_with_upgrades(stream, service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = place.evicted() => return debug!("a quiet connection makes way for a new one"),
        () = untaken.too_slow(limits.pace) => return debug!("the client takes its answers too slowly"),
        () = streams.abused() => return debug!("the client gives up too many of its requests"),
        // HTTP/1.1 has this limit itself, but not before it is known to be spoken.
        () = streams.quiet(limits.head) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(limits.pong, connection).await.unwrap_or(Ok(()))
        }
        () = ending.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        debug!(%error, "connection ended");
    }
    // What has become a socket lives on, and has a place of its own.
    place.leave();
}

async fn answer(
    mut request: hyper::Request<Incoming>,
    surface: Surface,
    place: Arc<Place>,
    untaken: Arc<Untaken>,
    mut stream: Stream,
) -> Result<Response<Sent<Stream>>, Infallible> {
    let _busy = place.busy();
    let has_streams = request.version() == Version::HTTP_2;
    streams::as_before(&mut request);
    let response = if request.headers().len() > MAX_FIELDS {
        failure(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the request has too many header fields", None)
    } else {
        surface.answer(request.map(Body::new)).await
    };
    // On a connection with many answers the small ones count as well.
    let response = if has_streams { surface.counted_whole(response).await } else { response };
    stream.answered();
    Ok(response.map(|body| Sent::new(body, has_streams.then_some(untaken), stream)))
}

/// Runs what belongs to streams, which ends with the server.
#[derive(Clone)]
struct Tasks(TaskTracker);

impl<Task> Executor<Task> for Tasks
where
    Task: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: Task) {
        self.0.spawn(task);
    }
}

#[cfg(test)]
mod tests;
