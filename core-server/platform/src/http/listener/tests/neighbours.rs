//! A plugin that has become slow, and those that have nothing to do with it.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::*;
use crate::metrics::ServiceFigures;
use crate::turns::Turns;

/// Answers when it is told to.
struct Slow {
    description: Description,
    go_on: watch::Receiver<bool>,
}

#[async_trait]
impl Plugin for Slow {
    fn description(&self) -> &Description {
        &self.description
    }

    async fn init(&self) -> Result<(), PluginFailure> {
        Ok(())
    }

    async fn after_plugins_ready(&self) -> Result<(), PluginFailure> {
        Ok(())
    }

    async fn handle(&self, _request: PluginRequest) -> Result<PluginResponse, CallFailure> {
        self.go_on.clone().wait_for(|go_on| *go_on).await.unwrap();
        Ok(PluginResponse { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::from_static(b"at last") })
    }

    async fn check(&self, _probe: &str) -> Result<ProbeOutcome, CallFailure> {
        Ok(ProbeOutcome { ok: true, message: None })
    }

    async fn shutdown(&self) {}
}

/// Adds a slow plugin, which is told to go on by what is returned.
fn add_slow(server: &Server, turns: Turns) -> watch::Sender<bool> {
    let (tell, go_on) = watch::channel(false);
    let id: PluginId = "slow".parse().unwrap();
    let plugin = Arc::new(Slow { description: Description::default(), go_on });
    let slow =
        Endpoint::new(id.clone(), plugin, SOON, server.shared.metrics.calls_of(&id), Quarantine::new(Arc::default())).with_turns(turns);
    let all = server.shared.table.serving().into_iter().chain([Arc::new(slow)]);
    let routes: BTreeMap<PluginId, Route> = all.map(|endpoint| (endpoint.plugin_id().clone(), Route::Serving(endpoint))).collect();
    server.shared.table.replace(routes);
    tell
}

#[tokio::test]
async fn a_slow_plugin_leaves_room_for_its_neighbours() {
    let requests = 12;
    let server = Server::new(40, requests).await;
    server.shared.gate.enter(Phase::Initialised);
    let go_on = add_slow(&server, Turns::new(4, 2, Duration::from_millis(100)));
    let mut waiting = Vec::new();
    for _ in 0..requests {
        waiting.push(server.ask("/api/slow/").await);
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    for _ in 0..3 {
        assert!(server.get("/api/large/").await.starts_with("HTTP/1.1 200"));
        let refused = server.get("/api/slow/").await;
        assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
        assert!(refused.ends_with(r#"{"error":"Service Unavailable","message":"plugin 'slow' is busy"}"#), "{refused}");
    }
    go_on.send_replace(true);
    let answers = futures::future::join_all(waiting.into_iter().map(rest)).await;
    let with = |status: &str| answers.iter().filter(|answer| answer.starts_with(status)).count();
    assert_eq!((with("HTTP/1.1 200"), with("HTTP/1.1 503")), (4, requests - 4));
    assert!(server.get("/api/slow/").await.starts_with("HTTP/1.1 200"), "all turns are free");
    let metrics = server.shared.metrics.encode(ServiceFigures::default()).unwrap();
    let overloaded = format!("checkstack_plugin_calls_total{{plugin=\"slow\",outcome=\"overloaded\"}} {}\n", requests - 4 + 3);
    assert!(metrics.contains(&overloaded), "{metrics}");
}

#[tokio::test]
async fn who_waits_for_a_moment_is_answered() {
    let server = Server::new(40, 12).await;
    server.shared.gate.enter(Phase::Initialised);
    let go_on = add_slow(&server, Turns::new(1, 2, SOON));
    let waiting = [server.ask("/api/slow/").await, server.ask("/api/slow/").await, server.ask("/api/slow/").await];
    tokio::time::sleep(Duration::from_millis(100)).await;
    go_on.send_replace(true);
    for answer in futures::future::join_all(waiting.into_iter().map(rest)).await {
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[test]
fn several_slow_plugins_leave_room_too() {
    let (calls, waiting) = crate::turns::limits();
    assert!(3 * (calls + waiting) < MAX_REQUESTS);
}
