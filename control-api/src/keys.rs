//! Keys of one instance, as they are in the Secret `<instance>-keys`.
//!
//! The operator makes them and keeps [`SigningKey`] to itself; pods get [`VerifyingKeys`] and
//! [`SealingKey`]. The signing key is exchanged from time to time, and pods read the public keys
//! again while they run; the sealing key stays.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Key of the Secret: the operator's private key, PKCS #8 in PEM.
pub const SIGNING_KEY_FILE: &str = "signing.pem";
/// Key of the Secret: the private key that signs next, while pods learn its public half.
pub const NEXT_SIGNING_KEY_FILE: &str = "signing-next.pem";
/// Key of the Secret: the public keys, a JSON Web Key Set.
pub const PUBLIC_KEYS_FILE: &str = "jwks.json";
/// Key of the Secret: 32 random bytes.
pub const SEALING_KEY_FILE: &str = "sealing.key";

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// Why a key is of no use. None of the texts has any part of a key in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// `signing.pem` is not what it should be.
    #[error("{SIGNING_KEY_FILE} is not an Ed25519 private key in PEM (PKCS #8): {0}")]
    SigningKey(&'static str),
    /// `jwks.json` is not what it should be.
    #[error("{PUBLIC_KEYS_FILE} is not a set of Ed25519 public keys: {0}")]
    PublicKeys(String),
    /// `sealing.key` is not what it should be.
    #[error("{SEALING_KEY_FILE} has {0} bytes; it must have exactly 32")]
    SealingKey(usize),
    /// The system has no randomness, or the cryptographic library failed.
    #[error("a key could not be generated")]
    Generation,
}

/// The operator's private key. Signs [request tokens](crate::token) and
/// [sets](crate::set_signature).
#[derive(Clone)]
pub struct SigningKey {
    key_id: String,
    public: PublicKey,
    encoding: EncodingKey,
    pem: Zeroizing<String>,
}

/// The public keys that a pod accepts, by key id.
#[derive(Clone)]
pub struct VerifyingKeys {
    keys: BTreeMap<String, (PublicKey, DecodingKey)>,
}

/// The secret that operator and pods share.
#[derive(Clone)]
pub struct SealingKey(Zeroizing<[u8; 32]>);

type PublicKey = [u8; 32];

/// A JSON Web Key Set of Ed25519 keys (RFC 8037).
#[derive(Serialize, Deserialize)]
struct KeySet {
    keys: Vec<Key>,
}

#[derive(Serialize, Deserialize)]
struct Key {
    kty: String,
    crv: String,
    x: String,
    kid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    key_use: Option<String>,
}

impl SigningKey {
    /// A new key.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::Generation)?;
        // Version 1 of PKCS #8, which has no public key in it: openssl reads no other.
        let document = pair.to_pkcs8v1().map_err(|_| KeyError::Generation)?;
        let encoded = Zeroizing::new(STANDARD.encode(document.as_ref()));
        Self::from_pem(format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", *encoded).as_bytes())
    }

    /// From the text of `signing.pem`.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let text = std::str::from_utf8(pem).map_err(|_| KeyError::SigningKey("it is not text"))?;
        let encoded = text
            .trim()
            .strip_prefix(PEM_BEGIN)
            .and_then(|text| text.strip_suffix(PEM_END))
            .ok_or(KeyError::SigningKey("it must begin with BEGIN PRIVATE KEY and end with END PRIVATE KEY"))?;
        let encoded: Zeroizing<String> = Zeroizing::new(encoded.split_ascii_whitespace().collect());
        let document = Zeroizing::new(STANDARD.decode(encoded.as_bytes()).map_err(|_| KeyError::SigningKey("it is not base64"))?);
        let pair = Ed25519KeyPair::from_pkcs8(&document).map_err(|_| KeyError::SigningKey("it is another kind of key, or damaged"))?;
        let public: PublicKey =
            pair.public_key().as_ref().try_into().map_err(|_| KeyError::SigningKey("its public key has no 32 bytes"))?;
        Ok(Self { key_id: key_id(&public), public, encoding: EncodingKey::from_ed_der(&document), pem: Zeroizing::new(text.to_owned()) })
    }

    /// The text of `signing.pem`.
    pub fn to_pem(&self) -> &str {
        &self.pem
    }

    /// The key's id: its JWK thumbprint (RFC 7638).
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The public half.
    pub fn verifying_keys(&self) -> VerifyingKeys {
        VerifyingKeys { keys: BTreeMap::from([(self.key_id.clone(), (self.public, decoding_key(&self.public)))]) }
    }

    pub(crate) fn encoding_key(&self) -> &EncodingKey {
        &self.encoding
    }
}

impl VerifyingKeys {
    /// From the text of `jwks.json`.
    pub fn from_json(document: &[u8]) -> Result<Self, KeyError> {
        let set: KeySet = serde_json::from_slice(document).map_err(|error| KeyError::PublicKeys(error.to_string()))?;
        let mut keys = BTreeMap::new();
        for key in set.keys {
            let problem = |problem: &str| KeyError::PublicKeys(format!("key '{}' {problem}", key.kid.escape_debug()));
            if key.kty != "OKP" || key.crv != "Ed25519" {
                return Err(problem("is of another kind"));
            }
            let public: PublicKey = URL_SAFE_NO_PAD
                .decode(&key.x)
                .ok()
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or_else(|| problem("has an x that is not 32 bytes in base64url"))?;
            // Then a key id says which key it is, whoever names it.
            if key.kid != key_id(&public) {
                return Err(problem("has an id that is not its thumbprint"));
            }
            keys.insert(key.kid, (public, decoding_key(&public)));
        }
        match keys.is_empty() {
            true => Err(KeyError::PublicKeys("it has no key".into())),
            false => Ok(Self { keys }),
        }
    }

