//! Which plugins change together.
//!
//! A plugin that is being replaced takes along those that depend on it: each of them is initialised
//! once more, bound to the new version, and all of them begin to serve at the same moment. Until then,
//! and if one of them fails, the old versions go on, bound to each other as they were.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use checkstack_plugin_package::{PluginId, order};

use super::fleet::Fleet;
use super::slot::{Attempt, Form, Running, Slot, Stage};

/// By plugin: those that run, or are being taken down, and depend on it.
type Dependents<'a> = BTreeMap<&'a PluginId, Vec<&'a PluginId>>;

/// The fleet, as far as it is about changing together.
pub(super) struct Swaps<'a> {
    fleet: &'a Fleet,
    dependents: OnceCell<Dependents<'a>>,
    /// Plugins that, as they are being brought up or else run, depend on themselves, and the number of the circle.
    circles: OnceCell<BTreeMap<&'a PluginId, usize>>,
    stale: OnceCell<BTreeSet<&'a PluginId>>,
}

/// A new version that does not come to serve because of another plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// The plugin whose new version it is.
    pub(crate) plugin: PluginId,
    /// The plugin that cannot work with it.
    pub(crate) dependent: PluginId,
}

impl<'a> Swaps<'a> {
    pub(super) fn of(fleet: &'a Fleet) -> Self {
        Self { fleet, dependents: OnceCell::new(), circles: OnceCell::new(), stale: OnceCell::new() }
    }

    /// Whether what runs is bound to something that has been, or is being, replaced, or has the value of a secret that has been.
    pub(super) fn must_be_rebound(&self, slot: &Slot) -> bool {
        let Some(running) = &slot.running else { return false };
        self.fleet.has_stale_secrets(running) || self.is_bound_to_the_past(running)
    }

    fn is_bound_to_the_past(&self, running: &Running) -> bool {
        running.version.entry.dependencies.keys().any(|id| {
            let newest = self.fleet.slot(id).and_then(|dependency| {
                let running = dependency.running.as_ref()?.incarnation;
                Some(dependency.callable_attempt().map_or(running, |attempt| attempt.incarnation))
            });
            newest.is_some() && newest != running.bound.get(id).copied()
        })
    }

    /// Whether it can be bound anew: old and new versions together may depend on each other in a circle, and then
    /// nothing new can be the first.
    pub(super) fn can_be_rebound(&self, plugin_id: &PluginId) -> bool {
        self.circle(plugin_id).is_none()
    }

    /// Whether an attempt is bound to what will serve when it does, as far as can be seen.
    pub(super) fn is_bound(&self, attempt: &Attempt) -> bool {
        attempt.stage < Stage::Initialising || attempt.bound == self.fleet.bindable(&attempt.version.entry, attempt.form)
    }

    /// Whether a dependency of a plugin is going to be initialised once more, and cannot be called yet. It would not come
    /// if it waited for the plugin itself.
    pub(super) fn is_on_its_way(&self, dependency: &PluginId, plugin_id: &PluginId) -> bool {
        let stale = self.stale.get_or_init(|| self.stale());
        let is_callable = || self.fleet.slot(dependency).is_none_or(|slot| slot.callable_attempt().is_some());
        stale.contains(dependency) && !is_callable() && !self.is_in_one_circle(dependency, plugin_id)
    }

    /// Whether a dependency has come as far as to be told that all plugins are ready, before those that are bound to it.
    pub(super) fn is_announced(&self, id: &PluginId, incarnation: u64) -> bool {
        let Some(slot) = self.fleet.slot(id) else { return false };
        slot.running.as_ref().is_some_and(|running| running.incarnation == incarnation)
            || slot.live_attempt().is_some_and(|attempt| attempt.incarnation == incarnation && attempt.stage == Stage::Announced)
    }

    /// New versions that another plugin cannot work with, unless that goes anyway.
    pub(super) fn rejections(&self, doomed: &BTreeSet<&PluginId>) -> Vec<Rejection> {
        let mut rejections = Vec::new();
        for (dependent, slot) in self.fleet.all() {
            // Its own new version may not need them any more.
            let stays = slot.attempt.as_ref().is_none_or(|attempt| attempt.form == Form::Running) && !doomed.contains(dependent);
            let Some(running) = slot.running.as_ref().filter(|_| stays) else { continue };
            for plugin in running.version.entry.dependencies.keys() {
                let Some(dependency) = self.fleet.slot(plugin).filter(|dependency| dependency.running.is_some()) else { continue };
                // While a stage runs, its end is awaited.
                let waits = |attempt: &&Attempt| matches!(attempt.stage, Stage::Prepared | Stage::Initialised | Stage::Announced);
                let Some(attempt) = dependency.live_attempt().filter(waits) else { continue };
                let failed = slot.rebinding_failed.as_ref().and_then(|failed| failed.bound.get(plugin));
                let is_stuck = || self.must_be_rebound(slot) && self.is_in_one_circle(plugin, dependent);
                if failed == Some(&attempt.incarnation) || is_stuck() {
                    rejections.push(Rejection { plugin: plugin.clone(), dependent: dependent.clone() });
                }
            }
        }
        rejections
    }

