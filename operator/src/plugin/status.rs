//! The status of a CheckstackPlugin, computed from everything that is known about it.

use checkstack_crds::conditions::{
    ConditionStatus, NewCondition, PluginConditionReason as Reason, PluginConditionType as Type, find_condition, is_true, remove_condition,
    set_condition,
};
use checkstack_crds::plugin::PluginHistoryEntry;
use checkstack_crds::{CheckstackPlugin, CheckstackPluginStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{Resource, ResourceExt};

use super::loaded::{self, Verdict};
use super::package::{Facts, Failure};
use super::rollout::{self, Current, RolloutPolicy};
use crate::events::Transition;
use crate::fleet::FleetView;
use crate::instance::set::{Member, Obstacle, SecretProblem, Standing};
use crate::names::RETRY;

/// What stands around a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Situation {
    /// It shall run.
    Wanted,
    /// `spec.instanceRef` leads nowhere.
    InstanceNotFound,
    /// The instance does not take it.
    NotSelected,
    /// `enabled: false`.
    Disabled,
    /// Its object is being deleted; why it is still there.
    Deleting { reason: Reason, message: String },
}

/// How far the package has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Artifact {
    /// Nobody looked, because the plugin is not wanted.
    Untried,
    /// It is being fetched.
    Resolving,
    /// There is none that can be used.
    Failed(Failure),
    /// There is one.
    Verified { facts: Facts, store: Store },
}

/// Whether the package is in the artifact store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Store {
    /// It is.
    Stored,
    /// It is being uploaded.
    Uploading,
    /// No pod runs that could take it.
    WaitingForPod,
    /// It is not.
    Failed { reason: Reason, message: String },
}

/// What the status is computed from.
pub(crate) struct StatusInputs<'a> {
    pub(crate) plugin: &'a CheckstackPlugin,
    pub(crate) situation: &'a Situation,
    pub(crate) artifact: &'a Artifact,
    pub(crate) fleet: Option<&'a FleetView>,
    pub(crate) policy: RolloutPolicy,
    pub(crate) now: Time,
}

/// The status that should be.
pub(crate) fn compute(inputs: &StatusInputs<'_>) -> CheckstackPluginStatus {
    let before = inputs.plugin.status.clone().unwrap_or_default();
    let mut writer = Writer { generation: inputs.plugin.meta().generation, now: inputs.now.clone(), status: before };
    writer.status.observed_generation = writer.generation;
    if let Artifact::Verified { facts, .. } = inputs.artifact {
        facts.write_to(&mut writer.status);
    }
    writer.write_history(inputs);
    writer.write_pods(inputs);
    writer.write_artifact(inputs);
    writer.write_loaded(inputs);
    writer.write_summary(inputs);
    writer.status
}

/// The Events that a new status is worth.
pub(crate) fn transitions(before: Option<&CheckstackPluginStatus>, after: &CheckstackPluginStatus) -> Vec<Transition> {
    let rolled_back = |status: &CheckstackPluginStatus| find_condition(&status.conditions, Type::RolledBack.as_str()).cloned();
    if let Some(is) = rolled_back(after) {
        // Says what Ready says, and more.
        let attempt = |status: &CheckstackPluginStatus| status.history.first().map(|refused| (refused.revision, refused.attempt.clone()));
        let was = before.filter(|status| rolled_back(status).is_some()).map(attempt);
        let is_news = was.is_none_or(|was| was != attempt(after));
        let told = || Transition { warning: true, reason: Type::RolledBack.as_str().into(), action: "RollBack", note: is.message };
        return is_news.then(told).into_iter().collect();
    }
    let ready = |status: &CheckstackPluginStatus| find_condition(&status.conditions, Type::Ready.as_str()).cloned();
    let (was, Some(is)) = (before.and_then(ready), ready(after)) else { return Vec::new() };
    if was.as_ref().is_some_and(|was| (&was.status, &was.reason) == (&is.status, &is.reason)) {
        return Vec::new();
    }
    let reason: Option<Reason> = is.reason.parse().ok();
    let good = is.status == ConditionStatus::True.as_str();
    if !good && reason.is_none_or(|reason| is_progress(reason) || matches!(reason, Reason::WaitingForPod | Reason::Deleting)) {
        return Vec::new();
    }
    let warning = !good && reason != Some(Reason::Disabled);
    vec![Transition { warning, reason: is.reason, action: "Reconcile", note: is.message }]
}

struct Writer {
    generation: Option<i64>,
    now: Time,
    status: CheckstackPluginStatus,
}

impl Writer {
    fn set(&mut self, type_: Type, status: impl Into<ConditionStatus>, reason: Reason, message: impl Into<String>) {
        let new = NewCondition::plugin(type_, status, reason, message);
        set_condition(&mut self.status.conditions, new, self.generation, self.now.clone());
    }

