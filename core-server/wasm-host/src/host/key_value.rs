//! `key-value`: small values in the instance's database.

use bytes::Bytes;
use checkstack_platform::plugin::{KeyValueError, KeyValueStore};
use std::sync::Arc;

use super::HostState;
use crate::bindings::checkstack::plugin::key_value::{Error, Host};

impl From<KeyValueError> for Error {
    fn from(error: KeyValueError) -> Self {
        match error {
            KeyValueError::Invalid(message) => Self::Invalid(message),
            KeyValueError::Unavailable(message) => Self::Unavailable(message),
        }
    }
}

impl HostState {
    fn key_value(&self) -> Result<Arc<dyn KeyValueStore>, Error> {
        self.database(self.plugin.services.key_value.as_ref()).map_err(Error::Denied)
    }
}

impl Host for HostState {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.key_value()?.get(&key).await?.map(Vec::from))
    }

    async fn set(&mut self, key: String, value: Vec<u8>, ttl: Option<u32>) -> Result<(), Error> {
        Ok(self.key_value()?.set(&key, Bytes::from(value), ttl).await?)
    }

    async fn delete(&mut self, key: String) -> Result<bool, Error> {
        Ok(self.key_value()?.delete(&key).await?)
    }

    async fn keys(&mut self, prefix: String, after: Option<String>, limit: u32) -> Result<Vec<String>, Error> {
        Ok(self.key_value()?.keys(&prefix, after.as_deref(), limit).await?)
    }
}