    /// All that has to begin to serve together with an attempt, if all of it is ready to. `activated` will serve before
    /// it; `waiting` remembers what is not ready, so that nobody asks twice.
    pub(super) fn group(
        &self,
        plugin_id: &'a PluginId,
        doomed: &BTreeSet<&PluginId>,
        activated: &BTreeSet<&PluginId>,
        waiting: &mut BTreeSet<&'a PluginId>,
    ) -> Option<BTreeSet<&'a PluginId>> {
        let mut group = BTreeSet::from([plugin_id]);
        let mut open = vec![plugin_id];
        while let Some(id) = open.pop() {
            let along = (!waiting.contains(id)).then(|| self.along(id, doomed, activated)).flatten();
            let Some(along) = along else {
                let replaced = |id: &&PluginId| self.fleet.slot(id).is_some_and(|slot| slot.running.is_some());
                waiting.extend(group.into_iter().filter(replaced));
                return None;
            };
            open.extend(along.into_iter().filter(|id| group.insert(id)));
        }
        Some(group)
    }

    /// What has to begin to serve at the latest when this attempt does, if the attempt is ready.
    fn along(&self, id: &PluginId, doomed: &BTreeSet<&PluginId>, activated: &BTreeSet<&PluginId>) -> Option<Vec<&'a PluginId>> {
        let slot = self.fleet.slot(id)?;
        let attempt = slot.live_attempt().filter(|attempt| attempt.stage == Stage::Announced)?;
        let serves = |(dependency, incarnation): &(&PluginId, &u64)| {
            let running = self.fleet.slot(dependency).and_then(|slot| slot.running.as_ref());
            activated.contains(dependency) || running.is_some_and(|running| running.incarnation == **incarnation)
        };
        let mut along: Vec<&PluginId> = attempt.bound.iter().filter(|bound| !serves(bound)).map(|(dependency, _)| dependency).collect();
        if slot.running.is_none() {
            return Some(along);
        }
        for dependent in self.dependents().get(id).into_iter().flatten() {
            let other = self.fleet.slot(dependent)?;
            // What goes has to be gone; what stays has to be bound to the new version, or to need it no more.
            let goes = doomed.contains(dependent) || other.leaving.is_some();
            let bound = other.live_attempt().filter(|_| !goes)?.bound.get(id);
            if bound.is_some_and(|incarnation| *incarnation != attempt.incarnation) {
                return None;
            }
            along.push(dependent);
        }
        Some(along)
    }

    /// What runs and depends, directly or not, on something that is being replaced.
    fn stale(&self) -> BTreeSet<&'a PluginId> {
        let replaced = self.fleet.all().filter(|(_, slot)| slot.running.is_some() && slot.callable_attempt().is_some());
        let mut open: Vec<&PluginId> = replaced.map(|(id, _)| id).collect();
        let mut stale = BTreeSet::new();
        while let Some(id) = open.pop() {
            let dependents = self.dependents().get(id).into_iter().flatten().copied();
            open.extend(dependents.filter(|id| stale.insert(*id)));
        }
        stale
    }

    fn dependents(&self) -> &Dependents<'a> {
        self.dependents.get_or_init(|| {
            let mut dependents: Dependents<'a> = BTreeMap::new();
            for (id, slot) in self.fleet.all() {
                let running = slot.running.as_ref().map(|running| &running.version);
                let leaving = slot.leaving.as_ref().map(|leaving| &leaving.version);
                for dependency in running.into_iter().chain(leaving).flat_map(|version| version.entry.dependencies.keys()) {
                    dependents.entry(dependency).or_default().push(id);
                }
            }
            dependents
        })
    }

    fn is_in_one_circle(&self, one: &PluginId, other: &PluginId) -> bool {
        self.circle(one).is_some_and(|circle| self.circle(other) == Some(circle))
    }

    fn circle(&self, plugin_id: &PluginId) -> Option<usize> {
        self.circles.get_or_init(|| self.circles()).get(plugin_id).copied()
    }

    fn circles(&self) -> BTreeMap<&'a PluginId, usize> {
        let version = |slot: &'a Slot| {
            let attempt = slot.live_attempt().map(|attempt| &attempt.version);
            attempt.or(slot.running.as_ref().map(|running| &running.version))
        };
        let versions = self.fleet.all().filter_map(|(id, slot)| Some((id, version(slot)?.entry.dependencies.keys())));
        let circles = order(versions).cycles.into_iter().enumerate();
        circles.flat_map(|(number, circle)| circle.members.into_iter().map(move |id| (id, number))).collect()
    }
}
