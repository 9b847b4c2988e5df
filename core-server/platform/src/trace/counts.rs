//! How many spans a collector has got, and how many not.

use std::sync::atomic::{AtomicU64, Ordering};

/// What has become of spans, for the metrics. Counted by who exports them.
#[derive(Debug, Default)]
pub struct SpanCounts {
    exported: AtomicU64,
    queue_full: AtomicU64,
    not_taken: AtomicU64,
}

/// The same at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SpansSoFar {
    pub(crate) exported: u64,
    pub(crate) queue_full: u64,
    pub(crate) not_taken: u64,
}

impl SpanCounts {
    /// The collector has taken so many.
    pub fn exported(&self, spans: usize) {
        self.exported.fetch_add(spans as u64, Ordering::Relaxed);
    }

    /// One was given up, because too many waited for the collector.
    pub fn queue_full(&self) {
        self.queue_full.fetch_add(1, Ordering::Relaxed);
    }

    /// The collector has not taken so many.
    pub fn not_taken(&self, spans: usize) {
        self.not_taken.fetch_add(spans as u64, Ordering::Relaxed);
    }

    pub(crate) fn so_far(&self) -> SpansSoFar {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SpansSoFar { exported: read(&self.exported), queue_full: read(&self.queue_full), not_taken: read(&self.not_taken) }
    }
}
