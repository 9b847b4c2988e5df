//! What a version did to the plugin's schema is undone when it does not come to serve.

use checkstack_control_api::report::{PluginReason, PluginState};
use checkstack_platform::plugin::{CallFailure, ProbeDescription};
use http::StatusCode;

use crate::instance::{Instance, Pod, Reported as _, set};
use crate::packages::{Package, package, package_with};
use crate::postgres::execute;
use crate::scripted::{Answer, Script, Step};

const ONE: (&str, &str) = ("0001_one", "CREATE TABLE things (id int PRIMARY KEY); INSERT INTO things VALUES (7)");
const RENAME: (&str, &str) = ("0002_rename", "ALTER TABLE things RENAME id TO number");
const BACK: (&str, &str) = ("0002_rename.down", "ALTER TABLE things RENAME number TO id");

fn old() -> Package {
    package_with("uptime@1.0.0", &[], &[ONE])
}

fn new() -> Package {
    package_with("uptime@1.1.0", &[], &[ONE, RENAME, BACK])
}

async fn column(instance: &Instance) -> String {
    instance.database.value("SELECT column_name::text FROM information_schema.columns WHERE table_name = 'things'").await
}

async fn column_is(instance: &Instance, expected: &str) {
    becomes(expected, async || column(instance).await).await;
}

/// Soon, if not at once.
async fn becomes(expected: &str, look: impl AsyncFn() -> String) {
    for _ in 0..200 {
        if look().await == expected {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(look().await, expected);
}

/// Who needs which migration.
async fn users(instance: &Instance) -> String {
    let query = "SELECT coalesce(string_agg(pod || ' ' || migration, ', ' ORDER BY pod), '') FROM checkstack.plugin_schema_users";
    instance.database.value(query).await
}

async fn users_are(instance: &Instance, expected: &str) {
    becomes(expected, async || users(instance).await).await;
}

/// A pod that runs the old version, and what the new one does.
async fn pod(instance: &Instance, script: Script) -> Pod {
    instance.scripts.set("uptime@1.1.0", script);
    let pod = instance.pod("pod").await;
    assert!(pod.run(1, &[&old()]).await.is_active("uptime"));
    pod
}

async fn serves_the_old_one(pod: &Pod) {
    let (status, answer) = pod.json("/api/uptime/").await;
    assert_eq!((status, &answer["plugin"]), (StatusCode::OK.as_u16(), &"uptime@1.0.0".into()));
}

#[tokio::test]
async fn when_its_init_fails() {
    let instance = Instance::new().await;
    let pod = pod(&instance, Script { init: Step::fails("no"), ..Script::default() }).await;
    let report = pod.run(2, &[&new()]).await;
    assert_eq!((report.plugin("uptime").state, report.plugin("uptime").reason), (PluginState::Failed, PluginReason::InitFailed));
    assert_eq!(column(&instance).await, "id", "by the time that the failure is told");
    serves_the_old_one(&pod).await;
    assert_eq!(instance.database.value::<i32>("SELECT id FROM plugin_uptime.things").await, 7);
}

#[tokio::test]
async fn when_it_does_not_get_ready() {
    let instance = Instance::new().await;
    let pod = pod(&instance, Script { ready: Step::fails("no"), ..Script::default() }).await;
    assert_eq!(pod.run(2, &[&new()]).await.plugin("uptime").state, PluginState::Failed);
    assert_eq!(column(&instance).await, "id");
    serves_the_old_one(&pod).await;
}

#[tokio::test]
async fn when_its_critical_probe_is_not_ok() {
    let instance = Instance::new().await;
    let probes = vec![ProbeDescription { name: "queue".into(), critical: true }];
    instance.scripts.set_probe("queue", false);
    let pod = pod(&instance, Script { probes, ..Script::default() }).await;
    assert_eq!(pod.run(2, &[&new()]).await.plugin("uptime").reason, PluginReason::ProbeFailed);
    assert_eq!(column(&instance).await, "id");
    serves_the_old_one(&pod).await;
}

#[tokio::test]
async fn when_it_is_called_off() {
    let instance = Instance::new().await;
    let pod = pod(&instance, Script { init: Step::Hangs, ..Script::default() }).await;
    pod.upload(&new()).await;
    pod.deliver(&set(2, &[&new()])).await;
    column_is(&instance, "number").await;
    assert!(pod.run(3, &[&old()]).await.is_active("uptime"));
    column_is(&instance, "id").await;
    serves_the_old_one(&pod).await;
}

#[tokio::test]
async fn when_a_plugin_that_depends_on_it_cannot_work_with_it() {
    let instance = Instance::new().await;
    let refuses = Script { call: Answer::Fails(|id| CallFailure::Trapped(id, String::new())), ..Script::default() };
    let pod = pod(&instance, refuses).await;
    instance.scripts.set("asking", Script { init: Step::Calls("uptime"), ..Script::default() });
    let asking = package("asking", &["uptime"]);
    assert!(pod.run(2, &[&old(), &asking]).await.is_active("asking"));
    let report = pod.run(3, &[&new(), &asking]).await;
    assert_eq!(report.plugin("uptime").reason, PluginReason::DependentFailed);
    column_is(&instance, "id").await;
    serves_the_old_one(&pod).await;
}

#[tokio::test]
async fn but_not_when_another_pod_needs_it() {
    let instance = Instance::new().await;
    let pod = pod(&instance, Script { init: Step::fails("no"), ..Script::default() }).await;
    users_are(&instance, "pod 1").await;
    let other = "INSERT INTO checkstack.plugin_schema_users VALUES ('uptime', 'other', 2)";
    execute(&mut instance.database.admin().await, other).await;
    assert_eq!(pod.run(2, &[&new()]).await.plugin("uptime").state, PluginState::Failed);
    assert_eq!((column(&instance).await.as_str(), users(&instance).await.as_str()), ("number", "other 2, pod 1"));

    // One that has not been heard of for a minute is gone.
    let gone = "UPDATE checkstack.plugin_schema_users SET seen_at = now() - interval '61 s' WHERE pod = 'other'";
    execute(&mut instance.database.admin().await, gone).await;
    pod.run(3, &[&package_with("uptime@1.1.0", &[], &[ONE, RENAME, BACK, ("0003_more", "SELECT 1"), ("0003_more.down", "SELECT 1")])])
        .await;
    assert_eq!(column(&instance).await, "id");
}

#[tokio::test]
async fn pods_say_what_they_need() {
    let instance = Instance::new().await;
    let one = pod(&instance, Script::default()).await;
    let other = instance.pod("other").await;
    assert!(other.run(1, &[&old(), &package("plain", &[])]).await.is_active("plain"));
    users_are(&instance, "other 1, pod 1").await;
    other.run(2, &[&new()]).await;
    users_are(&instance, "other 2, pod 1").await;
    other.run(3, &[&old()]).await;
    users_are(&instance, "other 1, pod 1").await;
    other.run(4, &[]).await;
    users_are(&instance, "pod 1").await;
    // A process that was killed in the middle of an attempt, and the one that the kubelet starts in its place.
    drop(one);
    execute(&mut instance.database.admin().await, "UPDATE checkstack.plugin_schema_users SET migration = 9").await;
    instance.mount(&set(1, &[&old()]));
    let again = instance.pod("pod").await;
    assert!(again.report().await.is_active("uptime"));
    users_are(&instance, "pod 1").await;
}
