//! Reads and writes the revisions of an instance's plugin set.

use std::collections::BTreeSet;

use checkstack_crds::Checkstack;
use checkstack_plugin_package::{Digest, PluginSet};
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};

use super::memory::History;
use super::reconcile::InstanceError;
use super::revision::{Decision, KnownRevision, controller_revision, decide, known_revision, surplus};
use crate::apply::{controller_uid, not_found_is_fine};
use crate::context::Context;
use crate::error::KubernetesContext;
use crate::names;

/// The revisions that exist.
pub(crate) async fn load(context: &Context, instance: &Checkstack) -> Result<History, InstanceError> {
    let uid = instance.uid().unwrap_or_default();
    if let Some(history) = context.instance_memory.history(&uid) {
        return Ok(history);
    }
    let selector = format!("{},{}={}", names::owned_selector(), names::LABEL_INSTANCE, instance.name_any());
    let listed =
        api(context, instance).list(&ListParams::default().labels(&selector)).await.during("list", || "ControllerRevisions".into())?;
    let (own, others): (Vec<_>, Vec<_>) = listed.items.iter().partition(|object| controller_uid(&object.metadata).as_ref() == Some(&uid));
    let mut own: Vec<_> = own.into_iter().map(known_revision).collect();
    own.sort_by_key(|revision| revision.revision);
    let taken = others.into_iter().map(|object| known_revision(object).revision).max().unwrap_or(0);
    let history = History { own, taken };
    context.instance_memory.set_history(&uid, history.clone());
    Ok(history)
}

/// Gives the set its revision, and makes the ControllerRevision if it is a new one.
pub(crate) async fn assign(
    context: &Context,
    instance: &Checkstack,
    mut history: History,
    set: &mut PluginSet,
    hash: Digest,
    reported: &[(u64, Digest)],
) -> Result<(), InstanceError> {
    // One that cannot be read counts as different from everything.
    let hash_of = |latest: &KnownRevision| latest.set.as_ref().and_then(|set| set.hash().ok()).unwrap_or(Digest::of(b""));
    let latest = history.own.last().map(|latest| (latest.revision, hash_of(latest)));
    set.revision = match decide(latest, hash, reported) {
        Decision::Keep(revision) => revision,
        Decision::Create(revision) => revision.max(history.taken.saturating_add(1)),
    };
    if latest.is_some_and(|(revision, _)| revision == set.revision) {
        return Ok(());
    }
    let uid = instance.uid().unwrap_or_default();
    let object = controller_revision(instance, set, hash).map_err(|error| InstanceError::Internal(error.to_string()))?;
    let parameters = PostParams { field_manager: Some(crate::apply::INSTANCE_MANAGER.to_owned()), ..PostParams::default() };
    // Whatever comes of it, the history is read again if it did not work.
    context.instance_memory.forget_history(&uid);
    api(context, instance).create(&parameters, &object).await.during("create", || format!("ControllerRevision '{}'", object.name_any()))?;
    tracing::info!(revision = set.revision, plugins = set.plugins.len(), %hash, "new plugin set");
    history.own.push(known_revision(&object));
    context.instance_memory.set_history(&uid, history);
    Ok(())
}

/// Removes revisions beyond the history.
pub(crate) async fn prune(context: &Context, instance: &Checkstack, needed: &BTreeSet<u64>) -> Result<(), InstanceError> {
    let uid = instance.uid().unwrap_or_default();
    let Some(mut history) = context.instance_memory.history(&uid) else { return Ok(()) };
    let limit = usize::try_from(instance.spec.plugins.revision_history_limit).unwrap_or(1);
    for name in surplus(&history.own, limit, needed) {
        let deletion = api(context, instance).delete(&name, &DeleteParams::default()).await.map(|_| ());
        not_found_is_fine(deletion).during("delete", || format!("ControllerRevision '{name}'"))?;
        history.own.retain(|revision| revision.name != name);
        context.instance_memory.set_history(&uid, history.clone());
    }
    Ok(())
}

fn api(context: &Context, instance: &Checkstack) -> Api<ControllerRevision> {
    Api::namespaced(context.client.clone(), &instance.namespace().unwrap_or_default())
}
