//! What a request shows to prove who sends it (platform facts §6.1), and how such proofs are made.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};
use rand::RngExt as _;
use uuid::Uuid;

use crate::cookies;
use crate::service_keys::ServiceToken;

const SECRET_CHARACTERS: usize = 32;
const SECRET_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Random bytes of a session's token.
const TOKEN_BYTES: usize = 32;
/// Longer cookies are none of ours.
const MAX_TOKEN_CHARACTERS: usize = 100;

/// SHA-256 of something secret that nobody can guess.
pub(crate) type SecretDigest = [u8; 32];

/// What a request shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// The key of an application.
    Application(ApplicationKey),
    /// A token of a service. If it does not count, nothing else does.
    Service(ServiceToken),
    /// The token of a session.
    Session(SessionToken),
    /// Something that looks like a key, and is none: not even a session counts beside it.
    Malformed,
}

/// `ck_<id>_<secret>`
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ApplicationKey {
    pub(crate) id: Uuid,
    secret: String,
}

/// What the cookie of a session has.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SessionToken(String);

impl Credential {
    /// Reads the headers of a request.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let shown = headers.get(header::AUTHORIZATION).and_then(Self::of_authorization);
        shown.or_else(|| SessionToken::of(headers).map(Self::Session))
    }

    /// None: it is not for us.
    fn of_authorization(value: &HeaderValue) -> Option<Self> {
        let bearer = value.to_str().ok()?.strip_prefix("Bearer ")?;
        match bearer.starts_with("ck_") {
            true => Some(ApplicationKey::parse(bearer).map_or(Self::Malformed, Self::Application)),
            false => ServiceToken::parse(bearer).map(Self::Service),
        }
    }

    /// Tells it from all others, without containing it.
    pub(crate) fn digest(&self) -> SecretDigest {
        match self {
            Self::Application(key) => sha256(format!("application:{}:{}", key.id, key.secret).as_bytes()),
            Self::Service(token) => sha256(&[b"service:", token.as_bytes()].concat()),
            Self::Session(token) => token.digest(),
            Self::Malformed => sha256(b"malformed"),
        }
    }
}

impl ApplicationKey {
    /// With a new secret.
    pub(crate) fn generate(id: Uuid) -> Self {
        let mut random = rand::rng();
        let character = |_| SECRET_ALPHABET.get(random.random_range(0..SECRET_ALPHABET.len())).copied().map_or('0', char::from);
        Self { id, secret: (0..SECRET_CHARACTERS).map(character).collect() }
    }

    fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix("ck_")?.split_once('_')?;
        let is_secret = secret.len() == SECRET_CHARACTERS && secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
        // Other ways to write a UUID are not ours.
        let id = (id.len() == 36).then(|| Uuid::try_parse(id).ok()).flatten()?;
        is_secret.then(|| Self { id, secret: secret.to_owned() })
    }

    /// What is stored of it.
    pub(crate) fn secret_digest(&self) -> SecretDigest {
        sha256(self.secret.as_bytes())
    }

    /// For its owner, once.
    pub(crate) fn reveal(&self) -> String {
        format!("ck_{}_{}", self.id, self.secret)
    }
}

impl SessionToken {
    pub(crate) fn generate() -> Self {
        Self(BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; TOKEN_BYTES]>()))
    }

    /// From the cookies of a request.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        cookies::find(headers, cookies::SESSION).filter(|text| text.len() <= MAX_TOKEN_CHARACTERS).map(|text| Self(text.to_owned()))
    }

    /// What is stored of it.
    pub(crate) fn digest(&self) -> SecretDigest {
        sha256(self.0.as_bytes())
    }

    /// For the cookie.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApplicationKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ApplicationKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SessionToken(..)")
    }
}

/// Takes all proofs out of the headers of a request, and those that an answer would set.
pub(crate) fn withhold(headers: &mut HeaderMap) {
    let is_ours = |value: &HeaderValue| value.as_bytes().starts_with(b"Bearer ck_") || Credential::of_authorization(value).is_some();
    if headers.get_all(header::AUTHORIZATION).into_iter().any(is_ours) {
        headers.remove(header::AUTHORIZATION);
    }
    for (name, keep) in [(header::COOKIE, others as fn(&HeaderValue) -> Option<HeaderValue>), (header::SET_COOKIE, other)] {
        if headers.get_all(&name).into_iter().any(names_ours) {
            let kept: Vec<HeaderValue> = headers.get_all(&name).into_iter().filter_map(keep).collect();
            headers.remove(&name);
            kept.into_iter().for_each(|value| {
                headers.append(name.clone(), value);
            });
        }
    }
}

fn names_ours(value: &HeaderValue) -> bool {
    cookies::OURS.iter().any(|name| value.as_bytes().windows(name.len()).any(|part| part == name.as_bytes()))
}

fn is_ours(cookie: &str) -> bool {
    cookie.split('=').next().is_some_and(|name| cookies::OURS.contains(&name.trim()))
}

/// The cookies that are not ours. What cannot be read may be.
fn others(value: &HeaderValue) -> Option<HeaderValue> {
    if !names_ours(value) {
        return Some(value.clone());
    }
    let kept: Vec<&str> = value.to_str().ok()?.split(';').filter(|cookie| !is_ours(cookie)).map(str::trim).collect();
    Some(kept.join("; ")).filter(|kept| !kept.is_empty()).and_then(|kept| HeaderValue::from_str(&kept).ok())
}

