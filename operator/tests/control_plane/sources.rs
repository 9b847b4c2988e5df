//! What a source may do, and what the plugin's status says about it.

use std::time::Duration;

use checkstack_crds::CheckstackPlugin;
use checkstack_operator::controllers::ControllerOptions;
use checkstack_plugin_package::Integrity;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use crate::cluster::{Sandbox, eventually};
use crate::core::{ArtifactStore, CorePod};
use crate::operator::{Operator, options};
use crate::packages::{package, package_of_another_world};
use crate::source::Source;

/// An instance with one pod.
struct Scene {
    sandbox: Sandbox,
    source: Source,
    store: ArtifactStore,
    pod: CorePod,
    _operator: Operator,
}

impl Scene {
    async fn new(name: &str) -> Self {
        Self::with(name, |_| {}).await
    }

    async fn with(name: &str, change: impl FnOnce(&mut ControllerOptions)) -> Self {
        let sandbox = Sandbox::new(name).await;
        let mut options = options(&sandbox);
        change(&mut options);
        let operator = Operator::start_with(&sandbox, options).await;
        sandbox.instance("main", json!({})).await;
        sandbox.roll_out("main").await;
        let store = ArtifactStore::default();
        let pod = CorePod::start(&sandbox, "main", "main-a", &store).await;
        Self { sandbox, source: Source::start().await, store, pod, _operator: operator }
    }

    async fn plugin_from(&self, name: &str, url: &str) -> CheckstackPlugin {
        self.sandbox.plugin(name, json!({ "source": { "tarball": { "url": url } } })).await
    }
}

