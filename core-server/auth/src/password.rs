//! Passwords of users: which are good enough (platform facts §6.7), and how they are kept.

use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use tokio::sync::Semaphore;

/// Each takes 19 MiB and a thread for some 20 ms.
const AT_A_TIME: usize = 2;
/// For one's turn.
const WAIT: Duration = Duration::from_secs(3);

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a password has 8 to 128 characters, among them an upper-case letter, a lower-case letter and a digit")]
pub(crate) struct WeakPassword;

/// Why a password was neither hashed nor compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PasswordError {
    /// Others come first, and are too many.
    #[error("too many passwords are being checked")]
    Busy,
    /// A fault of the server.
    #[error("{0}")]
    Internal(String),
}

/// Whether it is good enough.
pub(crate) fn check_strength(password: &str) -> Result<(), WeakPassword> {
    let has = |kind: fn(&char) -> bool| password.chars().any(|character| kind(&character));
    let is_good = (8..=128).contains(&password.chars().count())
        && has(|character| character.is_uppercase())
        && has(|character| character.is_lowercase())
        && has(char::is_ascii_digit);
    if is_good { Ok(()) } else { Err(WeakPassword) }
}

/// Hashes and compares, a few at a time.
pub(crate) struct Passwords {
    turns: Semaphore,
    wait: Duration,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        Self { turns: Semaphore::new(AT_A_TIME), wait: WAIT }
    }

    /// In PHC form.
    pub(crate) async fn hash(&self, password: String) -> Result<String, PasswordError> {
        self.in_turn(move || hash(&password)).await?
    }

    /// Whether it is the one that was hashed. For one who has none it takes as long, and is false.
    pub(crate) async fn is(&self, password: String, expected: Option<String>) -> Result<bool, PasswordError> {
        let compare = move || match expected.as_deref().map(PasswordHash::new) {
            Some(Ok(expected)) => Ok(Argon2::default().verify_password(password.as_bytes(), &expected).is_ok()),
            Some(Err(problem)) => Err(PasswordError::Internal(format!("a stored password cannot be read: {problem}"))),
            None => hash(&password).map(|_| false),
        };
        self.in_turn(compare).await?
    }

    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PasswordError> {
        let turn = tokio::time::timeout(self.wait, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| PasswordError::Busy)?.map_err(|_| PasswordError::Busy)?;
        tokio::task::spawn_blocking(work).await.map_err(|problem| PasswordError::Internal(problem.to_string()))
    }
}

fn hash(password: &str) -> Result<String, PasswordError> {
    let internal = |problem: argon2::password_hash::Error| PasswordError::Internal(problem.to_string());
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).map_err(internal)?;
    Ok(Argon2::default().hash_password(password.as_bytes(), &salt).map_err(internal)?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_letters_of_both_cases_and_a_digit() {
        for good in ["Passw0rd", "Ümlaut1x", &format!("aA1{}", "x".repeat(125))] {
            assert_eq!(check_strength(good), Ok(()), "{good}");
        }
        for weak in ["", "Passw0r", "password1", "PASSWORD1", "Password", &format!("aA1{}", "x".repeat(126))] {
            assert_eq!(check_strength(weak), Err(WeakPassword), "{weak}");
        }
    }

    #[tokio::test]
    async fn a_password_is_known_by_its_hash() {
        let passwords = Passwords::new();
        let hash = passwords.hash("Passw0rd".into()).await.unwrap();
        // What OWASP asks for: 19 MiB, two passes.
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(passwords.hash("Passw0rd".into()).await.unwrap(), hash, "salted");
        assert_eq!(passwords.is("Passw0rd".into(), Some(hash.clone())).await, Ok(true));
        assert_eq!(passwords.is("Passw0rd ".into(), Some(hash)).await, Ok(false));
        assert_eq!(passwords.is("Passw0rd".into(), None).await, Ok(false));
        assert!(matches!(passwords.is("a".into(), Some("none".into())).await, Err(PasswordError::Internal(_))));
    }

    #[tokio::test]
    async fn who_waits_too_long_is_told() {
        let passwords = Passwords { wait: Duration::from_millis(20), ..Passwords::new() };
        let _all = passwords.turns.acquire_many(2).await.unwrap();
        assert_eq!(passwords.hash("Passw0rd".into()).await, Err(PasswordError::Busy));
    }
}
