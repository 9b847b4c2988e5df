//! A token: `{alg: RS256, kid}`, `{service, iat, exp}`, and the signature.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use checkstack_plugin_package::PluginId;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::key::{KeyFault, SigningKey};

/// Clocks of pods differ.
const LEEWAY_SECONDS: u64 = 5;
/// Ours are shorter.
const MAX_BYTES: usize = 2048;
/// What makes a token one of a service.
const SERVICE: &str = "service";

/// What claims to show which plugin sends a request. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ServiceToken(String);

#[derive(Deserialize)]
struct Claims {
    service: PluginId,
    /// Has to be there, as in those that we sign.
    #[expect(dead_code, reason = "only whether it is there matters")]
    iat: u64,
}

/// Shows that a request is one of `service`.
pub(super) fn sign(key: &SigningKey, service: &PluginId, lifetime: Duration, now: SystemTime) -> Result<String, KeyFault> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": key.id().to_string() });
    let claims = json!({ SERVICE: service, "iat": now, "exp": now.saturating_add(lifetime.as_secs()) });
    let [header, claims] = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
    let message = format!("{header}.{claims}");
    let signature = BASE64_URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes())?);
    Ok(format!("{message}.{signature}"))
}

impl ServiceToken {
    /// What looks like one: three parts, of which the second names a service. Whether it counts is another question.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
        if text.len() > MAX_BYTES || parts.next().is_some() {
            return None;
        }
        // Whoever pads it means the same.
        let claims = BASE64_URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
        let claims: Map<String, Value> = serde_json::from_slice(&claims).ok()?;
        claims.contains_key(SERVICE).then(|| Self(text.to_owned()))
    }

    /// The key that it says it is signed with. None: it is not signed as ours are.
    pub(super) fn key_id(&self) -> Option<Uuid> {
        let header = jsonwebtoken::decode_header(&self.0).ok().filter(|header| header.alg == Algorithm::RS256)?;
        let id = header.kid?;
        // Other ways to write a UUID are not ours.
        Uuid::try_parse(&id).ok().filter(|parsed| parsed.to_string() == id)
    }

    /// Which plugin it shows, if it was signed with this key and its time is not over.
    pub(super) fn verify(&self, key: &DecodingKey) -> Option<PluginId> {
        let mut validation = Validation::new(Algorithm::RS256);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp"]);
        jsonwebtoken::decode::<Claims>(&self.0, key, &validation).ok().map(|token| token.claims.service)
    }

    /// For a digest.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for ServiceToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ServiceToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use checkstack_control_api::{AtRestKey, SealingKey};
    use jsonwebtoken::{EncodingKey, Header};
    use proptest::prelude::*;

    use super::*;
    use crate::service_keys::key::NewKey;

    const LIFETIME: Duration = Duration::from_secs(300);

    fn at_rest() -> AtRestKey {
        SealingKey::from_bytes(&[1; 32]).unwrap().service_keys_key()
    }

    fn key() -> (NewKey, SigningKey) {
        let stored = NewKey::generate(&at_rest()).unwrap();
        let signing = stored.signing_key(&at_rest()).unwrap();
        (stored, signing)
    }

    fn uptime() -> PluginId {
        "uptime".parse().unwrap()
    }

    fn shown(text: &str, key: &NewKey) -> Option<PluginId> {
        let token = ServiceToken::parse(text)?;
        token.key_id().filter(|id| *id == key.public.id)?;
        token.verify(&key.public.decoding_key())
    }

    fn signed(header: &Value, claims: &Value, key: &SigningKey) -> String {
        let [header, claims] = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        let message = format!("{header}.{claims}");
        format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()).unwrap()))
    }

    #[test]
    fn a_token_says_which_service_for_five_minutes() {
        let (stored, signing) = key();
        let now = SystemTime::now();
        let token = sign(&signing, &uptime(), LIFETIME, now).unwrap();
        assert_eq!(shown(&token, &stored), Some(uptime()));
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!((header.alg, header.kid), (Algorithm::RS256, Some(stored.public.id.to_string())));
        let claims: Map<String, Value> = jsonwebtoken::dangerous::insecure_decode_claims(&token).unwrap();
        let seconds = now.duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(Value::Object(claims), json!({ "service": "uptime", "iat": seconds, "exp": seconds + 300 }));
        assert!(!format!("{:?}", ServiceToken::parse(&token).unwrap()).contains(&token));

        assert_eq!(shown(&sign(&signing, &uptime(), LIFETIME, now - Duration::from_secs(298)).unwrap(), &stored), Some(uptime()));
        assert_eq!(shown(&sign(&signing, &uptime(), LIFETIME, now - Duration::from_secs(310)).unwrap(), &stored), None, "expired");
    }

    #[test]
    fn what_was_not_signed_so_shows_nothing() {
        let ((stored, signing), (_, other)) = (key(), key());
        let id = stored.public.id.to_string();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({ "service": "uptime", "iat": now, "exp": now + 60 });
        let header = json!({ "alg": "RS256", "kid": id });
        assert_eq!(shown(&signed(&header, &claims, &signing), &stored), Some(uptime()));
        assert_eq!(shown(&signed(&header, &claims, &other), &stored), None, "by another key");
        for header in [
            json!({ "alg": "none", "kid": id }),
            json!({ "alg": "HS256", "kid": id }),
            json!({ "alg": "RS512", "kid": id }),
            json!({ "alg": "PS256", "kid": id }),
            json!({ "alg": "RS256" }),
            json!({ "alg": "RS256", "kid": id.to_uppercase() }),
            json!({ "alg": "RS256", "kid": id.replace('-', "") }),
            json!({ "alg": "RS256", "kid": "1" }),
        ] {
            assert_eq!(shown(&signed(&header, &claims, &signing), &stored), None, "{header}");
        }
        for claims in [
            json!({ "service": "uptime", "iat": now }),
            json!({ "service": "uptime", "exp": now + 60 }),
            json!({ "service": "", "iat": now, "exp": now + 60 }),
            json!({ "service": "No Plugin", "iat": now, "exp": now + 60 }),
            json!({ "service": ["uptime"], "iat": now, "exp": now + 60 }),
            json!({ "service": "uptime", "iat": now, "exp": now - 10 }),
            json!({ "service": "uptime", "iat": now, "exp": now + 60, "nbf": now + 30 }),
            json!({ "sub": "uptime", "iat": now, "exp": now + 60 }),
        ] {
            assert_eq!(shown(&signed(&header, &claims, &signing), &stored), None, "{claims}");
        }
    }

    /// Whoever knows the public key, which is everybody, uses it as the secret that both sides share.
    #[test]
    fn the_public_key_is_no_secret_to_sign_with() {
        let (stored, _) = key();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({ "service": "uptime", "iat": now, "exp": now + 60 });
        let header = Header { kid: Some(stored.public.id.to_string()), ..Header::new(Algorithm::HS256) };
        for secret in
            [stored.public.modulus.clone(), stored.public.jwk()["n"].as_str().unwrap().into(), stored.public.jwk().to_string().into()]
        {
            let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&secret)).unwrap();
            assert_eq!(shown(&token, &stored), None);
            // Under the name of the right algorithm.
            let (_, rest) = token.split_once('.').unwrap();
            let renamed = BASE64_URL_SAFE_NO_PAD.encode(json!({ "alg": "RS256", "kid": stored.public.id.to_string() }).to_string());
            assert_eq!(shown(&format!("{renamed}.{rest}"), &stored), None);
        }
    }

    #[test]
    fn tokens_of_others_are_told_from_ours() {
        let of = |claims: &str| format!("e30.{}.x", BASE64_URL_SAFE_NO_PAD.encode(claims));
        assert!(ServiceToken::parse(&of(r#"{"service": 1}"#)).is_some());
        assert!(ServiceToken::parse(&format!("e30.{}==.", BASE64_URL_SAFE_NO_PAD.encode(r#"{"service": 1}"#))).is_some());
        for other in ["", "a.b", "a.b.c", "a.b.c.d", &of("{}"), &of(r#"{"sub": "service"}"#), &of(r#"["service"]"#), &of("\"service\"")] {
            assert!(ServiceToken::parse(other).is_none(), "{other}");
        }
        let long = of(&json!({ "service": "x".repeat(MAX_BYTES) }).to_string());
        assert!(ServiceToken::parse(&long).is_none());
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "[a-zA-Z0-9_=.{}\":-]{0,300}") {
            if let Some(token) = ServiceToken::parse(&text) {
                prop_assert_eq!(token.key_id(), None);
            }
        }

        #[test]
        fn a_changed_token_shows_nothing(position in 0_usize..600, bit in 0_u8..7) {
            static KEY: std::sync::LazyLock<(NewKey, String)> = std::sync::LazyLock::new(|| {
                let (stored, signing) = key();
                let token = sign(&signing, &uptime(), LIFETIME, SystemTime::now()).unwrap();
                (stored, token)
            });
            let (stored, token) = &*KEY;
            let mut bytes = token.clone().into_bytes();
            let position = position % bytes.len();
            bytes[position] ^= 1 << bit;
            let changed = String::from_utf8(bytes).unwrap();
            // The last digit has bits that mean nothing; strict decoders refuse them.
            prop_assert_eq!(shown(&changed, stored), None);
        }
    }
}
