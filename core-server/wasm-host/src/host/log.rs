//! `log`: lines of a plugin in the server's log, bounded in size and rate.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use checkstack_platform::plugin::MAX_MASKED_BYTES;
use tracing::Level as TracingLevel;

use super::HostState;
use crate::bindings::checkstack::plugin::log::{Field, Host, Level};

/// Bytes of one line: message, names and values together.
const MAX_LINE_BYTES: usize = 8 * 1024;
const MAX_FIELDS: usize = 32;
/// Lines of one call.
const MAX_LINES_PER_CALL: u32 = 100;
/// Lines of all instances of a plugin, in the long run and at once. What keeps the container's log has to write them, beside the neighbours.
const LINES_PER_SECOND: f64 = 200.0;
const BURST_LINES: f64 = 1000.0;
/// A line with more counts as several.
const BYTES_OF_A_LINE: f64 = 256.0;

/// The target of plugin lines, for log filters.
const TARGET: &str = "checkstack_plugin";

macro_rules! write_line {
    ($level:expr, $state:expr, $message:expr, $fields:expr, $($extra:tt)*) => {
        tracing::event!(
            target: TARGET,
            $level,
            plugin = $state.plugin.plugin_id().as_str(),
            correlation_id = $state.call.correlation_id.as_str(),
            fields = $fields,
            $($extra)*
            "{}",
            $message
        )
    };
}

impl Host for HostState {
    fn write(&mut self, level: Level, message: String, fields: Vec<Field>) {
        if !is_enabled(level) {
            return;
        }
        self.call.log_lines = self.call.log_lines.saturating_add(1);
        if self.call.log_lines > MAX_LINES_PER_CALL {
            if self.call.log_lines == MAX_LINES_PER_CALL + 1 {
                write_line!(
                    TracingLevel::WARN,
                    self,
                    "further log lines of this call are dropped",
                    None::<&str>,
                    limit = MAX_LINES_PER_CALL,
                );
            }
            return;
        }
        let Some(dropped) = self.plugin.log_budget.take(Instant::now(), bytes(&message, &fields)) else { return };
        if dropped > 0 {
            write_line!(TracingLevel::WARN, self, "log lines of this plugin were dropped: it writes too many", None::<&str>, dropped,);
        }
        let Line { message, fields } = Line::bounded(&message, &fields, |text| self.plugin.without_secrets(text));
        let fields = fields.as_deref();
        match level {
            Level::Trace => write_line!(TracingLevel::TRACE, self, message, fields,),
            Level::Debug => write_line!(TracingLevel::DEBUG, self, message, fields,),
            Level::Info => write_line!(TracingLevel::INFO, self, message, fields,),
            Level::Warn => write_line!(TracingLevel::WARN, self, message, fields,),
            Level::Error => write_line!(TracingLevel::ERROR, self, message, fields,),
        }
    }
}

/// Lines that nobody reads cost nothing.
fn is_enabled(level: Level) -> bool {
    match level {
        Level::Trace => tracing::enabled!(target: TARGET, TracingLevel::TRACE),
        Level::Debug => tracing::enabled!(target: TARGET, TracingLevel::DEBUG),
        Level::Info => tracing::enabled!(target: TARGET, TracingLevel::INFO),
        Level::Warn => tracing::enabled!(target: TARGET, TracingLevel::WARN),
        Level::Error => tracing::enabled!(target: TARGET, TracingLevel::ERROR),
    }
}

/// Of a line, as far as it is shown.
fn bytes(message: &str, fields: &[Field]) -> usize {
    let fields = fields.iter().take(MAX_FIELDS).map(|field| field.name.len().saturating_add(field.value.len()));
    fields.fold(message.len(), usize::saturating_add).min(MAX_LINE_BYTES)
}

/// A line as it is written.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    message: String,
    /// A JSON object; their names are the plugin's, so they cannot be fields of the server's log.
    fields: Option<String>,
}

impl Line {
    /// `without_secrets` costs time for each byte: it gets no more of all texts together than the line can show, and so much that a
    /// secret that lies across the end is whole.
    fn bounded<'a>(message: &'a str, fields: &'a [Field], without_secrets: impl Fn(&'a str) -> Cow<'a, str>) -> Self {
        let (mut room, mut looked_at) = (MAX_LINE_BYTES, MAX_LINE_BYTES + MAX_MASKED_BYTES);
        let mut masked = |text: &'a str| without_secrets(cut(text, &mut looked_at));
        let message = printable(cut(&masked(message), &mut room));
        let mut shown = serde_json::Map::new();
        for field in fields.iter().take(MAX_FIELDS) {
            if room == 0 {
                break;
            }
            let name = cut(&masked(&field.name), &mut room).to_owned();
            shown.insert(name, cut(&masked(&field.value), &mut room).into());
        }
        let fields = (!shown.is_empty()).then(|| serde_json::Value::Object(shown).to_string());
        Self { message, fields }
    }
}

