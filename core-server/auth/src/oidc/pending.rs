//! What a browser keeps between the beginning and the end of a sign-in: a cookie with a tag that only the instance's replicas can
//! make. Nothing is stored here, so that nobody can fill it; and a code of the provider counts once anyway.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use checkstack_control_api::MacKey;
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::return_to::ReturnTo;
use crate::cookies;

/// How long one has at the provider.
pub(super) const LIFETIME: Duration = Duration::from_secs(600);
/// Random bytes of each secret: 256 bits, 43 characters (RFC 7636 wants at least as many).
const SECRET_BYTES: usize = 32;
/// Longer cookies are none of ours.
const MAX_COOKIE_BYTES: usize = 4096;

/// A sign-in that has begun.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    /// Comes back with the browser: it was this one that began.
    pub(super) state: String,
    /// Comes back in the token: it was made for this sign-in.
    pub(super) nonce: String,
    /// Of PKCE: shown to the provider with the code.
    pub(super) code_verifier: String,
    pub(super) return_to: ReturnTo,
    /// Seconds since 1970.
    expires_at: u64,
}

impl Pending {
    pub(super) fn begin(return_to: ReturnTo, now: SystemTime) -> Self {
        let secret = || BASE64.encode(rand::random::<[u8; SECRET_BYTES]>());
        let expires_at = seconds(now) + LIFETIME.as_secs();
        Self { state: secret(), nonce: secret(), code_verifier: secret(), return_to, expires_at }
    }

    /// For the provider, with the method `S256`.
    pub(super) fn code_challenge(&self) -> String {
        BASE64.encode(digest(&SHA256, self.code_verifier.as_bytes()))
    }

    /// For the cookie.
    pub(super) fn sealed(&self, key: &MacKey) -> String {
        let content = BASE64.encode(serde_json::to_vec(self).unwrap_or_default());
        let tag = BASE64.encode(key.tag(&[content.as_bytes()]));
        format!("{content}.{tag}")
    }

    /// From the cookies of a request, unless its time is over.
    pub(super) fn of(headers: &HeaderMap, key: &MacKey, now: SystemTime) -> Option<Self> {
        let cookie = cookies::find(headers, cookies::PENDING_SIGN_IN).filter(|text| text.len() <= MAX_COOKIE_BYTES)?;
        let (content, tag) = cookie.split_once('.')?;
        key.verify(&[content.as_bytes()], &BASE64.decode(tag).ok()?).ok()?;
        let pending: Self = serde_json::from_slice(&BASE64.decode(content).ok()?).ok()?;
        (seconds(now) < pending.expires_at).then_some(pending)
    }

    /// Whether it was this sign-in that the browser comes back from.
    pub(super) fn is_of(&self, state: &str) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.state.as_bytes(), state.as_bytes()).is_ok()
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use checkstack_control_api::SealingKey;
    use http::{HeaderValue, header};
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> MacKey {
        SealingKey::from_bytes(&[byte; 32]).unwrap().pending_sign_in_key()
    }

    fn sent(cookie: &str) -> HeaderMap {
        let value = HeaderValue::from_str(&format!("a=1; {}={cookie}", cookies::PENDING_SIGN_IN)).unwrap();
        HeaderMap::from_iter([(header::COOKIE, value)])
    }

    #[test]
    fn a_sign_in_is_found_by_its_browser_for_ten_minutes() {
        let now = SystemTime::now();
        let pending = Pending::begin(ReturnTo::parse("/systems").unwrap(), now);
        let cookie = sent(&pending.sealed(&key(1)));
        let found = Pending::of(&cookie, &key(1), now + LIFETIME - Duration::from_secs(1)).unwrap();
        assert!(found == pending && found.is_of(&pending.state) && !found.is_of("another"));
        assert!(Pending::of(&cookie, &key(1), now + LIFETIME).is_none(), "too late");
        assert!(Pending::of(&cookie, &key(2), now).is_none(), "of another instance");
        assert!(Pending::of(&HeaderMap::new(), &key(1), now).is_none());
        let other = Pending::begin(ReturnTo::default(), now);
        let secrets = [&pending.state, &pending.nonce, &pending.code_verifier, &other.state, &other.nonce, &other.code_verifier];
        assert_eq!(secrets.iter().collect::<std::collections::BTreeSet<_>>().len(), 6);
        assert!(secrets.iter().all(|secret| secret.len() == 43));
    }

    #[test]
    fn the_challenge_is_that_of_the_standard() {
        let code_verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned();
        let pending = Pending { code_verifier, ..Pending::begin(ReturnTo::default(), SystemTime::now()) };
        assert_eq!(pending.code_challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "RFC 7636, appendix B");
    }

    proptest! {
        #[test]
        fn no_changed_cookie_counts(position in 0_usize..500, replacement in "[A-Za-z0-9_.-]") {
            let sealed = Pending::begin(ReturnTo::default(), SystemTime::now()).sealed(&key(1));
            let position = position % sealed.len();
            let mut changed = sealed.clone();
            changed.replace_range(position..=position, &replacement);
            let found = Pending::of(&sent(&changed), &key(1), SystemTime::now());
            prop_assert_eq!(found.is_some(), changed == sealed);
        }
    }
}
