//! The signing key is exchanged while everything goes on (docs/decisions/0002). What only a real kubelet shows: the
//! new public key reaches pods that run, in the volume of a Secret, in the kubelet's own time.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use checkstack_control_api::keys::{NEXT_SIGNING_KEY_FILE, PUBLIC_KEYS_FILE, SEALING_KEY_FILE, SIGNING_KEY_FILE};
use checkstack_control_api::{SigningKey, VerifyingKeys, paths, token};
use checkstack_e2e::eventually::{always, eventually, throughout};
use checkstack_e2e::instance::{INSTANCE, PATIENCE};
use checkstack_e2e::namespace::Namespace;
use checkstack_plugin_package::Digest;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use crate::shared_operator;

/// The kubelet looks at the Secrets of a pod every minute, and may see them a minute late.
const KUBELET: Duration = Duration::from_secs(150);

/// What is in the Secret with the keys.
struct Keys {
    signing: SigningKey,
    next: Option<SigningKey>,
    public: BTreeSet<String>,
    sealing: ByteString,
}

impl Keys {
    async fn of(ns: &Namespace) -> Result<Self> {
        let secret: Secret = serde_json::from_value(ns.get("secret/main-keys").await?)?;
        let data = secret.data.context("an empty Secret")?;
        let entry = |name: &str| data.get(name).with_context(|| format!("no {name}"));
        Ok(Self {
            signing: SigningKey::from_pem(&entry(SIGNING_KEY_FILE)?.0)?,
            next: data.get(NEXT_SIGNING_KEY_FILE).map(|pem| SigningKey::from_pem(&pem.0)).transpose()?,
            public: VerifyingKeys::from_json(&entry(PUBLIC_KEYS_FILE)?.0)?.key_ids().map(str::to_owned).collect(),
            sealing: entry(SEALING_KEY_FILE)?.clone(),
        })
    }
}

fn ids(keys: &[&SigningKey]) -> BTreeSet<String> {
    keys.iter().map(|key| key.key_id().to_owned()).collect()
}

/// The keys that a pod says it accepts.
async fn accepted(ns: &Namespace, pod: &str) -> Result<BTreeSet<String>> {
    let report = ns.cluster.request("GET", &ns.name, &format!("pods/{pod}:3000"), paths::PLUGINS, "").await?.json()?;
    Ok(report["acceptedKeys"]
        .as_array()
        .with_context(|| report.to_string())?
        .iter()
        .filter_map(|id| id.as_str().map(str::to_owned))
        .collect())
}

