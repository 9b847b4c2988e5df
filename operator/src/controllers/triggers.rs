//! What reconciles an object: its own changes, those of what it owns, and what pods report.

use std::fmt::Debug;
use std::sync::Arc;

use checkstack_crds::{Checkstack, CheckstackPlugin};
use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Resource;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::Config;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;
use kube::runtime::{Controller, WatchStreamExt, watcher};
use serde::de::DeserializeOwned;

use crate::context::{Context, Guarded};
use crate::object_key::ObjectKey;
use crate::scope::Scope;
use crate::wake::Wake;
use crate::watch::{events, everything, owned, trim_deployment, trim_managed_fields};
use crate::{plugin, pods};

/// How many objects of a kind are reconciled at once.
const CONCURRENCY: u16 = 8;

const INSTANCES: &str = "checkstacks";
const PLUGINS: &str = "checkstackplugins";
const DEPLOYMENTS: &str = "deployments";
const PODS: &str = "pods";
/// Kinds whose objects are kept in memory.
pub(super) const KEPT_KINDS: &[&str] = &[INSTANCES, PLUGINS, DEPLOYMENTS, PODS];

/// Makes watches and triggers.
pub(super) struct Wiring {
    pub(super) context: Arc<Context>,
    pub(super) scope: Scope,
    pub(super) resync: Option<tokio::sync::watch::Receiver<u64>>,
}

impl Wiring {
    /// Pods are no controller's children: they are the fleet's.
    pub(super) fn pod_changes(&self, writer: Writer<Pod>) -> impl Future<Output = ()> + Send + use<> {
        let context = self.context.clone();
        let stream = self.first_seen(PODS, self.events::<Pod>(owned(), PODS).modify(pods::trim).reflect(writer)).touched_objects();
        stream.for_each(move |pod| {
            if let Ok(pod) = pod {
                context.fleets.pod_changed(&pod);
            }
            futures::future::ready(())
        })
    }

    pub(super) fn plugin_controller(&self, writer: Writer<Guarded<CheckstackPlugin>>) -> Controller<Guarded<CheckstackPlugin>> {
        let context = self.context.clone();
        let events = self.events::<Guarded<CheckstackPlugin>>(everything(), PLUGINS).modify(trim_managed_fields).reflect(writer);
        let objects = self.first_seen(PLUGINS, events).inspect_ok(move |event| plugin_event(&context, event)).applied_objects();
        self.triggered(Controller::for_stream(objects, self.context.plugins.clone()), &self.context.wake_plugins)
    }

    pub(super) fn instance_controller(
        &self,
        writer: Writer<Guarded<Checkstack>>,
        deployments: Writer<Deployment>,
    ) -> Controller<Guarded<Checkstack>> {
        let context = self.context.clone();
        let events = self.events::<Guarded<Checkstack>>(everything(), INSTANCES).modify(trim_managed_fields).reflect(writer);
        let objects = self.first_seen(INSTANCES, events).inspect_ok(move |event| instance_event(&context, event)).applied_objects();
        let events = self.events::<Deployment>(owned(), DEPLOYMENTS).modify(trim_deployment).reflect(deployments);
        let deployments = self.first_seen(DEPLOYMENTS, events).touched_objects();
        let controller = Controller::for_stream(objects, self.context.instances.clone())
            .owns_stream(self.seen(deployments))
            .owns_stream(self.children::<Service>("services"))
            .owns_stream(self.children::<ServiceAccount>("serviceaccounts"))
            .owns_stream(self.children::<ConfigMap>("configmaps"))
            .owns_stream(self.children::<PodDisruptionBudget>("poddisruptionbudgets"))
            .owns_stream(self.children::<NetworkPolicy>("networkpolicies"));
        self.triggered(controller, &self.context.wake_instances)
    }

