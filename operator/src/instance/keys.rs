//! The keys of an instance, in the Secret `<instance>-keys`.
//!
//! The operator makes the Secret once. After that it only ever exchanges the signing key, in three
//! steps of which each is one write: see [`rotation`](super::rotation). Everything that matters to
//! the next step is in the Secret, so it does not matter which operator does it.

use std::collections::BTreeMap;

use checkstack_control_api::keys::{NEXT_SIGNING_KEY_FILE, PUBLIC_KEYS_FILE, SEALING_KEY_FILE, SIGNING_KEY_FILE};
use checkstack_control_api::{KeyError, SealingKey, SigningKey, VerifyingKeys};
use checkstack_crds::Checkstack;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use serde_json::{Value, json};

use super::objects::owned_metadata;
use crate::names;

/// What the operator signs and seals with.
#[derive(Debug, Clone)]
pub(crate) struct InstanceKeys {
    /// Signs calls and sets. Pods do not have it.
    pub(crate) signing: SigningKey,
    /// Shared with the pods.
    pub(crate) sealing: SealingKey,
    /// Says which sealing key it is, and nothing about it.
    pub(crate) checksum: String,
}

/// Everything in the Secret.
#[derive(Debug, Clone)]
pub(crate) struct KeyRing {
    pub(crate) keys: InstanceKeys,
    /// Since when [`InstanceKeys::signing`] signs.
    pub(crate) signing_since: Timestamp,
    /// The key that signs next.
    pub(crate) next: Option<NextKey>,
    /// What pods that have read the Secret accept.
    pub(crate) public: VerifyingKeys,
    /// The request for a rotation that was last complied with: [`names::ROTATE_SIGNING_KEY`].
    pub(crate) request: Option<String>,
}

/// A key whose public half is among those that pods accept, or will be as soon as they have read the
/// Secret again.
#[derive(Debug, Clone)]
pub(crate) struct NextKey {
    pub(crate) signing: SigningKey,
    /// Since when its public half is in the Secret.
    pub(crate) announced: Timestamp,
}

/// Why the Secret cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidKeys {
    /// An entry is missing.
    #[error("it has no entry '{0}'")]
    Missing(&'static str),
    /// An entry cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The keys do not belong together.
    #[error("{PUBLIC_KEYS_FILE} does not have the public half of {SIGNING_KEY_FILE}")]
    Mismatch,
}

impl InstanceKeys {
    fn new(signing: SigningKey, sealing: SealingKey) -> Self {
        let checksum = sealing.checksum("sealing-key", b"");
        Self { signing, sealing, checksum }
    }
}

/// Keys are the same if their ids are.
impl PartialEq for InstanceKeys {
    fn eq(&self, other: &Self) -> bool {
        (self.signing.key_id(), &self.checksum) == (other.signing.key_id(), &other.checksum)
    }
}

impl KeyRing {
    /// New keys. A request that is as old as the keys has been complied with.
    pub(crate) fn generate(request: Option<&str>, now: Timestamp) -> Result<Self, KeyError> {
        let keys = InstanceKeys::new(SigningKey::generate()?, SealingKey::generate()?);
        let public = keys.signing.verifying_keys();
        Ok(Self { keys, signing_since: now, next: None, public, request: request.map(str::to_owned) })
    }

