//! Kinds of stores that an admin can choose from.

use std::sync::Arc;

pub use checkstack_backends::ProviderDescription;
use serde_json::Value;

use crate::QueueError;
use crate::store::JobStore;

/// A store, and what its configuration says besides.
pub struct OpenStore {
    /// Where the jobs are
    pub store: Arc<dyn JobStore>,
    /// Jobs of one queue that one process runs at once
    pub concurrency: usize,
}

/// Opens stores of one kind.
pub trait Provider: Send + Sync + 'static {
    /// What it is.
    fn description(&self) -> ProviderDescription;

    /// A store with a configuration. Whether it can be reached is not asked.
    ///
    /// # Errors
    /// [`QueueError::InvalidConfiguration`].
    fn open(&self, configuration: &Value) -> Result<OpenStore, QueueError>;
}

/// Checks a concurrency of a configuration.
pub(crate) fn check_range(provider: &str, name: &str, value: usize, range: std::ops::RangeInclusive<usize>) -> Result<(), QueueError> {
    match range.contains(&value) {
        true => Ok(()),
        false => Err(invalid(provider, format!("{name} is {value}, and not in {}..={}", range.start(), range.end()))),
    }
}

pub(crate) fn invalid(provider: &str, problem: impl ToString) -> QueueError {
    QueueError::InvalidConfiguration { provider: provider.to_owned(), problem: problem.to_string() }
}
