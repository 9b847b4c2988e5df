//! Request tokens: what the operator's calls carry as `Authorization: Bearer <token>`.
//!
//! A token is a JWT with an EdDSA signature that is good for one method, path and body, at one
//! instance, for a minute. Who sees one can at most repeat that same call within that time, and
//! every call is idempotent.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use checkstack_plugin_package::Digest;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::keys::{SigningKey, VerifyingKeys};
use crate::report::ControlError;

/// Who issues tokens.
pub const ISSUER: &str = "checkstack-operator";
/// For how long a token is valid.
pub const LIFETIME: Duration = Duration::from_secs(60);
/// By how much clocks may differ.
pub const LEEWAY: Duration = Duration::from_secs(5);

/// Keeps a token from being taken for another signed thing, and the other way round (RFC 8725).
const TOKEN_TYPE: &str = "checkstack-request+jwt";
/// Far more than a token has.
const MAX_TOKEN_BYTES: usize = 4096;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    iat: u64,
    exp: u64,
    method: String,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
}

/// A request as the server sees it, before it has read the body.
#[derive(Debug, Clone, Copy)]
pub struct ExpectedRequest<'a> {
    /// `<namespace>/<name>`.
    pub instance: &'a str,
    /// `PUT`.
    pub method: &'a str,
    /// As sent, without the query.
    pub path: &'a str,
}

/// A request whose token was verified. What is left is the body: see [`Self::check_body`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the body must be checked against the token too"]
pub struct VerifiedRequest {
    digest: Option<Digest>,
}

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No `Authorization` header with a bearer token.
    #[error("the call has no bearer token in its Authorization header")]
    Missing,
    /// Not one of our tokens.
    #[error("the token is malformed: {0}")]
    Malformed(String),
    /// Signed with a key that this instance does not have.
    #[error("the token is signed with the unknown key '{0}'")]
    UnknownKey(String),
    /// The signature is not of that key and these claims.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// Its time has been over for so many seconds. Not in the text: it stands in statuses, and would change all the time.
    #[error("the token has expired; if calls keep failing so, clocks of the nodes differ")]
    Expired(u64),
    /// Its time comes in so many seconds.
    #[error("the token is from the future; clocks of the nodes differ")]
    NotYetValid(u64),
    /// For another instance.
    #[error("the token is for instance '{found}', this is '{expected}'")]
    WrongAudience {
        /// The token's.
        found: String,
        /// This one.
        expected: String,
    },
    /// For another call.
    #[error("the token is for {found_method} {found_path}, the call is {method} {path}")]
    WrongRequest {
        /// The token's.
        found_method: String,
        /// The token's.
        found_path: String,
        /// The call's.
        method: String,
        /// The call's.
        path: String,
    },
    /// For another body.
    #[error("the token is for a body with digest {}, the call's body has {}", or_none(.signed), or_none(.actual))]
    DigestMismatch {
        /// The token's.
        signed: Option<Digest>,
        /// The body's.
        actual: Option<Digest>,
    },
}

/// A token could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the request could not be signed: {0}")]
pub struct SigningFailed(pub(crate) String);

/// Makes the token for one call. `body` is the digest of its body, where it has one.
pub fn sign(
    key: &SigningKey,
    instance: &str,
    method: &str,
    path: &str,
    body: Option<&Digest>,
    now: SystemTime,
) -> Result<String, SigningFailed> {
    let iat = seconds(now);
    let claims = Claims {
        iss: ISSUER.into(),
        aud: instance.into(),
        iat,
        exp: iat + LIFETIME.as_secs(),
        method: method.into(),
        path: path.into(),
        digest: body.copied(),
    };
    jsonwebtoken::encode(&header(TOKEN_TYPE, key), &claims, key.encoding_key()).map_err(|error| SigningFailed(error.to_string()))
}

/// Checks the value of an `Authorization` header for a call.
pub fn verify(
    authorization: Option<&str>,
    keys: &VerifyingKeys,
    request: ExpectedRequest<'_>,
    now: SystemTime,
) -> Result<VerifiedRequest, TokenError> {
    let token = bearer(authorization.ok_or(TokenError::Missing)?)?;
    let claims: Claims = verify_signature(token, TOKEN_TYPE, keys)?;
    check_times(&claims, seconds(now))?;
    if claims.iss != ISSUER {
        return Err(TokenError::Malformed(format!("its issuer is not {ISSUER}")));
    }
    if claims.aud != request.instance {
        return Err(TokenError::WrongAudience { found: shown(&claims.aud), expected: request.instance.into() });
    }
    if claims.method != request.method || claims.path != request.path {
        return Err(TokenError::WrongRequest {
            found_method: shown(&claims.method),
            found_path: shown(&claims.path),
            method: shown(request.method),
            path: shown(request.path),
        });
    }
    Ok(VerifiedRequest { digest: claims.digest })
}

