//! The keys that secrets are encrypted with in the database, in the Secret `<instance>-encryption`.
//!
//! The Secret outlives the instance, as the database does: what is encrypted there is lost without it. So no object owns it.
//!
//! A key is exchanged when somebody asks for it, in two steps, because the kubelet takes a while to bring a changed Secret into pods that
//! run: first every pod gets the new key to decrypt with, then it is the one that encrypts. The one before goes on decrypting until an
//! admin takes it out of the Secret, which is safe once the procedure `secrets.reencryptSecrets` has found nothing left to do.

use std::collections::BTreeMap;
use std::time::Duration;

use checkstack_control_api::encryption::{CURRENT_KEY_FILE, NEXT_KEY_FILE, PREVIOUS_KEYS_FILE};
use checkstack_crds::Checkstack;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use rand::RngExt as _;
use serde_json::{Value, json};
use tracing::info;

use super::objects::owned_metadata;
use super::reconcile::InstanceError;
use crate::context::Context;
use crate::error::KubernetesContext as _;
use crate::events::Transition;
use crate::names;
use crate::object_key::ObjectKey;
use crate::references::Reference;

const KEY_BYTES: usize = 32;
/// Keys that only decrypt.
const MAX_PREVIOUS: usize = 16;

/// What is done to the Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A new key decrypts.
    Announce,
    /// It encrypts.
    Switch,
}

/// Makes the Secret, if there is none, and exchanges the key if somebody has asked for it. One that somebody else has made is as good.
/// Gives the time until the next step is due, where only time is missing.
pub(super) async fn ensure(context: &Context, instance: &Checkstack) -> Result<Option<Duration>, InstanceError> {
    let key = ObjectKey::new(instance.namespace().unwrap_or_default(), names::encryption_secret(&instance.name_any()));
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &key.namespace);
    let Some(found) = context.references.secret(&key).await? else {
        let parameters = PostParams { field_manager: Some(crate::apply::INSTANCE_MANAGER.to_owned()), ..PostParams::default() };
        let secret = secret(instance, random_key());
        secrets.create(&parameters, &secret).await.during("create", || format!("Secret '{}'", key.name))?;
        info!(instance = %ObjectKey::of(instance), secret = key.name, "made a key for what is encrypted in the database");
        context.references.look_at(&Reference::Secret(key)).await?;
        return Ok(None);
    };
    let (request, now) = (request(instance), Timestamp::now());
    let step = match decide(&found, request, context.settings.rotation.propagation, now) {
        Ok(step) => step,
        Err(left) => return Ok(left),
    };
    let patch = match step {
        Step::Announce => announce(&found.metadata, random_key(), request, now),
        Step::Switch => switch(&found),
    };
    let parameters = PatchParams { field_manager: Some(crate::apply::INSTANCE_MANAGER.to_owned()), ..PatchParams::default() };
    secrets.patch(&key.name, &parameters, &Patch::Merge(patch)).await.during("patch", || format!("Secret '{}'", key.name))?;
    info!(instance = %ObjectKey::of(instance), ?step, "exchanging the encryption key");
    if step == Step::Switch {
        let note = "secrets are encrypted with a new key; call secrets.reencryptSecrets for those that are stored".to_owned();
        let transition = Transition { warning: false, reason: "EncryptionKeyRotated".to_owned(), action: "Rotate", note };
        context.events.publish(instance, vec![transition]).await;
    }
    context.references.look_at(&Reference::Secret(key)).await?;
    Ok(None)
}

fn request(instance: &Checkstack) -> Option<&str> {
    instance.annotations().get(names::ROTATE_ENCRYPTION_KEY).map(String::as_str)
}

fn secret(instance: &Checkstack, key: String) -> Secret {
    let mut metadata = owned_metadata(instance, names::encryption_secret(&instance.name_any()));
    metadata.owner_references = None;
    // A request that is as old as the key has been complied with.
    let request = request(instance).map(|request| (names::ROTATE_ENCRYPTION_KEY.to_owned(), request.to_owned()));
    metadata.annotations = request.map(|request| BTreeMap::from([request]));
    let data = BTreeMap::from([(CURRENT_KEY_FILE.to_owned(), ByteString(key.into_bytes()))]);
    Secret { metadata, type_: Some("Opaque".to_owned()), data: Some(data), ..Secret::default() }
}

/// 64 hexadecimal digits.
fn random_key() -> String {
    let mut random = rand::rng();
    (0..KEY_BYTES).map(|_| format!("{:02x}", random.random::<u8>())).collect()
}

/// What is to be done now; or else when, where that is known.
fn decide(secret: &Secret, request: Option<&str>, propagation: Duration, now: Timestamp) -> Result<Step, Option<Duration>> {
    let annotation = |name: &str| secret.metadata.annotations.as_ref().and_then(|annotations| annotations.get(name));
    if text(secret, NEXT_KEY_FILE).is_some() {
        // An unknown time, or one that has not come: the clock starts again with each look, and somebody has changed the Secret.
        let since = annotation(names::NEXT_ENCRYPTION_KEY_SINCE).and_then(|since| since.parse::<Timestamp>().ok());
        let elapsed = since.and_then(|since| Duration::try_from(now.duration_since(since)).ok()).unwrap_or_default();
        return match propagation.saturating_sub(elapsed) {
            Duration::ZERO => Ok(Step::Switch),
            left => Err(Some(left)),
        };
    }
    match request {
        Some(request) if annotation(names::ROTATE_ENCRYPTION_KEY).map(String::as_str) != Some(request) => Ok(Step::Announce),
        _ => Err(None),
    }
}

