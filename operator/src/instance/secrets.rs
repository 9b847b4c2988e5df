//! Values from Secrets: the database URL, the keys, what signing in at a provider takes, and `configFrom` of plugins. And back:
//! keys that are new.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use checkstack_crds::plugin::ConfigSource;
use checkstack_crds::{Checkstack, CheckstackPlugin};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Map, Value};

use super::keys::{InvalidKeys, KeyRing};
use super::objects::{self, SecretSettings};
use super::reconcile::InstanceError;
use super::rotation::{Circumstances, Decision, Step, behind, decide};
use super::set::{SecretConfig, SecretProblem};
use crate::apply::controller_uid;
use crate::context::Context;
use crate::error::KubernetesContext;
use crate::events::Transition;
use crate::names;
use crate::object_key::ObjectKey;
use crate::references::Reference;

/// Everything in Secrets that an instance depends on.
pub(crate) fn references(instance: &Checkstack, plugins: &[&CheckstackPlugin]) -> BTreeSet<Reference> {
    let namespace = instance.namespace().unwrap_or_default();
    let name = instance.name_any();
    let own = [
        instance.spec.database.url_secret_ref.name.clone(),
        names::admin_secret(&name),
        names::encryption_secret(&name),
        names::keys_secret(&name),
        names::plugin_config_secret(&name),
    ];
    let oidc = oidc_secrets(instance).into_iter().map(|(_, name, _)| name.to_owned());
    let of_plugins = plugins.iter().flat_map(|plugin| &plugin.spec.config_from).map(|source| source.secret_ref.name.clone());
    own.into_iter().chain(oidc).chain(of_plugins).map(|name| Reference::Secret(ObjectKey::new(&namespace, name))).collect()
}

/// The keys, and the metadata of the Secret that they were read from.
pub(crate) struct FoundKeys {
    pub(crate) ring: KeyRing,
    metadata: ObjectMeta,
}

/// The instance's keys, made now if there are none.
pub(crate) async fn keys(context: &Context, instance: &Checkstack) -> Result<FoundKeys, InstanceError> {
    let name = names::keys_secret(&instance.name_any());
    let key = keys_secret(instance);
    let found = match context.references.secret(&key).await? {
        Some(secret) => secret,
        None => {
            let ring = KeyRing::generate(rotation_request(instance), Timestamp::now()).map_err(internal)?;
            let secret = ring.to_secret(instance).map_err(internal)?;
            let parameters = PostParams { field_manager: Some(crate::apply::INSTANCE_MANAGER.to_owned()), ..PostParams::default() };
            let created = secrets(context, &key).create(&parameters, &secret).await.during("create", || format!("Secret '{name}'"))?;
            tracing::info!(instance = %ObjectKey::of(instance), "made new keys");
            context.references.look_at(&Reference::Secret(key)).await?;
            created
        }
    };
    if controller_uid(&found.metadata) != instance.uid() {
        return Err(InstanceError::KeysNotOurs { name });
    }
    let ring = KeyRing::from_secret(&found).map_err(|problem: InvalidKeys| InstanceError::KeysInvalid { name, problem })?;
    Ok(FoundKeys { ring, metadata: found.metadata })
}

