//! Outgoing HTTP to the hosts that `spec.grants.http` allows.
//!
//! Redirects are answered, not followed: their target needs a grant of its own.
//!
//! ```no_run
//! use std::time::Duration;
//! use checkstack_plugin::http;
//!
//! # fn f() -> Result<(), http::Error> {
//! let response = http::get("https://api.example.org/weather").timeout(Duration::from_secs(2)).send()?;
//! if response.is_success() {
//!     let degrees: f64 = http::json(&response)?;
//! }
//! # Ok(()) }
//! ```

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Response;
use crate::bindings::checkstack::plugin::{http_client as host, types};

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No grant covers this host, or its address is one that grants must name by CIDR.
    #[error("{0}")]
    Denied(String),
    /// Not a URL, method, header or body that can be sent.
    #[error("{0}")]
    Invalid(String),
    /// No connection, no name, a broken answer.
    #[error("{0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("{0}")]
    Timeout(String),
    /// The answer is larger than 8 MiB.
    #[error("{0}")]
    TooLarge(String),
    /// The answer cannot be read as what was asked for.
    #[error("the answer is not as expected: {0}")]
    Unexpected(String),
}

/// A request that has not been sent.
#[derive(Debug, Clone)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Result<Vec<u8>, String>,
    timeout: Option<Duration>,
}

/// A `GET` of an absolute URL.
pub fn get(url: impl Into<String>) -> Request {
    request("GET", url)
}

/// A `POST` to an absolute URL.
pub fn post(url: impl Into<String>) -> Request {
    request("POST", url)
}

/// Any method, upper case.
pub fn request(method: impl Into<String>, url: impl Into<String>) -> Request {
    Request { method: method.into(), url: url.into(), headers: Vec::new(), body: Ok(Vec::new()), timeout: None }
}

impl Request {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Ok(body.into());
        self
    }

    /// Sets the body to a value as JSON, with its content type.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        self.body = serde_json::to_vec(value).map_err(|error| error.to_string());
        self.header("content-type", "application/json")
    }

    /// The time for the whole exchange. The server's limit is 30 s, which is the default; the
    /// deadline of the call that this plugin is answering ends it too.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends it and waits for the answer, whatever its status.
    pub fn send(self) -> Result<Response, Error> {
        let milliseconds = |timeout: Duration| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
        let response = host::send(&host::OutgoingRequest {
            method: self.method,
            url: self.url,
            headers: to_host(self.headers),
            body: self.body.map_err(Error::Invalid)?,
            timeout: self.timeout.map(milliseconds),
        })?;
        Ok(response.into())
    }
}

/// The body of an answer read as JSON.
pub fn json<T: DeserializeOwned>(response: &Response) -> Result<T, Error> {
    response.json().map_err(|error| Error::Unexpected(error.to_string()))
}

pub(crate) fn to_host(headers: Vec<(String, String)>) -> Vec<types::Header> {
    headers.into_iter().map(|(name, value)| types::Header { name, value }).collect()
}

pub(crate) fn from_host(headers: Vec<types::Header>) -> Vec<(String, String)> {
    headers.into_iter().map(|header| (header.name, header.value)).collect()
}

impl From<types::Response> for Response {
    fn from(response: types::Response) -> Self {
        Self { status: response.status, headers: from_host(response.headers), body: response.body }
    }
}

impl From<host::Error> for Error {
    fn from(error: host::Error) -> Self {
        match error {
            host::Error::Denied(message) => Self::Denied(message),
            host::Error::Invalid(message) => Self::Invalid(message),
            host::Error::Unreachable(message) => Self::Unreachable(message),
            host::Error::Timeout(message) => Self::Timeout(message),
            host::Error::TooLarge(message) => Self::TooLarge(message),
        }
    }
}
