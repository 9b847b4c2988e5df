//! Whether an ID token counts (OpenID Connect Core, 3.1.3.7).

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Header, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Clocks differ.
const LEEWAY_SECONDS: u64 = 60;
/// As the standard has it.
const MAX_SUBJECT_BYTES: usize = 255;
/// Those with a secret that both sides know are not among them, nor is `none`.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// What a token has to say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    pub(super) algorithms: &'a [Algorithm],
}

/// Why a token does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidIdToken {
    #[error("{0}")]
    Jwt(#[from] jsonwebtoken::errors::Error),
    #[error("it is signed with {0:?}, which the provider does not say that it uses")]
    Algorithm(Algorithm),
    #[error("it is for several, and for another one in the first place")]
    AuthorizedParty,
    #[error("it was made for another sign-in")]
    Nonce,
    #[error("it was made in the future: look at the clocks")]
    Future,
    #[error("its subject is empty or too long")]
    Subject,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    aud: Value,
    azp: Option<String>,
    iat: f64,
    nonce: Option<String>,
}

/// Those that both sides know. A provider that says nothing uses RS256.
pub(super) fn algorithms(named: &[String]) -> Vec<Algorithm> {
    let known: Vec<Algorithm> = named.iter().filter_map(|name| name.parse().ok()).filter(|found| ALGORITHMS.contains(found)).collect();
    if named.is_empty() { vec![Algorithm::RS256] } else { known }
}

/// The key that a token says it is signed with. One that says nothing has to be signed with the only one that fits.
pub(super) fn key_of<'a>(header: &Header, keys: &'a [Jwk]) -> Option<&'a Jwk> {
    let mut fitting = keys.iter().filter(|key| {
        let is_for_signatures = !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption));
        let named = key.common.key_algorithm.is_none_or(|named| named.to_string().parse() == Ok(header.alg));
        is_for_signatures && named && family(key) == Some(header.alg.family())
    });
    match &header.kid {
        Some(id) => fitting.find(|key| key.common.key_id.as_ref() == Some(id)),
        None => fitting.next().filter(|_| fitting.next().is_none()),
    }
}

fn family(key: &Jwk) -> Option<AlgorithmFamily> {
    DecodingKey::from_jwk(key).ok().map(|key| key.family())
}

/// Its claims, if it was signed with this key and says what it has to.
pub(super) fn verify(token: &str, key: &Jwk, expected: Expected<'_>, now: SystemTime) -> Result<Map<String, Value>, InvalidIdToken> {
    let header = jsonwebtoken::decode_header(token)?;
    if !expected.algorithms.contains(&header.alg) {
        return Err(InvalidIdToken::Algorithm(header.alg));
    }
    let mut validation = Validation::new(header.alg);
    validation.leeway = LEEWAY_SECONDS;
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_issuer(&[expected.issuer]);
    validation.set_audience(&[expected.client_id]);
    let all: Map<String, Value> = jsonwebtoken::decode(token, &DecodingKey::from_jwk(key)?, &validation)?.claims;
    let claims: Claims = serde_json::from_value(Value::Object(all.clone())).map_err(jsonwebtoken::errors::Error::from)?;
    let is_for_us = match (&claims.azp, &claims.aud) {
        (Some(party), _) => party == expected.client_id,
        (None, Value::Array(audience)) => audience.len() == 1,
        (None, _) => true,
    };
    if !is_for_us {
        return Err(InvalidIdToken::AuthorizedParty);
    }
    if claims.nonce.as_deref() != Some(expected.nonce) {
        return Err(InvalidIdToken::Nonce);
    }
    let latest = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().saturating_add(LEEWAY_SECONDS);
    if claims.iat > latest as f64 {
        return Err(InvalidIdToken::Future);
    }
    if claims.sub.is_empty() || claims.sub.len() > MAX_SUBJECT_BYTES || claims.sub.contains('\0') {
        return Err(InvalidIdToken::Subject);
    }
    Ok(all)
}

#[cfg(test)]
#[path = "id_token_tests.rs"]
mod tests;
