//! PostgreSQL goes away and comes back: the pods say so, nothing restarts, nothing is lost.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use checkstack_e2e::cluster::Answer;
use checkstack_e2e::eventually::{always, eventually, throughout};
use checkstack_e2e::instance::{INSTANCE, PATIENCE, uptime};
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::port_forward::PortForward;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::shared_operator;

const HISTORY: &str = "/rest/uptime/targets/history?target=self&limit=1000";
const ANNOUNCEMENTS: &str = "/api/status-page/announcements";
const TOKEN: Option<&str> = Some("only-for-this-test-let-me-in");
/// The plugin keeps at most 50.
const MOST_ANNOUNCEMENTS: usize = 30;

/// What a writer was told, and when.
#[derive(Default)]
struct Log {
    acknowledged: Vec<(Instant, Value)>,
    refused: Vec<(Instant, Answer)>,
}

impl Log {
    /// It wrote until the end of `from..to`, and everything in it went well.
    fn acknowledged_between(&self, from: Instant, to: Instant) -> usize {
        self.acknowledged.iter().filter(|(at, _)| (from..to).contains(at)).count()
    }

    fn refused_between(&self, from: Instant, to: Instant) -> usize {
        self.refused.iter().filter(|(at, _)| (from..to).contains(at)).count()
    }
}

