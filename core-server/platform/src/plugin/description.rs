//! What a plugin says of itself before it is initialised.

use checkstack_entities::{ENTITY_CHANGED, check_kind};
use checkstack_events::{EventError, HookId, Subscriber};

/// What a plugin contributes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// Readiness checks.
    pub probes: Vec<ProbeDescription>,
    /// Queues whose jobs it does.
    pub queues: Vec<QueueDescription>,
    /// Events of which it is told.
    pub subscriptions: Vec<SubscriptionDescription>,
    /// Kinds of entities whose changes others hear.
    pub entities: Vec<EntityKindDescription>,
}

/// A kind of entities of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityKindDescription {
    /// Unique within the plugin.
    pub name: String,
    /// JSON Schema of a state, as JSON.
    pub schema: String,
    /// Reads states by `$1`, a `text[]` of ids; all of its columns but `id` are fields.
    pub query: String,
}

impl EntityKindDescription {
    /// Whether it is called as kinds may be.
    ///
    /// # Errors
    /// What they may be called.
    pub fn check_name(&self) -> Result<(), String> {
        check_kind(&self.name).map_err(|problem| problem.to_string())
    }
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
    /// `<plugin id>.<name>`, or `automation.entity.changed/<plugin id>.<kind>`: see [`Self::topic`].
    pub event: String,
    /// Which instances are told.
    pub delivery: Delivery,
}

/// What a subscription names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic<'s> {
    /// The hook.
    pub hook: HookId,
    /// Of changes of entities, the kind that it is about: `<plugin id>.<name>`.
    pub kind: Option<&'s str>,
}

impl SubscriptionDescription {
    /// What it names.
    ///
    /// # Errors
    /// It is nothing that one can subscribe to.
    pub fn topic(&self) -> Result<Topic<'_>, EventError> {
        let Some((hook, kind)) = self.event.split_once('/') else { return Ok(Topic { hook: self.event.parse()?, kind: None }) };
        let changed = ENTITY_CHANGED.id()?;
        if hook != changed.as_str() {
            return Err(EventError::Invalid(format!("only '{changed}' is followed by '/' and a kind of entities")));
        }
        let name = kind.split_once('.').ok_or_else(|| EventError::Invalid("the kind of entities is no <plugin-id>.<name>".to_owned()))?;
        let (_, name) = (name.0.parse::<Subscriber>()?, name.1);
        check_kind(name).map_err(|problem| EventError::Invalid(problem.to_string()))?;
        Ok(Topic { hook: changed, kind: Some(kind) })
    }
}

impl Topic<'_> {
    /// The plugin whose event or whose entities it is about.
    pub fn source(&self) -> &str {
        self.kind.and_then(|kind| kind.split_once('.')).map_or(self.hook.plugin(), |(source, _)| source)
    }
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
