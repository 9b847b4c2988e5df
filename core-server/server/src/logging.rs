//! Log lines on standard output.

use std::io::IsTerminal as _;

use tracing::{error, warn};
use tracing_subscriber::EnvFilter;

use crate::settings::{LogFormat, Settings};

/// What the database remarks on statements says nothing that an operator must know, and a plugin can have it remark anything,
/// as often as it likes.
const NOTICES: &str = "sqlx::postgres::notice=off";

/// Begins logging. From now on a panic is a log line like any other.
pub(crate) fn begin(settings: &Settings) {
    let filter = EnvFilter::try_new(&settings.log.filter);
    let problem = filter.as_ref().err().map(ToString::to_string);
    let mut filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
    if let Ok(off) = NOTICES.parse() {
        filter = filter.add_directive(off);
    }
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_target(true);
    match settings.log.format {
        LogFormat::Json => subscriber.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
        LogFormat::Text => subscriber.with_ansi(std::io::stdout().is_terminal()).init(),
    }
    if let Some(problem) = problem {
        warn!("the log filter '{}' is not used: {problem}", settings.log.filter);
    }
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string);
        error!(at, "panic: {}", panic.payload_as_str().unwrap_or("of an unknown kind"));
    }));
}
