//! The pods of each instance: hands the plugin set to all of them, asks them how they fare, and
//! keeps the answers for the controllers.
//!
//! One task per instance does the talking, so that a slow pod of one instance delays no other, and
//! no reconciliation waits for a pod.

mod collection;
mod concern;
mod driver;
mod view;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use checkstack_control_api::report::PluginSetDelivery;
use checkstack_plugin_package::Digest;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::Store;
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

pub(crate) use view::{FleetView, Observation, PodView, Target};

use crate::instance::InstanceKeys;
use crate::object_key::ObjectKey;
use crate::pods::{CalledPod, LivePod, PodClient, instance_of};
use crate::wake::Wake;

/// How often pods are asked.
#[derive(Debug, Clone, Copy)]
pub struct FleetPace {
    /// While a pod is not settled.
    pub unsettled: Duration,
    /// When all are settled, but something is wrong that may heal by itself.
    pub troubled: Duration,
    /// When all is well. What changes is noticed earlier: Kubernetes tells about pods.
    pub calm: Duration,
    /// A pod that answered, or is ready, counts as unreachable when it has not answered for so long.
    pub patience: Duration,
    /// When artifacts are deleted.
    pub collection: CollectionPace,
}

/// When artifacts that nothing needs are deleted.
#[derive(Debug, Clone, Copy)]
pub struct CollectionPace {
    /// How often they are looked for.
    pub period: Duration,
    /// How long one stays.
    pub grace: Duration,
}

impl Default for CollectionPace {
    fn default() -> Self {
        Self { period: Duration::from_secs(600), grace: Duration::from_secs(3600) }
    }
}

impl Default for FleetPace {
    fn default() -> Self {
        Self {
            unsettled: Duration::from_millis(250),
            troubled: Duration::from_secs(2),
            calm: Duration::from_secs(10),
            patience: Duration::from_secs(10),
            collection: CollectionPace::default(),
        }
    }
}

/// What is handed to the pods of an instance.
pub(crate) struct Offer {
    pub(crate) keys: InstanceKeys,
    pub(crate) target: Arc<Target>,
    pub(crate) delivery: PluginSetDelivery,
    /// All that may still be wanted of the artifact store. None while that is not known.
    pub(crate) artifacts_in_use: Option<BTreeSet<Digest>>,
}

/// All fleets that this operator looks after.
pub(crate) struct Fleets {
    pods: Store<Pod>,
    client: PodClient,
    pace: FleetPace,
    instances: Wake,
    plugins: Wake,
    fleets: Mutex<HashMap<ObjectKey, Fleet>>,
}

struct Fleet {
    offer: watch::Sender<Arc<Offer>>,
    view: Arc<Mutex<Arc<FleetView>>>,
    pods_changed: Arc<Notify>,
    task: AbortOnDropHandle<()>,
}

/// The pods of an instance that can be asked for something now.
pub(crate) struct Callable {
    instance: String,
    offer: Arc<Offer>,
    /// Name and address, ready ones first.
    pods: Vec<(String, SocketAddr)>,
}

impl Callable {
    /// Each of them.
    pub(crate) fn pods(&self) -> impl Iterator<Item = (&str, CalledPod<'_>)> {
        self.pods
            .iter()
            .map(|(name, address)| (name.as_str(), CalledPod { address: *address, instance: &self.instance, keys: &self.offer.keys }))
    }
}

impl Fleets {
    pub(crate) fn new(pods: Store<Pod>, client: PodClient, pace: FleetPace, instances: Wake, plugins: Wake) -> Arc<Self> {
        Arc::new(Self { pods, client, pace, instances, plugins, fleets: Mutex::default() })
    }

    /// The client for calls besides the usual ones.
    pub(crate) fn client(&self) -> &PodClient {
        &self.client
    }

