//! From YAML to a plugin that every pod runs.

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use serde_json::json;

use crate::cluster::Sandbox;
use crate::core::{ArtifactStore, CorePod};
use crate::operator::Operator;
use crate::packages::package;
use crate::source::Source;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_gets_from_yaml_into_every_pod() {
    let sandbox = Sandbox::new("thin").await;
    let source = Source::start().await;
    let operator = Operator::start(&sandbox).await;
    let url = source.put("uptime.tgz", package("uptime", "1.2.3"));

    sandbox.instance("main", json!({ "replicas": 2 })).await;
    sandbox.roll_out("main").await;
    let store = ArtifactStore::default();
    let pods = [CorePod::start(&sandbox, "main", "main-a", &store).await, CorePod::start(&sandbox, "main", "main-b", &store).await];
    sandbox.plugin("uptime-checks", json!({ "source": { "tarball": { "url": url } } })).await;

    let plugin = sandbox.plugin_ready("uptime-checks").await;
    let status = plugin.status.unwrap();
    assert_eq!(
        (status.plugin_id.as_deref(), status.version.as_deref(), status.pods_active.as_str()),
        (Some("uptime"), Some("1.2.3"), "2/2")
    );
    assert_eq!(status.pods.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["main-a", "main-b"]);
    let types: Vec<&str> = status.conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(types, ["Resolved", "Verified", "Compatible", "Materialized", "Loaded", "Ready"]);
    assert_eq!(pods.each_ref().map(CorePod::revision), [2, 2]);
    assert_eq!(source.requests("uptime.tgz"), 1);

    let instance = sandbox.instance_condition("main", "Ready", "True", "Ready").await;
    let status = instance.status.unwrap();
    assert_eq!(status.plugin_set.active, status.plugin_set.desired);
    assert_eq!((status.pods_ready.as_str(), status.url), ("2/2", Some(format!("http://main.{}.svc", sandbox.namespace))));

    sandbox.get::<Deployment>("main").await;
    sandbox.get::<Service>("main").await;
    sandbox.get::<ServiceAccount>("main").await;
    sandbox.get::<ConfigMap>("main-plugins").await;
    sandbox.get::<Secret>("main-plugin-config").await;
    sandbox.get::<ControllerRevision>("main-2").await;

    assert!(operator.health.is_ready());
    let metrics = operator.metrics.encode().unwrap();
    for line in [
        r#"checkstack_operator_plugins{state="ready"} 1"#,
        "checkstack_operator_instances 1",
        r#"fetches_total{source="url",result="success"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    // Nothing that a user names is a label.
    assert!(!metrics.contains("uptime") && !metrics.contains(&sandbox.namespace), "{metrics}");
}
