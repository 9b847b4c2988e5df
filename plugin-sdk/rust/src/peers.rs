//! Requests to the plugins that this one names in `checkstack.dependencies` of its `package.json`.
//!
//! ```no_run
//! use checkstack_plugin::peers;
//!
//! # fn f() -> Result<(), peers::Error> {
//! // A procedure of its contract,
//! let history: serde_json::Value = peers::call_procedure("uptime", "targets/history", &serde_json::json!({ "target": "website" }))?;
//! // or any other request that it answers.
//! let page = peers::get("status-page", "/").query("limit", "10").send()?;
//! # Ok(()) }
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::checkstack::plugin::plugins as host;
use crate::{Response, http, percent};

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a dependency of this plugin.
    #[error("{0}")]
    Denied(String),
    /// It is not running at the moment.
    #[error("{0}")]
    Unavailable(String),
    /// It did not answer in time, or failed while answering.
    #[error("{0}")]
    Failed(String),
    /// The procedure was called, and says no.
    #[error("the other plugin says {code}: {message}")]
    Refused {
        /// `NOT_FOUND`, `CONFLICT`, …
        code: String,
        /// For a person.
        message: String,
    },
    /// The request or the answer is not as expected.
    #[error("{0}")]
    Unexpected(String),
}

/// A request to another plugin that has not been sent.
#[derive(Debug, Clone)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    plugin_id: String,
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Result<Vec<u8>, String>,
}

/// Calls a procedure of another plugin. An input or output that is not there is `()`.
///
/// `checkstack client PACKAGE --language rust --for plugin` makes functions of the procedures of a plugin, with their types.
pub fn call_procedure<O: DeserializeOwned>(plugin_id: &str, procedure: &str, input: &(impl Serialize + ?Sized)) -> Result<O, Error> {
    let answer = post(plugin_id, &format!("/{procedure}")).json(&Envelope { json: input }).send()?;
    output(&answer)
}

/// What a call and its answer are wrapped in.
#[derive(serde::Serialize, serde::Deserialize)]
struct Envelope<T> {
    json: T,
}

/// An answer, with notes of types that JSON lacks: `[type, path…]`.
#[derive(serde::Deserialize)]
struct Noted {
    #[serde(default)]
    json: Value,
    #[serde(default)]
    meta: Vec<Vec<Value>>,
}

/// All such types are texts and arrays, which is what they are for serde; only a big integer, of type 0, is a text and should be a number.
fn restore_big_integers(json: &mut Value, meta: &[Vec<Value>]) {
    for note in meta {
        let Some((kind, path)) = note.split_first() else { continue };
        let place = path.iter().try_fold(&mut *json, |value, segment| match segment {
            Value::String(name) => value.get_mut(name.as_str()),
            index => value.get_mut(usize::try_from(index.as_u64()?).ok()?),
        });
        if let (Some(0), Some(place)) = (kind.as_u64(), place) {
            let digits = place.as_str().unwrap_or_default();
            let number = digits.parse::<i64>().map(Value::from).or_else(|_| digits.parse::<u64>().map(Value::from));
            if let Ok(number) = number {
                *place = number;
            }
        }
    }
}

#[derive(serde::Deserialize)]
struct Refusal {
    code: String,
    message: String,
}

fn output<O: DeserializeOwned>(answer: &Response) -> Result<O, Error> {
    let unexpected = |error: &dyn std::fmt::Display| Error::Unexpected(format!("the other plugin's answer is not as expected: {error}"));
    if answer.is_success() {
        let Noted { mut json, meta } = answer.json().map_err(|error| unexpected(&error))?;
        restore_big_integers(&mut json, &meta);
        return serde_json::from_value(json).map_err(|error| unexpected(&error));
    }
    match answer.json::<Envelope<Refusal>>() {
        Ok(Envelope { json: Refusal { code, message } }) if code == "SERVICE_UNAVAILABLE" => {
            Err(Error::Unavailable(format!("{code}: {message}")))
        }
        Ok(Envelope { json: Refusal { code, message } }) => Err(Error::Refused { code, message }),
        Err(_) => Err(unexpected(&format!("it answered {}", answer.status))),
    }
}

/// A `GET` of a path below `/api/<plugin id>`.
pub fn get(plugin_id: &str, path: &str) -> Request {
    request(plugin_id, "GET", path)
}