/// Takes the next step in exchanging the signing key, if it is time for one; what was written is used
/// from the next reconciliation on, which it brings about. Gives the time until a step is due, where
/// only time is missing. `published_for`: for how long the published set has been signed with the
/// key that signs now.
pub(crate) async fn rotate(
    context: &Context,
    instance: &Checkstack,
    found: &FoundKeys,
    published_for: Duration,
) -> Result<Option<Duration>, InstanceError> {
    let FoundKeys { ring, metadata } = found;
    let (request, now) = (rotation_request(instance), Timestamp::now());
    let view = context.fleets.view(&ObjectKey::of(instance));
    let circumstances = Circumstances { rotation: &context.settings.rotation, request, fleet: view.as_deref(), published_for, now };
    let step = match decide(ring, &circumstances) {
        Decision::Wait(left) => {
            let pods = behind(ring, &circumstances);
            if !pods.is_empty() {
                tracing::warn!(instance = %ObjectKey::of(instance), ?pods, "pods do not learn the next signing key: is their kubelet well?");
            }
            return Ok(left);
        }
        Decision::Do(step) => step,
    };
    let ring = match step {
        Step::Announce => ring.announce(request, now).map_err(internal)?,
        Step::Switch => ring.switch(now),
        Step::Retire => ring.retire(),
    };
    let key = keys_secret(instance);
    let parameters = PatchParams { field_manager: Some(crate::apply::INSTANCE_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(ring.to_patch(metadata).map_err(internal)?);
    secrets(context, &key).patch(&key.name, &parameters, &patch).await.during("patch", || format!("Secret '{}'", key.name))?;
    tracing::info!(instance = %ObjectKey::of(instance), ?step, signing_key = ring.keys.signing.key_id(), "exchanging the signing key");
    if step == Step::Switch {
        let note = format!("calls to the pods are signed with the new key {}", ring.keys.signing.key_id());
        let transition = Transition { warning: false, reason: "SigningKeyRotated".to_owned(), action: "Rotate", note };
        context.events.publish(instance, vec![transition]).await;
    }
    context.references.look_at(&Reference::Secret(key)).await?;
    Ok(None)
}

fn keys_secret(instance: &Checkstack) -> ObjectKey {
    ObjectKey::new(instance.namespace().unwrap_or_default(), names::keys_secret(&instance.name_any()))
}

fn rotation_request(instance: &Checkstack) -> Option<&str> {
    instance.annotations().get(names::ROTATE_SIGNING_KEY).map(String::as_str)
}

fn secrets(context: &Context, key: &ObjectKey) -> Api<Secret> {
    Api::namespaced(context.client.clone(), &key.namespace)
}

fn internal(error: impl std::fmt::Display) -> InstanceError {
    InstanceError::Internal(error.to_string())
}

/// The database URL; an error text when there is none.
pub(crate) async fn database_url(context: &Context, instance: &Checkstack) -> Result<Result<Vec<u8>, String>, InstanceError> {
    let reference = &instance.spec.database.url_secret_ref;
    let secret = context.references.secret(&ObjectKey::new(instance.namespace().unwrap_or_default(), &reference.name)).await?;
    let Some(secret) = secret else {
        let text =
            format!("Secret '{}' does not exist: create it with the PostgreSQL URL under the key '{}'", reference.name, reference.key);
        return Ok(Err(text));
    };
    let value = secret.data.and_then(|mut data| data.remove(&reference.key)).map(|value| value.0).filter(|value| !value.is_empty());
    Ok(value.ok_or_else(|| format!("Secret '{}' has no key '{}' with a PostgreSQL URL: add it", reference.name, reference.key)))
}

/// What `spec.signIn.oidc` names: what for, Secret and key.
fn oidc_secrets(instance: &Checkstack) -> Vec<(&'static str, &str, &str)> {
    let Some(oidc) = &instance.spec.sign_in.oidc else { return Vec::new() };
    let secret = &oidc.client_secret_ref;
    let bundle = oidc.ca_bundle_secret_ref.as_ref();
    let bundle = bundle.map(|bundle| ("the certificates of the provider's authority", bundle.name.as_str(), bundle.key.as_str()));
    std::iter::once(("the client's secret for the provider", secret.name.as_str(), secret.key.as_str())).chain(bundle).collect()
}

/// What is missing of it. The kubelet brings the values into the pods; here they are only looked for.
pub(crate) async fn oidc_problem(context: &Context, instance: &Checkstack) -> Result<Option<String>, InstanceError> {
    let namespace = instance.namespace().unwrap_or_default();
    for (what, name, key) in oidc_secrets(instance) {
        let Some(secret) = context.references.secret(&ObjectKey::new(&namespace, name)).await? else {
            return Ok(Some(format!("Secret '{name}' does not exist: create it with {what} under the key '{key}'")));
        };
        if secret.data.as_ref().and_then(|data| data.get(key)).is_none_or(|value| value.0.is_empty()) {
            return Ok(Some(format!("Secret '{name}' has no key '{key}' with {what}: add it")));
        }
    }
    Ok(None)
}

/// Secret values as they were delivered before, and those to go back to, for plugins whose new ones cannot be put together
/// or do not work.
/// The Secret is not watched: what was seen of it is told to the applier here.
pub(crate) async fn previous_settings(context: &Context, instance: &ObjectKey) -> Result<(SecretSettings, SecretSettings), InstanceError> {
    let key = ObjectKey::new(&instance.namespace, names::plugin_config_secret(&instance.name));
    match context.references.secret(&key).await? {
        Some(secret) => {
            context.applier.seen("Secret", &secret.metadata);
            Ok(objects::plugin_config_values(&secret))
        }
        None => {
            context.applier.gone("Secret", &key);
            Ok(Default::default())
        }
    }
}

/// The values of `configFrom`, for each plugin that has any.
pub(crate) async fn plugin_secrets(
    context: &Context,
    plugins: &[&CheckstackPlugin],
) -> Result<BTreeMap<String, SecretConfig>, InstanceError> {
    let mut configs = BTreeMap::new();
    for plugin in plugins.iter().filter(|plugin| !plugin.spec.config_from.is_empty() && plugin.spec.enabled) {
        let namespace = plugin.namespace().unwrap_or_default();
        let mut secrets = BTreeMap::new();
        for source in &plugin.spec.config_from {
            let name = &source.secret_ref.name;
            if !secrets.contains_key(name) {
                secrets.insert(name.clone(), context.references.secret(&ObjectKey::new(&namespace, name)).await?);
            }
        }
        configs.insert(plugin.name_any(), secret_config(&plugin.spec.config_from, &secrets));
    }
    Ok(configs)
}

/// What the sources lead to.
pub(crate) fn secret_config(sources: &[ConfigSource], secrets: &BTreeMap<String, Option<Secret>>) -> SecretConfig {
    let mut values = Map::new();
    for source in sources {
        let name = &source.secret_ref.name;
        let found = secrets.get(name).and_then(Option::as_ref).ok_or_else(|| SecretProblem::SecretNotFound { secret: name.clone() })?;
        let data = found.data.clone().unwrap_or_default();
        let taken: Vec<(String, String)> = match &source.secret_ref.key {
            Some(key) if !data.contains_key(key) => return Err(SecretProblem::KeyNotFound { secret: name.clone(), key: key.clone() }),
            Some(key) => vec![(key.clone(), source.field.clone().unwrap_or_else(|| key.clone()))],
            None => data.keys().map(|key| (key.clone(), key.clone())).collect(),
        };
        for (key, field) in taken {
            let bytes = data.get(&key).map(|value| value.0.clone()).unwrap_or_default();
            let text = String::from_utf8(bytes).map_err(|_| SecretProblem::NotText { secret: name.clone(), key: key.clone() })?;
            if values.insert(field.clone(), Value::String(text)).is_some() {
                return Err(SecretProblem::FieldTwice { field });
            }
        }
    }
    Ok(values)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use k8s_openapi::ByteString;
    use serde_json::json;

    use super::*;

    fn sources(value: serde_json::Value) -> Vec<ConfigSource> {
        serde_json::from_value(value).unwrap()
    }

    fn secrets() -> BTreeMap<String, Option<Secret>> {
        let secret = |entries: &[(&str, &[u8])]| {
            let data = entries.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec()))).collect();
            Some(Secret { data: Some(data), ..Secret::default() })
        };
        BTreeMap::from([
            ("smtp".into(), secret(&[("user", b"me"), ("password", b"p\n")])),
            ("binary".into(), secret(&[("blob", &[0xff])])),
            ("gone".into(), None),
        ])
    }

    #[test]
    fn whole_secrets_and_single_keys_become_fields() {
        let config = secret_config(&sources(json!([{ "secretRef": { "name": "smtp" } }])), &secrets()).unwrap();
        // As it is: a line feed at the end may be meant.
        assert_eq!(Value::Object(config), json!({ "user": "me", "password": "p\n" }));
        let one = json!([{ "secretRef": { "name": "smtp", "key": "user" }, "as": "login" }]);
        assert_eq!(Value::Object(secret_config(&sources(one), &secrets()).unwrap()), json!({ "login": "me" }));
    }

    #[test]
    fn every_problem_names_the_secret_or_the_field() {
        for (source, problem) in [
            (json!([{ "secretRef": { "name": "gone" } }]), "Secret 'gone' does not exist"),
            (json!([{ "secretRef": { "name": "smtp", "key": "port" } }]), "Secret 'smtp' has no key 'port'"),
            (json!([{ "secretRef": { "name": "binary" } }]), "key 'blob' of Secret 'binary' is not UTF-8 text"),
            (
                json!([{ "secretRef": { "name": "smtp" } }, { "secretRef": { "name": "smtp", "key": "user" } }]),
                "the config field 'user' comes from two places",
            ),
        ] {
            let error = secret_config(&sources(source), &secrets()).unwrap_err().to_string();
            assert!(error.starts_with(problem), "{error}");
        }
    }
}
