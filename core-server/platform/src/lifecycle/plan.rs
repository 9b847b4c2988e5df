//! What to do next: a pure function of the fleet's state and the time.
//!
//! - **In order.** Plugins are initialised, and then announced, after those that they need, a few at
//!   a time. All are loaded before the first is initialised, and initialised before the first is told so.
//! - **But nobody waits long for a sick one.** What takes longer than [`PATIENCE`] at a stage, or
//!   has failed before, holds up only its dependents.
//! - **New beside old.** What runs is touched only when the set no longer has it, or no longer has
//!   what it depends on. What depends on each other changes at one moment: see [`swap`](super::swap).
//! - **Down in reverse order**, dependents first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use checkstack_control_api::report::PluginReason;
use checkstack_plugin_package::PluginId;
use tokio::time::Instant;

use super::fleet::Fleet;
use super::obstacles::satisfies;
use super::slot::{Attempt, Form, Running, Slot, Stage};
use super::swap::{Rejection, Swaps};

/// For how long others wait for a plugin that is busy with something.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// So many are initialised, or announced, at a time: each may take much of the processor and of the
/// database, and has a deadline.
const AT_ONCE: usize = 16;
/// Of very many plugins a larger part, so that they do not take more rounds than this, each with a plan.
const ROUNDS: usize = 32;

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// End the attempt on it.
    Cancel(PluginId),
    /// Take down what runs.
    TakeDown(PluginId),
    /// End the attempt on it as failed, because of another plugin.
    Reject(Rejection),
    /// Begin an attempt: materialise and load.
    Prepare(PluginId, Form),
    /// Migrate and initialise.
    Initialise(PluginId),
    /// Tell it that all plugins are ready.
    Announce(PluginId),
    /// Let the new versions serve, all from the same moment.
    Activate(Vec<PluginId>),
}

/// What to do now, and when to look again if nothing happens until then.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
    pub(crate) look_again: Option<Instant>,
}

/// Decides. The same state gives the same plan. The work grows with plugins and dependencies, not
/// with their square.
pub(crate) fn plan(fleet: &Fleet, now: Instant) -> Plan {
    let (doomed, hopeful, swaps) = (doomed(fleet), hopeful(fleet), Swaps::of(fleet));
    let planner = Planner { fleet, now, doomed, hopeful, swaps, loads: false, initialises: false };
    let awaits = |stage| fleet.all().any(|(_, slot)| planner.is_worth_waiting_for(slot, stage));
    let joins = fleet.all().any(|(id, slot)| planner.joins_a_swap(id, slot));
    let (loads, initialises) = (awaits(Stage::Preparing), joins || awaits(Stage::Initialising));
    Planner { loads, initialises, ..planner }.plan()
}

/// Plugins that run as wanted, or will without anything having to change.
pub(super) fn hopeful(fleet: &Fleet) -> BTreeSet<&PluginId> {
    // How many dependencies of each that do not run yet have not been found hopeful.
    let mut open: BTreeMap<&PluginId, usize> = BTreeMap::new();
    let mut dependents: Dependents<'_> = BTreeMap::new();
    for (id, slot) in fleet.all() {
        let Some(wanted) = slot.wanted.as_ref().filter(|wanted| slot.failed.is_none() && wanted.obstacle.is_none()) else { continue };
        let absent = wanted.version.entry.dependencies.iter().filter(|(dependency, range)| !runs(fleet, dependency, range));
        open.insert(id, absent.map(|(dependency, _)| dependents.entry(dependency).or_default().push(id)).count());
    }
    let mut hopeful: BTreeSet<&PluginId> = BTreeSet::new();
    let mut found: Vec<&PluginId> = open.iter().filter(|(_, open)| **open == 0).map(|(id, _)| *id).collect();
    while let Some(id) = found.pop() {
        hopeful.insert(id);
        for dependent in dependents.get(id).into_iter().flatten() {
            if let Some(open) = open.get_mut(dependent) {
                *open -= 1;
                found.extend((*open == 0).then_some(*dependent));
            }
        }
    }
    hopeful
}