    fn condition(&self, type_: Type) -> Option<&Condition> {
        find_condition(&self.status.conditions, type_.as_str())
    }

    fn is_materialized(&self) -> bool {
        is_true(&self.status.conditions, Type::Materialized.as_str())
    }

    /// What was said about an earlier generation holds for this one too.
    fn keep(&mut self, type_: Type) -> bool {
        let generation = self.generation;
        let found = self.status.conditions.iter_mut().find(|condition| condition.type_ == type_.as_str());
        found.map(|condition| condition.observed_generation = generation).is_some()
    }

    fn write_history(&mut self, inputs: &StatusInputs<'_>) {
        if *inputs.situation != Situation::Wanted {
            return rollout::supersede(&mut self.status.history);
        }
        let (Some(fleet), Some(member)) = (inputs.fleet, member(inputs)) else { return };
        match &member.standing {
            Standing::Out(_) => rollout::supersede(&mut self.status.history),
            // What serves meanwhile is not what is wanted.
            Standing::Held(_) => {}
            Standing::Current => {
                let resource = inputs.plugin.name_any();
                let (Some(entry), Some(hash)) = (fleet.target.entry(&resource), fleet.target.entries.get(&resource)) else { return };
                let current = Current { revision: fleet.target.set.revision, entry, hash: *hash, attempt: &member.attempt };
                let asked = Some(fleet).filter(|fleet| fleet.complete);
                let history = std::mem::take(&mut self.status.history);
                self.status.history = rollout::advance(history, &current, asked, inputs.policy, &inputs.now);
            }
        }
    }

    fn write_pods(&mut self, inputs: &StatusInputs<'_>) {
        let resource = inputs.plugin.name_any();
        let rolled_back = is_rolled_back(inputs).then(|| self.status.history.first()?.hash.parse().ok()).flatten();
        match inputs.fleet {
            Some(fleet) if fleet.complete => {
                self.status.pods = loaded::rows(fleet, &resource);
                let wanted = rolled_back.or(fleet.target.entries.get(&resource).copied());
                self.status.instances = wanted.map(|wanted| loaded::counts(fleet, &resource, &wanted)).unwrap_or_default();
            }
            // This operator has not asked the pods yet: what the one before it saw still counts.
            Some(_) => return,
            None if *inputs.situation == Situation::Wanted && !self.status.pods.is_empty() => return,
            None => {
                self.status.pods.clear();
                self.status.instances = Default::default();
            }
        }
        let counts = self.status.instances;
        self.status.pods_active = format!("{}/{}", counts.active, counts.desired);
    }

    fn write_artifact(&mut self, inputs: &StatusInputs<'_>) {
        match inputs.artifact {
            Artifact::Untried => self.write_untried(inputs.situation),
            Artifact::Resolving => {
                self.set(Type::Resolved, ConditionStatus::Unknown, Reason::Resolving, "the source is being read");
                self.later_steps_not_done(Type::Resolved);
            }
            Artifact::Failed(failure) => {
                self.earlier_steps_done(failure.step, inputs.plugin, "the package was read");
                self.set(failure.step, false, failure.reason, &failure.message);
                self.later_steps_not_done(failure.step);
            }
            Artifact::Verified { facts, store } => {
                self.earlier_steps_done(Type::Compatible, inputs.plugin, &format!("{} {}", facts.package, facts.version));
                match member(inputs).map(|member| &member.standing) {
                    Some(Standing::Out(Obstacle::Duplicate { plugin_id, winner })) => {
                        let message = format!(
                            "the package has the plugin id '{plugin_id}', which CheckstackPlugin '{winner}' of this instance has too, and that one is older: delete or disable one of the two"
                        );
                        self.set(Type::Compatible, false, Reason::DuplicatePluginId, message);
                    }
                    _ => self.set(Type::Compatible, true, Reason::Compatible, format!("plugin '{}' fits this release", facts.plugin_id)),
                }
                self.write_store(facts, store);
            }
        }
    }

    /// Nobody looks at the source of a plugin that is not wanted; what was found before is kept.
    fn write_untried(&mut self, situation: &Situation) {
        let (reason, message) = situation_reason(situation);
        for type_ in [Type::Resolved, Type::Verified, Type::Compatible, Type::Materialized] {
            if !self.keep(type_) {
                self.set(type_, ConditionStatus::Unknown, reason, &message);
            }
        }
    }

    fn write_store(&mut self, facts: &Facts, store: &Store) {
        match store {
            Store::Stored => self.set(Type::Materialized, true, Reason::Stored, format!("{} is in the artifact store", facts.digest)),
            Store::Uploading => self.set(Type::Materialized, ConditionStatus::Unknown, Reason::Uploading, "the package is being uploaded"),
            Store::WaitingForPod => {
                let message = "no pod of the instance answers that could take the package into the artifact store";
                self.set(Type::Materialized, ConditionStatus::Unknown, Reason::WaitingForPod, message);
            }
            Store::Failed { reason, message } => self.set(Type::Materialized, false, *reason, message),
        }
    }

