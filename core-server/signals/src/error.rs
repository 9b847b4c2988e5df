//! Why a signal was not sent.

use checkstack_events::EventError;

/// See the variants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// What was given cannot be sent: what and why.
    #[error("{0}")]
    Invalid(String),
    /// The sender has sent too much of late.
    #[error("too many signals, or too much in them, were sent in the last seconds: send less, or later")]
    Limited,
    /// The other replicas cannot be told, or who may see it cannot be found out. The same may work later.
    #[error("{0}")]
    Unavailable(String),
}

impl From<EventError> for SignalError {
    fn from(error: EventError) -> Self {
        match error.is_transient() {
            true => Self::Unavailable(error.to_string()),
            false => Self::Invalid(error.to_string()),
        }
    }
}
