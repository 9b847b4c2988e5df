//! Probes that plugins contribute to the pod's readiness.

use std::sync::Arc;

use async_trait::async_trait;
use checkstack_plugin_package::PluginEntry;

use crate::plugin::{CallFailure, Plugin, ProbeOutcome};
use crate::readiness::{Finding, Probe, Words};

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
    async fn check(&self) -> Result<Finding, Words> {
        match self.plugin.check(&self.name).await {
            Ok(ProbeOutcome { ok, message }) => Ok(Finding { ok, message: message.map(Words::private) }),
            Err(failure) => Err(Words::summed_up(summary(&failure), failure.to_string())),
        }
    }

    fn is_critical(&self) -> bool {
        self.critical
    }
}

fn summary(failure: &CallFailure) -> &'static str {
    match failure {
        CallFailure::Overloaded(_) => "the plugin is at its concurrency limit",
        CallFailure::DeadlineExceeded(..) => "the plugin did not answer within its deadline",
        CallFailure::Trapped(..) => "the plugin trapped",
        CallFailure::InvalidAnswer(..) => "the plugin gave an invalid answer",
        CallFailure::NotRunning(_) => "the plugin is not running",
        CallFailure::Quarantined(..) => "the plugin failed again and again",
        CallFailure::TooDeep(_) => "the plugin was not called",
    }
}
