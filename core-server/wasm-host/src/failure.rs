//! What can go wrong in guest code, and how it is told: to an admin as a [`PluginFailure`] when a
//! plugin starts, to the platform as a [`CallFailure`] when it serves.

use std::fmt;
use std::time::Duration;

use checkstack_control_api::report::PluginReason;
use checkstack_platform::plugin::{CallFailure, PluginFailure};
use checkstack_plugin_package::PluginId;
use wasmtime::Trap;

use crate::limits::Exceeded;

/// Raised inside the guest by the engine's clock.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("deadline exceeded")]
pub(crate) struct DeadlineExceeded;

/// A step in the life of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Instantiate,
    Describe,
    Init,
    AfterPluginsReady,
    Handle,
    Procedure,
    Work,
    Listen,
    Check,
    Shutdown,
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Instantiate => "instantiation",
            Self::Describe => "describe",
            Self::Init => "init",
            Self::AfterPluginsReady => "after-plugins-ready",
            Self::Handle => "handle",
            Self::Procedure => "procedure",
            Self::Work => "work",
            Self::Listen => "listen",
            Self::Check => "check",
            Self::Shutdown => "shutdown",
        })
    }
}

/// A step that did not end well. The instance is not used again, unless the guest itself returned
/// an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GuestFailure {
    pub(crate) phase: Phase,
    pub(crate) cause: Cause,
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// An import or export is not what the world says.
    Misfit(String),
    Trapped(String),
    Deadline(Duration),
    Memory {
        exceeded: Exceeded,
        limit: u64,
    },
    InvalidConfig(String),
    Failed(String),
    /// The server is going away.
    Abandoned,
}

impl GuestFailure {
    pub(crate) fn abandoned(phase: Phase) -> Self {
        Self { phase, cause: Cause::Abandoned }
    }

    /// For the status of a plugin that could not be brought up.
    pub(crate) fn into_plugin_failure(self) -> PluginFailure {
        let message = self.to_string();
        match self.cause {
            Cause::Misfit(_) => PluginFailure::terminal(PluginReason::InvalidComponent, message),
            Cause::Trapped(_) => PluginFailure::transient(PluginReason::Trapped, message),
            Cause::Deadline(_) => PluginFailure::transient(PluginReason::DeadlineExceeded, message),
            Cause::Memory { exceeded: Exceeded::Instance, .. } => PluginFailure::terminal(PluginReason::MemoryExceeded, message),
            // What others have they give back.
            Cause::Memory { exceeded: Exceeded::Plugin, .. } => PluginFailure::transient(PluginReason::MemoryExceeded, message),
            Cause::InvalidConfig(_) => PluginFailure::terminal(PluginReason::InvalidConfig, message),
            Cause::Failed(_) => PluginFailure::transient(PluginReason::InitFailed, message),
            Cause::Abandoned => PluginFailure::transient(PluginReason::Internal, message),
        }
    }

    /// For a plugin that is running.
    pub(crate) fn into_call_failure(self, plugin: &PluginId) -> CallFailure {
        match self.cause {
            Cause::Deadline(limit) => CallFailure::DeadlineExceeded(plugin.clone(), milliseconds(limit)),
            Cause::Abandoned => CallFailure::NotRunning(plugin.clone()),
            // That there are others at the same time is no fault of the plugin.
            Cause::Memory { exceeded: Exceeded::Plugin, .. } => CallFailure::Overloaded(plugin.clone()),
            _ => CallFailure::Trapped(plugin.clone(), self.to_string()),
        }
    }
}

