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
    seen: BTreeMap<Reference, Fingerprint>,
}

/// None: the object does not exist.
type Fingerprint = Option<u64>;

impl References {
    pub(crate) fn new(client: Client, instances: Wake, plugins: Wake) -> Self {
        Self { client, instances, plugins, hasher: RandomState::new(), state: Mutex::default() }
    }

    /// Says what an object depends on now, instead of what it did before.
    pub(crate) fn depends_on(&self, dependent: Dependent, references: BTreeSet<Reference>) {
        let mut state = self.state();
        match references.is_empty() {
            true => state.of.remove(&dependent),
            false => state.of.insert(dependent, references),
        };
        let State { of, seen } = &mut *state;
        seen.retain(|reference, _| of.values().any(|references| references.contains(reference)));
    }

    /// Forgets what objects depend on, but for those to be kept.
    pub(crate) fn retain(&self, keep: impl Fn(&Dependent) -> bool) {
        let State { of, seen } = &mut *self.state();
        of.retain(|dependent, _| keep(dependent));
        seen.retain(|reference, _| of.values().any(|references| references.contains(reference)));
    }

    /// Reads a Secret.
    pub(crate) async fn secret(&self, key: &ObjectKey) -> Result<Option<Secret>, KubernetesError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &key.namespace);
        let secret = api.get_opt(&key.name).await.during("read", || format!("Secret '{}'", key.name))?;
        let content = secret.as_ref().map(|secret| {
            let entries: Vec<_> = secret.data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.as_slice())).collect();
            self.hasher.hash_one((secret.uid(), entries))
        });
        self.note(Reference::Secret(key.clone()), content);
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
        self.note(Reference::ConfigMap(key.clone()), version);
        Ok(())
    }

    /// The fingerprint of an object when it was last read.
    pub(crate) fn fingerprint(&self, reference: &Reference) -> Option<u64> {
        self.state().seen.get(reference).copied().flatten()
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
        let references: BTreeSet<Reference> = self.state().of.values().flatten().cloned().collect();
        futures::stream::iter(references)
            .for_each_concurrent(CONCURRENT_READS, |reference| async move {
                if let Err(error) = self.look_at(&reference).await {
                    tracing::warn!(%error, "a referenced object cannot be read; trying again");
                }
            })
            .await;
    }

    /// Remembers what was seen, and wakes the dependents when it is not what was seen before.
    fn note(&self, reference: Reference, fingerprint: Fingerprint) {
        let dependents: Vec<Dependent> = {
            let mut state = self.state();
            match state.seen.insert(reference.clone(), fingerprint) {
                Some(before) if before != fingerprint => state
                    .of
                    .iter()
                    .filter(|(_, references)| references.contains(&reference))
                    .map(|(dependent, _)| dependent.clone())
                    .collect(),
                _ => Vec::new(),
            }
        };
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

    #[tokio::test]
    async fn what_no_object_names_any_more_is_not_read_any_more() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // Nothing is asked of it.
        let client = Client::try_from(kube::Config::new("http://127.0.0.1:9".parse().unwrap())).unwrap();
        let references = References::new(client, Wake::default(), Wake::default());
        let secret = |name: &str| Reference::Secret(ObjectKey::new("ns", name));
        let (kept, gone) = (Dependent::Plugin(ObjectKey::new("ns", "kept")), Dependent::Plugin(ObjectKey::new("ns", "gone")));
        references.depends_on(kept.clone(), BTreeSet::from([secret("both")]));
        references.depends_on(gone.clone(), BTreeSet::from([secret("both"), secret("one")]));
        for name in ["both", "one"] {
            references.note(secret(name), Some(1));
        }
        references.retain(|dependent| *dependent == kept);
        assert_eq!(references.state().of.keys().collect::<Vec<_>>(), [&kept]);
        assert_eq!((references.fingerprint(&secret("both")), references.fingerprint(&secret("one"))), (Some(1), None));
    }
}
