//! What plugins take, asked for when somebody looks.

use std::fmt;

use checkstack_plugin_package::PluginId;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{PluginLabel, catalogue};
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
            |family: &catalogue::Metric, of: fn(&Usage) -> u64| encode(&mut encoder, &plugins, family, |usage| gauge(of(usage)));
        gauges(&catalogue::INSTANCES, |usage| usage.instances)?;
        gauges(&catalogue::MEMORY, |usage| usage.memory_bytes)?;
        gauges(&catalogue::CALLS_WAITING, |usage| usage.waiting)?;
        let mut counters = |family: &catalogue::Metric, of: fn(&Usage) -> f64| {
            encode(&mut encoder, &plugins, family, |usage| ConstCounter::new(of(usage)))
        };
        counters(&catalogue::QUEUE_SECONDS, |usage| usage.queued.as_secs_f64())?;
        counters(&catalogue::BUSY_SECONDS, |usage| usage.busy.as_secs_f64())
    }
}

fn encode<Measured: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    plugins: &[(PluginLabel, Usage)],
    family: &catalogue::Metric,
    measured: impl Fn(&Usage) -> Measured,
) -> Result<(), fmt::Error> {
    if plugins.is_empty() {
        return Ok(());
    }
    let mut family = family.describe(encoder)?;
    plugins.iter().try_for_each(|(label, usage)| measured(usage).encode(family.encode_family(label)?))
}
