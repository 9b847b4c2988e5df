//! Why a reconciliation failed, and what that means for the next try.

use crate::telemetry::ErrorClass;

/// A call of the API server that failed.
#[derive(Debug, thiserror::Error)]
#[error("{action} {object}: {source}")]
pub(crate) struct KubernetesError {
    /// What was tried: `apply`, `read`, …
    pub(crate) action: &'static str,
    /// Kind and name.
    pub(crate) object: String,
    /// What the client says.
    pub(crate) source: Box<kube::Error>,
}

impl KubernetesError {
    /// The error of `action` on `object`.
    pub(crate) fn new(action: &'static str, object: impl Into<String>, source: kube::Error) -> Self {
        Self { action, object: object.into(), source: Box::new(source) }
    }

    /// What it means for the next try.
    pub(crate) fn class(&self) -> ErrorClass {
        match self.source.as_ref() {
            kube::Error::Api(status) if status.is_conflict() => ErrorClass::Conflict,
            kube::Error::Api(status) if status.is_invalid() || status.code == 400 => ErrorClass::Terminal,
            _ => ErrorClass::Transient,
        }
    }

    /// Whether it is over by itself in a moment: not worth a condition. Being told to come back later is
    /// like getting no answer.
    pub(crate) fn is_fleeting(&self) -> bool {
        match self.source.as_ref() {
            kube::Error::Api(status) => status.is_conflict() || matches!(status.code, 429 | 503 | 504),
            _ => true,
        }
    }

    /// The API server's own words, which are the same for the same failure.
    pub(crate) fn message(&self) -> String {
        match self.source.as_ref() {
            kube::Error::Api(status) => format!("cannot {} {}: {}", self.action, self.object, status.message),
            _ => format!("cannot {} {}: the API server did not answer", self.action, self.object),
        }
    }
}

/// Adds what was tried to an error of the client.
pub(crate) trait KubernetesContext<T> {
    fn during(self, action: &'static str, object: impl FnOnce() -> String) -> Result<T, KubernetesError>;
}

impl<T> KubernetesContext<T> for Result<T, kube::Error> {
    fn during(self, action: &'static str, object: impl FnOnce() -> String) -> Result<T, KubernetesError> {
        self.map_err(|source| KubernetesError::new(action, object(), source))
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn answered(code: u16, reason: &str) -> KubernetesError {
        let status = Status::failure("no", reason).with_code(code);
        KubernetesError::new("apply", "Service 'main'", kube::Error::Api(status.boxed()))
    }

    #[test]
    fn what_the_api_server_says_decides_about_the_next_try_and_whether_it_is_told() {
        for (code, reason, class, is_fleeting) in [
            (409, "Conflict", ErrorClass::Conflict, true),
            (429, "TooManyRequests", ErrorClass::Transient, true),
            (503, "ServiceUnavailable", ErrorClass::Transient, true),
            (504, "Timeout", ErrorClass::Transient, true),
            // As when a webhook is down, for as long as it is.
            (500, "InternalError", ErrorClass::Transient, false),
            (403, "Forbidden", ErrorClass::Transient, false),
            (400, "BadRequest", ErrorClass::Terminal, false),
            (422, "Invalid", ErrorClass::Terminal, false),
        ] {
            let error = answered(code, reason);
            assert_eq!((error.class(), error.is_fleeting()), (class, is_fleeting), "{code}");
            assert_eq!(error.message(), "cannot apply Service 'main': no");
        }
        let silent = KubernetesError::new("read", "Secret 'a'", kube::Error::LinesCodecMaxLineLengthExceeded);
        assert_eq!((silent.class(), silent.is_fleeting()), (ErrorClass::Transient, true));
    }
}
