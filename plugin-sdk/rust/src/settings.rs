//! What a plugin is told while it runs and has to remember: values by id, each in a format that may change.
//!
//! Needs the grant `database`. All replicas share them. An id has 1 to 255 bytes, a value at most 1 MiB as JSON, and
//! there are at most 1,000 of them.
//!
//! A release that raises the version of a format ([`Versioned`]) finds what an older one has written, migrates it
//! once and keeps both. When the plugin is put back, the older release finds its own record, as it left it; what
//! that one then writes counts, and is migrated again later.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::checkstack::plugin::settings as host;
use crate::versioned::{VersionError, Versioned};

/// So often a value is migrated again that somebody else changes meanwhile.
const ATTEMPTS: u32 = 5;

/// Why a setting was not read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The grant `database` is missing.
    #[error("{0}")]
    Denied(String),
    /// An id or a value that is not taken.
    #[error("{0}")]
    Invalid(String),
    /// What is stored under this id cannot be used.
    #[error("the setting '{0}' cannot be used: {1}")]
    Unusable(String, VersionError),
    /// The database does not answer; the same call may work later.
    #[error("{0}")]
    Unavailable(String),
}

/// The value of `id`, brought up to date.
pub fn get<T: DeserializeOwned>(id: &str, format: &Versioned<T>) -> Result<Option<T>, Error> {
    let unusable = |error| Error::Unusable(id.to_owned(), error);
    let version = format.version();
    let refused = |error| match error {
        host::Error::Denied(message) => Error::Denied(message),
        host::Error::Invalid(message) => Error::Invalid(message),
        host::Error::Newer(newer) => unusable(VersionError::Newer(newer, version)),
        host::Error::Unavailable(message) => Error::Unavailable(message),
    };
    let mut found = host::get(id, version).map_err(refused)?;
    for _ in 0..ATTEMPTS {
        let Some(setting) = found else { return Ok(None) };
        let data: Value = serde_json::from_str(&setting.data).map_err(|error| unusable(VersionError::Unexpected(error.to_string())))?;
        if setting.version == version {
            return format.parse(version, data).map(Some).map_err(unusable);
        }
        let migrated = format.migrate(setting.version, data).map_err(unusable)?;
        // What could not be read later is not stored.
        format.parse(version, migrated.clone()).map_err(unusable)?;
        found = host::migrate(id, &setting, version, &migrated.to_string()).map_err(refused)?;
    }
    Err(Error::Unavailable(format!("the setting '{id}' is changed by others all the time")))
}

/// Sets `id`, for all replicas.
pub fn set<T: Serialize + DeserializeOwned>(id: &str, format: &Versioned<T>, value: &T) -> Result<(), Error> {
    let data = serde_json::to_string(value).map_err(|error| Error::Invalid(error.to_string()))?;
    host::set(id, format.version(), &data).map_err(written)
}

/// Removes `id`, in all versions; true when there was one.
pub fn delete(id: &str) -> Result<bool, Error> {
    host::delete(id).map_err(written)
}

/// The first `limit` ids, at most 1,000, in byte order.
pub fn ids(limit: u32) -> Result<Vec<String>, Error> {
    host::ids(None, limit).map_err(written)
}

/// The same, of the ids after `after` only: with the last of one page comes the next.
pub fn ids_after(after: &str, limit: u32) -> Result<Vec<String>, Error> {
    host::ids(Some(after), limit).map_err(written)
}

fn written(error: host::Error) -> Error {
    match error {
        host::Error::Denied(message) => Error::Denied(message),
        host::Error::Invalid(message) => Error::Invalid(message),
        host::Error::Newer(version) => Error::Invalid(format!("there is a newer version, {version}")),
        host::Error::Unavailable(message) => Error::Unavailable(message),
    }
}