fn message(plugin: &CheckstackPlugin, type_: &str) -> String {
    let conditions = &plugin.status.as_ref().unwrap().conditions;
    conditions.iter().find(|condition| condition.type_ == type_).unwrap().message.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_a_source_is_named_and_heals_when_it_is_gone() {
    let scene = Scene::new("faults").await;
    for (status, reason) in [(404, "SourceNotFound"), (403, "SourceForbidden"), (500, "SourceUnreachable")] {
        let (file, id, type_) = (format!("{status}.tgz"), format!("plugin-{status}"), "Resolved");
        let url = scene.source.fail(&file, status);
        scene.plugin_from(&id, &url).await;
        let plugin = scene.sandbox.plugin_condition(&id, type_, "False", reason).await;
        scene.sandbox.plugin_condition(&id, "Ready", "False", reason).await;
        scene.sandbox.plugin_condition(&id, "Reconciling", "True", reason).await;
        assert!(message(&plugin, type_).contains(&url), "{}", message(&plugin, type_));
        // No other step is needed.
        scene.source.put(&file, package(&id, "1.0.0"));
        scene.sandbox.plugin_ready(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packages_that_cannot_be_used_stall_until_the_spec_changes() {
    let scene = Scene::new("packages").await;
    let truncated = package("truncated", "1.0.0")[..200].to_vec();
    let url_of = |name: &str, bytes: Vec<u8>| scene.source.put(name, bytes);
    for (name, type_, reason, bytes) in [
        ("junk", "Verified", "InvalidPackage", b"<html>not found</html>".to_vec()),
        ("truncated", "Verified", "InvalidPackage", truncated),
        ("large", "Resolved", "SourceTooLarge", vec![0; 5 * 1024 * 1024]),
        ("world", "Compatible", "IncompatibleWorld", package_of_another_world("world")),
        ("unsafe", "Verified", "UnsafePackage", archive_with_traversal()),
    ] {
        let file = format!("{name}.tgz");
        scene.plugin_from(name, &url_of(&file, bytes)).await;
        let plugin = scene.sandbox.plugin_condition(name, type_, "False", reason).await;
        assert!(!message(&plugin, type_).is_empty());
        scene.sandbox.plugin_condition(name, "Stalled", "True", reason).await;
        let asked = scene.source.requests(&file);
        assert_eq!(asked, 1, "{name} was fetched again without need");
        scene.plugin_from(name, &url_of(&format!("{name}-2.tgz"), package(name, "1.0.0"))).await;
        scene.sandbox.plugin_ready(name).await;
    }
    // The others never bothered this one, nor the pod.
    assert_eq!(scene.pod.with(|pod| pod.set.plugins.len()), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_that_is_mended_at_its_url_is_found() {
    let scene = Scene::with("mended", |options| options.refetch = Duration::from_secs(1)).await;
    scene.plugin_from("uptime", &scene.source.put("uptime.tgz", b"<html>not found</html>".to_vec())).await;
    scene.sandbox.plugin_condition("uptime", "Stalled", "True", "InvalidPackage").await;
    scene.source.put("uptime.tgz", package("uptime", "1.0.0"));
    scene.sandbox.plugin_ready("uptime").await;
}

/// A tar file with an entry that leads out of the package.
fn archive_with_traversal() -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..13].copy_from_slice(b"../etc/passwd");
    header[100..107].copy_from_slice(b"0000644");
    header[108..115].copy_from_slice(b"0000000");
    header[116..123].copy_from_slice(b"0000000");
    header[124..135].copy_from_slice(b"00000000000");
    header[136..147].copy_from_slice(b"00000000000");
    header[148..156].copy_from_slice(b"        ");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    [header.as_slice(), &[0; 1024]].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pin_is_kept_and_a_corrected_one_heals() {
    let scene = Scene::new("pin").await;
    let bytes = package("uptime", "1.0.0");
    let url = scene.source.put("p.tgz", bytes.clone());
    let pin = |bytes: &[u8]| serde_json::to_value(Integrity::of(bytes).to_string()).unwrap();
    let spec = |pin: Value| json!({ "source": { "tarball": { "url": url } }, "integrity": pin });
    scene.sandbox.plugin("uptime", spec(pin(b"other"))).await;
    let plugin = scene.sandbox.plugin_condition("uptime", "Verified", "False", "IntegrityMismatch").await;
    assert!(message(&plugin, "Verified").contains(pin(&bytes).as_str().unwrap()), "the message helps to pin the right one");
    scene.sandbox.plugin_condition("uptime", "Resolved", "True", "Fetched").await;
    assert!(scene.store.lock().unwrap().is_empty(), "nothing unverified is stored");
    scene.sandbox.plugin("uptime", spec(pin(&bytes))).await;
    scene.sandbox.plugin_ready("uptime").await;
    scene.sandbox.plugin_condition("uptime", "Verified", "True", "IntegrityMatches").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secret_headers_are_sent_and_a_late_or_changed_secret_heals() {
    let scene = Scene::new("headers").await;
    let url = scene.source.put("private.tgz", package("uptime", "1.0.0"));
    scene.source.require("private.tgz", "private-token", "right");
    scene.sandbox.plugin("uptime", json!({ "source": { "tarball": { "url": url, "secretHeadersRef": { "name": "token" } } } })).await;
    let plugin = scene.sandbox.plugin_condition("uptime", "Resolved", "False", "SecretNotFound").await;
    assert!(message(&plugin, "Resolved").contains("'token'"));
    assert_eq!(scene.source.requests("private.tgz"), 0);
    scene.sandbox.secret("token", &[("PRIVATE-TOKEN", "wrong")]).await;
    scene.sandbox.plugin_condition("uptime", "Resolved", "False", "SourceForbidden").await;
    scene.sandbox.secret("token", &[("PRIVATE-TOKEN", "right")]).await;
    scene.sandbox.plugin_ready("uptime").await;
    // A rotated token is no reason to fetch again.
    let before = scene.source.requests("private.tgz");
    scene.sandbox.secret("token", &[("PRIVATE-TOKEN", "rotated")]).await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    scene.sandbox.plugin_ready("uptime").await;
    assert_eq!(scene.source.requests("private.tgz"), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_config_map_is_followed_and_no_longer_needed_once_it_was_read() {
    let scene = Scene::new("configmap").await;
    let config_map = |key: &str, bytes: Vec<u8>| json!({ "metadata": { "name": "package" }, "binaryData": { key: ByteString(bytes) } });
    scene.sandbox.plugin("uptime", json!({ "source": { "tarball": { "configMapRef": { "name": "package", "key": "p.tgz" } } } })).await;
    scene.sandbox.plugin_condition("uptime", "Resolved", "False", "ConfigMapNotFound").await;
    scene.sandbox.apply::<ConfigMap>(config_map("other.tgz", vec![1])).await;
    let plugin = scene
        .sandbox
        .wait("uptime", "the missing key is named", |plugin: &CheckstackPlugin| {
            plugin
                .status
                .as_ref()
                .is_some_and(|status| status.conditions.iter().any(|condition| condition.message.contains("no key 'p.tgz'")))
        })
        .await;
    drop(plugin);
    scene.sandbox.apply::<ConfigMap>(config_map("p.tgz", package("uptime", "1.0.0"))).await;
    scene.sandbox.plugin_ready("uptime").await;
    scene.sandbox.apply::<ConfigMap>(config_map("p.tgz", package("uptime", "1.1.0"))).await;
    scene
        .sandbox
        .wait("uptime", "1.1.0 is active", |plugin: &CheckstackPlugin| {
            let status = plugin.status.clone().unwrap_or_default();
            status.version.as_deref() == Some("1.1.0") && status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
        })
        .await;
    scene.sandbox.delete::<ConfigMap>("package").await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    scene.sandbox.plugin_ready("uptime").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_replaces_the_old_one_only_when_it_is_in_the_store() {
    let scene = Scene::new("upgrade").await;
    scene.plugin_from("uptime", &scene.source.put("1.tgz", package("uptime", "1.0.0"))).await;
    scene.sandbox.plugin_ready("uptime").await;
    let url = scene.source.fail("2.tgz", 503);
    scene.plugin_from("uptime", &url).await;
    let plugin = scene.sandbox.plugin_condition("uptime", "Ready", "False", "SourceUnreachable").await;
    assert_eq!(plugin.status.unwrap().version.as_deref(), Some("1.0.0"));
    scene.sandbox.plugin_condition("uptime", "Loaded", "True", "Active").await;
    assert_eq!(scene.pod.with(|pod| pod.set.plugins[0].version.clone()), "1.0.0");
    scene.source.put("2.tgz", package("uptime", "2.0.0"));
    let plugin = scene.sandbox.plugin_ready("uptime").await;
    assert_eq!(plugin.status.unwrap().version.as_deref(), Some("2.0.0"));
    assert_eq!(scene.pod.with(|pod| pod.set.plugins[0].version.clone()), "2.0.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_source_is_not_needed_any_more_and_a_lost_package_comes_back_from_it() {
    let scene = Scene::new("lost").await;
    let bytes = package("uptime", "1.0.0");
    scene.plugin_from("uptime", &scene.source.put("p.tgz", bytes.clone())).await;
    scene.sandbox.plugin_ready("uptime").await;
    assert_eq!(scene.source.requests("p.tgz"), 1);

    // The pod is replaced while the source is gone: the store has it.
    scene.source.fail("p.tgz", 404);
    let second = CorePod::start(&scene.sandbox, "main", "main-b", &scene.store).await;
    eventually("the second pod has the set", async || (second.revision() == scene.pod.revision()).then_some(())).await;
    scene.sandbox.plugin_ready("uptime").await;
    assert_eq!(scene.source.requests("p.tgz"), 1);

    // The database is a new one, and the source still gone.
    let forget = || {
        scene.store.lock().unwrap().clear();
        for pod in [&scene.pod, &second] {
            pod.with(|pod| pod.forget());
        }
    };
    forget();
    scene.sandbox.plugin_condition("uptime", "Materialized", "False", "ArtifactMissing").await;
    // It comes back with the source.
    scene.source.put("p.tgz", bytes);
    scene.sandbox.plugin_ready("uptime").await;
    assert!(scene.pod.calls("POST /.checkstack/reconcile") > 0, "pods are asked to try again");

    // The source has other bytes for what runs: nothing is taken silently.
    scene.source.put("p.tgz", package("uptime", "6.6.6"));
    forget();
    let plugin = scene
        .sandbox
        .wait("uptime", "the other package is named", |plugin: &CheckstackPlugin| {
            plugin.status.as_ref().is_some_and(|status| {
                status
                    .conditions
                    .iter()
                    .any(|condition| condition.type_ == "Materialized" && condition.message.contains("now sends another one"))
            })
        })
        .await;
    assert_eq!(plugin.status.unwrap().version.as_deref(), Some("1.0.0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_refuses_is_told_and_tried_again() {
    let scene = Scene::new("upload").await;
    scene.pod.with(|pod| pod.refusing = true);
    scene.plugin_from("uptime", &scene.source.put("p.tgz", package("uptime", "1.0.0"))).await;
    let plugin = scene.sandbox.plugin_condition("uptime", "Materialized", "False", "UploadFailed").await;
    assert!(message(&plugin, "Materialized").contains("its artifact store is not available"), "{}", message(&plugin, "Materialized"));
    scene.pod.with(|pod| pod.refusing = false);
    scene.sandbox.plugin_ready("uptime").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_around_a_plugin_decides_whether_it_runs() {
    let scene = Scene::new("around").await;
    let url = |name: &str| scene.source.put(&format!("{name}.tgz"), package(name, "1.0.0"));
    let from = |url: String| json!({ "source": { "tarball": { "url": url } } });

    // Somebody else's instance.
    scene
        .sandbox
        .plugin("lonely", json!({ "instanceRef": { "name": "nowhere" }, "source": { "tarball": { "url": url("lonely") } } }))
        .await;
    scene.sandbox.plugin_condition("lonely", "Ready", "False", "InstanceNotFound").await;
    assert_eq!(scene.source.requests("lonely.tgz"), 0);

    // Disabled, enabled, disabled.
    scene.sandbox.plugin("uptime", from(url("uptime"))).await;
    scene.sandbox.plugin_ready("uptime").await;
    scene.sandbox.merge::<CheckstackPlugin>("uptime", json!({ "spec": { "enabled": false } })).await;
    scene.sandbox.plugin_condition("uptime", "Ready", "False", "Disabled").await;
    eventually("the pod let go of it", async || scene.pod.with(|pod| pod.set.plugins.is_empty()).then_some(())).await;
    scene.sandbox.merge::<CheckstackPlugin>("uptime", json!({ "spec": { "enabled": true } })).await;
    scene.sandbox.plugin_ready("uptime").await;
    assert_eq!(scene.source.requests("uptime.tgz"), 1);

    // Two of one id: the older wins, and gives way when it goes.
    scene.sandbox.plugin("uptime-too", from(url("uptime"))).await;
    let plugin = scene.sandbox.plugin_condition("uptime-too", "Compatible", "False", "DuplicatePluginId").await;
    assert!(message(&plugin, "Compatible").contains("'uptime'"));
    scene.sandbox.plugin_ready("uptime").await;
    scene.sandbox.delete::<CheckstackPlugin>("uptime").await;
    scene.sandbox.wait_gone::<CheckstackPlugin>("uptime").await;
    scene.sandbox.plugin_ready("uptime-too").await;

    // A selector that does not match.
    scene
        .sandbox
        .merge::<checkstack_crds::Checkstack>(
            "main",
            json!({ "spec": { "plugins": { "selector": { "matchLabels": { "tier": "gold" } } } } }),
        )
        .await;
    scene.sandbox.plugin_condition("uptime-too", "Ready", "False", "NotSelected").await;
    scene.sandbox.merge::<CheckstackPlugin>("uptime-too", json!({ "metadata": { "labels": { "tier": "gold" } } })).await;
    scene.sandbox.plugin_ready("uptime-too").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secret_settings_reach_the_pods_sealed_and_a_changed_one_is_a_new_set() {
    let scene = Scene::new("secrets").await;
    let url = scene.source.put("p.tgz", package("uptime", "1.0.0"));
    let spec = json!({
        "source": { "tarball": { "url": url } },
        "config": { "interval": 5 },
        "configFrom": [{ "secretRef": { "name": "smtp", "key": "password" }, "as": "token" }],
    });
    scene.sandbox.plugin("uptime", spec.clone()).await;
    let plugin = scene.sandbox.plugin_condition("uptime", "Loaded", "False", "SecretNotFound").await;
    assert!(message(&plugin, "Loaded").contains("'smtp'"));
    scene.sandbox.secret("smtp", &[("password", "first-value")]).await;
    scene.sandbox.plugin_ready("uptime").await;
    let token = |scene: &Scene| scene.pod.with(|pod| serde_json::to_value(&pod.secrets).unwrap());
    assert_eq!(token(&scene), json!({ "uptime": { "token": "first-value" } }));

    // Changed: a new revision, nothing of it in the ConfigMap or in the history.
    let revision = scene.pod.revision();
    scene.sandbox.secret("smtp", &[("password", "second-value")]).await;
    eventually("the new value", async || (token(&scene) == json!({ "uptime": { "token": "second-value" } })).then_some(())).await;
    assert_eq!(scene.pod.revision(), revision + 1);
    let visible = [
        serde_json::to_string(&scene.sandbox.get::<ConfigMap>("main-plugins").await).unwrap(),
        serde_json::to_string(
            &scene.sandbox.get::<k8s_openapi::api::apps::v1::ControllerRevision>(&format!("main-{}", revision + 1)).await,
        )
        .unwrap(),
    ]
    .concat();
    assert!(!visible.contains("second-value") && visible.contains("hmac-sha256:"));

    // A pod that started with the set but without the values gets them again.
    scene.pod.with(|pod| pod.secrets = Default::default());
    scene.pod.fail("uptime", checkstack_control_api::report::PluginReason::SecretConfigMissing, "no values");
    eventually("the values again", async || (token(&scene) == json!({ "uptime": { "token": "second-value" } })).then_some(())).await;
    scene.pod.heal("uptime");
    scene.sandbox.plugin_ready("uptime").await;

    // Gone: the plugin goes on, and says so.
    scene.sandbox.delete::<k8s_openapi::api::core::v1::Secret>("smtp").await;
    let plugin = scene.sandbox.plugin_condition("uptime", "Loaded", "False", "SecretNotFound").await;
    assert!(message(&plugin, "Loaded").contains("goes on with the values from before"));
    assert_eq!(token(&scene), json!({ "uptime": { "token": "second-value" } }));
    assert_eq!(scene.pod.revision(), revision + 1);

    // A field from two places.
    scene.sandbox.secret("smtp", &[("password", "second-value")]).await;
    scene.sandbox.plugin_ready("uptime").await;
    let mut twice = spec;
    twice["config"]["token"] = json!("open");
    scene.sandbox.plugin("uptime", twice).await;
    scene.sandbox.plugin_condition("uptime", "Loaded", "False", "ConfigKeyConflict").await;
}
