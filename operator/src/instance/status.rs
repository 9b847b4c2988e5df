//! The status of a Checkstack, computed from everything that is known about it.

use checkstack_crds::checkstack::PluginSetVersion;
use checkstack_crds::conditions::{
    ConditionStatus, InstanceConditionReason as Reason, InstanceConditionType as Type, NewCondition, find_condition, is_true,
    remove_condition, set_condition,
};
use checkstack_crds::{Checkstack, CheckstackStatus};
use checkstack_plugin_package::Digest;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt};

use super::objects;
use super::set::{Obstacle, Standing};
use crate::events::Transition;
use crate::fleet::{FleetView, Observation};
use crate::names;
use crate::plugin::{joined, runs};

/// What the status is computed from.
pub(crate) struct StatusInputs<'a> {
    pub(crate) instance: &'a Checkstack,
    /// What kept the instance from being brought into its form.
    pub(crate) problem: Option<(Reason, String)>,
    /// Why there is no database URL.
    pub(crate) database_problem: Option<&'a str>,
    /// Why nobody can sign in at the provider, as far as Secrets are concerned.
    pub(crate) oidc_problem: Option<&'a str>,
    /// Revision and hash of the set that the pods shall run.
    pub(crate) set: Option<(u64, Digest)>,
    pub(crate) deployment: Option<&'a Deployment>,
    pub(crate) fleet: Option<&'a FleetView>,
    /// The pods have had their time to take the set over.
    pub(crate) overdue: bool,
    pub(crate) now: Time,
}

/// A condition, but for its type.
type Finding = (ConditionStatus, Reason, String);

/// The status that should be.
pub(crate) fn compute(inputs: &StatusInputs<'_>) -> CheckstackStatus {
    let instance = inputs.instance;
    let generation = instance.meta().generation;
    let mut status = instance.status.clone().unwrap_or_default();
    status.observed_generation = generation;
    status.selector = names::pod_selector_text(&instance.name_any());
    status.url = Some(objects::url(instance));
    let workload = Workload::of(inputs);
    status.replicas = workload.replicas;
    status.ready_replicas = workload.ready;
    status.pods_ready = format!("{}/{}", workload.ready, instance.spec.replicas);
    if let Some((revision, hash)) = inputs.set {
        status.plugin_set.desired = Some(version(revision, hash));
    }
    if let Some(fleet) = inputs.fleet.filter(|fleet| fleet.complete) {
        status.plugin_set.active = active_set(fleet).or(status.plugin_set.active).filter(|_| instance.spec.replicas > 0);
        status.version = server_versions(fleet).or(status.version);
        status.plugins_active = plugins_active(fleet);
        if fleet.is_settled() && fleet.pods.iter().any(|pod| pod.ready) && failing_plugins(fleet).is_empty() {
            status.plugin_set.last_good = Some(version(fleet.target.set.revision, fleet.target.hash));
        }
    }

    let database = database(inputs);
    let available = available(inputs, &workload);
    let progressing = progressing(inputs, &workload);
    let ready = ready(inputs, [&database, &available, &progressing]);
    let reconciling =
        ready.0 != ConditionStatus::True && matches!(ready.1, Reason::RolloutInProgress | Reason::PodsNotReady | Reason::WaitingForPod);
    let passing = matches!(ready.1, Reason::ScaledToZero | Reason::DatabaseUnreachable);
    let stalled = ready.0 == ConditionStatus::False && !reconciling && !passing;
    let repeated = |holds: bool| holds.then(|| (ConditionStatus::True, ready.1, ready.2.clone()));
    let findings = [
        (Type::DatabaseReachable, Some(database)),
        (Type::Available, Some(available)),
        (Type::Progressing, Some(progressing)),
        (Type::Ready, Some(ready.clone())),
        (Type::SignInConfigured, sign_in(inputs)),
        (Type::RolledBack, rolled_back(inputs)),
        (Type::Reconciling, repeated(reconciling)),
        (Type::Stalled, repeated(stalled)),
    ];
    for (type_, finding) in findings {
        match finding {
            Some((holds, reason, message)) => {
                let condition = NewCondition::instance(type_, holds, reason, message);
                set_condition(&mut status.conditions, condition, generation, inputs.now.clone());
            }
            None => {
                remove_condition(&mut status.conditions, type_.as_str());
            }
        }
    }
    status
}

