//! Accepting connections: HTTP/1.1, a bounded number, with time limits, and an orderly end.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::connections::{Connections, Place};
use super::paced::{Pace, Paced};
use super::{MAX_REQUESTS, Surface};

/// Those that are busy with requests, and some whose places the kubelet, the operator and
/// Prometheus can have.
const MAX_CONNECTIONS: usize = MAX_REQUESTS + 256;
/// The head of a request, and the pause between two requests of a connection.
const HEAD: Duration = Duration::from_secs(75);
/// What a connection has in memory of what it reads, and therefore the longest head.
const READ_BYTES: usize = 32 * 1024;
/// 16 MiB, the largest answer, within a quarter of an hour.
const PACE: Pace = Pace { bytes: 512 * 1024, within: Duration::from_secs(30) };
/// After an error of `accept`, for example too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What connections may do.
#[derive(Debug, Clone, Copy)]
struct Limits {
    connections: usize,
    pace: Pace,
}

/// Serves until `stop`; then takes no more connections and ends those there are after the request
/// that each is busy with, `drain` at the most.
pub async fn serve(listener: TcpListener, surface: Surface, stop: CancellationToken, drain: Duration) {
    serve_within(Limits { connections: MAX_CONNECTIONS, pace: PACE }, listener, surface, stop, drain).await;
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
                connections.spawn(connection(stream, limits.pace, surface.clone(), ending.clone(), Arc::new(place)));
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

async fn connection(stream: TcpStream, pace: Pace, surface: Surface, ending: CancellationToken, place: Arc<Place>) {
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let (surface, place) = (&surface, &place);
        async move {
            let _busy = place.busy();
            Ok::<_, Infallible>(surface.answer(request.map(Body::new)).await)
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_headers(128).max_buf_size(READ_BYTES).half_close(false);
    let stream = TokioIo::new(Paced::new(stream, pace, place.clone()));
    let mut connection = pin!(builder.serve_connection(stream, service).with_upgrades());
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = place.evicted() => return debug!("a quiet connection makes way for a new one"),
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

#[cfg(test)]
mod tests;