/// A `POST` to a path below `/api/<plugin id>`.
pub fn post(plugin_id: &str, path: &str) -> Request {
    request(plugin_id, "POST", path)
}

/// Any method, upper case.
pub fn request(plugin_id: &str, method: &str, path: &str) -> Request {
    Request {
        plugin_id: plugin_id.to_owned(),
        method: method.to_owned(),
        path: path.to_owned(),
        query: String::new(),
        headers: Vec::new(),
        body: Ok(Vec::new()),
    }
}

/// A text as one segment of a path: `format!("/targets/{}", peers::segment(name))`.
pub fn segment(text: &str) -> String {
    percent::encode(text).into_owned()
}

impl Request {
    /// Adds `name=value` to the query, encoded.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        self.query.push_str(&percent::encode(name));
        self.query.push('=');
        self.query.push_str(&percent::encode(value));
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// Sets the body to a value as JSON, with its content type.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        self.body = serde_json::to_vec(value).map_err(|error| error.to_string());
        self.header("content-type", "application/json")
    }

    /// Sends it and waits for the answer, whatever its status.
    pub fn send(self) -> Result<Response, Error> {
        let request = host::PluginRequest {
            method: self.method,
            path: self.path,
            query: (!self.query.is_empty()).then_some(self.query),
            headers: http::to_host(self.headers),
            body: self.body.map_err(Error::Unexpected)?,
        };
        Ok(host::call(&self.plugin_id, &request)?.into())
    }
}

/// The body of a successful answer read as JSON; any other answer is an error that shows it.
pub fn json<T: DeserializeOwned>(response: &Response) -> Result<T, Error> {
    if !response.is_success() {
        let text: String = response.text().unwrap_or_default().chars().take(200).collect();
        return Err(Error::Unexpected(format!("the other plugin answered {}: {text}", response.status)));
    }
    response.json().map_err(|error| Error::Unexpected(format!("the other plugin's answer is not as expected: {error}")))
}

impl From<host::Error> for Error {
    fn from(error: host::Error) -> Self {
        match error {
            host::Error::Denied(message) => Self::Denied(message),
            host::Error::Unavailable(message) => Self::Unavailable(message),
            host::Error::Failed(message) => Self::Failed(message),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn queries_and_segments_are_encoded() {
        let request = get("uptime", "/targets").query("name", "a b&c").query("limit", "5");
        assert_eq!(request.query, "name=a%20b%26c&limit=5");
        assert_eq!(segment("a/b ü"), "a%2Fb%20%C3%BC");
    }

    #[test]
    fn the_answer_to_a_call_is_an_output_or_a_refusal() {
        let answer = |status, body: &str| Response::new(status).with_body(body);
        assert_eq!(output(&answer(200, r#"{"json": [1, 2]}"#)), Ok(vec![1, 2]));
        assert_eq!(output(&answer(200, "{}")), Ok(()));
        assert!(matches!(output::<u8>(&answer(200, r#"{"json": "x"}"#)), Err(Error::Unexpected(_))));
        let big =
            answer(200, r#"{"json": {"ids": ["18446744073709551615", "7"], "at": "2026"}, "meta": [[0, "ids", 0], [1, "at"], [0, "no"]]}"#);
        assert_eq!(output::<Value>(&big), Ok(serde_json::json!({ "ids": [u64::MAX, "7"], "at": "2026" })));
        let refused = answer(404, r#"{"json": {"defined": false, "code": "NOT_FOUND", "status": 404, "message": "no such target"}}"#);
        assert_eq!(output::<()>(&refused), Err(Error::Refused { code: "NOT_FOUND".into(), message: "no such target".into() }));
        let later = answer(503, r#"{"json": {"code": "SERVICE_UNAVAILABLE", "message": "later"}}"#);
        assert!(matches!(output::<()>(&later), Err(Error::Unavailable(_))));
        assert!(matches!(output::<()>(&answer(404, r#"{"error": "Not Found"}"#)), Err(Error::Unexpected(_))));
    }

    #[test]
    fn an_answer_that_is_no_success_is_shown() {
        let error = json::<()>(&Response::new(404).with_body("nothing")).unwrap_err();
        assert_eq!(error.to_string(), "the other plugin answered 404: nothing");
    }
}
