//! The end of a CheckstackPlugin: the pods let go of it, and its data goes if the admin wants so.
//!
//! The finalizer is there for this alone. Without the instance there is nothing left to do.

use std::time::{Duration, Instant};

use checkstack_crds::CheckstackPlugin;
use checkstack_crds::conditions::PluginConditionReason as Reason;
use checkstack_crds::plugin::DeletionPolicy;
use checkstack_plugin_package::PluginId;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use super::PluginError;
use super::artifact::instance_key;
use super::memory::{FailedPurge, until};
use crate::apply::PLUGIN_FINALIZER_MANAGER;
use crate::context::Context;
use crate::error::KubernetesContext;
use crate::events::Transition;
use crate::fleet::{FleetView, Observation};
use crate::instance::set::{Obstacle, Standing};
use crate::names::PLUGIN_FINALIZER;
use crate::object_key::ObjectKey;

/// Why the object is still there.
pub(crate) struct Waiting {
    pub(crate) reason: Reason,
    pub(crate) message: String,
    pub(crate) again_in: Option<Duration>,
}

/// Does what there is to do. `None`: the object is free to go.
pub(crate) async fn finalize(context: &Context, plugin: &CheckstackPlugin) -> Result<Option<Waiting>, PluginError> {
    if !has_finalizer(plugin) {
        return Ok(None);
    }
    let key = instance_key(plugin);
    let purges = plugin.spec.deletion_policy == DeletionPolicy::Purge;
    if context.instance(&key).is_none_or(|instance| instance.meta().deletion_timestamp.is_some()) {
        let note = "the Checkstack is gone, and nobody can delete the plugin's data any more: they stay in the database";
        return release(context, plugin, purges.then(|| transition(true, "DataKept", note))).await;
    }
    let view = context.fleets.view(&key);
    if let Some(waiting) = deregistered(plugin, view.as_deref()) {
        return Ok(Some(waiting));
    }
    if !purges {
        return release(context, plugin, None).await;
    }
    match purge(context, plugin, &key, view.as_deref()).await {
        Ok(outcome) => release(context, plugin, outcome).await,
        Err(waiting) => Ok(Some(waiting)),
    }
}

/// Makes sure that the object is not gone before the pods let go of it.
pub(crate) async fn hold(context: &Context, plugin: &mut CheckstackPlugin) -> Result<(), PluginError> {
    if !has_finalizer(plugin) {
        let version = apply_finalizers(context, plugin, &[PLUGIN_FINALIZER]).await?;
        plugin.metadata.resource_version = version;
    }
    Ok(())
}

/// Whether all pods have let go of it; if not, what is waited for.
fn deregistered(plugin: &CheckstackPlugin, view: Option<&FleetView>) -> Option<Waiting> {
    let waiting = |message: String| Some(Waiting { reason: Reason::Deleting, message, again_in: None });
    let never_ran = plugin.status.as_ref().is_none_or(|status| status.plugin_id.is_none());
    if never_ran {
        return None;
    }
    let resource = plugin.name_any();
    let Some(view) = view.filter(|view| view.complete) else { return waiting("the pods have not been asked yet".to_owned()) };
    let out = view
        .target
        .members
        .get(&resource)
        .is_some_and(|member| Some(&member.uid) == plugin.meta().uid.as_ref() && member.standing == Standing::Out(Obstacle::Deleting));
    if !out {
        return waiting("the plugin set without this plugin is being made".to_owned());
    }
    let holders: Vec<&str> = view
        .pods
        .iter()
        .filter(|pod| match &pod.observation {
            // It starts with a set that does not have the plugin any more.
            Observation::Starting { .. } => false,
            Observation::Unreachable { .. } => true,
            Observation::Reported(report) | Observation::Refused { report, .. } => {
                report.revision < view.target.set.revision || pod.plugin(&resource).is_some()
            }
        })
        .map(|pod| pod.name.as_str())
        .collect();
    match holders.is_empty() {
        true => None,
        false => waiting(format!("waiting for pods to let go of the plugin: {}", holders.join(", "))),
    }
}

