//! What is known of one plugin in this pod.

use std::collections::BTreeMap;
use std::sync::Arc;

use checkstack_plugin_package::{Digest, PluginEntry, PluginId};
use tokio::time::Instant;

use super::obstacles::Obstacle;
use crate::plugin::PluginFailure;
use crate::secrets::SecretRevisions;

/// One plugin.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// What the set asks for.
    pub(super) wanted: Option<Wanted>,
    /// What serves.
    pub(super) running: Option<Running>,
    /// What served and is being taken down.
    pub(super) leaving: Option<Leaving>,
    /// What is being brought up.
    pub(super) attempt: Option<Attempt>,
    /// How bringing up `wanted` failed last.
    pub(super) failed: Option<Failed>,
    /// How bringing up `running` once more failed last.
    pub(super) rebinding_failed: Option<RebindingFailed>,
}

/// Which incarnations of its dependencies a plugin calls. Every attempt is an incarnation of its own.
pub(super) type Bound = BTreeMap<PluginId, u64>;

/// One artifact with its settings.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) entry: Arc<PluginEntry>,
    pub(super) hash: Digest,
}

#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) version: Version,
    /// What in the set itself keeps it from ever coming up.
    pub(super) obstacle: Option<Obstacle>,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) version: Version,
    /// Counts up with every activation in this pod.
    pub(super) activation: u64,
    pub(super) incarnation: u64,
    pub(super) bound: Bound,
    /// With which values of secrets it was initialised.
    pub(super) secrets: SecretRevisions,
    /// How it traps, when calls to it are refused because of that.
    pub(super) quarantined: Option<String>,
}

#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) version: Version,
    pub(super) since: Instant,
}

/// In which form a plugin is brought up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As the set asks for it.
    Wanted,
    /// As it runs: what it depends on is being replaced, and it has to be bound to that; or a secret of its configuration
    /// has another value.
    Running,
}

/// Which incarnation of a plugin is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The one that serves.
    Running,
    /// The one that is being brought up.
    Attempt,
}

#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) version: Version,
    pub(super) form: Form,
    pub(super) incarnation: u64,
    /// Final when it is being initialised.
    pub(super) bound: Bound,
    /// Which values of secrets its configuration has, once that is known.
    pub(super) secrets: SecretRevisions,
    pub(super) stage: Stage,
    /// When it reached the stage.
    pub(super) since: Instant,
    /// It has failed before. Nobody waits for it.
    pub(super) again: bool,
    /// It is to end as soon as possible.
    pub(super) cancelled: bool,
}

/// How far an attempt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Is being fetched, verified, compiled, loaded, asked for its description.
    Preparing,
    /// Waits for its turn to be initialised.
    Prepared,
    /// Its schema is being migrated, then its `init` runs.
    Initialising,
    /// Waits for all others to be initialised.
    Initialised,
    /// Its `after_plugins_ready` runs.
    Announcing,
    /// Nothing is left to do but to let it serve.
    Announced,
}

#[derive(Debug)]
pub(super) struct Failed {
    pub(super) hash: Digest,
    pub(super) failure: PluginFailure,
    pub(super) attempts: u32,
    /// None: only a change helps.
    pub(super) retry_at: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct RebindingFailed {
    /// To what it could not be bound.
    pub(super) bound: Bound,
    pub(super) failure: PluginFailure,
    pub(super) attempts: u32,
    pub(super) retry_at: Option<Instant>,
}

impl Slot {
    /// The attempt, unless it is ending.
    pub(super) fn live_attempt(&self) -> Option<&Attempt> {
        self.attempt.as_ref().filter(|attempt| !attempt.cancelled)
    }

    /// The attempt, once other plugins can call it.
    pub(super) fn callable_attempt(&self) -> Option<&Attempt> {
        self.live_attempt().filter(|attempt| attempt.stage >= Stage::Initialised)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_none() && self.running.is_none() && self.leaving.is_none() && self.attempt.is_none()
    }
}
