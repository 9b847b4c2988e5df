//! One reconciliation of a CheckstackPlugin.

use std::sync::Arc;
use std::time::Duration;

use checkstack_crds::checkstack::RollbackPolicy;
use checkstack_crds::conditions::{
    NewCondition, PluginConditionReason as Reason, PluginConditionType as Type, equal_ignoring_times, is_true,
};
use checkstack_crds::{CheckstackPlugin, CheckstackPluginStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::core::error_boundary::InvalidObject;
use kube::core::{Selector, SelectorExt};
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

use super::artifact::{self, Known, instance_key, source_reference};
use super::finalize::{self, Waiting};
use super::package::Failure;
use super::rollout::{self, RolloutPolicy};
use super::status::{Artifact, Situation, StatusInputs, Store, compute, transitions};
use crate::apply::{PLUGIN_STATUS_MANAGER, StatusPatch, Unreadable, patch_status, report_unreadable};
use crate::context::{Context, Guarded};
use crate::error::KubernetesError;
use crate::object_key::ObjectKey;
use crate::references::Dependent;
use crate::telemetry::{ErrorClass, PluginStateName};

/// Why a reconciliation could not be finished. What is wrong with the plugin itself is no error,
/// but its status.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PluginError {
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    #[error("the object was changed while its source was being read")]
    Superseded,
    #[error("the operator is shutting down")]
    Interrupted,
    #[error("the spec cannot be hashed: {0}")]
    Serialize(serde_json::Error),
}

impl PluginError {
    pub(crate) fn class(&self) -> ErrorClass {
        match self {
            Self::Kubernetes(error) => error.class(),
            Self::Superseded => ErrorClass::Conflict,
            Self::Interrupted => ErrorClass::Transient,
            Self::Serialize(_) => ErrorClass::Terminal,
        }
    }
}

pub(crate) async fn reconcile(guard: Arc<Guarded<CheckstackPlugin>>, context: Arc<Context>) -> Result<Action, PluginError> {
    match &guard.0 {
        Ok(plugin) => reconcile_plugin(&mut plugin.clone(), &context).await,
        Err(invalid) => report_invalid(invalid, &context).await,
    }
}

async fn reconcile_plugin(plugin: &mut CheckstackPlugin, context: &Context) -> Result<Action, PluginError> {
    if plugin.meta().deletion_timestamp.is_some() {
        return reconcile_deleted(plugin, context).await;
    }
    let key = ObjectKey::of(plugin);
    context.references.depends_on(Dependent::Plugin(key), source_reference(plugin).into_iter().collect());
    let situation = situation(plugin, context);
    if situation != Situation::Wanted {
        write_status(plugin, &situation, &Artifact::Untried, context).await?;
        return Ok(Action::await_change());
    }
    let brought = bring_up(plugin, context).await;
    if let Err(PluginError::Kubernetes(error)) = &brought
        && !error.is_fleeting()
    {
        let failure = Failure { step: Type::Resolved, reason: Reason::Internal, message: error.message(), transient: true };
        write_status(plugin, &situation, &Artifact::Failed(failure), context).await?;
    }
    brought
}

/// From its source into the store, and what the pods make of it.
async fn bring_up(plugin: &mut CheckstackPlugin, context: &Context) -> Result<Action, PluginError> {
    let situation = Situation::Wanted;
    finalize::hold(context, plugin).await?;
    let (identity, known) = artifact::known(context, plugin).await?;
    if matches!(known, Known::Nothing) && is_news(plugin) {
        write_status(plugin, &situation, &Artifact::Resolving, context).await?;
    }
    let progress = match artifact::resolve(context, plugin, &identity, known).await? {
        Err(failed) => failed,
        Ok(resolved) => {
            if resolved.will_upload(context, plugin) {
                let uploading = Artifact::Verified { facts: resolved.facts.clone(), store: Store::Uploading };
                write_status(plugin, &situation, &uploading, context).await?;
            }
            artifact::store(context, plugin, identity, resolved).await?
        }
    };
    write_status(plugin, &situation, &progress.artifact, context).await?;
    let history = plugin.status.as_ref().map(|status| status.history.as_slice()).unwrap_or_default();
    let overdue_in = rollout::time_left(history, policy(plugin, context), &Time(Timestamp::now()));
    let again_in = [progress.again_in, overdue_in].into_iter().flatten().min();
    Ok(again_in.map_or_else(Action::await_change, |pause| Action::requeue(pause.max(Duration::from_millis(50)))))
}

