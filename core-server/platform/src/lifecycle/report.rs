//! What the pod says about its plugins: a pure function of the fleet's state.

use checkstack_control_api::report::{PluginReason, PluginReport, PluginState, PodReport, RunningPlugin};
use checkstack_plugin_package::PluginId;

use super::fleet::Fleet;
use super::plan::{hopeful, runs};
use super::slot::{Running, Slot, Version, Wanted};

/// The report of the pod `pod`.
pub(crate) fn report(fleet: &Fleet, pod: &str, server_version: &str) -> PodReport {
    let hopeful = hopeful(fleet);
    let listed = fleet.listed.iter().filter_map(|id| Some((id, fleet.slot(id)?)));
    let unlisted = fleet.all().filter(|(_, slot)| slot.wanted.is_none());
    let plugins: Vec<PluginReport> =
        listed.chain(unlisted).map(|(id, slot)| plugin(fleet, id, slot, |dependency| hopeful.contains(dependency))).collect();
    PodReport {
        pod: pod.to_owned(),
        server_version: server_version.to_owned(),
        revision: fleet.revision,
        set_hash: fleet.set_hash,
        settled: plugins.iter().all(|plugin| !matches!(plugin.state, PluginState::Loading | PluginState::Draining)),
        plugins,
        // Not the lifecycle's to know.
        accepted_keys: Vec::new(),
    }
}

fn plugin(fleet: &Fleet, plugin_id: &PluginId, slot: &Slot, is_hopeful: impl Fn(&PluginId) -> bool) -> PluginReport {
    let (state, reason, message) = match &slot.wanted {
        None => (PluginState::Draining, PluginReason::Removed, "is being taken down".to_owned()),
        Some(wanted) => state(fleet, slot, wanted, is_hopeful),
    };
    let shown = slot.wanted.as_ref().map(|wanted| &wanted.version);
    let present = [
        slot.running.as_ref().map(|running| &running.version),
        slot.leaving.as_ref().map(|leaving| &leaving.version),
        slot.attempt.as_ref().map(|attempt| &attempt.version),
    ];
    let resource = shown.or(present.into_iter().flatten().next()).map(|version| version.entry.resource.clone());
    PluginReport {
        resource: resource.unwrap_or_default(),
        plugin_id: plugin_id.clone(),
        active: slot.running.as_ref().map(|running| running_plugin(&running.version)),
        desired: shown.map(running_plugin),
        state,
        reason,
        message,
        terminal: slot.failed.as_ref().is_some_and(|failed| state == PluginState::Failed && !failed.failure.transient),
    }
}

fn state(fleet: &Fleet, slot: &Slot, wanted: &Wanted, is_hopeful: impl Fn(&PluginId) -> bool) -> (PluginState, PluginReason, String) {
    if let Some(running) = slot.running.as_ref().filter(|running| running.version.hash == wanted.version.hash) {
        return match &running.quarantined {
            None => (PluginState::Active, PluginReason::Active, with_old_secrets(fleet, slot, running)),
            Some(how) => {
                (PluginState::Failed, PluginReason::Quarantined, format!("calls are refused because they failed again and again: {how}"))
            }
        };
    }
    if let Some(obstacle) = &wanted.obstacle {
        return (PluginState::Blocked, obstacle.reason, obstacle.message.clone());
    }
    // A failure stays until it is overcome: a further attempt does not make the report flap.
    if let Some(failed) = &slot.failed {
        return (PluginState::Failed, failed.failure.reason, failed.failure.message.clone());
    }
    let blocking = wanted.version.entry.dependencies.iter().find(|(id, range)| !runs(fleet, id, range) && !is_hopeful(id));
    match blocking {
        Some((id, _)) => (
            PluginState::Blocked,
            PluginReason::DependencyNotActive,
            format!("waits for plugin '{id}', which it depends on and which is not active: see there"),
        ),
        None => (PluginState::Loading, PluginReason::Starting, "is being brought up".to_owned()),
    }
}

/// What is wrong with the new values of its secrets, if it goes on with the old ones because of that.
fn with_old_secrets(fleet: &Fleet, slot: &Slot, running: &Running) -> String {
    match &slot.rebinding_failed {
        Some(failed) if fleet.has_stale_secrets(running) => {
            format!("goes on with the values that its secrets had before: {}", failed.failure.message)
        }
        _ => String::new(),
    }
}

fn running_plugin(version: &Version) -> RunningPlugin {
    RunningPlugin { version: version.entry.version.clone(), digest: version.entry.digest, entry_hash: version.hash }
}
