//! The signature of a plugin set, `plugins.lock.jws` beside `plugins.lock.json`.
//!
//! Who can edit ConfigMaps could otherwise make pods run code. There is no time in it and Ed25519
//! is deterministic: an unchanged set is an unchanged object.

use checkstack_plugin_package::{Digest, PluginSet};
use serde::{Deserialize, Serialize};

use crate::keys::{SigningKey, VerifyingKeys};
use crate::token::{self, SigningFailed, TokenError};

/// Key of the ConfigMap: the set.
pub const SET_FILE: &str = "plugins.lock.json";
/// Key of the ConfigMap: its signature.
pub const SIGNATURE_FILE: &str = "plugins.lock.jws";

const SIGNATURE_TYPE: &str = "checkstack-plugin-set+jws";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SignedSet {
    instance: String,
    revision: u64,
    hash: Digest,
}

/// Why a set is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetSignatureError {
    /// Not a signature, not of a key of this instance, or not of this payload.
    #[error("the plugin set's signature is not valid: {0}")]
    Invalid(TokenError),
    /// A good signature of something else.
    #[error("the plugin set was changed after it was signed: {0}")]
    AnotherSet(String),
    /// The set cannot be hashed.
    #[error("the plugin set cannot be hashed: {0}")]
    Unhashable(String),
}

/// Signs a set.
pub fn sign(set: &PluginSet, key: &SigningKey) -> Result<String, SigningFailed> {
    let signed = signed(set).map_err(|error| SigningFailed(error.to_string()))?;
    let header = token::header(SIGNATURE_TYPE, key);
    jsonwebtoken::encode(&header, &signed, key.encoding_key()).map_err(|error| SigningFailed(error.to_string()))
}

/// Checks that `signature` is of exactly this set.
pub fn verify(set: &PluginSet, signature: &str, keys: &VerifyingKeys) -> Result<(), SetSignatureError> {
    let signed_set: SignedSet = token::verify_signature(signature.trim(), SIGNATURE_TYPE, keys).map_err(SetSignatureError::Invalid)?;
    let actual = signed(set).map_err(|error| SetSignatureError::Unhashable(error.to_string()))?;
    let difference = |what: &str, signed: &dyn std::fmt::Display, found: &dyn std::fmt::Display| {
        Err(SetSignatureError::AnotherSet(format!("signed {what} {signed}, found {found}")))
    };
    if signed_set.instance != actual.instance {
        return difference("instance", &signed_set.instance.escape_debug(), &actual.instance.escape_debug());
    }
    if signed_set.revision != actual.revision {
        return difference("revision", &signed_set.revision, &actual.revision);
    }
    if signed_set.hash != actual.hash {
        return difference("hash", &signed_set.hash, &actual.hash);
    }
    Ok(())
}

fn signed(set: &PluginSet) -> Result<SignedSet, serde_json::Error> {
    Ok(SignedSet { instance: set.instance.clone(), revision: set.revision, hash: set.hash()? })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn set() -> PluginSet {
        PluginSet { revision: 3, ..PluginSet::empty("monitoring/main") }
    }

    #[test]
    fn the_signature_of_a_set_is_always_the_same() {
        let key = SigningKey::generate().unwrap();
        let signature = sign(&set(), &key).unwrap();
        assert_eq!(signature, sign(&set(), &key).unwrap());
        assert_eq!(verify(&set(), &signature, &key.verifying_keys()), Ok(()));
        assert_eq!(verify(&set(), &format!("{signature}\n"), &key.verifying_keys()), Ok(()));
    }

    #[test]
    fn another_set_is_refused_with_the_difference() {
        let key = SigningKey::generate().unwrap();
        let signature = sign(&set(), &key).unwrap();
        let refused = |change: &dyn Fn(&mut PluginSet)| {
            let mut set = set();
            change(&mut set);
            verify(&set, &signature, &key.verifying_keys()).unwrap_err().to_string()
        };
        assert!(refused(&|set| set.revision = 4).ends_with("signed revision 3, found 4"));
        assert!(refused(&|set| set.instance = "monitoring/x".into()).ends_with("signed instance monitoring/main, found monitoring/x"));
        assert!(refused(&|set| set.schema_version = 2).contains("signed hash sha256:"));
    }

    #[test]
    fn signatures_of_others_and_of_other_things_are_refused() {
        let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let invalid = |signature: &str| match verify(&set(), signature, &key.verifying_keys()) {
            Err(SetSignatureError::Invalid(error)) => error.code(),
            result => panic!("{result:?}"),
        };
        assert_eq!(invalid(&sign(&set(), &other).unwrap()), "unknown_key");
        assert_eq!(invalid(""), "malformed_token");
        let request = token::sign(&key, "monitoring/main", "PUT", "/", None, std::time::SystemTime::now()).unwrap();
        assert_eq!(invalid(&request), "malformed_token");
    }
}
