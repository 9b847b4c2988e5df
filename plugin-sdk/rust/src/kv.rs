//! Small values by key, kept in the instance's database and shared by all replicas.
//!
//! Needs the grant `database`. A key has 1 to 512 bytes, a value at most 1 MiB.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::checkstack::plugin::key_value as host;

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The grant `database` is missing.
    #[error("{0}")]
    Denied(String),
    /// A key, a value or a number that the store does not take.
    #[error("{0}")]
    Invalid(String),
    /// The database does not answer; the same call may work later.
    #[error("{0}")]
    Unavailable(String),
    /// The value under this key cannot be read as what was asked for.
    #[error("the value of key '{0}' cannot be read: {1}")]
    Unexpected(String, String),
}

/// The value of `key`.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    Ok(host::get(key)?)
}

/// The value of `key` as text.
pub fn get_text(key: &str) -> Result<Option<String>, Error> {
    get(key)?.map(String::from_utf8).transpose().map_err(|error| Error::Unexpected(key.to_owned(), error.to_string()))
}

/// The value of `key` read as JSON.
pub fn get_json<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Error> {
    let Some(value) = get(key)? else { return Ok(None) };
    serde_json::from_slice(&value).map(Some).map_err(|error| Error::Unexpected(key.to_owned(), error.to_string()))
}

/// Sets `key`.
pub fn set(key: &str, value: impl AsRef<[u8]>) -> Result<(), Error> {
    Ok(host::set(key, value.as_ref(), None)?)
}

/// Sets `key` for that long, in whole seconds rounded up, at least one.
pub fn set_for(key: &str, value: impl AsRef<[u8]>, time_to_live: Duration) -> Result<(), Error> {
    Ok(host::set(key, value.as_ref(), Some(whole_seconds(time_to_live)))?)
}

/// Sets `key` to a value as JSON.
pub fn set_json<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<(), Error> {
    let value = serde_json::to_vec(value).map_err(|error| Error::Invalid(error.to_string()))?;
    set(key, value)
}

/// Removes `key`; true when there was one.
pub fn delete(key: &str) -> Result<bool, Error> {
    Ok(host::delete(key)?)
}

/// The first `limit` keys, at most 1,000, that begin with `prefix`, in byte order.
pub fn keys(prefix: &str, limit: u32) -> Result<Vec<String>, Error> {
    Ok(host::keys(prefix, None, limit)?)
}

/// The same, of the keys after `after` only: with the last key of one page comes the next.
pub fn keys_after(prefix: &str, after: &str, limit: u32) -> Result<Vec<String>, Error> {
    Ok(host::keys(prefix, Some(after), limit)?)
}

fn whole_seconds(duration: Duration) -> u32 {
    let seconds = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
}

impl From<host::Error> for Error {
    fn from(error: host::Error) -> Self {
        match error {
            host::Error::Denied(message) => Self::Denied(message),
            host::Error::Invalid(message) => Self::Invalid(message),
            host::Error::Unavailable(message) => Self::Unavailable(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_rounded_up() {
        assert_eq!(whole_seconds(Duration::ZERO), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1_001)), 2);
        assert_eq!(whole_seconds(Duration::from_secs(60)), 60);
        assert_eq!(whole_seconds(Duration::MAX), u32::MAX);
    }
}