    /// From now on the pods of `instance` shall run this. Does nothing when they already shall.
    pub(crate) fn offer(self: &Arc<Self>, instance: &ObjectKey, offer: Offer) {
        let mut fleets = self.lock();
        match fleets.get(instance).filter(|fleet| !fleet.task.is_finished()) {
            Some(fleet) => {
                let before = fleet.offer.borrow().clone();
                let same_artifacts = before.artifacts_in_use == offer.artifacts_in_use;
                if *before.target == *offer.target && before.keys == offer.keys && same_artifacts {
                    return;
                }
                let target = offer.target.clone();
                fleet.offer.send_replace(Arc::new(offer));
                let (before, after) = {
                    let mut view = fleet.view.lock().unwrap_or_else(PoisonError::into_inner);
                    let after = Arc::new(FleetView { target, ..FleetView::clone(&view) });
                    (std::mem::replace(&mut *view, after.clone()), after)
                };
                self.wake_concerned(instance, &before, &after);
            }
            None => {
                let names: Vec<String> = offer.target.members.keys().cloned().collect();
                fleets.insert(instance.clone(), self.start(instance.clone(), offer));
                self.wake_plugins(instance, names);
            }
        }
    }

    /// Stops talking to the pods of all instances but those to be kept.
    pub(crate) fn retain(&self, keep: impl Fn(&ObjectKey) -> bool) {
        self.lock().retain(|instance, _| keep(instance));
    }

    /// Stops talking to pods at all when what it gives is dropped. The tasks hold the fleets that hold
    /// them, so that they would go on by themselves.
    pub(crate) fn until_dropped(self: &Arc<Self>) -> impl Drop + Send + use<> {
        struct Talking(Arc<Fleets>);
        impl Drop for Talking {
            fn drop(&mut self) {
                self.0.lock().clear();
            }
        }
        Talking(self.clone())
    }

    /// What is known about the pods of an instance.
    pub(crate) fn view(&self, instance: &ObjectKey) -> Option<Arc<FleetView>> {
        let fleets = self.lock();
        let view = fleets.get(instance)?.view.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some(view)
    }

    /// The pods of an instance that answered lately. None while there is nothing to call them with.
    pub(crate) fn callable(&self, instance: &ObjectKey) -> Option<Callable> {
        let (offer, view) = {
            let fleets = self.lock();
            let fleet = fleets.get(instance)?;
            let view = fleet.view.lock().unwrap_or_else(PoisonError::into_inner).clone();
            (fleet.offer.borrow().clone(), view)
        };
        let answers = |pod: &LivePod| view.pods.iter().any(|seen| seen.uid == pod.uid && seen.report().is_some());
        let mut pods: Vec<LivePod> = self.live_pods(instance).into_iter().filter(answers).collect();
        pods.sort_by(|one, other| (!one.ready, &one.name).cmp(&(!other.ready, &other.name)));
        let pods = pods.into_iter().filter_map(|pod| Some((pod.name, pod.address?))).collect();
        Some(Callable { instance: instance.to_string(), offer, pods })
    }

    /// Says that a pod appeared, changed or went away.
    pub(crate) fn pod_changed(&self, pod: &Pod) {
        if let Some(instance) = instance_of(&pod.metadata)
            && let Some(fleet) = self.lock().get(&instance)
        {
            fleet.pods_changed.notify_one();
        }
    }

    /// Asks the pods of an instance again at once.
    pub(crate) fn look_again(&self, instance: &ObjectKey) {
        if let Some(fleet) = self.lock().get(instance) {
            fleet.pods_changed.notify_one();
        }
    }

    fn start(self: &Arc<Self>, instance: ObjectKey, offer: Offer) -> Fleet {
        let view = Arc::new(Mutex::new(Arc::new(FleetView { target: offer.target.clone(), complete: false, pods: Vec::new() })));
        let (sender, receiver) = watch::channel(Arc::new(offer));
        let pods_changed = Arc::new(Notify::new());
        let driver = driver::Driver::new(self.clone(), instance, receiver, view.clone(), pods_changed.clone());
        Fleet { offer: sender, view, pods_changed, task: AbortOnDropHandle::new(tokio::spawn(driver.run())) }
    }

    fn live_pods(&self, instance: &ObjectKey) -> Vec<LivePod> {
        let belongs = |pod: &Pod| instance_of(&pod.metadata).as_ref() == Some(instance);
        self.pods.state_filter(belongs).iter().filter_map(|pod| LivePod::of(pod)).collect()
    }

    fn wake_concerned(&self, instance: &ObjectKey, before: &FleetView, after: &FleetView) {
        self.wake_plugins(instance, concern::concerned(before, after));
    }

    fn wake_plugins(&self, instance: &ObjectKey, names: impl IntoIterator<Item = String>) {
        names.into_iter().for_each(|name| self.plugins.wake(ObjectKey::new(&instance.namespace, &name)));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectKey, Fleet>> {
        self.fleets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
