//! Telling the pages that people have open in their browsers that something has happened, on all replicas.
//!
//! Signals are called `<plugin id>.<name>`. A page that is not open is not told, and one that could not keep up loads anew: say what has
//! changed, and let the page ask for it. A payload has at most 64 KiB, and a plugin may send 20 signals a second for long.

use serde::Serialize;

use crate::bindings::checkstack::plugin::signals as host;

/// Why a signal was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name, a payload, a user or a rule that cannot be one.
    #[error("{0}")]
    Invalid(String),
    /// Too much was sent of late.
    #[error("{0}")]
    Limited(String),
    /// The database does not answer; the same call may work later.
    #[error("{0}")]
    Unavailable(String),
}

/// Tells every page that is open, also those of people who have not signed in.
pub fn broadcast<T: Serialize + ?Sized>(name: &str, payload: &T) -> Result<(), Error> {
    Ok(host::broadcast(name, &json(payload)?)?)
}

/// Tells the pages of these users, by their ids.
pub fn send_to_users<T: Serialize + ?Sized>(name: &str, payload: &T, users: &[String]) -> Result<(), Error> {
    Ok(host::send_to_users(name, &json(payload)?, users)?)
}

/// Tells the pages of those of these users who have been granted an access rule: `<resource>.<level>` is one of the plugin's own.
pub fn send_to_authorized_users<T: Serialize + ?Sized>(name: &str, payload: &T, users: &[String], rule: &str) -> Result<(), Error> {
    Ok(host::send_to_authorized_users(name, &json(payload)?, users, rule)?)
}

fn json<T: Serialize + ?Sized>(payload: &T) -> Result<String, Error> {
    serde_json::to_string(payload).map_err(|error| Error::Invalid(error.to_string()))
}

impl From<host::Error> for Error {
    fn from(error: host::Error) -> Self {
        match error {
            host::Error::Invalid(message) => Self::Invalid(message),
            host::Error::Limited(message) => Self::Limited(message),
            host::Error::Unavailable(message) => Self::Unavailable(message),
        }
    }
}