fn announce(before: &ObjectMeta, next: String, request: Option<&str>, now: Timestamp) -> Value {
    let annotations = json!({ names::ROTATE_ENCRYPTION_KEY: request, names::NEXT_ENCRYPTION_KEY_SINCE: now.to_string() });
    patch(before, annotations, json!({ NEXT_KEY_FILE: ByteString(next.into_bytes()) }))
}

fn switch(secret: &Secret) -> Value {
    let before = text(secret, CURRENT_KEY_FILE).into_iter();
    let earlier = text(secret, PREVIOUS_KEYS_FILE).unwrap_or_default();
    let earlier = earlier.split(',').map(str::trim).filter(|key| !key.is_empty());
    let previous: Vec<&str> = before.chain(earlier).take(MAX_PREVIOUS).collect();
    let data = json!({
        CURRENT_KEY_FILE: text(secret, NEXT_KEY_FILE).map(|next| ByteString(next.as_bytes().to_vec())),
        NEXT_KEY_FILE: null,
        PREVIOUS_KEYS_FILE: ByteString(previous.join(",").into_bytes()),
    });
    patch(&secret.metadata, json!({ names::NEXT_ENCRYPTION_KEY_SINCE: null }), data)
}

/// A merge patch that fails when the Secret is no longer the one that was looked at.
fn patch(before: &ObjectMeta, annotations: Value, data: Value) -> Value {
    json!({ "metadata": { "uid": before.uid, "resourceVersion": before.resource_version, "annotations": annotations }, "data": data })
}

fn text<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    let content = secret.data.as_ref()?.get(key)?;
    std::str::from_utf8(&content.0).ok().map(str::trim).filter(|text| !text.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::fixtures::{at, instance};

    const PROPAGATION: Duration = Duration::from_secs(60);

    fn patched(secret: &Secret, patch: Value) -> Secret {
        let mut secret = secret.clone();
        for (key, value) in patch["data"].as_object().unwrap() {
            let data = secret.data.as_mut().unwrap();
            match value {
                Value::Null => drop(data.remove(key)),
                value => drop(data.insert(key.clone(), serde_json::from_value(value.clone()).unwrap())),
            }
        }
        for (name, value) in patch["metadata"]["annotations"].as_object().unwrap() {
            let annotations = secret.metadata.annotations.get_or_insert_default();
            match value.as_str() {
                None => drop(annotations.remove(name)),
                Some(value) => drop(annotations.insert(name.clone(), value.to_owned())),
            }
        }
        secret
    }

    #[test]
    fn the_secret_outlives_the_instance() {
        let made = secret(&instance(json!({})), random_key());
        assert_eq!((made.metadata.name.as_deref(), made.metadata.owner_references.as_deref()), (Some("main-encryption"), None));
        let key = text(&made, CURRENT_KEY_FILE).unwrap();
        assert!(key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit()) && key != random_key());
    }

    #[test]
    fn a_key_decrypts_everywhere_before_it_encrypts() {
        let first = secret(&instance(json!({})), "1".repeat(64));
        assert_eq!(decide(&first, None, PROPAGATION, at(0).0), Err(None));
        assert_eq!(decide(&first, Some("a"), PROPAGATION, at(0).0), Ok(Step::Announce));

        let announced = patched(&first, announce(&first.metadata, "2".repeat(64), Some("a"), at(0).0));
        assert_eq!(text(&announced, CURRENT_KEY_FILE).unwrap(), "1".repeat(64));
        assert_eq!(text(&announced, NEXT_KEY_FILE).unwrap(), "2".repeat(64));
        assert_eq!(decide(&announced, Some("b"), PROPAGATION, at(20).0), Err(Some(Duration::from_secs(40))));
        assert_eq!(decide(&announced, Some("b"), PROPAGATION, at(60).0), Ok(Step::Switch));

        let switched = patched(&announced, switch(&announced));
        assert_eq!(text(&switched, CURRENT_KEY_FILE).unwrap(), "2".repeat(64));
        assert_eq!((text(&switched, NEXT_KEY_FILE), text(&switched, PREVIOUS_KEYS_FILE).unwrap()), (None, &*"1".repeat(64)));
        assert_eq!(decide(&switched, Some("a"), PROPAGATION, at(70).0), Err(None));
        assert_eq!(decide(&switched, Some("b"), PROPAGATION, at(70).0), Ok(Step::Announce));

        let again = patched(&switched, announce(&switched.metadata, "3".repeat(64), Some("b"), at(70).0));
        let again = patched(&again, switch(&again));
        assert_eq!(text(&again, PREVIOUS_KEYS_FILE).unwrap(), format!("{},{}", "2".repeat(64), "1".repeat(64)));
    }

    #[test]
    fn a_request_of_the_beginning_has_been_complied_with() {
        let mut instance = instance(json!({}));
        instance.annotations_mut().insert(names::ROTATE_ENCRYPTION_KEY.into(), "a".into());
        assert_eq!(decide(&secret(&instance, random_key()), Some("a"), PROPAGATION, at(0).0), Err(None));
    }
}
