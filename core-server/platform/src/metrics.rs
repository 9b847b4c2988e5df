//! What `/.checkstack/metrics` shows. Labels are bounded: plugin ids are those of the current set,
//! outcomes and states are closed lists. [`catalogue`] has their names.

mod catalogue;
mod latency;
mod native;
mod services;
mod sockets;
mod usage;
mod waiting;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use checkstack_plugin_package::PluginId;

use self::latency::Latency;
pub(crate) use self::native::SecretOutcome;
pub use self::native::{CredentialKind, NativeMetrics, RefusalReason, SignInMethod, SignInOutcome};
pub(crate) use self::services::ServiceFigures;
use self::sockets::SocketMetrics;
pub(crate) use self::sockets::SocketUsage;
use self::usage::PluginUsage;
pub(crate) use self::waiting::WaitingJobs;
use crate::plugin::{CallFailure, Usage};

/// The page of the reference that names all metrics, `docs/reference/metrics.md`.
#[must_use]
pub fn reference() -> String {
    catalogue::page()
}

/// All metrics of this process.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    calls: Family<PluginOutcome, Counter>,
    call_seconds: Family<PluginLabel, Latency>,
    in_flight: Family<PluginLabel, Gauge>,
    states: Family<PluginState, Gauge>,
    activations: Family<PluginOutcome, Counter>,
    swaps: Family<PluginLabel, Counter>,
    quarantines: Family<PluginLabel, Counter>,
    revision: Gauge,
    artifact_uploads: Family<Outcome, Counter>,
    secrets: Family<PluginOutcome, Counter>,
    native: NativeMetrics,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginLabel {
    plugin: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginOutcome {
    plugin: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginState {
    plugin: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// How a call to a plugin ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallOutcome {
    /// An answer below 500.
    Answered,
    /// An answer of 500 or more, of the plugin's own.
    ServerError,
    /// See [`CallFailure`].
    Overloaded,
    /// See [`CallFailure`].
    DeadlineExceeded,
    /// See [`CallFailure`].
    Trapped,
    /// See [`CallFailure`].
    InvalidAnswer,
    /// See [`CallFailure`].
    NotRunning,
    /// See [`CallFailure`].
    TooDeep,
    /// See [`CallFailure`].
    Quarantined,
}

impl CallOutcome {
    /// In the order of their numbers.
    const ALL: [Self; 9] = [
        Self::Answered,
        Self::ServerError,
        Self::Overloaded,
        Self::DeadlineExceeded,
        Self::Trapped,
        Self::InvalidAnswer,
        Self::NotRunning,
        Self::TooDeep,
        Self::Quarantined,
    ];

    /// The value of the label, and of the attribute of spans.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::ServerError => "server_error",
            Self::Overloaded => "overloaded",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Trapped => "trapped",
            Self::InvalidAnswer => "invalid_answer",
            Self::NotRunning => "not_running",
            Self::TooDeep => "too_deep",
            Self::Quarantined => "quarantined",
        }
    }
}

impl From<&CallFailure> for CallOutcome {
    fn from(failure: &CallFailure) -> Self {
        match failure {
            CallFailure::Overloaded(_) => Self::Overloaded,
            CallFailure::DeadlineExceeded(..) => Self::DeadlineExceeded,
            CallFailure::Trapped(..) => Self::Trapped,
            CallFailure::InvalidAnswer(..) => Self::InvalidAnswer,
            CallFailure::NotRunning(_) => Self::NotRunning,
            CallFailure::TooDeep(_) => Self::TooDeep,
            CallFailure::Quarantined(..) => Self::Quarantined,
        }
    }
}

/// The metrics of one plugin, at hand for every call: nothing is looked up or locked.
pub(crate) struct CallMetrics {
    /// In the order of [`CallOutcome::ALL`].
    outcomes: [Counter; CallOutcome::ALL.len()],
    seconds: Latency,
    in_flight: Gauge,
}

const STATES: [&str; 5] = ["Loading", "Active", "Failed", "Blocked", "Draining"];

impl Metrics {
    /// Metrics of a server of this release; `usage` is asked for what plugins take.
    #[cfg(test)]
    pub(crate) fn new(server_version: &str, usage: impl Fn() -> Vec<(PluginId, Usage)> + Send + Sync + 'static) -> Self {
        Self::watching(server_version, usage, SocketUsage::default)
    }

    /// The same, and `sockets` for sockets and signals.
    pub(crate) fn watching(
        server_version: &str,
        usage: impl Fn() -> Vec<(PluginId, Usage)> + Send + Sync + 'static,
        sockets: impl Fn() -> SocketUsage + Send + Sync + 'static,
    ) -> Self {
        let mut registry = Registry::with_prefix(catalogue::PREFIX);
        let metrics = Self {
            registry: Arc::default(),
            calls: Family::default(),
            call_seconds: Family::default(),
            in_flight: Family::default(),
            states: Family::default(),
            activations: Family::default(),
            swaps: Family::default(),
            quarantines: Family::default(),
            revision: Gauge::default(),
            artifact_uploads: Family::default(),
            secrets: Family::default(),
            native: NativeMetrics::default(),
        };
        catalogue::BUILD.register(&mut registry, Info::new(vec![("version", server_version.to_owned())]));
        catalogue::CALLS.register(&mut registry, metrics.calls.clone());
        catalogue::CALL_SECONDS.register(&mut registry, metrics.call_seconds.clone());
        catalogue::IN_FLIGHT.register(&mut registry, metrics.in_flight.clone());
        catalogue::STATES.register(&mut registry, metrics.states.clone());
        catalogue::ACTIVATIONS.register(&mut registry, metrics.activations.clone());
        catalogue::SWAPS.register(&mut registry, metrics.swaps.clone());
        catalogue::QUARANTINES.register(&mut registry, metrics.quarantines.clone());
        catalogue::REVISION.register(&mut registry, metrics.revision.clone());
        catalogue::ARTIFACT_UPLOADS.register(&mut registry, metrics.artifact_uploads.clone());
        catalogue::SECRETS.register(&mut registry, metrics.secrets.clone());
        metrics.native.register(&mut registry);
        registry.register_collector(Box::new(PluginUsage::of(usage)));
        registry.register_collector(Box::new(SocketMetrics::of(sockets)));
        Self { registry: Arc::new(registry), ..metrics }
    }

