//! Secrets are planted, used and told to the log by a plugin: they are found nowhere but in the Secrets.

use anyhow::{Result, ensure};
use checkstack_e2e::database::PASSWORD as DATABASE_PASSWORD;
use checkstack_e2e::eventually::eventually;
use checkstack_e2e::instance::{INSTANCE, PATIENCE};
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::packages::package;
use serde_json::json;

use crate::shared_operator;

const TOKEN: &str = "canary-of-the-plugin-7f3a";
/// `TOKEN` in base64
const ENCODED: &str = "Y2FuYXJ5LW9mLXRoZS1wbHVnaW4tN2YzYQ";

#[tokio::test]
async fn no_secret_is_in_a_log_an_event_a_status_a_metric_or_a_config_map() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("canaries").await?;
    ns.bring_up_instance(1).await?;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hello-token"}, "stringData": {"token": TOKEN}});
    ns.apply(&secret.to_string()).await?;
    ns.install_plugin("hello-ts", &package("hello-ts")?, json!({"configFrom": [{"secretRef": {"name": "hello-token"}}]})).await?;
    ns.await_plugin_ready("hello-ts").await?;
    let leaked = ns.http_get(INSTANCE, "/api/hello-ts/leak").await?;
    ensure!(leaked.status == 500 && !leaked.body.contains(TOKEN), "{leaked:?}");
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
        for canary in [TOKEN, ENCODED, &password, DATABASE_PASSWORD] {
            let found = text.lines().find(|line| line.contains(canary));
            ensure!(found.is_none(), "{canary} is in {place}: {found:?}");
        }
    }
    ns.remove().await
}
