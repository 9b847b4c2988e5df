//! The plugin set that is mounted into the pod: what it starts with, before an operator speaks.

use std::io;
use std::path::{Path, PathBuf};

use checkstack_control_api::VerifyingKeys;
use checkstack_control_api::set_signature::{self, SET_FILE, SIGNATURE_FILE, SetSignatureError};
use checkstack_plugin_package::PluginSet;
use checkstack_plugin_package::plugin_set::InvalidPluginSet;

/// A ConfigMap has at most 1 MiB.
const MAX_BYTES: u64 = 2 * 1024 * 1024;

/// Why a mounted set is not used.
#[derive(Debug, thiserror::Error)]
pub enum MountedSetError {
    /// Without the signature, or not readable.
    #[error("{path} cannot be read: {error}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Not a set.
    #[error(transparent)]
    Invalid(#[from] InvalidPluginSet),
    /// Not what the operator has signed.
    #[error(transparent)]
    NotSigned(#[from] SetSignatureError),
    /// Another instance's.
    #[error("the mounted plugin set is for instance '{found}', this is '{expected}'")]
    WrongInstance {
        /// The set's.
        found: String,
        /// This one.
        expected: String,
    },
}

/// The set in `directory`; none when there is no file.
pub(crate) async fn read(directory: &Path, instance: &str, keys: &VerifyingKeys) -> Result<Option<PluginSet>, MountedSetError> {
    let document = match read_file(&directory.join(SET_FILE)).await {
        Err(MountedSetError::Unreadable { error, .. }) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let set = PluginSet::from_json(&document)?;
    let signature = read_file(&directory.join(SIGNATURE_FILE)).await?;
    set_signature::verify(&set, &String::from_utf8_lossy(&signature), keys)?;
    match set.instance == instance {
        true => Ok(Some(set)),
        false => Err(MountedSetError::WrongInstance { found: set.instance, expected: instance.into() }),
    }
}

async fn read_file(path: &Path) -> Result<Vec<u8>, MountedSetError> {
    let read = async {
        if tokio::fs::metadata(path).await?.len() > MAX_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {MAX_BYTES} bytes")));
        }
        tokio::fs::read(path).await
    };
    read.await.map_err(|error| MountedSetError::Unreadable { path: path.into(), error })
}
