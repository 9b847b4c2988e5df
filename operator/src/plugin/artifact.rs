//! Brings the package of a plugin from its source into the artifact store: fetch, verify, upload.
//!
//! The source is read once for a given spec. After that it need not be reachable, as long as the
//! store keeps the package.

use std::time::{Duration, Instant};

use checkstack_control_api::report::PluginReason;
use checkstack_crds::conditions::{PluginConditionReason as Reason, PluginConditionType as Type, is_true};
use checkstack_crds::{CheckstackPlugin, CheckstackPluginStatus};
use checkstack_plugin_package::Digest;
use kube::{Resource, ResourceExt};
use rand::RngExt;

use super::PluginError;
use super::memory::{Attempt, Identity, StoreAttempt, until};
use super::package::{Facts, Failure, judge, source_key};
use super::status::{Artifact, Store};
use crate::context::Context;
use crate::fetch::{FetchError, FetchedPackage, SecretHeaders, read_config_map};
use crate::object_key::ObjectKey;
use crate::references::Reference;
use crate::telemetry::FetchSource;

/// How often a running fetch looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(500);

/// How far the package is, and when to come back for it.
pub(crate) struct Progress {
    pub(crate) artifact: Artifact,
    pub(crate) again_in: Option<Duration>,
}

/// What is known before anything is tried.
pub(crate) enum Known {
    /// The package was verified before.
    Verified { facts: Facts, store: StoreAttempt },
    /// It was tried, and it is not time to try again.
    Failed { failure: Failure, again_in: Option<Duration> },
    /// The source has to be read.
    Nothing,
}

/// Looks what is known about the source that the spec names now.
pub(crate) async fn known(context: &Context, plugin: &CheckstackPlugin) -> Result<(Identity, Known), PluginError> {
    let identity = identity(context, plugin).await?;
    let uid = plugin.uid().unwrap_or_default();
    if let Some(attempt) = context.plugin_memory.get(&uid).filter(|attempt| attempt.identity == identity) {
        let known = match (attempt.outcome, attempt.retry_at) {
            (Ok(facts), _) => Known::Verified { facts, store: attempt.store },
            (Err(_), Some(at)) if until(at).is_zero() => Known::Nothing,
            (Err(failure), retry_at) => Known::Failed { failure, again_in: retry_at.map(until) },
        };
        return Ok((identity, known));
    }
    let status = plugin.status.as_ref();
    let known = match status.and_then(Facts::from_status).filter(|facts| facts.source == identity.source) {
        // A ConfigMap may have been changed while no operator looked. One that is gone is no longer
        // needed.
        Some(facts) if config_map(plugin).is_none() || identity.referenced.is_none() => {
            let stored = status.is_some_and(is_stored);
            Known::Verified { facts, store: StoreAttempt { stored, ..StoreAttempt::default() } }
        }
        _ => Known::Nothing,
    };
    Ok((identity, known))
}

/// Reads the source if that is needed. What comes is a package, and its bytes if they were just read.
pub(crate) async fn resolve(
    context: &Context,
    plugin: &CheckstackPlugin,
    identity: &Identity,
    known: Known,
) -> Result<Result<Resolved, Progress>, PluginError> {
    let failed = |failure, again_in| Ok(Err(Progress { artifact: Artifact::Failed(failure), again_in }));
    match known {
        Known::Failed { failure, again_in } => failed(failure, again_in),
        Known::Verified { facts, store } => Ok(Ok(Resolved { facts, store, package: None })),
        Known::Nothing => match read_source(context, plugin, identity).await? {
            Ok((facts, package)) => {
                let status = plugin.status.as_ref();
                let stored = status.is_some_and(|status| status.digest == Some(facts.digest.to_string()) && is_stored(status));
                Ok(Ok(Resolved { facts, store: StoreAttempt { stored, ..StoreAttempt::default() }, package: Some(package) }))
            }
            Err((failure, again_in)) => failed(failure, again_in),
        },
    }
}

/// A verified package on its way into the store.
pub(crate) struct Resolved {
    pub(crate) facts: Facts,
    pub(crate) store: StoreAttempt,
    package: Option<FetchedPackage>,
}

