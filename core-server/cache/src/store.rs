//! What a provider has to be able to do.

use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::CacheError;
use crate::entry::{ScopeName, Value};
use crate::listing::{CacheStats, EntryPage, EntryQuery, ScopeUsage};

/// Keeps entries until they expire, or there is no room for them. Keys of different scopes are different, whatever characters they have:
/// [`ScopeName::key`] makes one of both, where there is one space for all.
///
/// The manager has checked keys, values and times to live, and gives up on a call after a few seconds.
#[async_trait]
pub trait CacheStore: Send + Sync + 'static {
    /// The value, unless there is none or it has expired.
    async fn get(&self, scope: &ScopeName, key: &str) -> Result<Option<Value>, CacheError>;

    /// Sets a value in place of the one before, if any. Without `ttl` it lives until there is no room for it. When this has returned, no
    /// replica goes on with the value before for longer than the provider says.
    async fn set(&self, scope: &ScopeName, key: &str, value: &[u8], ttl: Option<Duration>) -> Result<(), CacheError>;

    /// Whether there was one here. Other replicas are told in any case.
    async fn delete(&self, scope: &ScopeName, key: &str) -> Result<bool, CacheError>;

    /// How many there were here whose keys begin so; an empty prefix is that of all. Other replicas are told in any case.
    async fn delete_by_prefix(&self, scope: &ScopeName, prefix: &str) -> Result<u64, CacheError>;

    /// Whether [`Self::get`] would find something.
    async fn has(&self, scope: &ScopeName, key: &str) -> Result<bool, CacheError> {
        Ok(self.get(scope, key).await?.is_some())
    }

    /// Figures. None: it has none.
    async fn stats(&self) -> Result<Option<CacheStats>, CacheError> {
        Ok(None)
    }

    /// The same for each owner, of this process alone. None: it has none.
    async fn usage(&self) -> Result<Option<Vec<(ScopeName, ScopeUsage)>>, CacheError> {
        Ok(None)
    }

    /// Entries, by scope and key. None: it cannot list them.
    async fn list(&self, _query: &EntryQuery) -> Result<Option<EntryPage>, CacheError> {
        Ok(None)
    }

    /// What it does besides answering, until it is told to end; what is under way then is to be done within a second or two.
    async fn run(&self, stop: CancellationToken) {
        stop.cancelled().await;
    }
}
