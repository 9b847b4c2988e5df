//! What a caller is told when a call fails.

use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use crate::schema::Issue;

/// Codes of failures, each with its HTTP status. They are part of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs, reason = "the names are those of HTTP")]
pub enum ErrorCode {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotSupported,
    NotAcceptable,
    Timeout,
    Conflict,
    PreconditionFailed,
    PayloadTooLarge,
    UnsupportedMediaType,
    UnprocessableContent,
    TooManyRequests,
    ClientClosedRequest,
    InternalServerError,
    NotImplemented,
    BadGateway,
    ServiceUnavailable,
    GatewayTimeout,
}

impl ErrorCode {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotSupported,
        Self::NotAcceptable,
        Self::Timeout,
        Self::Conflict,
        Self::PreconditionFailed,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::UnprocessableContent,
        Self::TooManyRequests,
        Self::ClientClosedRequest,
        Self::InternalServerError,
        Self::NotImplemented,
        Self::BadGateway,
        Self::ServiceUnavailable,
        Self::GatewayTimeout,
    ];

    /// The one that is written so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }

    /// On the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.facts().0
    }

    /// Of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.facts().1).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The message of an error that has none of its own.
    #[must_use]
    pub fn phrase(self) -> &'static str {
        self.facts().2
    }

    fn facts(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::BadRequest => ("BAD_REQUEST", 400, "Bad Request"),
            Self::Unauthorized => ("UNAUTHORIZED", 401, "Unauthorized"),
            Self::Forbidden => ("FORBIDDEN", 403, "Forbidden"),
            Self::NotFound => ("NOT_FOUND", 404, "Not Found"),
            Self::MethodNotSupported => ("METHOD_NOT_SUPPORTED", 405, "Method Not Supported"),
            Self::NotAcceptable => ("NOT_ACCEPTABLE", 406, "Not Acceptable"),
            Self::Timeout => ("TIMEOUT", 408, "Request Timeout"),
            Self::Conflict => ("CONFLICT", 409, "Conflict"),
            Self::PreconditionFailed => ("PRECONDITION_FAILED", 412, "Precondition Failed"),
            Self::PayloadTooLarge => ("PAYLOAD_TOO_LARGE", 413, "Payload Too Large"),
            Self::UnsupportedMediaType => ("UNSUPPORTED_MEDIA_TYPE", 415, "Unsupported Media Type"),
            Self::UnprocessableContent => ("UNPROCESSABLE_CONTENT", 422, "Unprocessable Content"),
            Self::TooManyRequests => ("TOO_MANY_REQUESTS", 429, "Too Many Requests"),
            Self::ClientClosedRequest => ("CLIENT_CLOSED_REQUEST", 499, "Client Closed Request"),
            Self::InternalServerError => ("INTERNAL_SERVER_ERROR", 500, "Internal Server Error"),
            Self::NotImplemented => ("NOT_IMPLEMENTED", 501, "Not Implemented"),
            Self::BadGateway => ("BAD_GATEWAY", 502, "Bad Gateway"),
            Self::ServiceUnavailable => ("SERVICE_UNAVAILABLE", 503, "Service Unavailable"),
            Self::GatewayTimeout => ("GATEWAY_TIMEOUT", 504, "Gateway Timeout"),
        }
    }
}

/// Why a call failed, as its caller may know it. What only the log may know is not in here.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}: {}", .code.as_str(), self.message())]
pub struct CallError {
    /// Its kind.
    pub code: ErrorCode,
    /// For a person; none says what the code says.
    pub message: Option<String>,
    /// For a program.
    pub data: Option<Value>,
}

impl CallError {
    /// With the message that the code has.
    #[must_use]
    pub fn new(code: ErrorCode) -> Self {
        Self { code, message: None, data: None }
    }

    /// With a message of its own.
    pub fn with_message(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..Self::new(code) }
    }

    /// The input is not what the procedure takes.
    #[must_use]
    pub fn invalid_input(issues: &[Issue]) -> Self {
        let data = Some(json!({ "issues": issues }));
        Self { data, ..Self::with_message(ErrorCode::BadRequest, "Input validation failed") }
    }

    /// The procedure has answered something else than it says. What, is for the log.
    #[must_use]
    pub fn invalid_output() -> Self {
        Self::with_message(ErrorCode::InternalServerError, "Output validation failed")
    }

    /// Anything that is nobody's business but the log's.
    #[must_use]
    pub fn internal() -> Self {
        Self::with_message(ErrorCode::InternalServerError, "Internal server error")
    }

    /// The error object of the wire.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = json!({
            "defined": false,
            "code": self.code.as_str(),
            "status": self.code.status().as_u16(),
            "message": self.message(),
        });
        if let (Some(data), Some(fields)) = (&self.data, object.as_object_mut()) {
            fields.insert("data".into(), data.clone());
        }
        object
    }

    fn message(&self) -> &str {
        self.message.as_deref().unwrap_or(self.code.phrase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_name_and_its_status() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert_eq!(code.status().as_u16(), code.facts().1);
        }
    }

    #[test]
    fn an_error_without_a_message_has_that_of_its_code() {
        let expected = json!({ "defined": false, "code": "NOT_FOUND", "status": 404, "message": "Not Found" });
        assert_eq!(CallError::new(ErrorCode::NotFound).to_json(), expected);
    }

    #[test]
    fn an_invalid_input_says_what_is_wrong_with_it() {
        let issue = Issue { code: "invalid_type".into(), path: vec!["source".into(), 1.into()], message: "it is missing".into() };
        let issues = json!([{ "code": "invalid_type", "path": ["source", 1], "message": "it is missing" }]);
        assert_eq!(
            CallError::invalid_input(&[issue]).to_json(),
            json!({
                "defined": false, "code": "BAD_REQUEST", "status": 400, "message": "Input validation failed", "data": { "issues": issues },
            })
        );
    }
}
