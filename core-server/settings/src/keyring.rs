//! The keys that secrets are encrypted with at rest (platform facts §5.3): AES-256-GCM, one key that encrypts, and any
//! number of previous ones that only decrypt.
//!
//! **Rotation.** Make the new key the current one and the old one the first of the previous ones; everything goes on
//! being readable. Then write all records anew ([`SecretFields::reencrypt`](crate::secret::SecretFields::reencrypt));
//! when [`needs_reencryption`](Keyring::needs_reencryption) is false for all of them, the old key can go.
//!
//! **No associated data.** The original's format binds a ciphertext to nothing, and we read and write that format. So
//! the keyring cannot tell when a ciphertext was moved from one record to another. Whoever takes values from a user
//! must not let ciphertexts in: [`SecretFields::encrypt`](crate::secret::SecretFields::encrypt) encrypts whatever a
//! user sends, also what looks like a ciphertext.
//!
//! **How often.** IVs are random, 96 bits: one key is good for some 2³² encryptions (NIST SP 800-38D, 8.3), far more
//! than settings are ever saved.

mod ciphertext;

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use zeroize::{Zeroize as _, Zeroizing};

use self::ciphertext::Ciphertext;
pub use self::ciphertext::is_encrypted;

/// Length of a key.
const KEY_BYTES: usize = 32;

/// One AES-256 key. Its memory is overwritten when it is dropped, and its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct EncryptionKey(Zeroizing<Box<[u8]>>);

/// The current key and the previous ones.
#[derive(Debug, Clone)]
pub struct Keyring {
    current: EncryptionKey,
    previous: Vec<EncryptionKey>,
}

/// Which of the keys of a keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRole {
    /// The one that encrypts.
    Current,
    /// One that only decrypts; its place in the list, from 1.
    Previous(usize),
}

/// Why a text is no key. Has no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no current key.
    #[error("{0} is missing; set it to 64 hexadecimal digits (32 bytes), for example from `openssl rand -hex 32`")]
    Missing(KeyRole),
    /// Too short or too long.
    #[error("{role} has {characters} characters; it must have 64 hexadecimal digits (32 bytes)")]
    Length {
        /// Of which key.
        role: KeyRole,
        /// How many there are.
        characters: usize,
    },
    /// Something else than hexadecimal digits.
    #[error("{0} has characters other than the hexadecimal digits 0-9 and a-f")]
    NotHexadecimal(KeyRole),
}

/// The cryptographic library or the system's randomness failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system could not encrypt")]
pub struct EncryptionError;

/// Why a text was not decrypted. Has no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecryptionError {
    /// It has another form.
    #[error("it is no ciphertext: three base64 texts with a colon between them (12 bytes of IV, 16 of tag, the rest)")]
    Malformed,
    /// No key fits, or it was changed.
    #[error(
        "none of the {keys} known keys decrypts it: restore the key that it was encrypted with as a previous key, or enter the value again"
    )]
    NotAuthentic {
        /// How many were tried.
        keys: usize,
    },
    /// It was not us who encrypted it.
    #[error("it decrypts to bytes that are not UTF-8 text")]
    NotText,
}

impl EncryptionKey {
    /// From 64 hexadecimal digits; `role` is for the error.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_hexadecimal(text: &str, role: KeyRole) -> Result<Self, KeyError> {
        let characters = text.chars().count();
        if characters == 0 {
            return Err(KeyError::Missing(role));
        }
        if characters != 2 * KEY_BYTES {
            return Err(KeyError::Length { role, characters });
        }
        let mut bytes = Zeroizing::new(vec![0; KEY_BYTES].into_boxed_slice());
        hex::decode_to_slice(text, &mut bytes).map_err(|_| KeyError::NotHexadecimal(role))?;
        Ok(Self(bytes))
    }

    fn cipher(&self) -> Option<RandomizedNonceKey> {
        RandomizedNonceKey::new(&AES_256_GCM, &self.0).ok()
    }

    fn open(&self, ciphertext: &Ciphertext) -> Option<Zeroizing<Vec<u8>>> {
        let mut buffer = Zeroizing::new(ciphertext.content_and_tag());
        let length = self.cipher()?.open_in_place(Nonce::from(&ciphertext.iv), Aad::empty(), &mut buffer).ok()?.len();
        buffer.truncate(length);
        Some(buffer)
    }
}

