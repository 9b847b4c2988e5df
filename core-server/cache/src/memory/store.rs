//! A store in the memory of this process, and what it tells those of other processes.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::space::{Limits, Space};
use crate::CacheError;
use crate::entry::{ScopeName, Value};
use crate::listing::{CacheStats, EntryPage, EntryQuery, Scope, ScopeUsage};
use crate::replicas::{self, Change, Replicas};
use crate::store::CacheStore;

/// See the module.
pub(super) struct MemoryStore {
    space: Space,
    /// None: there are no others.
    replicas: Option<Replicas>,
    sweep: Duration,
}

impl MemoryStore {
    pub(super) fn new(limits: Limits, replicas: Option<Replicas>, sweep: Duration) -> Self {
        Self { space: Space::new(limits), replicas, sweep }
    }

    /// Whether what is here is not known to be out of date.
    fn is_trusted(&self, now: Instant) -> bool {
        self.replicas.as_ref().is_none_or(|replicas| replicas.are_heard(now))
    }

    /// After the change was made here: the other way round, another replica's change could come between and be lost.
    async fn tell(&self, scope: &ScopeName, change: impl FnOnce() -> Change) -> Result<(), CacheError> {
        match &self.replicas {
            Some(replicas) => replicas.tell(scope, change()).await,
            None => Ok(()),
        }
    }

    async fn keep_swept(&self) {
        // Replicas that started together do not do it together.
        let mut ticks = interval_at(Instant::now() + self.sweep.mul_f64(0.5 + rand::random::<f64>() / 2.0), self.sweep);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.space.sweep(Instant::now()) {
                0 => {}
                entries => debug!(entries, "swept expired entries of the cache away"),
            }
        }
    }
}

#[async_trait]
impl CacheStore for MemoryStore {
    async fn get(&self, scope: &ScopeName, key: &str) -> Result<Option<Value>, CacheError> {
        let now = Instant::now();
        match self.is_trusted(now) {
            true => Ok(self.space.get(scope, key, now)),
            false => {
                self.space.miss(scope);
                Ok(None)
            }
        }
    }

    async fn set(&self, scope: &ScopeName, key: &str, value: &[u8], ttl: Option<Duration>) -> Result<(), CacheError> {
        let set = self.space.set(scope, key, value.into(), ttl, Instant::now());
        // Also when it was not taken: the value before is out of date.
        let told = self.tell(scope, || Change::Key(key.to_owned())).await;
        set.and(told)
    }

    async fn delete(&self, scope: &ScopeName, key: &str) -> Result<bool, CacheError> {
        let deleted = self.space.delete(scope, key, Instant::now());
        self.tell(scope, || Change::Key(key.to_owned())).await?;
        Ok(deleted)
    }

    async fn delete_by_prefix(&self, scope: &ScopeName, prefix: &str) -> Result<u64, CacheError> {
        let deleted = self.space.delete_by_prefix(scope, prefix, Instant::now());
        self.tell(scope, || Change::Prefix(prefix.to_owned())).await?;
        Ok(deleted)
    }

    async fn has(&self, scope: &ScopeName, key: &str) -> Result<bool, CacheError> {
        let now = Instant::now();
        Ok(self.is_trusted(now) && self.space.peek(scope, key, now).is_some())
    }

    async fn stats(&self) -> Result<Option<CacheStats>, CacheError> {
        let (used, (hits, misses)) = (self.space.used(), self.space.hits_and_misses());
        let (key_count, size_bytes) = (used.entries as u64, used.bytes as u64);
        Ok(Some(CacheStats { key_count, size_bytes, hits, misses, scope: Scope::Instance }))
    }

    async fn usage(&self) -> Result<Option<Vec<(ScopeName, ScopeUsage)>>, CacheError> {
        Ok(Some(self.space.usage()))
    }

    async fn list(&self, query: &EntryQuery) -> Result<Option<EntryPage>, CacheError> {
        Ok(Some(self.space.list(query, Instant::now())))
    }

    async fn run(&self, stop: CancellationToken) {
        let linked = async {
            match &self.replicas {
                Some(replicas) => replicas::keep_linked(replicas, &self.space, &stop).await,
                None => stop.cancelled().await,
            }
        };
        tokio::select! {
            () = linked => {}
            () = self.keep_swept() => {}
        }
    }
}

impl replicas::Entries for Space {
    fn current(&self, scope: &ScopeName, key: &str) -> Option<(Value, Option<Duration>)> {
        let now = Instant::now();
        let (value, expires) = self.peek(scope, key, now)?;
        Some((value, expires.map(|expires| expires.saturating_duration_since(now))))
    }

    fn live_no_longer(&self, scope: &ScopeName, key: &str, value: &Value, ttl: Option<Duration>) {
        let now = Instant::now();
        // Too far away to be told: it lives as long as it does.
        self.shorten(scope, key, value, ttl.and_then(|ttl| now.checked_add(ttl)), now);
    }

    fn forget(&self, scope: &ScopeName, key: &str) {
        self.delete(scope, key, Instant::now());
    }

    fn forget_prefix(&self, scope: &ScopeName, prefix: &str) {
        self.delete_by_prefix(scope, prefix, Instant::now());
    }

    fn forget_all(&self) {
        self.clear();
    }
}