    /// The text of OpenMetrics, with what the services of the server have at this moment.
    pub(crate) fn encode(&self, services: ServiceFigures) -> Result<String, fmt::Error> {
        let mut now = Registry::with_prefix(catalogue::PREFIX);
        now.register_collector(Box::new(services));
        let mut buffer = String::new();
        text::encode_registry(&mut buffer, &self.registry)?;
        text::encode_registry(&mut buffer, &now)?;
        text::encode_eof(&mut buffer)?;
        Ok(buffer)
    }

    /// For the parts of the server that count something themselves.
    pub(crate) fn native(&self) -> &NativeMetrics {
        &self.native
    }

    pub(crate) fn calls_of(&self, plugin_id: &PluginId) -> CallMetrics {
        let counter = |outcome: CallOutcome| {
            self.calls.get_or_create_owned(&PluginOutcome { plugin: plugin_id.to_string(), outcome: outcome.as_str() })
        };
        let label = PluginLabel { plugin: plugin_id.to_string() };
        CallMetrics {
            outcomes: CallOutcome::ALL.map(counter),
            seconds: self.call_seconds.get_or_create_owned(&label),
            in_flight: self.in_flight.get_or_create_owned(&label),
        }
    }

    pub(crate) fn set_state(&self, plugin_id: &PluginId, state: checkstack_control_api::report::PluginState) {
        let current = format!("{state:?}");
        for state in STATES {
            let value = i64::from(state == current);
            self.states.get_or_create_owned(&PluginState { plugin: plugin_id.to_string(), state }).set(value);
        }
    }

    pub(crate) fn activation(&self, plugin_id: &PluginId, succeeded: bool) {
        let outcome = if succeeded { "activated" } else { "failed" };
        self.activations.get_or_create_owned(&PluginOutcome { plugin: plugin_id.to_string(), outcome }).inc();
    }

    pub(crate) fn swapped(&self, plugin_id: &PluginId) {
        self.swaps.get_or_create_owned(&PluginLabel { plugin: plugin_id.to_string() }).inc();
    }

    pub(crate) fn quarantined(&self, plugin_id: &PluginId) {
        self.quarantines.get_or_create_owned(&PluginLabel { plugin: plugin_id.to_string() }).inc();
    }

    pub(crate) fn set_revision(&self, revision: u64) {
        self.revision.set(i64::try_from(revision).unwrap_or(i64::MAX));
    }

    /// `outcome` is one of a closed list.
    pub(crate) fn artifact_upload(&self, outcome: &'static str) {
        self.artifact_uploads.get_or_create_owned(&Outcome { outcome }).inc();
    }

    /// The references to secrets in a configuration were looked up.
    pub(crate) fn secrets_read(&self, plugin_id: &PluginId, outcome: SecretOutcome) {
        self.secrets.get_or_create_owned(&PluginOutcome { plugin: plugin_id.to_string(), outcome: outcome.as_str() }).inc();
    }

    /// A plugin that is gone leaves no series behind.
    pub(crate) fn forget(&self, plugin_id: &PluginId) {
        let plugin = plugin_id.to_string();
        for outcome in CallOutcome::ALL {
            self.calls.remove(&PluginOutcome { plugin: plugin.clone(), outcome: outcome.as_str() });
        }
        for outcome in ["activated", "failed"] {
            self.activations.remove(&PluginOutcome { plugin: plugin.clone(), outcome });
        }
        for outcome in SecretOutcome::ALL {
            self.secrets.remove(&PluginOutcome { plugin: plugin.clone(), outcome: outcome.as_str() });
        }
        for state in STATES {
            self.states.remove(&PluginState { plugin: plugin.clone(), state });
        }
        let label = PluginLabel { plugin };
        self.call_seconds.remove(&label);
        self.in_flight.remove(&label);
        self.swaps.remove(&label);
        self.quarantines.remove(&label);
    }
}

impl CallMetrics {
    /// Counts a call as in flight until the result is dropped.
    pub(crate) fn begin(&self) -> impl Drop + '_ {
        struct InFlight<'a>(&'a Gauge);
        impl Drop for InFlight<'_> {
            fn drop(&mut self) {
                self.0.dec();
            }
        }
        self.in_flight.inc();
        InFlight(&self.in_flight)
    }

    pub(crate) fn end(&self, outcome: CallOutcome, took: Duration) {
        if let Some(counter) = self.outcomes.get(outcome as usize) {
            counter.inc();
        }
        self.seconds.observe(took);
    }
}

#[cfg(test)]
mod tests;
