//! Tokens as a forger would make them.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{EncodingKey, encode};
use serde_json::json;

use super::*;

const ISSUER: &str = "https://id.example.com";
const EXPECTED: Expected<'_> = Expected { issuer: ISSUER, client_id: "checkstack", nonce: "n", algorithms: &[Algorithm::ES256] };

/// A provider with one key.
struct Signer {
    private: EncodingKey,
    public: Jwk,
}

impl Signer {
    fn new(kid: &str) -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
        let point = pair.public_key().as_ref();
        let public = json!({
            "kty": "EC", "crv": "P-256", "kid": kid, "alg": "ES256", "use": "sig",
            "x": BASE64.encode(&point[1..33]), "y": BASE64.encode(&point[33..]),
        });
        Self { private: EncodingKey::from_ec_der(pkcs8.as_ref()), public: serde_json::from_value(public).unwrap() }
    }

    fn sign(&self, claims: &Value) -> String {
        encode(&Header { kid: self.public.common.key_id.clone(), ..Header::new(Algorithm::ES256) }, claims, &self.private).unwrap()
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "sub": "ada", "aud": "checkstack", "nonce": "n", "iat": now(), "exp": now() + 300, "groups": ["ops"] })
}

fn judged(token: &str, signer: &Signer) -> Result<Map<String, Value>, String> {
    verify(token, &signer.public, EXPECTED, SystemTime::now()).map_err(|problem| problem.to_string())
}

#[test]
fn a_token_of_the_provider_for_this_sign_in_counts() {
    let signer = Signer::new("a");
    assert_eq!(judged(&signer.sign(&claims()), &signer).unwrap()["groups"], json!(["ops"]));
    for (field, value) in [("aud", json!(["checkstack"])), ("azp", json!("checkstack")), ("exp", json!(now() - 30))] {
        let mut claims = claims();
        claims[field] = value;
        assert!(judged(&signer.sign(&claims), &signer).is_ok(), "{field}");
    }
}

#[test]
fn what_another_time_party_or_sign_in_was_meant_for_does_not_count() {
    let signer = Signer::new("a");
    for (field, value, why) in [
        ("exp", json!(now() - 61), "ExpiredSignature"),
        ("exp", Value::Null, "Missing required claim: exp"),
        ("nbf", json!(now() + 120), "ImmatureSignature"),
        ("iat", json!(now() + 120), "made in the future"),
        ("iat", Value::Null, "JSON error"),
        ("iss", json!("https://evil.example"), "InvalidIssuer"),
        ("iss", json!(format!("{ISSUER}/")), "InvalidIssuer"),
        ("iss", Value::Null, "Missing required claim: iss"),
        ("aud", json!("another"), "InvalidAudience"),
        ("aud", Value::Null, "Missing required claim: aud"),
        ("aud", json!(["checkstack", "another"]), "for several"),
        ("azp", json!("another"), "for several"),
        ("nonce", json!("m"), "another sign-in"),
        ("nonce", Value::Null, "another sign-in"),
        ("sub", json!(""), "its subject"),
        ("sub", json!("a".repeat(256)), "its subject"),
        ("sub", json!(7), "Missing required claim: sub"),
    ] {
        let mut claims = claims();
        claims[field] = value.clone();
        let problem = judged(&signer.sign(&claims), &signer).unwrap_err();
        assert!(problem.contains(why), "{field} {value}: {problem}");
    }
    let later = SystemTime::now() + Duration::from_secs(1);
    assert!(verify(&signer.sign(&claims()), &signer.public, EXPECTED, later).is_ok());
}

#[test]
fn what_the_provider_has_not_signed_does_not_count() {
    let (signer, forger) = (Signer::new("a"), Signer::new("a"));
    assert_eq!(judged(&forger.sign(&claims()), &signer).unwrap_err(), "InvalidSignature");
    let token = signer.sign(&claims());
    let (head, signature) = token.rsplit_once('.').unwrap();
    let header = head.split_once('.').unwrap().0;
    let mut other = claims();
    other["sub"] = json!("root");
    let changed = format!("{header}.{}.{signature}", BASE64.encode(other.to_string()));
    assert_eq!(judged(&changed, &signer).unwrap_err(), "InvalidSignature");
    // No signature at all, and one with a secret: the public key, which everybody knows.
    let unsigned = format!("{}.{}.", BASE64.encode(r#"{"alg":"none"}"#), BASE64.encode(claims().to_string()));
    assert!(judged(&unsigned, &signer).is_err());
    let secret = EncodingKey::from_secret(serde_json::to_string(&signer.public).unwrap().as_bytes());
    let confused = encode(&Header { kid: Some("a".into()), ..Header::new(Algorithm::HS256) }, &claims(), &secret).unwrap();
    assert!(judged(&confused, &signer).unwrap_err().contains("HS256, which the provider does not say"));
    for broken in ["", ".", "..", "a.b.c", &token[..token.len() - 5], &format!("{token}.")] {
        assert!(judged(broken, &signer).is_err(), "{broken}");
    }
}

#[test]
fn a_key_is_taken_by_its_id_for_what_it_is_for() {
    let (one, other) = (Signer::new("one").public, Signer::new("other").public);
    let header = |kid: Option<&str>, algorithm| Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    let keys = [one.clone(), other.clone()];
    assert_eq!(key_of(&header(Some("other"), Algorithm::ES256), &keys), Some(&other));
    assert_eq!(key_of(&header(Some("unknown"), Algorithm::ES256), &keys), None);
    assert_eq!(key_of(&header(Some("other"), Algorithm::ES384), &keys), None, "it is for another algorithm");
    assert_eq!(key_of(&header(Some("other"), Algorithm::RS256), &keys), None);
    assert_eq!(key_of(&header(None, Algorithm::ES256), &keys), None, "it may be either");
    assert_eq!(key_of(&header(None, Algorithm::ES256), std::slice::from_ref(&one)), Some(&one));
    let mut encrypting = one;
    encrypting.common.public_key_use = Some(PublicKeyUse::Encryption);
    assert_eq!(key_of(&header(Some("one"), Algorithm::ES256), &[encrypting]), None);
}

#[test]
fn secrets_that_both_sides_know_are_no_signatures() {
    let named = |names: &[&str]| algorithms(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    assert_eq!(named(&["none", "HS256", "ES256", "RS256", "XY"]), [Algorithm::ES256, Algorithm::RS256]);
    assert_eq!(named(&[]), [Algorithm::RS256]);
    assert!(named(&["HS256"]).is_empty());
}