/// A cookie that an answer sets, unless it is ours.
fn other(value: &HeaderValue) -> Option<HeaderValue> {
    let is_ours = names_ours(value) && value.to_str().map_or(true, is_ours);
    (!is_ours).then(|| value.clone())
}

/// Of something that nobody can guess, or that nobody needs to know.
pub(crate) fn sha256(bytes: &[u8]) -> SecretDigest {
    let mut result = [0; 32];
    result.copy_from_slice(digest(&SHA256, bytes).as_ref());
    result
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// `{}`, `{"service":"x"}`, and no signature.
    const SERVICE: &str = "Bearer e30.eyJzZXJ2aWNlIjoieCJ9.";

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let key = ApplicationKey::generate(Uuid::from_u128(7));
        let text = key.reveal();
        assert_eq!((text.len(), &text[..3]), (3 + 36 + 1 + 32, "ck_"));
        assert_eq!(Credential::of(&headers(&[("authorization", &format!("Bearer {text}"))])), Some(Credential::Application(key.clone())));
        assert_ne!(ApplicationKey::generate(Uuid::from_u128(7)), key);
        assert!(!format!("{key:?}").contains(&key.secret));
    }

    #[test]
    fn what_looks_like_a_key_and_is_none_hides_the_session() {
        let id = "00000000-0000-0000-0000-000000000007";
        let secret = "a".repeat(32);
        let wrong = [
            "ck_".to_owned(),
            format!("ck_{id}_"),
            format!("ck_{id}{secret}"),
            format!("ck_{id}_{}", "a".repeat(31)),
            format!("ck_{id}_{}", "a".repeat(33)),
            format!("ck_{id}_{}", "ü".repeat(16)),
            format!("ck_{}_{secret}", id.replace('-', "")),
            format!("ck_{}_{secret}", "x".repeat(36)),
        ];
        for key in wrong {
            let mut sent = headers(&[("cookie", "checkstack.session_token=abc")]);
            sent.insert("authorization", HeaderValue::from_bytes(format!("Bearer {key}").as_bytes()).unwrap());
            let found = Credential::of(&sent);
            // A header that is not ASCII is no authorization at all.
            let expected = if key.is_ascii() { Credential::Malformed } else { Credential::Session(SessionToken("abc".into())) };
            assert_eq!(found, Some(expected), "{key}");
        }
    }

    #[test]
    fn plugins_neither_see_proofs_nor_set_them() {
        let withheld = |fields: &[(&'static str, &str)]| {
            let mut all = HeaderMap::new();
            for (name, value) in fields {
                all.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            withhold(&mut all);
            all.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))).collect::<BTreeSet<_>>()
        };
        let are = |fields: &[&str]| fields.iter().map(|field| (*field).to_owned()).collect::<BTreeSet<_>>();
        let mixed = [
            ("authorization", "Bearer ck_1_2"),
            ("cookie", "a=1; checkstack.session_token=x ;b=2"),
            ("cookie", "checkstack.session_token=y"),
            ("cookie", "checkstack.pending_sign_in=z"),
            ("x", "1"),
        ];
        assert_eq!(withheld(&mixed), are(&["cookie: a=1; b=2", "x: 1"]));
        assert_eq!(withheld(&[("authorization", SERVICE)]), are(&[]));
        assert_eq!(withheld(&[("authorization", "Basic of-the-plugin"), ("authorization", SERVICE)]), are(&[]));
        assert_eq!(withheld(&[("cookie", "ü=1; checkstack.session_token=x")]), are(&[]));
        let others = [
            ("authorization", "Bearer of-the-plugin"),
            ("cookie", "a=checkstack.session_token; b=2"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=checkstack.session_token=1"),
        ];
        assert_eq!(withheld(&others), others.map(|(name, value)| format!("{name}: {value}")).into());
        let set = [
            ("set-cookie", "a=1; Path=/"),
            ("set-cookie", " checkstack.session_token =x; Path=/"),
            ("set-cookie", "checkstack.session_token=ü"),
            ("set-cookie", "checkstack.pending_sign_in=x; Path=/api/auth"),
        ];
        assert_eq!(withheld(&set), are(&["set-cookie: a=1; Path=/"]));
    }

    #[test]
    fn a_session_is_found_among_other_cookies() {
        let session = |text: &str| Some(Credential::Session(SessionToken(text.into())));
        let found = |cookie: &str| Credential::of(&headers(&[("cookie", cookie)]));
        assert_eq!(found("a=1; checkstack.session_token=xyz; b=2"), session("xyz"));
        assert_eq!(found("checkstack.session_token=xyz"), session("xyz"));
        for cookie in [
            "",
            "a=1",
            "checkstack.session_token=",
            "checkstack.sessions=a",
            "xcheckstack.session_token=a",
            &format!("checkstack.session_token={}", "a".repeat(101)),
        ] {
            assert_eq!(found(cookie), None, "{cookie}");
        }
        let other = headers(&[("authorization", "Bearer of-something-else"), ("cookie", "checkstack.session_token=xyz")]);
        assert_eq!(Credential::of(&other), session("xyz"));
        assert_eq!(Credential::of(&HeaderMap::new()), None);
        let service = headers(&[("authorization", SERVICE), ("cookie", "checkstack.session_token=xyz")]);
        assert!(matches!(Credential::of(&service), Some(Credential::Service(_))), "not even a session counts beside it");
    }
}
