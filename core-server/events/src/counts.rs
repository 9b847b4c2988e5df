//! What has become of events in this process, by plugin.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Plugins of which something is counted. There are never so many; the bound is for those who make names up.
const MOST: usize = 10_000;

/// What has become of the events of one plugin: of those that it has emitted, and of those that it has heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// Events that it has emitted: the id of the hook begins with its own.
    pub emitted: u64,
    /// Groups that did not get one of those, because too many events waited for them already.
    pub left_out: u64,
    /// Events that it has heard.
    pub delivered: u64,
    /// Attempts to tell it of one that have failed.
    pub failed: u64,
    /// How often it had to be told that it may have missed broadcasts.
    pub missed: u64,
}

/// The same, while it is counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    emitted: AtomicU64,
    left_out: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
    missed: AtomicU64,
}

impl Tally {
    pub(crate) fn emitted(&self, left_out: usize) {
        self.emitted.fetch_add(1, Ordering::Relaxed);
        self.left_out.fetch_add(left_out as u64, Ordering::Relaxed);
    }

    pub(crate) fn heard(&self, well: bool) {
        let counter = if well { &self.delivered } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn missed(&self) {
        self.missed.fetch_add(1, Ordering::Relaxed);
    }

    fn counts(&self) -> EventCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EventCounts {
            emitted: read(&self.emitted),
            left_out: read(&self.left_out),
            delivered: read(&self.delivered),
            failed: read(&self.failed),
            missed: read(&self.missed),
        }
    }
}

/// All of a process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tallies(Arc<Mutex<BTreeMap<String, Arc<Tally>>>>);

impl Tallies {
    /// Of one plugin. When there are too many, what is counted in it is not shown.
    pub(crate) fn of(&self, plugin: &str) -> Arc<Tally> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(plugin) {
            return known.clone();
        }
        let new = Arc::<Tally>::default();
        if all.len() < MOST {
            all.insert(plugin.to_owned(), new.clone());
        }
        new
    }

    pub(crate) fn counts(&self) -> BTreeMap<String, EventCounts> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(plugin, tally)| (plugin.clone(), tally.counts())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_number_are_not_kept() {
        let tallies = Tallies::default();
        for number in 0..MOST + 5 {
            tallies.of(&format!("p{number}")).emitted(0);
        }
        let counts = tallies.counts();
        assert_eq!((counts.len(), counts["p0"].emitted), (MOST, 1));
        tallies.of("p0").heard(false);
        assert_eq!(tallies.counts()["p0"], EventCounts { emitted: 1, failed: 1, ..EventCounts::default() });
    }
}
