//! What the services of the server have and have done, gathered when somebody looks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use checkstack_cache::{ScopeName, ScopeUsage};
use checkstack_connections::PoolUsage;
use checkstack_events::{EventCounts, plugin_of_group};
use checkstack_jobs::{AttemptCounts, ProviderCounts, Waiting};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::catalogue::{self, Metric};
use crate::trace::SpansSoFar;

/// Of what waits: plugins that have gone.
const OTHER: &str = "other";

/// At one moment.
#[derive(Debug, Default)]
pub(crate) struct ServiceFigures {
    /// Plugins that may be named, with those of the server.
    pub(crate) plugins: BTreeSet<String>,
    /// By provider.
    pub(crate) jobs: BTreeMap<String, ProviderCounts>,
    /// None: it is not known.
    pub(crate) waiting: Option<(String, Vec<Waiting>)>,
    /// By plugin.
    pub(crate) events: BTreeMap<String, EventCounts>,
    pub(crate) caches: Vec<(ScopeName, ScopeUsage)>,
    /// In bytes.
    pub(crate) cache_limit: usize,
    /// By name.
    pub(crate) pools: Vec<(&'static str, PoolUsage)>,
    pub(crate) event_streams: usize,
    /// None: nobody collects traces.
    pub(crate) spans: Option<SpansSoFar>,
}

/// Of one series.
type Labels = Vec<(&'static str, String)>;

fn labels<const N: usize>(of: [(&'static str, &str); N]) -> Labels {
    of.into_iter().map(|(name, value)| (name, value.to_owned())).collect()
}

impl Collector for ServiceFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let encoder = &mut encoder;
        self.encode_jobs(encoder)?;
        self.encode_waiting(encoder)?;
        self.encode_events(encoder)?;
        self.encode_caches(encoder)?;
        self.encode_pools(encoder)?;
        self.encode_spans(encoder)?;
        gauge(self.event_streams as u64).encode(catalogue::EVENT_STREAMS.describe(encoder)?)
    }
}

impl ServiceFigures {
    fn is_known(&self, plugin: &str) -> bool {
        self.plugins.contains(plugin)
    }

    /// Events have figures of their own.
    fn encode_jobs(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut attempts: BTreeMap<(&str, &str), AttemptCounts> = BTreeMap::new();
        for (provider, counts) in &self.jobs {
            for (queue, of) in &counts.attempts {
                let Some(plugin) = owner(queue.as_str()).filter(|plugin| self.is_known(plugin)) else { continue };
                let sum = attempts.entry((provider, plugin)).or_default();
                sum.completed += of.completed;
                sum.retried += of.retried;
                sum.failed += of.failed;
                sum.given_back += of.given_back;
            }
        }
        let series = attempts.into_iter().flat_map(|((provider, plugin), of)| {
            let outcomes = [("completed", of.completed), ("retried", of.retried), ("failed", of.failed), ("given_back", of.given_back)];
            outcomes.map(|(outcome, count)| (labels([("provider", provider), ("plugin", plugin), ("outcome", outcome)]), count))
        });
        counters(encoder, &catalogue::JOB_ATTEMPTS, series)?;
        let recovered = self.jobs.iter().map(|(provider, counts)| (labels([("provider", provider)]), counts.recovered));
        counters(encoder, &catalogue::JOBS_RECOVERED, recovered)
    }

    fn encode_waiting(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some((provider, waiting)) = &self.waiting else { return Ok(()) };
        // Who has nothing that waits is shown as such: a series that comes and goes cannot be alarmed on.
        let mut all: BTreeMap<(&str, &str), (u64, u64, Duration)> =
            self.plugins.iter().flat_map(|plugin| ["job", "event"].map(|kind| ((plugin.as_str(), kind), Default::default()))).collect();
        for Waiting { queue, group, due, delayed, lag } in waiting {
            let (plugin, kind) = match plugin_of_group(queue, group) {
                Some(plugin) => (Some(plugin), "event"),
                None => (owner(queue), "job"),
            };
            let plugin = plugin.filter(|plugin| self.is_known(plugin)).unwrap_or(OTHER);
            let sum = all.entry((plugin, kind)).or_default();
            *sum = (sum.0 + due, sum.1 + delayed, sum.2.max(*lag));
        }
        let label = |(plugin, kind): &(&str, &str)| labels([("provider", provider), ("plugin", plugin), ("kind", kind)]);
        gauges(encoder, &catalogue::JOBS_WAITING, all.iter().map(|(of, (due, _, _))| (label(of), *due)))?;
        gauges(encoder, &catalogue::JOBS_DELAYED, all.iter().map(|(of, (_, delayed, _))| (label(of), *delayed)))?;
        let lags = all.iter().map(|(of, (_, _, lag))| (label(of), ConstGauge::new(lag.as_secs_f64())));
        encode(encoder, &catalogue::JOB_LAG, lags)
    }

    fn encode_events(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let known: Vec<_> = self.events.iter().filter(|(plugin, _)| self.is_known(plugin)).collect();
        let mut family = |metric: &Metric, of: fn(&EventCounts) -> u64| {
            counters(encoder, metric, known.iter().map(|(plugin, counts)| (labels([("plugin", plugin)]), of(counts))))
        };
        family(&catalogue::EVENTS_EMITTED, |counts| counts.emitted)?;
        family(&catalogue::EVENTS_LEFT_OUT, |counts| counts.left_out)?;
        family(&catalogue::EVENTS_DELIVERED, |counts| counts.delivered)?;
        family(&catalogue::EVENTS_FAILED, |counts| counts.failed)?;
        family(&catalogue::EVENTS_MISSED, |counts| counts.missed)
    }

    fn encode_caches(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let known: Vec<_> = self.caches.iter().filter(|(scope, _)| self.is_known(scope.as_str())).collect();
        let reads = known.iter().flat_map(|(scope, usage)| {
            [("hit", usage.hits), ("miss", usage.misses)]
                .map(|(outcome, count)| (labels([("plugin", scope.as_str()), ("outcome", outcome)]), count))
        });
        counters(encoder, &catalogue::CACHE_READS, reads)?;
        let of = |figure: fn(&ScopeUsage) -> u64| {
            let figures = known.iter().map(move |(scope, usage)| (labels([("plugin", scope.as_str())]), figure(usage)));
            figures.collect::<Vec<_>>()
        };
        counters(encoder, &catalogue::CACHE_EVICTIONS, of(|usage| usage.evictions))?;
        gauges(encoder, &catalogue::CACHE_ENTRIES, of(|usage| usage.entries))?;
        gauges(encoder, &catalogue::CACHE_BYTES, of(|usage| usage.bytes))?;
        gauge(self.cache_limit as u64).encode(catalogue::CACHE_LIMIT.describe(encoder)?)
    }

    fn encode_spans(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(SpansSoFar { exported, queue_full, not_taken }) = self.spans else { return Ok(()) };
        ConstCounter::new(exported).encode(catalogue::SPANS_EXPORTED.describe(encoder)?)?;
        let lost = [("queue_full", queue_full), ("not_taken", not_taken)];
        counters(encoder, &catalogue::SPANS_LOST, lost.map(|(reason, spans)| (labels([("reason", reason)]), spans)))
    }

    fn encode_pools(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let states = self.pools.iter().flat_map(|(pool, usage)| {
            [("in_use", usage.in_use), ("idle", usage.idle)].map(|(state, count)| (labels([("pool", pool), ("state", state)]), count))
        });
        gauges(encoder, &catalogue::CONNECTIONS, states)?;
        let of = |figure: fn(&PoolUsage) -> u64| {
            let figures = self.pools.iter().map(move |(pool, usage)| (labels([("pool", pool)]), figure(usage)));
            figures.collect::<Vec<_>>()
        };
        gauges(encoder, &catalogue::CONNECTIONS_LIMIT, of(|usage| usage.most))?;
        gauges(encoder, &catalogue::CONNECTIONS_WAITING, of(|usage| usage.waiting))?;
        counters(encoder, &catalogue::CONNECTION_TIMEOUTS, of(|usage| usage.timeouts))
    }
}

/// Whose queue it is: no id of a plugin has a dot.
fn owner(queue: &str) -> Option<&str> {
    queue.split_once('.').map(|(plugin, _)| plugin)
}

fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    metric: &Metric,
    series: impl IntoIterator<Item = (Labels, u64)>,
) -> Result<(), fmt::Error> {
    encode(encoder, metric, series.into_iter().map(|(labels, count)| (labels, ConstCounter::new(count))))
}

fn gauges(encoder: &mut DescriptorEncoder<'_>, metric: &Metric, series: impl IntoIterator<Item = (Labels, u64)>) -> Result<(), fmt::Error> {
    encode(encoder, metric, series.into_iter().map(|(labels, value)| (labels, gauge(value))))
}

fn gauge(value: u64) -> ConstGauge {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Nothing, not even a description, where there are no series.
fn encode<Measured: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    metric: &Metric,
    series: impl Iterator<Item = (Labels, Measured)>,
) -> Result<(), fmt::Error> {
    let mut series = series.peekable();
    if series.peek().is_none() {
        return Ok(());
    }
    let mut family = metric.describe(encoder)?;
    series.try_for_each(|(labels, measured)| measured.encode(family.encode_family(&labels)?))
}
