//! Secrets are planted, used and told to the log by a plugin: they are found nowhere but in the Secrets.

use std::time::Duration;

use anyhow::{Result, ensure};
use checkstack_e2e::database::PASSWORD as DATABASE_PASSWORD;
use checkstack_e2e::eventually::eventually;
use checkstack_e2e::instance::{INSTANCE, PATIENCE};
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::packages::{package, renamed};
use serde_json::json;

use crate::shared_operator;

const TOKEN: &str = "canary-of-the-plugin-7f3a";
/// `TOKEN` in base64
const ENCODED: &str = "Y2FuYXJ5LW9mLXRoZS1wbHVnaW4tN2YzYQ";
const REFERRED: &str = "canary-of-the-instance-b20e";
/// What `REFERRED` is when it is changed.
const CHANGED: &str = "canary-of-the-instance-c9d1";
/// The kubelet looks at the Secrets of a pod every minute, and may see them a minute late; the server looks every five seconds.
const KUBELET: Duration = Duration::from_secs(160);

#[tokio::test]
async fn no_secret_is_in_a_log_an_event_a_status_a_metric_or_a_config_map() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("canaries").await?;
    ns.bring_up_database().await?;
    let secret = async |name: &str, key: &str, value: &str| {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {key: value}});
        ns.apply(&secret.to_string()).await
    };
    secret("hello-token", "token", TOKEN).await?;
    secret("of-the-instance", "hello-secret", REFERRED).await?;
    ns.apply_instance(json!({"replicas": 1, "secretsFrom": [{"secretRef": {"name": "of-the-instance"}}]})).await?;
    let hello = package("hello-ts")?;
    ns.install_plugin("hello-ts", &hello, json!({"configFrom": [{"secretRef": {"name": "hello-token"}}]})).await?;
    let refers = json!({"config": {"token": "${{ secrets.hello-secret }}"}, "grants": {"secrets": ["hello-secret"]}});
    ns.install_plugin("refers", &renamed(&hello, "refers")?, refers).await?;
    for plugin in ["hello-ts", "refers"] {
        ns.await_plugin_ready(plugin).await?;
        let leaked = ns.http_get(INSTANCE, &format!("/api/{plugin}/leak")).await?;
        ensure!(leaked.status == 500 && !leaked.body.contains("canary"), "{leaked:?}");
    }
    // A changed Secret is a plugin that is initialised beside itself, in the same pod.
    secret("of-the-instance", "hello-secret", CHANGED).await?;
    eventually("the plugin has the changed secret", KUBELET, || async {
        let metrics = ns.http_get(INSTANCE, "/.checkstack/metrics").await?.body;
        let is_swap = |line: &&str| line.starts_with("checkstack_plugin_swaps_total{") && line.contains("\"refers\"");
        ensure!(metrics.lines().find(is_swap).is_some_and(|line| line.ends_with(" 1")), "no swap");
        Ok(())
    })
    .await?;
    let leaked = ns.http_get(INSTANCE, "/api/refers/leak").await?;
    ensure!(leaked.status == 500 && !leaked.body.contains("canary"), "{leaked:?}");
    let admin = ns.get("secret/main-admin").await?;
    let password: k8s_openapi::ByteString = serde_json::from_value(admin["data"]["password"].clone())?;
    let password = String::from_utf8(password.0)?;
    let body = json!({"email": "admin@checkstack.local", "password": password}).to_string();
    eventually("the admin signs in", PATIENCE, || async {
        let answer = ns.request("POST", INSTANCE, "/api/auth/sign-in/email", &body).await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    })
    .await?;

    let encryption = ns.get("secret/main-encryption").await?;
    let encryption_key: k8s_openapi::ByteString = serde_json::from_value(encryption["data"]["current"].clone())?;
    let encryption_key = String::from_utf8(encryption_key.0)?;
    ensure!(encryption_key.len() == 64, "{} characters", encryption_key.len());

    let pod = ns.core_pod_names().await?.remove(0);
    let logs = ns.kubectl(&["logs", &pod, "--all-containers"]).await?;
    ensure!(logs.contains("configured with") && logs.contains("no access with ****"), "the plugin's lines are missing: {logs}");
    let mut places = vec![("the log of the pod", logs)];
    for operator in ns.operator_pods().await? {
        places.push(("the log of the operator", ns.cluster.kubectl(&["logs", &operator, "--namespace", "checkstack-system"]).await?));
    }
    for kind in ["events", "configmaps", "controllerrevisions", "checkstacks", "checkstackplugins", "deployments", "pods"] {
        places.push((kind, ns.kubectl(&["get", kind, "-o", "yaml"]).await?));
    }
    places.push(("metrics", ns.http_get(INSTANCE, "/.checkstack/metrics").await?.body));
    places.push(("readiness", ns.http_get(INSTANCE, "/.checkstack/ready").await?.body));
    for (place, text) in &places {
        ensure!(!text.is_empty(), "nothing was looked at in {place}");
        for canary in [TOKEN, ENCODED, REFERRED, CHANGED, &encryption_key, &password, DATABASE_PASSWORD] {
            let found = text.lines().find(|line| line.contains(canary));
            ensure!(found.is_none(), "{canary} is in {place}: {found:?}");
        }
    }
    ns.remove().await
}
