//! Copies of what is expensive to get again: `<key>` to bytes, in the memory of each replica.
//!
//! An entry may be gone at any time: the plugin's share is full, its time is over, or another replica has set or deleted it. What one replica
//! changes, the others forget within a moment. A key has 1 to 512 bytes, a value at most 1 MiB.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::checkstack::plugin::cache as host;

/// Why the cache did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A key, a value or a time that the cache does not take.
    #[error("{0}")]
    Invalid(String),
    /// The other replicas could not be told. Here it is done.
    #[error("{0}")]
    Unavailable(String),
}

/// The value of `key`.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    Ok(host::get(key)?)
}

/// The value of `key` read as JSON. What cannot be read as that is none: it was made by another version of the plugin.
pub fn get_json<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Error> {
    Ok(get(key)?.and_then(|value| serde_json::from_slice(&value).ok()))
}

/// Sets `key` for that long, and no longer than there is room.
pub fn set_for(key: &str, value: impl AsRef<[u8]>, time_to_live: Duration) -> Result<(), Error> {
    Ok(host::set(key, value.as_ref(), Some(milliseconds(time_to_live)))?)
}

/// Sets `key` for as long as there is room.
pub fn set(key: &str, value: impl AsRef<[u8]>) -> Result<(), Error> {
    Ok(host::set(key, value.as_ref(), None)?)
}

/// Sets `key` to a value as JSON, for that long and no longer than there is room.
pub fn set_json_for<T: Serialize + ?Sized>(key: &str, value: &T, time_to_live: Duration) -> Result<(), Error> {
    let value = serde_json::to_vec(value).map_err(|error| Error::Invalid(error.to_string()))?;
    set_for(key, value, time_to_live)
}

/// Deletes `key`, in all replicas; true when there was one in this.
pub fn delete(key: &str) -> Result<bool, Error> {
    Ok(host::delete(key)?)
}

/// Deletes all keys that begin with `prefix`, in all replicas; how many there were in this.
pub fn delete_by_prefix(prefix: &str) -> Result<u64, Error> {
    Ok(host::delete_by_prefix(prefix)?)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX)
}

impl From<host::Error> for Error {
    fn from(error: host::Error) -> Self {
        match error {
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
        assert_eq!(milliseconds(Duration::from_micros(1)), 1);
        assert_eq!(milliseconds(Duration::from_millis(1_500)), 1_500);
        assert_eq!(milliseconds(Duration::MAX), u64::MAX);
    }
}