impl Resolved {
    /// Whether an upload is about to begin that is worth telling of.
    pub(crate) fn will_upload(&self, context: &Context, plugin: &CheckstackPlugin) -> bool {
        let callable = || context.fleets.callable(&instance_key(plugin));
        self.package.is_some() && !self.store.stored && callable().is_some_and(|callable| callable.pods().next().is_some())
    }
}

/// Makes sure that the store has the package.
pub(crate) async fn store(
    context: &Context,
    plugin: &CheckstackPlugin,
    identity: Identity,
    resolved: Resolved,
) -> Result<Progress, PluginError> {
    let (facts, store) = bring_into_store(context, plugin, resolved).await?;
    let again_in = store.retry_at.map(until);
    let shown = match (&store.failure, store.stored) {
        (Some(failure), _) => failure.clone(),
        (None, true) => Store::Stored,
        (None, false) => Store::WaitingForPod,
    };
    let attempt = Attempt { identity, outcome: Ok(facts.clone()), retry_at: None, store };
    context.plugin_memory.put(&plugin.uid().unwrap_or_default(), attempt);
    Ok(Progress { artifact: Artifact::Verified { facts, store: shown }, again_in })
}

type Resolution = Result<(Facts, FetchedPackage), (Failure, Option<Duration>)>;

/// Reads the source and judges what comes.
async fn read_source(context: &Context, plugin: &CheckstackPlugin, identity: &Identity) -> Result<Resolution, PluginError> {
    let uid = plugin.uid().unwrap_or_default();
    let result = match fetch(context, plugin).await? {
        Ok(package) => {
            let judged = judge_package(&package, plugin, identity.source).await?;
            judged.map(|facts| (facts, package))
        }
        Err(error) => Err(Failure::from(&error)),
    };
    Ok(match result {
        Ok(found) => {
            context.plugin_backoff.succeeded(&uid);
            Ok(found)
        }
        Err(failure) => {
            let pause = pause_after(context, plugin, identity, &failure);
            tracing::info!(reason = failure.reason.as_str(), message = failure.message, "the package cannot be used");
            let attempt = Attempt {
                identity: identity.clone(),
                outcome: Err(failure.clone()),
                retry_at: pause.map(|pause| Instant::now() + pause),
                store: StoreAttempt::default(),
            };
            context.plugin_memory.put(&uid, attempt);
            Err((failure, pause))
        }
    })
}

/// When the source is worth another look. A ConfigMap says so itself when it changes; behind a URL somebody may publish
/// something better without a word.
fn pause_after(context: &Context, plugin: &CheckstackPlugin, identity: &Identity, failure: &Failure) -> Option<Duration> {
    let uid = plugin.uid().unwrap_or_default();
    if failure.transient {
        return Some(context.plugin_backoff.failed(uid, context.hash(&(identity, failure.reason.as_str()))));
    }
    config_map(plugin).is_none().then(|| context.settings.refetch.mul_f64(rand::rng().random_range(0.8..=1.2)))
}

/// Reads the source, unless the plugin is changed meanwhile.
async fn fetch(context: &Context, plugin: &CheckstackPlugin) -> Result<Result<FetchedPackage, FetchError>, PluginError> {
    tokio::select! {
        fetched = fetch_now(context, plugin) => Ok(fetched),
        () = superseded(context, plugin) => Err(PluginError::Superseded),
    }
}

async fn fetch_now(context: &Context, plugin: &CheckstackPlugin) -> Result<FetchedPackage, FetchError> {
    let namespace = plugin.namespace().unwrap_or_default();
    if let Some((name, key)) = config_map(plugin) {
        let read = read_config_map(&context.client, &namespace, name, key);
        return context.slots.fetch(FetchSource::ConfigMap, read).await;
    }
    let tarball = plugin.spec.source.tarball.as_ref();
    let url = tarball.and_then(|tarball| tarball.url.as_deref()).unwrap_or_default();
    let headers = match tarball.and_then(|tarball| tarball.secret_headers_ref.as_ref()) {
        None => SecretHeaders::default(),
        Some(reference) => secret_headers(context, &namespace, &reference.name).await?,
    };
    context.slots.fetch(FetchSource::Url, context.http.fetch(url, &headers)).await
}

