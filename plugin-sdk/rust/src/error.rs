//! The error of a request handler, which is an HTTP response, or of a procedure.

use std::borrow::Cow;
use std::fmt;

use crate::{IntoResponse, Json, Response, cache, entities, events, http, jobs, kv, peers, settings, signals, sql};

/// Why a request is not answered as asked: a status, and a sentence for who asked.
///
/// Every `std::error::Error` becomes one with `?`: an error of a host function that says "later"
/// is a 503, of `serde_json` a 500, as is anything else. Their text is for the server's log; who
/// asked reads only that it did not work.
#[derive(Debug)]
pub struct Error {
    status: u16,
    message: Cow<'static, str>,
    cause: Option<String>,
}

impl Error {
    /// An error with any status from 400 to 599.
    pub fn new(status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, message: message.into(), cause: None }
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, message)
    }

    /// 401: it does not say who asks.
    pub fn unauthorized(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(401, message)
    }

    /// 403: who asks may not.
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(403, message)
    }

    /// 404: there is no such thing.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(404, message)
    }

    /// 409: it contradicts what is there.
    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(409, message)
    }

    /// 500: it did not work, for a reason that only the log needs.
    pub fn internal(cause: impl fmt::Display) -> Self {
        Self { cause: Some(cause.to_string()), ..Self::new(500, "the plugin could not do this") }
    }

    /// 503: it does not work now; the same request may work later.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(503, message)
    }

    /// The status of the response.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The sentence for who asked.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same with what the log needs beside the message.
    #[must_use]
    pub fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// What the caller of a procedure reads as its kind.
    pub fn code(&self) -> &'static str {
        match self.status {
            401 => "UNAUTHORIZED",
            403 => "FORBIDDEN",
            404 => "NOT_FOUND",
            408 => "TIMEOUT",
            409 => "CONFLICT",
            412 => "PRECONDITION_FAILED",
            413 => "PAYLOAD_TOO_LARGE",
            422 => "UNPROCESSABLE_CONTENT",
            429 => "TOO_MANY_REQUESTS",
            501 => "NOT_IMPLEMENTED",
            502 => "BAD_GATEWAY",
            503 => "SERVICE_UNAVAILABLE",
            504 => "GATEWAY_TIMEOUT",
            500.. => "INTERNAL_SERVER_ERROR",
            _ => "BAD_REQUEST",
        }
    }

    /// What is not the caller's fault is for the log.
    pub(crate) fn log(&self) {
        if self.status >= 500 {
            log::error!(status = self.status; "{self}");
        }
    }

    fn word(&self) -> &'static str {
        match self.status {
            400 => "bad_request",
            401 => "unauthorized",
            403 => "forbidden",
            404 => "not_found",
            405 => "method_not_allowed",
            409 => "conflict",
            413 => "too_large",
            429 => "too_many_requests",
            502 => "bad_gateway",
            503 => "unavailable",
            504 => "timeout",
            500.. => "internal",
            _ => "refused",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        match &self.cause {
            Some(cause) => write!(formatter, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl<E: std::error::Error + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        match hindrance(&error) {
            Some((status, message)) => Self::new(status, message).caused_by(error),
            None => Self::internal(error),
        }
    }
}

/// The status and message of an error that is nobody's mistake: something else does not answer.
fn hindrance(error: &dyn std::any::Any) -> Option<(u16, &'static str)> {
    if let Some(error) = error.downcast_ref::<sql::Error>() {
        return matches!(error, sql::Error::Unavailable(_) | sql::Error::Timeout(_)).then_some((503, "the database does not answer"));
    }
    if let Some(error) = error.downcast_ref::<kv::Error>() {
        return matches!(error, kv::Error::Unavailable(_)).then_some((503, "the database does not answer"));
    }
    if let Some(error) = error.downcast_ref::<settings::Error>() {
        return matches!(error, settings::Error::Unavailable(_)).then_some((503, "the database does not answer"));
    }
    if let Some(error) = error.downcast_ref::<jobs::Error>() {
        return match error {
            jobs::Error::Unavailable(_) => Some((503, "the database does not answer")),
            jobs::Error::Full(_) => Some((503, "too much is to be done already")),
            jobs::Error::Denied(_) | jobs::Error::Invalid(_) => None,
        };
    }
    if let Some(error) = error.downcast_ref::<events::Error>() {
        return matches!(error, events::Error::Unavailable(_)).then_some((503, "the database does not answer"));
    }
    if let Some(error) = error.downcast_ref::<entities::Error>() {
        return match error {
            entities::Error::Unavailable(_) | entities::Error::Timeout(_) => Some((503, "the database does not answer")),
            entities::Error::Limited(_) => Some((503, "too much has changed already")),
            entities::Error::Denied(_) | entities::Error::Invalid(_) | entities::Error::Database { .. } => None,
        };
    }
    if let Some(error) = error.downcast_ref::<signals::Error>() {
        return match error {
            signals::Error::Unavailable(_) => Some((503, "the database does not answer")),
            signals::Error::Limited(_) => Some((503, "too much was sent to browsers already")),
            signals::Error::Invalid(_) => None,
        };
    }
    if let Some(error) = error.downcast_ref::<cache::Error>() {
        return matches!(error, cache::Error::Unavailable(_)).then_some((503, "the other replicas cannot be told"));
    }
    if let Some(error) = error.downcast_ref::<peers::Error>() {
        return match error {
            peers::Error::Unavailable(_) => Some((503, "a plugin that this one needs is not running")),
            peers::Error::Failed(_) => Some((502, "a plugin that this one needs did not answer")),
            peers::Error::Denied(_) | peers::Error::Refused { .. } | peers::Error::Unexpected(_) => None,
        };
    }
    if let Some(error) = error.downcast_ref::<http::Error>() {
        return match error {
            http::Error::Timeout(_) => Some((504, "another server did not answer in time")),
            http::Error::Unreachable(_) | http::Error::TooLarge(_) => Some((502, "another server gave no usable answer")),
            http::Error::Denied(_) | http::Error::Invalid(_) | http::Error::Unexpected(_) => None,
        };
    }
    None
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.log();
        let body = Json(serde_json::json!({ "error": self.word(), "message": self.message }));
        let response = body.into_response().with_status(self.status);
        if self.status == 503 { response.with_header("retry-after", "5") } else { response }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn who_asked_reads_the_message_and_never_the_cause() {
        let error = Error::internal("password is hunter2");
        assert_eq!(error.to_string(), "the plugin could not do this: password is hunter2");
        let response = error.into_response();
        assert_eq!(response.status, 500);
        assert_eq!(response.text().unwrap(), r#"{"error":"internal","message":"the plugin could not do this"}"#);
    }

    #[test]
    fn errors_of_the_host_become_the_status_that_says_whose_fault_it_is() {
        let statuses = [
            Error::from(sql::Error::Unavailable("down".into())).status(),
            Error::from(kv::Error::Unavailable("down".into())).status(),
            Error::from(settings::Error::Unavailable("down".into())).status(),
            Error::from(jobs::Error::Full("10,000 wait".into())).status(),
            Error::from(events::Error::Unavailable("down".into())).status(),
            Error::from(signals::Error::Limited("later".into())).status(),
            Error::from(entities::Error::Limited("later".into())).status(),
            Error::from(cache::Error::Unavailable("down".into())).status(),
            Error::from(peers::Error::Unavailable("down".into())).status(),
            Error::from(peers::Error::Failed("trapped".into())).status(),
            Error::from(http::Error::Timeout("2 s".into())).status(),
            Error::from(kv::Error::Denied("database".into())).status(),
            Error::from("x".parse::<u8>().unwrap_err()).status(),
        ];
        assert_eq!(statuses, [503, 503, 503, 503, 503, 503, 503, 503, 503, 502, 504, 500, 500]);
    }

    #[test]
    fn an_unavailable_answer_says_when_to_come_back() {
        let response = Error::unavailable("later").into_response();
        assert_eq!(response.header("retry-after"), Some("5"));
    }
}
