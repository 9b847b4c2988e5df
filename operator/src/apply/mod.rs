//! Writing to the API server: server-side apply of what the operator owns, and of status.
//!
//! Every purpose has its own field manager. Force is used only on objects that this operator made
//! for the owner at hand: an object of the same name that is somebody else's is never taken over.

mod status;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use checkstack_plugin_package::{Digest, canonical};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use status::{StatusPatch, Unreadable, patch_status, report_unreadable};

use crate::error::{KubernetesContext, KubernetesError};
use crate::object_key::ObjectKey;
use crate::telemetry::ErrorClass;

/// Field manager of the objects of an instance.
pub(crate) const INSTANCE_MANAGER: &str = "checkstack-operator/instance";
/// Field manager of the status of a Checkstack.
pub(crate) const INSTANCE_STATUS_MANAGER: &str = "checkstack-operator/instance-status";
/// Field manager of the finalizer of a CheckstackPlugin.
pub(crate) const PLUGIN_FINALIZER_MANAGER: &str = "checkstack-operator/plugin-finalizer";
/// Field manager of the status of a CheckstackPlugin.
pub(crate) const PLUGIN_STATUS_MANAGER: &str = "checkstack-operator/plugin-status";

/// After this time an object is applied again although nothing seems to have changed. Matters for
/// what is not watched.
const TRUST: Duration = Duration::from_secs(600);

/// Kinds that can be applied.
pub(crate) trait Owned:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug
{
}
impl<K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug> Owned for K {}

/// Applies objects, and remembers what it applied so that an unchanged object costs no request.
pub(crate) struct Applier {
    client: Client,
    known: Mutex<HashMap<ObjectId, Known>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ObjectId {
    kind: String,
    namespace: String,
    name: String,
}

/// How an object was when it was last looked at.
#[derive(Debug, Clone)]
struct Known {
    owner: String,
    /// Hash of what was applied; none: the object does not exist.
    applied: Option<Digest>,
    resource_version: Option<String>,
    at: Instant,
}

/// Why an object could not be brought into its desired form.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// The API server refused, or did not answer.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    /// Somebody else's object has the name.
    #[error("{kind} '{name}' exists and does not belong to this Checkstack: rename or delete it, or rename the Checkstack")]
    NotOurs {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
    },
    /// The object belongs to a Checkstack of the same name that was deleted.
    #[error("{kind} '{name}' still belongs to a deleted Checkstack of this name; it is being removed")]
    Leftover {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
    },
    /// A bug: our own object is no JSON.
    #[error("{kind} '{name}' cannot be written as JSON: {source}")]
    Serialize {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
}

impl ApplyError {
    /// What it means for the next try.
    pub(crate) fn class(&self) -> ErrorClass {
        match self {
            Self::Kubernetes(error) => error.class(),
            // Nothing tells when the other object goes away: look again.
            Self::NotOurs { .. } | Self::Leftover { .. } => ErrorClass::Transient,
            Self::Serialize { .. } => ErrorClass::Terminal,
        }
    }

    /// One sentence for a condition.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Kubernetes(error) => error.message(),
            other => other.to_string(),
        }
    }
}

