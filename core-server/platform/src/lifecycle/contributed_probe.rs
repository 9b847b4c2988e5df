//! Probes that plugins contribute to the pod's readiness.

use std::sync::Arc;

use async_trait::async_trait;
use checkstack_plugin_package::PluginEntry;

use crate::plugin::{CallFailure, Plugin, ProbeOutcome};
use crate::readiness::Probe;

/// The probes of a plugin, by their names in the registry.
pub(super) fn contributed_probes(entry: &PluginEntry, plugin: &Arc<dyn Plugin>) -> Vec<(String, Arc<dyn Probe>)> {
    let probes = plugin.description().probes.iter().map(|probe| {
        // Only an admin decides that a plugin may take the pod out of service.
        let critical = probe.critical && entry.critical;
        let contributed = ContributedProbe { plugin: plugin.clone(), name: probe.name.clone(), critical };
        (format!("{}.{}", entry.plugin_id, probe.name), Arc::new(contributed) as Arc<dyn Probe>)
    });
    probes.collect()
}

struct ContributedProbe {
    plugin: Arc<dyn Plugin>,
    name: String,
    critical: bool,
}

#[async_trait]
impl Probe for ContributedProbe {
    async fn check(&self) -> Result<ProbeOutcome, String> {
        self.plugin.check(&self.name).await.map_err(|failure| match failure {
            // Everybody can read this; what happened inside is in the log.
            CallFailure::Trapped(id, _) => format!("plugin '{id}' trapped"),
            CallFailure::InvalidAnswer(id, _) => format!("plugin '{id}' gave an invalid answer"),
            other => other.to_string(),
        })
    }

    fn is_critical(&self) -> bool {
        self.critical
    }
}
