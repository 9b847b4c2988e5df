//! Spans that have ended and wait for the collector: a bounded number of them. Who ends a span never waits.

use std::sync::Arc;
use std::time::Duration;

use checkstack_platform::SpanCounts;
use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::mpsc;

/// Spans, some hundred bytes each.
pub(super) const WAITING: usize = 2_048;

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<SpanData>,
    counts: Arc<SpanCounts>,
}

impl Queue {
    pub(super) fn new(counts: Arc<SpanCounts>) -> (Self, mpsc::Receiver<SpanData>) {
        let (spans, waiting) = mpsc::channel(WAITING);
        (Self { spans, counts }, waiting)
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            self.counts.queue_full();
        }
    }

    /// They go when they go.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;
    use crate::telemetry::sampler::Sampler;

    fn end(spans: usize, ratio: f64) -> (mpsc::Receiver<SpanData>, Arc<SpanCounts>) {
        let counts = Arc::<SpanCounts>::default();
        let (queue, waiting) = Queue::new(counts.clone());
        let sampler = Sampler { ratio, heeds_no: true };
        let tracer = SdkTracerProvider::builder().with_sampler(sampler).with_span_processor(queue).build().tracer("test");
        (0..spans).for_each(|_| drop(tracer.start("work")));
        (waiting, counts)
    }

    #[test]
    fn what_does_not_fit_is_lost_and_counted_and_nobody_waits() {
        let (waiting, counts) = end(WAITING + 3, 1.0);
        assert_eq!((waiting.len(), format!("{counts:?}").contains("queue_full: 3")), (WAITING, true), "{counts:?}");
        let (waiting, counts) = end(3, 0.0);
        assert_eq!((waiting.len(), format!("{counts:?}").contains("queue_full: 0")), (0, true), "what is not recorded does not wait");
    }
}
