//! Secrets by name in a configuration: `${{ secrets.NAME }}` (platform facts §5.5).
//!
//! A reference is a whole text or a part of one, in any text at any depth; names of fields are left alone. A name has
//! letters of ASCII, digits, `_` and `-`. White space around it, within the braces, does not matter; there is none
//! around the dot. Text that begins as a reference and is none is an error: it would be sent out as it is otherwise.
//!
//! Secrets are put in at the last moment, by [`resolve`], and only once: what a secret looks like does not matter. The
//! result knows which secrets it has, so that what is made of it can be [masked](crate::mask).

mod name;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;
use zeroize::Zeroize as _;

pub use self::name::{INTERNAL_PREFIX, InvalidName, SecretKey, SecretName};
use self::template::{Part, parts};
use crate::mask::{MaskError, Masker};
use crate::path::ValuePath;
use crate::secret::SecretString;

/// How many bytes all texts with references may come to, with the secrets in them.
pub const MAX_RESOLVED_BYTES: usize = 16 * 1024 * 1024;

/// A configuration with the secrets in it. Its `Debug` shows nothing, and its memory is overwritten when it is dropped.
pub struct Resolved {
    value: Value,
    secrets: BTreeMap<SecretName, SecretString>,
}

/// Why references were not found or resolved. Has no secrets, and no text of the configuration but names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// There is no such secret.
    #[error("there is no secret `{name}`, which `{path}` refers to: create it, or correct the name")]
    Missing {
        /// The one.
        name: SecretName,
        /// Where it is referred to, first.
        path: ValuePath,
    },
    /// It begins as a reference and is none.
    #[error(
        "`{path}` has a malformed reference: write `${{{{ secrets.NAME }}}}`, where NAME has only the characters a-z, A-Z, 0-9, _ and -"
    )]
    Malformed {
        /// Where.
        path: ValuePath,
    },
    /// Large secrets, many times.
    #[error(
        "with its secrets the configuration has more than {MAX_RESOLVED_BYTES} bytes, reached at `{path}`: refer to fewer or smaller secrets"
    )]
    TooLarge {
        /// Where it became too large.
        path: ValuePath,
    },
}

/// The names that a configuration refers to, each with the first place.
///
/// # Errors
/// When a reference is malformed.
pub fn find(value: &Value) -> Result<BTreeMap<SecretName, ValuePath>, ReferenceError> {
    let mut names = BTreeMap::new();
    find_in(value, &ValuePath::root(), &mut names)?;
    Ok(names)
}

fn find_in(value: &Value, path: &ValuePath, names: &mut BTreeMap<SecretName, ValuePath>) -> Result<(), ReferenceError> {
    match value {
        Value::String(text) => {
            for part in parts(text) {
                match part.map_err(|template::Malformed| ReferenceError::Malformed { path: path.clone() })? {
                    Part::Text(_) => {}
                    Part::Reference(name) => _ = names.entry(name).or_insert_with(|| path.clone()),
                }
            }
            Ok(())
        }
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| find_in(value, &path.then(name.as_str()), names)),
        Value::Array(elements) => elements.iter().enumerate().try_for_each(|(index, element)| find_in(element, &path.then(index), names)),
        _ => Ok(()),
    }
}

/// Puts secrets in. Each name is looked up once; all names before anything is put in.
///
/// # Errors
/// When there is no secret of a name, a reference is malformed, or the result would be too large.
pub fn resolve(value: Value, mut look_up: impl FnMut(&SecretName) -> Option<SecretString>) -> Result<Resolved, ReferenceError> {
    let names = find(&value)?;
    let looked_up = names.into_iter().map(|(name, path)| match look_up(&name) {
        Some(secret) => Ok((name, secret)),
        None => Err(ReferenceError::Missing { name, path }),
    });
    let secrets = looked_up.collect::<Result<_, _>>()?;
    let mut resolved = Resolved { value, secrets };
    let mut bytes = 0;
    put_in(&mut resolved.value, &ValuePath::root(), &resolved.secrets, &mut bytes)?;
    Ok(resolved)
}

fn put_in(
    value: &mut Value,
    path: &ValuePath,
    secrets: &BTreeMap<SecretName, SecretString>,
    bytes: &mut usize,
) -> Result<(), ReferenceError> {
    match value {
        Value::String(text) => {
            let parts: Vec<&str> = parts(text)
                .filter_map(|part| match part.ok()? {
                    Part::Text(text) => Some(text),
                    Part::Reference(name) => secrets.get(&name).map(SecretString::reveal),
                })
                .collect();
            if parts.as_slice() != [text.as_str()] {
                *bytes = parts.iter().fold(*bytes, |bytes, part| bytes.saturating_add(part.len()));
                if *bytes > MAX_RESOLVED_BYTES {
                    return Err(ReferenceError::TooLarge { path: path.clone() });
                }
                *text = parts.concat();
            }
            Ok(())
        }
        Value::Object(fields) => fields.iter_mut().try_for_each(|(name, value)| put_in(value, &path.then(name.as_str()), secrets, bytes)),
        Value::Array(elements) => {
            elements.iter_mut().enumerate().try_for_each(|(index, element)| put_in(element, &path.then(index), secrets, bytes))
        }
        _ => Ok(()),
    }
}

impl Resolved {
    /// The configuration.
    #[must_use]
    pub fn reveal(&self) -> &Value {
        &self.value
    }

    /// The configuration, for who needs it as his own. Its memory is his to care for.
    #[must_use]
    pub fn into_revealed(mut self) -> Value {
        self.value.take()
    }

    /// Which secrets it has.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&SecretName> {
        self.secrets.keys().collect()
    }

    /// The secrets themselves.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        self.secrets.values()
    }

    /// Keeps its secrets out of what is shown.
    ///
    /// # Errors
    /// When they are too long.
    pub fn masker(&self) -> Result<Masker, MaskError> {
        Masker::new(self.secrets().map(SecretString::reveal))
    }
}

impl Drop for Resolved {
    fn drop(&mut self) {
        overwrite(&mut self.value);
    }
}

fn overwrite(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(elements) => elements.iter_mut().for_each(overwrite),
        Value::Object(fields) => fields.values_mut().for_each(overwrite),
        _ => {}
    }
}

impl fmt::Debug for Resolved {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Resolved").field("names", &self.names()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
