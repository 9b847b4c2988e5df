//! The table of figures.

use std::fmt;
use std::time::Duration;

use crate::load::Load;
use crate::neighbour::Suffering;

/// Rows in the order they were measured.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<[String; 4]>,
}

impl Table {
    /// Median and slowest of several times, beside those of a baseline.
    pub(crate) fn time(&mut self, what: &str, times: Times, baseline: &str, base: Times, aim: &str) {
        self.rows.push([what.into(), times.to_string(), format!("{base} ({baseline})"), aim.into()]);
    }

    /// Bytes.
    pub(crate) fn memory(&mut self, what: &str, bytes: u64, baseline: &str, base: u64, aim: &str) {
        let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / 1_048_576.0);
        self.rows.push([what.into(), mebibytes(bytes), format!("{} ({baseline})", mebibytes(base)), aim.into()]);
    }

    /// p99 of a plugin under attack, beside its quiet one.
    pub(crate) fn suffering(&mut self, Suffering { attack, quiet, attacked }: &Suffering) {
        let figure = format!("p99 {attacked:.2} ms, {:.2}×", attacked / quiet);
        self.rows.push([format!("a neighbour of the attack `{attack}`"), figure, format!("p99 {quiet:.2} ms (quiet)"), "within 2×".into()]);
    }

    /// Requests a second and latency, and how many times slower than the baseline.
    pub(crate) fn load(&mut self, what: &str, load: &Load, base: Option<&Load>, aim: &str) {
        let factor = base.map(|base| format!("{:.2}× slower than native", base.per_second / load.per_second));
        let figure = format!("{:.0}/s, p50 {:.2} ms, p99 {:.2} ms", load.per_second, load.p50_milliseconds, load.p99_milliseconds);
        self.rows.push([what.into(), figure, factor.unwrap_or_else(|| "—".into()), aim.into()]);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "| what | figure | baseline | aim |\n|---|---|---|---|")?;
        for [what, figure, baseline, aim] in &self.rows {
            writeln!(formatter, "| {what} | {figure} | {baseline} | {aim} |")?;
        }
        Ok(())
    }
}

/// Some measurements of one thing.
#[derive(Debug, Clone)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// In any order; at least one.
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self(times)
    }

    /// The one in the middle.
    pub(crate) fn median(&self) -> Duration {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |time: Option<&Duration>| time.map_or(0, Duration::as_millis);
        let median = self.median().as_millis();
        let slowest = milliseconds(self.0.last());
        match self.0.len() {
            count @ ..20 => write!(formatter, "{median} ms, slowest of {count} {slowest} ms"),
            count => {
                let p95 = milliseconds(self.0.get(count * 95 / 100));
                write!(formatter, "{median} ms, p95 {p95} ms, slowest of {count} {slowest} ms")
            }
        }
    }
}
