//! The operator ends at any moment, and another one goes on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use checkstack_crds::CheckstackPlugin;
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Resource;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use crate::cluster::{Sandbox, eventually};
use crate::core::{ArtifactStore, CorePod};
use crate::operator::Operator;
use crate::packages::package;
use crate::source::Source;

/// Everything that `Ready` of a plugin ever was.
struct History {
    seen: Arc<Mutex<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

impl History {
    fn of(sandbox: &Sandbox, name: &str) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, name) = (seen.clone(), name.to_owned());
        let stream = watcher(sandbox.api::<CheckstackPlugin>(), watcher::Config::default()).applied_objects();
        let task = tokio::spawn(stream.for_each(move |plugin| {
            if let Ok(plugin) = plugin
                && plugin.meta().name.as_ref() == Some(&name)
                && let Some(ready) = plugin.status.iter().flat_map(|status| &status.conditions).find(|condition| condition.type_ == "Ready")
            {
                let text = format!("{} {}", ready.status, ready.reason);
                let mut log = log.lock().unwrap();
                if log.last() != Some(&text) {
                    log.push(text);
                }
            }
            futures::future::ready(())
        }));
        Self { seen, _task: AbortOnDropHandle::new(task) }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_ready_stays_ready_over_a_restart() {
    let sandbox = Sandbox::new("restart").await;
    let source = Source::start().await;
    let operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({})).await;
    sandbox.roll_out("main").await;
    let store = ArtifactStore::default();
    let pod = CorePod::start(&sandbox, "main", "main-a", &store).await;
    sandbox.plugin("uptime", json!({ "source": { "tarball": { "url": source.put("p.tgz", package("uptime", "1.0.0")) } } })).await;
    sandbox.plugin_ready("uptime").await;
    let history = History::of(&sandbox, "uptime");
    let (calls, asked) = (pod.calls("PUT"), source.requests("p.tgz"));
    operator.kill();
    let operator = Operator::start(&sandbox).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    operator.stop().await;
    let _operator = Operator::start(&sandbox).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(history.seen(), ["True Active"]);
    assert_eq!((pod.calls("PUT"), source.requests("p.tgz")), (calls, asked), "nothing is done twice");
    assert_eq!(pod.revision(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_dies_at_any_point_leaves_nothing_half_done() {
    // At different times after the YAML was applied; the first ones before anything was written.
    for delay in [0, 5, 15, 30, 60, 100, 150, 250] {
        let sandbox = Sandbox::new("dies").await;
        let source = Source::start().await;
        let operator = Operator::start(&sandbox).await;
        sandbox.instance("main", json!({})).await;
        sandbox.roll_out("main").await;
        let store = ArtifactStore::default();
        let pod = CorePod::start(&sandbox, "main", "main-a", &store).await;
        sandbox.plugin("uptime", json!({ "source": { "tarball": { "url": source.put("p.tgz", package("uptime", "1.0.0")) } } })).await;
        tokio::time::sleep(Duration::from_millis(delay)).await;
        operator.kill();
        let _operator = Operator::start(&sandbox).await;
        sandbox.plugin_ready("uptime").await;
        sandbox.instance_condition("main", "Ready", "True", "Ready").await;
        // One set without the plugin, one with it.
        assert_eq!(pod.revision(), 2, "after {delay} ms");
        let map: ConfigMap = sandbox.get("main-plugins").await;
        assert!(map.data.unwrap()["plugins.lock.json"].contains(r#""revision": 2"#), "after {delay} ms");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_lost_its_lease_leaves_the_pods_alone() {
    let sandbox = Sandbox::new("silence").await;
    let operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({})).await;
    sandbox.roll_out("main").await;
    let pod = CorePod::start(&sandbox, "main", "main-a", &ArtifactStore::default()).await;
    eventually("it is asked", async || pod.with(|pod| pod.asked > 2).then_some(())).await;
    // What losing the lease does to the controllers. The process would end now.
    operator.kill();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let asked = pod.with(|pod| pod.asked);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(pod.with(|pod| pod.asked), asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_while_no_operator_ran_is_done_by_the_next() {
    let sandbox = Sandbox::new("away").await;
    let source = Source::start().await;
    let operator = Operator::start(&sandbox).await;
    sandbox.instance("main", json!({})).await;
    sandbox.roll_out("main").await;
    let store = ArtifactStore::default();
    let pod = CorePod::start(&sandbox, "main", "main-a", &store).await;
    for name in ["uptime", "other"] {
        let url = source.put(&format!("{name}.tgz"), package(name, "1.0.0"));
        sandbox.plugin(name, json!({ "source": { "tarball": { "url": url } } })).await;
        sandbox.plugin_ready(name).await;
    }
    operator.stop().await;
    let url = source.put("2.tgz", package("uptime", "2.0.0"));
    sandbox.plugin("uptime", json!({ "source": { "tarball": { "url": url } } })).await;
    sandbox.delete::<CheckstackPlugin>("other").await;
    let _operator = Operator::start(&sandbox).await;
    sandbox.wait_gone::<CheckstackPlugin>("other").await;
    let plugin = sandbox.plugin_ready("uptime").await;
    assert_eq!(plugin.status.unwrap().version.as_deref(), Some("2.0.0"));
    eventually("only the new version", async || {
        pod.with(|pod| pod.set.plugins.iter().map(|entry| entry.version.clone()).collect::<Vec<_>>() == ["2.0.0"]).then_some(())
    })
    .await;
}
