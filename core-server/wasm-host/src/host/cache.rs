//! `cache`: what may be forgotten.

use std::time::Duration;

use checkstack_cache::{CacheError, CacheScope};

use super::HostState;
use crate::bindings::checkstack::plugin::cache::{Error, Host};

impl From<CacheError> for Error {
    fn from(error: CacheError) -> Self {
        match &error {
            CacheError::Invalid(_) | CacheError::TooLarge { .. } => Self::Invalid(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl HostState {
    fn cache(&self) -> Result<CacheScope, Error> {
        self.check_may_act().map_err(Error::Unavailable)?;
        Ok(self.plugin.services.cache.clone())
    }
}

impl Host for HostState {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.cache()?.get(&key).await?.map(|value| value.to_vec()))
    }

    async fn set(&mut self, key: String, value: Vec<u8>, ttl: Option<u64>) -> Result<(), Error> {
        Ok(self.cache()?.set(&key, &value, ttl.map(Duration::from_millis)).await?)
    }

    async fn delete(&mut self, key: String) -> Result<bool, Error> {
        Ok(self.cache()?.delete(&key).await?)
    }

    async fn delete_by_prefix(&mut self, prefix: String) -> Result<u64, Error> {
        Ok(self.cache()?.delete_by_prefix(&prefix).await?)
    }
}
