//! What the controllers of one scope share.

use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use checkstack_crds::{Checkstack, CheckstackPlugin};
use k8s_openapi::api::apps::v1::Deployment;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use kube::{Client, Resource, ResourceExt};

use crate::apply::Applier;
use crate::backoff::Backoff;
use crate::events::Events;
use crate::fetch::{FetchSlots, HttpFetcher};
use crate::fleet::Fleets;
use crate::instance::{self, KeyRotation};
use crate::object_key::ObjectKey;
use crate::plugin;
use crate::references::{Dependent, References};
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
    pub(crate) failures: Backoff<(ControllerName, String)>,
    pub(crate) wake_instances: Wake,
    pub(crate) wake_plugins: Wake,
    pub(crate) hasher: std::collections::hash_map::RandomState,
}

/// What the operator was told when it was started.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The image of instances that name none.
    pub(crate) core_image: String,
    pub(crate) run_as_user: Option<i64>,
    /// After how long a URL that sent a package that cannot be used is read again.
    pub(crate) refetch: std::time::Duration,
    /// Where the operator itself runs.
    pub(crate) operator_namespace: String,
    /// When signing keys are exchanged.
    pub(crate) rotation: KeyRotation,
}

impl Context {
    /// A hash for use within this process.
    pub(crate) fn hash(&self, value: &impl Hash) -> u64 {
        self.hasher.hash_one(value)
    }

    /// The instance, if it exists, readable or not.
    pub(crate) fn instance(&self, key: &ObjectKey) -> Option<Arc<Guarded<Checkstack>>> {
        self.instances.get(&key.to_ref())
    }

