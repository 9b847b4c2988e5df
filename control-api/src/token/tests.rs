#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;

const REQUEST: ExpectedRequest<'static> = ExpectedRequest { instance: "monitoring/main", method: "PUT", path: "/.checkstack/plugin-set" };

/// A key, what it signs by default, and the time it does so.
struct Operator {
    key: SigningKey,
    now: SystemTime,
}

impl Operator {
    fn new() -> Self {
        Self { key: SigningKey::generate().unwrap(), now: UNIX_EPOCH + Duration::from_secs(1_800_000_000) }
    }

    fn token(&self, body: Option<&Digest>) -> String {
        format!("Bearer {}", sign(&self.key, REQUEST.instance, REQUEST.method, REQUEST.path, body, self.now).unwrap())
    }

    /// A token whose claims were changed before they were signed.
    fn token_with(&self, claim: &str, value: Value) -> String {
        let mut claims = json!({
            "iss": ISSUER, "aud": REQUEST.instance, "iat": 1_800_000_000, "exp": 1_800_000_060, "method": REQUEST.method, "path": REQUEST.path,
        });
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(claim)),
            value => claims[claim] = value,
        }
        self.encode(&header(TOKEN_TYPE, &self.key), &claims)
    }

    fn encode(&self, header: &Header, claims: &Value) -> String {
        format!("Bearer {}", jsonwebtoken::encode(header, claims, self.key.encoding_key()).unwrap())
    }

    fn verify(&self, authorization: &str) -> Result<VerifiedRequest, TokenError> {
        verify(Some(authorization), &self.key.verifying_keys(), REQUEST, self.now)
    }

    fn code(&self, authorization: &str) -> (u16, &'static str) {
        let error = self.verify(authorization).unwrap_err();
        (error.http_status(), error.code())
    }
}

#[test]
fn a_token_is_good_for_its_request_and_body() {
    let operator = Operator::new();
    let body = Digest::of(b"body");
    let verified = operator.verify(&operator.token(Some(&body))).unwrap();
    assert_eq!(verified.digest(), Some(body));
    assert_eq!(verified.check_body(Some(body)), Ok(()));
    assert_eq!(operator.verify(&operator.token(None)).unwrap().check_body(None), Ok(()));
    assert!(operator.verify(&operator.token(None).replace("Bearer ", "bearer  ")).is_ok());
}

#[test]
fn another_body_is_refused() {
    let operator = Operator::new();
    let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
    for (signed, actual) in [(Some(one), Some(two)), (Some(one), None), (None, Some(two))] {
        let error = operator.verify(&operator.token(signed.as_ref())).unwrap().check_body(actual).unwrap_err();
        assert_eq!(error, TokenError::DigestMismatch { signed, actual });
        assert_eq!((error.http_status(), error.code()), (403, "digest_mismatch"));
    }
    let text = TokenError::DigestMismatch { signed: None, actual: Some(two) }.to_string();
    assert_eq!(text, format!("the token is for a body with digest none, the call's body has {two}"));
}

#[test]
fn a_call_without_a_token_is_unauthenticated() {
    let operator = Operator::new();
    let error = verify(None, &operator.key.verifying_keys(), REQUEST, operator.now).unwrap_err();
    assert_eq!((error.http_status(), error.code()), (401, "unauthenticated"));
    for authorization in ["", "Bearer", "Basic dXNlcjpwYXNz", "Token abc"] {
        assert_eq!(operator.code(authorization), (401, "unauthenticated"), "{authorization}");
    }
}

