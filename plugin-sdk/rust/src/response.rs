//! What a plugin answers, and what others answer it.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::request::header;

/// An HTTP response: to a request of somebody else, or to one of this plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// 200 to 599.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Whole.
    pub body: Vec<u8>,
}

impl Response {
    /// An empty response.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// 303: what is asked for is to be had elsewhere, with `GET`.
    pub fn see_other(location: &str) -> Self {
        Self::new(303).with_header("location", location)
    }

    /// The same with another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// The same with another body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as text.
    pub fn text(&self) -> Result<&str, std::str::Utf8Error> {
        std::str::from_utf8(&self.body)
    }

    /// The body read as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.body)
    }
}

/// Whatever a handler returns. Also a status with any other of them: `(201, Json(thing))`.
pub trait IntoResponse {
    /// The response.
    fn into_response(self) -> Response;
}

/// A value as `application/json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// A text as `text/html`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Html<T>(pub T);

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => with_content("application/json", body),
            // A map whose keys are no strings, or a `Serialize` of the plugin that fails.
            Err(error) => crate::Error::internal(error).into_response(),
        }
    }
}

impl<T: Into<Cow<'static, str>>> IntoResponse for Html<T> {
    fn into_response(self) -> Response {
        with_content("text/html; charset=utf-8", self.0.into().into_owned())
    }
}

impl IntoResponse for &'static str {
    fn into_response(self) -> Response {
        with_content("text/plain; charset=utf-8", self)
    }
}

impl IntoResponse for String {
    fn into_response(self) -> Response {
        with_content("text/plain; charset=utf-8", self)
    }
}

/// 204
impl IntoResponse for () {
    fn into_response(self) -> Response {
        Response::new(204)
    }
}

impl<R: IntoResponse> IntoResponse for (u16, R) {
    fn into_response(self) -> Response {
        self.1.into_response().with_status(self.0)
    }
}

impl<R: IntoResponse, E: IntoResponse> IntoResponse for Result<R, E> {
    fn into_response(self) -> Response {
        match self {
            Ok(response) => response.into_response(),
            Err(error) => error.into_response(),
        }
    }
}

fn with_content(content_type: &str, body: impl Into<Vec<u8>>) -> Response {
    Response::new(200).with_header("content-type", content_type).with_body(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_answer_has_its_status_and_content_type() {
        let kind = |response: Response| (response.status, response.header("content-type").map(str::to_owned));
        assert_eq!(kind(Json([1, 2]).into_response()), (200, Some("application/json".into())));
        assert_eq!(kind(Html("<p>").into_response()), (200, Some("text/html; charset=utf-8".into())));
        assert_eq!(kind("text".into_response()), (200, Some("text/plain; charset=utf-8".into())));
        assert_eq!(kind(().into_response()), (204, None));
        assert_eq!(kind((201, Json("made")).into_response()), (201, Some("application/json".into())));
        assert_eq!(kind(Ok::<_, crate::Error>("fine").into_response()).0, 200);
        assert_eq!(kind(Err::<(), _>(crate::Error::not_found("no")).into_response()).0, 404);
    }

    #[test]
    fn a_value_that_is_no_json_is_an_internal_error() {
        let no_json = Json(std::collections::HashMap::from([([1, 2], 3)]));
        assert_eq!(no_json.into_response().status, 500);
    }
}
