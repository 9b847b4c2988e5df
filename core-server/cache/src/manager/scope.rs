//! What one owner has in the cache.

use std::sync::Arc;
use std::time::Duration;

use super::{Shared, in_time};
use crate::CacheError;
use crate::entry::{ScopeName, Value, check_key, check_prefix, check_ttl, check_value};

/// The entries of one owner, which no other sees or changes, whatever characters its keys have. Cheap to clone.
///
/// What is here may be gone at any time: who asks has to be able to do without. A change that has been made counts here at once; when the
/// method has returned, all replicas have been told, and none goes on with what was before for longer than a moment (a few seconds if it has
/// lost its connection). When two replicas change the same key at the same time, neither may find it afterwards.
#[derive(Clone)]
pub struct CacheScope {
    name: ScopeName,
    shared: Arc<Shared>,
}

impl CacheScope {
    pub(super) fn new(name: ScopeName, shared: Arc<Shared>) -> Self {
        Self { name, shared }
    }

    /// Whose entries they are.
    pub fn name(&self) -> &ScopeName {
        &self.name
    }

    /// The value of a key, unless there is none, it has expired, or it may be out of date.
    ///
    /// # Errors
    /// When the key is not valid, or the provider does not answer.
    pub async fn get(&self, key: &str) -> Result<Option<Value>, CacheError> {
        check_key(key)?;
        in_time(self.shared.store().get(&self.name, key)).await
    }

    /// Sets a value in place of the one before. Without `ttl` it lives until there is no room for it.
    ///
    /// # Errors
    /// When what is given is not valid or too large, or the provider does not answer. After [`CacheError::Untold`] the value is set here.
    pub async fn set(&self, key: &str, value: &[u8], ttl: Option<Duration>) -> Result<(), CacheError> {
        check_key(key)?;
        check_ttl(ttl)?;
        check_value(&self.name, value)?;
        in_time(self.shared.store().set(&self.name, key, value, ttl)).await
    }

    /// Deletes an entry, on all replicas; whether there was one here.
    ///
    /// # Errors
    /// When the key is not valid, or the provider does not answer. After [`CacheError::Untold`] it is deleted here.
    pub async fn delete(&self, key: &str) -> Result<bool, CacheError> {
        check_key(key)?;
        in_time(self.shared.store().delete(&self.name, key)).await
    }

    /// Deletes all entries of this owner whose keys begin so, on all replicas; how many there were here. An empty prefix is that of all.
    ///
    /// # Errors
    /// As for one.
    pub async fn delete_by_prefix(&self, prefix: &str) -> Result<u64, CacheError> {
        check_prefix(prefix)?;
        in_time(self.shared.store().delete_by_prefix(&self.name, prefix)).await
    }

    /// Whether [`Self::get`] would find something. It is no use of the entry, and counts neither as a hit nor as a miss.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub async fn has(&self, key: &str) -> Result<bool, CacheError> {
        check_key(key)?;
        in_time(self.shared.store().has(&self.name, key)).await
    }
}
