//! Status by server-side apply.

use checkstack_crds::conditions::{NewCondition, equal_ignoring_times, remove_condition, set_condition};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{KubernetesContext, KubernetesError};

/// A status to write.
pub(crate) struct StatusPatch<'a, K, S> {
    /// The object as the status was computed from.
    pub(crate) object: &'a K,
    /// All of the status.
    pub(crate) status: &'a S,
    /// For whom it is written.
    pub(crate) manager: &'static str,
}

/// Writes a status. Fails with a conflict when the object is no longer the one that the status was
/// computed from: then the next reconciliation, which the change brings about, computes it anew.
/// Gives the new resource version.
pub(crate) async fn patch_status<K, S>(client: &Client, patch: StatusPatch<'_, K, S>) -> Result<Option<String>, KubernetesError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    S: Serialize,
{
    let name = patch.object.name_any();
    let document = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": { "name": name, "resourceVersion": patch.object.resource_version() },
        "status": patch.status,
    });
    // What comes back is not looked at: the object may be one that cannot be read.
    let api: Api<PartialObjectMeta<K>> = Api::namespaced(client.clone(), &patch.object.namespace().unwrap_or_default());
    let parameters = PatchParams::apply(patch.manager).force();
    api.patch_status(&name, &parameters, &Patch::Apply(document))
        .await
        .during("write the status of", || format!("{} '{name}'", K::kind(&())))
        .map(|written| written.resource_version())
}

/// What to say about an object that this release cannot read.
pub(crate) struct Unreadable<'a> {
    /// Of the object.
    pub(crate) metadata: &'a ObjectMeta,
    /// `Ready` and `Stalled`.
    pub(crate) conditions: [NewCondition; 2],
    /// The type of the condition that does not hold.
    pub(crate) not: &'static str,
    /// For whom it is written.
    pub(crate) manager: &'static str,
}

/// Says in the status of an object that it cannot be read. The rest of the status is kept as it is,
/// whatever it may be: what was found out before is needed when the object has been corrected.
pub(crate) async fn report_unreadable<K>(client: &Client, unreadable: Unreadable<'_>) -> Result<(), KubernetesError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let Unreadable { metadata, conditions, not, manager } = unreadable;
    let name = metadata.name.clone().unwrap_or_default();
    let shown = || format!("{} '{name}'", K::kind(&()));
    let kind = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), metadata.namespace.as_deref().unwrap_or_default(), &kind);
    let Some(object) = api.get_opt(&name).await.during("read", shown)? else { return Ok(()) };
    let mut status = object.data.get("status").cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
    let before: Vec<Condition> = status.get("conditions").and_then(|list| serde_json::from_value(list.clone()).ok()).unwrap_or_default();
    let mut after = before.clone();
    let now = Time(Timestamp::now());
    for condition in conditions {
        set_condition(&mut after, condition, object.metadata.generation, now.clone());
    }
    remove_condition(&mut after, not);
    if equal_ignoring_times(&before, &after) {
        return Ok(());
    }
    if let Value::Object(status) = &mut status {
        status.insert("conditions".to_owned(), json!(after));
        status.insert("observedGeneration".to_owned(), json!(object.metadata.generation));
    }
    let document = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": { "name": name, "resourceVersion": object.metadata.resource_version },
        "status": status,
    });
    let parameters = PatchParams::apply(manager).force();
    api.patch_status(&name, &parameters, &Patch::Apply(document)).await.during("write the status of", shown).map(|_| ())
}
