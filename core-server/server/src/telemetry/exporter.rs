//! Sends spans to the collector, some hundred at a time. What the collector does not take is lost, and counted.

use std::sync::Arc;
use std::time::Duration;

use checkstack_platform::SpanCounts;
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use reqwest::{Client, Url, redirect};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::TelemetryError;

/// Spans of one request to the collector.
const BATCH: usize = 512;
/// How long the first of them waits for others.
const GATHER: Duration = Duration::from_secs(2);
const CONNECT: Duration = Duration::from_secs(3);
/// For one batch; meanwhile the others wait, as many as there is room for.
const SEND: Duration = Duration::from_secs(8);

/// See the module.
pub(super) struct Exporter {
    spans: mpsc::Receiver<SpanData>,
    collector: OtlpExporter,
    counts: Arc<SpanCounts>,
    /// What the log says was true last.
    is_taken: bool,
}

impl Exporter {
    /// To this endpoint. With which headers is in the variables.
    ///
    /// # Errors
    /// What has to be changed before anything can be sent.
    pub(super) fn new(
        endpoint: &Url,
        spans: mpsc::Receiver<SpanData>,
        resource: &Resource,
        counts: Arc<SpanCounts>,
    ) -> Result<Self, TelemetryError> {
        // A redirect would take the headers, and with them a token, to wherever it leads.
        let client = Client::builder().connect_timeout(CONNECT).timeout(SEND).redirect(redirect::Policy::none()).pool_max_idle_per_host(1);
        let collector = OtlpExporter::builder().with_http().with_http_client(client.build()?).with_endpoint(endpoint.as_str());
        let mut collector = collector.build()?;
        collector.set_resource(resource);
        Ok(Self { spans, collector, counts, is_taken: true })
    }

    /// Until it is told to stop; then it sends what there is, without waiting for more.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let batch = self.gather(&stop).await;
            if batch.is_empty() {
                return;
            }
            self.send(batch).await;
        }
    }

    /// The next spans. None of them: it is to stop and there are no more, or nobody makes any more.
    async fn gather(&mut self, stop: &CancellationToken) -> Vec<SpanData> {
        let mut batch = Vec::new();
        let first = stop.run_until_cancelled(self.spans.recv_many(&mut batch, BATCH)).await;
        if first.is_some_and(|spans| spans > 0) {
            let end = Instant::now() + GATHER;
            let others = async {
                let mut room = BATCH - batch.len();
                // Without room there are none.
                while self.spans.recv_many(&mut batch, room).await > 0 {
                    room = BATCH - batch.len();
                }
            };
            let _ = stop.run_until_cancelled(timeout_at(end, others)).await;
        }
        if stop.is_cancelled() {
            while batch.len() < BATCH
                && let Ok(span) = self.spans.try_recv()
            {
                batch.push(span);
            }
        }
        batch
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len();
        let problem = match timeout(SEND, self.collector.export(batch)).await {
            Ok(Ok(())) => None,
            Ok(Err(problem)) => Some(problem.to_string()),
            Err(_) => Some(format!("no answer within {} s", SEND.as_secs())),
        };
        match &problem {
            None => self.counts.exported(spans),
            Some(_) => self.counts.not_taken(spans),
        }
        match (problem, self.is_taken) {
            (Some(problem), true) => warn!(problem, "the collector does not take spans; they are lost until it does"),
            (None, false) => info!("the collector takes spans again"),
            (Some(_), false) | (None, true) => return,
        }
        self.is_taken = !self.is_taken;
    }
}
