//! The keys that the operator has given to this pod, as mounted files.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use checkstack_control_api::keys::{PUBLIC_KEYS_FILE, SEALING_KEY_FILE};
use checkstack_control_api::token::{self, ExpectedRequest};
use checkstack_control_api::{KeyError, SealingKey, TokenError, VerifiedRequest, VerifyingKeys};
use tracing::{info, warn};

/// A token by an unknown key makes the file be read again, but not more often than this.
const REREAD: Duration = Duration::from_secs(5);

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
    pub(crate) sealing: SealingKey,
}

impl Keys {
    pub(crate) async fn read(directory: &Path) -> Result<Self, KeysError> {
        let verifying = read_verifying(directory).await?;
        let sealing = SealingKey::from_bytes(&read_file(&directory.join(SEALING_KEY_FILE)).await?)?;
        Ok(Self { directory: directory.into(), verifying: ArcSwap::from_pointee(verifying), read: Mutex::new(Instant::now()), sealing })
    }

    pub(crate) fn verifying(&self) -> Arc<VerifyingKeys> {
        self.verifying.load_full()
    }

    /// Checks the token of a request. Keys are exchanged while the server runs: one that is not
    /// known may just have been mounted.
    pub(crate) async fn verify(&self, authorization: Option<&str>, request: ExpectedRequest<'_>) -> Result<VerifiedRequest, TokenError> {
        let verify = || token::verify(authorization, &self.verifying.load(), request, SystemTime::now());
        match verify() {
            Err(TokenError::UnknownKey(_)) if self.read_again().await => verify(),
            result => result,
        }
    }

    async fn read_again(&self) -> bool {
        {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            if read.elapsed() < REREAD {
                return false;
            }
            *read = Instant::now();
        }
        match read_verifying(&self.directory).await {
            Ok(keys) => {
                info!(?keys, "read the public keys again");
                self.verifying.store(Arc::new(keys));
                true
            }
            Err(error) => {
                warn!(%error, "the public keys could not be read again");
                false
            }
        }
    }
}

async fn read_verifying(directory: &Path) -> Result<VerifyingKeys, KeysError> {
    Ok(VerifyingKeys::from_json(&read_file(&directory.join(PUBLIC_KEYS_FILE)).await?)?)
}

async fn read_file(path: &Path) -> Result<Vec<u8>, KeysError> {
    tokio::fs::read(path).await.map_err(|error| KeysError::Unreadable { path: path.into(), error })
}
