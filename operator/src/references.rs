//! Secrets and ConfigMaps that an admin names in a spec.
//!
//! The operator may read Secrets by name, but neither list nor watch them: a watch would show it
//! every Secret of the cluster. So those that are named somewhere are read again every 30 s
//! ([`REREAD`]), and whoever depends on one that changed is reconciled. What they hold is
//! not kept, only a fingerprint that has no meaning outside this process. ConfigMaps are treated
//! the same way, by their metadata alone.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, ResourceExt};

use crate::error::{KubernetesContext, KubernetesError};
use crate::object_key::ObjectKey;
use crate::wake::Wake;

/// How often what is referenced is read again, unless told otherwise.
pub const REREAD: Duration = Duration::from_secs(30);
/// How many are read at once.
const CONCURRENT_READS: usize = 4;

/// An object that a spec names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reference {
    Secret(ObjectKey),
    ConfigMap(ObjectKey),
}

/// An object whose spec names others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dependent {
    Instance(ObjectKey),
    Plugin(ObjectKey),
}

/// Reads referenced objects and notices when they change.
pub(crate) struct References {
    client: Client,
    instances: Wake,
    plugins: Wake,
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    of: BTreeMap<Dependent, BTreeSet<Reference>>,
    /// What some spec names, and nothing else.
    named: BTreeMap<Reference, Named>,
}

#[derive(Default)]
struct Named {
    by: BTreeSet<Dependent>,
    /// None until it has been read.
    seen: Option<Fingerprint>,
}

/// None: the object does not exist.
type Fingerprint = Option<u64>;

impl State {
    /// Takes the same time however many objects name others.
    fn depends_on(&mut self, dependent: Dependent, references: BTreeSet<Reference>) {
        let before = self.of.remove(&dependent).unwrap_or_default();
        for reference in before.difference(&references) {
            if let Some(named) = self.named.get_mut(reference)
                && named.by.remove(&dependent)
                && named.by.is_empty()
            {
                self.named.remove(reference);
            }
        }
        for reference in references.difference(&before) {
            self.named.entry(reference.clone()).or_default().by.insert(dependent.clone());
        }
        if !references.is_empty() {
            self.of.insert(dependent, references);
        }
    }

    /// Remembers what was seen, and gives those whom it concerns when it is not what was seen before.
    fn note(&mut self, reference: &Reference, fingerprint: Fingerprint) -> Vec<Dependent> {
        let Some(named) = self.named.get_mut(reference) else { return Vec::new() };
        match named.seen.replace(fingerprint) {
            Some(before) if before != fingerprint => named.by.iter().cloned().collect(),
            _ => Vec::new(),
        }
    }
}

impl References {
    pub(crate) fn new(client: Client, instances: Wake, plugins: Wake) -> Self {
        Self { client, instances, plugins, hasher: RandomState::new(), state: Mutex::default() }
    }

    /// Says what an object depends on now, instead of what it did before.
    pub(crate) fn depends_on(&self, dependent: Dependent, references: BTreeSet<Reference>) {
        self.state().depends_on(dependent, references);
    }

    /// Forgets what objects depend on, but for those to be kept.
    pub(crate) fn retain(&self, keep: impl Fn(&Dependent) -> bool) {
        let mut state = self.state();
        let gone: Vec<Dependent> = state.of.keys().filter(|dependent| !keep(dependent)).cloned().collect();
        gone.into_iter().for_each(|dependent| state.depends_on(dependent, BTreeSet::new()));
    }

