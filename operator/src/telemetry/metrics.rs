//! Metrics of the operator. Every label has a closed set of values: nothing that a user names
//! becomes a label.

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// Declares a label value: an enum whose variants are written in snake case.
macro_rules! label_value {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every value of this label.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The value as it is written.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
                EncodeLabelValue::encode(&self.as_str(), encoder)
            }
        }
    };
}

label_value! {
    /// Which controller.
    ControllerName {
        /// Of CheckstackPlugin.
        Plugin = "plugin",
        /// Of Checkstack.
        Instance = "instance",
    }
}

label_value! {
    /// How a reconciliation ended.
    ReconcileResult {
        /// Nothing failed.
        Success = "success",
        /// Something failed; `reconcile_errors_total` says of which class.
        Error = "error",
    }
}

label_value! {
    /// What kind of failure.
    ErrorClass {
        /// Trying again may help.
        Transient = "transient",
        /// Only a change helps.
        Terminal = "terminal",
        /// Another writer was quicker; tried again at once.
        Conflict = "conflict",
    }
}

label_value! {
    /// Where a package comes from.
    FetchSource {
        /// `tarball.url`.
        Url = "url",
        /// `tarball.configMapRef`.
        ConfigMap = "config_map",
    }
}

label_value! {
    /// A call of the control API.
    PodCall {
        /// The pod's report.
        Report = "report",
        /// The pod's readiness snapshot.
        Readiness = "readiness",
        /// Delivery of a plugin set.
        PluginSet = "plugin_set",
        /// Whether the store has an artifact.
        HasArtifact = "has_artifact",
        /// Upload of an artifact.
        PutArtifact = "put_artifact",
        /// Deletion of artifacts that are of no use.
        CollectArtifacts = "collect_artifacts",
        /// Asks for another try of failed plugins.
        Reconcile = "reconcile",
        /// Removal of what a plugin keeps in the database.
        PurgeData = "purge_data",
    }
}