/// By dependency.
type Dependents<'a> = BTreeMap<&'a PluginId, Vec<&'a PluginId>>;

/// Whether a plugin serves in a version inside the range.
pub(super) fn runs(fleet: &Fleet, plugin_id: &PluginId, range: &str) -> bool {
    let running = fleet.slot(plugin_id).and_then(|slot| slot.running.as_ref());
    running.is_some_and(|running| satisfies(&running.version.entry.version, range))
}

/// Whether a plugin is on its way and can be called by those that depend on it.
fn is_initialised(fleet: &Fleet, plugin_id: &PluginId, range: &str) -> bool {
    let attempt = fleet.slot(plugin_id).and_then(|slot| slot.attempt.as_ref());
    attempt.is_some_and(|attempt| {
        !attempt.cancelled && attempt.stage >= Stage::Initialised && satisfies(&attempt.version.entry.version, range)
    })
}

/// Plugins that run and must not go on.
fn doomed(fleet: &Fleet) -> BTreeSet<&PluginId> {
    let mut dependents: Dependents<'_> = BTreeMap::new();
    let mut lost: Vec<&PluginId> = Vec::new();
    for (id, slot) in fleet.all() {
        let Some(running) = &slot.running else { continue };
        for dependency in running.version.entry.dependencies.keys() {
            dependents.entry(dependency).or_default().push(id);
        }
        lost.extend(has_lost_its_place(fleet, slot).then_some(id));
    }
    let mut doomed = BTreeSet::new();
    while let Some(id) = lost.pop() {
        if doomed.insert(id) {
            lost.extend(dependents.get(id).into_iter().flatten());
        }
    }
    doomed
}

fn has_lost_its_place(fleet: &Fleet, slot: &Slot) -> bool {
    let (Some(running), Some(wanted)) = (&slot.running, &slot.wanted) else { return true };
    let lost = |id: &PluginId| fleet.slot(id).is_none_or(|dependency| dependency.wanted.is_none());
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
    doomed: BTreeSet<&'a PluginId>,
    hopeful: BTreeSet<&'a PluginId>,
    swaps: Swaps<'a>,
    /// Some plugin that others wait for is not loaded yet,
    loads: bool,
    /// not initialised yet.
    initialises: bool,
}

/// How many more may begin now
struct Room {
    /// to be initialised,
    initialise: usize,
    /// to be announced.
    announce: usize,
}

