mod files;
mod http2;
mod neighbours;

use std::sync::OnceLock;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use checkstack_plugin_package::PluginId;
use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::dispatch::{DispatchTable, Endpoint, Route};
use crate::http::Shared;
use crate::http::budget::{BodyBudget, RequestLimit};
use crate::http::documents::About;
use crate::http::event_streams::EventStreams;
use crate::http::frontend::Frontend;
use crate::http::gate::{Gate, Phase};
use crate::metrics::Metrics;
use crate::plugin::{CallFailure, Description, Plugin, PluginFailure, PluginRequest, PluginResponse, ProbeOutcome};
use crate::quarantine::Quarantine;

const SOON: Duration = Duration::from_secs(5);
const ANSWER_BYTES: usize = 16 * 1024 * 1024;
const LIMITS: Limits =
    Limits { connections: 8, pace: Pace { bytes: 512 * 1024, within: Duration::from_millis(500) }, head: HEAD, ping: PING, pong: PONG };

/// Answers much.
struct Large(Description);

#[async_trait]
impl Plugin for Large {
    fn description(&self) -> &Description {
        &self.0
    }

    async fn init(&self) -> Result<(), PluginFailure> {
        Ok(())
    }

    async fn after_plugins_ready(&self) -> Result<(), PluginFailure> {
        Ok(())
    }

    async fn handle(&self, _request: PluginRequest) -> Result<PluginResponse, CallFailure> {
        Ok(PluginResponse { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::from(vec![b'x'; ANSWER_BYTES]) })
    }

    async fn check(&self, _probe: &str) -> Result<ProbeOutcome, CallFailure> {
        Ok(ProbeOutcome { ok: true, message: None })
    }

    async fn shutdown(&self) {}
}

struct Server {
    shared: Arc<Shared>,
    address: std::net::SocketAddr,
    stop: CancellationToken,
}

impl Server {
    /// A server whose core has not started: what is for plugins waits at the gate.
    async fn new(connections: usize, requests: usize) -> Self {
        Self::within(Limits { connections, ..LIMITS }, requests).await
    }

    async fn within(limits: Limits, requests: usize) -> Self {
        let metrics = Metrics::new("1.2.3", Vec::new);
        let shared = Arc::new(Shared {
            gate: Gate::new(),
            table: Arc::new(DispatchTable::default()),
            readiness: Default::default(),
            once_ready: Default::default(),
            ready_log: Default::default(),
            max_body_bytes: 1024 * 1024,
            bodies: BodyBudget::new(ANSWER_BYTES + 1024 * 1024),
            requests: RequestLimit::new(requests),
            sockets: crate::http::sockets::ServerSockets::new(crate::SocketSettings::default(), &[]),
            set_problem: OnceLock::new(),
            event_streams: EventStreams::new(1),
            about: About { base_url: String::new(), version: String::new() },
            frontend: Frontend::new("/nowhere".into()),
            core: OnceLock::new(),
            metrics: metrics.clone(),
            spans: None,
        });
        let id: PluginId = "large".parse().unwrap();
        let endpoint = Endpoint::new(
            id.clone(),
            Arc::new(Large(Description::default())),
            SOON,
            metrics.calls_of(&id),
            Quarantine::new(Arc::default()),
        );
        shared.table.replace([(id, Route::Serving(Arc::new(endpoint)))].into());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(serve_within(limits, listener, Surface::new(shared.clone(), &[]), stop.clone(), SOON));
        Self { shared, address, stop }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A connection on which a request has been sent and nothing read.
    async fn ask(&self, path: &str) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        stream
    }

    async fn get(&self, path: &str) -> String {
        rest(self.ask(path).await).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Everything up to the connection's end.
async fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("no answer").unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn idle_connections_do_not_keep_the_kubelet_out() {
    let server = Server::new(8, 4).await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(server.connect().await);
    }
    for _ in 0..10 {
        assert!(server.get("/.checkstack/health").await.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(rest(idle.remove(0)).await, "", "the first made way");
}

#[tokio::test]
async fn requests_that_wait_do_not_keep_the_kubelet_out() {
    let server = Server::new(8, 4).await;
    let mut waiting = Vec::new();
    for _ in 0..4 {
        waiting.push(server.ask("/api/large/").await);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 0..20 {
        let refused = server.get("/api/large/").await;
        assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
        assert!(server.get("/.checkstack/health").await.starts_with("HTTP/1.1 200"));
    }
    server.shared.gate.enter(Phase::Initialised);
    let answers = futures::future::join_all(waiting.into_iter().map(rest)).await;
    let statuses: Vec<&str> = answers.iter().filter_map(|answer| answer.get(9..12)).collect();
    assert_eq!(statuses.len(), 4, "none that was being answered made way");
    assert!(statuses.contains(&"200"), "{statuses:?}");
}

#[tokio::test]
async fn who_does_not_read_loses_the_connection_and_its_answer_is_freed() {
    let server = Server::new(8, 4).await;
    server.shared.gate.enter(Phase::Initialised);
    let silent = server.ask("/api/large/").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let refused = server.get("/api/large/").await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "no room for a second answer: {refused:.80}");
    let begin = Instant::now();
    while !server.get("/api/large/").await.starts_with("HTTP/1.1 200") {
        assert!(begin.elapsed() < SOON, "the first answer is still held");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(silent);
}

#[tokio::test]
async fn a_socket_neither_makes_way_nor_takes_the_place_of_a_connection() {
    use futures::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::tungstenite::Message;

    let server = Server::new(2, 4).await;
    server.shared.gate.enter(Phase::Initialised);
    let mut sockets = Vec::new();
    for _ in 0..4 {
        let url = format!("ws://{}/api/signals/ws", server.address);
        let (socket, _) = tokio_tungstenite::client_async(url, server.connect().await).await.unwrap();
        sockets.push(socket);
    }
    let mut idle = Vec::new();
    for _ in 0..10 {
        idle.push(server.connect().await);
    }
    assert!(server.get("/.checkstack/health").await.starts_with("HTTP/1.1 200"));
    for socket in &mut sockets {
        assert!(socket.next().await.unwrap().unwrap().into_text().unwrap().contains("connected"));
        socket.send(Message::text(r#"{"type":"ping"}"#)).await.unwrap();
        assert!(socket.next().await.unwrap().unwrap().into_text().unwrap().contains("pong"));
    }
}
