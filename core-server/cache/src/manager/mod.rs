//! The caches of a process, and which provider keeps their entries.
//!
//! The provider can be changed while everything runs ([`switch`]): handles go on with the new one, which begins empty unless it is shared.
//! Until one is active nothing is found and nothing is kept, which is no error. Which is active is kept and announced to other replicas by the
//! caller, as an [`ActiveBackend`].

mod scope;
mod switch;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use checkstack_backends::{ActiveBackend, ProviderDescription};
use tokio::time::timeout;

pub use scope::CacheScope;

use self::switch::Changing;
use crate::CacheError;
use crate::entry::ScopeName;
use crate::listing::{CacheStats, EntryPage, EntryQuery, ScopeUsage};
use crate::null::NullStore;
use crate::provider::Provider;
use crate::store::CacheStore;

/// How long a provider may take for an answer.
const ANSWER: Duration = Duration::from_secs(5);

/// See the module. Cheap to clone; [`Self::stop`] ends it.
#[derive(Clone)]
pub struct CacheManager {
    shared: Arc<Shared>,
}

struct Shared {
    providers: RwLock<BTreeMap<String, Arc<dyn Provider>>>,
    /// Calls go on with what they found here; a change does not wait for them.
    current: ArcSwap<Current>,
    /// One change at a time.
    changing: tokio::sync::Mutex<Changing>,
}

struct Current {
    store: Arc<dyn CacheStore>,
    /// None: nothing is kept.
    backend: Option<ActiveBackend>,
}

impl Current {
    fn none(store: NullStore) -> Self {
        Self { store: Arc::new(store), backend: None }
    }
}

impl Shared {
    fn store(&self) -> Arc<dyn CacheStore> {
        self.current.load().store.clone()
    }
}

/// What a provider answers, in time.
async fn in_time<T>(work: impl Future<Output = Result<T, CacheError>>) -> Result<T, CacheError> {
    match timeout(ANSWER, work).await {
        Ok(answer) => answer,
        Err(_) => Err(CacheError::Unavailable(format!("no answer within {} ms", ANSWER.as_millis()))),
    }
}

impl Default for CacheManager {
    fn default() -> Self {
        Self::new()
    }
}

impl CacheManager {
    /// No provider is active yet: see [`Self::follow`].
    pub fn new() -> Self {
        let shared = Shared {
            providers: RwLock::default(),
            current: ArcSwap::from_pointee(Current::none(NullStore::NotYet)),
            changing: tokio::sync::Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Adds a provider; one with the same id is replaced.
    pub fn register(&self, provider: Arc<dyn Provider>) {
        let mut providers = self.shared.providers.write().unwrap_or_else(PoisonError::into_inner);
        providers.insert(provider.description().id, provider);
    }

    /// All that were registered, by id.
    pub fn providers(&self) -> Vec<ProviderDescription> {
        let providers = self.shared.providers.read().unwrap_or_else(PoisonError::into_inner);
        providers.values().map(|provider| provider.description()).collect()
    }

    /// The entries of one owner. The handle stays valid when the provider changes.
    pub fn scope(&self, name: ScopeName) -> CacheScope {
        CacheScope::new(name, self.shared.clone())
    }

    /// What is active; none before the first [`Self::follow`], and after [`Self::stop`].
    pub fn active(&self) -> Option<ActiveBackend> {
        self.shared.current.load().backend.clone()
    }

    /// Figures of the active provider; none when it has none, or none is active.
    ///
    /// # Errors
    /// When the provider does not answer.
    pub async fn stats(&self) -> Result<Option<CacheStats>, CacheError> {
        in_time(self.shared.store().stats()).await
    }

    /// What each owner has here; none when the active provider does not know, or none is active.
    ///
    /// # Errors
    /// When the provider does not answer.
    pub async fn usage(&self) -> Result<Option<Vec<(ScopeName, ScopeUsage)>>, CacheError> {
        in_time(self.shared.store().usage()).await
    }

    /// Entries, without their values; none when the active provider cannot list them, or none is active.
    ///
    /// # Errors
    /// When more is asked for than is listed, or the provider does not answer.
    pub async fn list(&self, query: &EntryQuery) -> Result<Option<EntryPage>, CacheError> {
        query.check()?;
        in_time(self.shared.store().list(query)).await
    }
}
