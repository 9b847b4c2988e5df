//! Kinds of stores that an admin can choose from.

use std::sync::Arc;

pub use checkstack_backends::ProviderDescription;
use serde_json::Value;

use crate::CacheError;
use crate::store::CacheStore;

/// Opens stores of one kind.
pub trait Provider: Send + Sync + 'static {
    /// What it is.
    fn description(&self) -> ProviderDescription;

    /// A store with a configuration, empty where it is not shared. Whether it can be reached is not asked.
    ///
    /// # Errors
    /// [`CacheError::InvalidConfiguration`].
    fn open(&self, configuration: &Value) -> Result<Arc<dyn CacheStore>, CacheError>;
}
