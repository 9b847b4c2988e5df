//! What plugins take, asked for when somebody looks.

use std::fmt;

use checkstack_plugin_package::PluginId;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::PluginLabel;
use crate::plugin::Usage;

type Ask = Box<dyn Fn() -> Vec<(PluginId, Usage)> + Send + Sync>;

/// The usage of all plugins that serve. Counters begin anew with each version of a plugin.
pub(super) struct PluginUsage(Ask);

impl PluginUsage {
    pub(super) fn of(ask: impl Fn() -> Vec<(PluginId, Usage)> + Send + Sync + 'static) -> Self {
        Self(Box::new(ask))
    }
}

impl fmt::Debug for PluginUsage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PluginUsage").finish_non_exhaustive()
    }
}

impl Collector for PluginUsage {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let plugins: Vec<(PluginLabel, Usage)> =
            (self.0)().into_iter().map(|(plugin_id, usage)| (PluginLabel { plugin: plugin_id.to_string() }, usage)).collect();
        let gauge = |value: u64| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        let mut gauges =
            |name, help, of: fn(&Usage) -> u64| family(&mut encoder, &plugins, name, help, MetricType::Gauge, |usage| gauge(of(usage)));
        gauges("plugin_instances", "Instances of plugins, those at rest included", |usage| usage.instances)?;
        gauges("plugin_memory_bytes", "Memory of all instances of a plugin", |usage| usage.memory_bytes)?;
        gauges("plugin_calls_waiting", "Calls that wait for an instance of the plugin", |usage| usage.waiting)?;
        let mut counters = |name, help, of: fn(&Usage) -> f64| {
            family(&mut encoder, &plugins, name, help, MetricType::Counter, |usage| ConstCounter::new(of(usage)))
        };
        counters("plugin_queue_seconds", "How long calls have waited for an instance of the plugin", |usage| usage.queued.as_secs_f64())?;
        counters("plugin_busy_seconds", "How long threads have worked for the plugin", |usage| usage.busy.as_secs_f64())
    }
}

fn family<Metric: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    plugins: &[(PluginLabel, Usage)],
    name: &str,
    help: &str,
    kind: MetricType,
    metric: impl Fn(&Usage) -> Metric,
) -> Result<(), fmt::Error> {
    if plugins.is_empty() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    plugins.iter().try_for_each(|(label, usage)| metric(usage).encode(family.encode_family(label)?))
}
