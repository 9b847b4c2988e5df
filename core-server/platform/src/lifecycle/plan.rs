//! What to do next: a pure function of the fleet's state and the time.
//!
//! - **In order.** Plugins are initialised, and then announced, one after the other in dependency
//!   order, and all are loaded before the first is initialised.
//! - **But nobody waits long for a sick one.** What takes longer than [`PATIENCE`] at a stage, or
//!   has failed before, holds up only its dependents.
//! - **New beside old.** What runs is touched only when the set no longer has it, or no longer has
//!   what it depends on.
//! - **Down in reverse order**, dependents first.

use std::collections::BTreeSet;
use std::time::Duration;

use checkstack_control_api::report::PluginReason;
use checkstack_plugin_package::PluginId;
use tokio::time::Instant;

use super::fleet::{Attempt, Fleet, Slot, Stage, satisfies};

/// For how long others wait for a plugin that is busy with something.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// End the attempt on it.
    Cancel(PluginId),
    /// Take down what runs.
    TakeDown(PluginId),
    /// Begin an attempt: materialise and load.
    Prepare(PluginId),
    /// Migrate and initialise.
    Initialise(PluginId),
    /// Tell it that all plugins are ready.
    Announce(PluginId),
    /// Let the new version serve.
    Activate(PluginId),
}

/// What to do now, and when to look again if nothing happens until then.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
    pub(crate) look_again: Option<Instant>,
}

/// Decides. The same state gives the same plan.
pub(crate) fn plan(fleet: &Fleet, now: Instant) -> Plan {
    Planner { fleet, now, doomed: doomed(fleet), hopeful: hopeful(fleet) }.plan()
}

/// Plugins that run as wanted, or will without anything having to change.
pub(super) fn hopeful(fleet: &Fleet) -> BTreeSet<PluginId> {
    let mut hopeful = BTreeSet::new();
    // In their order one round is enough, but for what depends on members of a cycle.
    loop {
        let more: Vec<&PluginId> = fleet
            .order
            .iter()
            .filter(|id| !hopeful.contains(*id) && fleet.slots.get(*id).is_some_and(|slot| is_hopeful(fleet, slot, &hopeful)))
            .collect();
        if more.is_empty() {
            return hopeful;
        }
        hopeful.extend(more.into_iter().cloned());
    }
}

fn is_hopeful(fleet: &Fleet, slot: &Slot, hopeful: &BTreeSet<PluginId>) -> bool {
    let Some(wanted) = &slot.wanted else { return false };
    let mut dependencies = wanted.version.entry.dependencies.iter();
    slot.failed.is_none() && wanted.obstacle.is_none() && dependencies.all(|(id, range)| runs(fleet, id, range) || hopeful.contains(id))
}

/// Whether a plugin serves in a version inside the range.
pub(super) fn runs(fleet: &Fleet, plugin_id: &PluginId, range: &str) -> bool {
    let running = fleet.slots.get(plugin_id).and_then(|slot| slot.running.as_ref());
    running.is_some_and(|running| satisfies(&running.version.entry.version, range))
}

/// Whether a plugin is on its way and can be called by those that depend on it.
fn is_initialised(fleet: &Fleet, plugin_id: &PluginId, range: &str) -> bool {
    let attempt = fleet.slots.get(plugin_id).and_then(|slot| slot.attempt.as_ref());
    attempt.is_some_and(|attempt| {
        !attempt.cancelled && attempt.stage >= Stage::Initialised && satisfies(&attempt.version.entry.version, range)
    })
}

/// Plugins that run and must not go on.
fn doomed(fleet: &Fleet) -> BTreeSet<PluginId> {
    let mut doomed: BTreeSet<PluginId> = fleet
        .slots
        .iter()
        .filter(|(_, slot)| slot.running.is_some() && has_lost_its_place(fleet, slot))
        .map(|(id, _)| id.clone())
        .collect();
    loop {
        let more: Vec<PluginId> = fleet
            .slots
            .iter()
            .filter(|(id, slot)| {
                let Some(running) = &slot.running else { return false };
                !doomed.contains(*id) && running.version.entry.dependencies.keys().any(|dependency| doomed.contains(dependency))
            })
            .map(|(id, _)| id.clone())
            .collect();
        if more.is_empty() {
            return doomed;
        }
        doomed.extend(more);
    }
}