    /// The plugin, if it exists, readable or not.
    pub(crate) fn plugin(&self, key: &ObjectKey) -> Option<Arc<Guarded<CheckstackPlugin>>> {
        self.plugins.get(&key.to_ref())
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

    /// Whether the object still exists, and is not on its way out.
    pub(crate) fn has_instance(&self, object: &Guarded<Checkstack>) -> bool {
        let found = self.instance(&ObjectKey::of(object));
        found.is_some_and(|found| found.uid() == object.uid() && found.meta().deletion_timestamp.is_none())
    }

    /// Whether the object still exists.
    pub(crate) fn has_plugin(&self, object: &Guarded<CheckstackPlugin>) -> bool {
        self.plugin(&ObjectKey::of(object)).is_some_and(|found| found.uid() == object.uid())
    }

    /// Forgets what is remembered of objects that are gone, and stops talking to the pods of instances
    /// that go. Objects that went while nobody watched, or while they were being reconciled, are among
    /// them.
    pub(crate) fn forget_gone(&self) {
        let instances: HashSet<String> = self.instances.state().iter().filter_map(|guard| guard.uid()).collect();
        let plugins: HashSet<String> = self.plugins.state().iter().filter_map(|guard| guard.uid()).collect();
        self.fleets.retain(|instance| self.instance(instance).is_some_and(|guard| guard.meta().deletion_timestamp.is_none()));
        self.references.retain(|dependent| match dependent {
            Dependent::Instance(key) => self.instance(key).is_some(),
            Dependent::Plugin(key) => self.plugin(key).is_some(),
        });
        self.applier.retain(|owner| instances.contains(owner));
        self.instance_memory.retain(|uid| instances.contains(uid));
        self.instance_backoff.retain(|uid| instances.contains(uid));
        self.plugin_memory.retain(|uid| plugins.contains(uid));
        self.plugin_backoff.retain(|uid| plugins.contains(uid));
        self.failures.retain(|(controller, uid)| match controller {
            ControllerName::Instance => instances.contains(uid),
            ControllerName::Plugin => plugins.contains(uid),
        });
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::{Duration, Instant};

    use kube::runtime::reflector::{self, store::Writer};
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;
    use crate::fetch::FetchLimits;
    use crate::fixtures;
    use crate::fleet::FleetPace;
    use crate::plugin::FailedPurge;
    use crate::pods::{PodClient, PodTimeouts};

    struct Scene {
        context: Context,
        instances: Writer<Guarded<Checkstack>>,
        plugins: Writer<Guarded<CheckstackPlugin>>,
    }

    /// Nothing is asked of an API server.
    fn scene() -> Scene {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = Client::try_from(kube::Config::new("http://127.0.0.1:9".parse().unwrap())).unwrap();
        let (metrics, wake) = (Metrics::new(), Wake::default());
        let (instances, instance_writer) = reflector::store();
        let (plugins, plugin_writer) = reflector::store();
        let pods = PodClient::new(PodTimeouts::default(), metrics.clone()).unwrap();
        let context = Context {
            events: Events::new(client.clone(), "test"),
            settings: Settings {
                core_image: String::new(),
                run_as_user: None,
                refetch: std::time::Duration::ZERO,
                operator_namespace: String::new(),
                rotation: KeyRotation::default(),
            },
            instances,
            plugins,
            deployments: reflector::store().0,
            seen: FirstSync::of(&[]),
            references: Arc::new(References::new(client.clone(), wake.clone(), wake.clone())),
            fleets: Fleets::new(reflector::store().0, pods, FleetPace::default(), wake.clone(), wake.clone()),
            applier: Applier::new(client.clone()),
            http: HttpFetcher::new(FetchLimits::default()).unwrap(),
            slots: FetchSlots::new(metrics.clone()),
            plugin_memory: plugin::Memory::default(),
            plugin_backoff: Backoff::default(),
            instance_memory: instance::Memory::default(),
            instance_backoff: Backoff::default(),
            failures: Backoff::default(),
            wake_instances: wake.clone(),
            wake_plugins: wake,
            hasher: std::collections::hash_map::RandomState::new(),
            client,
            metrics,
        };
        Scene { context, instances: instance_writer, plugins: plugin_writer }
    }

    #[tokio::test]
    async fn nothing_is_remembered_of_what_is_gone() {
        let Scene { context, mut instances, mut plugins } = scene();
        let (instance, plugin) = (fixtures::instance(json!({})), fixtures::plugin("uptime", json!({})));
        let (instance, plugin) = (DeserializeGuard(Ok(instance)), DeserializeGuard(Ok(plugin)));
        instances.apply_watcher_event(&Event::Apply(instance.clone()));
        plugins.apply_watcher_event(&Event::Apply(plugin.clone()));
        let key = ObjectKey::of(&instance);
        context.fleets.offer(&key, fixtures::offer(fixtures::target(Vec::new())));
        context.instance_memory.set_history("instance-uid", Default::default());
        let published = context.instance_memory.published("instance-uid", "key");
        let purge = FailedPurge { retry_at: Instant::now(), message: String::new() };
        context.plugin_memory.purge_failed("uptime-uid", purge);
        let instance_failures = (ControllerName::Instance, "instance-uid".to_owned());
        let plugin_failures = (ControllerName::Plugin, "uptime-uid".to_owned());
        let fails_again = || {
            let waits = [
                context.instance_backoff.failed("instance-uid".to_owned(), 0),
                context.plugin_backoff.failed("uptime-uid".to_owned(), 0),
                context.failures.failed(instance_failures.clone(), 0),
                context.failures.failed(plugin_failures.clone(), 0),
            ];
            waits.map(|wait| wait > Duration::from_millis(700))
        };
        assert_eq!(fails_again(), [false; 4]);
        context.forget_gone();
        assert!(context.has_instance(&instance) && context.has_plugin(&plugin));
        assert!(context.fleets.view(&key).is_some() && context.instance_memory.history("instance-uid").is_some());
        assert!(context.plugin_memory.failed_purge("uptime-uid").is_some());
        assert_eq!(context.instance_memory.published("instance-uid", "key"), published);
        assert_eq!(fails_again(), [true; 4]);

        // On its way out: nobody talks to its pods any more.
        let mut going = fixtures::instance(json!({}));
        going.metadata.deletion_timestamp = Some(fixtures::at(1));
        instances.apply_watcher_event(&Event::Apply(DeserializeGuard(Ok(going))));
        assert!(!context.has_instance(&instance));
        context.forget_gone();
        assert!(context.fleets.view(&key).is_none() && context.instance_memory.history("instance-uid").is_some());

        instances.apply_watcher_event(&Event::Delete(instance.clone()));
        plugins.apply_watcher_event(&Event::Delete(plugin.clone()));
        assert!(!context.has_instance(&instance) && !context.has_plugin(&plugin));
        context.forget_gone();
        assert!(context.instance_memory.history("instance-uid").is_none() && context.plugin_memory.failed_purge("uptime-uid").is_none());
        assert_ne!(context.instance_memory.published("instance-uid", "key"), published);
        assert_eq!(fails_again(), [false; 4]);
    }
}
