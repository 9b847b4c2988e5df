//! Gets the bytes of a package from where the admin says they are.
//!
//! A source is not trusted: every fetch has a size limit that holds while the bytes arrive, a time
//! limit for all of it, and a limit of redirects; secret headers go to the origin that the admin
//! named and to no other. Only two fetches run at once, so that memory stays bounded.

mod address;
mod config_map;
mod error;
mod http;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use config_map::read_config_map;
pub use error::FetchError;
pub use http::{HttpFetcher, SecretHeaders};

use crate::telemetry::{FetchSource, Metrics};

/// What a fetch may take. The defaults are the product's.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimits {
    /// Bytes of a package.
    pub size: usize,
    /// From the first connection to the last byte.
    pub total: Duration,
    /// For one connection.
    pub connect: Duration,
    /// How many redirects are followed.
    pub redirects: usize,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self { size: 50 * 1024 * 1024, total: Duration::from_secs(60), connect: Duration::from_secs(10), redirects: 5 }
    }
}

/// How many packages may be in memory at once.
const CONCURRENT: usize = 2;

/// The places for packages in memory. A place is held until the package has been dealt with.
#[derive(Clone)]
pub struct FetchSlots {
    slots: Arc<Semaphore>,
    metrics: Metrics,
}

impl FetchSlots {
    /// Free places.
    pub fn new(metrics: Metrics) -> Self {
        Self { slots: Arc::new(Semaphore::new(CONCURRENT)), metrics }
    }

    /// Waits for a place and fetches into it.
    ///
    /// # Errors
    /// Those of `fetch`.
    pub async fn fetch(
        &self,
        source: FetchSource,
        fetch: impl Future<Output = Result<Vec<u8>, FetchError>>,
    ) -> Result<FetchedPackage, FetchError> {
        // The semaphore is never closed.
        let slot = self.slots.clone().acquire_owned().await.ok();
        let began = Instant::now();
        let result = fetch.await;
        self.metrics.fetched(source, result.as_ref().ok().map(Vec::len), began.elapsed());
        Ok(FetchedPackage { bytes: result?.into(), _slot: slot })
    }
}

/// A package in memory. Dropping it frees its place.
pub struct FetchedPackage {
    /// The bytes as they came.
    pub bytes: bytes::Bytes,
    _slot: Option<OwnedSemaphorePermit>,
}