fn has_lost_its_place(fleet: &Fleet, slot: &Slot) -> bool {
    let (Some(running), Some(wanted)) = (&slot.running, &slot.wanted) else { return true };
    let lost = |id: &PluginId| fleet.slots.get(id).is_none_or(|dependency| dependency.wanted.is_none());
    if running.version.entry.dependencies.keys().any(lost) {
        return true;
    }
    // For as long as its own new version is on the way, the old one bears with a dependency that
    // is newer than it asked for.
    let is_current = running.version.hash == wanted.version.hash;
    is_current && wanted.obstacle.as_ref().is_some_and(|obstacle| obstacle.reason == PluginReason::DependencyVersion)
}

struct Planner<'a> {
    fleet: &'a Fleet,
    now: Instant,
    doomed: BTreeSet<PluginId>,
    hopeful: BTreeSet<PluginId>,
}

impl Planner<'_> {
    fn plan(&self) -> Plan {
        let mut actions: Vec<Action> = Vec::new();
        actions.extend(self.cancellations());
        actions.extend(self.next_to_take_down().map(Action::TakeDown));
        for (position, plugin_id) in self.fleet.order.iter().enumerate() {
            let Some(slot) = self.fleet.slots.get(plugin_id) else { continue };
            match &slot.attempt {
                None if self.may_begin(plugin_id, slot) => actions.push(Action::Prepare(plugin_id.clone())),
                Some(attempt) if !self.is_futile(slot, attempt) => {
                    actions.extend(self.advance(position, plugin_id, attempt));
                }
                _ => {}
            }
        }
        Plan { look_again: self.look_again(), actions }
    }

    fn cancellations(&self) -> impl Iterator<Item = Action> + '_ {
        self.fleet.slots.iter().filter_map(|(id, slot)| {
            let attempt = slot.attempt.as_ref().filter(|attempt| !attempt.cancelled)?;
            self.is_futile(slot, attempt).then(|| Action::Cancel(id.clone()))
        })
    }

    /// Whether an attempt can no longer lead to what is wanted.
    fn is_futile(&self, slot: &Slot, attempt: &Attempt) -> bool {
        let Some(wanted) = &slot.wanted else { return true };
        attempt.cancelled
            || wanted.version.hash != attempt.version.hash
            || wanted.obstacle.is_some()
            || attempt.version.entry.dependencies.iter().any(|(id, range)| !self.is_within_reach(id, range))
    }

    /// Whether a dependency runs, or will without anything having to change.
    fn is_within_reach(&self, id: &PluginId, range: &str) -> bool {
        (runs(self.fleet, id, range) && !self.doomed.contains(id)) || self.hopeful.contains(id)
    }

    fn may_begin(&self, plugin_id: &PluginId, slot: &Slot) -> bool {
        let Some(wanted) = &slot.wanted else { return false };
        let is_running = slot.running.as_ref().is_some_and(|running| running.version.hash == wanted.version.hash);
        let is_due = slot.failed.as_ref().is_none_or(|failed| failed.retry_at.is_some_and(|at| at <= self.now));
        let dependencies = &wanted.version.entry.dependencies;
        !is_running
            && is_due
            && wanted.obstacle.is_none()
            && slot.leaving.is_none()
            && !self.doomed.contains(plugin_id)
            && dependencies.iter().all(|(id, range)| self.is_within_reach(id, range))
    }

    fn advance(&self, position: usize, plugin_id: &PluginId, attempt: &Attempt) -> Option<Action> {
        let dependencies = &attempt.version.entry.dependencies;
        match attempt.stage {
            Stage::Prepared => {
                let can_be_called =
                    |(id, range): (&PluginId, &String)| runs(self.fleet, id, range) || is_initialised(self.fleet, id, range);
                let in_turn = !self.waits_for_any(Stage::Preparing) && !self.waits_for_earlier(position, Stage::Initialising);
                (in_turn && dependencies.iter().all(can_be_called)).then(|| Action::Initialise(plugin_id.clone()))
            }
            Stage::Initialised => {
                let serves = |(id, range): (&PluginId, &String)| runs(self.fleet, id, range);
                let in_turn = !self.waits_for_any(Stage::Initialising) && !self.waits_for_earlier(position, Stage::Announced);
                (in_turn && dependencies.iter().all(serves)).then(|| Action::Announce(plugin_id.clone()))
            }
            Stage::Announced => Some(Action::Activate(plugin_id.clone())),
            Stage::Preparing | Stage::Initialising | Stage::Announcing => None,
        }
    }

    /// Whether some plugin is not past `stage`, and worth waiting for.
    fn waits_for_any(&self, stage: Stage) -> bool {
        self.fleet.slots.values().any(|slot| self.is_worth_waiting_for(slot, stage))
    }

    /// The same, of those that come before in the order.
    fn waits_for_earlier(&self, position: usize, stage: Stage) -> bool {
        self.fleet.order.iter().take(position).filter_map(|id| self.fleet.slots.get(id)).any(|slot| self.is_worth_waiting_for(slot, stage))
    }

    fn is_worth_waiting_for(&self, slot: &Slot, stage: Stage) -> bool {
        slot.attempt.as_ref().is_some_and(|attempt| {
            attempt.stage <= stage && !attempt.again && !attempt.cancelled && self.now.saturating_duration_since(attempt.since) < PATIENCE
        })
    }

    /// The plugin that came up last, of those that must go and that nothing left depends on.
    fn next_to_take_down(&self) -> Option<PluginId> {
        let one_is_leaving = self
            .fleet
            .slots
            .values()
            .filter_map(|slot| slot.leaving.as_ref())
            .any(|leaving| self.now.saturating_duration_since(leaving.since) < PATIENCE);
        if one_is_leaving {
            return None;
        }
        let mut candidates: Vec<(u64, &PluginId)> =
            self.doomed.iter().filter_map(|id| Some((self.fleet.slots.get(id)?.running.as_ref()?.activation, id))).collect();
        candidates.sort_unstable_by(|left, right| right.cmp(left));
        let free = candidates.iter().find(|(_, id)| !self.has_dependents(id));
        // Old and new versions together may depend on each other in a circle; then the last goes first.
        let somebody_leaves = self.fleet.slots.values().any(|slot| slot.leaving.is_some());
        free.or_else(|| candidates.first().filter(|_| !somebody_leaves)).map(|(_, id)| (*id).clone())
    }

    /// Whether something that runs or is being taken down depends on the plugin.
    fn has_dependents(&self, plugin_id: &PluginId) -> bool {
        self.fleet.slots.iter().any(|(id, slot)| {
            let running = slot.running.as_ref().map(|running| &running.version);
            let leaving = slot.leaving.as_ref().map(|leaving| &leaving.version);
            id != plugin_id && running.into_iter().chain(leaving).any(|version| version.entry.dependencies.contains_key(plugin_id))
        })
    }

    fn look_again(&self) -> Option<Instant> {
        let retries = self.fleet.slots.values().filter(|slot| slot.attempt.is_none()).filter_map(|slot| slot.failed.as_ref()?.retry_at);
        let patience = self.fleet.slots.values().flat_map(|slot| {
            let attempt = slot.attempt.as_ref().map(|attempt| attempt.since);
            let leaving = slot.leaving.as_ref().map(|leaving| leaving.since);
            attempt.into_iter().chain(leaving).map(|since| since + PATIENCE)
        });
        retries.chain(patience).filter(|at| *at > self.now).min()
    }
}
