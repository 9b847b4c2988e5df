//! What can be seen of a cache from outside. Values never can.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::CacheError;
use crate::entry::{ScopeName, check_prefix};

/// Most entries that are listed at once.
pub const MAX_LISTED: usize = 200;
/// Furthest that a listing can begin.
pub const MAX_OFFSET: usize = 1_000_000;

/// Whether figures are those of this process or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Of this process.
    Instance,
    /// Of all replicas.
    Cluster,
}

/// Figures of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheStats {
    /// Entries, some of which may have expired and not been swept away yet
    pub key_count: u64,
    /// What they take, keys and what it costs to keep them included
    pub size_bytes: u64,
    /// Values that were asked for and found, since the provider became active
    pub hits: u64,
    /// Values that were asked for and not found
    pub misses: u64,
    /// Of what these are the figures
    pub scope: Scope,
}

/// What one owner has in a cache, and what has become of its questions since the provider became active. Of this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScopeUsage {
    /// Entries, some of which may have expired and not been swept away yet.
    pub entries: u64,
    /// What they take, keys and what it costs to keep them included.
    pub bytes: u64,
    /// Values that were asked for and found.
    pub hits: u64,
    /// Values that were asked for and not found.
    pub misses: u64,
    /// Entries that had to make way before they had expired.
    pub evictions: u64,
}

/// Which entries to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryQuery {
    /// Only those of one owner
    pub scope: Option<ScopeName>,
    /// Only those whose keys begin so
    pub prefix: String,
    /// How many to leave out; at most [`MAX_OFFSET`].
    pub offset: usize,
    /// How many at most; at most [`MAX_LISTED`].
    pub limit: usize,
}

impl EntryQuery {
    pub(crate) fn check(&self) -> Result<(), CacheError> {
        check_prefix(&self.prefix)?;
        match (self.limit, self.offset) {
            (limit, _) if limit > MAX_LISTED => {
                Err(CacheError::Invalid(format!("{limit} entries are asked for, and at most {MAX_LISTED} are listed")))
            }
            (_, offset) if offset > MAX_OFFSET => Err(CacheError::Invalid(format!("an offset of {offset} is more than {MAX_OFFSET}"))),
            _ => Ok(()),
        }
    }
}

/// An entry, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntrySummary {
    /// Whose it is
    pub scope: ScopeName,
    /// Of the entry
    pub key: String,
    /// Of the value
    pub value_bytes: usize,
    /// How long it lives on; none: until there is no room for it.
    pub expires_in: Option<Duration>,
}

/// A part of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryPage {
    /// By scope and key
    pub items: Vec<EntrySummary>,
    /// How many there are altogether
    pub total: u64,
    /// Whether there are any behind these
    pub has_more: bool,
}