/// The Events that a new status is worth.
pub(crate) fn transitions(before: Option<&CheckstackStatus>, after: &CheckstackStatus) -> Vec<Transition> {
    let mut transitions = Vec::new();
    for type_ in [Type::DatabaseReachable, Type::SignInConfigured, Type::Ready] {
        let of = |status: &CheckstackStatus| find_condition(&status.conditions, type_.as_str()).cloned();
        let (was, Some(is)) = (before.and_then(of), of(after)) else { continue };
        let same = was.as_ref().is_some_and(|was| (&was.status, &was.reason) == (&is.status, &is.reason));
        let good = is.status == ConditionStatus::True.as_str();
        let progress = matches!(is.reason.parse(), Ok(Reason::RolloutInProgress | Reason::WaitingForPod | Reason::PodsNotReady));
        // What Ready only repeats is told once.
        let repeated =
            type_ == Type::Ready && matches!(is.reason.parse(), Ok(Reason::DatabaseUnreachable | Reason::DatabaseSecretNotFound));
        let was_never_wrong = type_ != Type::Ready && good && was.is_none_or(|was| was.status != ConditionStatus::False.as_str());
        if same || progress || repeated || was_never_wrong {
            continue;
        }
        let warning = !good && is.reason != Reason::ScaledToZero.as_str();
        transitions.push(Transition { warning, reason: is.reason, action: "Reconcile", note: is.message });
    }
    transitions
}

/// What the Deployment says, as far as it is about the present spec.
#[derive(Debug, Clone, Copy, Default)]
struct Workload {
    replicas: i32,
    ready: i32,
    updated: i32,
    available: i32,
    /// Its controller has seen the present spec.
    observed: bool,
    /// Its controller gave up.
    deadline_exceeded: bool,
}

impl Workload {
    fn of(inputs: &StatusInputs<'_>) -> Self {
        let Some(deployment) = inputs.deployment else { return Self::default() };
        let Some(status) = &deployment.status else { return Self::default() };
        let progressing = status.conditions.iter().flatten().find(|condition| condition.type_ == "Progressing");
        Self {
            replicas: status.replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            observed: status.observed_generation >= deployment.metadata.generation,
            deadline_exceeded: progressing.is_some_and(|condition| condition.reason.as_deref() == Some("ProgressDeadlineExceeded")),
        }
    }
}

fn database(inputs: &StatusInputs<'_>) -> Finding {
    if let Some(problem) = inputs.database_problem {
        return (ConditionStatus::False, Reason::DatabaseSecretNotFound, problem.to_owned());
    }
    if inputs.instance.spec.replicas == 0 {
        return (ConditionStatus::Unknown, Reason::ScaledToZero, "spec.replicas is 0, and nobody asks the database".to_owned());
    }
    let Some(fleet) = inputs.fleet.filter(|fleet| fleet.complete) else { return kept(inputs, Type::DatabaseReachable) };
    let complaints: Vec<(String, String)> = fleet
        .pods
        .iter()
        .filter_map(|pod| {
            let check = pod.database.as_ref().filter(|check| !check.ok)?;
            Some((pod.name.clone(), check.message.clone().unwrap_or_else(|| "the pod cannot use the database".to_owned())))
        })
        .collect();
    if !complaints.is_empty() {
        return (ConditionStatus::False, Reason::DatabaseUnreachable, joined(&complaints));
    }
    match fleet.pods.iter().any(|pod| pod.database.is_some()) {
        true => (ConditionStatus::True, Reason::Connected, "the pods can use the database".to_owned()),
        false => (ConditionStatus::Unknown, Reason::WaitingForPod, "no pod has said yet whether it can use the database".to_owned()),
    }
}