    /// Resolved and Verified, as far as they come before `step`.
    fn earlier_steps_done(&mut self, step: Type, plugin: &CheckstackPlugin, resolved: &str) {
        if step > Type::Resolved {
            self.set(Type::Resolved, true, Reason::Fetched, resolved);
        }
        if step > Type::Verified {
            match &plugin.spec.integrity {
                Some(_) => self.set(Type::Verified, true, Reason::IntegrityMatches, "the package is the pinned one"),
                None => self.set(Type::Verified, true, Reason::DigestRecorded, "the package is in order; spec.integrity pins none"),
            }
        }
    }

    fn later_steps_not_done(&mut self, step: Type) {
        for type_ in [Type::Verified, Type::Compatible, Type::Materialized] {
            if type_ > step {
                self.set(type_, ConditionStatus::Unknown, Reason::PreviousStepNotDone, format!("{} is not True", step.as_str()));
            }
        }
    }

    fn write_loaded(&mut self, inputs: &StatusInputs<'_>) {
        if *inputs.situation != Situation::Wanted {
            let (reason, message) = situation_reason(inputs.situation);
            return self.set(Type::Loaded, false, reason, message);
        }
        let Some(fleet) = inputs.fleet.filter(|fleet| fleet.complete) else {
            // Nothing is concluded before the pods have been asked.
            if !self.keep(Type::Loaded) {
                self.set(Type::Loaded, ConditionStatus::Unknown, Reason::WaitingForPod, "the pods have not been asked yet");
            }
            return;
        };
        let Verdict { status, reason, message } = self.loaded(inputs, fleet);
        self.set(Type::Loaded, status, reason, message);
    }

    fn loaded(&self, inputs: &StatusInputs<'_>, fleet: &FleetView) -> Verdict {
        let resource = inputs.plugin.name_any();
        let not_done =
            |message: &str| Verdict { status: ConditionStatus::Unknown, reason: Reason::PreviousStepNotDone, message: message.to_owned() };
        let on_its_way = || Verdict {
            status: ConditionStatus::Unknown,
            reason: Reason::RollingOut,
            message: "the plugin set with this plugin is being made".to_owned(),
        };
        let Some(member) = member(inputs) else { return on_its_way() };
        let serving = fleet.target.entries.get(&resource).map(|entry| loaded::verdict(fleet, &resource, entry));
        match &member.standing {
            Standing::Out(Obstacle::Secret(problem)) | Standing::Held(Obstacle::Secret(problem)) => {
                let before = if serving.is_some() { "; the plugin goes on with the values from before" } else { "" };
                Verdict { status: ConditionStatus::False, reason: secret_reason(problem), message: format!("{problem}{before}") }
            }
            Standing::Out(Obstacle::InvalidGrant(message)) | Standing::Held(Obstacle::InvalidGrant(message)) => {
                Verdict { status: ConditionStatus::False, reason: Reason::InvalidSpec, message: message.clone() }
            }
            Standing::Out(Obstacle::Duplicate { .. }) => not_done("Compatible is not True"),
            Standing::Held(Obstacle::RolledBack) => self.rolled_back(serving),
            // The package before goes on; whether it does is said, though it is not what is wanted.
            Standing::Held(Obstacle::NotMaterialised) if !self.is_materialized() => serving.unwrap_or_else(on_its_way),
            Standing::Out(Obstacle::NotMaterialised) if !self.is_materialized() => not_done("Materialized is not True"),
            Standing::Current if member.digest == self.status.digest => serving.unwrap_or_else(on_its_way),
            // The set was built before the status was written that this one follows.
            Standing::Current | Standing::Held(_) | Standing::Out(_) => on_its_way(),
        }
    }

    /// What was wrong with the form that spec asks for, and which one serves instead.
    fn rolled_back(&self, serving: Option<Verdict>) -> Verdict {
        let Some(refused) = self.status.history.first() else {
            return Verdict {
                status: ConditionStatus::False,
                reason: Reason::Internal,
                message: "rolled back, and nobody knows why".to_owned(),
            };
        };
        let good = rollout::last_good(&self.status.history);
        let form = |entry: &PluginHistoryEntry| format!("version {} of revision {}", entry.version, entry.revision);
        let before = good.map_or_else(|| "the form before".to_owned(), form);
        let unwell = |verdict: Verdict| format!(", which is not well either: {}", verdict.message);
        let serves = serving.filter(|verdict| verdict.status == ConditionStatus::False && !is_progress(verdict.reason)).map(unwell);
        let serves = serves.unwrap_or_default();
        let message = format!(
            "{} was rolled back to {before}{serves}. What was wrong: {}. It is tried again when something of it changes, or on a new value of the annotation {RETRY}",
            form(refused),
            refused.message
        );
        Verdict { status: ConditionStatus::False, reason: refused.reason.parse().unwrap_or(Reason::Internal), message }
    }

