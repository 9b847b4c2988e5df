//! The keys of an instance: made once, kept in the Secret `<instance>-keys`, never overwritten.

use std::collections::BTreeMap;

use checkstack_control_api::keys::{PUBLIC_KEYS_FILE, SEALING_KEY_FILE, SIGNING_KEY_FILE};
use checkstack_control_api::{KeyError, SealingKey, SigningKey, VerifyingKeys};
use checkstack_crds::Checkstack;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::objects::owned_metadata;
use crate::names;

/// What the operator signs and seals with.
#[derive(Debug, Clone)]
pub(crate) struct InstanceKeys {
    /// Signs calls and sets. Pods do not have it.
    pub(crate) signing: SigningKey,
    /// Shared with the pods.
    pub(crate) sealing: SealingKey,
    /// Hash of what pods get to see of the keys.
    pub(crate) checksum: String,
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
    /// The Secret with new keys.
    pub(crate) fn generate(instance: &Checkstack) -> Result<Secret, KeyError> {
        let signing = SigningKey::generate()?;
        let sealing = SealingKey::generate()?;
        let public = signing.verifying_keys().to_json().map_err(|_| KeyError::Generation)?;
        let entry = |name: &str, content: &[u8]| (name.to_owned(), ByteString(content.to_vec()));
        Ok(Secret {
            metadata: owned_metadata(instance, names::keys_secret(&instance.name_any())),
            type_: Some("Opaque".to_owned()),
            data: Some(BTreeMap::from([
                entry(SIGNING_KEY_FILE, signing.to_pem().as_bytes()),
                entry(PUBLIC_KEYS_FILE, public.as_bytes()),
                entry(SEALING_KEY_FILE, sealing.as_bytes()),
            ])),
            ..Secret::default()
        })
    }

    /// Reads the Secret.
    pub(crate) fn from_secret(secret: &Secret) -> Result<Self, InvalidKeys> {
        let entry = |name: &'static str| {
            let data = secret.data.as_ref().and_then(|data| data.get(name));
            data.map(|content| content.0.as_slice()).ok_or(InvalidKeys::Missing(name))
        };
        let signing = SigningKey::from_pem(entry(SIGNING_KEY_FILE)?)?;
        let public = entry(PUBLIC_KEYS_FILE)?;
        if !VerifyingKeys::from_json(public)?.contains(signing.key_id()) {
            return Err(InvalidKeys::Mismatch);
        }
        let sealing = SealingKey::from_bytes(entry(SEALING_KEY_FILE)?)?;
        let checksum = sealing.checksum("instance-keys", public);
        Ok(Self { signing, sealing, checksum })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn generated() -> Secret {
        let instance = Checkstack::new("main", checkstack_crds::CheckstackSpec::default());
        InstanceKeys::generate(&instance).unwrap()
    }

    #[test]
    fn generated_keys_can_be_read_back() {
        let secret = generated();
        let keys = InstanceKeys::from_secret(&secret).unwrap();
        assert_eq!(keys.checksum, InstanceKeys::from_secret(&secret).unwrap().checksum);
        assert_ne!(keys.checksum, InstanceKeys::from_secret(&generated()).unwrap().checksum);
    }

    #[test]
    fn a_damaged_secret_is_refused_with_the_entry() {
        for entry in [SIGNING_KEY_FILE, PUBLIC_KEYS_FILE, SEALING_KEY_FILE] {
            let mut secret = generated();
            secret.data.as_mut().unwrap().remove(entry);
            assert_eq!(InstanceKeys::from_secret(&secret).unwrap_err(), InvalidKeys::Missing(entry));
            secret.data.as_mut().unwrap().insert(entry.into(), ByteString(b"x".to_vec()));
            assert!(InstanceKeys::from_secret(&secret).unwrap_err().to_string().contains(entry));
        }
    }

    #[test]
    fn keys_that_do_not_belong_together_are_refused() {
        let mut secret = generated();
        let other = generated().data.unwrap().remove(PUBLIC_KEYS_FILE).unwrap();
        secret.data.as_mut().unwrap().insert(PUBLIC_KEYS_FILE.into(), other);
        assert_eq!(InstanceKeys::from_secret(&secret).unwrap_err(), InvalidKeys::Mismatch);
    }
}
