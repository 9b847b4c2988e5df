//! Events between plugins in the sandbox, one in Rust and one in TypeScript: told once to all replicas together, although one dies.

use anyhow::{Result, ensure};
use checkstack_e2e::eventually::eventually;
use checkstack_e2e::instance::{INSTANCE, PATIENCE, uptime};
use checkstack_e2e::namespace::Namespace;
use serde_json::{Value, json};

use crate::shared_operator;

/// Has `self` checked, with this status as the one that counts as up, as soon as the plugin knows.
async fn check(ns: &Namespace, expected: u16, up: bool) -> Result<()> {
    let mut spec = uptime(&ns.name);
    spec["config"]["targets"][0]["expectStatus"] = expected.into();
    spec["config"]["minInterval"] = "1ms".into();
    ns.apply_plugin("uptime", spec).await?;
    ns.await_plugin_ready("uptime").await?;
    let run = ns.request("POST", INSTANCE, "/rest/uptime/checks/run", "").await?;
    ensure!(run.status == 200 && run.json()?["checked"][0]["up"] == up, "{run:?}");
    Ok(())
}

/// Every pod shows these changes, whatever it has cached before.
async fn eventually_shown(ns: &Namespace, expected: &Value) -> Result<()> {
    eventually("all pods show what has happened", PATIENCE, || async {
        for pod in ns.core_pod_names().await? {
            let summary = ns.cluster.request("GET", &ns.name, &format!("pods/{pod}:3000"), "/api/status-page/summary.json", "").await?;
            ensure!(summary.status == 200, "{pod}: {summary:?}");
            let changes = summary.json()?["changes"].take();
            let shown: Vec<Value> =
                changes.as_array().into_iter().flatten().map(|change| json!([change["target"], change["up"]])).collect();
            ensure!(Value::from(shown.clone()) == *expected, "{pod} shows {shown:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_one_plugin_emits_another_handles_once_although_a_pod_dies() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("events").await?;
    ns.bring_up_instance(2).await?;
    ns.install_samples().await?;
    check(&ns, 200, true).await?;
    eventually_shown(&ns, &json!([])).await?;

    check(&ns, 418, false).await?;
    eventually_shown(&ns, &json!([["self", false]])).await?;

    // Whichever pod is telling the other plugin.
    check(&ns, 200, true).await?;
    let pod = ns.core_pod_names().await?.remove(0);
    let killed = ns.kill_core(&pod).await?;
    eventually_shown(&ns, &json!([["self", true], ["self", false]])).await?;
    eventually("the process was killed and started again", PATIENCE, || killed.ensure_restarted()).await?;
    ns.remove().await
}
