//! Events of a guest: what it emits, and what it does when it is told of one.

use std::sync::Arc;
use std::time::Duration;

use checkstack_events::{Actor, Event, EventBus, Limits, ListenerError, Mode, Subscription};
use checkstack_platform::plugin::{
    CallFailure, Delivery, JobOutcome, Plugin, PluginEvent, PluginEvents, PluginServices, SubscriptionDescription,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::fixture::{Sandbox, ask, id, services};
use crate::guest::{self, Guest};
use crate::jobs::queues;

async fn started(sandbox: &Sandbox, bus: &EventBus) -> Arc<dyn Plugin> {
    let services = PluginServices { events: Some(Arc::new(PluginEvents::new(bus.clone(), id("subject")))), ..services() };
    sandbox.start(&Guest::default().with_subscriptions().component(), services).await
}

/// What anybody hears of `subject.key`: payload and who has caused it.
async fn listen(bus: &EventBus) -> (Subscription, mpsc::Receiver<(Value, String)>) {
    let (heard, hears) = mpsc::channel(10);
    let listener = move |event: Event| {
        let heard = heard.clone();
        async move { heard.send((event.payload, event.actor.id)).await.map_err(|_| ListenerError::Permanent("nobody".into())) }
    };
    let (subscriber, event) = ("other".parse().unwrap(), "subject.key".parse().unwrap());
    (bus.subscribe(&subscriber, &event, Mode::Broadcast, listener).await.unwrap(), hears)
}

fn event(payload: &str, worker_group: Option<&str>) -> PluginEvent {
    PluginEvent {
        event: "subject.key".into(),
        worker_group: worker_group.map(str::to_owned),
        payload: json!(payload),
        actor: Actor::user("ada", "Ada"),
        attempts: 0,
    }
}

#[tokio::test]
async fn a_guest_describes_its_subscriptions_and_emits_events_of_its_own() {
    let (sandbox, bus) = (Sandbox::new(), EventBus::new(queues().await, Limits::default()));
    let plugin = started(&sandbox, &bus).await;
    let subscription = |delivery| SubscriptionDescription { event: "subject.key".into(), delivery };
    let group = Delivery::WorkQueue { group: "key".into(), max_retries: 3 };
    assert_eq!(plugin.description().subscriptions, [subscription(Delivery::Broadcast), subscription(group)]);
    let (_subscription, mut hears) = listen(&bus).await;
    assert_eq!(ask(&plugin, "/E", r#"{"a": 1}"#).await.0, 204);
    assert_eq!(hears.recv().await.unwrap(), (json!({"a": 1}), "subject".to_owned()));
    // 501: the error `invalid`
    let (status, problem) = ask(&plugin, "/E", "no JSON").await;
    assert!(status == 501 && problem.starts_with("the payload is no JSON"), "{status} {problem}");
    let (status, problem) = ask(&plugin, "/E", &format!("\"{}\"", "x".repeat(140_000))).await;
    assert!(status == 501 && problem.contains("at most 131072"), "{status} {problem}");
    bus.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn without_a_database_there_are_no_events() {
    let sandbox = Sandbox::new();
    let plugin = sandbox.start(&guest::plain(), services()).await;
    let (status, problem) = ask(&plugin, "/E", "1").await;
    assert!(status == 500 && problem.contains("grant 'database'"), "{status} {problem}");
}

#[tokio::test]
async fn an_event_is_handled_or_says_why_not() {
    let (sandbox, bus) = (Sandbox::new(), EventBus::new(queues().await, Limits::default()));
    let plugin = started(&sandbox, &bus).await;
    assert_eq!(plugin.listen(event("done", None)).await, Ok(JobOutcome::Done));
    assert_eq!(plugin.listen(event("retry", None)).await, Ok(JobOutcome::Retry("Ada".into())));
    assert_eq!(plugin.listen(event("permanent", Some("key"))).await, Ok(JobOutcome::Permanent("key".into())));
    assert_eq!(plugin.listen(event("permanent", None)).await, Ok(JobOutcome::Permanent(String::new())));
    let trapped = plugin.listen(event("trap", None)).await.unwrap_err();
    assert!(matches!(&trapped, CallFailure::Trapped(_, problem) if problem.contains("in listen")), "{trapped}");
}

#[tokio::test]
async fn what_an_event_leads_to_is_caused_by_the_same_person() {
    let (sandbox, bus) = (Sandbox::new(), EventBus::new(queues().await, Limits::default()));
    let plugin = started(&sandbox, &bus).await;
    let (_subscription, mut hears) = listen(&bus).await;
    assert_eq!(plugin.listen(event("emits", None)).await, Ok(JobOutcome::Done));
    assert_eq!(hears.recv().await.unwrap(), (json!("emits"), "ada".to_owned()));
    bus.stop(Duration::ZERO).await;
}