    /// Reads a Secret.
    pub(crate) async fn secret(&self, key: &ObjectKey) -> Result<Option<Secret>, KubernetesError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &key.namespace);
        let secret = api.get_opt(&key.name).await.during("read", || format!("Secret '{}'", key.name))?;
        let content = secret.as_ref().map(|secret| {
            let entries: Vec<_> = secret.data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.as_slice())).collect();
            self.hasher.hash_one((secret.uid(), entries))
        });
        self.note(&Reference::Secret(key.clone()), content);
        Ok(secret)
    }

    /// Looks whether an object has changed.
    pub(crate) async fn look_at(&self, reference: &Reference) -> Result<(), KubernetesError> {
        match reference {
            Reference::Secret(key) => self.secret(key).await.map(drop),
            Reference::ConfigMap(key) => self.look_at_config_map(key).await,
        }
    }

    async fn look_at_config_map(&self, key: &ObjectKey) -> Result<(), KubernetesError> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &key.namespace);
        let metadata = api.get_metadata_opt(&key.name).await.during("read", || format!("ConfigMap '{}'", key.name))?;
        let version = metadata.map(|object| self.hasher.hash_one((object.uid(), object.resource_version())));
        self.note(&Reference::ConfigMap(key.clone()), version);
        Ok(())
    }

    /// The fingerprint of an object when it was last read.
    pub(crate) fn fingerprint(&self, reference: &Reference) -> Option<u64> {
        self.state().named.get(reference)?.seen.flatten()
    }

    /// Reads everything again, for ever.
    pub(crate) async fn run(&self, pause: Duration) {
        let mut ticks = tokio::time::interval(pause);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            self.reread().await;
        }
    }

    /// Reads everything again, once.
    pub(crate) async fn reread(&self) {
        let references: Vec<Reference> = self.state().named.keys().cloned().collect();
        futures::stream::iter(references)
            .for_each_concurrent(CONCURRENT_READS, |reference| async move {
                if let Err(error) = self.look_at(&reference).await {
                    tracing::warn!(%error, "a referenced object cannot be read; trying again");
                }
            })
            .await;
    }

    /// Remembers what was seen, and wakes those whom it concerns.
    fn note(&self, reference: &Reference, fingerprint: Fingerprint) {
        let dependents = self.state().note(reference, fingerprint);
        for dependent in dependents {
            match dependent {
                Dependent::Instance(key) => self.instances.wake(key),
                Dependent::Plugin(key) => self.plugins.wake(key),
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn secret(name: &str) -> Reference {
        Reference::Secret(ObjectKey::new("ns", name))
    }

    fn plugin(name: &str) -> Dependent {
        Dependent::Plugin(ObjectKey::new("ns", name))
    }

    #[test]
    fn who_names_an_object_is_woken_when_it_changes() {
        let mut state = State::default();
        state.depends_on(plugin("a"), [secret("both"), secret("one")].into());
        state.depends_on(plugin("b"), [secret("both")].into());
        assert!(state.note(&secret("both"), Some(1)).is_empty(), "it is seen for the first time");
        assert!(state.note(&secret("both"), Some(1)).is_empty(), "nothing has changed");
        assert_eq!(state.note(&secret("both"), None), [plugin("a"), plugin("b")]);
        // What a spec names beside it is not read anew.
        state.depends_on(plugin("a"), [secret("both"), secret("other")].into());
        assert_eq!(state.note(&secret("both"), Some(2)), [plugin("a"), plugin("b")]);
        state.depends_on(plugin("a"), BTreeSet::new());
        assert_eq!(state.note(&secret("both"), Some(3)), [plugin("b")]);
    }

    #[test]
    fn what_no_object_names_any_more_is_not_read_any_more() {
        let mut state = State::default();
        state.depends_on(plugin("a"), [secret("both"), secret("one")].into());
        state.depends_on(plugin("b"), [secret("both")].into());
        state.depends_on(plugin("a"), BTreeSet::new());
        assert_eq!(state.named.keys().collect::<Vec<_>>(), [&secret("both")]);
        assert_eq!(state.of.keys().collect::<Vec<_>>(), [&plugin("b")]);
        assert!(state.note(&secret("one"), Some(1)).is_empty());
        assert_eq!(state.named.len(), 1, "what nobody names is not kept");
    }

    #[tokio::test]
    async fn what_gone_objects_named_is_forgotten() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // Nothing is asked of it.
        let client = Client::try_from(kube::Config::new("http://127.0.0.1:9".parse().unwrap())).unwrap();
        let references = References::new(client, Wake::default(), Wake::default());
        let (kept, gone) = (plugin("kept"), plugin("gone"));
        references.depends_on(kept.clone(), BTreeSet::from([secret("both")]));
        references.depends_on(gone.clone(), BTreeSet::from([secret("both"), secret("one")]));
        for name in ["both", "one"] {
            references.note(&secret(name), Some(1));
        }
        references.retain(|dependent| *dependent == kept);
        assert_eq!(references.state().of.keys().collect::<Vec<_>>(), [&kept]);
        assert_eq!((references.fingerprint(&secret("both")), references.fingerprint(&secret("one"))), (Some(1), None));
    }
}
