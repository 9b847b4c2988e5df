//! Work for a plugin that nobody waits for.

use checkstack_events::Actor;
use serde_json::Value;

/// A job of a plugin's queue.
#[derive(Debug, Clone, PartialEq)]
pub struct QueuedJob {
    /// As the plugin calls it.
    pub queue: String,
    /// The same for each attempt.
    pub id: String,
    /// What was enqueued.
    pub data: Value,
    /// Attempts that have failed before this one.
    pub attempts: u32,
    /// Microseconds since 1970.
    pub enqueued_at: u64,
}

/// An event that a plugin has subscribed to.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginEvent {
    /// `<plugin id>.<name>`.
    pub event: String,
    /// Which of the plugin's groups is told. None: it is no work queue.
    pub worker_group: Option<String>,
    /// What was emitted.
    pub payload: Value,
    /// Who has caused it.
    pub actor: Actor,
    /// Attempts that have failed before this one.
    pub attempts: u32,
}

/// What came of a job, or of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOutcome {
    /// It is done.
    Done,
    /// Another attempt may work.
    Retry(String),
    /// No attempt will work.
    Permanent(String),
}
