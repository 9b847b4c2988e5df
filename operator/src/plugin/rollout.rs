//! What became of the forms of a plugin, and whether the newest has to be put back: a pure function of what was known
//! before, what the plugin set has, and what the pods say.
//!
//! The result is `status.history`. It is the only memory of a rollback: the plugin set is computed from it, so that an
//! operator that starts anew decides as the one before did.

use std::time::Duration;

use checkstack_control_api::report::{PluginReason, PluginReport, PluginState};
use checkstack_crds::conditions::{ConditionStatus, shortened};
use checkstack_crds::plugin::{MAX_HISTORY, PluginHistoryEntry, RolloutState};
use checkstack_plugin_package::{Digest, PluginEntry};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::loaded::{self, joined};
use crate::fleet::FleetView;

/// How long a form may take, and what is done when it does not come up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RolloutPolicy {
    pub(crate) deadline: Duration,
    /// Whether the form before is put back.
    pub(crate) rolls_back: bool,
}

/// The form that the set has now.
pub(crate) struct Current<'a> {
    /// Of the plugin set.
    pub(crate) revision: u64,
    pub(crate) entry: &'a PluginEntry,
    /// Of the entry.
    pub(crate) hash: Digest,
    /// See [`PluginHistoryEntry::attempt`].
    pub(crate) attempt: &'a str,
}

/// The history with what is known now. `fleet` only when all pods have been asked.
pub(crate) fn advance(
    mut history: Vec<PluginHistoryEntry>,
    current: &Current<'_>,
    fleet: Option<&FleetView>,
    policy: RolloutPolicy,
    now: &Time,
) -> Vec<PluginHistoryEntry> {
    if !is_about(history.first(), current) {
        supersede(&mut history);
        history.insert(0, begun(current, now));
    }
    let fallback = last_good(&history).is_some_and(|good| good.hash != current.hash.to_string());
    if let (Some(newest), Some(fleet)) = (history.first_mut(), fleet) {
        judge(newest, current, fleet, Judge { policy, fallback, now });
    }
    shorten(history)
}

/// What was on its way is not wanted any more.
pub(crate) fn supersede(history: &mut [PluginHistoryEntry]) {
    if let Some(newest) = history.first_mut().filter(|newest| newest.state == RolloutState::RollingOut) {
        newest.state = RolloutState::Superseded;
    }
}

/// The last form that every pod ran.
pub(crate) fn last_good(history: &[PluginHistoryEntry]) -> Option<&PluginHistoryEntry> {
    history.iter().find(|entry| entry.state == RolloutState::Active)
}

/// The form that was put back, if an attempt is one that is not to be repeated.
pub(crate) fn refused<'a>(history: &'a [PluginHistoryEntry], attempt: &str) -> Option<&'a PluginHistoryEntry> {
    history.first().filter(|newest| newest.state == RolloutState::RolledBack && newest.attempt == attempt)
}

/// How much of its time the newest form has left.
pub(crate) fn time_left(history: &[PluginHistoryEntry], policy: RolloutPolicy, now: &Time) -> Option<Duration> {
    let newest = history.first().filter(|newest| newest.state == RolloutState::RollingOut)?;
    Some(policy.deadline.saturating_sub(age(newest, now))).filter(|left| !left.is_zero())
}

fn is_about(newest: Option<&PluginHistoryEntry>, current: &Current<'_>) -> bool {
    let Some(newest) = newest.filter(|newest| newest.hash == current.hash.to_string()) else { return false };
    match newest.state {
        RolloutState::RollingOut | RolloutState::Active | RolloutState::Failed => true,
        RolloutState::RolledBack => newest.attempt == current.attempt,
        RolloutState::Superseded | RolloutState::Unknown => false,
    }
}

fn begun(current: &Current<'_>, now: &Time) -> PluginHistoryEntry {
    PluginHistoryEntry {
        revision: i64::try_from(current.revision).unwrap_or(i64::MAX),
        version: current.entry.version.clone(),
        digest: current.entry.digest.to_string(),
        hash: current.hash.to_string(),
        state: RolloutState::RollingOut,
        started_at: Some(now.clone()),
        attempt: current.attempt.to_owned(),
        reason: String::new(),
        message: String::new(),
    }
}

struct Judge<'a> {
    policy: RolloutPolicy,
    /// Whether there is something to go back to.
    fallback: bool,
    now: &'a Time,
}

fn judge(newest: &mut PluginHistoryEntry, current: &Current<'_>, fleet: &FleetView, judge: Judge<'_>) {
    if !matches!(newest.state, RolloutState::RollingOut | RolloutState::Failed) {
        return;
    }
    if loaded::verdict(fleet, &current.entry.resource, &current.hash).status == ConditionStatus::True {
        newest.state = RolloutState::Active;
        (newest.reason, newest.message) = Default::default();
        return;
    }
    let overdue = age(newest, judge.now) >= judge.policy.deadline;
    let Some((reason, message)) = blame(fleet, current, overdue) else { return };
    newest.state = if judge.fallback && judge.policy.rolls_back { RolloutState::RolledBack } else { RolloutState::Failed };
    newest.reason = reason;
    newest.message = message;
    // The object may have been touched on the way.
    current.attempt.clone_into(&mut newest.attempt);
}

/// What pods hold against the form: one that will not try again does at once, one that will when its time is over.
fn blame(fleet: &FleetView, current: &Current<'_>, overdue: bool) -> Option<(String, String)> {
    let broken = |plugin: &&PluginReport| {
        let about_this = plugin.desired.as_ref().is_some_and(|desired| desired.entry_hash == current.hash);
        about_this && is_its_fault(plugin) && (overdue || plugin.terminal)
    };
    let reports: Vec<(String, &PluginReport)> =
        fleet.pods.iter().filter_map(|pod| Some((pod.name.clone(), pod.plugin(&current.entry.resource).filter(broken)?))).collect();
    let (_, first) = reports.first()?;
    let complaints: Vec<(String, String)> = reports.iter().map(|(pod, plugin)| (pod.clone(), plugin.message.clone())).collect();
    Some((loaded::reason(first.reason).as_str().to_owned(), shortened(joined(&complaints))))
}

/// Whether another form of the plugin might do better. A database that is away is nobody's fault, nor is a dependency that
/// is not up: that one has a history of its own.
fn is_its_fault(plugin: &PluginReport) -> bool {
    let circumstances = matches!(
        plugin.reason,
        PluginReason::DatabaseUnavailable
            | PluginReason::ArtifactMissing
            | PluginReason::SecretConfigMissing
            | PluginReason::DependencyNotActive
            | PluginReason::Internal
    );
    matches!(plugin.state, PluginState::Failed | PluginState::Blocked) && !circumstances
}

fn age(entry: &PluginHistoryEntry, now: &Time) -> Duration {
    let since = entry.started_at.as_ref().unwrap_or(now);
    now.0.duration_since(since.0).try_into().unwrap_or_default()
}

/// The newest ones, and the last good one in any case.
fn shorten(mut history: Vec<PluginHistoryEntry>) -> Vec<PluginHistoryEntry> {
    let good = history.iter().position(|entry| entry.state == RolloutState::Active);
    if let Some(good) = good.filter(|place| *place >= MAX_HISTORY) {
        history.swap(MAX_HISTORY - 1, good);
    }
    history.truncate(MAX_HISTORY);
    history
}

#[cfg(test)]
mod tests;
