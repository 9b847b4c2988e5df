//! Secrets that pods keep in the database: encrypted with a key that only the pods of the instance have, and bound to what they
//! belong to. Who may write the database can neither read them nor put one in the place of another.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use crate::derived;
use crate::keys::SealingKey;

/// The first byte of what is stored. Another form gets another number.
const FORM: u8 = 1;

/// Encrypts what is stored for one purpose.
#[derive(Clone)]
pub struct AtRestKey(Zeroizing<[u8; 32]>);

/// Why a secret is not encrypted or decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AtRestError {
    /// Encryption failed.
    #[error("the secret could not be encrypted")]
    Encryption,
    /// Encrypted with another key, for something else, by another release, or changed since.
    #[error("the stored secret was not encrypted with this instance's key for what it is stored with, or was changed")]
    NotAuthentic,
}

impl SealingKey {
    /// The key for the private keys that tokens of services are signed with.
    pub fn service_keys_key(&self) -> AtRestKey {
        AtRestKey(derived::bytes(self, "service-keys", &[]))
    }
}

impl AtRestKey {
    /// Encrypts `secret`, which belongs to `context`: the limits between its parts count.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn seal(&self, context: &[&[u8]], secret: &[u8]) -> Result<Vec<u8>, AtRestError> {
        let mut buffer = secret.to_vec();
        let cipher = self.cipher().ok_or(AtRestError::Encryption)?;
        // Encrypted in place: no copy of the secret is left behind.
        let nonce = cipher.seal_in_place_append_tag(associated_data(context), &mut buffer).map_err(|_| AtRestError::Encryption)?;
        Ok([&[FORM], nonce.as_ref().as_slice(), &buffer].concat())
    }

    /// Decrypts what [`Self::seal`] made for the same context.
    ///
    /// # Errors
    /// When it is something else.
    pub fn open(&self, context: &[&[u8]], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, AtRestError> {
        let content = sealed.strip_prefix(&[FORM]).ok_or(AtRestError::NotAuthentic)?;
        let (nonce, ciphertext) = content.split_first_chunk::<NONCE_LEN>().ok_or(AtRestError::NotAuthentic)?;
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let cipher = self.cipher().ok_or(AtRestError::NotAuthentic)?;
        let opened = cipher.open_in_place(Nonce::from(nonce), associated_data(context), &mut buffer);
        let length = opened.map_err(|_| AtRestError::NotAuthentic)?.len();
        buffer.truncate(length);
        Ok(buffer)
    }

    fn cipher(&self) -> Option<RandomizedNonceKey> {
        RandomizedNonceKey::new(&AES_256_GCM, &*self.0).ok()
    }
}

fn associated_data(context: &[&[u8]]) -> Aad<Vec<u8>> {
    let part = |part: &&[u8]| [&(part.len() as u64).to_be_bytes(), *part].concat();
    Aad::from(context.iter().flat_map(part).collect())
}

impl fmt::Debug for AtRestKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AtRestKey(…)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn key(byte: u8) -> AtRestKey {
        SealingKey::from_bytes(&[byte; 32]).unwrap().service_keys_key()
    }

    #[test]
    fn a_secret_is_opened_with_the_same_key_for_the_same_thing_only() {
        let sealed = key(1).seal(&[b"id", b"public"], b"private").unwrap();
        assert_eq!(key(1).open(&[b"id", b"public"], &sealed).unwrap().as_slice(), b"private");
        assert!(!sealed.windows(7).any(|part| part == b"private"));
        assert_ne!(sealed, key(1).seal(&[b"id", b"public"], b"private").unwrap(), "the nonce is random");
        assert_eq!(key(2).open(&[b"id", b"public"], &sealed), Err(AtRestError::NotAuthentic));
        for other in [&[b"id".as_slice(), b"other"][..], &[b"idp", b"ublic"], &[b"idpublic"], &[b"id"], &[]] {
            assert_eq!(key(1).open(other, &sealed), Err(AtRestError::NotAuthentic));
        }
    }

    #[test]
    fn every_change_is_noticed() {
        let sealed = key(1).seal(&[], b"private").unwrap();
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            assert_eq!(key(1).open(&[], &changed), Err(AtRestError::NotAuthentic), "{position}");
            assert_eq!(key(1).open(&[], &sealed[..position]), Err(AtRestError::NotAuthentic), "{position}");
        }
        assert_eq!(format!("{:?}", key(1)), "AtRestKey(…)");
    }
}
