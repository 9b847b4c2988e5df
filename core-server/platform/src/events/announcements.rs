//! Tells everybody which plugins have begun, and ceased, to serve here.

use std::collections::BTreeSet;
use std::sync::Arc;

use checkstack_events::core_hooks::{PLUGIN_DEREGISTERED, PLUGIN_INITIALIZED, PluginDeregistered, PluginInitialized};
use checkstack_events::{Actor, EventBus};
use checkstack_plugin_package::PluginId;
use tracing::warn;

use crate::dispatch::DispatchTable;

/// Until it is dropped. A plugin that is exchanged for another version serves all the time. What cannot be told is in the log, and not told
/// later: who has to know asks when it begins.
pub(crate) async fn announce(bus: EventBus, table: Arc<DispatchTable>) {
    let mut changes = table.changes();
    let mut known: BTreeSet<PluginId> = BTreeSet::new();
    loop {
        let serving: BTreeSet<PluginId> = table.serving().iter().map(|endpoint| endpoint.plugin_id().clone()).collect();
        for plugin_id in serving.difference(&known) {
            let payload = PluginInitialized { plugin_id: plugin_id.to_string() };
            let told = PLUGIN_INITIALIZED.emit(&bus, &payload, &Actor::system()).await;
            told.inspect_err(|problem| warn!(plugin = %plugin_id, %problem, "that the plugin serves was not told")).ok();
        }
        for plugin_id in known.difference(&serving) {
            let payload = PluginDeregistered { plugin_id: plugin_id.to_string() };
            let told = PLUGIN_DEREGISTERED.emit(&bus, &payload, &Actor::system()).await;
            told.inspect_err(|problem| warn!(plugin = %plugin_id, %problem, "that the plugin is gone was not told")).ok();
        }
        known = serving;
        if changes.changed().await.is_err() {
            return;
        }
    }
}
