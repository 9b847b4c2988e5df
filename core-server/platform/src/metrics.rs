//! What `/.checkstack/metrics` shows. Labels are bounded: plugin ids are those of the current set,
//! outcomes and states are closed lists.

mod sockets;
mod usage;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

use checkstack_plugin_package::PluginId;

use self::sockets::SocketMetrics;
pub(crate) use self::sockets::SocketUsage;
use self::usage::PluginUsage;
use crate::plugin::{CallFailure, Usage};

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
    plugin_connections: Gauge,
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

    /// The value of the label.
    const fn as_str(self) -> &'static str {
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
        let mut registry = Registry::with_prefix("checkstack");
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
            plugin_connections: Gauge::default(),
        };
        registry.register("build", "The server's release", Info::new(vec![("version", server_version.to_owned())]));
        registry.register("plugin_calls", "Calls to plugins, from outside and from other plugins", metrics.calls.clone());
        registry.register("plugin_call_seconds", "How long calls to plugins took", metrics.call_seconds.clone());
        registry.register("plugin_calls_in_flight", "Calls to plugins that have not been answered yet", metrics.in_flight.clone());
        registry.register("plugin_state", "1 for the state that the plugin is in, in this pod", metrics.states.clone());
        registry.register("plugin_activations", "Attempts to bring a plugin up", metrics.activations.clone());
        registry.register("plugin_swaps", "How often a version of a plugin took the place of another that served", metrics.swaps.clone());
        registry.register(
            "plugin_quarantines",
            "How often a plugin trapped so often that calls to it were refused",
            metrics.quarantines.clone(),
        );
        registry.register("plugin_set_revision", "Revision of the plugin set that the pod works towards", metrics.revision.clone());
        registry.register("artifact_uploads", "Uploads to the artifact store through this pod", metrics.artifact_uploads.clone());
        registry.register("plugin_database_connections", "Open connections of plugins' database roles", metrics.plugin_connections.clone());
        registry.register_collector(Box::new(PluginUsage::of(usage)));
        registry.register_collector(Box::new(SocketMetrics::of(sockets)));
        Self { registry: Arc::new(registry), ..metrics }
    }

    /// Prometheus text.
    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        let mut buffer = String::new();
        text::encode(&mut buffer, &self.registry)?;
        Ok(buffer)
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

    pub(crate) fn set_plugin_connections(&self, open: usize) {
        self.plugin_connections.set(i64::try_from(open).unwrap_or(i64::MAX));
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

/// A histogram of durations without a lock, unlike that of `prometheus_client`.
#[derive(Debug, Clone, Default)]
struct Latency(Arc<LatencyBuckets>);

#[derive(Debug, Default)]
struct LatencyBuckets {
    counts: [AtomicU64; BOUNDS_MICROSECONDS.len() + 1],
    sum_nanoseconds: AtomicU64,
}

/// Upper bounds; a plugin answers in microseconds or waits for a database.
const BOUNDS_MICROSECONDS: [u64; 14] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 250_000, 1_000_000, 2_500_000, 10_000_000];

impl Latency {
    fn observe(&self, took: Duration) {
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROSECONDS.partition_point(|bound| *bound < microseconds);
        if let Some(count) = self.0.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.0.sum_nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl TypedMetric for Latency {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Latency {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let bounds = BOUNDS_MICROSECONDS.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.0.counts.iter().map(|count| count.load(Ordering::Relaxed))).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.sum_nanoseconds.load(Ordering::Relaxed) as f64 / 1e9;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: &str) -> PluginId {
        id.parse().unwrap()
    }

    #[test]
    fn calls_are_shown_by_plugin_and_outcome() {
        let metrics = Metrics::new("1.2.3", Vec::new);
        let calls = metrics.calls_of(&id("uptime"));
        let in_flight = calls.begin();
        calls.end(CallOutcome::Answered, Duration::from_micros(60));
        calls.end(CallOutcome::from(&CallFailure::Trapped(id("uptime"), String::new())), Duration::from_secs(60));
        let text = metrics.encode().unwrap();
        for line in [
            r#"checkstack_build_info{version="1.2.3"} 1"#,
            r#"checkstack_plugin_calls_total{plugin="uptime",outcome="answered"} 1"#,
            r#"checkstack_plugin_calls_total{plugin="uptime",outcome="trapped"} 1"#,
            r#"checkstack_plugin_calls_total{plugin="uptime",outcome="overloaded"} 0"#,
            r#"checkstack_plugin_call_seconds_bucket{le="0.0001",plugin="uptime"} 1"#,
            r#"checkstack_plugin_call_seconds_bucket{le="+Inf",plugin="uptime"} 2"#,
            r#"checkstack_plugin_call_seconds_count{plugin="uptime"} 2"#,
            r#"checkstack_plugin_calls_in_flight{plugin="uptime"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        drop(in_flight);
        assert!(metrics.encode().unwrap().contains(r#"checkstack_plugin_calls_in_flight{plugin="uptime"} 0"#));
    }

    #[test]
    fn every_failure_is_counted_by_its_kind() {
        let id = || id("uptime");
        let kinds = [
            CallFailure::Overloaded(id()),
            CallFailure::DeadlineExceeded(id(), 1),
            CallFailure::Trapped(id(), String::new()),
            CallFailure::InvalidAnswer(id(), String::new()),
            CallFailure::NotRunning(id()),
            CallFailure::TooDeep(id()),
            CallFailure::Quarantined(id(), 1),
        ];
        let failed = kinds.map(|failure| CallOutcome::from(&failure));
        assert_eq!(CallOutcome::ALL[2..], failed);
        assert!(CallOutcome::ALL.iter().enumerate().all(|(place, outcome)| *outcome as usize == place));
    }

    #[test]
    fn exactly_one_state_is_shown() {
        use checkstack_control_api::report::PluginState;
        let metrics = Metrics::new("1.2.3", Vec::new);
        for state in [PluginState::Loading, PluginState::Active, PluginState::Failed, PluginState::Blocked, PluginState::Draining] {
            metrics.set_state(&id("uptime"), state);
            let text = metrics.encode().unwrap();
            let shown: Vec<&str> =
                text.lines().filter(|line| line.starts_with("checkstack_plugin_state{") && line.ends_with(" 1")).collect();
            assert_eq!(shown, [format!(r#"checkstack_plugin_state{{plugin="uptime",state="{state:?}"}} 1"#)]);
        }
    }

    #[test]
    fn a_forgotten_plugin_leaves_no_series() {
        let metrics = Metrics::new("1.2.3", Vec::new);
        metrics.calls_of(&id("uptime")).end(CallOutcome::Answered, Duration::ZERO);
        metrics.set_state(&id("uptime"), checkstack_control_api::report::PluginState::Active);
        metrics.activation(&id("uptime"), true);
        metrics.forget(&id("uptime"));
        assert!(!metrics.encode().unwrap().contains("uptime"));
    }
}