    /// Objects that the operator made, by their metadata alone; none of them is kept.
    fn children<K>(&self, kind: &'static str) -> impl Stream<Item = Result<PartialObjectMeta<K>, watcher::Error>> + Send + use<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + Sync + 'static,
    {
        self.seen(self.events::<PartialObjectMeta<K>>(owned(), kind).touched_objects())
    }

    /// Notes when all objects of a kind have been seen.
    fn first_seen<K, Events>(&self, kind: &'static str, events: Events) -> impl Stream<Item = Events::Item> + Send + use<K, Events>
    where
        Events: Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
    {
        let context = self.context.clone();
        events.inspect_ok(move |event| context.seen.note(kind, event))
    }

    /// Tells the applier what was seen, so that it notices when somebody changed or removed it.
    fn seen<K, Objects>(&self, objects: Objects) -> impl Stream<Item = Result<K, watcher::Error>> + Send + use<K, Objects>
    where
        K: Resource<DynamicType = ()>,
        Objects: Stream<Item = Result<K, watcher::Error>> + Send + 'static,
    {
        let context = self.context.clone();
        objects.inspect_ok(move |object| context.applier.seen(&K::kind(&()), object.meta()))
    }

    fn events<K>(
        &self,
        config: watcher::Config,
        kind: &'static str,
    ) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + use<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        events(self.scope.api::<K>(&self.context.client), config, kind, self.context.metrics.clone())
    }

    /// Adds what reconciles objects besides changes in the API server.
    fn triggered<K>(&self, controller: Controller<K>, wake: &Wake) -> Controller<K>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let controller =
            controller.with_config(Config::default().concurrency(CONCURRENCY)).reconcile_on(wake.stream().map(|key| key.to_ref()));
        match self.resync.clone() {
            None => controller,
            Some(resync) => controller.reconcile_all_on(changes(resync)),
        }
    }
}

/// What a change of a plugin means to its instance, and to what is remembered of it.
fn plugin_event(context: &Context, event: &Event<Guarded<CheckstackPlugin>>) {
    match event {
        Event::Init => {}
        // Some may have gone while nobody watched.
        Event::InitDone => {
            context.forget_gone();
            context.instances.state().iter().for_each(|instance| context.wake_instances.wake(ObjectKey::of(&**instance)));
        }
        Event::InitApply(guard) | Event::Apply(guard) => wake_instance_of(context, guard),
        Event::Delete(guard) => {
            context.forget_gone();
            wake_instance_of(context, guard);
        }
    }
}

fn wake_instance_of(context: &Context, guard: &Guarded<CheckstackPlugin>) {
    match &guard.0 {
        Ok(plugin) => context.wake_instances.wake(plugin::instance_key(plugin)),
        // Nobody knows whose it is.
        Err(invalid) => {
            let neighbours = |instance: &Guarded<Checkstack>| instance.meta().namespace == invalid.metadata.namespace;
            context.instances.state_filter(neighbours).iter().for_each(|instance| context.wake_instances.wake(ObjectKey::of(&**instance)));
        }
    }
}

/// What a change of an instance means to its plugins, and to what is remembered of it.
fn instance_event(context: &Context, event: &Event<Guarded<Checkstack>>) {
    match event {
        Event::Init => {}
        // Some may have gone while nobody watched.
        Event::InitDone => {
            context.forget_gone();
            context.plugins.state().iter().for_each(|plugin| context.wake_plugins.wake(ObjectKey::of(&**plugin)));
        }
        Event::InitApply(guard) | Event::Apply(guard) if guard.meta().deletion_timestamp.is_none() => wake_plugins_of(context, guard),
        Event::InitApply(guard) | Event::Apply(guard) | Event::Delete(guard) => {
            context.forget_gone();
            wake_plugins_of(context, guard);
        }
    }
}

fn wake_plugins_of(context: &Context, guard: &Guarded<Checkstack>) {
    for plugin in context.plugins_of(&ObjectKey::of(guard)) {
        context.wake_plugins.wake(ObjectKey::of(&*plugin));
    }
}

fn changes(receiver: tokio::sync::watch::Receiver<u64>) -> impl Stream<Item = ()> + Send + 'static {
    futures::stream::unfold(receiver, |mut receiver| async move {
        // Without a sender nothing changes any more; ending would end the controller.
        if receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        Some(((), receiver))
    })
}
