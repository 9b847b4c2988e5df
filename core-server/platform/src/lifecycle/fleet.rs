//! The state of all plugins of this pod, and how events change it. Pure: what is to be done next is
//! in [`plan`](super::plan), doing it in [`reconciler`](super::reconciler).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use checkstack_control_api::report::PluginReason;
use checkstack_plugin_package::{Digest, PluginEntry, PluginId, PluginSet, order};
use tokio::time::Instant;

use super::obstacles::{obstacle, satisfies};
use super::slot::{Attempt, Bound, Failed, Form, Leaving, RebindingFailed, Running, Side, Slot, Stage, Version, Wanted};
use crate::backoff;
use crate::plugin::PluginFailure;
use crate::secrets::SecretRevisions;

/// All plugins that run, that shall run, or that are being taken down.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(super) revision: u64,
    pub(super) set_hash: Digest,
    /// In the order of the set.
    pub(super) listed: Vec<PluginId>,
    /// In the order in which they are brought up.
    pub(super) order: Vec<PluginId>,
    slots: BTreeMap<PluginId, Slot>,
    activations: u64,
    incarnations: u64,
    /// What secrets are now, as far as is known.
    secrets: Arc<SecretRevisions>,
    /// What the pod has nothing to do with any more, until somebody asks.
    forgotten: Vec<PluginId>,
    /// How often a plugin was looked at: what a plan costs.
    #[cfg(test)]
    pub(super) looks: std::sync::atomic::AtomicUsize,
}

impl Fleet {
    /// Nothing runs, nothing shall run.
    pub(crate) fn new(instance: &str) -> Self {
        let empty = PluginSet::empty(instance);
        Self {
            revision: 0,
            set_hash: empty.hash().unwrap_or_else(|_| Digest::of(&[])),
            listed: Vec::new(),
            order: Vec::new(),
            slots: BTreeMap::new(),
            activations: 0,
            incarnations: 0,
            secrets: Arc::default(),
            forgotten: Vec::new(),
            #[cfg(test)]
            looks: Default::default(),
        }
    }

    /// One plugin.
    pub(super) fn slot(&self, plugin_id: &PluginId) -> Option<&Slot> {
        self.look();
        self.slots.get(plugin_id)
    }

    /// All plugins.
    pub(super) fn all(&self) -> impl Iterator<Item = (&PluginId, &Slot)> {
        self.slots.iter().inspect(|_| self.look())
    }

