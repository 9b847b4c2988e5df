//! What a plugin is asked.

use std::rc::Rc;

use serde::de::DeserializeOwned;

use crate::{Error, percent};

/// A request to `/api/<plugin id>/…`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request {
    /// Upper case.
    pub method: String,
    /// Below `/api/<plugin id>`, beginning with `/`, not decoded.
    pub path: String,
    /// What follows `?`, not decoded.
    pub query: Option<String>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Whole.
    pub body: Vec<u8>,
    /// Who asks, as the server knows it.
    pub caller: Caller,
    /// Ties together the log lines of one request over all plugins it touches.
    pub correlation_id: String,
    pub(crate) params: Params,
}

/// Who makes a request or a call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Caller {
    /// Nobody in particular.
    Anonymous,
    /// A person: known in calls of procedures only.
    User(Account),
    /// A program outside, with a key of its own: known in calls of procedures only.
    Application(Account),
    /// Another plugin of the same instance, by its id.
    Plugin(String),
}

/// A person, or a program outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Never changes.
    pub id: String,
    /// For people to read.
    pub name: String,
}

/// The values of a route's parameters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params {
    pub(crate) names: Rc<[String]>,
    pub(crate) values: Vec<String>,
}

impl Request {
    /// A request as a test makes one.
    pub fn new(method: &str, path_and_query: &str) -> Self {
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (path_and_query, None),
        };
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query,
            headers: Vec::new(),
            body: Vec::new(),
            caller: Caller::Anonymous,
            correlation_id: String::new(),
            params: Params::default(),
        }
    }

    /// The same with a header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// The same with a body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The decoded value of `{name}` in the route; empty when the route has no such parameter.
    pub fn param(&self, name: &str) -> &str {
        let position = self.params.names.iter().position(|known| known == name);
        position.and_then(|position| self.params.values.get(position)).map_or("", String::as_str)
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The decoded value of the first `name=` in the query.
    pub fn query_value(&self, name: &str) -> Option<String> {
        self.query.as_deref()?.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent::decode_query(key) == name).then(|| percent::decode_query(value))
        })
    }

    /// The same as any type that can be parsed; a value that cannot is a 400 that says so.
    pub fn query_parsed<T>(&self, name: &str) -> Result<Option<T>, Error>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        match self.query_value(name) {
            None => Ok(None),
            Some(value) => value.parse().map(Some).map_err(|error| Error::bad_request(format!("query parameter '{name}': {error}"))),
        }
    }

    /// The body read as JSON; what does not fit is a 400 that says where.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_slice(&self.body)).map_err(|error| {
            let place = error.path().to_string();
            let cause = error.into_inner();
            Error::bad_request(if place == "." { format!("body: {cause}") } else { format!("body, `{place}`: {cause}") })
        })
    }

    /// The token of `Authorization: Bearer <token>`.
    pub fn bearer_token(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }
}

pub(crate) fn header<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_query_are_decoded() {
        let request = Request::new("GET", "/?name=Gr%C3%BC%C3%9Fe+an+alle&limit=20&flag&limit=30");
        assert_eq!(request.query_value("name").unwrap(), "Grüße an alle");
        assert_eq!(request.query_value("flag").unwrap(), "");
        assert_eq!(request.query_value("other"), None);
        assert_eq!(request.query_parsed::<u32>("limit").unwrap(), Some(20));
        assert_eq!(request.query_parsed::<u32>("other").unwrap(), None);
        let error = request.query_parsed::<u32>("name").unwrap_err();
        assert_eq!((error.status(), error.message()), (400, "query parameter 'name': invalid digit found in string"));
    }

    #[test]
    fn a_body_that_does_not_fit_is_a_400_with_the_place() {
        #[derive(Debug, serde::Deserialize)]
        struct Body {
            #[allow(dead_code)]
            port: u16,
        }
        let error = Request::new("POST", "/").with_body(r#"{"port": -1}"#).json::<Body>().unwrap_err();
        assert_eq!(error.status(), 400);
        assert!(error.message().starts_with("body, `port`: invalid value: integer `-1`, expected u16"), "{error}");
        assert!(Request::new("POST", "/").json::<Body>().unwrap_err().message().starts_with("body: EOF"));
    }

    #[test]
    fn bearer_tokens() {
        let token = |value: &str| Request::new("GET", "/").with_header("Authorization", value).bearer_token().map(str::to_owned);
        assert_eq!(token("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(token("bearer abc").as_deref(), Some("abc"));
        assert_eq!(token("Basic abc"), None);
        assert_eq!(token("abc"), None);
    }
}