/// Adds rows to the table of one plugin, one after the other, until told to stop. What is logged is the time of a row.
async fn write_rows(pod: &PortForward, stop: watch::Receiver<bool>) -> Result<Log> {
    let mut log = Log::default();
    while !*stop.borrow() {
        let answer = pod.request("POST", "/rest/uptime/checks/run", None, "").await?;
        match answer.status {
            200 => {
                let row = answer.json()?["checked"][0]["checkedAt"].take();
                ensure!(row.is_string(), "acknowledged, and nothing was written: {answer:?}");
                log.acknowledged.push((Instant::now(), row));
            }
            500.. => log.refused.push((Instant::now(), answer)),
            _ => anyhow::bail!("{answer:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(log)
}

/// What a writer of keys knows for certain.
#[derive(Default)]
struct Keys {
    /// Written and not removed since.
    present: VecDeque<Value>,
    /// Written and removed.
    removed: Vec<Value>,
}

/// Sets and removes keys in the store of the other plugin, one after the other, until told to stop.
async fn write_keys(pod: &PortForward, stop: watch::Receiver<bool>) -> Result<(Log, Keys)> {
    let (mut log, mut keys) = (Log::default(), Keys::default());
    for number in 0.. {
        if *stop.borrow() {
            break;
        }
        let answer = pod.request("POST", ANNOUNCEMENTS, TOKEN, &json!({"title": format!("number {number}")}).to_string()).await?;
        match answer.status {
            201 => {
                keys.present.push_back(answer.json()?["id"].take());
                log.acknowledged.push((Instant::now(), number.into()));
            }
            500.. => log.refused.push((Instant::now(), answer)),
            _ => anyhow::bail!("{answer:?}"),
        }
        if keys.present.len() > MOST_ANNOUNCEMENTS {
            // One whose removal was refused may be there or not.
            let oldest = keys.present.pop_front().context("none")?;
            let answer = pod.request("DELETE", &announcement(&oldest), TOKEN, "").await?;
            match answer.status {
                204 => keys.removed.push(oldest),
                500.. => log.refused.push((Instant::now(), answer)),
                _ => anyhow::bail!("{answer:?}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok((log, keys))
}

fn announcement(id: &Value) -> String {
    format!("{ANNOUNCEMENTS}/{}", id.as_str().unwrap_or_default())
}

async fn ask(ns: &Namespace, pod: &str, path: &str) -> Result<Answer> {
    ns.cluster.request("GET", &ns.name, &format!("pods/{pod}:3000"), path, "").await
}

/// Not ready, and the database is named as the reason.
async fn blames_the_database(ns: &Namespace, pod: &str) -> Result<()> {
    let ready = ask(ns, pod, "/.checkstack/ready").await?;
    ensure!(ready.status == 503, "{ready:?}");
    let body = ready.json()?;
    let failing: Vec<&Value> = body["checks"].as_array().into_iter().flatten().filter(|check| check["ok"] == false).collect();
    let database = failing.iter().find(|check| check["name"] == "database").with_context(|| format!("another probe fails: {body}"))?;
    ensure!(
        database["error"].as_str().is_some_and(|error| error.contains("the database does not answer")),
        "without a word why: {database}"
    );
    Ok(())
}

/// No pod was replaced, none has restarted, and all of them answer that they are alive.
async fn ensure_alive(ns: &Namespace, pods: &[String]) -> Result<()> {
    let present = ns.core_pods().await?;
    ensure!(present.len() == pods.len(), "{} pods", present.len());
    for pod in present {
        let name = pod["metadata"]["name"].as_str().context("no name")?;
        ensure!(pods.iter().any(|pod| pod == name), "{name} is new");
        ensure!(pod["status"]["containerStatuses"][0]["restartCount"] == 0, "{name} has restarted: {}", pod["status"]);
        let health = ask(ns, name, "/.checkstack/health").await?;
        ensure!(health.status == 200, "{name}: {health:?}");
    }
    Ok(())
}

/// When the Service of the database leads to it again, which is when it accepts connections.
async fn accepts_connections(ns: &Namespace) -> Result<Instant> {
    eventually("the database accepts connections", PATIENCE, || async {
        let slices = ns.list("endpointslices", "kubernetes.io/service-name=main-db").await?;
        let mut endpoints = slices.iter().flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
        ensure!(endpoints.any(|endpoint| endpoint["conditions"]["ready"] == true), "{slices:?}");
        Ok(Instant::now())
    })
    .await
}

/// When the pod says that it is ready.
async fn ready_again(ns: &Namespace, pod: &str) -> Result<Instant> {
    eventually("the pod is ready again", PATIENCE, || async {
        let ready = ask(ns, pod, "/.checkstack/ready").await?;
        ensure!(ready.status == 200, "{ready:?}");
        Ok(Instant::now())
    })
    .await
}

/// How long is written before the database is stopped.
const QUIET: Duration = Duration::from_secs(3);

#[tokio::test]
async fn readiness_follows_the_database_and_nothing_acknowledged_is_lost() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("database").await?;
    ns.bring_up_instance(2).await?;
    ns.install_samples().await?;
    // Each request shall write.
    let mut spec = uptime(&ns.name);
    spec["config"]["minInterval"] = "1ms".into();
    ns.apply_plugin("uptime", spec).await?;
    ns.await_plugin_ready("uptime").await?;
    ns.await_core_pods_ready(2).await?;
    let pods = ns.core_pod_names().await?;
    let artifacts = "SELECT string_agg(digest::text, ',' ORDER BY digest) FROM checkstack.plugin_artifacts";
    let stored = ns.sql(artifacts).await?;

    // Straight to pods, one each: through the Service nothing arrives at a pod that is not ready.
    let (rows_to, keys_to) = (ns.port_forward(&pods[0]).await?, ns.port_forward(&pods[1]).await?);
    let (stop, stopped) = watch::channel(false);
    let outage = async {
        tokio::time::sleep(QUIET).await;
        let stopping = Instant::now();
        ns.stop_database().await?;
        let gone = Instant::now();
        for pod in &pods {
            eventually("ready says which probe fails", Duration::from_secs(10), || blames_the_database(&ns, pod)).await?;
        }
        always("all the time", Duration::from_secs(5), || async {
            for pod in &pods {
                blames_the_database(&ns, pod).await?;
            }
            Ok(())
        })
        .await?;
        ns.await_condition("checkstack/main", "DatabaseReachable", "False", "DatabaseUnreachable", PATIENCE).await?;
        ns.await_condition("checkstack/main", "Ready", "False", "DatabaseUnreachable", PATIENCE).await?;

        let starting = Instant::now();
        ns.scale_database(1).await?;
        let (accepts, first, second) = tokio::try_join!(accepts_connections(&ns), ready_again(&ns, &pods[0]), ready_again(&ns, &pods[1]))?;
        let late = first.max(second).saturating_duration_since(accepts);
        ensure!(late < Duration::from_secs(5), "ready {} ms after the database accepted connections", late.as_millis());
        ns.await_core_pods_ready(2).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        stop.send(true)?;
        Ok((stopping, gone, starting, first.max(second)))
    };
    let writing = async { tokio::try_join!(outage, write_rows(&rows_to, stopped.clone()), write_keys(&keys_to, stopped.clone())) };
    let alive = || ensure_alive(&ns, &pods);
    let ((stopping, gone, starting, back), rows, (set, keys)) = Box::pin(throughout("the pods are alive", alive, writing)).await?;

    for (what, log) in [("rows", &rows), ("keys", &set)] {
        let end = Instant::now();
        ensure!(log.acknowledged_between(stopping - QUIET, stopping) > 0, "no {what} before the database stopped");
        ensure!(log.refused_between(gone, starting) > 0, "nobody tried to write {what} while the database was away");
        ensure!(log.acknowledged_between(gone, starting) == 0, "{what} were acknowledged without a database");
        ensure!(log.acknowledged_between(back, end) > 0, "no {what} after the database came back");
        // A refusal says so and is no crash.
        for (_, answer) in &log.refused {
            let said = answer.json()?;
            ensure!(matches!(answer.status, 503 | 504) && (said["code"].is_string() || said["error"].is_string()), "{what}: {answer:?}");
        }
    }

    // Everything that was acknowledged is there, and nothing that was removed. Asked of the other pod than the one that wrote.
    let history = keys_to.request("GET", HISTORY, None, "").await?.json()?["results"].take();
    let found: Vec<&Value> = history.as_array().context("no history")?.iter().map(|row| &row["checkedAt"]).collect();
    ensure!(found.len() < 1000, "more rows than one answer holds");
    for (_, row) in &rows.acknowledged {
        ensure!(found.contains(&row), "the row of {row} was acknowledged, and is not there");
    }
    for (ids, status) in [(keys.present.iter().collect::<Vec<_>>(), 200), (keys.removed.iter().collect(), 404)] {
        for id in ids {
            let answer = rows_to.request("GET", &announcement(id), None, "").await?;
            ensure!(answer.status == status, "announcement {id} should answer {status}: {answer:?}");
        }
    }
    assert_eq!(ns.sql(artifacts).await?, stored);

    ensure_alive(&ns, &pods).await?;
    ns.await_condition("checkstack/main", "Ready", "True", "", PATIENCE).await?;
    for plugin in ["uptime", "status-page"] {
        ns.await_plugin_ready(plugin).await?;
    }
    let page = ns.http_get(INSTANCE, "/api/status-page/").await?;
    ensure!(page.status == 200, "{page:?}");
    ns.remove().await
}