async fn secret_headers(context: &Context, namespace: &str, name: &str) -> Result<SecretHeaders, FetchError> {
    let found = context.references.secret(&ObjectKey::new(namespace, name)).await.map_err(|error| {
        tracing::warn!(%error, "a Secret with headers cannot be read");
        FetchError::Kubernetes { what: format!("Secret '{name}'") }
    })?;
    let secret = found.ok_or_else(|| FetchError::SecretNotFound { name: name.to_owned() })?;
    let entries = secret.data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.as_slice()));
    SecretHeaders::from_entries(name, entries)
}

/// Ends when the object is no longer the one that is being worked on.
async fn superseded(context: &Context, plugin: &CheckstackPlugin) {
    let reference = ObjectKey::of(plugin).to_ref();
    loop {
        tokio::time::sleep(LOOK).await;
        let current = context.plugins.get(&reference);
        let same = current.is_some_and(|current| {
            let (now, then) = (current.meta(), plugin.meta());
            now.uid == then.uid && now.generation == then.generation && now.deletion_timestamp.is_none()
        });
        if !same {
            return;
        }
    }
}

/// Unpacking and hashing take a while; other plugins must not wait for it.
async fn judge_package(package: &FetchedPackage, plugin: &CheckstackPlugin, source: Digest) -> Result<Result<Facts, Failure>, PluginError> {
    let (bytes, pin) = (package.bytes.clone(), plugin.spec.integrity.clone());
    tokio::task::spawn_blocking(move || judge(&bytes, pin.as_deref(), source)).await.map_err(|_| PluginError::Interrupted)
}

/// Asks one pod after the other. May come to another package than the one that was verified before:
/// when the store does not have that one, and the source has moved on.
async fn bring_into_store(context: &Context, plugin: &CheckstackPlugin, resolved: Resolved) -> Result<(Facts, StoreAttempt), PluginError> {
    let Resolved { mut facts, store, mut package } = resolved;
    let uid = plugin.uid().unwrap_or_default();
    let complaint = complaint(context, plugin, &facts.digest);
    if store.stored && complaint.is_none() {
        context.plugin_backoff.succeeded(&uid);
        return Ok((facts, StoreAttempt { stored: true, ..StoreAttempt::default() }));
    }
    if store.retry_at.is_some_and(|at| !until(at).is_zero()) {
        return Ok((facts, store));
    }
    let Some(callable) = context.fleets.callable(&instance_key(plugin)).filter(|callable| callable.pods().next().is_some()) else {
        return Ok((facts, StoreAttempt { stored: store.stored, ..StoreAttempt::default() }));
    };
    let cause = context.hash(&("store", facts.digest.to_string()));
    let retry_at = || Some(Instant::now() + context.plugin_backoff.failed(uid.clone(), cause));
    let mut problem = String::new();
    for (name, pod) in callable.pods() {
        let client = context.fleets.client();
        let has = match complaint {
            Some(PluginReason::ArtifactCorrupt) => Ok(false),
            _ => client.has_artifact(pod, &facts.digest).await,
        };
        let stored = match has {
            Ok(true) => Ok(()),
            Ok(false) => {
                if package.is_none() {
                    match read_again(context, plugin, &facts).await? {
                        Ok((read, newest)) => (package, facts) = (Some(read), newest),
                        Err(failure) => return Ok((facts, StoreAttempt { stored: false, retry_at: retry_at(), failure: Some(failure) })),
                    }
                }
                let bytes = package.as_ref().map(|package| package.bytes.clone()).unwrap_or_default();
                client.put_artifact(pod, &facts.digest, bytes).await
            }
            Err(error) => Err(error),
        };
        match stored {
            Ok(()) if complaint.is_some() => {
                // Those that complained need to hear of it. They are looked at again after a pause.
                poke(context, plugin).await;
                return Ok((facts, StoreAttempt { stored: true, retry_at: retry_at(), failure: None }));
            }
            Ok(()) => {
                context.plugin_backoff.succeeded(&uid);
                return Ok((facts, StoreAttempt { stored: true, ..StoreAttempt::default() }));
            }
            Err(error) => problem = format!("pod {name} did not take the package: {error}"),
        }
    }
    let failure = Store::Failed { reason: Reason::UploadFailed, message: problem };
    Ok((facts, StoreAttempt { stored: false, retry_at: retry_at(), failure: Some(failure) }))
}

