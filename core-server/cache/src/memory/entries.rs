//! The entries of one owner, the least recently used first. Pure: who calls says what time it is.

use std::hash::RandomState;
use std::ops::{AddAssign, SubAssign};

use hashlink::LinkedHashMap;
use tokio::time::Instant;

use crate::entry::Value;

/// What keeping an entry costs besides its key and its value: the node, its place in the table, which is up to half empty, two reference
/// counts, and what the allocator adds to three allocations. `examples/speed.rs` compares it with what the system gives.
pub(super) const OVERHEAD: usize = 192;
/// A table that has become so many times too large is made smaller.
const MUCH_TOO_LARGE: usize = 4;
/// A table so small is never made smaller.
const SMALL: usize = 64;

/// How much of the cache something takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) bytes: usize,
    pub(super) entries: usize,
}

impl Usage {
    pub(super) fn of(key: &str, value: &[u8]) -> Self {
        Self { bytes: key.len() + value.len() + OVERHEAD, entries: 1 }
    }

    /// Whether it can be added to `used` within `limit`.
    pub(super) fn fits(self, used: Self, limit: Self) -> bool {
        used.bytes.saturating_add(self.bytes) <= limit.bytes && used.entries.saturating_add(self.entries) <= limit.entries
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.entries += other.entries;
    }
}

impl SubAssign for Usage {
    fn sub_assign(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_sub(other.bytes);
        self.entries = self.entries.saturating_sub(other.entries);
    }
}

#[derive(Debug)]
struct Entry {
    value: Value,
    expires: Option<Instant>,
}

impl Entry {
    fn has_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// See the module. Keys may come from outside, so their hashes cannot be foreseen.
#[derive(Debug, Default)]
pub(super) struct Entries {
    map: LinkedHashMap<Box<str>, Entry, RandomState>,
    used: Usage,
}

impl Entries {
    pub(super) fn used(&self) -> Usage {
        self.used
    }

    /// The value, which is the most recently used one from now on. One that has expired is removed.
    pub(super) fn get(&mut self, key: &str, now: Instant) -> Option<Value> {
        let entry = self.map.to_back(key)?;
        if entry.has_expired(now) {
            self.remove(key);
            return None;
        }
        Some(entry.value.clone())
    }

    /// The value and when it expires; this does not count as a use.
    pub(super) fn peek(&self, key: &str, now: Instant) -> Option<(&Value, Option<Instant>)> {
        self.map.get(key).filter(|entry| !entry.has_expired(now)).map(|entry| (&entry.value, entry.expires))
    }

    /// Adds an entry that is not there. It is for the caller to see that there is room for it.
    pub(super) fn insert(&mut self, key: &str, value: Value, expires: Option<Instant>) {
        self.used += Usage::of(key, &value);
        self.map.insert(key.into(), Entry { value, expires });
    }

    /// Whether it was there, and had not expired.
    pub(super) fn delete(&mut self, key: &str, now: Instant) -> bool {
        self.remove(key).is_some_and(|entry| !entry.has_expired(now))
    }

    /// Removes what begins so; how many had not expired.
    pub(super) fn delete_by_prefix(&mut self, prefix: &str, now: Instant) -> u64 {
        let mut deleted = 0;
        self.retain(|key, entry| {
            let goes = key.starts_with(prefix);
            deleted += u64::from(goes && !entry.has_expired(now));
            !goes
        });
        deleted
    }

    /// Another replica has set the same value: it is not to live longer than there.
    pub(super) fn shorten(&mut self, key: &str, expires: Option<Instant>) {
        if let (Some(entry), Some(expires)) = (self.map.get_mut(key), expires) {
            entry.expires = Some(entry.expires.map_or(expires, |own| own.min(expires)));
        }
    }

    /// Removes what has expired; how many.
    pub(super) fn sweep(&mut self, now: Instant) -> usize {
        let before = self.map.len();
        self.retain(|_, entry| !entry.has_expired(now));
        before - self.map.len()
    }

