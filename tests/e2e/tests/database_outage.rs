//! PostgreSQL goes away and comes back: the pods say so, nothing restarts, nothing is lost.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use checkstack_e2e::eventually::{always, eventually};
use checkstack_e2e::instance::{INSTANCE, PATIENCE};
use checkstack_e2e::namespace::Namespace;

use crate::shared_operator;

#[tokio::test]
async fn readiness_follows_the_database_and_nothing_acknowledged_is_lost() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("database").await?;
    ns.bring_up_instance(2).await?;
    ns.install_samples().await?;
    let pods = ns.core_pod_names().await?;

    // Acknowledged: rows of one plugin, a key of the other.
    let checked = ns.request("POST", INSTANCE, "/api/uptime/checks", "").await?;
    ensure!(checked.status == 200, "{checked:?}");
    let history_path = "/api/uptime/targets/self/history?limit=100";
    let before = ns.http_get(INSTANCE, history_path).await?;
    ensure!(before.status == 200 && before.body.contains("self"), "{before:?}");
    let rows = ns.sql("SELECT count(*) FROM checkstack.plugin_artifacts").await?;

    ns.stop_database().await?;
    for pod in &pods {
        eventually("ready says which probe fails", Duration::from_secs(10), || async {
            let ready = ns.cluster.request("GET", &ns.name, &format!("pods/{pod}:3000"), "/.checkstack/ready", "").await?;
            ensure!(ready.status == 503, "{ready:?}");
            let body = ready.json()?;
            let failing: Vec<_> = body["checks"].as_array().into_iter().flatten().filter(|check| check["ok"] == false).collect();
            ensure!(failing.iter().any(|check| check["name"] == "database"), "{body}");
            Ok(())
        })
        .await?;
    }
    always("health answers, and a core route as well", Duration::from_secs(5), || async {
        for pod in &pods {
            let health = ns.cluster.request("GET", &ns.name, &format!("pods/{pod}:3000"), "/.checkstack/health", "").await?;
            ensure!(health.status == 200, "{health:?}");
        }
        Ok(())
    })
    .await?;
    ns.await_condition("checkstack/main", "DatabaseReachable", "False", "DatabaseUnreachable", PATIENCE).await?;

    ns.start_database().await?;
    let back = Instant::now();
    for pod in &pods {
        eventually("ready again", Duration::from_secs(5), || async {
            let ready = ns.cluster.request("GET", &ns.name, &format!("pods/{pod}:3000"), "/.checkstack/ready", "").await?;
            ensure!(ready.status == 200, "{ready:?}");
            Ok(())
        })
        .await?;
    }
    ensure!(back.elapsed() < Duration::from_secs(5), "ready {} ms after the database", back.elapsed().as_millis());
    ns.await_core_pods_ready(2).await?;
    assert_eq!(ns.core_pod_names().await?, pods);
    let after = eventually("the plugin answers again", PATIENCE, || async {
        let after = ns.http_get(INSTANCE, history_path).await?;
        ensure!(after.status == 200, "{after:?}");
        Ok(after)
    })
    .await?;
    assert_eq!(after.body, before.body);
    assert_eq!(ns.sql("SELECT count(*) FROM checkstack.plugin_artifacts").await?, rows);
    ns.await_condition("checkstack/main", "Ready", "True", "", PATIENCE).await?;
    ns.remove().await
}