async fn eventually_accepted(ns: &Namespace, pods: &[String], keys: &BTreeSet<String>) -> Result<()> {
    for pod in pods {
        eventually("the pod accepts the keys of the Secret and no others", KUBELET, || async {
            let now = accepted(ns, pod).await?;
            ensure!(now == *keys, "{pod} accepts {now:?}, not {keys:?}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Both samples answer, and no pod was restarted or replaced.
async fn all_is_well(ns: &Namespace, pods: &[String]) -> Result<()> {
    for path in ["/rest/uptime/targets", "/api/status-page/summary.json"] {
        let answer = ns.http_get(INSTANCE, path).await?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
    }
    ns.ensure_core_pods_ready(pods.len()).await?;
    let now = ns.core_pod_names().await?;
    ensure!(now.iter().all(|pod| pods.contains(pod)), "{now:?} instead of {pods:?}");
    Ok(())
}

/// A new setting gets into both pods, which means that they accept what the operator sends now.
async fn change_reaches_the_pods(ns: &Namespace, title: &str) -> Result<()> {
    let mut spec = checkstack_e2e::instance::status_page();
    spec["config"]["title"] = title.into();
    ns.apply_plugin("status-page", spec).await?;
    ns.await_plugin_ready("status-page").await?;
    for pod in ns.core_pod_names().await? {
        let page = ns.cluster.request("GET", &ns.name, &format!("pods/{pod}:3000"), "/api/status-page/", "").await?;
        ensure!(page.status == 200 && page.body.contains(title), "{pod}: {page:?}");
    }
    Ok(())
}

/// How a pod answers to a call that is right but for the set in it, signed with this key.
async fn call_signed_with(ns: &Namespace, pod: &str, key: &SigningKey) -> Result<(u16, String)> {
    let audience = format!("{}/{INSTANCE}", ns.name);
    let token = token::sign(key, &audience, "PUT", paths::PLUGIN_SET, Some(&Digest::of(b"{}")), SystemTime::now())?;
    let answer = ns.port_forward(pod).await?.request("PUT", paths::PLUGIN_SET, Some(&token), "{}").await?;
    Ok((answer.status, answer.json()?["error"].as_str().unwrap_or_default().to_owned()))
}

#[tokio::test]
async fn the_signing_key_is_exchanged_and_nobody_notices() -> Result<()> {
    let _operator = shared_operator().await;
    let ns = Namespace::create("key-rotation").await?;
    ns.bring_up_instance(2).await?;
    ns.install_samples().await?;
    ns.await_core_pods_ready(2).await?;
    let (pods, before) = (ns.core_pod_names().await?, Keys::of(&ns).await?);
    let old = ids(&[&before.signing]);
    assert_eq!((&before.public, before.next.is_none()), (&old, true));
    eventually_accepted(&ns, &pods, &old).await?;
    let generation = ns.get("deployment/main").await?["metadata"]["generation"].clone();
    let grace = ns.operator_setting("CHECKSTACK_SIGNING_KEY_GRACE_SECONDS").await?.map_or(Ok(600), |seconds| seconds.parse())?;

    let story = async {
        ns.kubectl(&["annotate", "checkstack/main", "checkstack.io/rotate-signing-key=first"]).await?;
        // Announced: pods learn the new key, and the old one signs until they have.
        let announced = eventually("a new key is announced", PATIENCE, || async {
            let keys = Keys::of(&ns).await?;
            ensure!(keys.next.is_some(), "no {NEXT_SIGNING_KEY_FILE}");
            Ok(keys)
        })
        .await?;
        let next = announced.next.context("no next key")?;
        assert_eq!(announced.signing.key_id(), before.signing.key_id());
        let both = ids(&[&before.signing, &next]);
        assert_eq!((announced.public, both.len()), (both.clone(), 2));
        change_reaches_the_pods(&ns, "Announced").await?;

        // Switched, when every pod has it.
        let switched = eventually("the new key signs", KUBELET + PATIENCE, || async {
            let keys = Keys::of(&ns).await?;
            ensure!(keys.next.is_none(), "still only announced");
            Ok(keys)
        })
        .await?;
        assert_eq!((switched.signing.key_id(), &switched.public), (next.key_id(), &both));
        for pod in &pods {
            assert_eq!(accepted(&ns, pod).await?, both, "{pod} at the time of the switch");
        }
        change_reaches_the_pods(&ns, "Switched").await?;
        // A call that was on its way is not refused for its signature.
        assert_eq!(call_signed_with(&ns, &pods[0], &before.signing).await?, (422, "invalid_set".to_owned()));

        // Retired: nobody accepts the old one any more.
        eventually("the old public key is gone", Duration::from_secs(grace) + PATIENCE, || async {
            let keys = Keys::of(&ns).await?;
            ensure!(keys.public == ids(&[&next]), "{:?}", keys.public);
            Ok(())
        })
        .await?;
        eventually_accepted(&ns, &pods, &ids(&[&next])).await?;
        assert_eq!(call_signed_with(&ns, &pods[0], &before.signing).await?, (401, "unknown_key".to_owned()));
        change_reaches_the_pods(&ns, "Retired").await?;
        Ok(next)
    };
    let next = throughout("the plugins answer and no pod restarts", || all_is_well(&ns, &pods), story).await?;

    // One request, one key; said once; and nothing else was exchanged.
    let done = || async {
        let keys = Keys::of(&ns).await?;
        ensure!(keys.signing.key_id() == next.key_id() && keys.next.is_none() && keys.sealing == before.sealing, "it goes on");
        Ok(())
    };
    always("that was all", Duration::from_secs(5), done).await?;
    let events = ns.events(INSTANCE).await?;
    let told: Vec<_> = events.iter().filter(|(_, reason, _)| reason == "SigningKeyRotated").collect();
    let [(kind, _, note)] = told.as_slice() else { anyhow::bail!("told {} times", told.len()) };
    ensure!(kind == "Normal" && note.contains(next.key_id()), "{note}");
    ensure!(!events.iter().any(|(kind, ..)| kind == "Warning"), "{events:?}");
    assert_eq!(ns.get("deployment/main").await?["metadata"]["generation"], generation, "the pod template was changed");

    // A pod that starts now finds a set that is signed with the only key it knows.
    ns.kubectl(&["delete", "pod", &pods[0]]).await?;
    eventually("the new pod is ready", PATIENCE, || async {
        ensure!(!ns.core_pod_names().await?.contains(&pods[0]), "the old pod");
        ns.ensure_core_pods_ready(2).await
    })
    .await?;
    for pod in ns.core_pod_names().await? {
        assert_eq!(accepted(&ns, &pod).await?, ids(&[&next]));
        let page = ns.cluster.request("GET", &ns.name, &format!("pods/{pod}:3000"), "/api/status-page/", "").await?;
        ensure!(page.status == 200 && page.body.contains("Retired"), "{page:?}");
    }
    ns.await_condition("checkstack/main", "Ready", "True", "", PATIENCE).await?;
    ns.remove().await
}
