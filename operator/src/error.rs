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
