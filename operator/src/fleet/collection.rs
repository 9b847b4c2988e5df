//! When the artifact store is rid of what nothing needs any more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use checkstack_control_api::report::ArtifactsInUse;
use rand::RngExt;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info};

use super::{CollectionPace, FleetView, Offer};
use crate::pods::{CalledPod, PodClient};

/// The next time that artifacts are collected, and the last, which may be under way: the pods are looked after meanwhile.
pub(super) struct Collection {
    pace: CollectionPace,
    due: Instant,
    last: Option<AbortOnDropHandle<()>>,
}

impl Collection {
    /// Not at once: an operator that has just started may not know yet what is on its way.
    pub(super) fn new(pace: CollectionPace) -> Self {
        Self { due: next(pace.period), pace, last: None }
    }

    /// Whether it is time. Only while all pods run what they shall: what is under way may need what nothing else does.
    pub(super) fn is_due(&self, offer: &Offer, view: &FleetView, now: Instant) -> bool {
        now >= self.due && offer.artifacts_in_use.is_some() && view.is_settled() && view.pods.iter().any(|pod| pod.ready)
    }

    /// Asks one pod, which speaks for all: they share the store. One that is still being asked is asked no more.
    pub(super) fn begin(&mut self, client: PodClient, address: SocketAddr, instance: String, offer: Arc<Offer>) {
        self.due = next(self.pace.period);
        let grace = self.pace.grace;
        self.last = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let pod = CalledPod { address, instance: &instance, keys: &offer.keys };
            collect(&client, pod, &offer, grace).await;
        })));
    }
}

async fn collect(client: &PodClient, pod: CalledPod<'_>, offer: &Offer, grace: Duration) {
    let Some(digests) = offer.artifacts_in_use.clone() else { return };
    let grace_seconds = u32::try_from(grace.as_secs()).unwrap_or(u32::MAX);
    match client.collect_artifacts(pod, &ArtifactsInUse { digests, grace_seconds }).await {
        Ok(0) => {}
        Ok(deleted) => info!(instance = pod.instance, deleted, "artifacts that nothing needs any more were deleted"),
        Err(error) => debug!(instance = pod.instance, %error, "artifacts could not be collected; trying again later"),
    }
}

/// Operators of many instances do not do it for all of them at once.
fn next(period: Duration) -> Instant {
    Instant::now() + period.mul_f64(rand::rng().random_range(0.8..=1.2))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;
    use crate::fixtures::{active, entry, offer, pod, target};

    #[test]
    fn artifacts_are_collected_when_nothing_is_under_way() {
        let uptime = entry("uptime", "uptime");
        let target = target(vec![uptime.clone()]);
        let settled =
            FleetView { pods: vec![pod("main-1", &target, vec![active(&uptime)])], complete: true, target: Arc::new(target.clone()) };
        let collection = Collection::new(CollectionPace::default());
        let known = Offer { artifacts_in_use: Some(BTreeSet::new()), ..offer(target.clone()) };
        let late = collection.due;
        assert!(collection.is_due(&known, &settled, late));
        assert!(!collection.is_due(&known, &settled, late - Duration::from_millis(1)), "too early");
        assert!(!collection.is_due(&Offer { artifacts_in_use: None, ..offer(target.clone()) }, &settled, late), "not known");
        assert!(!collection.is_due(&known, &FleetView { complete: false, ..settled.clone() }, late));
        assert!(!collection.is_due(&known, &FleetView { pods: Vec::new(), ..settled.clone() }, late), "nobody to ask");
        let mut behind = settled.clone();
        Arc::make_mut(&mut behind.target).set.revision += 1;
        assert!(!collection.is_due(&known, &behind, late));
    }
}
