//! What is left when something is deleted.

use anyhow::{Result, ensure};
use checkstack_e2e::eventually::eventually;
use checkstack_e2e::instance::{INSTANCE, PATIENCE};
use checkstack_e2e::namespace::Namespace;
use checkstack_e2e::packages::package;
use serde_json::{Value, json};

use crate::shared_operator;

const SCHEMAS: &str = "SELECT count(*) FROM information_schema.schemata WHERE schema_name = 'plugin_uptime'";
const ROLES: &str = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'plugin_uptime%'";

#[tokio::test]
async fn a_deleted_plugin_answers_404_and_its_data_is_kept_or_purged() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("delete-plugin").await?;
    ns.bring_up_instance(1).await?;
    let settings = |policy: &str| {
        let mut spec = checkstack_e2e::instance::uptime(&ns.name);
        spec["deletionPolicy"] = Value::from(policy);
        spec
    };
    for (policy, kept) in [("Retain", "1"), ("Purge", "0")] {
        ns.install_plugin("uptime", &package("uptime")?, settings(policy)).await?;
        ns.await_plugin_ready("uptime").await?;
        assert_eq!(ns.sql(SCHEMAS).await?, "1", "{policy}");
        ns.kubectl(&["delete", "checkstackplugin/uptime", "--timeout=60s"]).await?;
        eventually("the route is gone", PATIENCE, || async {
            let answer = ns.http_get(INSTANCE, "/api/uptime/targets").await?;
            ensure!(answer.status == 404, "{answer:?}");
            Ok(())
        })
        .await?;
        assert_eq!(ns.sql(SCHEMAS).await?, kept, "schema after {policy}");
    }
    assert_eq!(ns.sql(ROLES).await?, "0", "the login role goes with the data");
    ns.ensure_core_pods_ready(1).await?;
    ns.remove().await
}

#[tokio::test]
async fn a_deleted_instance_takes_its_children_and_leaves_the_database() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("delete-instance").await?;
    ns.bring_up_instance(2).await?;
    ns.install_plugin("uptime", &package("uptime")?, checkstack_e2e::instance::uptime(&ns.name)).await?;
    ns.await_plugin_ready("uptime").await?;
    let artifacts = ns.sql("SELECT string_agg(digest::text, ',' ORDER BY digest) FROM checkstack.plugin_artifacts").await?;

    ns.kubectl(&["delete", "checkstack/main", "--timeout=60s"]).await?;
    eventually("its children are gone", PATIENCE, || async {
        for kind in
            ["deployments", "services", "serviceaccounts", "secrets", "configmaps", "controllerrevisions", "poddisruptionbudgets", "pods"]
        {
            let left = ns.list(kind, &format!("app.kubernetes.io/instance={INSTANCE},app.kubernetes.io/component=core")).await?;
            ensure!(left.is_empty(), "{kind}: {}", left[0]["metadata"]["name"]);
        }
        Ok(())
    })
    .await?;
    ns.await_condition("checkstackplugin/uptime", "Ready", "False", "InstanceNotFound", PATIENCE).await?;
    assert_eq!(ns.sql(SCHEMAS).await?, "1");

    // The same instance again finds its data.
    ns.apply_instance(json!({"replicas": 1})).await?;
    ns.await_plugin_ready("uptime").await?;
    assert_eq!(ns.sql("SELECT string_agg(digest::text, ',' ORDER BY digest) FROM checkstack.plugin_artifacts").await?, artifacts);

    // A plugin whose instance is gone can be deleted.
    ns.kubectl(&["delete", "checkstack/main", "--timeout=60s"]).await?;
    ns.kubectl(&["delete", "checkstackplugin/uptime", "--timeout=60s"]).await?;
    ns.remove().await
}