    /// The text of `jwks.json`: equal for equal keys.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let key = |(kid, (public, _)): (&String, &(PublicKey, DecodingKey))| Key {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            x: URL_SAFE_NO_PAD.encode(public),
            kid: kid.clone(),
            alg: Some("EdDSA".into()),
            key_use: Some("sig".into()),
        };
        serde_json::to_string_pretty(&KeySet { keys: self.keys.iter().map(key).collect() })
    }

    /// These and `other`: while a key is rotated, pods accept the old one and the new one.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.keys.extend(other.keys);
        self
    }

    /// Whether a signature by this key is accepted.
    pub fn contains(&self, key_id: &str) -> bool {
        self.keys.contains_key(key_id)
    }

    /// The ids of the keys, in order.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    pub(crate) fn find(&self, key_id: &str) -> Option<&DecodingKey> {
        self.keys.get(key_id).map(|(_, key)| key)
    }
}

impl SealingKey {
    /// A new key.
    pub fn generate() -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| KeyError::Generation)?;
        Ok(Self(bytes))
    }

    /// From the content of `sealing.key`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        Ok(Self(Zeroizing::new(bytes.try_into().map_err(|_| KeyError::SealingKey(bytes.len()))?)))
    }

    /// The content of `sealing.key`.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SigningKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl fmt::Debug for VerifyingKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.keys.keys()).finish()
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SealingKey(…)")
    }
}

fn decoding_key(public: &PublicKey) -> DecodingKey {
    DecodingKey::from_ed_der(public)
}

/// RFC 7638: SHA-256 over the required members in lexical order, base64url.
fn key_id(public: &PublicKey) -> String {
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, URL_SAFE_NO_PAD.encode(public));
    URL_SAFE_NO_PAD.encode(checkstack_plugin_package::Digest::of(members.as_bytes()).as_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// RFC 8037, appendix A: key, public key and thumbprint.
    const RFC_PEM: &str =
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
    const RFC_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const RFC_THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

    #[test]
    fn the_key_of_the_standard_has_the_id_of_the_standard() {
        let key = SigningKey::from_pem(RFC_PEM.as_bytes()).unwrap();
        assert_eq!(key.key_id(), RFC_THUMBPRINT);
        let document: serde_json::Value = serde_json::from_str(&key.verifying_keys().to_json().unwrap()).unwrap();
        let expected = serde_json::json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": RFC_X, "kid": RFC_THUMBPRINT, "alg": "EdDSA", "use": "sig"}]});
        assert_eq!(document, expected);
    }

    #[test]
    fn generated_keys_survive_being_stored_and_differ() {
        let (one, two) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        assert_ne!(one.key_id(), two.key_id());
        let restored = SigningKey::from_pem(one.to_pem().as_bytes()).unwrap();
        assert_eq!((restored.key_id(), restored.to_pem()), (one.key_id(), one.to_pem()));
        let both = one.verifying_keys().with(two.verifying_keys());
        let restored = VerifyingKeys::from_json(both.to_json().unwrap().as_bytes()).unwrap();
        assert!(restored.contains(one.key_id()) && restored.contains(two.key_id()) && !restored.contains("other"));
        assert_eq!(restored.key_ids().collect::<BTreeSet<_>>(), BTreeSet::from([one.key_id(), two.key_id()]));
        assert_eq!(restored.to_json().unwrap(), both.to_json().unwrap());

        let sealing = SealingKey::generate().unwrap();
        assert_eq!(SealingKey::from_bytes(sealing.as_bytes()).unwrap().as_bytes(), sealing.as_bytes());
        assert_ne!(SealingKey::generate().unwrap().as_bytes(), sealing.as_bytes());
    }

    #[test]
    fn damaged_keys_are_refused_and_never_shown() {
        let rsa_begin = RFC_PEM.replace("PRIVATE KEY", "RSA PRIVATE KEY");
        for pem in [
            "",
            "x",
            &RFC_PEM.replace("MC4C", "****"),
            &RFC_PEM.replace("MC4C", "AAAA"),
            &rsa_begin,
            &RFC_PEM.replace("\n", "").replace("Mcrn9g", ""),
        ] {
            let error = SigningKey::from_pem(pem.as_bytes()).map(|_| ());
            let Err(error @ KeyError::SigningKey(_)) = error else { panic!("{pem}: {error:?}") };
            assert!(!error.to_string().contains("JLsLMRE"), "{error}");
        }
        for length in [0, 31, 33] {
            assert_eq!(SealingKey::from_bytes(&vec![0; length]).map(|_| ()), Err(KeyError::SealingKey(length)));
        }
        for document in [
            "",
            "{}",
            r#"{"keys": []}"#,
            r#"{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "kid": "a"}]}"#,
            r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "a"}]}"#,
            &format!(r#"{{"keys": [{{"kty": "OKP", "crv": "Ed25519", "x": "{RFC_X}", "kid": "a"}}]}}"#),
        ] {
            assert!(matches!(VerifyingKeys::from_json(document.as_bytes()), Err(KeyError::PublicKeys(_))), "{document}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = SigningKey::from_pem(RFC_PEM.as_bytes()).unwrap();
        let shown = format!("{key:?} {:?} {:?}", key.verifying_keys(), SealingKey::from_bytes(&[7; 32]).unwrap());
        assert_eq!(shown, format!("SigningKey {{ key_id: {RFC_THUMBPRINT:?}, .. }} {{{RFC_THUMBPRINT:?}}} SealingKey(…)"));
    }
}