    fn look(&self) {
        #[cfg(test)]
        self.looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    /// From now on this is what shall run. What has failed is tried again: a set is a change.
    pub(crate) fn adopt(&mut self, set: &PluginSet, set_hash: Digest, now: Instant) {
        self.revision = set.revision;
        self.set_hash = set_hash;
        self.listed = set.plugins.iter().map(|entry| entry.plugin_id.clone()).collect();
        let ordering = order(set.plugins.iter().map(|entry| (entry.plugin_id.clone(), entry.dependencies.keys().cloned())));
        for slot in self.slots.values_mut() {
            slot.wanted = None;
        }
        let entries: BTreeMap<&PluginId, &PluginEntry> = set.plugins.iter().map(|entry| (&entry.plugin_id, entry)).collect();
        for entry in &set.plugins {
            let slot = self.slots.entry(entry.plugin_id.clone()).or_default();
            let version = Version { entry: Arc::new(entry.clone()), hash: entry_hash(entry) };
            if slot.failed.as_ref().is_some_and(|failed| failed.hash != version.hash) {
                slot.failed = None;
            }
            slot.rebinding_failed = None;
            slot.wanted = Some(Wanted { obstacle: obstacle(entry, &entries, &ordering), version });
        }
        self.order = ordering.into_all();
        self.retry(now, |_, _| true);
        self.forget_empty();
    }

    /// Takes everything down.
    pub(crate) fn dissolve(&mut self) {
        self.listed.clear();
        self.order.clear();
        for slot in self.slots.values_mut() {
            slot.wanted = None;
        }
        self.forget_empty();
    }

    /// Tries failed plugins again at once, those that `which` chooses.
    pub(crate) fn retry(&mut self, now: Instant, which: impl Fn(&PluginEntry, PluginReason) -> bool) {
        for slot in self.slots.values_mut() {
            if let (Some(failed), Some(wanted)) = (&mut slot.failed, &slot.wanted)
                && which(&wanted.version.entry, failed.failure.reason)
            {
                failed.retry_at = Some(now);
                failed.attempts = 0;
            }
            if let (Some(failed), Some(running)) = (&mut slot.rebinding_failed, &slot.running)
                && which(&running.version.entry, failed.failure.reason)
            {
                failed.retry_at = Some(now);
                failed.attempts = 0;
            }
        }
    }

    /// An attempt begins; what it is for.
    pub(crate) fn begin(&mut self, plugin_id: &PluginId, form: Form, now: Instant) -> Option<Arc<PluginEntry>> {
        let slot = self.slots.get(plugin_id)?;
        let (version, again) = match form {
            Form::Wanted => (slot.wanted.as_ref()?.version.clone(), slot.failed.is_some()),
            Form::Running => (slot.running.as_ref()?.version.clone(), slot.rebinding_failed.is_some()),
        };
        let entry = version.entry.clone();
        let bound = self.bindable(&entry, form);
        self.incarnations += 1;
        let attempt = Attempt {
            version,
            form,
            incarnation: self.incarnations,
            bound,
            secrets: SecretRevisions::new(),
            stage: Stage::Preparing,
            since: now,
            again,
            cancelled: false,
        };
        self.slots.get_mut(plugin_id)?.attempt = Some(attempt);
        Some(entry)
    }

    /// The newest incarnations that the dependencies of a version can be called in. What is only bound anew bears with
    /// dependencies that are newer than it asked for.
    pub(super) fn bindable(&self, entry: &PluginEntry, form: Form) -> Bound {
        let newest = |id: &PluginId, range: &str| {
            let slot = self.slot(id)?;
            let fits = |version: &Version| form == Form::Running || satisfies(&version.entry.version, range);
            let attempt = slot.callable_attempt().filter(|attempt| fits(&attempt.version)).map(|attempt| attempt.incarnation);
            attempt.or_else(|| slot.running.as_ref().filter(|running| fits(&running.version)).map(|running| running.incarnation))
        };
        entry.dependencies.iter().filter_map(|(id, range)| Some((id.clone(), newest(id, range)?))).collect()
    }

    /// With these values of secrets, which are the newest there are, an attempt goes on.
    pub(crate) fn configured(&mut self, plugin_id: &PluginId, secrets: SecretRevisions) {
        Arc::make_mut(&mut self.secrets).extend(secrets.clone());
        if let Some(attempt) = self.slots.get_mut(plugin_id).and_then(|slot| slot.attempt.as_mut()) {
            attempt.secrets = secrets;
        }
    }

    /// These are the secrets from now on. What has failed for want of one, or with one that is another now, is tried again.
    pub(crate) fn take_secrets(&mut self, secrets: Arc<SecretRevisions>, now: Instant) {
        let before = std::mem::replace(&mut self.secrets, secrets);
        for slot in self.slots.values_mut() {
            let uses_changed = |running: &Running| running.secrets.keys().any(|name| before.get(name) != self.secrets.get(name));
            if slot.running.as_ref().is_some_and(uses_changed) {
                slot.rebinding_failed = None;
            }
        }
        self.retry(now, |_, reason| reason == PluginReason::SecretMissing);
    }

    /// Whether what runs was initialised with a value of a secret that is another now. One that is gone is not another.
    pub(super) fn has_stale_secrets(&self, running: &Running) -> bool {
        running.secrets.iter().any(|(name, revision)| self.secrets.get(name).is_some_and(|now| now != revision))
    }

    /// What the attempt on a plugin is bound to.
    pub(crate) fn bindings(&self, plugin_id: &PluginId) -> Vec<(PluginId, Side)> {
        let attempt = self.slot(plugin_id).and_then(|slot| slot.attempt.as_ref());
        let bound = attempt.iter().flat_map(|attempt| &attempt.bound);
        let side = |(id, incarnation): (&PluginId, &u64)| {
            let attempt = self.slot(id).and_then(|slot| slot.attempt.as_ref());
            let is_attempt = attempt.is_some_and(|attempt| attempt.incarnation == *incarnation);
            (id.clone(), if is_attempt { Side::Attempt } else { Side::Running })
        };
        bound.map(side).collect()
    }

    /// An attempt has come further. When it is initialised, it is bound to what its dependencies are then.
    pub(crate) fn reach(&mut self, plugin_id: &PluginId, stage: Stage, now: Instant) {
        let bound = match self.slots.get(plugin_id).and_then(|slot| slot.attempt.as_ref()) {
            Some(attempt) if stage == Stage::Initialising => Some(self.bindable(&attempt.version.entry, attempt.form)),
            _ => None,
        };
        if let (Some(bound), Some(attempt)) = (bound, self.slots.get_mut(plugin_id).and_then(|slot| slot.attempt.as_mut())) {
            attempt.bound = bound;
        }
        if let Some(attempt) = self.slots.get_mut(plugin_id).and_then(|slot| slot.attempt.as_mut()) {
            attempt.stage = stage;
            attempt.since = now;
        }
    }

    /// An attempt has failed. `jitter` is between 0 and 1. True when that is news.
    pub(crate) fn fail(&mut self, plugin_id: &PluginId, failure: PluginFailure, now: Instant, jitter: f64) -> bool {
        let Some(slot) = self.slots.get_mut(plugin_id) else { return false };
        let Some(attempt) = slot.attempt.take() else { return false };
        if attempt.form == Form::Running {
            let previous = slot.rebinding_failed.take();
            let is_news = previous.as_ref().is_none_or(|previous| previous.failure != failure);
            let attempts = previous.map_or(0, |previous| previous.attempts).saturating_add(1);
            let retry_at = failure.transient.then(|| now + retry_pause(failure.reason, attempts, jitter));
            slot.rebinding_failed = Some(RebindingFailed { bound: attempt.bound, failure, attempts, retry_at });
            return is_news;
        }
        if slot.wanted.as_ref().is_none_or(|wanted| wanted.version.hash != attempt.version.hash) {
            // Nobody wants to know any more.
            return false;
        }
        let previous = slot.failed.take().filter(|failed| failed.hash == attempt.version.hash);
        let is_news = previous.as_ref().is_none_or(|previous| previous.failure != failure);
        let attempts = previous.map_or(0, |previous| previous.attempts).saturating_add(1);
        let retry_at = failure.transient.then(|| now + retry_pause(failure.reason, attempts, jitter));
        slot.failed = Some(Failed { hash: attempt.version.hash, failure, attempts, retry_at });
        is_news
    }

    /// What is said of a new version that `dependent` cannot work with.
    pub(crate) fn rejection(&self, dependent: &PluginId) -> PluginFailure {
        let failed = self.slots.get(dependent).and_then(|slot| slot.rebinding_failed.as_ref());
        let (transient, why) = match failed {
            Some(RebindingFailed { failure, .. }) => (failure.transient, failure.message.clone()),
            None => (true, "old and new versions depend on each other in a circle".to_owned()),
        };
        let message = format!("plugin '{dependent}', which depends on it, does not come up with this version: {why}; the old one goes on");
        PluginFailure { reason: PluginReason::DependentFailed, message, transient }
    }

    /// An attempt shall end without a result.
    pub(crate) fn cancel(&mut self, plugin_id: &PluginId) {
        if let Some(attempt) = self.slots.get_mut(plugin_id).and_then(|slot| slot.attempt.as_mut()) {
            attempt.cancelled = true;
        }
    }

    /// An attempt has ended without a result.
    pub(crate) fn abandon(&mut self, plugin_id: &PluginId) {
        if let Some(slot) = self.slots.get_mut(plugin_id) {
            slot.attempt = None;
        }
        self.forget_if_empty(plugin_id);
    }

    /// What was attempted serves from now on.
    pub(crate) fn activate(&mut self, plugin_id: &PluginId) {
        let Some(slot) = self.slots.get_mut(plugin_id) else { return };
        let Some(Attempt { version, form, incarnation, bound, secrets, .. }) = slot.attempt.take() else { return };
        self.activations += 1;
        slot.running = Some(Running { version, activation: self.activations, incarnation, bound, secrets, quarantined: None });
        slot.rebinding_failed = None;
        if form == Form::Wanted {
            slot.failed = None;
        }
    }

    /// Calls to what serves are refused because it traps, in this way; or are not any more. True when that is news.
    pub(crate) fn set_quarantined(&mut self, plugin_id: &PluginId, how: Option<String>) -> bool {
        let Some(running) = self.slots.get_mut(plugin_id).and_then(|slot| slot.running.as_mut()) else { return false };
        let is_news = running.quarantined.is_some() != how.is_some();
        running.quarantined = how;
        is_news
    }

    /// What runs is being taken down.
    pub(crate) fn leave(&mut self, plugin_id: &PluginId, now: Instant) {
        if let Some(slot) = self.slots.get_mut(plugin_id) {
            slot.leaving = slot.running.take().map(|running| Leaving { version: running.version, since: now });
        }
    }

    /// It has been taken down.
    pub(crate) fn left(&mut self, plugin_id: &PluginId) {
        if let Some(slot) = self.slots.get_mut(plugin_id) {
            slot.leaving = None;
        }
        self.forget_if_empty(plugin_id);
    }

    /// What the pod has had nothing to do with since the last call.
    pub(crate) fn take_forgotten(&mut self) -> Vec<PluginId> {
        std::mem::take(&mut self.forgotten)
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Artifacts that run or may be wanted soon.
    pub(crate) fn artifacts(&self) -> impl Iterator<Item = Digest> + '_ {
        self.slots.values().flat_map(|slot| {
            let versions = [
                slot.wanted.as_ref().map(|wanted| &wanted.version),
                slot.running.as_ref().map(|running| &running.version),
                slot.leaving.as_ref().map(|leaving| &leaving.version),
                slot.attempt.as_ref().map(|attempt| &attempt.version),
            ];
            versions.into_iter().flatten().map(|version| version.entry.digest).collect::<Vec<_>>()
        })
    }

    /// Plugins without which the pod is not ready.
    pub(crate) fn critical(&self) -> impl Iterator<Item = &PluginId> {
        self.slots
            .iter()
            .filter(|(_, slot)| slot.wanted.as_ref().is_some_and(|wanted| wanted.version.entry.critical))
            .map(|(plugin_id, _)| plugin_id)
    }

    /// How far the attempt on a plugin has come.
    pub(crate) fn stage(&self, plugin_id: &PluginId) -> Option<Stage> {
        Some(self.slots.get(plugin_id)?.attempt.as_ref()?.stage)
    }

    /// In which form a plugin is being brought up.
    pub(crate) fn attempted(&self, plugin_id: &PluginId) -> Option<Form> {
        Some(self.slots.get(plugin_id)?.attempt.as_ref()?.form)
    }

    /// Whether the attempt on a plugin is to take the place of something else: another version, or other values of secrets. One
    /// that is only bound anew is no worse than it was.
    pub(crate) fn replaces(&self, plugin_id: &PluginId) -> bool {
        let Some(Slot { running: Some(running), attempt: Some(attempt), .. }) = self.slots.get(plugin_id) else { return false };
        attempt.form == Form::Wanted || attempt.secrets != running.secrets
    }

    /// Whether the attempt on a plugin is to end without a result.
    pub(crate) fn is_cancelled(&self, plugin_id: &PluginId) -> bool {
        self.slots.get(plugin_id).and_then(|slot| slot.attempt.as_ref()).is_none_or(|attempt| attempt.cancelled)
    }

    /// Plugins that the set has.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = &PluginId> {
        self.slots.iter().filter(|(_, slot)| slot.wanted.is_some()).map(|(plugin_id, _)| plugin_id)
    }

