//! What one plugin may emit.

use checkstack_events::{Actor, EventBus, EventError, HookId};
use checkstack_plugin_package::PluginId;
use serde_json::Value;

use crate::jobs::Turn;

/// The events of one plugin: all begin with its id.
pub struct PluginEvents {
    bus: EventBus,
    plugin_id: PluginId,
    turn: Turn,
}

impl PluginEvents {
    /// On the bus of this process.
    #[must_use]
    pub fn new(bus: EventBus, plugin_id: PluginId) -> Self {
        Self { bus, plugin_id, turn: Turn::new() }
    }

    /// Tells all who have subscribed to `<plugin id>.<name>`, on all replicas. `actor` has caused it; none is the plugin itself.
    ///
    /// # Errors
    /// See [`EventError`].
    pub async fn emit(&self, name: &str, payload: Value, actor: Option<Actor>) -> Result<(), EventError> {
        if name.is_empty() {
            return Err(EventError::Invalid("the name of an event is empty".to_owned()));
        }
        let hook: HookId = format!("{}.{name}", self.plugin_id).parse()?;
        let actor = actor.unwrap_or_else(|| Actor::service(self.plugin_id.as_str()));
        let _turn = self.turn.take().await?;
        self.bus.emit(&hook, payload, &actor).await.map(drop)
    }
}
