//! Events of plugins: emitted by any replica, told to those that serve and have subscribed.

use std::time::{Duration, Instant};

use checkstack_control_api::paths;
use checkstack_control_api::report::PodReport;
use checkstack_events::{Actor, EventError};
use checkstack_platform::plugin::{Delivery, JobOutcome, SubscriptionDescription};
use http::Method;
use serde_json::{Value, json};

use crate::instance::{Instance, set_of};
use crate::packages::package;
use crate::scripted::Script;

fn hears(event: &str, delivery: Delivery) -> Script {
    Script { subscriptions: vec![SubscriptionDescription { event: event.into(), delivery }], ..Script::default() }
}

fn group(max_retries: u32) -> Delivery {
    Delivery::WorkQueue { group: "g".into(), max_retries }
}

/// What was heard, sorted, when there is so much and for 300 ms no more.
async fn heard(instance: &Instance, count: usize) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut events = Vec::new();
    while events.len() < count {
        assert!(Instant::now() < deadline, "{events:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
        events.extend(instance.scripts.taken_events().into_iter().filter(|event| event.contains(" hears ")));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    events.extend(instance.scripts.taken_events().into_iter().filter(|event| event.contains(" hears ")));
    events.sort();
    events
}

async fn emit(instance: &Instance, plugin: &str, name: &str, payload: Value) -> Result<(), EventError> {
    instance.scripts.services(plugin).events.unwrap().emit(name, payload, None).await
}

/// Until the subscriptions of the set that was delivered last are there.
async fn subscribed() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

#[tokio::test]
async fn a_broadcast_is_for_each_replica_and_work_for_one_of_them() {
    let instance = Instance::new().await;
    let both = ["other.changed", "other.worked"].map(|event| SubscriptionDescription {
        event: event.into(),
        delivery: if event.ends_with("worked") { group(0) } else { Delivery::Broadcast },
    });
    instance.scripts.set("uptime", Script { subscriptions: both.to_vec(), ..Script::default() });
    let (uptime, other) = (package("uptime", &["other"]), package("other", &[]));
    let (first, second) = (instance.pod("first").await, instance.pod("second").await);
    first.run(1, &[&uptime, &other]).await;
    second.run(1, &[&uptime, &other]).await;
    subscribed().await;
    emit(&instance, "other", "changed", json!(1)).await.unwrap();
    emit(&instance, "other", "worked", json!(2)).await.unwrap();
    let broadcast = "uptime@1.0.0 hears other.changed 1 for nobody from other after 0 attempts";
    assert_eq!(heard(&instance, 3).await, [broadcast, broadcast, "uptime@1.0.0 hears other.worked 2 for g from other after 0 attempts"]);

    // Another version goes on with the same subscriptions: nothing is lost, nothing comes twice.
    let newer = package("uptime@1.1.0", &["other"]);
    for pod in [&first, &second] {
        emit(&instance, "other", "worked", json!("meanwhile")).await.unwrap();
        pod.run(2, &[&newer, &other]).await;
    }
    subscribed().await;
    emit(&instance, "other", "changed", json!(3)).await.unwrap();
    let all = heard(&instance, 4).await;
    assert_eq!(all.iter().filter(|event| event.contains("meanwhile")).count(), 2, "{all:?}");
    assert_eq!(all.iter().filter(|event| event.starts_with("uptime@1.1.0 hears other.changed 3")).count(), 2, "{all:?}");
    assert_eq!(all.len(), 4, "{all:?}");
}

#[tokio::test]
async fn work_waits_for_its_plugin_and_a_broadcast_does_not() {
    let instance = Instance::new().await;
    let subscriptions = [Delivery::Broadcast, group(0)].map(|delivery| SubscriptionDescription { event: "other.changed".into(), delivery });
    instance.scripts.set("uptime", Script { subscriptions: subscriptions.to_vec(), ..Script::default() });
    let (uptime, other) = (package("uptime", &["other"]), package("other", &[]));
    let pod = instance.pod("pod").await;
    pod.run(1, &[&uptime, &other]).await;
    subscribed().await;
    pod.run(2, &[&other]).await;
    subscribed().await;
    emit(&instance, "other", "changed", json!("missed")).await.unwrap();
    pod.run(3, &[&uptime, &other]).await;
    assert_eq!(heard(&instance, 1).await, ["uptime@1.0.0 hears other.changed \"missed\" for g from other after 0 attempts"]);
}

#[tokio::test]
async fn an_event_that_is_not_handled_is_told_again_unless_that_is_of_no_use() {
    let instance = Instance::new().await;
    let jobs =
        vec![(json!("fails"), Ok(JobOutcome::Retry("not now".into()))), (json!("hopeless"), Ok(JobOutcome::Permanent("never".into())))];
    instance.scripts.set("uptime", Script { jobs, ..hears("uptime.changed", group(1)) });
    let pod = instance.pod("pod").await;
    pod.run(1, &[&package("uptime", &[])]).await;
    subscribed().await;
    for payload in ["fails", "hopeless"] {
        emit(&instance, "uptime", "changed", json!(payload)).await.unwrap();
    }
    let told = |payload: &str, attempts: u32| {
        format!("uptime@1.0.0 hears uptime.changed \"{payload}\" for g from uptime after {attempts} attempts")
    };
    assert_eq!(heard(&instance, 3).await, [told("fails", 0), told("fails", 1), told("hopeless", 0)]);
}

#[tokio::test]
async fn an_event_says_who_has_caused_it_and_is_bounded() {
    let instance = Instance::new().await;
    instance.scripts.set("uptime", hears("uptime.changed", Delivery::Broadcast));
    let pod = instance.pod("pod").await;
    pod.run(1, &[&package("uptime", &[])]).await;
    subscribed().await;
    let events = instance.scripts.services("uptime").events.unwrap();
    events.emit("changed", json!(1), Some(Actor::user("ada", "Ada"))).await.unwrap();
    assert_eq!(heard(&instance, 1).await, ["uptime@1.0.0 hears uptime.changed 1 for nobody from ada after 0 attempts"]);
    for (name, payload) in [("a b", json!(1)), ("", json!(1)), (&"x".repeat(80), json!(1)), ("changed", json!("x".repeat(140_000)))] {
        let refused = events.emit(name, payload, None).await.unwrap_err();
        assert!(!refused.is_transient(), "{refused}");
    }
}

#[tokio::test]
async fn everybody_hears_which_plugins_begin_and_cease_to_serve() {
    let instance = Instance::new().await;
    let begun_and_gone = ["core.plugin.initialized", "core.plugin.deregistered"]
        .map(|event| SubscriptionDescription { event: event.into(), delivery: Delivery::Broadcast });
    instance.scripts.set("uptime", Script { subscriptions: begun_and_gone.to_vec(), ..Script::default() });
    let (uptime, other) = (package("uptime", &[]), package("other", &[]));
    let (first, second) = (instance.pod("first").await, instance.pod("second").await);
    first.run(1, &[&uptime]).await;
    subscribed().await;
    instance.scripts.taken_events();
    second.run(1, &[&other]).await;
    let told =
        |what: &str| format!("uptime@1.0.0 hears core.plugin.{what} {{\"pluginId\":\"other\"}} for nobody from system after 0 attempts");
    assert_eq!(heard(&instance, 1).await, [told("initialized")]);
    second.run(2, &[&package("other@1.1.0", &[])]).await;
    second.run(3, &[]).await;
    assert_eq!(heard(&instance, 1).await, [told("deregistered")], "another version of it is no news");
}

fn problem(report: &PodReport) -> String {
    format!("{report:?}")
}

#[tokio::test]
async fn what_others_say_among_themselves_is_not_for_a_plugin() {
    let instance = Instance::new().await;
    instance.scripts.set("uptime", hears("mail.sent", Delivery::Broadcast));
    let pod = instance.pod("pod").await;
    let uptime = package("uptime", &[]);
    pod.run(1, &[&uptime]).await;
    let report = problem(&pod.settled(1).await);
    assert!(report.contains("InvalidPackage") && report.contains("does not depend on a plugin 'mail'"), "{report}");

    instance.scripts.set("uptime", hears("uptime.changed", Delivery::Broadcast));
    let mut entry = uptime.entry.clone();
    entry.grants.database = false;
    pod.deliver(&set_of(2, vec![entry])).await;
    let report = problem(&pod.settled(2).await);
    assert!(report.contains("spec.grants.database"), "{report}");
    assert!(instance.scripts.services("uptime").events.is_none());
}

#[tokio::test]
async fn what_waits_for_a_plugin_is_purged_with_its_data() {
    let instance = Instance::new().await;
    instance.scripts.set("uptime", hears("other.changed", group(0)));
    let (uptime, other) = (package("uptime", &["other"]), package("other", &[]));
    let pod = instance.pod("pod").await;
    pod.run(1, &[&uptime, &other]).await;
    subscribed().await;
    pod.run(2, &[&other]).await;
    subscribed().await;
    emit(&instance, "other", "changed", json!("forgotten")).await.unwrap();
    let data = format!("{}/uptime", paths::PLUGIN_DATA);
    assert_eq!(pod.signed(Method::DELETE, &data, vec![]).send().await.unwrap().status().as_u16(), 204);
    pod.run(3, &[&uptime, &other]).await;
    subscribed().await;
    emit(&instance, "other", "changed", json!("new")).await.unwrap();
    assert_eq!(heard(&instance, 1).await, ["uptime@1.0.0 hears other.changed \"new\" for g from other after 0 attempts"]);
}
