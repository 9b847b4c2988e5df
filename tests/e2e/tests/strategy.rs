//! `rollout.strategy: Restart`: pods are replaced, and never change.

use std::collections::BTreeMap;
use std::sync::Mutex;

use anyhow::{Result, ensure};
use checkstack_e2e::eventually::{eventually, throughout};
use checkstack_e2e::instance::{INSTANCE, PATIENCE};
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::packages::package;
use serde_json::json;

use crate::shared_operator;

/// What each pod that answers says in `/version`.
async fn labels(ns: &Namespace) -> Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for pod in ns.core_pod_names().await? {
        let answer = ns.cluster.request("GET", &ns.name, &format!("pods/{pod}:3000"), "/api/chaos/version", "").await?;
        if answer.status == 200 {
            labels.insert(pod, answer.json()?["label"].as_str().unwrap_or_default().to_owned());
        }
    }
    Ok(labels)
}

#[tokio::test]
async fn pods_are_replaced_one_after_the_other_and_the_service_answers_all_the_time() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("restart").await?;
    ns.bring_up_database().await?;
    ns.apply_instance(json!({"replicas": 2, "rollout": {"strategy": "Restart"}})).await?;
    ns.await_condition("checkstack/main", "Ready", "True", "", PATIENCE).await?;
    let spec = |label: &str| json!({"critical": true, "config": {"label": label}});
    ns.install_plugin("chaos", &package("chaos")?, spec("first")).await?;
    ns.await_plugin_ready("chaos").await?;
    let before = labels(&ns).await?;
    ensure!(before.len() == 2 && before.values().all(|label| label == "first"), "{before:?}");

    let seen = Mutex::new(before.clone());
    let nobody_notices = || async {
        let answer = ns.http_get(INSTANCE, "/api/chaos/version").await?;
        ensure!(answer.status == 200, "{answer:?}");
        for (pod, label) in labels(&ns).await? {
            let mut seen = seen.lock().expect("no test panics with it");
            let first = seen.entry(pod.clone()).or_insert_with(|| label.clone());
            ensure!(*first == label, "pod {pod} was changed from {first} to {label}");
        }
        Ok(())
    };
    let story = async {
        ns.apply_plugin("chaos", spec("second")).await?;
        eventually("all pods are new", PATIENCE, || async {
            let now = labels(&ns).await?;
            ensure!(now.len() == 2 && now.values().all(|label| label == "second"), "{now:?}");
            ensure!(now.keys().all(|pod| !before.contains_key(pod)), "{now:?} after {before:?}");
            Ok(())
        })
        .await?;
        ns.await_plugin_ready("chaos").await?;
        ns.await_condition("checkstack/main", "Ready", "True", "", PATIENCE).await
    };
    throughout("the Service answers, and no pod changes", nobody_notices, story).await?;
    ns.remove().await
}