label_value! {
    /// How a CheckstackPlugin fares.
    PluginStateName {
        /// Every pod serves it.
        Ready = "ready",
        /// On its way.
        Progressing = "progressing",
        /// Something must be changed.
        Failed = "failed",
        /// `enabled: false`.
        Disabled = "disabled",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ControllerLabels {
    controller: ControllerName,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    controller: ControllerName,
    result: ReconcileResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    controller: ControllerName,
    class: ErrorClass,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FetchLabels {
    source: FetchSource,
    result: ReconcileResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PodCallLabels {
    call: PodCall,
    result: ReconcileResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginStateLabels {
    state: PluginStateName,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WatchLabels {
    kind: &'static str,
}

/// What is counted when the metrics are read, because it is cheaper than to keep count.
pub trait Inventory: Send + Sync {
    /// How many plugins are in each state.
    fn plugins(&self) -> Vec<(PluginStateName, i64)>;
    /// How many instances there are.
    fn instances(&self) -> i64;
    /// How many objects wait to be reconciled because of what pods reported.
    fn waiting(&self) -> Vec<(ControllerName, i64)>;
}

/// All metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    inventory: Arc<Mutex<Vec<Arc<dyn Inventory>>>>,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_errors: Family<ErrorLabels, Counter>,
    reconcile_duration: Family<ControllerLabels, Histogram>,
    in_flight: Family<ControllerLabels, Gauge>,
    waiting: Family<ControllerLabels, Gauge>,
    watch_errors: Family<WatchLabels, Counter>,
    fetches: Family<FetchLabels, Counter>,
    fetch_duration: Family<FetchLabels, Histogram>,
    fetched_bytes: Counter,
    pod_calls: Family<PodCallLabels, Counter>,
    pod_call_duration: Family<PodCallLabels, Histogram>,
    plugins: Family<PluginStateLabels, Gauge>,
    instances: Gauge,
    leader: Gauge<i64, AtomicI64>,
}

const RECONCILE_BUCKETS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];
const CALL_BUCKETS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 2.0, 10.0, 60.0];

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics that have counted nothing.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Arc::default(),
            inventory: Arc::default(),
            reconciles: Family::default(),
            reconcile_errors: Family::default(),
            reconcile_duration: Family::new_with_constructor(|| Histogram::new(RECONCILE_BUCKETS)),
            in_flight: Family::default(),
            waiting: Family::default(),
            watch_errors: Family::default(),
            fetches: Family::default(),
            fetch_duration: Family::new_with_constructor(|| Histogram::new(CALL_BUCKETS)),
            fetched_bytes: Counter::default(),
            pod_calls: Family::default(),
            pod_call_duration: Family::new_with_constructor(|| Histogram::new(CALL_BUCKETS)),
            plugins: Family::default(),
            instances: Gauge::default(),
            leader: Gauge::default(),
        };
        metrics.registry = Arc::new(metrics.register());
        metrics
    }

    fn register(&self) -> Registry {
        let mut registry = Registry::with_prefix("checkstack_operator");
        registry.register("build", "The release of the operator", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("reconciles", "Reconciliations that ended", self.reconciles.clone());
        registry.register("reconcile_errors", "Reconciliations that failed", self.reconcile_errors.clone());
        registry.register_with_unit("reconcile_duration", "How long reconciliations took", Unit::Seconds, self.reconcile_duration.clone());
        registry.register("reconciles_in_flight", "Reconciliations that run now", self.in_flight.clone());
        registry.register("queue_length", "Objects that wait because pods reported something", self.waiting.clone());
        registry.register("watch_errors", "Watches of the API server that broke", self.watch_errors.clone());
        registry.register("fetches", "Packages that were fetched, or not", self.fetches.clone());
        registry.register_with_unit("fetch_duration", "How long fetching a package took", Unit::Seconds, self.fetch_duration.clone());
        registry.register_with_unit("fetched", "Size of the packages that were fetched", Unit::Bytes, self.fetched_bytes.clone());
        registry.register("pod_calls", "Calls to pods", self.pod_calls.clone());
        registry.register_with_unit("pod_call_duration", "How long calls to pods took", Unit::Seconds, self.pod_call_duration.clone());
        registry.register("plugins", "CheckstackPlugins by state", self.plugins.clone());
        registry.register("instances", "Checkstack instances", self.instances.clone());
        registry.register("leader", "1 while this process is the active operator", self.leader.clone());
        registry
    }

    /// Adds something to count when the metrics are read.
    pub fn add_inventory(&self, inventory: Arc<dyn Inventory>) {
        self.inventory.lock().unwrap_or_else(PoisonError::into_inner).push(inventory);
    }

    /// The metrics in the text format of OpenMetrics.
    ///
    /// # Errors
    /// Formatting failed.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        self.take_inventory();
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn take_inventory(&self) {
        let inventory = self.inventory.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let count = |state| {
            let of = |inventory: &Arc<dyn Inventory>| {
                inventory.plugins().into_iter().filter(|(of, _)| *of == state).map(|(_, n)| n).sum::<i64>()
            };
            inventory.iter().map(of).sum::<i64>()
        };
        for &state in PluginStateName::ALL {
            self.plugins.get_or_create(&PluginStateLabels { state }).set(count(state));
        }
        self.instances.set(inventory.iter().map(|inventory| inventory.instances()).sum());
        let waiting: Vec<_> = inventory.iter().flat_map(|inventory| inventory.waiting()).collect();
        for &controller in ControllerName::ALL {
            let length = waiting.iter().filter(|(of, _)| *of == controller).map(|(_, length)| length).sum();
            self.waiting.get_or_create(&ControllerLabels { controller }).set(length);
        }
    }

    pub(crate) fn reconcile_started(&self, controller: ControllerName) -> InFlight {
        let gauge = self.in_flight.get_or_create_owned(&ControllerLabels { controller });
        gauge.inc();
        InFlight(gauge)
    }

    pub(crate) fn reconcile_ended(&self, controller: ControllerName, error: Option<ErrorClass>, took: Duration) {
        let result = if error.is_some() { ReconcileResult::Error } else { ReconcileResult::Success };
        self.reconciles.get_or_create(&ReconcileLabels { controller, result }).inc();
        self.reconcile_duration.get_or_create(&ControllerLabels { controller }).observe(took.as_secs_f64());
        if let Some(class) = error {
            self.reconcile_errors.get_or_create(&ErrorLabels { controller, class }).inc();
        }
    }

    pub(crate) fn watch_failed(&self, kind: &'static str) {
        self.watch_errors.get_or_create(&WatchLabels { kind }).inc();
    }

    pub(crate) fn fetched(&self, source: FetchSource, size: Option<usize>, took: Duration) {
        let result = if size.is_some() { ReconcileResult::Success } else { ReconcileResult::Error };
        let labels = FetchLabels { source, result };
        self.fetches.get_or_create(&labels).inc();
        self.fetch_duration.get_or_create(&labels).observe(took.as_secs_f64());
        self.fetched_bytes.inc_by(size.unwrap_or(0) as u64);
    }

    pub(crate) fn pod_called(&self, call: PodCall, success: bool, took: Duration) {
        let result = if success { ReconcileResult::Success } else { ReconcileResult::Error };
        let labels = PodCallLabels { call, result };
        self.pod_calls.get_or_create(&labels).inc();
        self.pod_call_duration.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub(crate) fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }
}

/// Counts a reconciliation as running for as long as it lives, also when it is cancelled.
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    struct TwoReady;

    impl Inventory for TwoReady {
        fn plugins(&self) -> Vec<(PluginStateName, i64)> {
            vec![(PluginStateName::Ready, 2)]
        }
        fn instances(&self) -> i64 {
            1
        }
        fn waiting(&self) -> Vec<(ControllerName, i64)> {
            vec![(ControllerName::Plugin, 3)]
        }
    }

    #[test]
    fn what_is_counted_is_told() {
        let metrics = Metrics::new();
        metrics.add_inventory(Arc::new(TwoReady));
        metrics.add_inventory(Arc::new(TwoReady));
        metrics.reconcile_ended(ControllerName::Plugin, None, Duration::from_millis(7));
        metrics.reconcile_ended(ControllerName::Instance, Some(ErrorClass::Transient), Duration::from_millis(7));
        metrics.fetched(FetchSource::Url, Some(4), Duration::from_millis(7));
        metrics.pod_called(PodCall::Report, false, Duration::from_millis(7));
        metrics.watch_failed("pods");
        let text = metrics.encode().unwrap();
        for line in [
            r#"checkstack_operator_reconciles_total{controller="plugin",result="success"} 1"#,
            r#"checkstack_operator_reconcile_errors_total{controller="instance",class="transient"} 1"#,
            r#"checkstack_operator_reconcile_duration_seconds_bucket{le="0.01",controller="plugin"} 1"#,
            r#"checkstack_operator_fetched_bytes_total 4"#,
            r#"checkstack_operator_pod_calls_total{call="report",result="error"} 1"#,
            r#"checkstack_operator_watch_errors_total{kind="pods"} 1"#,
            r#"checkstack_operator_plugins{state="ready"} 4"#,
            r#"checkstack_operator_plugins{state="failed"} 0"#,
            r#"checkstack_operator_instances 2"#,
            r#"checkstack_operator_queue_length{controller="plugin"} 6"#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_cancelled_reconciliation_is_no_longer_in_flight() {
        let metrics = Metrics::new();
        let line = |count| format!("reconciles_in_flight{{controller=\"plugin\"}} {count}");
        let running = metrics.reconcile_started(ControllerName::Plugin);
        assert!(metrics.encode().unwrap().contains(&line(1)));
        drop(running);
        assert!(metrics.encode().unwrap().contains(&line(0)));
    }
}