/// As much of `text` as there is room for.
fn cut<'a>(text: &'a str, room: &mut usize) -> &'a str {
    let end = text.floor_char_boundary((*room).min(text.len()));
    *room -= end;
    text.get(..end).unwrap_or_default()
}

/// A line stays one line and cannot paint a terminal or forge another line.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push(' '),
            // Writing to a string cannot fail.
            other if other.is_control() => drop(write!(shown, "\\u{{{:x}}}", u32::from(other))),
            other => shown.push(other),
        }
    }
    shown
}

/// A bucket of lines that refills with time.
pub(super) struct LogBudget(Mutex<Bucket>);

struct Bucket {
    lines: f64,
    filled: Option<Instant>,
    dropped: u64,
}

impl LogBudget {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Bucket { lines: BURST_LINES, filled: None, dropped: 0 }))
    }

    /// Takes one line: `None` when there is not enough left for it, otherwise how many were dropped before it.
    fn take(&self, now: Instant, bytes: usize) -> Option<u64> {
        let lines = (bytes as f64 / BYTES_OF_A_LINE).max(1.0);
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = bucket.filled.replace(now).map_or(0.0, |filled| now.saturating_duration_since(filled).as_secs_f64());
        bucket.lines = (bucket.lines + passed * LINES_PER_SECOND).min(BURST_LINES);
        if bucket.lines < lines {
            bucket.dropped += 1;
            return None;
        }
        bucket.lines -= lines;
        Some(std::mem::take(&mut bucket.dropped))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn field(name: &str, value: &str) -> Field {
        Field { name: name.into(), value: value.into() }
    }

    fn bounded(message: &str, fields: &[Field]) -> Line {
        Line::bounded(message, fields, Cow::Borrowed)
    }

    #[test]
    fn secrets_are_looked_for_in_no_more_than_a_line_can_show() {
        let looked_at = std::cell::Cell::new(0);
        let masked = |text| {
            looked_at.set(looked_at.get() + str::len(text));
            Cow::Borrowed("****")
        };
        let fields: Vec<Field> = (0..100).map(|_| field(&"n".repeat(MAX_LINE_BYTES), &"v".repeat(MAX_LINE_BYTES))).collect();
        let line = Line::bounded(&"m".repeat(1000), &fields, masked);
        assert_eq!(line.message, "****");
        assert_eq!(looked_at.get(), MAX_LINE_BYTES + MAX_MASKED_BYTES);
    }

    #[test]
    fn a_line_is_bounded_as_a_whole() {
        let long = "é".repeat(MAX_LINE_BYTES);
        let line = bounded(&long, &[field("a", "b")]);
        assert_eq!(line.message.len(), MAX_LINE_BYTES);
        assert_eq!(line.fields, None);
        let fields: Vec<Field> = (0..100).map(|index| field(&index.to_string(), "x")).collect();
        let shown = bounded("m", &fields).fields.unwrap_or_default();
        assert_eq!(shown.matches(':').count(), MAX_FIELDS);
    }

    #[test]
    fn a_line_stays_one_line() {
        let line = bounded("a\nb\u{1b}[31mc\td", &[field("k", "v\n")]);
        assert_eq!(line.message, "a\\nb\\u{1b}[31mc d");
        assert_eq!(line.fields.as_deref(), Some(r#"{"k":"v\n"}"#));
    }

    #[test]
    fn the_budget_refills_and_counts_what_it_dropped() {
        let (budget, start) = (LogBudget::new(), Instant::now());
        let taken = (0..2000).filter(|_| budget.take(start, 200).is_some()).count();
        assert_eq!(taken, 1000);
        assert_eq!(budget.take(start + Duration::from_secs(1), 200), Some(1000));
        assert_eq!(budget.take(start + Duration::from_secs(1), 200), Some(0));
    }

    #[test]
    fn long_lines_count_as_several() {
        let (budget, start) = (LogBudget::new(), Instant::now());
        let long = bytes(&"x".repeat(MAX_LINE_BYTES * 2), &[field("a", "b")]);
        assert_eq!(long, MAX_LINE_BYTES);
        let taken = (0..2000).filter(|_| budget.take(start, long).is_some()).count();
        assert_eq!(taken, 31, "as much as a thousand short ones");
        assert_eq!(budget.take(start, 200), Some(2000 - 31), "for which there is still room");
    }
}
