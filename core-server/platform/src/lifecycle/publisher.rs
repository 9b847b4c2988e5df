//! Tells the rest of the server what has become of the plugins: the report, the metrics, and the
//! probes of critical plugins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use checkstack_control_api::report::{PluginReport, PluginState, PodReport};
use checkstack_plugin_package::PluginId;
use tokio::sync::watch;

use super::critical::{CriticalPlugin, OnceReady};
use super::fleet::Fleet;
use super::report::report;
use crate::metrics::Metrics;
use crate::readiness::{Probe, ReadinessRegistry};

pub(super) struct Publisher {
    pod: String,
    server_version: String,
    reports: watch::Sender<Arc<PodReport>>,
    readiness: ReadinessRegistry,
    once_ready: OnceReady,
    critical: BTreeMap<PluginId, (Arc<CriticalPlugin>, Arc<dyn Probe>)>,
    /// What the metrics show.
    states: BTreeMap<PluginId, PluginState>,
}

impl Publisher {
    /// Begins with a report of `fleet`.
    pub(super) fn new(pod: String, server_version: String, fleet: &Fleet, readiness: ReadinessRegistry, once_ready: OnceReady) -> Self {
        let reports = watch::Sender::new(Arc::new(report(fleet, &pod, &server_version)));
        Self { pod, server_version, reports, readiness, once_ready, critical: BTreeMap::new(), states: BTreeMap::new() }
    }

    /// The newest report, and those to come.
    pub(super) fn reports(&self) -> watch::Receiver<Arc<PodReport>> {
        self.reports.subscribe()
    }

    /// The newest report.
    pub(super) fn report(&self) -> Arc<PodReport> {
        self.reports.borrow().clone()
    }

    pub(super) fn readiness(&self) -> &ReadinessRegistry {
        &self.readiness
    }

    pub(super) fn publish(&mut self, fleet: &Fleet, metrics: &Metrics) {
        let report = Arc::new(report(fleet, &self.pod, &self.server_version));
        metrics.set_revision(report.revision);
        for plugin in &report.plugins {
            if self.states.get(&plugin.plugin_id) != Some(&plugin.state) {
                metrics.set_state(&plugin.plugin_id, plugin.state);
                self.states.insert(plugin.plugin_id.clone(), plugin.state);
            }
        }
        self.publish_critical(fleet, &report);
        self.reports.send_if_modified(|current| {
            let is_new = **current != *report;
            *current = report;
            is_new
        });
    }

    /// A plugin that the pod has nothing to do with any more leaves no metrics behind.
    pub(super) fn forget(&mut self, plugin_id: &PluginId, metrics: &Metrics) {
        metrics.forget(plugin_id);
        self.states.remove(plugin_id);
    }

    fn publish_critical(&mut self, fleet: &Fleet, report: &PodReport) {
        let wanted: BTreeSet<&PluginId> = fleet.critical().collect();
        let is_active = |plugin: &&PluginReport| plugin.active.is_some() && wanted.contains(&plugin.plugin_id);
        let active: BTreeSet<&PluginId> = report.plugins.iter().filter(is_active).map(|plugin| &plugin.plugin_id).collect();
        self.critical.retain(|id, (_, probe)| {
            let keep = wanted.contains(id);
            if !keep {
                self.readiness.remove(&format!("plugins.{id}"), probe);
            }
            keep
        });
        for id in &wanted {
            let (gate, _) = self.critical.entry((*id).clone()).or_insert_with_key(|id| {
                let gate = Arc::new(CriticalPlugin::new(id.clone(), self.reports.subscribe(), self.once_ready.clone()));
                let probe: Arc<dyn Probe> = gate.clone();
                self.readiness.register(&format!("plugins.{id}"), probe.clone());
                (gate, probe)
            });
            if active.contains(id) {
                gate.is_active_now();
            }
        }
    }
}
