//! The keys that the operator has given to this pod, as mounted files.
//!
//! Public keys are exchanged while the server runs: a new one appears in the file, and later the old
//! one goes away. So they are read again when they are used, and the pod's report says which ones it
//! accepts; the operator signs with a new key when all pods say that they do.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use checkstack_control_api::keys::{PUBLIC_KEYS_FILE, SEALING_KEY_FILE};
use checkstack_control_api::token::{self, ExpectedRequest};
use checkstack_control_api::{KeyError, SealingKey, TokenError, VerifiedRequest, VerifyingKeys};
use tracing::{info, warn};

/// Public keys that were read longer ago than this are read again before they are used.
const REREAD: Duration = Duration::from_secs(2);

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file that cannot be read.
    #[error("the key file {path} cannot be read: {error}")]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file with something else in it.
    #[error(transparent)]
    Invalid(#[from] KeyError),
}

/// The keys of this instance.
pub(crate) struct Keys {
    directory: PathBuf,
    verifying: ArcSwap<VerifyingKeys>,
    read: Mutex<Instant>,
    reread: Duration,
    pub(crate) sealing: SealingKey,
}

impl Keys {
    pub(crate) async fn read(directory: &Path) -> Result<Self, KeysError> {
        let verifying = read_verifying(directory).await?;
        let sealing = SealingKey::from_bytes(&read_file(&directory.join(SEALING_KEY_FILE)).await?)?;
        Ok(Self {
            directory: directory.into(),
            verifying: ArcSwap::from_pointee(verifying),
            read: Mutex::new(Instant::now()),
            reread: REREAD,
            sealing,
        })
    }

    /// The public keys as they are in the file, at most a moment ago.
    pub(crate) async fn verifying(&self) -> Arc<VerifyingKeys> {
        if self.is_time_to_read() {
            self.read_again().await;
        }
        self.verifying.load_full()
    }

    /// Checks the token of a request.
    pub(crate) async fn verify(&self, authorization: Option<&str>, request: ExpectedRequest<'_>) -> Result<VerifiedRequest, TokenError> {
        token::verify(authorization, &*self.verifying().await, request, SystemTime::now())
    }

    /// Says so to one caller at a time.
    fn is_time_to_read(&self) -> bool {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = read.elapsed() >= self.reread;
        if is_time {
            *read = Instant::now();
        }
        is_time
    }

    /// Keys that cannot be read leave those that are known in force.
    async fn read_again(&self) {
        match read_verifying(&self.directory).await {
            Ok(keys) if keys.key_ids().eq(self.verifying.load().key_ids()) => {}
            Ok(keys) => {
                info!(?keys, "the public keys have changed");
                self.verifying.store(Arc::new(keys));
            }
            Err(error) => warn!(%error, "the public keys cannot be read again; the ones before stay in force"),
        }
    }
}

async fn read_verifying(directory: &Path) -> Result<VerifyingKeys, KeysError> {
    Ok(VerifyingKeys::from_json(&read_file(&directory.join(PUBLIC_KEYS_FILE)).await?)?)
}

async fn read_file(path: &Path) -> Result<Vec<u8>, KeysError> {
    tokio::fs::read(path).await.map_err(|error| KeysError::Unreadable { path: path.into(), error })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use checkstack_control_api::{SigningKey, paths};
    use tempfile::TempDir;

    use super::*;

    const CALL: ExpectedRequest<'static> = ExpectedRequest { instance: "monitoring/main", method: "POST", path: paths::RECONCILE };

    /// What the kubelet mounts, and the server that reads it.
    struct Mounted {
        directory: TempDir,
        keys: Keys,
    }

    impl Mounted {
        async fn with(public: &VerifyingKeys, reread: Duration) -> Self {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join(SEALING_KEY_FILE), SealingKey::generate().unwrap().as_bytes()).unwrap();
            std::fs::write(directory.path().join(PUBLIC_KEYS_FILE), public.to_json().unwrap()).unwrap();
            let keys = Keys { reread, ..Keys::read(directory.path()).await.unwrap() };
            Self { directory, keys }
        }

        fn change(&self, public: &[u8]) {
            std::fs::write(self.directory.path().join(PUBLIC_KEYS_FILE), public).unwrap();
        }

        async fn accepts(&self, key: &SigningKey) -> Result<(), &'static str> {
            let token = token::sign(key, CALL.instance, CALL.method, CALL.path, None, SystemTime::now()).unwrap();
            let verified = self.keys.verify(Some(&format!("Bearer {token}")), CALL).await;
            verified.map(drop).map_err(|error| error.code())
        }
    }

    #[tokio::test]
    async fn keys_come_and_go_without_a_restart() {
        let (old, new) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let mounted = Mounted::with(&old.verifying_keys(), Duration::ZERO).await;
        assert_eq!((mounted.accepts(&old).await, mounted.accepts(&new).await), (Ok(()), Err("unknown_key")));
        mounted.change(old.verifying_keys().with(new.verifying_keys()).to_json().unwrap().as_bytes());
        assert_eq!(mounted.keys.verifying().await.key_ids().count(), 2);
        assert_eq!((mounted.accepts(&old).await, mounted.accepts(&new).await), (Ok(()), Ok(())));
        // The old one does not count any longer, though nobody has used an unknown one.
        mounted.change(new.verifying_keys().to_json().unwrap().as_bytes());
        assert_eq!((mounted.accepts(&old).await, mounted.accepts(&new).await), (Err("unknown_key"), Ok(())));
    }

    #[tokio::test]
    async fn the_file_is_not_read_for_every_call() {
        let (old, new) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let mounted = Mounted::with(&old.verifying_keys(), Duration::from_secs(3600)).await;
        mounted.change(new.verifying_keys().to_json().unwrap().as_bytes());
        assert_eq!((mounted.accepts(&old).await, mounted.accepts(&new).await), (Ok(()), Err("unknown_key")));
    }

    #[tokio::test]
    async fn keys_that_cannot_be_read_leave_those_before_in_force() {
        let key = SigningKey::generate().unwrap();
        let mounted = Mounted::with(&key.verifying_keys(), Duration::ZERO).await;
        mounted.change(br#"{"keys": []}"#);
        assert_eq!(mounted.accepts(&key).await, Ok(()));
        std::fs::remove_file(mounted.directory.path().join(PUBLIC_KEYS_FILE)).unwrap();
        assert_eq!(mounted.accepts(&key).await, Ok(()));
    }
}
