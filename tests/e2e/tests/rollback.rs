//! A change that does not come up everywhere puts itself back, and nobody who uses the plugin notices.

use std::time::Duration;

use anyhow::{Result, ensure};
use checkstack_e2e::eventually::{always, eventually, throughout};
use checkstack_e2e::instance::{INSTANCE, PATIENCE};
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::packages::package;
use serde_json::{Value, json};

use crate::{operator_alone, shared_operator};

fn label(label: &str, init: &str) -> Value {
    json!({"config": {"label": label, "init": init}, "grants": {"database": true}})
}

/// What `/version` says in each pod.
async fn labels(ns: &Namespace) -> Result<Vec<String>> {
    let mut labels = Vec::new();
    for pod in ns.core_pod_names().await? {
        let answer = ns.cluster.request("GET", &ns.name, &format!("pods/{pod}:3000"), "/api/chaos/version", "").await?;
        ensure!(answer.status == 200, "{pod}: {answer:?}");
        labels.push(answer.json()?["label"].as_str().unwrap_or_default().to_owned());
    }
    Ok(labels)
}

async fn history(ns: &Namespace) -> Result<Vec<String>> {
    let status = ns.get("checkstackplugin/chaos").await?["status"].take();
    let told = |entry: &Value| entry["state"].as_str().unwrap_or_default().to_owned();
    Ok(status["history"].as_array().into_iter().flatten().map(told).collect())
}

async fn all_say(ns: &Namespace, label: &str) -> Result<()> {
    let labels = labels(ns).await?;
    ensure!(labels == [label, label], "{labels:?} instead of {label}");
    Ok(())
}

/// Deletes one of two pods and waits until another is Ready in its place.
async fn replace(ns: &Namespace, old: &str) -> Result<()> {
    ns.kubectl(&["delete", "pod", old, "--wait=false"]).await?;
    eventually("the new pod is Ready", PATIENCE, || async {
        ensure!(ns.core_pod_names().await?.iter().all(|pod| pod != old), "the old pod");
        ns.ensure_core_pods_ready(2).await
    })
    .await
}

#[tokio::test]
async fn a_pod_that_starts_while_a_change_is_on_trial_serves_what_is_known_to_work() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("on-trial").await?;
    ns.bring_up_instance(2).await?;
    ns.apply_instance(json!({"replicas": 2, "rollout": {"progressDeadlineSeconds": 60}})).await?;
    ns.install_plugin("chaos", &package("chaos")?, label("good", "ok")).await?;
    ns.await_plugin_ready("chaos").await?;
    all_say(&ns, "good").await?;

    ns.apply_plugin("chaos", label("bad", "fail")).await?;
    ns.await_condition("checkstackplugin/chaos", "Loaded", "False", "InitFailed", PATIENCE).await?;
    replace(&ns, &ns.core_pod_names().await?[0]).await?;
    ensure!(history(&ns).await? == ["RollingOut", "Active"], "too late to say anything: {:?}", history(&ns).await?);
    all_say(&ns, "good").await?;

    // It is judged like the others: what it serves is not what it was to serve.
    let told = ns.condition("checkstackplugin/chaos", "Ready").await?;
    ensure!(told.status == "False", "{told:?}");
    ns.apply_plugin("chaos", label("better", "ok")).await?;
    ns.await_plugin_ready("chaos").await?;
    eventually("all pods have the next change", PATIENCE, || all_say(&ns, "better")).await?;
    ns.remove().await
}

mod operator_alone {
    use super::*;

    #[tokio::test]
    async fn a_change_that_one_pod_cannot_bring_up_is_put_back_in_all() -> Result<()> {
        let _operator = operator_alone().await;
        let ns = Namespace::create("rollback").await?;
        ns.bring_up_instance(2).await?;
        ns.apply_instance(json!({"replicas": 2, "rollout": {"progressDeadlineSeconds": 15}})).await?;
        ns.install_plugin("chaos", &package("chaos")?, label("good", "ok")).await?;
        ns.await_plugin_ready("chaos").await?;
        all_say(&ns, "good").await?;
        let pods = ns.core_pod_names().await?;

        // There is one ticket, so one of the two pods comes up with the change. The operator dies on the way.
        let answers = || async {
            let answer = ns.http_get(INSTANCE, "/api/chaos/version").await?;
            ensure!(answer.status == 200, "{answer:?}");
            ns.ensure_core_pods_ready(2).await
        };
        let story = async {
            let ticket = ns.request("POST", INSTANCE, "/api/chaos/ticket", "").await?;
            ensure!(ticket.status == 200, "{ticket:?}");
            let operator = ns.operator_process(&ns.leading_operator().await?).await?;
            ns.apply_plugin("chaos", label("bad", "ticket")).await?;
            eventually("one pod has the change, the other says why not", PATIENCE, || async {
                let mut labels = labels(&ns).await?;
                labels.sort();
                ensure!(labels == ["bad", "good"], "{labels:?}");
                let failed = ns.condition("checkstackplugin/chaos", "Loaded").await?;
                ensure!(failed.reason == "InitFailed", "{failed:?}");
                Ok(())
            })
            .await?;
            operator.kill().await?;
            let told = ns.await_condition("checkstackplugin/chaos", "RolledBack", "True", "InitFailed", PATIENCE).await?;
            for words in ["was rolled back to version 0.1.0", "init failed: no ticket is left"] {
                ensure!(told.message.contains(words), "'{words}' is not in: {}", told.message);
            }
            eventually("both pods have what was good", PATIENCE, || all_say(&ns, "good")).await
        };
        throughout("the plugin answers and the pods are Ready", answers, story).await?;
        ns.await_condition("checkstackplugin/chaos", "Ready", "False", "InitFailed", PATIENCE).await?;
        ns.await_condition("checkstackplugin/chaos", "Stalled", "True", "InitFailed", PATIENCE).await?;
        ns.await_condition("checkstack/main", "RolledBack", "True", "PluginRolledBack", PATIENCE).await?;
        ensure!(history(&ns).await? == ["RolledBack", "Active"], "{:?}", history(&ns).await?);
        ensure!(ns.core_pod_names().await? == pods, "pods were replaced");

        // It is not tried again: not by another operator, and not in a new pod.
        ns.restart_operator().await?;
        replace(&ns, &pods[0]).await?;
        eventually("a new pod has what was good", PATIENCE, || all_say(&ns, "good")).await?;
        always("nothing is tried again", Duration::from_secs(5), || all_say(&ns, "good")).await?;
        ensure!(history(&ns).await? == ["RolledBack", "Active"], "{:?}", history(&ns).await?);

        // Somebody has put right what was wrong outside, and asks for another try.
        ns.kubectl(&["annotate", "checkstackplugin/chaos", "checkstack.io/retry=first"]).await?;
        for pods in 1..=2 {
            ns.request("POST", INSTANCE, "/api/chaos/ticket", "").await?;
            eventually("the ticket is taken", PATIENCE, || async {
                let labels = labels(&ns).await?;
                ensure!(labels.iter().filter(|label| *label == "bad").count() == pods, "{labels:?}");
                Ok(())
            })
            .await?;
        }
        ns.await_plugin_ready("chaos").await?;
        ns.await_condition("checkstack/main", "Ready", "True", "", PATIENCE).await?;
        ensure!(history(&ns).await? == ["Active", "RolledBack", "Active"], "{:?}", history(&ns).await?);
        ns.remove().await
    }
}