impl Keyring {
    /// With keys that are at hand.
    #[must_use]
    pub fn new(current: EncryptionKey, previous: Vec<EncryptionKey>) -> Self {
        Self { current, previous }
    }

    /// Reads the current key and a list of previous ones with commas between them, as they are in the original's
    /// `ENCRYPTION_MASTER_KEY` and `ENCRYPTION_MASTER_KEY_PREVIOUS`. Space around a key and empty places in the list do
    /// not matter.
    ///
    /// # Errors
    /// When the current key is missing, or any is no key.
    pub fn parse(current: &str, previous: &str) -> Result<Self, KeyError> {
        let current = EncryptionKey::from_hexadecimal(current.trim(), KeyRole::Current)?;
        let listed = previous.split(',').map(str::trim).enumerate().filter(|(_, text)| !text.is_empty());
        let previous = listed.map(|(index, text)| EncryptionKey::from_hexadecimal(text, KeyRole::Previous(index + 1)));
        Ok(Self::new(current, previous.collect::<Result<_, _>>()?))
    }

    /// Encrypts with the current key. Equal texts give different results.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn encrypt(&self, plaintext: &str) -> Result<String, EncryptionError> {
        // Encrypted in place: no copy of the plaintext is left behind.
        let mut content = plaintext.as_bytes().to_vec();
        let sealed = self.current.cipher().and_then(|cipher| cipher.seal_in_place_separate_tag(Aad::empty(), &mut content).ok());
        let Some((nonce, tag)) = sealed else {
            content.zeroize();
            return Err(EncryptionError);
        };
        let tag = tag.as_ref().try_into().map_err(|_| EncryptionError)?;
        Ok(Ciphertext { iv: *nonce.as_ref(), tag, content }.to_string())
    }

    /// Decrypts with the current key, or else with the first of the previous ones that fits.
    ///
    /// # Errors
    /// When it is no ciphertext, no key fits, or it was changed.
    pub fn decrypt(&self, ciphertext: &str) -> Result<Zeroizing<String>, DecryptionError> {
        self.open(ciphertext).map(|(plaintext, _)| plaintext)
    }

    /// Whether a ciphertext is readable only by a previous key, and so must be written anew before that key goes.
    ///
    /// # Errors
    /// As [`decrypt`](Self::decrypt).
    pub fn needs_reencryption(&self, ciphertext: &str) -> Result<bool, DecryptionError> {
        self.open(ciphertext).map(|(_, role)| role != KeyRole::Current)
    }

    fn open(&self, ciphertext: &str) -> Result<(Zeroizing<String>, KeyRole), DecryptionError> {
        let ciphertext: Ciphertext = ciphertext.parse().map_err(|ciphertext::Malformed| DecryptionError::Malformed)?;
        let previous = self.previous.iter().zip(1..).map(|(key, place)| (key, KeyRole::Previous(place)));
        let mut keys = std::iter::once((&self.current, KeyRole::Current)).chain(previous);
        let opened = keys.find_map(|(key, role)| Some((key.open(&ciphertext)?, role)));
        let (bytes, role) = opened.ok_or(DecryptionError::NotAuthentic { keys: 1 + self.previous.len() })?;
        let text = std::str::from_utf8(&bytes).map_err(|_| DecryptionError::NotText)?;
        Ok((Zeroizing::new(text.to_owned()), role))
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("EncryptionKey(..)")
    }
}

impl fmt::Display for KeyRole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => formatter.write_str("the current encryption key"),
            Self::Previous(place) => write!(formatter, "previous encryption key {place}"),
        }
    }
}

#[cfg(test)]
mod tests;
