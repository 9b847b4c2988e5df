//! What the pods say about one plugin, and what that means for `Loaded`.

use checkstack_control_api::report::{PluginReason, PluginReport, PluginState};
use checkstack_crds::conditions::{ConditionStatus, PluginConditionReason as Reason};
use checkstack_crds::plugin::{InstanceCounts, MAX_REPORTED_PODS, PodPluginState, PodPluginStatus};
use checkstack_plugin_package::Digest;

use crate::fleet::{FleetView, Observation, PodView};

/// What can be concluded from the pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) status: ConditionStatus,
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

/// How many pods a message names.
const NAMED_PODS: usize = 3;

/// The rows of `status.pods`.
pub(crate) fn rows(fleet: &FleetView, resource: &str) -> Vec<PodPluginStatus> {
    let wanted = fleet.target.entries.contains_key(resource);
    let mut rows: Vec<PodPluginStatus> = fleet.pods.iter().filter_map(|pod| row(pod, resource, wanted)).collect();
    if rows.len() > MAX_REPORTED_PODS {
        rows.sort_by_key(|row| row.state == PodPluginState::Active);
        rows.truncate(MAX_REPORTED_PODS);
        rows.sort_by(|one, other| one.name.cmp(&other.name));
    }
    rows
}

/// How many pods should run the plugin in this form, and how many do.
pub(crate) fn counts(fleet: &FleetView, resource: &str, entry: &Digest) -> InstanceCounts {
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    InstanceCounts { desired: count(fleet.pods.len()), active: count(fleet.pods.iter().filter(|pod| runs(pod, resource, entry)).count()) }
}

fn row(pod: &PodView, resource: &str, wanted: bool) -> Option<PodPluginStatus> {
    let named = |state, reason: Reason, message: String| PodPluginStatus {
        name: pod.name.clone(),
        state,
        reason: reason.as_str().to_owned(),
        message,
        ..PodPluginStatus::default()
    };
    match (&pod.observation, pod.plugin(resource)) {
        (_, Some(plugin)) => Some(PodPluginStatus {
            name: pod.name.clone(),
            version: plugin.active.as_ref().map(|active| active.version.clone()),
            digest: plugin.active.as_ref().map(|active| active.digest.to_string()),
            state: state(plugin.state),
            reason: reason(plugin.reason).as_str().to_owned(),
            message: plugin.message.chars().take(1000).collect(),
        }),
        _ if !wanted => None,
        (Observation::Starting { waiting }, None) => {
            Some(named(PodPluginState::Loading, Reason::Starting, starting_message(waiting.as_deref())))
        }
        (Observation::Reported(_), None) => Some(named(PodPluginState::Loading, Reason::RollingOut, String::new())),
        (Observation::Unreachable { message }, None) => Some(named(PodPluginState::Unknown, Reason::PodUnreachable, message.clone())),
        (Observation::Refused { message, .. }, None) => Some(named(PodPluginState::Unknown, Reason::PodUnreachable, message.clone())),
    }
}

fn starting_message(waiting: Option<&str>) -> String {
    waiting.map_or_else(|| "the pod is starting".to_owned(), |waiting| format!("the pod cannot start: {waiting}"))
}

/// Whether the plugin is up in all pods that should serve, as `entry` of the target says.
///
/// Every ready pod counts, and every pod that says it failed. A pod that is still starting does
/// not, as long as another one serves: a rollout must not make a working plugin look broken.
pub(crate) fn verdict(fleet: &FleetView, resource: &str, entry: &Digest) -> Verdict {
    if fleet.pods.is_empty() {
        return unknown(Reason::WaitingForPod, "no pod of the instance runs");
    }
    if let Some(failed) = failed(fleet, resource, entry) {
        return failed;
    }
    let unreachable = complaints(fleet, |pod| match &pod.observation {
        Observation::Unreachable { message } => Some(format!("the pod does not answer: {message}")),
        Observation::Refused { message, .. } => Some(format!("the pod does not take the plugin set over: {message}")),
        Observation::Starting { .. } | Observation::Reported(_) => None,
    });
    if !unreachable.is_empty() {
        return unknown(Reason::PodUnreachable, joined(&unreachable));
    }
    let active = fleet.pods.iter().filter(|pod| runs(pod, resource, entry)).count();
    let behind: Vec<&PodView> = fleet.pods.iter().filter(|pod| pod.ready && !runs(pod, resource, entry)).collect();
    if active > 0 && behind.is_empty() {
        let pods = if active == 1 { "1 pod".to_owned() } else { format!("{active} pods") };
        return Verdict { status: ConditionStatus::True, reason: Reason::Active, message: format!("serves in {pods}") };
    }
    waiting(fleet, resource, entry)
}

/// The pods that say they cannot run it.
fn failed(fleet: &FleetView, resource: &str, entry: &Digest) -> Option<Verdict> {
    let broken = |pod: &'_ PodView| -> Option<PluginReport> {
        let plugin = pod.plugin(resource)?;
        let about_this = plugin.desired.as_ref().is_some_and(|desired| desired.entry_hash == *entry);
        (about_this && matches!(plugin.state, PluginState::Failed | PluginState::Blocked)).then(|| plugin.clone())
    };
    let reports: Vec<PluginReport> = fleet.pods.iter().filter_map(broken).collect();
    // A failure says more than waiting for another plugin.
    let worst = reports.iter().find(|plugin| plugin.state == PluginState::Failed).or(reports.first())?;
    let complaints = complaints(fleet, |pod| broken(pod).map(|plugin| plugin.message));
    Some(Verdict { status: ConditionStatus::False, reason: reason(worst.reason), message: joined(&complaints) })
}

