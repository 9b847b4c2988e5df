//! Why a plugin did not do what it should.

use checkstack_calls::error::CallError;
use checkstack_control_api::report::PluginReason;
use checkstack_plugin_package::PluginId;

use super::MAX_CALL_DEPTH;

/// Why a plugin could not be brought up. One of these never affects another plugin, but those
/// that depend on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PluginFailure {
    /// For status.
    pub reason: PluginReason,
    /// One sentence: what is wrong and what to do.
    pub message: String,
    /// Whether trying again without any change may help.
    pub transient: bool,
}

impl PluginFailure {
    /// A failure that lasts until something is changed.
    pub fn terminal(reason: PluginReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), transient: false }
    }

    /// A failure that may pass.
    pub fn transient(reason: PluginReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), transient: true }
    }
}

/// Why a running plugin did not answer a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallFailure {
    /// All instances are busy and the queue is full.
    #[error("plugin '{0}' is at its concurrency limit")]
    Overloaded(PluginId),
    /// It did not answer within its deadline.
    #[error("plugin '{0}' did not answer within its deadline of {1} ms")]
    DeadlineExceeded(PluginId, u64),
    /// It trapped. The text is for the log, not for the caller.
    #[error("plugin '{0}' trapped: {1}")]
    Trapped(PluginId, String),
    /// What it answered is no HTTP response.
    #[error("plugin '{0}' gave an invalid answer: {1}")]
    InvalidAnswer(PluginId, String),
    /// It is not running.
    #[error("plugin '{0}' is not running")]
    NotRunning(PluginId),
    /// It was at fault again and again, and is left alone for so many seconds.
    #[error("plugin '{0}' is not called because it failed again and again; it is tried again in {1} s")]
    Quarantined(PluginId, u64),
    /// Plugins call each other in a chain that is too long, in a circle most likely.
    #[error("plugin '{0}' was not called: there are {MAX_CALL_DEPTH} plugins in the chain of calls already, which is the limit")]
    TooDeep(PluginId),
}

/// Why a procedure gave no output.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProcedureFailure {
    /// So its caller is told.
    #[error(transparent)]
    Refused(#[from] CallError),
    /// It did not come to an end.
    #[error(transparent)]
    Failed(#[from] CallFailure),
}
