//! A plugin that raises the versions of its configuration and of a setting, and is put back, by the operator and by hand.

use anyhow::{Result, ensure};
use checkstack_e2e::eventually::eventually;
use checkstack_e2e::instance::{INSTANCE, PATIENCE};
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::packages::package;
use serde_json::{Value, json};

use crate::shared_operator;

/// What `/version` and `/mood` answer, of a pod.
async fn shown(ns: &Namespace) -> Result<(Value, Value)> {
    let mut shown = Vec::new();
    for path in ["/api/chaos/version", "/api/chaos/mood"] {
        let answer = ns.http_get(INSTANCE, path).await?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
        shown.push(answer.json()?);
    }
    Ok((shown[0]["label"].take(), shown[1].take()))
}

async fn set_mood(ns: &Namespace, mood: &str) -> Result<()> {
    let answer = ns.request("POST", INSTANCE, "/api/chaos/mood", mood).await?;
    ensure!(answer.status == 204, "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn each_release_finds_the_configuration_and_the_setting_in_its_own_form() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("versioned").await?;
    ns.bring_up_instance(2).await?;
    ns.apply_instance(json!({"replicas": 2, "rollout": {"progressDeadlineSeconds": 10}})).await?;
    ns.store_package("next", &package("chaos-next")?).await?;
    let next = json!({"tarball": {"configMapRef": {"name": "next", "key": "package.tgz"}}});
    let spec = |probe: &str| json!({"config": {"label": "quiet", "readsMood": true, "probe": probe}, "grants": {"database": true}});
    ns.install_plugin("chaos", &package("chaos")?, spec("ok")).await?;
    ns.await_plugin_ready("chaos").await?;
    let first = ns.get("checkstackplugin/chaos").await?["spec"]["source"].clone();
    set_mood(&ns, "calm").await?;
    ensure!(shown(&ns).await? == (json!("quiet"), json!({"mood": "calm"})), "{:?}", shown(&ns).await?);
    let with = |source: &Value, mut spec: Value| {
        spec["source"] = source.clone();
        spec
    };

    // It comes as far as to migrate the setting, and is put back.
    ns.apply_plugin("chaos", with(&next, spec("fail"))).await?;
    ns.await_condition("checkstackplugin/chaos", "RolledBack", "True", "ProbeFailed", PATIENCE).await?;
    let records = ns.sql("SELECT string_agg(version::text, ',' ORDER BY version) FROM checkstack.plugin_settings").await?;
    ensure!(records == "1,2", "the setting was not migrated: {records}");
    ensure!(shown(&ns).await? == (json!("quiet"), json!({"mood": "calm"})), "{:?}", shown(&ns).await?);
    set_mood(&ns, "tired").await?;

    // It works: what the release before has written last is brought up to date, in every pod alike.
    ns.apply_plugin("chaos", with(&next, spec("ok"))).await?;
    ns.await_plugin_ready("chaos").await?;
    for _ in 0..4 {
        ensure!(shown(&ns).await? == (json!("QUIET"), json!({"moods": ["tired"]})), "{:?}", shown(&ns).await?);
    }
    set_mood(&ns, "glad").await?;
    // The admin has followed.
    let mut of_its_own = with(&next, spec("ok"));
    of_its_own["configVersion"] = 2.into();
    ns.apply_plugin("chaos", of_its_own.clone()).await?;
    ns.await_plugin_ready("chaos").await?;
    ensure!(shown(&ns).await? == (json!("quiet"), json!({"moods": ["glad"]})), "{:?}", shown(&ns).await?);

    // What is of a later release is refused by name, and the one that serves goes on.
    of_its_own["source"] = first.clone();
    ns.apply_plugin("chaos", of_its_own).await?;
    let told = ns.await_condition("checkstackplugin/chaos", "RolledBack", "True", "InvalidConfig", PATIENCE).await?;
    let expected = "spec.configVersion: it is of version 2, and this release of the plugin understands versions up to 1";
    ensure!(told.message.contains(expected), "{told:?}");

    // Pinned back by hand.
    ns.apply_plugin("chaos", with(&first, spec("ok"))).await?;
    ns.await_plugin_ready("chaos").await?;
    let before = || async {
        let shown = shown(&ns).await?;
        ensure!(shown == (json!("quiet"), json!({"mood": "tired"})), "{shown:?}");
        Ok(())
    };
    eventually("the release before has what it left", PATIENCE, before).await?;
    ns.remove().await
}