impl VerifiedRequest {
    /// The digest that the body must have; none for a call without a body.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Compares the body's digest, none for an empty body, with the signed one.
    pub fn check_body(self, actual: Option<Digest>) -> Result<(), TokenError> {
        match self.digest == actual {
            true => Ok(()),
            false => Err(TokenError::DigestMismatch { signed: self.digest, actual }),
        }
    }
}

impl TokenError {
    /// 401 where the caller is not known, 403 where it may do something else than this.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Missing | Self::Malformed(_) | Self::UnknownKey(_) | Self::BadSignature | Self::Expired(_) | Self::NotYetValid(_) => 401,
            Self::WrongAudience { .. } | Self::WrongRequest { .. } | Self::DigestMismatch { .. } => 403,
        }
    }

    /// The stable word of [`ControlError::error`].
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "unauthenticated",
            Self::Malformed(_) => "malformed_token",
            Self::UnknownKey(_) => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::Expired(_) => "expired_token",
            Self::NotYetValid(_) => "token_not_yet_valid",
            Self::WrongAudience { .. } => "wrong_audience",
            Self::WrongRequest { .. } => "wrong_request",
            Self::DigestMismatch { .. } => "digest_mismatch",
        }
    }
}

impl From<&TokenError> for ControlError {
    fn from(error: &TokenError) -> Self {
        Self { error: error.code().into(), message: error.to_string() }
    }
}

/// The header of everything that the operator signs.
pub(crate) fn header(signed_type: &str, key: &SigningKey) -> Header {
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some(signed_type.into());
    header.kid = Some(key.key_id().into());
    header
}

/// The payload of something that the operator signed as a `signed_type`.
pub(crate) fn verify_signature<T: serde::de::DeserializeOwned>(
    token: &str,
    signed_type: &str,
    keys: &VerifyingKeys,
) -> Result<T, TokenError> {
    let malformed = |error: jsonwebtoken::errors::Error| match error.kind() {
        ErrorKind::InvalidSignature => TokenError::BadSignature,
        ErrorKind::Json(_) | ErrorKind::Base64(_) | ErrorKind::Utf8(_) => TokenError::Malformed("it is not JSON in base64url".into()),
        _ => TokenError::Malformed(error.to_string()),
    };
    let header = jsonwebtoken::decode_header(token).map_err(malformed)?;
    if header.alg != Algorithm::EdDSA {
        return Err(TokenError::Malformed("its algorithm is not EdDSA".into()));
    }
    if header.typ.as_deref() != Some(signed_type) {
        return Err(TokenError::Malformed(format!("its type is not {signed_type}")));
    }
    let key_id = header.kid.ok_or_else(|| TokenError::Malformed("it does not name its key".into()))?;
    let key = keys.find(&key_id).ok_or_else(|| TokenError::UnknownKey(shown(&key_id)))?;
    // Times and audience are judged by the caller, at a time of its choice and with errors of ours.
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    Ok(jsonwebtoken::decode::<T>(token, key, &validation).map_err(malformed)?.claims)
}

fn bearer(authorization: &str) -> Result<&str, TokenError> {
    let (scheme, token) = authorization.trim().split_once(' ').ok_or(TokenError::Missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(TokenError::Missing);
    }
    match token.len() > MAX_TOKEN_BYTES {
        true => Err(TokenError::Malformed(format!("it has more than {MAX_TOKEN_BYTES} bytes"))),
        false => Ok(token.trim()),
    }
}

fn check_times(claims: &Claims, now: u64) -> Result<(), TokenError> {
    if claims.exp.saturating_sub(claims.iat) > LIFETIME.as_secs() {
        return Err(TokenError::Malformed(format!("it is valid for more than {} s", LIFETIME.as_secs())));
    }
    if claims.iat > now + LEEWAY.as_secs() {
        return Err(TokenError::NotYetValid(claims.iat - now));
    }
    if claims.exp + LEEWAY.as_secs() < now {
        return Err(TokenError::Expired(now - claims.exp));
    }
    Ok(())
}

/// A clock before 1970 counts as 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn or_none(digest: &Option<Digest>) -> String {
    digest.map_or_else(|| "none".into(), |digest| digest.to_string())
}

/// A foreign text in a message: short, on one line.
fn shown(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests;
