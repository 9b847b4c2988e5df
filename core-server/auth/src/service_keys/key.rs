//! One RSA key: made, stored, and taken out again.

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use checkstack_control_api::{AtRestError, AtRestKey};
use jsonwebtoken::DecodingKey;
use serde_json::{Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Why a key cannot be made or used. Has no part of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyFault {
    #[error("the cryptographic library failed")]
    Library,
    #[error(transparent)]
    AtRest(#[from] AtRestError),
}

/// Everything of a key that is stored.
#[derive(Clone)]
pub(crate) struct NewKey {
    pub(crate) public: PublicParts,
    pub(crate) sealed_private_key: Vec<u8>,
}

/// What everybody may know of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicParts {
    pub(crate) id: Uuid,
    /// Big-endian, without leading zeros, as the exponent.
    pub(crate) modulus: Vec<u8>,
    pub(crate) exponent: Vec<u8>,
}

/// One that signs. Its `Debug` shows nothing of it.
pub(super) struct SigningKey {
    id: Uuid,
    pair: KeyPair,
}

impl PublicParts {
    /// To verify tokens with.
    pub(super) fn decoding_key(&self) -> DecodingKey {
        DecodingKey::from_rsa_raw_components(&self.modulus, &self.exponent)
    }

    /// For the key set.
    pub(super) fn jwk(&self) -> Value {
        let [n, e] = [&self.modulus, &self.exponent].map(|number| BASE64_URL_SAFE_NO_PAD.encode(number));
        json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.id.to_string(), "n": n, "e": e })
    }

    fn with_context<T>(&self, work: impl FnOnce(&[&[u8]]) -> T) -> T {
        work(&[self.id.as_bytes(), &self.modulus, &self.exponent])
    }
}

impl NewKey {
    /// RSA with 2048 bits. Computes for a tenth of a second, and now and then for a whole one: not on a thread that serves.
    pub(super) fn generate(at_rest: &AtRestKey) -> Result<Self, KeyFault> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyFault::Library)?;
        let document: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyFault::Library)?;
        let RsaPublicKeyComponents { n: modulus, e: exponent } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let public = PublicParts { id: Uuid::new_v4(), modulus, exponent };
        let sealed_private_key = public.with_context(|context| at_rest.seal(context, document.as_ref()))?;
        Ok(Self { public, sealed_private_key })
    }

    /// The private key, if it was stored with these public parts by a pod of this instance: then those count as well.
    pub(super) fn open(&self, at_rest: &AtRestKey) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
        Ok(self.public.with_context(|context| at_rest.open(context, &self.sealed_private_key))?)
    }

    /// Computes for a millisecond.
    pub(super) fn signing_key(&self, at_rest: &AtRestKey) -> Result<SigningKey, KeyFault> {
        let document = self.open(at_rest)?;
        let pair = KeyPair::from_pkcs8(&document).map_err(|_| KeyFault::Library)?;
        Ok(SigningKey { id: self.public.id, pair })
    }
}

impl SigningKey {
    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    /// RSASSA-PKCS1-v1_5 with SHA-256. Computes for a millisecond.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyFault> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).map_err(|_| KeyFault::Library)?;
        Ok(signature)
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NewKey").field("id", &self.public.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use checkstack_control_api::SealingKey;

    use super::*;

    fn at_rest(byte: u8) -> AtRestKey {
        SealingKey::from_bytes(&[byte; 32]).unwrap().service_keys_key()
    }

    #[test]
    fn a_key_counts_as_it_was_stored_by_the_instance_and_not_otherwise() {
        let stored = NewKey::generate(&at_rest(1)).unwrap();
        assert!(stored.signing_key(&at_rest(1)).is_ok());
        assert_eq!((stored.public.modulus.len(), stored.public.exponent.as_slice()), (256, &[1, 0, 1][..]));
        assert_eq!(stored.open(&at_rest(2)).unwrap_err(), KeyFault::AtRest(AtRestError::NotAuthentic));
        let other = NewKey::generate(&at_rest(1)).unwrap();
        // Somebody who writes the database gives out another public key under the same id, or the same key under another id.
        let exchanged = PublicParts { id: stored.public.id, ..other.public.clone() };
        let renamed = PublicParts { id: other.public.id, ..stored.public.clone() };
        for public in [exchanged, renamed, other.public] {
            let forged = NewKey { public, sealed_private_key: stored.sealed_private_key.clone() };
            assert_eq!(forged.open(&at_rest(1)).unwrap_err(), KeyFault::AtRest(AtRestError::NotAuthentic));
        }
    }

    #[test]
    fn everybody_may_see_the_public_parts_and_nothing_else() {
        let stored = NewKey::generate(&at_rest(1)).unwrap();
        let jwk = stored.public.jwk();
        let fields: Vec<&str> = jwk.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["alg", "e", "kid", "kty", "n", "use"]);
        assert_eq!((jwk["e"].as_str(), jwk["kid"].as_str()), (Some("AQAB"), Some(stored.public.id.to_string().as_str())));
        assert!(!format!("{stored:?}").contains("sealed"));
    }
}
