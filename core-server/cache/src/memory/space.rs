//! The entries of all owners, and the room that they share. Pure: who calls says what time it is.
//!
//! - One owner has a share at most. Who fills it evicts entries of its own.
//! - When there is no room although the shares are not full, entries of who has most make way: who has less than an equal part of the whole
//!   never loses an entry to somebody else.
//! - Room is taken before an entry is added, so there is never more than the limit. Each owner has a lock of its own: what takes one long
//!   does not keep the others waiting. Nobody waits for a second lock of this kind while holding one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use super::entries::{Entries, Usage};
use crate::CacheError;
use crate::entry::{ScopeName, Value};
use crate::listing::{EntryPage, EntryQuery, EntrySummary, ScopeUsage};

/// Most owners.
pub(super) const MAX_SCOPES: usize = 10_000;

/// How much there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Of all owners together
    pub(super) total: Usage,
    /// Of one owner; not more than the total
    pub(super) share: Usage,
}

/// See the module.
pub(super) struct Space {
    limits: Limits,
    scopes: RwLock<BTreeMap<ScopeName, Arc<OwnedSpace>>>,
    used: Mutex<Usage>,
    /// Of owners that are too many to be counted one by one.
    misses_of_others: AtomicU64,
}

/// What one owner has.
#[derive(Default)]
struct OwnedSpace {
    entries: Mutex<Entries>,
    /// As in `entries`, to be looked at without the lock
    bytes: AtomicUsize,
    count: AtomicUsize,
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: AtomicU64,
}

impl OwnedSpace {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, used: Usage) {
        self.bytes.store(used.bytes, Ordering::Relaxed);
        self.count.store(used.entries, Ordering::Relaxed);
    }

    /// To be counted where it is done to one's own or another's entries.
    fn evict(&self, entries: &mut Entries) -> bool {
        let evicted = entries.evict();
        self.evictions.fetch_add(u64::from(evicted), Ordering::Relaxed);
        evicted
    }
}

/// What there is too little of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lacking {
    Bytes,
    Entries,
}

impl Lacking {
    fn of(self, owned: &OwnedSpace) -> usize {
        match self {
            Self::Bytes => owned.bytes.load(Ordering::Relaxed),
            Self::Entries => owned.count.load(Ordering::Relaxed),
        }
    }
}

