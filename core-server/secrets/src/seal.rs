//! How a secret is encrypted: together with its name, so that one cannot be put in the place of another in the database.

use checkstack_settings::keyring::{DecryptionError, EncryptionError, Keyring};
use checkstack_settings::reference::SecretName;
use checkstack_settings::secret::SecretString;
use zeroize::Zeroizing;

/// No name has it.
const SEPARATOR: char = ':';

/// Why a ciphertext does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenError {
    /// See there.
    #[error(transparent)]
    Decryption(#[from] DecryptionError),
    /// Somebody has moved it.
    #[error("what is stored under this name is the value of another secret: set it anew, and find out who has changed the database")]
    OfAnother,
}

/// A ciphertext of `value`.
pub(crate) fn seal(keyring: &Keyring, name: &SecretName, value: &SecretString) -> Result<String, EncryptionError> {
    keyring.encrypt(&Zeroizing::new(format!("{name}{SEPARATOR}{}", value.reveal())))
}

/// What [`seal`] was given.
pub(crate) fn open(keyring: &Keyring, name: &SecretName, ciphertext: &str) -> Result<SecretString, OpenError> {
    let plaintext = keyring.decrypt(ciphertext)?;
    match plaintext.split_once(SEPARATOR) {
        Some((of, value)) if of == name.as_str() => Ok(value.into()),
        _ => Err(OpenError::OfAnother),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_under_its_own_name_alone() {
        let keyring = Keyring::parse(&"a".repeat(64), "").unwrap();
        let (smtp, api): (SecretName, SecretName) = ("smtp".parse().unwrap(), "api".parse().unwrap());
        let sealed = seal(&keyring, &smtp, &"pass:word".into()).unwrap();
        assert_eq!(open(&keyring, &smtp, &sealed).unwrap().reveal(), "pass:word");
        assert_eq!(open(&keyring, &api, &sealed), Err(OpenError::OfAnother));
        let other = Keyring::parse(&"b".repeat(64), "").unwrap();
        assert_eq!(open(&other, &smtp, &sealed), Err(OpenError::Decryption(DecryptionError::NotAuthentic { keys: 1 })));
    }
}
