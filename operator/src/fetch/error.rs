//! Why a package could not be fetched.

use std::time::Duration;

/// Says what failed, at which address or object, and what to do. Texts are the same for the same
/// failure, and never hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the variants are")]
pub enum FetchError {
    #[error("the URL {url} cannot be used: {reason}")]
    InvalidUrl { url: String, reason: String },
    #[error("{url} does not exist (HTTP {status}): check the URL, or publish the package there")]
    NotFound { url: String, status: u16 },
    #[error("{url} refused access (HTTP {status}): check spec.source.tarball.secretHeadersRef")]
    AccessDenied { url: String, status: u16 },
    #[error("{url} answered HTTP {status} instead of the package: check the URL and its server")]
    UnexpectedStatus { url: String, status: u16 },
    #[error("{url} cannot be reached: {reason}; check the URL and the network")]
    Unreachable { url: String, reason: String },
    #[error("{url} did not deliver the package within {} s: check its server and the network", .limit.as_secs_f32())]
    TimedOut { url: String, limit: Duration },
    #[error("{url} broke off while sending the package: check its server and the network")]
    Truncated { url: String },
    #[error("the package at {location} is larger than the limit of {} MiB: make it smaller, it needs its component and package.json only", .limit / (1024 * 1024))]
    TooLarge { location: String, limit: usize },
    #[error("{url} redirected more than {limit} times: use the final URL")]
    TooManyRedirects { url: String, limit: usize },
    #[error("{url} redirects to {target}, which is not followed: {reason}")]
    RefusedRedirect { url: String, target: String, reason: String },
    #[error("Secret '{name}' does not exist: create it, or correct spec.source.tarball.secretHeadersRef")]
    SecretNotFound { name: String },
    #[error("Secret '{name}' has an entry '{key}' that cannot be sent as an HTTP header")]
    InvalidSecretHeader { name: String, key: String },
    #[error("ConfigMap '{name}' does not exist: create it, or correct spec.source.tarball.configMapRef")]
    ConfigMapNotFound { name: String },
    #[error("ConfigMap '{name}' has no key '{key}' in binaryData: add it, or correct spec.source.tarball.configMapRef")]
    ConfigMapKeyNotFound { name: String, key: String },
    #[error("the API server did not answer about {what}")]
    Kubernetes { what: String },
}

impl FetchError {
    /// Whether trying again without any change of the spec may help.
    pub fn is_transient(&self) -> bool {
        !matches!(
            self,
            Self::InvalidUrl { .. }
                | Self::TooLarge { .. }
                | Self::TooManyRedirects { .. }
                | Self::RefusedRedirect { .. }
                | Self::InvalidSecretHeader { .. }
        )
    }
}