impl Planner<'_> {
    fn plan(&self) -> Plan {
        let mut actions: Vec<Action> = self.swaps.rejections(&self.doomed).into_iter().map(Action::Reject).collect();
        if !actions.is_empty() {
            // What was bound to them ends next.
            return Plan { look_again: None, actions };
        }
        actions.extend(self.cancellations());
        actions.extend(self.next_to_take_down().map(Action::TakeDown));
        let (mut activated, mut waiting) = (BTreeSet::new(), BTreeSet::new());
        let mut room = Room { initialise: self.room(Stage::Initialising), announce: self.room(Stage::Announcing) };
        for plugin_id in &self.fleet.order {
            let Some(slot) = self.fleet.slot(plugin_id) else { continue };
            match &slot.attempt {
                None => actions.extend(self.form(plugin_id, slot).map(|form| Action::Prepare(plugin_id.clone(), form))),
                Some(attempt) if self.is_futile(slot, attempt) || activated.contains(plugin_id) => {}
                Some(attempt) if attempt.stage == Stage::Announced => {
                    if let Some(group) = self.swaps.group(plugin_id, &self.doomed, &activated, &mut waiting) {
                        actions.push(Action::Activate(group.iter().copied().cloned().collect()));
                        activated.extend(group);
                    }
                }
                Some(attempt) => actions.extend(self.advance(&mut room, plugin_id, attempt)),
            }
        }
        Plan { look_again: self.look_again(), actions }
    }

    fn cancellations(&self) -> impl Iterator<Item = Action> + '_ {
        self.fleet.all().filter_map(|(id, slot)| {
            let attempt = slot.attempt.as_ref().filter(|attempt| !attempt.cancelled)?;
            self.is_futile(slot, attempt).then(|| Action::Cancel(id.clone()))
        })
    }

    /// Whether an attempt can no longer lead to what is wanted.
    fn is_futile(&self, slot: &Slot, attempt: &Attempt) -> bool {
        let Some(wanted) = &slot.wanted else { return true };
        let loses_a_dependency = attempt.stage >= Stage::Initialising && attempt.bound.keys().any(|id| self.doomed.contains(id));
        if attempt.cancelled || loses_a_dependency || !self.swaps.is_bound(attempt) {
            return true;
        }
        if attempt.form == Form::Running {
            return !self.swaps.must_be_rebound(slot);
        }
        wanted.version.hash != attempt.version.hash
            || wanted.obstacle.is_some()
            || attempt.version.entry.dependencies.iter().any(|(id, range)| !self.is_within_reach(id, range))
    }

    /// Whether a dependency runs, or will without anything having to change.
    fn is_within_reach(&self, id: &PluginId, range: &str) -> bool {
        (runs(self.fleet, id, range) && !self.doomed.contains(id)) || self.hopeful.contains(id)
    }

    /// In which form a plugin is to be brought up now.
    fn form(&self, plugin_id: &PluginId, slot: &Slot) -> Option<Form> {
        if slot.wanted.is_none() || slot.leaving.is_some() || self.doomed.contains(plugin_id) {
            return None;
        }
        if self.may_begin(slot) {
            return Some(Form::Wanted);
        }
        let failed_already = |running: &Running| {
            let failed = slot.rebinding_failed.as_ref().filter(|failed| failed.retry_at.is_none_or(|at| at > self.now));
            failed.is_some_and(|failed| failed.bound == self.fleet.bindable(&running.version.entry, Form::Running))
        };
        let is_due = slot.running.as_ref().is_some_and(|running| !failed_already(running));
        (is_due && self.swaps.must_be_rebound(slot) && self.swaps.can_be_rebound(plugin_id)).then_some(Form::Running)
    }

    /// Whether a plugin is about to be initialised once more, because of another that has been just now.
    fn joins_a_swap(&self, plugin_id: &PluginId, slot: &Slot) -> bool {
        slot.attempt.is_none() && slot.rebinding_failed.is_none() && self.form(plugin_id, slot) == Some(Form::Running)
    }

    fn may_begin(&self, slot: &Slot) -> bool {
        let Some(wanted) = &slot.wanted else { return false };
        let is_running = slot.running.as_ref().is_some_and(|running| running.version.hash == wanted.version.hash);
        let is_due = slot.failed.as_ref().is_none_or(|failed| failed.retry_at.is_some_and(|at| at <= self.now));
        let dependencies = &wanted.version.entry.dependencies;
        !is_running && is_due && wanted.obstacle.is_none() && dependencies.iter().all(|(id, range)| self.is_within_reach(id, range))
    }

    fn room(&self, stage: Stage) -> usize {
        // What takes long takes little.
        let is_busy = |attempt: &&Attempt| attempt.stage == stage && self.now.saturating_duration_since(attempt.since) < PATIENCE;
        let at_once = AT_ONCE.max(self.fleet.order.len() / ROUNDS);
        at_once.saturating_sub(self.fleet.all().filter_map(|(_, slot)| slot.attempt.as_ref()).filter(is_busy).count())
    }

    fn advance(&self, room: &mut Room, plugin_id: &PluginId, attempt: &Attempt) -> Option<Action> {
        match attempt.stage {
            Stage::Prepared if !self.loads && room.initialise > 0 && self.can_be_initialised(plugin_id, attempt) => {
                room.initialise -= 1;
                Some(Action::Initialise(plugin_id.clone()))
            }
            Stage::Initialised if !self.initialises && room.announce > 0 && self.can_be_announced(attempt) => {
                room.announce -= 1;
                Some(Action::Announce(plugin_id.clone()))
            }
            _ => None,
        }
    }

    /// Whether all that it needs can be called.
    fn can_be_initialised(&self, plugin_id: &PluginId, attempt: &Attempt) -> bool {
        attempt.version.entry.dependencies.iter().all(|(id, range)| {
            let comes = attempt.form == Form::Running || runs(self.fleet, id, range) || is_initialised(self.fleet, id, range);
            comes && !self.doomed.contains(id) && !self.swaps.is_on_its_way(id, plugin_id)
        })
    }

    /// Whether all that it needs have been told.
    fn can_be_announced(&self, attempt: &Attempt) -> bool {
        attempt.bound.iter().all(|(id, incarnation)| self.swaps.is_announced(id, *incarnation))
    }

    /// Whether a plugin is not past `stage`, and worth waiting for.
    fn is_worth_waiting_for(&self, slot: &Slot, stage: Stage) -> bool {
        slot.attempt.as_ref().is_some_and(|attempt| {
            attempt.stage <= stage && !attempt.again && !attempt.cancelled && self.now.saturating_duration_since(attempt.since) < PATIENCE
        })
    }

    /// The plugin that came up last, of those that must go and that nothing left depends on.
    fn next_to_take_down(&self) -> Option<PluginId> {
        if self.doomed.is_empty() {
            return None;
        }
        let leaving = || self.fleet.all().filter_map(|(_, slot)| slot.leaving.as_ref());
        if leaving().any(|leaving| self.now.saturating_duration_since(leaving.since) < PATIENCE) {
            return None;
        }
        let mut candidates: Vec<(u64, &PluginId)> =
            self.doomed.iter().filter_map(|id| Some((self.fleet.slot(id)?.running.as_ref()?.activation, *id))).collect();
        candidates.sort_unstable_by(|left, right| right.cmp(left));
        let needed = self.needed();
        let free = candidates.iter().find(|(_, id)| !needed.contains(id));
        // Old and new versions together may depend on each other in a circle; then the last goes first.
        let somebody_leaves = leaving().next().is_some();
        free.or_else(|| candidates.first().filter(|_| !somebody_leaves)).map(|(_, id)| (*id).clone())
    }

    /// What other plugins that run or are being taken down depend on.
    fn needed(&self) -> BTreeSet<&PluginId> {
        let dependencies = self.fleet.all().flat_map(|(id, slot)| {
            let running = slot.running.as_ref().map(|running| &running.version);
            let leaving = slot.leaving.as_ref().map(|leaving| &leaving.version);
            let versions = running.into_iter().chain(leaving);
            versions.flat_map(|version| version.entry.dependencies.keys()).filter(move |dependency| *dependency != id)
        });
        dependencies.collect()
    }

    fn look_again(&self) -> Option<Instant> {
        let idle = || self.fleet.all().map(|(_, slot)| slot).filter(|slot| slot.attempt.is_none());
        let retries = idle().filter_map(|slot| slot.failed.as_ref()?.retry_at);
        let rebindings = idle().filter_map(|slot| slot.rebinding_failed.as_ref()?.retry_at);
        let patience = self.fleet.all().flat_map(|(_, slot)| {
            let attempt = slot.attempt.as_ref().map(|attempt| attempt.since);
            let leaving = slot.leaving.as_ref().map(|leaving| leaving.since);
            attempt.into_iter().chain(leaving).map(|since| since + PATIENCE)
        });
        retries.chain(rebindings).chain(patience).filter(|at| *at > self.now).min()
    }
}
