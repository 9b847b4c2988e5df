//! A hostile plugin hurts only itself: its calls end, its neighbour answers, and the metrics name it.

use anyhow::{Context, Result, ensure};
use checkstack_e2e::eventually::{eventually, throughout};
use checkstack_e2e::instance::{INSTANCE, PATIENCE};
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::packages::{package, renamed};
use serde_json::json;

use crate::shared_operator;

/// An attack, and how a call of it ends; or it traps, or is at its deadline, on a busy machine.
const ATTACKS: [(&str, &str); 8] = [
    ("loop", "deadline_exceeded"),
    ("memory", "trapped"),
    ("recursion", "trapped"),
    ("logs", "deadline_exceeded"),
    ("answer", "invalid_answer"),
    ("entries", "server_error"),
    ("sleep", "server_error"),
    ("lock", "server_error"),
];
/// What the caller is told: an error of the plugin's own, that it failed, that it is busy, that it was too slow.
const STATUSES: [u16; 4] = [500, 502, 503, 504];
/// Of each attack at once; more than there are places for calls of one plugin.
const AT_ONCE: usize = 12;

async fn nobody_else_suffers(ns: &Namespace) -> Result<()> {
    let answer = ns.http_get(INSTANCE, "/api/neighbour/version").await?;
    ensure!(answer.status == 200, "the neighbour: {answer:?}");
    ns.ensure_core_pods_ready(1).await
}

/// How many calls have ended in one of these ways.
async fn counted(ns: &Namespace, plugin: &str, outcomes: &[&str]) -> Result<u64> {
    let metrics = ns.http_get(INSTANCE, "/.checkstack/metrics").await?.body;
    let of = |outcome: &&str| {
        let line = format!("checkstack_plugin_calls_total{{plugin=\"{plugin}\",outcome=\"{outcome}\"}} ");
        metrics.lines().find_map(|found| found.strip_prefix(&line)?.parse::<u64>().ok()).unwrap_or(0)
    };
    Ok(outcomes.iter().map(of).sum())
}

#[tokio::test]
async fn every_attack_is_contained_and_named() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("attacks").await?;
    ns.bring_up_instance(1).await?;
    ns.install_plugin("neighbour", &renamed(&package("chaos")?, "neighbour")?, json!({"grants": {"database": true}})).await?;
    ns.await_plugin_ready("neighbour").await?;
    let story = async {
        for (attack, outcome) in ATTACKS {
            // A plugin of its own, so that none is left alone because of the attack before.
            let plugin = format!("attacker-{attack}");
            ns.install_plugin(&plugin, &renamed(&package("chaos")?, &plugin)?, json!({"grants": {"database": true, "deadline": "1s"}}))
                .await?;
            ns.await_plugin_ready(&plugin).await?;
            let path = format!("/api/{plugin}/attack/{attack}");
            let calls = (0..AT_ONCE).map(|_| ns.http_get(INSTANCE, &path));
            for answer in futures::future::join_all(calls).await {
                let answer = answer?;
                ensure!(STATUSES.contains(&answer.status), "{attack}: {answer:?}");
            }
            ensure!(counted(&ns, &plugin, &[outcome, "trapped", "deadline_exceeded"]).await? > 0, "{attack} is not counted");
            eventually(&format!("the plugin answers after {attack}"), PATIENCE, || async {
                let answer = ns.http_get(INSTANCE, &format!("/api/{plugin}/version")).await?;
                ensure!(answer.status == 200, "{answer:?}");
                Ok(())
            })
            .await
            .with_context(|| attack.to_owned())?;
            ns.await_plugin_ready(&plugin).await?;
        }
        Ok(())
    };
    throughout("the pod is Ready and the neighbour answers", || nobody_else_suffers(&ns), story).await?;
    // What the attacks left in the database goes with the plugin.
    ns.kubectl(&["patch", "checkstackplugin/attacker-entries", "--type=merge", "-p", r#"{"spec":{"deletionPolicy":"Purge"}}"#]).await?;
    ns.kubectl(&["delete", "checkstackplugin/attacker-entries", "--timeout=60s"]).await?;
    let left = ns.sql("SELECT count(*) FROM checkstack.plugin_kv WHERE plugin_id = 'attacker-entries'").await?;
    ensure!(left == "0", "{left} entries are left");
    ns.remove().await
}
