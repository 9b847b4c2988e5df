//! The password of a plugin's login role, as PostgreSQL stores it.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use checkstack_control_api::DatabasePassword;

/// What PostgreSQL uses itself. The password has 256 bits of its own; nothing is gained by more.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();

/// For `CREATE ROLE … PASSWORD`: the verifier of RFC 5803, so that the password itself is in no
/// statement and in no log of the database.
pub(crate) fn verifier(password: &DatabasePassword, salt: [u8; 16]) -> String {
    scram_sha_256(password.expose(), salt)
}

fn scram_sha_256(password: &str, salt: [u8; 16]) -> String {
    let mut salted = [0; digest::SHA256_OUTPUT_LEN];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, &salt, password.as_bytes(), &mut salted);
    let salted = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let stored_key = digest::digest(&digest::SHA256, hmac::sign(&salted, b"Client Key").as_ref());
    let server_key = hmac::sign(&salted, b"Server Key");
    format!("SCRAM-SHA-256${ITERATIONS}:{}${}:{}", STANDARD.encode(salt), STANDARD.encode(stored_key), STANDARD.encode(server_key))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's hashlib and hmac.
    #[test]
    fn the_verifier_has_the_form_that_postgresql_stores() {
        let expected = "SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$nQpbZ77WudtqufPwikHXGRt6g2QJ4zns8bZLw273DRM=:jn2amWP1q1h+jgjy0YTO14S6/F02SV7taipOeB7ef20=";
        assert_eq!(scram_sha_256("pencil", *b"0123456789abcdef"), expected);
    }
}
