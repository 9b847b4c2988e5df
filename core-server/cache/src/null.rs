//! Keeps nothing: what is active before an admin's choice is known, and after the caches have been stopped.

use std::time::Duration;

use async_trait::async_trait;

use crate::CacheError;
use crate::entry::{ScopeName, Value};
use crate::store::CacheStore;

/// See the module. There is nothing to change, and nobody is told; after the end that is an error.
pub(crate) enum NullStore {
    NotYet,
    Stopped,
}

impl NullStore {
    fn change<T>(&self, nothing: T) -> Result<T, CacheError> {
        match self {
            Self::NotYet => Ok(nothing),
            Self::Stopped => Err(CacheError::Stopped),
        }
    }
}

#[async_trait]
impl CacheStore for NullStore {
    async fn get(&self, _: &ScopeName, _: &str) -> Result<Option<Value>, CacheError> {
        Ok(None)
    }

    async fn set(&self, _: &ScopeName, _: &str, _: &[u8], _: Option<Duration>) -> Result<(), CacheError> {
        self.change(())
    }

    async fn delete(&self, _: &ScopeName, _: &str) -> Result<bool, CacheError> {
        self.change(false)
    }

    async fn delete_by_prefix(&self, _: &ScopeName, _: &str) -> Result<u64, CacheError> {
        self.change(0)
    }
}
