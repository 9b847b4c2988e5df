//! What the controllers of one scope share.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use checkstack_crds::{Checkstack, CheckstackPlugin};
use k8s_openapi::api::apps::v1::Deployment;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use kube::{Client, Resource};

use crate::apply::Applier;
use crate::backoff::Backoff;
use crate::events::Events;
use crate::fetch::{FetchSlots, HttpFetcher};
use crate::fleet::Fleets;
use crate::instance;
use crate::object_key::ObjectKey;
use crate::plugin;
use crate::references::References;
use crate::telemetry::{ControllerName, Inventory, Metrics, PluginStateName};
use crate::wake::Wake;
use crate::watch::FirstSync;

/// An object of ours, or what could not be read of it.
pub(crate) type Guarded<K> = DeserializeGuard<K>;

/// What the controllers of one scope work with.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) metrics: Metrics,
    pub(crate) events: Events,
    pub(crate) settings: Settings,

    pub(crate) instances: Store<Guarded<Checkstack>>,
    pub(crate) plugins: Store<Guarded<CheckstackPlugin>>,
    pub(crate) deployments: Store<Deployment>,
    /// Whether those stores have everything.
    pub(crate) seen: FirstSync,

    pub(crate) references: Arc<References>,
    pub(crate) fleets: Arc<Fleets>,
    pub(crate) applier: Applier,
    pub(crate) http: HttpFetcher,
    pub(crate) slots: FetchSlots,

    pub(crate) plugin_memory: plugin::Memory,
    pub(crate) plugin_backoff: Backoff<String>,
    pub(crate) instance_memory: instance::Memory,
    pub(crate) instance_backoff: Backoff<String>,
    /// Of reconciliations that failed, whatever the cause.
    pub(crate) failures: Backoff<String>,
    pub(crate) wake_instances: Wake,
    pub(crate) wake_plugins: Wake,
    pub(crate) hasher: std::collections::hash_map::RandomState,
}

/// What the operator was told when it was started.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The image of instances that name none.
    pub(crate) core_image: String,
    /// Where the operator itself runs.
    pub(crate) operator_namespace: String,
}

impl Context {
    /// A hash for use within this process.
    pub(crate) fn hash(&self, value: &impl Hash) -> u64 {
        self.hasher.hash_one(value)
    }

    /// The instance, if it exists and can be read.
    pub(crate) fn instance(&self, key: &ObjectKey) -> Option<Checkstack> {
        self.instances.get(&key.to_ref()).and_then(|guard| guard.0.as_ref().ok().cloned())
    }

    /// Whether the object exists, readable or not.
    pub(crate) fn instance_exists(&self, key: &ObjectKey) -> bool {
        self.instances.get(&key.to_ref()).is_some()
    }

    /// The plugins that name the instance, as far as they can be read.
    pub(crate) fn plugins_of(&self, instance: &ObjectKey) -> Vec<Arc<Guarded<CheckstackPlugin>>> {
        self.plugins.state_filter(|guard| belongs(guard, instance))
    }

    /// The plugins of the instance, and the names of those that may be but cannot be read. Both as of
    /// one moment: a plugin that can be read again just now must not be in neither.
    pub(crate) fn plugins_and_unreadable(&self, instance: &ObjectKey) -> (Vec<Arc<Guarded<CheckstackPlugin>>>, BTreeSet<String>) {
        let near = self.plugins.state_filter(|guard| guard.meta().namespace.as_deref() == Some(&instance.namespace));
        let unreadable = near.iter().filter(|guard| guard.0.is_err() && guard.meta().deletion_timestamp.is_none());
        let names = unreadable.filter_map(|guard| guard.meta().name.clone()).collect();
        (near.into_iter().filter(|guard| belongs(guard, instance)).collect(), names)
    }
}

fn belongs(guard: &Guarded<CheckstackPlugin>, instance: &ObjectKey) -> bool {
    let same_namespace = guard.meta().namespace.as_deref() == Some(&instance.namespace);
    same_namespace && guard.0.as_ref().is_ok_and(|plugin| plugin.spec.instance_ref.name == instance.name)
}

impl Inventory for Context {
    fn plugins(&self) -> Vec<(PluginStateName, i64)> {
        self.plugins.state().iter().map(|guard| (plugin::state_of(guard), 1)).collect()
    }

    fn instances(&self) -> i64 {
        i64::try_from(self.instances.len()).unwrap_or(i64::MAX)
    }

    fn waiting(&self) -> Vec<(ControllerName, i64)> {
        let length = |wake: &Wake| i64::try_from(wake.len()).unwrap_or(i64::MAX);
        vec![(ControllerName::Instance, length(&self.wake_instances)), (ControllerName::Plugin, length(&self.wake_plugins))]
    }
}
