//! The task that talks to the pods of one instance.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use checkstack_control_api::report::{PluginReason, PluginState, PodReport};
use futures::StreamExt;
use tokio::sync::{Notify, watch};

use super::collection::Collection;
use super::{FleetView, Fleets, Observation, Offer, PodView};
use crate::object_key::ObjectKey;
use crate::pods::{CalledPod, DatabaseCheck, LivePod, PodError};

/// How many pods of an instance are called at once.
const CONCURRENT_CALLS: usize = 8;
/// After this time without any change, pods that do not settle are asked less often.
const RESTLESS: Duration = Duration::from_secs(30);
/// The longest pause between two questions to pods that do not settle.
const SLOWEST_UNSETTLED: Duration = Duration::from_secs(5);

pub(super) struct Driver {
    fleets: Arc<Fleets>,
    instance: ObjectKey,
    offer: watch::Receiver<Arc<Offer>>,
    view: Arc<Mutex<Arc<FleetView>>>,
    pods_changed: Arc<Notify>,
    /// By uid of the pod.
    remembered: HashMap<String, Remembered>,
    /// When the view last changed.
    changed: Instant,
    collection: Collection,
}

/// What a pod said when it last answered.
#[derive(Debug, Clone, Default)]
struct Remembered {
    report: Option<Arc<PodReport>>,
    database: Option<DatabaseCheck>,
    /// Since when it does not answer.
    silent: Option<Instant>,
}

/// What came of asking a pod.
struct Asked {
    view: PodView,
    remember: Remembered,
    /// Whether it can be told what the pod does. Not within the patience for a ready pod that has
    /// never answered this operator.
    conclusive: bool,
}

impl Driver {
    pub(super) fn new(
        fleets: Arc<Fleets>,
        instance: ObjectKey,
        offer: watch::Receiver<Arc<Offer>>,
        view: Arc<Mutex<Arc<FleetView>>>,
        pods_changed: Arc<Notify>,
    ) -> Self {
        let collection = Collection::new(fleets.pace.collection);
        Self { fleets, instance, offer, view, pods_changed, remembered: HashMap::new(), changed: Instant::now(), collection }
    }

