//! Every metric that there is, in one place: what is registered, and the page of the reference, are made of it.

use std::fmt::Write as _;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Metric as Measured, Registry};

/// What the names of all metrics begin with.
pub(super) const PREFIX: &str = "checkstack";

/// One metric.
#[derive(Debug)]
pub(super) struct Metric {
    /// Without the prefix, and without the ending that its kind has.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Names of its labels. What values they have is in [`LABELS`].
    pub(super) labels: &'static [&'static str],
    /// One sentence, without a full stop.
    pub(super) help: &'static str,
}

/// Kinds of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help }
}

impl Kind {
    const fn metric_type(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Histogram => MetricType::Histogram,
            Self::Info => MetricType::Info,
        }
    }

    /// As Prometheus names it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }

    /// What the names of series have at their end, besides the name of the metric.
    const fn ending(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Info => "_info",
            Self::Gauge | Self::Histogram => "",
        }
    }
}

impl Metric {
    /// Registers what is measured.
    pub(super) fn register(&self, registry: &mut Registry, measured: impl Measured) {
        registry.register(self.name, self.help, measured);
    }

    /// For collectors.
    pub(super) fn describe<'a>(&'a self, encoder: &'a mut DescriptorEncoder<'_>) -> Result<MetricEncoder<'a>, std::fmt::Error> {
        encoder.encode_descriptor(self.name, self.help, None, self.kind.metric_type())
    }

    /// As one writes it in a query.
    fn full_name(&self) -> String {
        format!("{PREFIX}_{}{}", self.name, self.kind.ending())
    }
}

pub(super) const BUILD: Metric = Metric { name: "build", kind: Kind::Info, labels: &["version"], help: "The server's release" };

pub(super) const CALLS: Metric = counter("plugin_calls", &["plugin", "outcome"], "Calls to plugins, from outside and from other plugins");
pub(super) const CALL_SECONDS: Metric =
    Metric { name: "plugin_call_seconds", kind: Kind::Histogram, labels: &["plugin"], help: "How long calls to plugins took" };
pub(super) const IN_FLIGHT: Metric = gauge("plugin_calls_in_flight", &["plugin"], "Calls to plugins that have not been answered yet");
pub(super) const STATES: Metric = gauge("plugin_state", &["plugin", "state"], "1 for the state that the plugin is in, in this pod");
pub(super) const ACTIVATIONS: Metric = counter("plugin_activations", &["plugin", "outcome"], "Attempts to bring a plugin up");
pub(super) const SWAPS: Metric =
    counter("plugin_swaps", &["plugin"], "How often a version of a plugin took the place of another that served");
pub(super) const QUARANTINES: Metric =
    counter("plugin_quarantines", &["plugin"], "How often a plugin trapped so often that calls to it were refused");
pub(super) const REVISION: Metric = gauge("plugin_set_revision", &[], "Revision of the plugin set that the pod works towards");
pub(super) const ARTIFACT_UPLOADS: Metric = counter("artifact_uploads", &["outcome"], "Uploads to the artifact store through this pod");
pub(super) const INSTANCES: Metric = gauge("plugin_instances", &["plugin"], "Instances of plugins, those at rest included");
pub(super) const MEMORY: Metric = gauge("plugin_memory_bytes", &["plugin"], "Memory of all instances of a plugin");
pub(super) const CALLS_WAITING: Metric = gauge("plugin_calls_waiting", &["plugin"], "Calls that wait for an instance of the plugin");
pub(super) const QUEUE_SECONDS: Metric =
    counter("plugin_queue_seconds", &["plugin"], "How long calls have waited for an instance of the plugin");
pub(super) const BUSY_SECONDS: Metric = counter("plugin_busy_seconds", &["plugin"], "How long threads have worked for the plugin");

pub(super) const SIGN_INS: Metric = counter("sign_ins", &["method", "outcome"], "Sign-ins that have come to an end, well or not");
pub(super) const CREDENTIALS_REFUSED: Metric =
    counter("credentials_refused", &["kind", "reason"], "Requests with a key, a token or a session that does not count");
pub(super) const SECRETS: Metric =
    counter("secret_reads", &["plugin", "outcome"], "Configurations with references to secrets that were put together");

pub(super) const JOB_ATTEMPTS: Metric =
    counter("job_attempts", &["provider", "plugin", "outcome"], "Attempts at jobs of plugins that have ended in this pod");
pub(super) const JOBS_RECOVERED: Metric =
    counter("jobs_recovered", &["provider"], "Jobs that this pod has taken from workers that were gone");
