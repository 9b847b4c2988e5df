//! Guessing passwords is made slow, on all replicas together: an address, or a user who changes a password, may fail so often within
//! some minutes. An attempt is counted in the database before the password is looked at; while the database does not answer nobody
//! can try at all.

use std::time::Duration;

use moka::sync::Cache;
use tracing::warn;
use uuid::Uuid;

use crate::credential::{SecretDigest, sha256};
use crate::password::{PasswordError, Passwords};
use crate::store::{Store, StoreError};

/// Failures with one address,
const MAX_FAILURES: u32 = 10;
/// within this time.
pub(crate) const FAILURES_WITHIN: Duration = Duration::from_secs(300);
/// Who may not try is told so for this long without asking the database again.
const BELIEVED: Duration = Duration::from_secs(1);
const MAX_BELIEVED: u64 = 10_000;

/// See the module.
pub(crate) struct SignInAttempts {
    store: Store,
    refused: Cache<SecretDigest, ()>,
}

/// An attempt that is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt(pub(crate) SecretDigest);

impl Attempt {
    /// To sign in with an address, in whatever case.
    pub(crate) fn with(email: &str) -> Self {
        Self(sha256(email.to_lowercase().as_bytes()))
    }

    /// To show that one is a user. No address has this form.
    fn of(user: Uuid) -> Self {
        Self(sha256(&[b"user\0", user.as_bytes().as_slice()].concat()))
    }
}

impl SignInAttempts {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, refused: Cache::builder().max_capacity(MAX_BELIEVED).time_to_live(BELIEVED).build() }
    }

    /// To sign in. None: there have been too many. Else a failure from now on, unless it is said to be something else.
    pub(crate) async fn begin(&self, email: &str) -> Result<Option<Attempt>, StoreError> {
        self.begin_attempt(Attempt::with(email)).await
    }

    /// To change the own password, as [`Self::begin`].
    pub(crate) async fn begin_change(&self, user: Uuid) -> Result<Option<Attempt>, StoreError> {
        self.begin_attempt(Attempt::of(user)).await
    }

    async fn begin_attempt(&self, attempt: Attempt) -> Result<Option<Attempt>, StoreError> {
        if self.refused.contains_key(&attempt.0) {
            return Ok(None);
        }
        let may = self.store.count_attempt(attempt.0, MAX_FAILURES, FAILURES_WITHIN).await?;
        if !may {
            self.refused.insert(attempt.0, ());
        }
        Ok(may.then_some(attempt))
    }

    /// Whether a password is the one that was hashed. When it was not looked at, the attempt does not count.
    pub(crate) async fn check(
        &self,
        attempt: Attempt,
        passwords: &Passwords,
        password: String,
        expected: Option<String>,
    ) -> Result<bool, PasswordError> {
        let checked = passwords.is(password, expected).await;
        if checked.is_err() {
            let given_back = self.store.give_attempt_back(attempt.0).await;
            given_back.inspect_err(|problem| warn!(%problem, "an attempt to sign in counts that was not made")).ok();
        }
        checked
    }

    /// It was no guess.
    pub(crate) async fn succeeded(&self, attempt: Attempt) -> Result<(), StoreError> {
        self.store.forget_attempts(attempt.0).await
    }

    /// Forgets what counts no longer; how many.
    pub(crate) async fn sweep(&self) -> Result<u64, StoreError> {
        self.store.sweep_attempts(FAILURES_WITHIN).await
    }
}
