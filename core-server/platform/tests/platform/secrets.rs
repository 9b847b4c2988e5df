//! Secrets in the configuration of a plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use checkstack_control_api::report::{PluginReason, PluginReport, PluginState, PodReport};
use checkstack_platform::native::{NativeParts, NativeServices};
use checkstack_platform::secrets::{Secret, SecretError, SecretRevision, SecretRevisions, Secrets};
use checkstack_settings::reference::SecretName;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::instance::{Instance, Pod, set};
use crate::packages::{Package, package};
use crate::scripted::{Script, Step};

/// Secrets in memory.
struct Kept {
    values: Mutex<BTreeMap<SecretName, Result<Secret, String>>>,
    revisions: watch::Sender<Option<Arc<SecretRevisions>>>,
}

impl Kept {
    fn new() -> Arc<Self> {
        Arc::new(Self { values: Mutex::default(), revisions: watch::Sender::new(None) })
    }

    fn set(&self, name: &str, value: Result<&str, &str>) {
        let name: SecretName = name.parse().unwrap();
        let mut values = self.values.lock().unwrap();
        let revision = SecretRevision(1 + values.get(&name).and_then(|before| Some(before.as_ref().ok()?.revision.0)).unwrap_or(0));
        values.insert(name, value.map(|value| Secret { value: value.into(), revision }).map_err(str::to_owned));
        let revisions = values.iter().filter_map(|(name, value)| Some((name.clone(), value.as_ref().ok()?.revision))).collect();
        self.revisions.send_replace(Some(Arc::new(revisions)));
    }
}

#[async_trait]
impl Secrets for Kept {
    async fn read(&self, names: &BTreeSet<SecretName>) -> Result<BTreeMap<SecretName, Secret>, SecretError> {
        let values = self.values.lock().unwrap();
        let found = names.iter().filter_map(|name| Some((name.clone(), values.get(name)?.clone())));
        found.map(|(name, value)| Ok((name.clone(), value.map_err(|problem| SecretError::Unreadable { name, problem })?))).collect()
    }

    fn revisions(&self) -> watch::Receiver<Option<Arc<SecretRevisions>>> {
        self.revisions.subscribe()
    }
}

async fn pod(instance: &Instance) -> (Pod, Arc<Kept>) {
    let kept = Kept::new();
    let secrets = kept.clone();
    let parts = move |_: NativeServices| Ok(NativeParts { secrets: Some(secrets), ..NativeParts::default() });
    let pod = instance.new_pod("pod").await;
    pod.platform.start(instance.loader(), parts).await.unwrap();
    (pod, kept)
}

fn mail(config: Value, granted: &[&str]) -> Package {
    let mut package = package("mail", &[]);
    package.entry.config = config.as_object().unwrap().clone();
    package.entry.grants.secrets = granted.iter().map(|name| (*name).to_owned()).collect();
    package
}

async fn offer(pod: &Pod, revision: u64, package: &Package) {
    pod.upload(package).await;
    assert_eq!(pod.deliver(&set(revision, &[package])).await.status(), 202);
}

/// What the pod says of the plugin, once it says that.
async fn until(pod: &Pod, says: impl Fn(&PluginReport) -> bool) -> PluginReport {
    let of = |report: &PodReport| report.plugins.iter().find(|plugin| plugin.plugin_id.as_str() == "mail" && says(plugin)).cloned();
    of(&pod.wait_for(|report| of(report).is_some()).await).unwrap()
}

async fn config(pod: &Pod) -> Value {
    let answer = pod.client.get(format!("{}/api/mail/", pod.address)).send().await.unwrap();
    answer.json::<Value>().await.unwrap()["config"].clone()
}

#[tokio::test]
async fn a_configuration_has_the_secrets_that_it_is_granted_and_follows_them() {
    let instance = Instance::new().await;
    let (pod, kept) = pod(&instance).await;
    let package = mail(json!({ "url": "smtp://app:${{ secrets.smtp }}@mail", "port": 25 }), &["smtp"]);
    offer(&pod, 1, &package).await;
    let report = until(&pod, |plugin| plugin.state == PluginState::Failed).await;
    assert_eq!((report.reason, report.terminal), (PluginReason::SecretMissing, false));
    assert!(report.message.contains("there is no secret `smtp`, which `url` refers to"), "{}", report.message);

    kept.set("smtp", Ok("first-password"));
    until(&pod, |plugin| plugin.state == PluginState::Active).await;
    assert_eq!(config(&pod).await, json!({ "url": "smtp://app:first-password@mail", "port": 25 }));
    let masker = instance.scripts.services("mail").masker.unwrap();
    assert_eq!(masker.text("with first-password"), "with ****");

    // Nobody notices, but for the new value.
    kept.set("smtp", Ok("second-password"));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while config(&pod).await["url"] != "smtp://app:second-password@mail" {
        assert!(std::time::Instant::now() < deadline, "the plugin still has the first value");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }

    instance.scripts.set("mail", Script { init: Step::fails("wrong password"), ..Script::default() });
    kept.set("smtp", Ok("third-password"));
    let report = until(&pod, |plugin| !plugin.message.is_empty()).await;
    assert_eq!(report.state, PluginState::Active);
    assert!(report.message.contains("goes on with the values that its secrets had before: wrong password"), "{}", report.message);
    assert_eq!(config(&pod).await["url"], "smtp://app:second-password@mail");
    let metrics = pod.client.get(format!("{}/.checkstack/metrics", pod.address)).send().await.unwrap().text().await.unwrap();
    let counted = |outcome: &str| {
        let of = format!(r#"checkstack_secret_reads_total{{plugin="mail",outcome="{outcome}"}} "#);
        metrics.lines().find_map(|line| line.strip_prefix(&of)?.parse::<u32>().ok()).unwrap_or(0)
    };
    // What fails is tried again.
    assert!(counted("missing") >= 1 && counted("resolved") >= 3, "{metrics}");
    assert!(!metrics.contains("password"), "{metrics}");
}

#[tokio::test]
async fn what_is_not_granted_malformed_or_unreadable_is_named() {
    let instance = Instance::new().await;
    let (pod, kept) = pod(&instance).await;
    kept.set("smtp", Ok("first-password"));
    kept.set("broken", Err("no key fits"));
    let cases = [
        (
            json!({ "a": ["${{ secrets.smtp }}"] }),
            &[][..],
            PluginReason::InvalidConfig,
            "`a[0]` refers to the secret `smtp`: add it to spec.grants.secrets",
        ),
        (json!({ "a": "${{ secrets.sm tp }}" }), &["smtp"][..], PluginReason::InvalidConfig, "`a` has a malformed reference"),
        (
            json!({ "a": "${{ secrets.broken }}" }),
            &["broken"][..],
            PluginReason::SecretMissing,
            "the secret `broken` cannot be read: no key fits",
        ),
    ];
    for (revision, (config, granted, reason, message)) in (1..).zip(cases) {
        offer(&pod, revision, &mail(config, granted)).await;
        let report =
            until(&pod, |plugin| plugin.state == PluginState::Failed && plugin.reason == reason && plugin.message.contains(message)).await;
        assert!(!report.message.contains("first-password"), "{}", report.message);
    }
    let metrics = pod.client.get(format!("{}/.checkstack/metrics", pod.address)).send().await.unwrap().text().await.unwrap();
    for outcome in ["invalid", "unreadable"] {
        let counted = format!(r#"checkstack_secret_reads_total{{plugin="mail",outcome="{outcome}"}} "#);
        assert!(metrics.contains(&counted), "{outcome} is missing in {metrics}");
    }
}