pub(super) const JOBS_WAITING: Metric =
    gauge("jobs_waiting", &["provider", "plugin", "kind"], "Jobs and events that could be taken now and are not");
pub(super) const JOBS_DELAYED: Metric =
    gauge("jobs_delayed", &["provider", "plugin", "kind"], "Jobs and events that are to be taken later, those to be tried again included");
pub(super) const JOB_LAG: Metric =
    gauge("job_lag_seconds", &["provider", "plugin", "kind"], "For how long the job or event that waits longest could have been taken");

pub(super) const EVENTS_EMITTED: Metric = counter("events_emitted", &["plugin"], "Events of the plugin that were emitted in this pod");
pub(super) const EVENTS_LEFT_OUT: Metric =
    counter("events_left_out", &["plugin"], "Groups that did not get an event of the plugin, because too many waited for them");
pub(super) const EVENTS_DELIVERED: Metric = counter("events_delivered", &["plugin"], "Events that the plugin has heard in this pod");
pub(super) const EVENTS_FAILED: Metric =
    counter("event_deliveries_failed", &["plugin"], "Attempts to tell the plugin of an event that have failed in this pod");
pub(super) const EVENTS_MISSED: Metric =
    counter("event_gaps", &["plugin"], "How often a subscription of the plugin may have missed broadcasts");

pub(super) const CACHE_READS: Metric =
    counter("cache_reads", &["plugin", "outcome"], "Values that were asked for, since the provider became active");
pub(super) const CACHE_EVICTIONS: Metric =
    counter("cache_evictions", &["plugin"], "Entries that had to make way, since the provider became active");
pub(super) const CACHE_ENTRIES: Metric = gauge("cache_entries", &["plugin"], "Entries in this pod's cache");
pub(super) const CACHE_BYTES: Metric = gauge("cache_bytes", &["plugin"], "What they take, with keys and what it costs to keep them");
pub(super) const CACHE_LIMIT: Metric = gauge("cache_limit_bytes", &[], "What the caches of all plugins may take in this pod");

pub(super) const SOCKETS_OPEN: Metric = gauge("sockets_open", &["kind"], "Open WebSockets");
pub(super) const SIGNALS_SENT: Metric = counter("signals_sent", &["kind"], "Signals that this pod has sent to all replicas");
pub(super) const SIGNALS_DELIVERED: Metric = counter("signals_delivered", &[], "Signals to sockets of this pod");
pub(super) const SLOW_SOCKETS: Metric =
    counter("signal_sockets_slow", &[], "Sockets of browsers that were closed because they did not keep up");
pub(super) const EVENT_STREAMS: Metric = gauge("event_streams_open", &[], "Answers that are streams of events and have not ended");

pub(super) const CONNECTIONS: Metric = gauge("database_connections", &["pool", "state"], "Open connections to PostgreSQL");
pub(super) const CONNECTIONS_LIMIT: Metric = gauge("database_connections_limit", &["pool"], "Connections that there may be");
pub(super) const CONNECTIONS_WAITING: Metric =
    gauge("database_connections_waiting", &["pool"], "Callers for whom there is no connection yet");
pub(super) const CONNECTION_TIMEOUTS: Metric =
    counter("database_connection_timeouts", &["pool"], "Callers who have got no connection in time");

pub(super) const SPANS_EXPORTED: Metric = counter("trace_spans_exported", &[], "Spans that the collector has taken");
pub(super) const SPANS_LOST: Metric = counter("trace_spans_lost", &["reason"], "Spans that the collector has not got");

/// All of them, as the page shows them.
pub(super) const ALL: [(&str, &[&Metric]); 9] = [
    ("The server", &[&BUILD, &REVISION, &ARTIFACT_UPLOADS]),
    (
        "Plugins",
        &[
            &STATES,
            &ACTIVATIONS,
            &SWAPS,
            &QUARANTINES,
            &CALLS,
            &CALL_SECONDS,
            &IN_FLIGHT,
            &CALLS_WAITING,
            &QUEUE_SECONDS,
            &BUSY_SECONDS,
            &INSTANCES,
            &MEMORY,
        ],
    ),
    ("Who signs in, and secrets", &[&SIGN_INS, &CREDENTIALS_REFUSED, &SECRETS]),
    ("Jobs", &[&JOB_ATTEMPTS, &JOBS_RECOVERED, &JOBS_WAITING, &JOBS_DELAYED, &JOB_LAG]),
    ("Events", &[&EVENTS_EMITTED, &EVENTS_LEFT_OUT, &EVENTS_DELIVERED, &EVENTS_FAILED, &EVENTS_MISSED]),
    ("Caches", &[&CACHE_READS, &CACHE_EVICTIONS, &CACHE_ENTRIES, &CACHE_BYTES, &CACHE_LIMIT]),
    ("Browsers", &[&SOCKETS_OPEN, &SIGNALS_SENT, &SIGNALS_DELIVERED, &SLOW_SOCKETS, &EVENT_STREAMS]),
    ("The database", &[&CONNECTIONS, &CONNECTIONS_LIMIT, &CONNECTIONS_WAITING, &CONNECTION_TIMEOUTS]),
    ("Traces, where they are sent to a collector", &[&SPANS_EXPORTED, &SPANS_LOST]),
];