#[test]
fn what_is_no_token_of_ours_is_malformed() {
    let operator = Operator::new();
    let none = format!("Bearer {}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#), URL_SAFE_NO_PAD.encode("{}"));
    for authorization in ["Bearer x", "Bearer a.b", "Bearer a.b.c", "Bearer e30.e30.e30", &none, &format!("Bearer {}", "x".repeat(5_000))] {
        assert_eq!(operator.code(authorization), (401, "malformed_token"), "{authorization}");
    }
    for (claim, value) in [
        ("iss", json!("someone")),
        ("iss", Value::Null),
        ("aud", Value::Null),
        ("exp", Value::Null),
        ("exp", json!("soon")),
        ("exp", json!(1_800_000_061)),
        ("exp", json!(u64::MAX)),
        ("method", Value::Null),
        ("digest", json!("sha256:00")),
    ] {
        assert_eq!(operator.code(&operator.token_with(claim, value.clone())), (401, "malformed_token"), "{claim} {value}");
    }
    assert!(operator.verify(&operator.token_with("future", json!(1))).is_ok(), "claims of later releases");
}

#[test]
fn a_signature_of_another_kind_of_thing_is_no_token() {
    let operator = Operator::new();
    let claims = json!({"iss": ISSUER, "aud": REQUEST.instance, "iat": 1_800_000_000, "exp": 1_800_000_060, "method": REQUEST.method, "path": REQUEST.path});
    for signed_type in ["JWT", "checkstack-plugin-set+jws"] {
        assert_eq!(operator.code(&operator.encode(&header(signed_type, &operator.key), &claims)), (401, "malformed_token"));
    }
    let mut without_key = header(TOKEN_TYPE, &operator.key);
    without_key.kid = None;
    assert_eq!(operator.code(&operator.encode(&without_key, &claims)), (401, "malformed_token"));
}

/// The public key is no secret: it must not be of use as one.
#[test]
fn another_algorithm_is_refused() {
    let operator = Operator::new();
    let mut header = header(TOKEN_TYPE, &operator.key);
    header.alg = Algorithm::HS256;
    let secret = jsonwebtoken::EncodingKey::from_secret(operator.key.verifying_keys().to_json().unwrap().as_bytes());
    let token = jsonwebtoken::encode(&header, &json!({}), &secret).unwrap();
    assert_eq!(operator.code(&format!("Bearer {token}")), (401, "malformed_token"));
}

#[test]
fn keys_and_signatures_are_told_apart() {
    let (operator, other) = (Operator::new(), Operator::new());
    assert_eq!(operator.code(&other.token(None)), (401, "unknown_key"));
    let mut header = header(TOKEN_TYPE, &other.key);
    header.kid = Some(operator.key.key_id().into());
    assert_eq!(operator.code(&other.encode(&header, &json!({}))), (401, "bad_signature"));

    let token = operator.token(None);
    let [head, claims, signature]: [&str; 3] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let changed = String::from_utf8(URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap().replace("plugin-set", "reconcile ");
    assert_eq!(operator.code(&format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(changed))), (401, "bad_signature"));
    assert_eq!(operator.code(&format!("{head}.{claims}.{}", URL_SAFE_NO_PAD.encode([0; 64]))), (401, "bad_signature"));
}

#[test]
fn a_token_lives_for_a_minute_give_or_take_the_leeway() {
    let mut operator = Operator::new();
    let token = operator.token(None);
    let signed_at = operator.now;
    for (seconds, expected) in [(0, None), (65, None), (66, Some("expired_token")), (3600, Some("expired_token"))] {
        operator.now = signed_at + Duration::from_secs(seconds);
        assert_eq!(operator.verify(&token).err().map(|error| error.code()), expected, "{seconds} s later");
    }
    for (seconds, expected) in [(5, None), (6, Some("token_not_yet_valid"))] {
        operator.now = signed_at - Duration::from_secs(seconds);
        assert_eq!(operator.verify(&token).err().map(|error| error.code()), expected, "{seconds} s before");
    }
    operator.now = signed_at + Duration::from_secs(100);
    assert_eq!(operator.verify(&token).unwrap_err(), TokenError::Expired(40));
}

#[test]
fn a_token_for_something_else_is_forbidden() {
    let operator = Operator::new();
    let verify = |instance, method, path| {
        let token = sign(&operator.key, instance, method, path, None, operator.now).unwrap();
        let error = operator.verify(&format!("Bearer {token}")).unwrap_err();
        (error.http_status(), error.code())
    };
    assert_eq!(verify("monitoring/other", REQUEST.method, REQUEST.path), (403, "wrong_audience"));
    assert_eq!(verify(REQUEST.instance, "POST", REQUEST.path), (403, "wrong_request"));
    assert_eq!(verify(REQUEST.instance, REQUEST.method, "/.checkstack/reconcile"), (403, "wrong_request"));
    assert_eq!(verify(REQUEST.instance, REQUEST.method, "/.checkstack/plugin-set/"), (403, "wrong_request"));
}

#[test]
fn an_error_becomes_the_body_of_an_answer() {
    let error = ControlError::from(&TokenError::Expired(7));
    assert_eq!(error.error, "expired_token");
    assert_eq!(error.message, "the token has expired; if calls keep failing so, clocks of the nodes differ");
}
