//! When the signing key of an instance is exchanged for a new one, and in which steps.
//!
//! No call may fail because of it, though the kubelet takes more than a minute to bring a changed
//! Secret into pods that run. So there are three steps, each a write of the Secret:
//!
//! 1. **Announce**: a new key is made, and pods get its public half beside the present one.
//! 2. **Switch**: when every pod has said that it accepts the new key, the operator signs with it.
//!    The old private key is gone from then on.
//! 3. **Retire**: when the plugin set has been published with the new key for a while, the old public
//!    key goes too. Until then pods accept what was signed with it: calls on their way, and the
//!    plugin set in a ConfigMap that a pod got late.
//!
//! This module only decides; [`secrets`](super::secrets) writes.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::keys::{KeyRing, NextKey};
use crate::fleet::{FleetView, PodView};

/// How often, and how patiently.
#[derive(Debug, Clone, Copy)]
pub struct KeyRotation {
    /// How long a key signs; none: until somebody asks for another.
    pub period: Option<Duration>,
    /// After this time every pod has the new public key, though some do not say so: those that do
    /// not answer, and those of a release that does not tell its keys.
    pub propagation: Duration,
    /// After this time every pod that was started with the Secret before is known.
    pub settling: Duration,
    /// For how long a key is accepted that does not sign any more.
    pub grace: Duration,
}

impl Default for KeyRotation {
    fn default() -> Self {
        Self {
            period: Some(Duration::from_secs(30 * 24 * 3600)),
            // The kubelet looks at Secrets every minute, and may see them a minute late.
            propagation: Duration::from_secs(600),
            settling: Duration::from_secs(30),
            grace: Duration::from_secs(600),
        }
    }
}

/// What is done to the Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Announce,
    Switch,
    Retire,
}

/// What is done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Do(Step),
    /// Nothing, until something changes or this time has passed.
    Wait(Option<Duration>),
}

/// What a pod says about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acceptance {
    Accepts,
    Refuses,
    Silent,
}

/// What the decision depends on besides the keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances<'a> {
    pub(crate) rotation: &'a KeyRotation,
    /// The request for a rotation, if there ever was one.
    pub(crate) request: Option<&'a str>,
    /// The pods; none when they have not been asked yet.
    pub(crate) fleet: Option<&'a FleetView>,
    /// For how long, at least, the published plugin set has been signed with the key that signs now.
    pub(crate) published_for: Duration,
    pub(crate) now: Timestamp,
}

/// Decides.
pub(crate) fn decide(ring: &KeyRing, circumstances: &Circumstances<'_>) -> Decision {
    let Circumstances { rotation, request, fleet, published_for, now } = circumstances;
    if let Some(next) = &ring.next {
        let Some(fleet) = fleet.filter(|fleet| fleet.complete) else { return Decision::Wait(None) };
        let pods: Vec<Acceptance> = fleet.pods.iter().map(|pod| acceptance(pod, next.signing.key_id())).collect();
        if pods.contains(&Acceptance::Refuses) {
            return Decision::Wait(None);
        }
        let everybody_says_so = !pods.is_empty() && !pods.contains(&Acceptance::Silent);
        let patience = if everybody_says_so { rotation.settling } else { rotation.propagation };
        return when(Step::Switch, patience, elapsed(next.announced, *now));
    }
    if ring.has_retired_keys() {
        return when(Step::Retire, rotation.grace, *published_for);
    }
    if request.is_some() && *request != ring.request.as_deref() {
        return Decision::Do(Step::Announce);
    }
    rotation.period.map_or(Decision::Wait(None), |period| when(Step::Announce, period, elapsed(ring.signing_since, *now)))
}

fn when(step: Step, length: Duration, elapsed: Duration) -> Decision {
    match length.saturating_sub(elapsed) {
        Duration::ZERO => Decision::Do(step),
        left => Decision::Wait(Some(left)),
    }
}

/// The pods that keep the next key from signing, though they have had time enough to learn it.
pub(crate) fn behind<'a>(ring: &KeyRing, circumstances: &Circumstances<'a>) -> Vec<&'a str> {
    let late = |next: &&NextKey| elapsed(next.announced, circumstances.now) > circumstances.rotation.propagation;
    let (Some(next), Some(fleet)) = (ring.next.as_ref().filter(late), circumstances.fleet) else { return Vec::new() };
    let refusing = fleet.pods.iter().filter(|pod| acceptance(pod, next.signing.key_id()) == Acceptance::Refuses);
    refusing.map(|pod| pod.name.as_str()).collect()
}

/// Zero for a time that has not come: somebody put the clock back.
fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

fn acceptance(pod: &PodView, key_id: &str) -> Acceptance {
    match pod.report().map(|report| &report.accepted_keys) {
        None => Acceptance::Silent,
        Some(keys) if keys.is_empty() => Acceptance::Silent,
        Some(keys) if keys.iter().any(|key| key == key_id) => Acceptance::Accepts,
        Some(_) => Acceptance::Refuses,
    }
}

#[cfg(test)]
mod tests;
