//! Log lines on standard output.

use std::io::IsTerminal as _;

use checkstack_platform::TRACE_TARGET;
use opentelemetry_sdk::trace::SdkTracer;
use tracing::{Subscriber, error, warn};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::settings::{LogFormat, Settings};

/// What the database remarks on statements says nothing that an operator must know, and a plugin can have it remark anything,
/// as often as it likes.
const NOTICES: &str = "sqlx::postgres::notice=off";

/// Begins logging, and recording spans where there is a tracer. From now on a panic is a log line like any other.
pub(crate) fn begin(settings: &Settings, tracer: Option<SdkTracer>) {
    let filter = EnvFilter::try_new(&settings.log.filter);
    let problem = filter.as_ref().err().map(ToString::to_string);
    let mut filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
    // Spans for collectors are in no log: without a tracer nothing is interested in them.
    for off in [NOTICES.to_owned(), format!("{TRACE_TARGET}=off")] {
        if let Ok(off) = off.parse() {
            filter = filter.add_directive(off);
        }
    }
    let lines = settings.log.format;
    match tracer {
        None => tracing_subscriber::registry().with(filter).with(layer(lines)).init(),
        Some(tracer) => tracing_subscriber::registry().with(spans(tracer)).with(layer(lines).with_filter(filter)).init(),
    }
    if let Some(problem) = problem {
        warn!("the log filter '{}' is not used: {problem}", settings.log.filter);
    }
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string);
        error!(at, "panic: {}", panic.payload_as_str().unwrap_or("of an unknown kind"));
    }));
}

/// What writes lines.
fn layer<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let lines = tracing_subscriber::fmt::layer().with_target(true);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        LogFormat::Text => lines.with_ansi(std::io::stdout().is_terminal()).boxed(),
    }
}

/// What records spans, and nothing of what is logged: that may be anything.
fn spans(tracer: SdkTracer) -> impl Layer<Registry> + Send + Sync {
    let spans = tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false).with_target(false);
    let spans = spans.with_tracked_inactivity(false).with_level(false);
    spans.with_filter(Targets::new().with_target(TRACE_TARGET, LevelFilter::INFO))
}
