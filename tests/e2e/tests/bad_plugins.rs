//! A bad plugin hurts only itself: the pods stay Ready, the others answer, `kubectl describe` says
//! what is wrong and what to do, and correcting the YAML is all that is needed.

use std::time::Duration;

use anyhow::{Result, ensure};
use checkstack_e2e::eventually::{always, eventually};
use checkstack_e2e::instance::{INSTANCE, PATIENCE};
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::packages::{package, renamed, with_metadata};
use serde_json::{Value, json};

use crate::shared_operator;

/// A namespace with an instance and a good neighbour.
async fn with_neighbour(test: &str) -> Result<Namespace> {
    let ns = Namespace::create(test).await?;
    ns.bring_up_instance(1).await?;
    ns.install_plugin("neighbour", &renamed(&package("chaos")?, "neighbour")?, json!({})).await?;
    ns.await_plugin_ready("neighbour").await?;
    Ok(ns)
}

/// The plugin fails for this reason and says so; nobody else notices; the corrected one heals.
async fn fails_alone_and_heals(ns: Namespace, condition: &str, reason: &str, says: &[&str], corrected: Value) -> Result<()> {
    let failed = ns.await_condition("checkstackplugin/bad", "Ready", "False", reason, PATIENCE).await?;
    ns.await_condition("checkstackplugin/bad", condition, "False", reason, PATIENCE).await?;
    let description = ns.kubectl(&["describe", "checkstackplugin/bad"]).await?;
    for words in says {
        ensure!(failed.message.contains(words), "the message does not say '{words}': {}", failed.message);
    }
    ensure!(description.contains(&failed.message), "{description}");
    eventually("an Event warns", PATIENCE, || async {
        let events = ns.events("bad").await?;
        ensure!(events.iter().any(|(kind, event_reason, _)| kind == "Warning" && event_reason == reason), "{events:?}");
        Ok(())
    })
    .await?;
    always("the neighbour answers and the pods are Ready", Duration::from_secs(3), || async {
        let answer = ns.http_get(INSTANCE, "/api/neighbour/version").await?;
        ensure!(answer.status == 200, "{answer:?}");
        ns.ensure_core_pods_ready(1).await
    })
    .await?;
    let answer = ns.http_get(INSTANCE, "/api/bad/version").await?;
    ensure!(matches!(answer.status, 404 | 503), "{answer:?}");

    ns.apply_plugin("bad", corrected).await?;
    ns.await_plugin_ready("bad").await?;
    let answer = ns.http_get(INSTANCE, "/api/bad/version").await?;
    ensure!(answer.status == 200, "{answer:?}");
    ns.ensure_core_pods_ready(1).await?;
    ns.remove().await
}

/// A working package under the id `bad`, in the ConfigMap `good`.
async fn store_good(ns: &Namespace) -> Result<Value> {
    ns.store_package("good", &renamed(&package("chaos")?, "bad")?).await?;
    Ok(json!({"source": {"tarball": {"configMapRef": {"name": "good", "key": "package.tgz"}}}}))
}

#[tokio::test]
async fn a_corrupt_package() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = with_neighbour("corrupt").await?;
    let mut tarball = renamed(&package("chaos")?, "bad")?;
    let middle = tarball.len() / 2;
    for byte in &mut tarball[middle..middle + 64] {
        *byte ^= 0xff;
    }
    ns.install_plugin("bad", &tarball, json!({})).await?;
    let corrected = store_good(&ns).await?;
    fails_alone_and_heals(ns, "Verified", "InvalidPackage", &["archive"], corrected).await
}

#[tokio::test]
async fn another_version_of_the_plugin_world() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = with_neighbour("world").await?;
    ns.install_plugin("bad", &renamed(&package("wrong-world")?, "bad")?, json!({})).await?;
    let corrected = store_good(&ns).await?;
    fails_alone_and_heals(ns, "Compatible", "IncompatibleWorld", &["0.9.0", "0.1.0"], corrected).await
}

#[tokio::test]
async fn a_trap_in_init() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = with_neighbour("trap").await?;
    ns.install_plugin("bad", &renamed(&package("chaos")?, "bad")?, json!({"config": {"init": "trap"}})).await?;
    fails_alone_and_heals(ns, "Loaded", "Trapped", &["init"], json!({"config": {"init": "ok"}})).await
}

#[tokio::test]
async fn an_endless_loop_in_init() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = with_neighbour("loop").await?;
    let spec = json!({"config": {"init": "loop"}, "grants": {"deadline": "500ms"}});
    ns.install_plugin("bad", &renamed(&package("chaos")?, "bad")?, spec).await?;
    fails_alone_and_heals(ns, "Loaded", "DeadlineExceeded", &["init", "deadline"], json!({"config": {"init": "ok"}})).await
}

#[tokio::test]
async fn a_missing_dependency() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = with_neighbour("dependency").await?;
    let needy = with_metadata(&renamed(&package("chaos")?, "bad")?, |metadata| {
        metadata["checkstack"]["dependencies"] = json!({"provider": "^0.1.0"});
    })?;
    ns.install_plugin("bad", &needy, json!({})).await?;
    let failed = ns.await_condition("checkstackplugin/bad", "Ready", "False", "DependencyMissing", PATIENCE).await?;
    ensure!(failed.message.contains("provider"), "{}", failed.message);

    // Here the correction is the plugin that was missing.
    ns.install_plugin("provider", &renamed(&package("chaos")?, "provider")?, json!({})).await?;
    ns.await_plugin_ready("bad").await?;
    ns.kubectl(&["delete", "checkstackplugin/provider", "--timeout=60s"]).await?;
    let corrected = store_good(&ns).await?;
    fails_alone_and_heals(ns, "Loaded", "DependencyMissing", &["provider"], corrected).await
}

#[tokio::test]
async fn a_configuration_that_the_plugin_refuses() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("config").await?;
    ns.bring_up_instance(1).await?;
    let mut spec = checkstack_e2e::instance::uptime(&ns.name);
    let good = spec.clone();
    spec["config"] = json!({"targets": [{"name": "x", "url": "not a url"}]});
    ns.install_plugin("uptime", &package("uptime")?, spec).await?;
    let failed = ns.await_condition("checkstackplugin/uptime", "Ready", "False", "InvalidConfig", PATIENCE).await?;
    ensure!(failed.message.contains("not a url"), "{}", failed.message);
    ns.ensure_core_pods_ready(1).await?;
    ns.apply_plugin("uptime", good).await?;
    ns.await_plugin_ready("uptime").await?;
    ns.remove().await
}