/// What keeps people from signing in at the provider keeps nobody from signing in with a password: Ready does not depend on it.
fn sign_in(inputs: &StatusInputs<'_>) -> Option<Finding> {
    let oidc = inputs.instance.spec.sign_in.oidc.as_ref()?;
    // Not looked for, when something came before it.
    if inputs.oidc_problem.is_none() && inputs.problem.is_some() {
        return Some(kept(inputs, Type::SignInConfigured));
    }
    Some(match inputs.oidc_problem {
        Some(problem) => (ConditionStatus::False, Reason::OidcSecretNotFound, problem.to_owned()),
        None => (ConditionStatus::True, Reason::OidcSecretsFound, format!("people can be sent to {} to sign in", oidc.issuer)),
    })
}

fn available(inputs: &StatusInputs<'_>, workload: &Workload) -> Finding {
    let wanted = inputs.instance.spec.replicas;
    if wanted == 0 {
        return (ConditionStatus::False, Reason::ScaledToZero, "spec.replicas is 0".to_owned());
    }
    let message = format!("{} of {wanted} pods are ready", workload.ready.min(wanted));
    if workload.available >= wanted {
        return (ConditionStatus::True, Reason::PodsReady, message);
    }
    let waiting: Vec<(String, String)> = inputs.fleet.map(waiting_pods).unwrap_or_default();
    let message = if waiting.is_empty() { message } else { format!("{message}; {}", joined(&waiting)) };
    (ConditionStatus::False, Reason::PodsNotReady, message)
}

/// Pods that Kubernetes cannot start, and why.
fn waiting_pods(fleet: &FleetView) -> Vec<(String, String)> {
    let waiting = |pod: &crate::fleet::PodView| match &pod.observation {
        Observation::Starting { waiting: Some(waiting) } => Some((pod.name.clone(), format!("cannot start: {waiting}"))),
        _ => None,
    };
    fleet.pods.iter().filter_map(waiting).collect()
}

fn progressing(inputs: &StatusInputs<'_>, workload: &Workload) -> Finding {
    let wanted = inputs.instance.spec.replicas;
    if wanted == 0 {
        return (ConditionStatus::False, Reason::ScaledToZero, "spec.replicas is 0".to_owned());
    }
    let deadline = inputs.instance.spec.rollout.progress_deadline_seconds;
    if workload.observed && workload.deadline_exceeded {
        let waiting = inputs.fleet.map(not_ready_pods).unwrap_or_default();
        let detail = if waiting.is_empty() { String::new() } else { format!(": {}", joined(&waiting)) };
        return (ConditionStatus::False, Reason::RolloutStuck, format!("new pods did not become ready within {deadline} s{detail}"));
    }
    let replaced = workload.observed && workload.updated >= wanted && workload.replicas <= workload.updated;
    if !replaced {
        let message = format!("{} of {wanted} pods are as spec asks for", workload.updated.min(wanted));
        return (ConditionStatus::True, Reason::RolloutInProgress, message);
    }
    let Some(fleet) = inputs.fleet.filter(|fleet| fleet.complete) else { return kept(inputs, Type::Progressing) };
    let behind: Vec<(String, String)> =
        fleet.pods.iter().filter(|pod| !pod.is_settled(&fleet.target)).map(|pod| (pod.name.clone(), behind_message(pod, fleet))).collect();
    if behind.is_empty() {
        return (
            ConditionStatus::False,
            Reason::RolloutComplete,
            format!("every pod has revision {} of the plugin set", fleet.target.set.revision),
        );
    }
    let revision = fleet.target.set.revision;
    if inputs.overdue || was_stuck(inputs, fleet) {
        let message =
            format!("revision {revision} of the plugin set did not become active in every pod within {deadline} s: {}", joined(&behind));
        return (ConditionStatus::False, Reason::RolloutStuck, message);
    }
    let message = format!("revision {revision} of the plugin set is on its way into {} of {} pods", behind.len(), fleet.pods.len());
    (ConditionStatus::True, Reason::RolloutInProgress, message)
}

