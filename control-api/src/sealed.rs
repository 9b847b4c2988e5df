//! Secret configuration on its way from the operator to the pods.
//!
//! Values from Secrets are never part of a plugin set, which is in a ConfigMap. With a delivery
//! over HTTP they travel encrypted, bound to the set they belong to; the set itself names them by a
//! keyed hash, so that a changed secret is a changed set.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use checkstack_plugin_package::{Digest, PluginId, canonical};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::derived;
use crate::keys::SealingKey;

/// The first byte of a sealed text. Another form gets another number.
const FORM: u8 = 1;

/// Secret values by plugin. Its `Debug` shows none of them.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretValues(pub BTreeMap<PluginId, Map<String, Value>>);

/// Why values cannot be sealed or unsealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Encryption failed.
    #[error("the secret values could not be encrypted")]
    Encryption,
    /// Not something that was sealed, or by another release.
    #[error("the sealed values are malformed: {0}")]
    Malformed(&'static str),
    /// Sealed with another key, for another set, or changed since.
    #[error("the sealed values were not sealed with this instance's key for this plugin set, or were changed")]
    NotAuthentic,
}

/// Encrypts `values` for the set whose hash is `set_hash`.
pub fn seal(values: &SecretValues, set_hash: &Digest, key: &SealingKey) -> Result<String, SealError> {
    let plaintext = Zeroizing::new(serde_json::to_vec(values).map_err(|_| SealError::Encryption)?);
    let mut ciphertext = plaintext.to_vec();
    let nonce = cipher(key)?.seal_in_place_append_tag(associated_data(set_hash), &mut ciphertext).map_err(|_| SealError::Encryption)?;
    let mut sealed = vec![FORM];
    sealed.extend_from_slice(nonce.as_ref());
    sealed.append(&mut ciphertext);
    Ok(STANDARD.encode(sealed))
}

/// Decrypts what [`seal`] made for the same set.
pub fn unseal(sealed: &str, set_hash: &Digest, key: &SealingKey) -> Result<SecretValues, SealError> {
    let sealed = STANDARD.decode(sealed.trim()).map_err(|_| SealError::Malformed("not base64"))?;
    let content = sealed.strip_prefix(&[FORM]).ok_or(SealError::Malformed("of another form than this release knows"))?;
    let (nonce, ciphertext) = content.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Malformed("too short"))?;
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    let plaintext =
        cipher(key)?.open_in_place(Nonce::from(nonce), associated_data(set_hash), &mut buffer).map_err(|_| SealError::NotAuthentic)?;
    serde_json::from_slice(plaintext).map_err(|_| SealError::Malformed("not secret values by plugin id"))
}

/// The hash of one plugin's secret values that a set has in `secretConfigHash`. Keyed: from the
/// hash nobody can find a short secret by trying.
pub fn secret_config_hash(plugin_id: &PluginId, values: &Map<String, Value>, key: &SealingKey) -> Result<String, serde_json::Error> {
    let content = Zeroizing::new(canonical::to_vec(values)?);
    let tag = derived::mac_key(key, "secret-config-hash").tag(&[plugin_id.as_str().as_bytes(), &content]);
    Ok(format!("hmac-sha256:{}", Digest::from_sha256(tag).hex()))
}

fn cipher(key: &SealingKey) -> Result<RandomizedNonceKey, SealError> {
    let key = derived::bytes(key, "sealed-secret-values", &[]);
    RandomizedNonceKey::new(&AES_256_GCM, &*key).map_err(|_| SealError::Encryption)
}

fn associated_data(set_hash: &Digest) -> Aad<[u8; 32]> {
    Aad::from(*set_hash.as_bytes())
}

impl fmt::Debug for SecretValues {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretValues")?;
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SealingKey {
        SealingKey::from_bytes(&[byte; 32]).unwrap()
    }

    fn object(json: &str) -> Map<String, Value> {
        serde_json::from_str(json).unwrap()
    }

    fn values() -> SecretValues {
        SecretValues(BTreeMap::from([("uptime".parse().unwrap(), object(r#"{"token": "hunter2", "nested": {"n": 1}}"#))]))
    }

    #[test]
    fn sealed_values_are_opened_with_the_same_key_for_the_same_set_only() {
        let set = Digest::of(b"set");
        let sealed = seal(&values(), &set, &key(1)).unwrap();
        assert!(unseal(&sealed, &set, &key(1)).unwrap() == values());
        assert_eq!(unseal(&sealed, &Digest::of(b"other"), &key(1)), Err(SealError::NotAuthentic));
        assert_eq!(unseal(&sealed, &set, &key(2)), Err(SealError::NotAuthentic));
        assert_ne!(sealed, seal(&values(), &set, &key(1)).unwrap(), "the nonce is random");
        assert!(unseal(&seal(&SecretValues::default(), &set, &key(1)).unwrap(), &set, &key(1)).unwrap() == SecretValues::default());
    }

    #[test]
    fn every_change_of_a_sealed_text_is_noticed() {
        let set = Digest::of(b"set");
        let bytes = STANDARD.decode(seal(&values(), &set, &key(1)).unwrap()).unwrap();
        for position in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            assert!(unseal(&STANDARD.encode(changed), &set, &key(1)).is_err(), "{position}");
        }
        for length in 0..bytes.len() {
            assert!(unseal(&STANDARD.encode(&bytes[..length]), &set, &key(1)).is_err(), "{length}");
        }
        assert!(matches!(unseal("not base64", &set, &key(1)), Err(SealError::Malformed(_))));
    }

    #[test]
    fn the_hash_depends_on_key_plugin_and_values_and_not_on_their_order() {
        let hash = |plugin: &str, json: &str, byte: u8| secret_config_hash(&plugin.parse().unwrap(), &object(json), &key(byte)).unwrap();
        let one = hash("uptime", r#"{"a": 1, "b": {"d": 2, "c": 3}}"#, 1);
        assert!(one.starts_with("hmac-sha256:") && one.len() == 12 + 64, "{one}");
        assert_eq!(one, hash("uptime", r#"{"b": {"c": 3, "d": 2}, "a": 1}"#, 1));
        assert_ne!(one, hash("uptime", r#"{"a": 1, "b": {"d": 2, "c": 4}}"#, 1));
        assert_ne!(one, hash("other", r#"{"a": 1, "b": {"d": 2, "c": 3}}"#, 1));
        assert_ne!(one, hash("uptime", r#"{"a": 1, "b": {"d": 2, "c": 3}}"#, 2));
    }

    #[test]
    fn debug_names_plugins_and_shows_no_value() {
        assert_eq!(format!("{:?}", values()), r#"SecretValues{PluginId("uptime")}"#);
    }
}
