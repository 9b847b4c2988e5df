//! Sockets and signals, asked for when somebody looks.

use std::fmt;

use checkstack_signals::Statistics;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::catalogue;

/// What there is in this pod.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SocketUsage {
    pub(crate) signals: Statistics,
    /// Open sockets of the routes of plugins.
    pub(crate) routes: u64,
}

type Ask = Box<dyn Fn() -> SocketUsage + Send + Sync>;

pub(super) struct SocketMetrics(Ask);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

impl SocketMetrics {
    pub(super) fn of(ask: impl Fn() -> SocketUsage + Send + Sync + 'static) -> Self {
        Self(Box::new(ask))
    }
}

impl fmt::Debug for SocketMetrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SocketMetrics").finish_non_exhaustive()
    }
}

impl Collector for SocketMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let SocketUsage { signals, routes } = (self.0)();
        let mut sockets = catalogue::SOCKETS_OPEN.describe(&mut encoder)?;
        for (kind, open) in [("signals", signals.open), ("routes", routes)] {
            ConstGauge::new(i64::try_from(open).unwrap_or(i64::MAX)).encode(sockets.encode_family(&Kind { kind })?)?;
        }
        let mut sent = catalogue::SIGNALS_SENT.describe(&mut encoder)?;
        for (kind, count) in [("broadcast", signals.broadcasts), ("users", signals.to_users)] {
            ConstCounter::new(count).encode(sent.encode_family(&Kind { kind })?)?;
        }
        ConstCounter::new(signals.delivered).encode(catalogue::SIGNALS_DELIVERED.describe(&mut encoder)?)?;
        ConstCounter::new(signals.slow).encode(catalogue::SLOW_SOCKETS.describe(&mut encoder)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Metrics, ServiceFigures};

    #[test]
    fn sockets_and_signals_are_shown() {
        let signals = Statistics { open: 3, broadcasts: 4, to_users: 5, delivered: 6, slow: 7 };
        let text =
            Metrics::watching("1.2.3", Vec::new, move || SocketUsage { signals, routes: 2 }).encode(ServiceFigures::default()).unwrap();
        for line in [
            r#"checkstack_sockets_open{kind="signals"} 3"#,
            r#"checkstack_sockets_open{kind="routes"} 2"#,
            r#"checkstack_signals_sent_total{kind="broadcast"} 4"#,
            r#"checkstack_signals_sent_total{kind="users"} 5"#,
            "checkstack_signals_delivered_total 6",
            "checkstack_signal_sockets_slow_total 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }
}