/// Whether it was said before that this very set does not arrive: an operator that has just begun does
/// not take that back until the set is there.
fn was_stuck(inputs: &StatusInputs<'_>, fleet: &FleetView) -> bool {
    let Some(before) = &inputs.instance.status else { return false };
    let same_set = before.plugin_set.desired == Some(version(fleet.target.set.revision, fleet.target.hash));
    let progressing = find_condition(&before.conditions, Type::Progressing.as_str());
    same_set
        && progressing.is_some_and(|condition| {
            condition.reason == Reason::RolloutStuck.as_str() && condition.observed_generation == inputs.instance.meta().generation
        })
}

fn behind_message(pod: &crate::fleet::PodView, fleet: &FleetView) -> String {
    match &pod.observation {
        Observation::Starting { waiting: Some(waiting) } => format!("cannot start: {waiting}"),
        Observation::Starting { waiting: None } => "is starting".to_owned(),
        Observation::Unreachable { message } => format!("does not answer: {message}"),
        Observation::Refused { message, .. } => format!("does not take the set over: {message}"),
        Observation::Reported(report) if report.revision != fleet.target.set.revision => format!("has revision {}", report.revision),
        Observation::Reported(_) => "is still working on it".to_owned(),
    }
}

/// Why pods are not ready, as far as plugins or Kubernetes say so.
fn not_ready_pods(fleet: &FleetView) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for pod in fleet.pods.iter().filter(|pod| !pod.ready) {
        if let Observation::Starting { waiting: Some(waiting) } = &pod.observation {
            found.push((pod.name.clone(), format!("cannot start: {waiting}")));
        }
        let critical = |resource: &str| fleet.target.entry(resource).is_some_and(|entry| entry.critical);
        for plugin in pod.report().iter().flat_map(|report| &report.plugins).filter(|plugin| critical(&plugin.resource)) {
            if !plugin.message.is_empty() {
                found.push((pod.name.clone(), format!("critical plugin '{}': {}", plugin.resource, plugin.message)));
            }
        }
    }
    found
}

fn ready(inputs: &StatusInputs<'_>, [database, available, progressing]: [&Finding; 3]) -> Finding {
    let no = |(_, reason, message): &Finding| (ConditionStatus::False, *reason, message.clone());
    if let Some((reason, message)) = &inputs.problem {
        return (ConditionStatus::False, *reason, message.clone());
    }
    if inputs.instance.spec.replicas == 0 {
        return (ConditionStatus::False, Reason::ScaledToZero, "spec.replicas is 0: nothing runs".to_owned());
    }
    if database.0 == ConditionStatus::False {
        return no(database);
    }
    if progressing.1 == Reason::RolloutStuck {
        return no(progressing);
    }
    if available.0 != ConditionStatus::True {
        return no(available);
    }
    let Some(fleet) = inputs.fleet.filter(|fleet| fleet.complete) else { return kept(inputs, Type::Ready) };
    let silent: Vec<(String, String)> = fleet
        .pods
        .iter()
        .filter_map(|pod| match &pod.observation {
            Observation::Unreachable { message } => Some((pod.name.clone(), format!("does not answer: {message}"))),
            _ => None,
        })
        .collect();
    if !silent.is_empty() {
        return (ConditionStatus::Unknown, Reason::PodsUnreachable, joined(&silent));
    }
    if progressing.0 == ConditionStatus::True {
        return no(progressing);
    }
    let failing = failing_plugins(fleet);
    if !failing.is_empty() {
        let message = format!("not active in every pod: CheckstackPlugin {}", failing.join(", "));
        return (ConditionStatus::False, Reason::PluginsNotReady, message);
    }
    if let Some((_, reason, message)) = rolled_back(inputs) {
        return (ConditionStatus::False, reason, message);
    }
    (ConditionStatus::True, Reason::Ready, format!("{}, with revision {} of the plugin set", available.2, fleet.target.set.revision))
}

