//! Settings of the platform and its native parts: pure functions of what is stored, what a user sends, and the keys.
//!
//! - [`record`] is what is stored: JSON with the version of its format, brought to the newest version when it is read.
//! - [`secret`] finds the fields that a schema marks as secret, and encrypts, decrypts, redacts and keeps them, with the
//!   keys of a [`keyring`].
//! - [`mod@reference`] puts secrets into a configuration where it says `${{ secrets.NAME }}`, at the last moment.
//! - [`mask`] keeps all of them out of what is shown.
//! - [`annotation`] has the keywords by which a schema says such things.
//!
//! Who reads a setting migrates it, decrypts it and validates it, in this order: migrations move ciphertexts around as
//! they are, and the schema is about what was encrypted.
//!
//! Secrets do not occur in errors and `Debug`. Memory is overwritten for keys, [`secret::SecretString`] and what
//! [`mod@reference`] resolves; JSON values with secrets on their way through are not. Values and schemas are walked through
//! by recursion: they must come from a parser that limits their depth, as `serde_json` does (128).

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests"))]

pub mod annotation;
mod description;
pub mod keyring;
pub mod mask;
mod path;
pub mod record;
pub mod reference;
pub mod secret;

pub use path::ValuePath;
