//! A server that packages are fetched from.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// Serves what it is given, and counts.
pub struct Source {
    address: SocketAddr,
    state: Arc<Mutex<State_>>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct State_ {
    files: HashMap<String, Vec<u8>>,
    statuses: HashMap<String, u16>,
    /// Header that must be there.
    required: HashMap<String, (String, String)>,
    requests: HashMap<String, usize>,
}

type Shared = Arc<Mutex<State_>>;

impl Source {
    pub async fn start() -> Self {
        let state = Shared::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/{file}", get(serve)).with_state(state.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, state, _task: AbortOnDropHandle::new(task) }
    }

    /// Serves a file, and gives its URL.
    pub fn put(&self, name: &str, bytes: Vec<u8>) -> String {
        let mut state = self.state.lock().unwrap();
        state.statuses.remove(name);
        state.files.insert(name.to_owned(), bytes);
        format!("http://{}/{name}", self.address)
    }

    /// Answers with a status instead.
    pub fn fail(&self, name: &str, status: u16) -> String {
        self.state.lock().unwrap().statuses.insert(name.to_owned(), status);
        format!("http://{}/{name}", self.address)
    }

    /// Serves a file only to those who send a header.
    pub fn require(&self, name: &str, header: &str, value: &str) {
        self.state.lock().unwrap().required.insert(name.to_owned(), (header.to_owned(), value.to_owned()));
    }

    /// How often a file was asked for.
    pub fn requests(&self, name: &str) -> usize {
        self.state.lock().unwrap().requests.get(name).copied().unwrap_or(0)
    }
}

async fn serve(State(state): State<Shared>, Path(file): Path<String>, headers: HeaderMap) -> Response {
    let mut state = state.lock().unwrap();
    *state.requests.entry(file.clone()).or_default() += 1;
    if let Some(status) = state.statuses.get(&file) {
        return StatusCode::from_u16(*status).unwrap().into_response();
    }
    if let Some((header, value)) = state.required.get(&file)
        && headers.get(header).is_none_or(|sent| sent.as_bytes() != value.as_bytes())
    {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match state.files.get(&file) {
        Some(bytes) => Body::from(bytes.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