/// Plugins of which the form before was put back.
fn rolled_back(inputs: &StatusInputs<'_>) -> Option<Finding> {
    let Some(fleet) = inputs.fleet.filter(|fleet| fleet.complete) else {
        let before = inputs.instance.status.as_ref().is_some_and(|status| is_true(&status.conditions, Type::RolledBack.as_str()));
        return before.then(|| kept(inputs, Type::RolledBack));
    };
    let put_back = fleet.target.members.iter().filter(|(_, member)| member.standing == Standing::Held(Obstacle::RolledBack));
    let names: Vec<String> = put_back.map(|(resource, _)| format!("'{resource}'")).collect();
    let message = format!("put back to the form before, see there: CheckstackPlugin {}", names.join(", "));
    (!names.is_empty()).then_some((ConditionStatus::True, Reason::PluginRolledBack, message))
}

/// Plugins of the set that a ready pod does not run.
fn failing_plugins(fleet: &FleetView) -> Vec<String> {
    let failing = fleet.target.entries.iter().filter(|(resource, entry)| !runs_everywhere(fleet, resource, entry));
    failing.map(|(resource, _)| format!("'{resource}'")).collect()
}

/// `2/3`: of three plugins that the instance should run, two are active wherever requests arrive.
fn plugins_active(fleet: &FleetView) -> String {
    let serving = fleet.pods.iter().any(|pod| pod.ready);
    let is_wanted =
        |resource: &str| fleet.target.members.get(resource).is_none_or(|member| member.standing != Standing::Held(Obstacle::RolledBack));
    let runs = |resource: &str, entry: &Digest| serving && is_wanted(resource) && runs_everywhere(fleet, resource, entry);
    let active = fleet.target.entries.iter().filter(|(resource, entry)| runs(resource, entry)).count();
    format!("{active}/{}", fleet.target.members.len())
}

fn runs_everywhere(fleet: &FleetView, resource: &str, entry: &Digest) -> bool {
    fleet.pods.iter().filter(|pod| pod.ready).all(|pod| runs(pod, resource, entry))
}

/// What was said before, for as long as the pods have not been asked by this operator.
fn kept(inputs: &StatusInputs<'_>, type_: Type) -> Finding {
    let before = inputs.instance.status.as_ref().and_then(|status| find_condition(&status.conditions, type_.as_str()));
    let before = before.filter(|condition| condition.observed_generation == inputs.instance.meta().generation);
    before.and_then(|condition| Some((parse(&condition.status)?, condition.reason.parse().ok()?, condition.message.clone()))).unwrap_or((
        ConditionStatus::Unknown,
        Reason::WaitingForPod,
        "no pod has reported yet".to_owned(),
    ))
}

fn parse(status: &str) -> Option<ConditionStatus> {
    [ConditionStatus::True, ConditionStatus::False, ConditionStatus::Unknown].into_iter().find(|known| known.as_str() == status)
}

/// The set that all ready pods report.
fn active_set(fleet: &FleetView) -> Option<PluginSetVersion> {
    let mut reported = fleet.pods.iter().filter(|pod| pod.ready).map(|pod| pod.report().map(|report| (report.revision, report.set_hash)));
    let (revision, hash) = reported.next()??;
    reported.all(|other| other == Some((revision, hash))).then(|| version(revision, hash))
}

fn server_versions(fleet: &FleetView) -> Option<String> {
    let mut versions: Vec<&str> = fleet.pods.iter().filter_map(|pod| pod.report()).map(|report| report.server_version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    (!versions.is_empty()).then(|| versions.join(", "))
}

fn version(revision: u64, hash: Digest) -> PluginSetVersion {
    PluginSetVersion { revision: i64::try_from(revision).unwrap_or(i64::MAX), hash: hash.to_string() }
}

#[cfg(test)]
mod tests;
