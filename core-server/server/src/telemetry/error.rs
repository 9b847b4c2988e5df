//! Why no traces are sent.

use opentelemetry_otlp::ExporterBuildError;
use thiserror::Error;

/// See the module. No value of a variable is told: there may be a token in it.
#[derive(Debug, Error)]
pub(crate) enum TelemetryError {
    /// Nothing can be sent there.
    #[error(
        "{0} must be an absolute URL that begins with http:// or https:// and has no user in it; what the collector wants to be told belongs into OTEL_EXPORTER_OTLP_HEADERS"
    )]
    Endpoint(&'static str),
    /// The HTTP client cannot be made.
    #[error("there is no HTTP client for them: {0}")]
    Client(#[from] reqwest::Error),
    /// The exporter does not like its variables.
    #[error("one of the variables OTEL_EXPORTER_OTLP_… has to be changed: {0}")]
    Exporter(#[from] ExporterBuildError),
}