impl Space {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, scopes: RwLock::default(), used: Mutex::default(), misses_of_others: AtomicU64::new(0) }
    }

    /// Counts as a use, and as a hit or a miss.
    pub(super) fn get(&self, scope: &ScopeName, key: &str, now: Instant) -> Option<Value> {
        let Some(owned) = self.owned(scope) else {
            self.miss(scope);
            return None;
        };
        let found = self.shrink(&owned, |entries| entries.get(key, now));
        let counter = if found.is_some() { &owned.hits } else { &owned.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Somebody asked, and was not told.
    pub(super) fn miss(&self, scope: &ScopeName) {
        match self.owned_or_new(scope) {
            Ok(owned) => owned.misses.fetch_add(1, Ordering::Relaxed),
            Err(_) => self.misses_of_others.fetch_add(1, Ordering::Relaxed),
        };
    }

    /// The value and when it expires, without counting.
    pub(super) fn peek(&self, scope: &ScopeName, key: &str, now: Instant) -> Option<(Value, Option<Instant>)> {
        self.owned(scope)?.lock().peek(key, now).map(|(value, expires)| (value.clone(), expires))
    }

    /// Sets a value in place of the one before.
    ///
    /// # Errors
    /// [`CacheError::TooLarge`] when it does not fit into a share, and the value before is gone all the same: it is out of date.
    pub(super) fn set(&self, scope: &ScopeName, key: &str, value: Value, ttl: Option<Duration>, now: Instant) -> Result<(), CacheError> {
        let owned = self.owned_or_new(scope)?;
        let (wanted, share) = (Usage::of(key, &value), self.limits.share);
        if !wanted.fits(Usage::default(), share) {
            self.shrink(&owned, |entries| entries.delete(key, now));
            return Err(CacheError::TooLarge { scope: scope.to_string(), bytes: wanted.bytes, most: share.bytes });
        }
        loop {
            let mut entries = owned.lock();
            self.shrink_locked(&owned, &mut entries, |entries| {
                entries.delete(key, now);
                while !wanted.fits(entries.used(), share) && owned.evict(entries) {}
            });
            if self.take(wanted) {
                entries.insert(key, value, ttl.map(|ttl| now + ttl));
                owned.publish(entries.used());
                return Ok(());
            }
            drop(entries);
            // Somebody else may have taken the room again, and then has come to an end.
            self.make_room(wanted);
        }
    }

    /// Whether there was one that had not expired.
    pub(super) fn delete(&self, scope: &ScopeName, key: &str, now: Instant) -> bool {
        self.owned(scope).is_some_and(|owned| self.shrink(&owned, |entries| entries.delete(key, now)))
    }

    /// How many there were that had not expired.
    pub(super) fn delete_by_prefix(&self, scope: &ScopeName, prefix: &str, now: Instant) -> u64 {
        self.owned(scope).map_or(0, |owned| self.shrink(&owned, |entries| entries.delete_by_prefix(prefix, now)))
    }

    /// Another replica has set `value`, which is what there is here: it does not live longer than there. Unless it has been replaced.
    pub(super) fn shorten(&self, scope: &ScopeName, key: &str, value: &Value, expires: Option<Instant>, now: Instant) {
        let Some(owned) = self.owned(scope) else { return };
        let mut entries = owned.lock();
        if entries.peek(key, now).is_some_and(|(own, _)| Arc::ptr_eq(own, value)) {
            entries.shorten(key, expires);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        for (_, owned) in self.all() {
            self.shrink(&owned, Entries::clear);
        }
    }

    /// Removes what has expired; how many.
    pub(super) fn sweep(&self, now: Instant) -> usize {
        self.all().iter().map(|(_, owned)| self.shrink(owned, |entries| entries.sweep(now))).sum()
    }

    /// What is in use; never more than the limit.
    pub(super) fn used(&self) -> Usage {
        *self.total()
    }

    /// Values that were asked for and found, and those that were not.
    pub(super) fn hits_and_misses(&self) -> (u64, u64) {
        let none = (0, self.misses_of_others.load(Ordering::Relaxed));
        self.usage().iter().fold(none, |(hits, misses), (_, of)| (hits + of.hits, misses + of.misses))
    }

    /// What each owner has, and what has become of its questions.
    pub(super) fn usage(&self) -> Vec<(ScopeName, ScopeUsage)> {
        let usage = |owned: &OwnedSpace| ScopeUsage {
            entries: owned.count.load(Ordering::Relaxed) as u64,
            bytes: owned.bytes.load(Ordering::Relaxed) as u64,
            hits: owned.hits.load(Ordering::Relaxed),
            misses: owned.misses.load(Ordering::Relaxed),
            evictions: owned.evictions.load(Ordering::Relaxed),
        };
        self.all().into_iter().map(|(scope, owned)| (scope, usage(&owned))).collect()
    }

    pub(super) fn list(&self, query: &EntryQuery, now: Instant) -> EntryPage {
        let mut page = EntryPage::default();
        let (mut skip, mut room) = (query.offset, query.limit);
        let mut total = 0;
        for (scope, owned) in self.all().into_iter().filter(|(scope, _)| query.scope.as_ref().is_none_or(|wanted| wanted == scope)) {
            let (matching, listed) = owned.lock().list(&query.prefix, skip, room, now);
            total += matching;
            skip = skip.saturating_sub(matching);
            room -= listed.len();
            page.items.extend(listed.into_iter().map(|(key, value_bytes, expires)| EntrySummary {
                scope: scope.clone(),
                key,
                value_bytes,
                expires_in: expires.map(|expires| expires.saturating_duration_since(now)),
            }));
        }
        page.total = total as u64;
        page.has_more = !page.items.is_empty() && query.offset + page.items.len() < total;
        page
    }

    fn owned(&self, scope: &ScopeName) -> Option<Arc<OwnedSpace>> {
        self.scopes.read().unwrap_or_else(PoisonError::into_inner).get(scope).cloned()
    }

    fn owned_or_new(&self, scope: &ScopeName) -> Result<Arc<OwnedSpace>, CacheError> {
        if let Some(owned) = self.owned(scope) {
            return Ok(owned);
        }
        let mut scopes = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
        if !scopes.contains_key(scope) && scopes.len() >= MAX_SCOPES {
            return Err(CacheError::Refused(format!("{MAX_SCOPES} plugins have entries, and '{scope}' would be one more")));
        }
        Ok(scopes.entry(scope.clone()).or_default().clone())
    }

    fn all(&self) -> Vec<(ScopeName, Arc<OwnedSpace>)> {
        let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
        scopes.iter().map(|(scope, owned)| (scope.clone(), owned.clone())).collect()
    }

    fn total(&self) -> MutexGuard<'_, Usage> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for `wanted`, if there is.
    fn take(&self, wanted: Usage) -> bool {
        let mut used = self.total();
        let fits = wanted.fits(*used, self.limits.total);
        if fits {
            *used += wanted;
        }
        fits
    }

    fn lacking(&self, wanted: Usage) -> Option<Lacking> {
        let (used, total) = (self.used(), self.limits.total);
        match used.entries.saturating_add(wanted.entries) > total.entries {
            true => Some(Lacking::Entries),
            false => (used.bytes.saturating_add(wanted.bytes) > total.bytes).then_some(Lacking::Bytes),
        }
    }

    /// Evicts entries of those who have most.
    fn make_room(&self, wanted: Usage) {
        while let Some(lacking) = self.lacking(wanted) {
            let all = self.all();
            let Some((_, most)) = all.iter().max_by_key(|(_, owned)| lacking.of(owned)) else { return };
            let others = all.iter().filter(|(_, owned)| !Arc::ptr_eq(owned, most));
            let second = others.map(|(_, owned)| lacking.of(owned)).max().unwrap_or(0);
            while self.lacking(wanted) == Some(lacking) && self.shrink(most, |entries| most.evict(entries)) && lacking.of(most) > second {}
            if lacking.of(most) == 0 {
                // What is in use has been taken just now by somebody who has yet to add an entry.
                std::thread::yield_now();
            }
        }
    }

    /// Does something by which entries become fewer.
    fn shrink<T>(&self, owned: &OwnedSpace, work: impl FnOnce(&mut Entries) -> T) -> T {
        self.shrink_locked(owned, &mut owned.lock(), work)
    }

    fn shrink_locked<T>(&self, owned: &OwnedSpace, entries: &mut Entries, work: impl FnOnce(&mut Entries) -> T) -> T {
        let mut freed = entries.used();
        let result = work(entries);
        freed -= entries.used();
        if freed != Usage::default() {
            owned.publish(entries.used());
            *self.total() -= freed;
        }
        result
    }
}

#[cfg(test)]
#[path = "model.rs"]
mod model;
