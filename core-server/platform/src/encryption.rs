//! The keys that secrets in the database are encrypted with, as the operator has mounted them.
//!
//! They are exchanged while the server runs: a key is there as `next` before it encrypts, so that every replica can read what another
//! one has encrypted with it. So the files are read whenever they are used, which is seldom.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use checkstack_control_api::encryption::{CURRENT_KEY_FILE, NEXT_KEY_FILE, PREVIOUS_KEYS_FILE};
use checkstack_settings::keyring::{EncryptionKey, KeyError, KeyRole, Keyring};
use zeroize::Zeroizing;

/// A hundred previous keys.
const MAX_FILE_BYTES: usize = 8 * 1024;

/// The directory that they are in.
#[derive(Debug, Clone)]
pub struct EncryptionKeys {
    directory: PathBuf,
}

/// Why there are none. Has no part of a key.
#[derive(Debug, thiserror::Error)]
pub enum EncryptionKeysError {
    /// Nobody has mounted any.
    #[error("the instance has no encryption key: {0} does not exist (the operator makes the Secret `<instance>-encryption` and mounts it)")]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("the encryption key in {0} cannot be read: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// It is something else.
    #[error("the file {path} is no encryption key: {problem}")]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: KeyError,
    },
}

impl EncryptionKeys {
    /// `directory` need not exist.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The keys as they are now. One that is announced decrypts already.
    ///
    /// # Errors
    /// When there is none, or what is there is none.
    pub async fn keyring(&self) -> Result<Keyring, EncryptionKeysError> {
        let path = self.directory.join(CURRENT_KEY_FILE);
        let current = read(&path).await?.ok_or_else(|| EncryptionKeysError::Missing(path.clone()))?;
        let current = EncryptionKey::from_hexadecimal(current.trim(), KeyRole::Current);
        let current = current.map_err(|problem| EncryptionKeysError::Invalid { path, problem })?;
        let mut others = Vec::new();
        for name in [NEXT_KEY_FILE, PREVIOUS_KEYS_FILE] {
            let path = self.directory.join(name);
            let Some(content) = read(&path).await? else { continue };
            for text in content.split(',').map(str::trim).filter(|text| !text.is_empty()) {
                let key = EncryptionKey::from_hexadecimal(text, KeyRole::Previous(others.len() + 1));
                others.push(key.map_err(|problem| EncryptionKeysError::Invalid { path: path.clone(), problem })?);
            }
        }
        Ok(Keyring::new(current, others))
    }
}

async fn read(path: &Path) -> Result<Option<Zeroizing<String>>, EncryptionKeysError> {
    match tokio::fs::read(path).await.map(Zeroizing::new) {
        Ok(content) if content.len() > MAX_FILE_BYTES => Err(too_large(path)),
        Ok(content) => Ok(Some(Zeroizing::new(String::from_utf8_lossy(&content).into_owned()))),
        Err(problem) if problem.kind() == ErrorKind::NotFound => Ok(None),
        Err(problem) => Err(EncryptionKeysError::Unreadable(path.into(), problem)),
    }
}

fn too_large(path: &Path) -> EncryptionKeysError {
    EncryptionKeysError::Unreadable(
        path.into(),
        std::io::Error::new(ErrorKind::FileTooLarge, format!("it has more than {MAX_FILE_BYTES} bytes")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_decrypts_before_it_encrypts_and_after() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| std::fs::write(directory.path().join(name), content).unwrap();
        let files = EncryptionKeys::new(directory.path().into());
        assert!(matches!(files.keyring().await, Err(EncryptionKeysError::Missing(_))));
        let (one, two) = ("1".repeat(64), "2".repeat(64));

        write(CURRENT_KEY_FILE, &format!("{one}\n"));
        let before = files.keyring().await.unwrap().encrypt("value").unwrap();
        write(NEXT_KEY_FILE, &two);
        let announced = files.keyring().await.unwrap();
        assert!(!announced.needs_reencryption(&announced.encrypt("value").unwrap()).unwrap());

        write(CURRENT_KEY_FILE, &two);
        std::fs::remove_file(directory.path().join(NEXT_KEY_FILE)).unwrap();
        write(PREVIOUS_KEYS_FILE, &format!("{one},"));
        let switched = files.keyring().await.unwrap();
        assert_eq!(*announced.decrypt(&switched.encrypt("new").unwrap()).unwrap(), "new", "who has not heard of the switch reads it");
        assert!(switched.needs_reencryption(&before).unwrap());
    }

    #[tokio::test]
    async fn what_is_no_key_is_named_and_not_shown() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(CURRENT_KEY_FILE), "not-a-key").unwrap();
        let problem = EncryptionKeys::new(directory.path().into()).keyring().await.unwrap_err().to_string();
        assert!(problem.contains("/current") && !problem.contains("not-a-key"), "{problem}");
        std::fs::write(directory.path().join(CURRENT_KEY_FILE), "1".repeat(MAX_FILE_BYTES + 1)).unwrap();
        assert!(matches!(EncryptionKeys::new(directory.path().into()).keyring().await, Err(EncryptionKeysError::Unreadable(..))));
    }
}