    /// Reads the Secret. A next key that cannot be used counts as none: what is left of it goes with
    /// the next rotation.
    pub(crate) fn from_secret(secret: &Secret) -> Result<Self, InvalidKeys> {
        let entry = |name: &'static str| {
            let data = secret.data.as_ref().and_then(|data| data.get(name));
            data.map(|content| content.0.as_slice()).ok_or(InvalidKeys::Missing(name))
        };
        let annotation = |name: &str| secret.metadata.annotations.as_ref().and_then(|annotations| annotations.get(name)).cloned();
        let time = |name: &str| annotation(name).and_then(|text| text.parse::<Timestamp>().ok());
        let signing = SigningKey::from_pem(entry(SIGNING_KEY_FILE)?)?;
        let public = VerifyingKeys::from_json(entry(PUBLIC_KEYS_FILE)?)?;
        if !public.contains(signing.key_id()) {
            return Err(InvalidKeys::Mismatch);
        }
        let next = entry(NEXT_SIGNING_KEY_FILE).ok().and_then(|pem| SigningKey::from_pem(pem).ok());
        let next = next.filter(|next| public.contains(next.key_id()) && next.key_id() != signing.key_id());
        let created = secret.metadata.creation_timestamp.as_ref().map(|time| time.0);
        Ok(Self {
            keys: InstanceKeys::new(signing, SealingKey::from_bytes(entry(SEALING_KEY_FILE)?)?),
            signing_since: time(names::SIGNING_KEY_SINCE).or(created).unwrap_or(Timestamp::UNIX_EPOCH),
            next: next.zip(time(names::NEXT_SIGNING_KEY_SINCE)).map(|(signing, announced)| NextKey { signing, announced }),
            public,
            request: annotation(names::ROTATE_SIGNING_KEY),
        })
    }

    /// The Secret as it is made.
    pub(crate) fn to_secret(&self, instance: &Checkstack) -> Result<Secret, serde_json::Error> {
        let mut metadata = owned_metadata(instance, names::keys_secret(&instance.name_any()));
        metadata.annotations = Some(self.annotations().into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect());
        let mut data: BTreeMap<String, ByteString> =
            self.signing_data()?.into_iter().filter_map(|(name, content)| Some((name.to_owned(), content?))).collect();
        data.insert(SEALING_KEY_FILE.to_owned(), ByteString(self.keys.sealing.as_bytes().to_vec()));
        Ok(Secret { metadata, type_: Some("Opaque".to_owned()), data: Some(data), ..Secret::default() })
    }

    /// What changes the Secret into this, as a merge patch. It fails when the Secret is no longer the
    /// one that has the metadata `before`. The sealing key is not in it.
    pub(crate) fn to_patch(&self, before: &ObjectMeta) -> Result<Value, serde_json::Error> {
        Ok(json!({
            "metadata": {
                "uid": before.uid,
                "resourceVersion": before.resource_version,
                "annotations": self.annotations(),
            },
            "data": self.signing_data()?,
        }))
    }

    /// With a new key that will sign next.
    pub(crate) fn announce(&self, request: Option<&str>, now: Timestamp) -> Result<Self, KeyError> {
        let signing = SigningKey::generate()?;
        let public = self.public.clone().with(signing.verifying_keys());
        let request = request.map(str::to_owned).or_else(|| self.request.clone());
        Ok(Self { next: Some(NextKey { signing, announced: now }), public, request, ..self.clone() })
    }

    /// With the next key as the one that signs; as it was if there is none. Pods accept the one
    /// before for some time.
    pub(crate) fn switch(&self, now: Timestamp) -> Self {
        let Some(next) = &self.next else { return self.clone() };
        let keys = InstanceKeys { signing: next.signing.clone(), ..self.keys.clone() };
        Self { keys, signing_since: now, next: None, ..self.clone() }
    }

    /// Without keys that neither sign nor will.
    pub(crate) fn retire(&self) -> Self {
        let signing = self.keys.signing.verifying_keys();
        let public = match &self.next {
            Some(next) => signing.with(next.signing.verifying_keys()),
            None => signing,
        };
        Self { public, ..self.clone() }
    }

    /// Whether pods accept keys that neither sign nor will.
    pub(crate) fn has_retired_keys(&self) -> bool {
        let next = self.next.as_ref().map(|next| next.signing.key_id());
        self.public.key_ids().any(|id| id != self.keys.signing.key_id() && Some(id) != next)
    }

    fn annotations(&self) -> BTreeMap<&'static str, Option<String>> {
        BTreeMap::from([
            (names::SIGNING_KEY_SINCE, Some(self.signing_since.to_string())),
            (names::NEXT_SIGNING_KEY_SINCE, self.next.as_ref().map(|next| next.announced.to_string())),
            (names::ROTATE_SIGNING_KEY, self.request.clone()),
        ])
    }

    fn signing_data(&self) -> Result<BTreeMap<&'static str, Option<ByteString>>, serde_json::Error> {
        let content = |text: &str| Some(ByteString(text.as_bytes().to_vec()));
        Ok(BTreeMap::from([
            (SIGNING_KEY_FILE, content(self.keys.signing.to_pem())),
            (NEXT_SIGNING_KEY_FILE, self.next.as_ref().and_then(|next| content(next.signing.to_pem()))),
            (PUBLIC_KEYS_FILE, content(&self.public.to_json()?)),
        ]))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fixtures::{at, instance};

    fn generated() -> Secret {
        KeyRing::generate(None, at(10).0).unwrap().to_secret(&instance(json!({}))).unwrap()
    }

    /// What the API server makes of a merge patch.
    fn patched(secret: &Secret, ring: &KeyRing) -> Secret {
        let mut object = serde_json::to_value(secret).unwrap();
        json_merge(&mut object, ring.to_patch(&secret.metadata).unwrap());
        serde_json::from_value(object).unwrap()
    }

    /// RFC 7386.
    fn json_merge(target: &mut Value, patch: Value) {
        match (target, patch) {
            (Value::Object(target), Value::Object(patch)) => {
                for (key, value) in patch {
                    match value {
                        Value::Null => drop(target.remove(&key)),
                        value => json_merge(target.entry(key).or_insert(Value::Null), value),
                    }
                }
            }
            (target, patch) => *target = patch,
        }
    }

    fn entries(secret: &Secret) -> Vec<&str> {
        secret.data.iter().flatten().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn generated_keys_can_be_read_back() {
        let secret = generated();
        let ring = KeyRing::from_secret(&secret).unwrap();
        assert_eq!(ring.keys, KeyRing::from_secret(&secret).unwrap().keys);
        assert_eq!((ring.signing_since, ring.next.is_none(), ring.has_retired_keys()), (at(10).0, true, false));
        let other = KeyRing::from_secret(&generated()).unwrap();
        assert_ne!(ring.keys.checksum, other.keys.checksum);
        assert_eq!(entries(&secret), [PUBLIC_KEYS_FILE, SEALING_KEY_FILE, SIGNING_KEY_FILE]);
    }

    #[test]
    fn a_damaged_secret_is_refused_with_the_entry() {
        for entry in [SIGNING_KEY_FILE, PUBLIC_KEYS_FILE, SEALING_KEY_FILE] {
            let mut secret = generated();
            secret.data.as_mut().unwrap().remove(entry);
            assert_eq!(KeyRing::from_secret(&secret).unwrap_err(), InvalidKeys::Missing(entry));
            secret.data.as_mut().unwrap().insert(entry.into(), ByteString(b"x".to_vec()));
            assert!(KeyRing::from_secret(&secret).unwrap_err().to_string().contains(entry));
        }
    }

    #[test]
    fn keys_that_do_not_belong_together_are_refused() {
        let mut secret = generated();
        let other = generated().data.unwrap().remove(PUBLIC_KEYS_FILE).unwrap();
        secret.data.as_mut().unwrap().insert(PUBLIC_KEYS_FILE.into(), other);
        assert_eq!(KeyRing::from_secret(&secret).unwrap_err(), InvalidKeys::Mismatch);
    }

    #[test]
    fn each_step_survives_being_stored() {
        let secret = generated();
        let first = KeyRing::from_secret(&secret).unwrap();

        let secret = patched(&secret, &first.announce(Some("now"), at(20).0).unwrap());
        let announced = KeyRing::from_secret(&secret).unwrap();
        let next = announced.next.clone().unwrap();
        assert_eq!((&announced.keys, next.announced), (&first.keys, at(20).0));
        assert_eq!((announced.request.as_deref(), announced.public.key_ids().count()), (Some("now"), 2));
        assert!(!announced.has_retired_keys());

        let secret = patched(&secret, &announced.switch(at(30).0));
        let switched = KeyRing::from_secret(&secret).unwrap();
        assert_eq!(switched.keys.signing.key_id(), next.signing.key_id());
        assert_eq!((switched.keys.checksum.as_str(), switched.signing_since), (first.keys.checksum.as_str(), at(30).0));
        assert!(switched.next.is_none() && switched.has_retired_keys() && switched.public.contains(first.keys.signing.key_id()));
        assert_eq!(entries(&secret), [PUBLIC_KEYS_FILE, SEALING_KEY_FILE, SIGNING_KEY_FILE], "the old private key is gone");

        let secret = patched(&secret, &switched.retire());
        let retired = KeyRing::from_secret(&secret).unwrap();
        assert_eq!(retired.keys, switched.keys);
        assert_eq!(retired.public.key_ids().collect::<Vec<_>>(), [next.signing.key_id()]);
        assert_eq!(retired.request.as_deref(), Some("now"));
    }

    #[test]
    fn a_next_key_that_cannot_be_used_counts_as_none() {
        let ring = KeyRing::from_secret(&generated()).unwrap();
        let secret = ring.announce(None, at(20).0).unwrap().to_secret(&instance(json!({}))).unwrap();
        let mut damaged = secret.clone();
        damaged.data.as_mut().unwrap().insert(NEXT_SIGNING_KEY_FILE.into(), ByteString(b"x".to_vec()));
        let mut undated = secret.clone();
        undated.metadata.annotations.as_mut().unwrap().remove(names::NEXT_SIGNING_KEY_SINCE);
        for secret in [damaged, undated] {
            let read = KeyRing::from_secret(&secret).unwrap();
            assert!(read.next.is_none() && read.has_retired_keys());
            let clean = patched(&secret, &read.retire());
            assert_eq!(entries(&clean), [PUBLIC_KEYS_FILE, SEALING_KEY_FILE, SIGNING_KEY_FILE]);
            assert!(!KeyRing::from_secret(&clean).unwrap().has_retired_keys());
        }
    }

    #[test]
    fn a_secret_of_an_earlier_release_is_as_old_as_it_is() {
        let mut secret = generated();
        secret.metadata.annotations = None;
        secret.metadata.creation_timestamp = Some(at(5));
        assert_eq!(KeyRing::from_secret(&secret).unwrap().signing_since, at(5).0);
    }

    #[test]
    fn debug_shows_no_secret() {
        let ring = KeyRing::generate(None, at(10).0).unwrap().announce(None, at(20).0).unwrap();
        let shown = format!("{ring:?}");
        assert!(!shown.contains("PRIVATE"), "{shown}");
        for key in [&ring.keys.signing, &ring.next.as_ref().unwrap().signing] {
            let middle: String = key.to_pem().lines().nth(1).unwrap().chars().skip(24).collect();
            assert!(!shown.contains(&middle), "{shown}");
        }
    }
}