    fn write_summary(&mut self, inputs: &StatusInputs<'_>) {
        let (status, reason, message) = match inputs.situation {
            Situation::Wanted => self.first_that_fails(),
            other => {
                let (reason, message) = situation_reason(other);
                (ConditionStatus::False, reason, message)
            }
        };
        self.set(Type::Ready, status, reason, message.clone());
        let failed = status == ConditionStatus::False;
        let retried = matches!(inputs.artifact, Artifact::Failed(failure) if failure.transient)
            || matches!(inputs.artifact, Artifact::Verified { store: Store::Failed { .. }, .. });
        let reconciling = status != ConditionStatus::True && (is_progress(reason) || retried || reason == Reason::Deleting);
        let harmless = matches!(reason, Reason::Disabled | Reason::WaitingForPod | Reason::PodUnreachable | Reason::DependencyNotActive);
        let stalled = failed && !reconciling && !harmless;
        let rolled_back = is_rolled_back(inputs);
        for (type_, holds) in [(Type::RolledBack, rolled_back), (Type::Reconciling, reconciling), (Type::Stalled, stalled || rolled_back)] {
            if holds {
                self.set(type_, true, reason, message.clone());
            } else {
                remove_condition(&mut self.status.conditions, type_.as_str());
            }
        }
    }

    fn first_that_fails(&self) -> (ConditionStatus, Reason, String) {
        let steps = [Type::Resolved, Type::Verified, Type::Compatible, Type::Materialized, Type::Loaded];
        let failing =
            steps.iter().filter_map(|type_| self.condition(*type_)).find(|condition| condition.status != ConditionStatus::True.as_str());
        match failing {
            None => {
                let message = self.condition(Type::Loaded).map(|condition| condition.message.clone()).unwrap_or_default();
                let version = self.status.version.clone().unwrap_or_default();
                (ConditionStatus::True, Reason::Active, format!("version {version} {message}"))
            }
            Some(condition) => {
                let status =
                    if condition.status == ConditionStatus::False.as_str() { ConditionStatus::False } else { ConditionStatus::Unknown };
                (status, condition.reason.parse().unwrap_or(Reason::Internal), condition.message.clone())
            }
        }
    }
}

/// Whether the form before was put back, and the set has it. Until the pods have been asked, what was said before holds.
fn is_rolled_back(inputs: &StatusInputs<'_>) -> bool {
    if *inputs.situation != Situation::Wanted {
        return false;
    }
    match inputs.fleet.filter(|fleet| fleet.complete) {
        Some(_) => member(inputs).is_some_and(|member| member.standing == Standing::Held(Obstacle::RolledBack)),
        None => inputs.plugin.status.as_ref().is_some_and(|status| is_true(&status.conditions, Type::RolledBack.as_str())),
    }
}

/// What the plugin set made of this plugin, if it was built from this very object.
fn member<'a>(inputs: &StatusInputs<'a>) -> Option<&'a Member> {
    let member = inputs.fleet?.target.members.get(&inputs.plugin.name_any())?;
    let metadata = inputs.plugin.meta();
    (Some(&member.uid) == metadata.uid.as_ref() && Some(member.generation) == metadata.generation).then_some(member)
}

/// Work that ends by itself.
fn is_progress(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Resolving | Reason::Uploading | Reason::RollingOut | Reason::Starting | Reason::Removed | Reason::PreviousStepNotDone
    )
}

fn secret_reason(problem: &SecretProblem) -> Reason {
    match problem {
        SecretProblem::FieldTwice { .. } => Reason::ConfigKeyConflict,
        SecretProblem::SecretNotFound { .. } | SecretProblem::KeyNotFound { .. } | SecretProblem::NotText { .. } => Reason::SecretNotFound,
    }
}

fn situation_reason(situation: &Situation) -> (Reason, String) {
    match situation {
        // Not asked for.
        Situation::Wanted => (Reason::RollingOut, String::new()),
        Situation::InstanceNotFound => {
            (Reason::InstanceNotFound, "the Checkstack that spec.instanceRef names does not exist in this namespace".to_owned())
        }
        Situation::NotSelected => (Reason::NotSelected, "the labels do not match spec.plugins.selector of the Checkstack".to_owned()),
        Situation::Disabled => (Reason::Disabled, "spec.enabled is false".to_owned()),
        Situation::Deleting { reason, message } => (*reason, message.clone()),
    }
}

#[cfg(test)]
mod tests;
