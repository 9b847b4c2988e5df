//! The boot gate (platform facts §1.3), and how far the server has come.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use tokio::sync::watch;

use super::json_response;

/// For how long a request waits for the server to be able to route it.
const BOOT: Duration = Duration::from_secs(30);

/// How far the server has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Neither database nor routes are there yet.
    Starting,
    /// Requests can be routed; plugins are coming up.
    RoutesReady,
    /// The first set has been worked off.
    Initialised,
    /// The core could not start, for a reason that everybody may know. The process is about to end.
    Failed(&'static str),
    /// It was asked to end.
    ShuttingDown,
}

/// Holds requests back until they can be routed.
pub(crate) struct Gate {
    phase: watch::Sender<Phase>,
    /// Of the phase, what every request asks.
    is_open: AtomicBool,
    wait: Duration,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self::with_wait(BOOT)
    }

    fn with_wait(wait: Duration) -> Self {
        Self { phase: watch::Sender::new(Phase::Starting), is_open: AtomicBool::new(false), wait }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.is_open.store(is_open(&phase), Ordering::Release);
        self.phase.send_replace(phase);
    }

    /// Waits until the server is about to end.
    pub(crate) async fn ending(&self) {
        let mut phases = self.phase.subscribe();
        // Who changes the phase is this gate: it does not go before.
        let _ = phases.wait_for(|phase| matches!(phase, Phase::Failed(_) | Phase::ShuttingDown)).await;
    }

    /// Waits until requests can be routed; the answer if that does not happen.
    pub(crate) async fn pass(&self) -> Result<(), Response> {
        if self.is_open.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut phases = self.phase.subscribe();
        let decided = phases.wait_for(|phase| *phase != Phase::Starting);
        match tokio::time::timeout(self.wait, decided).await {
            Ok(Ok(phase)) => match *phase {
                Phase::Failed(message) => Err(unavailable("Backend init failed", message)),
                _ => Ok(()),
            },
            _ => Err(unavailable("Backend not ready", "boot timeout")),
        }
    }
}

fn is_open(phase: &Phase) -> bool {
    matches!(phase, Phase::RoutesReady | Phase::Initialised | Phase::ShuttingDown)
}

fn unavailable(error: &str, message: &str) -> Response {
    let mut response = json_response(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": error, "message": message }));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn text(response: Response) -> (u16, String, String) {
        let retry_after = response.headers()[header::RETRY_AFTER].to_str().unwrap().to_owned();
        let status = response.status().as_u16();
        (status, retry_after, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn requests_wait_for_a_while() {
        assert_eq!(Gate::new().wait, Duration::from_secs(30));
        let gate = Gate::with_wait(Duration::from_millis(50));
        let begin = std::time::Instant::now();
        let refused = text(gate.pass().await.unwrap_err()).await;
        assert_eq!(refused, (503, "5".into(), r#"{"error":"Backend not ready","message":"boot timeout"}"#.into()));
        assert!(begin.elapsed() >= Duration::from_millis(50));
    }

    #[tokio::test]
    async fn a_failure_is_told_before_and_during_the_wait() {
        let gate = std::sync::Arc::new(Gate::new());
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { text(gate.pass().await.unwrap_err()).await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        gate.enter(Phase::Failed("no database"));
        let expected = (503, "5".to_owned(), r#"{"error":"Backend init failed","message":"no database"}"#.to_owned());
        assert_eq!(waiting.await.unwrap(), expected);
        assert_eq!(text(gate.pass().await.unwrap_err()).await, expected);
    }

    #[tokio::test]
    async fn an_open_gate_lets_everything_pass() {
        let gate = std::sync::Arc::new(Gate::new());
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { gate.pass().await.is_ok() }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        gate.enter(Phase::RoutesReady);
        assert!(waiting.await.unwrap());
        gate.enter(Phase::ShuttingDown);
        assert!(gate.pass().await.is_ok(), "what is under way is still served");
    }
}