/// What the instance says about changes. One that cannot be read rolls nothing back.
fn policy(plugin: &CheckstackPlugin, context: &Context) -> RolloutPolicy {
    let guard = context.instance(&instance_key(plugin));
    let spec = guard.as_ref().and_then(|guard| guard.0.as_ref().ok()).map(|instance| &instance.spec);
    RolloutPolicy {
        deadline: spec.map_or(Duration::MAX, |spec| spec.rollout.progress_deadline()),
        rolls_back: spec.is_some_and(|spec| spec.plugins.rollback == RollbackPolicy::Automatic),
    }
}

async fn reconcile_deleted(plugin: &mut CheckstackPlugin, context: &Context) -> Result<Action, PluginError> {
    let finalized = finalize::finalize(context, plugin).await;
    let (situation, result) = match finalized {
        Ok(None) => return Ok(Action::await_change()),
        Ok(Some(Waiting { reason, message, again_in })) => {
            (Situation::Deleting { reason, message }, Ok(again_in.map_or_else(Action::await_change, Action::requeue)))
        }
        Err(PluginError::Kubernetes(error)) if !error.is_fleeting() => {
            (Situation::Deleting { reason: Reason::Internal, message: error.message() }, Err(error.into()))
        }
        Err(error) => return Err(error),
    };
    write_status(plugin, &situation, &Artifact::Untried, context).await?;
    result
}

fn situation(plugin: &CheckstackPlugin, context: &Context) -> Situation {
    let Some(guard) = context.instance(&instance_key(plugin)) else { return Situation::InstanceNotFound };
    // One that cannot be read does not make its plugins homeless.
    let Ok(instance) = &guard.0 else { return Situation::Wanted };
    if !plugin.spec.enabled {
        return Situation::Disabled;
    }
    match Selector::try_from(instance.spec.plugins.selector.clone()) {
        Ok(selector) if !selector.matches(plugin.labels()) => Situation::NotSelected,
        _ => Situation::Wanted,
    }
}

/// Whether it is worth saying that the source is being read: not for each of many tries.
fn is_news(plugin: &CheckstackPlugin) -> bool {
    plugin.status.as_ref().is_none_or(|status| status.observed_generation != plugin.meta().generation)
}

/// Writes the status if it says anything new, and brings `plugin` up to date with it.
async fn write_status(
    plugin: &mut CheckstackPlugin,
    situation: &Situation,
    artifact: &Artifact,
    context: &Context,
) -> Result<(), PluginError> {
    let fleet = context.fleets.view(&instance_key(plugin));
    let policy = policy(plugin, context);
    let inputs = StatusInputs { plugin, situation, artifact, fleet: fleet.as_deref(), policy, now: Time(Timestamp::now()) };
    let status = compute(&inputs);
    if plugin.status.as_ref().is_some_and(|before| is_same(before, &status)) {
        return Ok(());
    }
    let patch = StatusPatch { object: &*plugin, status: &status, manager: PLUGIN_STATUS_MANAGER };
    plugin.metadata.resource_version = patch_status(&context.client, patch).await?;
    let before = plugin.status.replace(status);
    let events = plugin.status.as_ref().map(|status| transitions(before.as_ref(), status));
    context.events.publish(plugin, events.unwrap_or_default()).await;
    Ok(())
}

fn is_same(one: &CheckstackPluginStatus, other: &CheckstackPluginStatus) -> bool {
    let rest = |status: &CheckstackPluginStatus| CheckstackPluginStatus { conditions: Vec::new(), ..status.clone() };
    equal_ignoring_times(&one.conditions, &other.conditions) && rest(one) == rest(other)
}

/// An object that this release cannot read harms nobody but itself: the plugin set keeps the plugin as it was.
async fn report_invalid(invalid: &InvalidObject, context: &Context) -> Result<Action, PluginError> {
    let message = format!("the object cannot be read: {}; correct it, or use an operator that knows this form", invalid.error);
    let condition = |type_: Type| NewCondition::plugin(type_, type_ == Type::Stalled, Reason::InvalidSpec, &message);
    let unreadable = Unreadable {
        metadata: &invalid.metadata,
        conditions: [condition(Type::Ready), condition(Type::Stalled)],
        not: Type::Reconciling.as_str(),
        manager: PLUGIN_STATUS_MANAGER,
    };
    report_unreadable::<CheckstackPlugin>(&context.client, unreadable).await?;
    Ok(Action::await_change())
}

/// For the metrics.
pub(crate) fn state_of(guard: &Guarded<CheckstackPlugin>) -> PluginStateName {
    let Ok(plugin) = &guard.0 else { return PluginStateName::Failed };
    let has = |type_: Type| plugin.status.as_ref().is_some_and(|status| is_true(&status.conditions, type_.as_str()));
    if !plugin.spec.enabled {
        PluginStateName::Disabled
    } else if has(Type::Ready) {
        PluginStateName::Ready
    } else if has(Type::Stalled) {
        PluginStateName::Failed
    } else {
        PluginStateName::Progressing
    }
}
