//! Caches (platform facts §7.5): values that can be computed again, for the parts of the server and for plugins.
//!
//! - A [`CacheManager`] has the caches of a process. Which [`provider`] keeps the entries can be changed while everything runs.
//! - A [`CacheScope`] is what one plugin has of it: no other plugin sees, changes or evicts what is there, as far as its share goes.
//! - [`memory`] keeps entries in each process, bounded by bytes and by entries; what one replica changes, the others forget, for which they
//!   need a [`Backplane`]: [`postgres`].
//!
//! # What a reader may see
//!
//! A reader never sees what has expired, and sees on its own replica what was changed there before. After a change on another replica:
//!
//! - once the method that made the change has returned without an error, for a few milliseconds more what was before; if the reader's replica
//!   does not hear the others, because its connection was lost or is stuck, for [`Timings::lease`] (6 s) at most. Then it finds nothing, until it
//!   hears them again.
//! - after [`CacheError::Untold`], what was before, until the replica that made the change reaches the database again. It does not give up,
//!   unless its process ends. A time to live bounds this, too.
//! - of changes of one key on two replicas at the same time: either value for a moment, and then the same one on both, or none on either.
//!
//! While a replica has no active provider (at its start, or because it does not know the one that was chosen), it changes nothing on others.
//!
//! Nothing is said of the order of changes of different keys, and nothing keeps a value that was computed from old data from being set after a
//! newer one: who cannot live with that gives it a short time to live.
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use checkstack_cache::*;
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let caches = CacheManager::new();
//! caches.register(Arc::new(memory::MemoryProvider::alone(32 * 1024 * 1024)));
//! caches.follow(ActiveBackend::default()).await?;
//!
//! let cache = caches.scope("status-page".parse()?);
//! cache.set("summary", b"all is well", Some(Duration::from_secs(60))).await?;
//! assert_eq!(cache.get("summary").await?.as_deref(), Some(&b"all is well"[..]));
//! caches.stop().await;
//! # Ok::<_, CacheError>(())
//! # }).unwrap();
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests"))]

mod entry;
mod error;
mod listing;
mod manager;
pub mod memory;
mod null;
pub mod postgres;
pub mod provider;
mod replicas;
pub mod store;

pub use checkstack_backends::ActiveBackend;
pub use entry::{MAX_KEY_BYTES, MAX_TTL, MAX_VALUE_BYTES, SHORTEST_TTL, ScopeName, Value};
pub use error::CacheError;
pub use listing::{CacheStats, EntryPage, EntryQuery, EntrySummary, MAX_LISTED, MAX_OFFSET, Scope, ScopeUsage};
pub use manager::{CacheManager, CacheScope};
pub use replicas::{Backplane, Link, LinkLost, MAX_MESSAGE_BYTES, Timings};
