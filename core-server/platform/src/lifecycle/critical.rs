//! When a critical plugin decides over the pod's readiness.
//!
//! A new pod waits for it: a rollout with a plugin that does not come up stops at the first pod.
//! A pod that has been ready is not taken out because a plugin was added that does not come up: that
//! would take out all pods at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use checkstack_control_api::report::{PluginReason, PodReport};
use checkstack_plugin_package::PluginId;
use tokio::sync::watch;

use crate::readiness::{Finding, Probe, Words};

/// Whether this pod has ever been ready.
#[derive(Clone, Default)]
pub(crate) struct OnceReady(Arc<AtomicBool>);

impl OnceReady {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The probe `plugins.<id>`.
pub(super) struct CriticalPlugin {
    plugin_id: PluginId,
    reports: watch::Receiver<Arc<PodReport>>,
    has_been_active: AtomicBool,
    once_ready: OnceReady,
}

impl CriticalPlugin {
    pub(super) fn new(plugin_id: PluginId, reports: watch::Receiver<Arc<PodReport>>, once_ready: OnceReady) -> Self {
        Self { plugin_id, reports, has_been_active: AtomicBool::new(false), once_ready }
    }

    pub(super) fn is_active_now(&self) {
        self.has_been_active.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Probe for CriticalPlugin {
    async fn check(&self) -> Result<Finding, Words> {
        let report = self.reports.borrow().clone();
        let plugin = report.plugins.iter().find(|plugin| plugin.plugin_id == self.plugin_id);
        Ok(match plugin {
            Some(plugin) => {
                // What the plugin says is in the report, for the operator.
                let message = (plugin.reason != PluginReason::Active).then(|| Words::public(format!("{:?}", plugin.reason)));
                Finding { ok: plugin.active.is_some(), message }
            }
            None => Finding { ok: false, message: Some(Words::public("is not running")) },
        })
    }

    fn is_critical(&self) -> bool {
        self.has_been_active.load(Ordering::Relaxed) || !self.once_ready.get()
    }
}