    fn forget_empty(&mut self) {
        self.forgotten.extend(self.slots.extract_if(.., |_, slot| slot.is_empty()).map(|(plugin_id, _)| plugin_id));
    }

    fn forget_if_empty(&mut self, plugin_id: &PluginId) {
        if self.slots.get(plugin_id).is_some_and(Slot::is_empty) {
            self.forgotten.extend(self.slots.remove_entry(plugin_id).map(|(plugin_id, _)| plugin_id));
        }
    }
}

fn entry_hash(entry: &PluginEntry) -> Digest {
    // Serialising plain data does not fail; if it did, the plugin would be reloaded with each set.
    checkstack_control_api::entry_hash(entry).unwrap_or(entry.digest)
}

/// How long to wait before the next attempt.
fn retry_pause(reason: PluginReason, attempts: u32, jitter: f64) -> Duration {
    let most = match reason {
        // Back within seconds after the database is, and after the operator has uploaded or the
        // kubelet has mounted what was missing.
        PluginReason::DatabaseUnavailable => 2,
        PluginReason::ArtifactMissing | PluginReason::SecretConfigMissing | PluginReason::SecretMissing => 5,
        _ => 60,
    };
    backoff::pause(Duration::from_secs(1), Duration::from_secs(most), attempts, jitter)
}
