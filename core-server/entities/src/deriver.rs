//! From changes to the events that trigger automations (domain facts §4.4).

use serde_json::Value;

use crate::change::EntityChanged;

/// Says which trigger events the changes of one kind are. Pure: it is asked wherever a change is heard, perhaps again.
pub trait ChangeDeriver<State>: Send + Sync + 'static {
    /// The events that a change is, by their names within the plugin that derives them: `connected` is `satellite.connected`.
    fn derive(&self, change: &EntityChanged<State>) -> Vec<&'static str>;

    /// What all of them say.
    fn payload(&self, change: &EntityChanged<State>) -> Value;
}

/// An event that a change is.
#[derive(Debug, Clone, PartialEq)]
pub struct TriggerEvent {
    /// `<plugin>.<name>`
    pub event: String,
    /// As automations see it
    pub payload: Value,
    /// What it is about: the id of the entity
    pub context_key: String,
}
