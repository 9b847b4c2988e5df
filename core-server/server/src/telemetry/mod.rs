//! Traces by OTLP over HTTP, for whoever sets the variables that OpenTelemetry defines (`docs/decisions/0022-telemetry.md`).
//!
//! - [`settings`] reads them, [`sampler`] says which traces are recorded.
//! - [`queue`] takes spans that have ended, and never waits; [`exporter`] sends them on.
//!
//! Without an endpoint nothing of this is there.

mod error;
mod exporter;
mod queue;
mod sampler;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use checkstack_platform::SpanCounts;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanLimits};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

pub(crate) use self::error::TelemetryError;
use self::exporter::Exporter;
use self::queue::Queue;
pub(crate) use self::settings::TraceSettings;

/// Attributes of a span; none of ours has so many.
const MAX_ATTRIBUTES: u32 = 16;
/// For the last spans when the server ends.
const LAST_SPANS: Duration = Duration::from_millis(800);

/// What records spans, and what sends them.
pub(crate) struct Traces {
    tracer: SdkTracer,
    exporter: Exporter,
    counts: Arc<SpanCounts>,
    /// What is not understood, and what is done instead.
    warnings: Vec<String>,
}

/// The same, at work.
pub(crate) struct Tracing {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Traces {
    /// For the pod `pod` of `instance`.
    ///
    /// # Errors
    /// What has to be changed before anything can be sent.
    pub(crate) fn new(settings: &TraceSettings, instance: &str, pod: &str) -> Result<Self, TelemetryError> {
        let mut resource = Resource::builder();
        if !is_named(&Resource::builder().build()) {
            resource = resource.with_service_name("checkstack");
        }
        let resource = resource
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.namespace", instance.to_owned()),
                KeyValue::new("service.instance.id", pod.to_owned()),
            ])
            .build();
        let counts = Arc::<SpanCounts>::default();
        let (queue, spans) = Queue::new(counts.clone());
        let exporter = Exporter::new(&settings.endpoint, spans, &resource, counts.clone())?;
        // Nothing that is logged becomes a part of a span.
        let limits =
            SpanLimits { max_attributes_per_span: MAX_ATTRIBUTES, max_events_per_span: 0, max_links_per_span: 0, ..SpanLimits::default() };
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(settings.sampler)
            .with_span_limits(limits)
            .with_span_processor(queue)
            .build();
        Ok(Self { tracer: provider.tracer("checkstack-server"), exporter, counts, warnings: settings.warnings.clone() })
    }

    /// For the layer of the subscriber.
    pub(crate) fn tracer(&self) -> SdkTracer {
        self.tracer.clone()
    }

    /// For the metrics.
    pub(crate) fn counts(&self) -> Arc<SpanCounts> {
        self.counts.clone()
    }

    /// Begins to send, until the end.
    pub(crate) fn begin(self) -> Tracing {
        for warning in self.warnings {
            warn!("{warning}");
        }
        let stop = CancellationToken::new();
        let task = tokio::spawn(self.exporter.run(stop.clone()));
        Tracing { stop, task }
    }
}

/// Whether the variables name the service.
fn is_named(resource: &Resource) -> bool {
    let name = resource.get(&Key::from_static_str("service.name"));
    name.is_some_and(|name| !name.as_str().starts_with("unknown_service"))
}

impl Tracing {
    /// Sends what there still is, in a bounded time.
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(LAST_SPANS, &mut self.task).await.is_err() {
            self.task.abort();
            debug!("the collector did not take the last spans in time");
        }
    }
}
