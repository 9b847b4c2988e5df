//! What a guest tells browsers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use checkstack_calls::access::RuleId;
use checkstack_events::{Event, EventBus, Limits, ListenerError, Mode, Subscription};
use checkstack_platform::plugin::{Plugin, PluginServices, PluginSignals};
use checkstack_signals::{Audience, SignalBus};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::fixture::{Sandbox, ask, id, services};
use crate::guest;
use crate::jobs::queues;

/// Grants everybody what is called as one of the guest's own rules.
struct Everybody;

#[async_trait]
impl Audience for Everybody {
    async fn granted(&self, users: &[String], rule: &RuleId) -> Result<BTreeSet<String>, String> {
        match rule.to_string().as_str() {
            "subject.key.read" => Ok(users.iter().cloned().collect()),
            other => Err(format!("nobody knows {other}")),
        }
    }
}

async fn started(sandbox: &Sandbox, bus: &EventBus) -> Arc<dyn Plugin> {
    let signals = SignalBus::new(bus.clone(), Arc::default(), Arc::new(Everybody));
    let services = PluginServices { signals: Arc::new(PluginSignals::new(signals, id("subject"))), ..services() };
    sandbox.start(&guest::plain(), services).await
}

/// The payloads of a hook.
async fn listen(bus: &EventBus, hook: &str) -> (Subscription, mpsc::Receiver<Value>) {
    let (heard, hears) = mpsc::channel(200);
    let listener = move |event: Event| {
        let heard = heard.clone();
        async move { heard.send(event.payload).await.map_err(|_| ListenerError::Permanent("nobody".into())) }
    };
    (bus.subscribe(&"signal-backend".parse().unwrap(), &hook.parse().unwrap(), Mode::Broadcast, listener).await.unwrap(), hears)
}

#[tokio::test]
async fn a_guest_tells_browsers_under_its_own_name() {
    let (sandbox, bus) = (Sandbox::new(), EventBus::new(queues().await, Limits::default()));
    let plugin = started(&sandbox, &bus).await;
    let (_all, mut to_all) = listen(&bus, "signal.internal.broadcast").await;
    let (_users, mut to_users) = listen(&bus, "signal.internal.user").await;
    assert_eq!(ask(&plugin, "/B", r#"{"a": 1}"#).await.0, 204);
    let signal = to_all.recv().await.unwrap();
    assert_eq!(
        (&signal["signalId"], &signal["pluginId"], &signal["payload"]),
        (&json!("subject.key"), &json!("subject"), &json!({"a": 1}))
    );
    for path in ["/U", "/A"] {
        assert_eq!(ask(&plugin, path, "2").await.0, 204, "{path}");
        let sent = to_users.recv().await.unwrap();
        assert_eq!((&sent["userIds"], &sent["message"]["payload"]), (&json!(["key"]), &json!(2)));
    }
    // 500: the error `invalid`
    for payload in ["no JSON".to_owned(), format!("\"{}\"", "x".repeat(70_000)), "x".repeat(200_000)] {
        let (status, problem) = ask(&plugin, "/B", &payload).await;
        assert!(status == 500 && problem.contains("payload"), "{status} {problem}");
    }
    bus.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_guest_that_sends_too_much_is_told_so() {
    let (sandbox, bus) = (Sandbox::new(), EventBus::new(queues().await, Limits::default()));
    let plugin = started(&sandbox, &bus).await;
    let mut sent = 0;
    let refused = loop {
        match ask(&plugin, "/B", "1").await {
            (204, _) => sent += 1,
            refused => break refused,
        }
        assert!(sent < 1_000, "nothing bounds what a guest sends");
    };
    // 501: the error `limited`
    assert!(refused.0 == 501 && refused.1.contains("too many signals"), "{refused:?}");
    assert!(sent >= 100, "{sent}");
    bus.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn without_a_bus_it_is_told_that_it_may_work_later() {
    let plugin = Sandbox::new().start(&guest::plain(), services()).await;
    // 502: the error `unavailable`
    let (status, problem) = ask(&plugin, "/A", "1").await;
    assert!(status == 502 && problem.contains("users"), "{status} {problem}");
}
