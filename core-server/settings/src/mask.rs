//! Output without secrets (platform facts §5.5): wherever a secret occurs in what a plugin writes, `****` is shown.
//!
//! A secret is found as it is and in the forms that programs print it in: as part of a JSON text, percent-encoded, in
//! base64 also as a part of something longer (`user:password`). Where occurrences overlap, one `****` stands for all of
//! them together, so that nothing of either is left. A secret of fewer than four characters is not masked: it would
//! be found everywhere, and tell itself by what is missing.
//!
//! Masking is the last line of defence, not the first: a program that prints its secret reversed, compressed or one
//! character a line is not stopped by it.

mod encodings;
mod stream;

use std::borrow::Cow;
use std::fmt;

use aho_corasick::MatchKind;
use aho_corasick::automaton::Automaton as _;
use aho_corasick::nfa::contiguous::NFA;
use serde_json::{Map, Value};

use self::encodings::encodings;
pub use self::stream::MaskStream;

/// What is shown in place of a secret.
pub const MASK: &str = "****";
/// Shorter secrets are not masked. In characters.
pub const MIN_CHARACTERS: usize = 4;
/// What all forms of all secrets may come to, in bytes. To find them takes several times as much memory.
pub const MAX_PATTERN_BYTES: usize = 4 * 1024 * 1024;

/// Finds secrets. Its `Debug` shows none of them; its memory is not overwritten when it is dropped.
pub struct Masker {
    automaton: NFA,
}

/// Why there is no masker. Output must not be shown then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// Too many secrets, or too long ones.
    #[error(
        "the secrets to mask and their encodings have {bytes} bytes; {MAX_PATTERN_BYTES} are allowed: refer to fewer or shorter secrets"
    )]
    TooLong {
        /// What they come to, or more.
        bytes: usize,
    },
    /// The automaton was not built.
    #[error("the secrets to mask are too many")]
    TooMany,
}

impl Masker {
    /// For these secrets.
    ///
    /// # Errors
    /// When they are too many or too long.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Result<Self, MaskError> {
        let mut patterns = Vec::new();
        let mut bytes: usize = 0;
        for secret in secrets.into_iter().filter(|secret| secret.chars().count() >= MIN_CHARACTERS) {
            bytes = bytes.saturating_add(secret.len());
            if bytes <= MAX_PATTERN_BYTES {
                let encodings = encodings(secret);
                bytes = encodings.iter().fold(bytes - secret.len(), |bytes, encoding| bytes.saturating_add(encoding.len()));
                patterns.extend(encodings);
            }
            if bytes > MAX_PATTERN_BYTES {
                return Err(MaskError::TooLong { bytes });
            }
        }
        Self::of_patterns(&patterns)
    }

    fn of_patterns<P: AsRef<[u8]>>(patterns: &[P]) -> Result<Self, MaskError> {
        // All matches are wanted, not the leftmost: they may overlap.
        let mut builder = NFA::builder();
        let built = builder.match_kind(MatchKind::Standard).prefilter(false).build(patterns);
        built.map(|automaton| Self { automaton }).map_err(|_| MaskError::TooMany)
    }

    /// A text without secrets.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // Secrets are text, and so is what is between them.
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// Bytes without secrets.
    #[must_use]
    pub fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut stream = self.stream();
        let mut masked = stream.push(bytes);
        masked.append(&mut stream.finish());
        if masked == bytes { Cow::Borrowed(bytes) } else { Cow::Owned(masked) }
    }

    /// A JSON value without secrets: in its texts, the names of its fields, and its numbers, which become text then.
    #[must_use]
    pub fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text).into_owned()),
            Value::Number(number) => {
                let text = number.to_string();
                match self.text(&text) {
                    Cow::Borrowed(_) => Value::Number(number),
                    Cow::Owned(masked) => Value::String(masked),
                }
            }
            Value::Array(elements) => Value::Array(elements.into_iter().map(|element| self.value(element)).collect()),
            Value::Object(fields) => {
                let masked = fields.into_iter().map(|(name, value)| (self.text(&name).into_owned(), self.value(value)));
                Value::Object(masked.collect::<Map<_, _>>())
            }
            other => other,
        }
    }

    /// For output that comes in parts.
    #[must_use]
    pub fn stream(&self) -> MaskStream<'_> {
        MaskStream::new(&self.automaton)
    }
}

impl fmt::Debug for Masker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Masker").field("patterns", &self.automaton.patterns_len()).finish()
    }
}

#[cfg(test)]
mod tests;