/// What the values of labels are. Of none there can be more than plugins, or the list is closed.
const LABELS: [(&str, &str); 10] = [
    (
        "kind",
        "of what it is: `signals`, `routes`; `broadcast`, `users`; `job`, `event`; `application_key`, `session`, `service_token`, `malformed`",
    ),
    ("method", "`password` or `oidc`"),
    (
        "outcome",
        "how it ended. Calls: `answered`, `server_error`, `overloaded`, `deadline_exceeded`, `trapped`, `invalid_answer`, `not_running`, \
         `too_deep`, `quarantined`. Activations: `activated`, `failed`. Uploads: `created`, `existed`, `refused`. Jobs: \
         `completed`, `retried`, `failed`, `given_back`. Caches: `hit`, `miss`. Secrets: `resolved`, `missing`, `unreadable`, `unavailable`, `invalid`. \
         Sign-ins: `success`, `wrong_password`, `too_many`, `invalid`, `not_begun`, `refused`, `invalid_token`, `not_admitted`, `unavailable`, \
         `misconfigured`",
    ),
    (
        "plugin",
        "id of a plugin of the set, or of a part of the server (`core`, `auth` and so on); of what waits, also `other`: for plugins that have gone",
    ),
    (
        "pool",
        "`core`: the server's own work; `key_value`: key-value stores and settings of plugins; `plugins`: plugins with their own roles",
    ),
    ("provider", "id of the provider of the queues: `postgres`, `memory`"),
    (
        "reason",
        "`unknown`: it does not count, or not any more; `too_many`: it was not looked at, since too many did not. Of spans: `queue_full`: \
         too many waited; `not_taken`: the collector did not take them",
    ),
    ("state", "of a plugin: `Loading`, `Active`, `Failed`, `Blocked`, `Draining`; of a connection: `in_use`, `idle`"),
    ("version", "the release"),
    ("le", "upper bound of a histogram's bucket, in seconds"),
];

/// `docs/reference/metrics.md`.
pub(super) fn page() -> String {
    let mut page = "<!-- Generated by the example metrics_reference of checkstack-platform; change \
                    core-server/platform/src/metrics/catalogue.rs instead. -->\n\n# Metrics\n\n\
                    Each pod of an instance shows these at `GET /.checkstack/metrics`, in the text format of OpenMetrics. Figures are those of the \
                    pod, but for `checkstack_jobs_waiting`, `checkstack_jobs_delayed` and `checkstack_job_lag_seconds` with the provider `postgres`: \
                    these are of all replicas, the same in each, at most ten seconds old, and absent while the database does not answer. \
                    A plugin that has left the set leaves no series behind.\n"
        .to_owned();
    for (title, metrics) in ALL {
        // Writing to a text does not fail.
        let _ = write!(page, "\n## {title}\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n");
        for metric in metrics {
            let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let _ = writeln!(page, "| `{}` | {} | {} | {}. |", metric.full_name(), metric.kind.as_str(), labels.join(", "), metric.help);
        }
    }
    page.push_str("\n## Labels\n\n| label | values |\n|---|---|\n");
    for (label, values) in LABELS {
        let _ = writeln!(page, "| `{label}` | {values} |");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_the_catalogue_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/metrics.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        let remedy = "make generate, or cargo run -p checkstack-platform --example metrics_reference > docs/reference/metrics.md";
        assert!(written == page(), "docs/reference/metrics.md differs from the catalogue: {remedy}");
    }

    #[test]
    fn every_label_is_explained_and_names_are_what_prometheus_asks_for() {
        for metric in ALL.iter().flat_map(|(_, metrics)| metrics.iter()) {
            for label in metric.labels {
                assert!(LABELS.iter().any(|(known, _)| known == label), "{label}");
            }
            assert!(metric.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", metric.name);
            assert!(!metric.name.ends_with("_total") && !metric.name.ends_with("_info"), "{}", metric.name);
            assert!(!metric.help.ends_with('.'), "{}", metric.help);
        }
    }
}
