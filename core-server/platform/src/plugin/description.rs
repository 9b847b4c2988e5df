//! What a plugin says of itself before it is initialised.

/// What a plugin contributes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// Readiness checks.
    pub probes: Vec<ProbeDescription>,
    /// Queues whose jobs it does.
    pub queues: Vec<QueueDescription>,
    /// Events of which it is told.
    pub subscriptions: Vec<SubscriptionDescription>,
}

/// A queue of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueDescription {
    /// Unique within the plugin.
    pub name: String,
    /// Jobs that this replica does at once.
    pub concurrency: u32,
    /// Attempts after the first.
    pub max_retries: u32,
}

/// A readiness check that a plugin contributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeDescription {
    /// Unique within the plugin.
    pub name: String,
    /// Whether the pod is unready while it fails. Counts only for a plugin that an admin has marked as
    /// critical: no other plugin decides over the pod.
    pub critical: bool,
}

/// An event of which a plugin is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubscriptionDescription {
    /// `<plugin id>.<name>`.
    pub event: String,
    /// Which instances are told.
    pub delivery: Delivery,
}

/// Which instances of a plugin are told of an event (platform facts §2.8).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Delivery {
    /// One in each replica that is there at the time.
    Broadcast,
    /// One in one replica for each group, at least once.
    WorkQueue {
        /// Unique within the plugin.
        group: String,
        /// Attempts after the first.
        max_retries: u32,
    },
    /// One in the replica that the event is about.
    InstanceLocal,
}

impl Delivery {
    /// The name of the worker group, where there is one.
    pub fn worker_group(&self) -> Option<&str> {
        match self {
            Self::WorkQueue { group, .. } => Some(group),
            Self::Broadcast | Self::InstanceLocal => None,
        }
    }
}