impl Applier {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, known: Mutex::default() }
    }

    /// Makes the object as desired. Does nothing when it was, and nobody has touched it since.
    pub(crate) async fn apply<K: Owned>(&self, desired: &K) -> Result<(), ApplyError> {
        let id = ObjectId::of(desired.meta(), K::kind(&()));
        let owner = controller_uid(desired.meta()).unwrap_or_default();
        let hash = canonical::to_vec(desired).map(|bytes| Digest::of(&bytes)).map_err(|source| ApplyError::Serialize {
            kind: id.kind.clone(),
            name: id.name.clone(),
            source,
        })?;
        let known = self.fresh(&id, &owner);
        if known.as_ref().is_some_and(|known| known.applied == Some(hash)) {
            return Ok(());
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), &id.namespace);
        if known.is_none() {
            self.owned_or_absent(&api, &id, &owner).await?;
        }
        let parameters = PatchParams::apply(INSTANCE_MANAGER).force();
        let applied = api.patch(&id.name, &parameters, &Patch::Apply(desired)).await.during("apply", || id.shown())?;
        self.remember(id, Known { owner, applied: Some(hash), resource_version: applied.resource_version(), at: Instant::now() });
        Ok(())
    }

    /// Removes an object that is no longer wanted, if it is the owner's.
    pub(crate) async fn remove<K: Owned>(&self, unwanted: &ObjectMeta) -> Result<(), ApplyError> {
        let id = ObjectId::of(unwanted, K::kind(&()));
        let owner = controller_uid(unwanted).unwrap_or_default();
        if self.fresh(&id, &owner).is_some_and(|known| known.applied.is_none()) {
            return Ok(());
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), &id.namespace);
        let found = api.get_metadata_opt(&id.name).await.during("read", || id.shown())?;
        if let Some(found) = found.filter(|found| controller_uid(found.meta()).as_deref() == Some(&owner)) {
            let only_this = Preconditions { uid: found.uid(), resource_version: None };
            let deletion = api.delete(&id.name, &DeleteParams::background().preconditions(only_this)).await;
            not_found_is_fine(deletion.map(|_| ())).during("delete", || id.shown())?;
        }
        self.remember(id, Known { owner, applied: None, resource_version: None, at: Instant::now() });
        Ok(())
    }

    /// Says that an object was seen in the API server. If that is not what was applied last, it
    /// will be applied again.
    pub(crate) fn seen(&self, kind: &str, metadata: &ObjectMeta) {
        let id = ObjectId::of(metadata, kind.into());
        let mut known = self.known();
        if known.get(&id).is_some_and(|known| known.resource_version != metadata.resource_version) {
            known.remove(&id);
        }
    }

    /// Says that an object was not there when it was looked for.
    pub(crate) fn gone(&self, kind: &str, key: &ObjectKey) {
        self.known().remove(&ObjectId { kind: kind.to_owned(), namespace: key.namespace.clone(), name: key.name.clone() });
    }

    /// Forgets everything about objects but those of owners to be kept.
    pub(crate) fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.known().retain(|_, known| keep(&known.owner));
    }

    /// Refuses to write to what is not the owner's.
    async fn owned_or_absent<K: Owned>(&self, api: &Api<K>, id: &ObjectId, owner: &str) -> Result<(), ApplyError> {
        let Some(found) = api.get_metadata_opt(&id.name).await.during("read", || id.shown())? else { return Ok(()) };
        match controller_uid(found.meta()) {
            Some(uid) if uid == owner => Ok(()),
            Some(_) if is_checkstack_owned(found.meta()) => Err(ApplyError::Leftover { kind: id.kind.clone(), name: id.name.clone() }),
            _ => Err(ApplyError::NotOurs { kind: id.kind.clone(), name: id.name.clone() }),
        }
    }

    fn fresh(&self, id: &ObjectId, owner: &str) -> Option<Known> {
        self.known().get(id).filter(|known| known.owner == owner && known.at.elapsed() < TRUST).cloned()
    }

    fn remember(&self, id: ObjectId, known: Known) {
        self.known().insert(id, known);
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ObjectId {
    fn of(metadata: &ObjectMeta, kind: std::borrow::Cow<'_, str>) -> Self {
        Self {
            kind: kind.into_owned(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        }
    }

    fn shown(&self) -> String {
        format!("{} '{}'", self.kind, self.name)
    }
}

/// The uid of the controller that owns an object.
pub(crate) fn controller_uid(metadata: &ObjectMeta) -> Option<String> {
    metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone())
}

fn is_checkstack_owned(metadata: &ObjectMeta) -> bool {
    metadata.owner_references.iter().flatten().any(|owner| owner.controller == Some(true) && owner.kind == "Checkstack")
}

/// Somebody else having been quicker to delete is no error.
pub(crate) fn not_found_is_fine(result: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other,
    }
}