/// Reads the source again for a package that the store does not have. As long as nothing runs that
/// package, the source may have moved on.
async fn read_again(
    context: &Context,
    plugin: &CheckstackPlugin,
    facts: &Facts,
) -> Result<Result<(FetchedPackage, Facts), Store>, PluginError> {
    let lost = |message: String| {
        let message = format!("the artifact store does not have the package {}, and {message}", facts.digest);
        Store::Failed { reason: Reason::ArtifactMissing, message }
    };
    let package = match fetch(context, plugin).await? {
        Ok(package) => package,
        Err(error) => return Ok(Err(lost(format!("it cannot be read again: {error}")))),
    };
    let judged = judge_package(&package, plugin, facts.source).await?;
    Ok(match judged {
        Ok(found) if found.digest == facts.digest || !runs(context, plugin, &facts.digest) => Ok((package, found)),
        Ok(found) => Err(lost(format!(
            "the source now sends another one, {}: publish the old one again, or change spec.source or spec.integrity to take the new one",
            found.digest
        ))),
        Err(failure) => Err(lost(format!("the source now sends one that cannot be used: {}", failure.message))),
    })
}

/// Asks the pods to try again.
async fn poke(context: &Context, plugin: &CheckstackPlugin) {
    let instance = instance_key(plugin);
    let Some(callable) = context.fleets.callable(&instance) else { return };
    for (name, pod) in callable.pods() {
        if let Err(error) = context.fleets.client().reconcile(pod).await {
            tracing::warn!(pod = name, %error, "the pod could not be asked to try again; it does so by itself");
        }
    }
    context.fleets.look_again(&instance);
}

/// What pods say is wrong with the package in the store.
fn complaint(context: &Context, plugin: &CheckstackPlugin, digest: &Digest) -> Option<PluginReason> {
    let view = context.fleets.view(&instance_key(plugin))?;
    let resource = plugin.name_any();
    view.pods.iter().filter_map(|pod| pod.plugin(&resource)).find_map(|row| {
        let about_this = row.desired.as_ref().is_some_and(|desired| desired.digest == *digest);
        (about_this && matches!(row.reason, PluginReason::ArtifactMissing | PluginReason::ArtifactCorrupt)).then_some(row.reason)
    })
}

/// Whether the plugin set has this very package.
fn runs(context: &Context, plugin: &CheckstackPlugin, digest: &Digest) -> bool {
    let view = context.fleets.view(&instance_key(plugin));
    view.is_some_and(|view| view.target.entry(&plugin.name_any()).is_some_and(|entry| entry.digest == *digest))
}

fn is_stored(status: &CheckstackPluginStatus) -> bool {
    is_true(&status.conditions, Type::Materialized.as_str())
}

async fn identity(context: &Context, plugin: &CheckstackPlugin) -> Result<Identity, PluginError> {
    let source = source_key(&plugin.spec).map_err(PluginError::Serialize)?;
    let reference = source_reference(plugin);
    let referenced = match &reference {
        None => None,
        Some(reference) => match context.references.fingerprint(reference) {
            Some(fingerprint) => Some(fingerprint),
            None => {
                context.references.look_at(reference).await?;
                context.references.fingerprint(reference)
            }
        },
    };
    Ok(Identity { source, referenced })
}

/// What the source depends on besides the spec.
pub(crate) fn source_reference(plugin: &CheckstackPlugin) -> Option<Reference> {
    let namespace = plugin.namespace().unwrap_or_default();
    let tarball = plugin.spec.source.tarball.as_ref()?;
    let config_map = tarball.config_map_ref.as_ref().map(|reference| Reference::ConfigMap(ObjectKey::new(&namespace, &reference.name)));
    let secret = tarball.secret_headers_ref.as_ref().map(|reference| Reference::Secret(ObjectKey::new(&namespace, &reference.name)));
    config_map.or(secret)
}

fn config_map(plugin: &CheckstackPlugin) -> Option<(&str, &str)> {
    let reference = plugin.spec.source.tarball.as_ref()?.config_map_ref.as_ref()?;
    Some((&reference.name, &reference.key))
}

/// The instance that the plugin names.
pub(crate) fn instance_key(plugin: &CheckstackPlugin) -> ObjectKey {
    ObjectKey::new(plugin.namespace().unwrap_or_default(), &plugin.spec.instance_ref.name)
}