impl fmt::Display for GuestFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = self.phase;
        match &self.cause {
            Cause::Misfit(problem) => write!(formatter, "the component does not fit the plugin world: {problem}"),
            Cause::Trapped(trap) => {
                write!(
                    formatter,
                    "the plugin trapped in {phase}: {trap}; this is a fault of the plugin: report it to its author, its log lines in the pod may say more"
                )
            }
            Cause::Deadline(limit) => write!(
                formatter,
                "the plugin did not finish {phase} within {} ms; raise spec.grants.deadline or use a version of the plugin that does less there",
                milliseconds(*limit)
            ),
            Cause::Memory { exceeded: Exceeded::Instance, limit } => write!(
                formatter,
                "the plugin needed more memory in {phase} than the {} MiB it is granted; raise spec.grants.memory",
                limit / (1024 * 1024)
            ),
            Cause::Memory { exceeded: Exceeded::Plugin, limit } => write!(
                formatter,
                "the instances of the plugin together needed more memory in {phase} than their share, which follows from the {} MiB granted to each; \
                 raise spec.grants.memory",
                limit / (1024 * 1024)
            ),
            Cause::InvalidConfig(message) => {
                write!(formatter, "the plugin refused its configuration: {message}; correct spec.config or the Secrets of spec.configFrom")
            }
            Cause::Failed(message) => {
                write!(formatter, "{phase} failed: {message}; the log lines of the plugin in the pod may say more")
            }
            Cause::Abandoned => write!(formatter, "{phase} was given up because the server is going away"),
        }
    }
}

/// What an error of the engine means.
pub(crate) fn cause_of(error: &wasmtime::Error, limit: Duration, exceeded: Option<(Exceeded, u64)>) -> Cause {
    if error.downcast_ref::<DeadlineExceeded>().is_some() {
        return Cause::Deadline(limit);
    }
    if let Some((exceeded, limit)) = exceeded {
        return Cause::Memory { exceeded, limit };
    }
    Cause::Trapped(match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => "call stack exhausted by a recursion that is too deep".into(),
        Some(trap) => one_line(&trap.to_string(), 200),
        None => one_line(&error.root_cause().to_string(), 200),
    })
}

/// The first line of a foreign text, bounded and without control characters.
pub(crate) fn one_line(text: &str, max_characters: usize) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    let mut shown: String =
        line.chars().take(max_characters).map(|character| if character.is_control() { ' ' } else { character }).collect();
    if line.chars().nth(max_characters).is_some() {
        shown.push('…');
    }
    shown
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(cause: Cause) -> PluginFailure {
        GuestFailure { phase: Phase::Init, cause }.into_plugin_failure()
    }

    #[test]
    fn each_cause_has_its_reason_and_says_what_to_do() {
        let deadline = failure(Cause::Deadline(Duration::from_millis(1500)));
        assert_eq!((deadline.reason, deadline.transient), (PluginReason::DeadlineExceeded, true));
        assert!(deadline.message.contains("did not finish init within 1500 ms; raise spec.grants.deadline"), "{deadline}");

        let memory = failure(Cause::Memory { exceeded: Exceeded::Instance, limit: 64 << 20 });
        assert_eq!((memory.reason, memory.transient), (PluginReason::MemoryExceeded, false));
        assert!(memory.message.contains("64 MiB it is granted; raise spec.grants.memory"), "{memory}");

        let shared = failure(Cause::Memory { exceeded: Exceeded::Plugin, limit: 64 << 20 });
        assert_eq!((shared.reason, shared.transient), (PluginReason::MemoryExceeded, true));

        let config = failure(Cause::InvalidConfig("'url' is missing".into()));
        assert_eq!((config.reason, config.transient), (PluginReason::InvalidConfig, false));
        let failed = failure(Cause::Failed("no answer".into()));
        assert_eq!((failed.reason, failed.transient), (PluginReason::InitFailed, true));
        let trapped = failure(Cause::Trapped("unreachable".into()));
        assert_eq!((trapped.reason, trapped.transient), (PluginReason::Trapped, true));
    }

    #[test]
    fn a_refused_growth_explains_the_trap_that_follows_it() {
        let trap = wasmtime::Error::from(Trap::UnreachableCodeReached);
        let limit = Duration::from_secs(1);
        assert_eq!(cause_of(&trap, limit, Some((Exceeded::Instance, 1))), Cause::Memory { exceeded: Exceeded::Instance, limit: 1 });
        assert!(matches!(cause_of(&trap, limit, None), Cause::Trapped(text) if text.contains("unreachable")));
    }

    #[test]
    fn foreign_text_is_cut_to_one_harmless_line() {
        assert_eq!(one_line("\n  a\u{1b}[31mb\nc", 100), "a [31mb");
        assert_eq!(one_line("abcdef", 3), "abc…");
        assert_eq!(one_line("", 3), "");
    }
}