/// Nothing is wrong, but it is not up.
fn waiting(fleet: &FleetView, resource: &str, entry: &Digest) -> Verdict {
    let reported = fleet.pods.iter().filter(|pod| pod.report().is_some()).count();
    if reported == 0 {
        let waiting = complaints(fleet, |pod| match &pod.observation {
            Observation::Starting { waiting } => waiting.as_deref().map(|waiting| starting_message(Some(waiting))),
            _ => None,
        });
        return match waiting.is_empty() {
            true => unknown(Reason::WaitingForPod, "the pods of the instance are starting"),
            false => unknown(Reason::WaitingForPod, joined(&waiting)),
        };
    }
    let behind = fleet.pods.iter().filter(|pod| pod.report().is_some_and(|report| report.set_hash != fleet.target.hash)).count();
    let revision = fleet.target.set.revision;
    if behind > 0 {
        let message = format!("{behind} of {} pods do not have revision {revision} of the plugin set yet", fleet.pods.len());
        return Verdict { status: ConditionStatus::False, reason: Reason::RollingOut, message };
    }
    let active = fleet.pods.iter().filter(|pod| runs(pod, resource, entry)).count();
    let message = format!("active in {active} of {} pods", fleet.pods.len());
    Verdict { status: ConditionStatus::False, reason: Reason::Starting, message }
}

/// Whether the pod serves exactly this entry.
pub(crate) fn runs(pod: &PodView, resource: &str, entry: &Digest) -> bool {
    let active = pod.plugin(resource).filter(|plugin| plugin.state == PluginState::Active).and_then(|plugin| plugin.active.as_ref());
    active.is_some_and(|active| active.entry_hash == *entry)
}

fn complaints(fleet: &FleetView, complaint: impl Fn(&PodView) -> Option<String>) -> Vec<(String, String)> {
    fleet.pods.iter().filter_map(|pod| Some((pod.name.clone(), complaint(pod)?))).collect()
}

/// One sentence if all say the same, else one for each of the first pods.
pub(crate) fn joined(complaints: &[(String, String)]) -> String {
    let (Some((first_pod, first)), count) = (complaints.first(), complaints.len()) else { return String::new() };
    if complaints.iter().all(|(_, message)| message == first) {
        return match count {
            1 => format!("{first} (pod {first_pod})"),
            _ => format!("{first} (in {count} pods)"),
        };
    }
    let named: Vec<String> = complaints.iter().take(NAMED_PODS).map(|(pod, message)| format!("pod {pod}: {message}")).collect();
    let more = count.saturating_sub(NAMED_PODS);
    if more == 0 { named.join("; ") } else { format!("{}; and {more} more pods", named.join("; ")) }
}

fn unknown(reason: Reason, message: impl Into<String>) -> Verdict {
    Verdict { status: ConditionStatus::Unknown, reason, message: message.into() }
}

fn state(state: PluginState) -> PodPluginState {
    match state {
        PluginState::Loading => PodPluginState::Loading,
        PluginState::Active => PodPluginState::Active,
        PluginState::Failed => PodPluginState::Failed,
        PluginState::Blocked => PodPluginState::Blocked,
        PluginState::Draining => PodPluginState::Draining,
        PluginState::Unknown => PodPluginState::Unknown,
    }
}

/// The pod's reason, as a reason of a condition.
pub(crate) fn reason(reason: PluginReason) -> Reason {
    match reason {
        PluginReason::Starting => Reason::Starting,
        PluginReason::Active => Reason::Active,
        PluginReason::Removed => Reason::Removed,
        PluginReason::ArtifactMissing => Reason::ArtifactMissing,
        PluginReason::ArtifactCorrupt => Reason::ArtifactCorrupt,
        PluginReason::InvalidPackage => Reason::InvalidPackage,
        PluginReason::IncompatibleWorld => Reason::IncompatibleWorld,
        PluginReason::InvalidComponent => Reason::InvalidComponent,
        PluginReason::MigrationFailed => Reason::MigrationFailed,
        PluginReason::InvalidConfig => Reason::InvalidConfig,
        PluginReason::InitFailed => Reason::InitFailed,
        PluginReason::Trapped => Reason::Trapped,
        PluginReason::DeadlineExceeded => Reason::DeadlineExceeded,
        PluginReason::MemoryExceeded => Reason::MemoryExceeded,
        PluginReason::DependencyMissing => Reason::DependencyMissing,
        PluginReason::DependencyVersion => Reason::DependencyVersion,
        PluginReason::DependencyNotActive => Reason::DependencyNotActive,
        PluginReason::DependencyCycle => Reason::DependencyCycle,
        PluginReason::DependentFailed => Reason::DependentFailed,
        PluginReason::ProbeFailed => Reason::ProbeFailed,
        PluginReason::Quarantined => Reason::Quarantined,
        PluginReason::SecretConfigMissing => Reason::SecretConfigMissing,
        PluginReason::SecretMissing => Reason::SecretMissing,
        PluginReason::DatabaseUnavailable => Reason::DatabaseUnavailable,
        // Of a newer core server, whose message says it.
        PluginReason::Internal | PluginReason::Unknown => Reason::Internal,
    }
}

#[cfg(test)]
mod tests;
