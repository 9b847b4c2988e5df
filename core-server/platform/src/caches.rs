//! Caches (platform facts §7.5). Each pod keeps entries in its memory, and tells the others through the database what to forget. The crate
//! `checkstack-cache` does the work; the native plugin `cache` says which provider is active.

use std::sync::Arc;

use checkstack_cache::memory::MemoryProvider;
use checkstack_cache::postgres::PostgresBackplane;
use checkstack_cache::{CacheError, CacheManager, Timings};
use checkstack_plugin_package::PluginId;

use crate::database::Database;

/// Bytes of cache entries in one pod, unless the settings say otherwise: a sixteenth of 512 MiB, beside bodies of requests, instances of plugins
/// and compiled code.
pub const DEFAULT_CACHE_BYTES: usize = 32 * 1024 * 1024;
/// With less, one plugin's share would not take a value of useful size.
pub const FEWEST_CACHE_BYTES: usize = 1024 * 1024;

/// Nothing is kept until a provider is active.
pub(crate) fn begin(database: Database, bytes: usize) -> CacheManager {
    let caches = CacheManager::new();
    let backplane = Arc::new(PostgresBackplane::new(move || database.for_caches()));
    caches.register(Arc::new(MemoryProvider::replicated(bytes, backplane, Timings::default())));
    caches
}

/// Forgets what a plugin has left in its cache, on all replicas.
pub(crate) async fn forget(caches: &CacheManager, plugin: &PluginId) -> Result<(), CacheError> {
    caches.scope(plugin.as_str().parse()?).delete_by_prefix("").await.map(drop)
}