    /// Runs until it is aborted, or the instance is forgotten.
    pub(super) async fn run(mut self) {
        loop {
            let offer = self.offer.borrow_and_update().clone();
            let pods = self.ask_all(&offer).await;
            self.publish(pods);
            self.collect(&offer);
            let pause = self.pause();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.pods_changed.notified() => {}
                changed = self.offer.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn ask_all(&mut self, offer: &Arc<Offer>) -> Vec<Asked> {
        let pods = self.fleets.live_pods(&self.instance);
        let instance = self.instance.to_string();
        let asked: Vec<Asked> = futures::stream::iter(pods)
            .map(|pod| {
                let before = self.remembered.get(&pod.uid).cloned().unwrap_or_default();
                ask(&self.fleets, &instance, offer, pod, before)
            })
            .buffer_unordered(CONCURRENT_CALLS)
            .collect()
            .await;
        self.remembered = asked.iter().map(|asked| (asked.view.uid.clone(), asked.remember.clone())).collect();
        asked
    }

    /// Publishes what was learned, and wakes those whom it concerns when it is news.
    fn publish(&mut self, asked: Vec<Asked>) {
        let conclusive = asked.iter().all(|asked| asked.conclusive);
        let mut pods: Vec<PodView> = asked.into_iter().map(|asked| asked.view).collect();
        pods.sort_by(|one, other| one.name.cmp(&other.name));
        let news = {
            let mut current = self.view.lock().unwrap_or_else(PoisonError::into_inner);
            // The target may have changed meanwhile; it is not this task's to say.
            let next = FleetView { target: current.target.clone(), complete: current.complete || conclusive, pods };
            (**current != next).then(|| {
                let next = Arc::new(next);
                (std::mem::replace(&mut *current, next.clone()), next)
            })
        };
        if let Some((before, after)) = news {
            self.changed = Instant::now();
            self.fleets.instances.wake(self.instance.clone());
            self.fleets.wake_concerned(&self.instance, &before, &after);
        }
    }

    fn collect(&mut self, offer: &Arc<Offer>) {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !self.collection.is_due(offer, &view, Instant::now()) {
            return;
        }
        let mut ready = self.fleets.live_pods(&self.instance).into_iter().filter(|pod| pod.ready);
        if let Some(address) = ready.find_map(|pod| pod.address) {
            self.collection.begin(self.fleets.client.clone(), address, self.instance.to_string(), offer.clone());
        }
    }

    fn pause(&self) -> Duration {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let pace = &self.fleets.pace;
        if view.pods.is_empty() {
            return pace.calm;
        }
        if !view.is_settled() {
            let quiet = self.changed.elapsed();
            return if quiet < RESTLESS { pace.unsettled } else { (quiet / 20).clamp(pace.unsettled, SLOWEST_UNSETTLED) };
        }
        if view.pods.iter().all(is_well) { pace.calm } else { pace.troubled }
    }
}

fn is_well(pod: &PodView) -> bool {
    let plugins_active = pod.report().is_some_and(|report| report.plugins.iter().all(|plugin| plugin.state == PluginState::Active));
    plugins_active && pod.ready && pod.database.as_ref().is_none_or(|database| database.ok)
}

async fn ask(fleets: &Fleets, instance: &str, offer: &Offer, pod: LivePod, before: Remembered) -> Asked {
    let Some(address) = pod.address else { return starting(pod) };
    let called = CalledPod { address, instance, keys: &offer.keys };
    let (report, database) = tokio::join!(fleets.client.report(called), fleets.client.database(called));
    match report {
        // An address is given to another pod when its pod is gone.
        Ok(report) if report.pod != pod.name => silent(fleets, pod, before, &PodError::Malformed("another pod has its address".into())),
        Ok(report) => {
            let report = Arc::new(report);
            let observation = deliver(fleets, called, &pod, offer, report.clone()).await;
            let database = database.unwrap_or(before.database);
            Asked {
                remember: Remembered { report: Some(report), database: database.clone(), silent: None },
                view: PodView { name: pod.name, uid: pod.uid, ready: pod.ready, observation, database },
                conclusive: true,
            }
        }
        Err(error) => silent(fleets, pod, before, &error),
    }
}

/// Hands the set over to a pod that works towards an older one, or that lacks the secret values: a
/// pod that has just started may have the set from its ConfigMap, and not yet the Secret beside it.
async fn deliver(fleets: &Fleets, called: CalledPod<'_>, pod: &LivePod, offer: &Offer, report: Arc<PodReport>) -> Observation {
    let target = &offer.target;
    if !target.is_for(pod) {
        return Observation::Reported(report);
    }
    let older = report.revision < target.set.revision;
    let same = report.revision == target.set.revision && report.set_hash == target.hash;
    let lacks_secrets = report.plugins.iter().any(|plugin| plugin.reason == PluginReason::SecretConfigMissing);
    let needs_it = older || (same && lacks_secrets);
    if !needs_it {
        return Observation::Reported(report);
    }
    match fleets.client.deliver(called, &offer.delivery).await {
        Ok(()) => Observation::Reported(report),
        Err(error) if error.is_newer_revision() => Observation::Reported(report),
        Err(error) => Observation::Refused { message: error.to_string(), report },
    }
}

/// A pod that does not answer. One that is not ready need not: it is starting, or starting again.
fn silent(fleets: &Fleets, pod: LivePod, before: Remembered, error: &PodError) -> Asked {
    if !pod.ready {
        return starting(pod);
    }
    let since = before.silent.unwrap_or_else(Instant::now);
    let remember = Remembered { silent: Some(since), ..before };
    let patient = since.elapsed() < fleets.pace.patience;
    let (observation, conclusive) = match &remember.report {
        Some(report) if patient => (Observation::Reported(report.clone()), true),
        _ if patient => (Observation::Starting { waiting: None }, false),
        _ => (Observation::Unreachable { message: error.to_string() }, true),
    };
    Asked {
        view: PodView { name: pod.name, uid: pod.uid, ready: pod.ready, observation, database: remember.database.clone() },
        remember,
        conclusive,
    }
}

fn starting(pod: LivePod) -> Asked {
    let observation = Observation::Starting { waiting: pod.waiting };
    Asked {
        view: PodView { name: pod.name, uid: pod.uid, ready: pod.ready, observation, database: None },
        remember: Remembered::default(),
        conclusive: true,
    }
}