    /// Removes the least recently used entry, if there is any.
    pub(super) fn evict(&mut self) -> bool {
        let Some((key, entry)) = self.map.pop_front() else { return false };
        self.used -= Usage::of(&key, &entry.value);
        self.shrink();
        true
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many there are that have not expired and begin so, and those of them from `offset` on, by key: with the length of the value and
    /// when it expires.
    pub(super) fn list(&self, prefix: &str, offset: usize, limit: usize, now: Instant) -> (usize, Vec<Listed>) {
        let matching = self.map.iter().filter(|(key, entry)| key.starts_with(prefix) && !entry.has_expired(now));
        let mut matching: Vec<_> = matching.collect();
        matching.sort_unstable_by_key(|(key, _)| *key);
        let total = matching.len();
        let listed = matching.into_iter().skip(offset).take(limit);
        (total, listed.map(|(key, entry)| (key.to_string(), entry.value.len(), entry.expires)).collect())
    }

    fn remove(&mut self, key: &str) -> Option<Entry> {
        let entry = self.map.remove(key)?;
        self.used -= Usage::of(key, &entry.value);
        self.shrink();
        Some(entry)
    }

    fn retain(&mut self, mut stays: impl FnMut(&str, &Entry) -> bool) {
        let used = &mut self.used;
        self.map.retain(|key, entry| {
            let stays = stays(key, entry);
            if !stays {
                *used -= Usage::of(key, &entry.value);
            }
            stays
        });
        self.shrink();
    }

    /// The map keeps the nodes of what was removed. They are given back when they are many, which is not often.
    fn shrink(&mut self) {
        if self.map.capacity() > SMALL.max(self.map.len().saturating_mul(MUCH_TOO_LARGE)) {
            self.map.shrink_to_fit();
        }
    }
}

/// Key, length of the value, and when it expires.
pub(super) type Listed = (String, usize, Option<Instant>);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn filled(keys: usize) -> Entries {
        let mut entries = Entries::default();
        for number in 0..keys {
            entries.insert(&format!("key-{number}"), Value::from(*b"value"), None);
        }
        entries
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let (mut entries, now) = (filled(3), Instant::now());
        assert!(entries.get("key-0", now).is_some());
        assert!(entries.peek("key-1", now).is_some(), "which is no use");
        assert!(entries.evict() && entries.evict());
        let (total, left) = entries.list("", 0, 10, now);
        assert_eq!((total, left), (1, vec![("key-0".to_owned(), 5, None)]));
        assert!(entries.evict() && !entries.evict());
        assert_eq!(entries.used(), Usage::default());
    }

    #[test]
    fn the_room_of_what_is_gone_is_given_back() {
        let (mut entries, now) = (filled(10_000), Instant::now());
        assert!(entries.map.capacity() >= 10_000);
        assert_eq!(entries.delete_by_prefix("key-1", now), 1_111);
        while entries.used().entries > 10 {
            entries.evict();
        }
        assert!(entries.map.capacity() <= SMALL * 2, "{}", entries.map.capacity());
        assert_eq!(entries.used(), Usage { bytes: 10 * ("key-9999".len() + 5 + OVERHEAD), entries: 10 });
    }

    #[test]
    fn a_shorter_life_is_taken_over_and_a_longer_one_is_not() {
        let now = Instant::now();
        let after = |seconds: u64| Some(now + Duration::from_secs(seconds));
        let mut entries = Entries::default();
        entries.insert("k", Value::from(*b"v"), after(5));
        for (told, expected) in [(None, after(5)), (after(9), after(5)), (after(2), after(2))] {
            entries.shorten("k", told);
            assert_eq!(entries.peek("k", now).map(|(_, expires)| expires), Some(expected));
        }
        assert_eq!(entries.get("k", now + Duration::from_secs(2)), None);
        assert_eq!(entries.used(), Usage::default());
    }
}
