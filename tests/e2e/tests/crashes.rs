//! Things are killed, and the result is the same as without.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use checkstack_e2e::eventually::{always, eventually};
use checkstack_e2e::instance::{INSTANCE, PATIENCE};
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::packages::{package, renamed, with_metadata};
use checkstack_e2e::processes;
use serde_json::json;

use crate::{operator_alone, shared_operator};

#[tokio::test]
async fn a_killed_core_process_comes_back_with_its_plugins() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("kill-core").await?;
    ns.bring_up_instance(1).await?;
    ns.install_samples().await?;
    let checked = ns.request("POST", INSTANCE, "/rest/uptime/checks/run", "").await?;
    ensure!(checked.status == 200, "{checked:?}");
    let before = ns.http_get(INSTANCE, "/rest/uptime/targets/history?target=self").await?;

    let pod = ns.core_pod_names().await?.remove(0);
    let killed = ns.kill_core(&pod).await?;
    eventually("the process was killed and started again", PATIENCE, || killed.ensure_restarted()).await?;
    eventually("the plugin answers with what it knew", PATIENCE, || async {
        let after = ns.http_get(INSTANCE, "/rest/uptime/targets/history?target=self").await?;
        ensure!(after.status == 200 && after.body == before.body, "{after:?}");
        let page = ns.http_get(INSTANCE, "/api/status-page/").await?;
        ensure!(page.status == 200, "{page:?}");
        Ok(())
    })
    .await?;
    for plugin in ["uptime", "status-page"] {
        ns.await_plugin_ready(plugin).await?;
    }
    ns.await_condition("checkstack/main", "Ready", "True", "", PATIENCE).await?;
    ns.remove().await
}

mod operator_alone {
    use super::*;

    #[tokio::test]
    async fn an_operator_killed_in_the_middle_of_a_rollout_finishes_it() -> Result<()> {
        let _operator = operator_alone().await;
        let ns = Namespace::create("kill-operator").await?;
        ns.bring_up_instance(2).await?;
        let base = package("chaos")?;
        ns.install_plugin("one", &renamed(&base, "one")?, json!({})).await?;
        ns.await_plugin_ready("one").await?;

        // Killed at different moments after a change: before it is seen, while it is fetched, while pods take it over.
        for (round, delay) in [0, 150, 400, 900].into_iter().enumerate() {
            let version = format!("0.2.{round}");
            let newer = with_metadata(&renamed(&base, "one")?, |metadata| metadata["version"] = version.as_str().into())?;
            ns.store_package(&format!("one-{round}"), &newer).await?;
            let (lease, operator) = (ns.lease().await?, ns.operator_process(&ns.leading_operator().await?).await?);
            ns.apply_plugin(
                "one",
                json!({"source": {"tarball": {"configMapRef": {"name": format!("one-{round}"), "key": "package.tgz"}}}}),
            )
            .await?;
            tokio::time::sleep(Duration::from_millis(delay)).await;
            operator.kill().await?;
            if processes::are_here() {
                assert_eq!(ns.lease().await?, lease, "it had the time to give the Lease back");
            }
            eventually("both pods run the new version", PATIENCE, || async {
                let plugin = ns.get("checkstackplugin/one").await?;
                let pods = plugin["status"]["pods"].as_array().context("no pods")?;
                ensure!(
                    pods.len() == 2 && pods.iter().all(|pod| pod["version"] == version.as_str() && pod["state"] == "Active"),
                    "{pods:?}"
                );
                Ok(())
            })
            .await?;
            ns.await_plugin_ready("one").await?;
            eventually("the operator was killed and started again", PATIENCE, || operator.ensure_restarted()).await?;
            ns.await_next_leader(&lease).await?;
            // The kubelet makes a container that ended again and again wait longer and longer.
            ns.restart_operator().await?;
        }
        // No change was lost and none was made twice: the empty set, the plugin, and its four new versions.
        assert_eq!(ns.revisions().await?, [1, 2, 3, 4, 5, 6]);
        ns.ensure_core_pods_ready(2).await?;
        ns.remove().await
    }

    #[tokio::test]
    async fn two_operators_do_the_work_of_one() -> Result<()> {
        let _operator = operator_alone().await;
        let ns = Namespace::create("two-operators").await?;
        ns.scale_operator(2).await?;
        ns.bring_up_instance(1).await?;
        ns.install_plugin("one", &renamed(&package("chaos")?, "one")?, json!({})).await?;
        ns.await_plugin_ready("one").await?;
        let versions = || async {
            let mut versions = Vec::new();
            for object in ["checkstackplugin/one", "checkstack/main", "configmap/main-plugins", "deployment/main"] {
                versions.push(ns.get(object).await?["metadata"]["resourceVersion"].clone());
            }
            Ok::<_, anyhow::Error>(versions)
        };
        let before = versions().await?;
        always("the two do not undo each other's work", Duration::from_secs(5), || async {
            let now = versions().await?;
            ensure!(now == before, "{before:?} became {now:?}");
            Ok(())
        })
        .await?;

        // The leader dies without a word; when its Lease has expired, a process that lives takes over: the other one, or the
        // one that the kubelet started in its place.
        let (lease, leader) = (ns.lease().await?, ns.operator_process(&ns.leading_operator().await?).await?);
        leader.kill().await?;
        ns.install_plugin("two", &renamed(&package("chaos")?, "two")?, json!({})).await?;
        ns.await_plugin_ready("two").await?;
        eventually("the leader was killed and started again", PATIENCE, || leader.ensure_restarted()).await?;
        ns.await_next_leader(&lease).await?;
        ns.scale_operator(1).await?;
        ns.await_leader().await?;
        ns.remove().await
    }
}