/// Deletes the plugin's data. Gives what became of them, if they are worth an Event.
async fn purge(
    context: &Context,
    plugin: &CheckstackPlugin,
    instance: &ObjectKey,
    view: Option<&FleetView>,
) -> Result<Option<Transition>, Waiting> {
    let uid = plugin.uid().unwrap_or_default();
    let plugin_id = plugin.status.as_ref().and_then(|status| status.plugin_id.as_ref()).and_then(|id| id.parse::<PluginId>().ok());
    let Some(plugin_id) = plugin_id else { return Ok(None) };
    if let Some(heir) = view.and_then(|view| view.target.set.plugin(plugin_id.as_str())) {
        let note = format!("the data of plugin '{plugin_id}' stay: CheckstackPlugin '{}' uses them now", heir.resource);
        return Ok(Some(transition(false, "DataKept", &note)));
    }
    if let Some(FailedPurge { retry_at, message }) = context.plugin_memory.failed_purge(&uid)
        && !until(retry_at).is_zero()
    {
        return Err(Waiting { reason: Reason::PurgeFailed, message, again_in: Some(until(retry_at)) });
    }
    let callable = context.fleets.callable(instance);
    let Some((name, pod)) = callable.as_ref().and_then(|callable| callable.pods().next()) else {
        let message = "deleting the plugin's data needs a running pod: scale the Checkstack up, or set spec.deletionPolicy to Retain";
        return Err(Waiting { reason: Reason::WaitingForPod, message: message.to_owned(), again_in: None });
    };
    context.fleets.client().purge(pod, &plugin_id).await.map_err(|error| {
        let pause = context.plugin_backoff.failed(uid.clone(), context.hash(&"purge"));
        let message = format!("pod {name} did not delete the plugin's data: {error}");
        context.plugin_memory.purge_failed(&uid, FailedPurge { retry_at: Instant::now() + pause, message: message.clone() });
        Waiting { reason: Reason::PurgeFailed, message, again_in: Some(pause) }
    })?;
    Ok(Some(transition(false, "Purged", &format!("the data of plugin '{plugin_id}' were deleted"))))
}

/// Lets go of the object, and then says what is worth an Event.
async fn release(context: &Context, plugin: &CheckstackPlugin, farewell: Option<Transition>) -> Result<Option<Waiting>, PluginError> {
    apply_finalizers(context, plugin, &[]).await?;
    context.events.publish(plugin, farewell.into_iter().collect()).await;
    Ok(None)
}

/// Only our own finalizer: this field manager owns no other. Gives the new resource version.
async fn apply_finalizers(context: &Context, plugin: &CheckstackPlugin, finalizers: &[&str]) -> Result<Option<String>, PluginError> {
    let name = plugin.name_any();
    let document = json!({
        "apiVersion": CheckstackPlugin::api_version(&()),
        "kind": CheckstackPlugin::kind(&()),
        // With its uid, the object is not made anew when it is gone.
        "metadata": { "name": name, "uid": plugin.uid(), "finalizers": finalizers },
    });
    let api: Api<CheckstackPlugin> = Api::namespaced(context.client.clone(), &plugin.namespace().unwrap_or_default());
    let parameters = PatchParams::apply(PLUGIN_FINALIZER_MANAGER).force();
    match api.patch_metadata(&name, &parameters, &Patch::Apply(document)).await {
        // Gone, and perhaps made anew.
        Err(kube::Error::Api(status))
            if finalizers.is_empty() && (status.is_not_found() || status.is_conflict() || status.is_invalid()) =>
        {
            Ok(None)
        }
        result => Ok(result.during("write the finalizer of", || format!("CheckstackPlugin '{name}'"))?.resource_version()),
    }
}

fn has_finalizer(plugin: &CheckstackPlugin) -> bool {
    plugin.finalizers().iter().any(|finalizer| finalizer == PLUGIN_FINALIZER)
}

fn transition(warning: bool, reason: &str, note: &str) -> Transition {
    Transition { warning, reason: reason.to_owned(), action: "Finalize", note: note.to_owned() }
}
