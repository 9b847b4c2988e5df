//! Changing the provider.
//!
//! 1. The new store begins to run, and shows with a key of its own that it keeps what it is given.
//! 2. It becomes the active one, for all calls that begin from then on.
//! 3. The old one tells the other replicas what it has yet to tell, and ends.
//!
//! Replicas follow within seconds. Meanwhile what is set on one that has changed does not reach one that has not, unless both keep their
//! entries in memory.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use checkstack_backends::ActiveBackend;
use serde_json::Value;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::{CacheManager, Current, in_time};
use crate::CacheError;
use crate::null::NullStore;
use crate::store::CacheStore;

/// To whom the key belongs with which a provider is tried: no package may have this id.
const PROBE_SCOPE: &str = "cache";
const PROBE_KEY: &str = "__test__";
const PROBE_TTL: Duration = Duration::from_secs(1);
const PROBES: usize = 3;
/// For a store to end.
const END: Duration = Duration::from_secs(3);

/// What belongs to the change that was made last.
#[derive(Default)]
pub(super) struct Changing {
    running: Option<Running>,
    stopped: bool,
}

/// A store that does its work. Dropping it ends it at once.
struct Running {
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Running {
    fn start(store: Arc<dyn CacheStore>) -> Self {
        let stop = CancellationToken::new();
        let told = stop.clone();
        Self { stop, task: AbortOnDropHandle::new(tokio::spawn(async move { store.run(told).await })) }
    }

    async fn end(self) {
        self.stop.cancel();
        match timeout(END, self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(problem)) => warn!(%problem, "a cache provider did not end in order"),
            Err(_) => warn!("a cache provider did not end in time"),
        }
    }
}

impl CacheManager {
    /// Changes to another provider, or to another configuration, as an admin has asked for; what is to be kept, and announced to other
    /// replicas. When the new one cannot be used, nothing changes.
    ///
    /// # Errors
    /// When there is no such provider, its configuration is not valid, or it does not keep what it is given.
    pub async fn switch(&self, provider: &str, configuration: Value) -> Result<ActiveBackend, CacheError> {
        let mut changing = self.shared.changing.lock().await;
        if changing.stopped {
            return Err(CacheError::Stopped);
        }
        let store = self.open(provider, &configuration)?;
        let running = Running::start(store.clone());
        if let Err(problem) = in_time(try_out(&*store)).await {
            running.end().await;
            return Err(problem);
        }
        let version = self.active().map_or(0, |active| active.version).saturating_add(1);
        let backend = ActiveBackend { provider: provider.to_owned(), configuration, version };
        self.change(&mut changing, store, running, backend.clone()).await;
        Ok(backend)
    }

    /// Changes to what another replica has announced or what is stored, unless it is older than what is active; whether it did. Nobody
    /// asks whether the provider can be used: it is what was chosen.
    ///
    /// # Errors
    /// When there is no such provider, or its configuration is not valid.
    pub async fn follow(&self, announced: ActiveBackend) -> Result<bool, CacheError> {
        let mut changing = self.shared.changing.lock().await;
        if changing.stopped {
            return Err(CacheError::Stopped);
        }
        if self.active().is_some_and(|active| !active.is_followed_by(&announced)) {
            return Ok(false);
        }
        let store = self.open(&announced.provider, &announced.configuration)?;
        let running = Running::start(store.clone());
        self.change(&mut changing, store, running, announced).await;
        Ok(true)
    }

    /// Ends the active provider. From now on nothing is found, and changes are refused.
    pub async fn stop(&self) {
        let mut changing = self.shared.changing.lock().await;
        changing.stopped = true;
        self.shared.current.store(Arc::new(Current::none(NullStore::Stopped)));
        if let Some(running) = changing.running.take() {
            running.end().await;
        }
    }

    fn open(&self, id: &str, configuration: &Value) -> Result<Arc<dyn CacheStore>, CacheError> {
        let providers = self.shared.providers.read().unwrap_or_else(PoisonError::into_inner);
        providers.get(id).ok_or_else(|| CacheError::UnknownProvider(id.to_owned()))?.open(configuration)
    }

    async fn change(&self, changing: &mut Changing, store: Arc<dyn CacheStore>, running: Running, backend: ActiveBackend) {
        info!(provider = backend.provider, version = backend.version, "a cache provider becomes active");
        self.shared.current.store(Arc::new(Current { store, backend: Some(backend) }));
        if let Some(old) = changing.running.replace(running) {
            old.end().await;
        }
    }
}

/// Whether it keeps what it is given (platform facts §7.5).
async fn try_out(store: &dyn CacheStore) -> Result<(), CacheError> {
    let (scope, value) = (PROBE_SCOPE.parse()?, b"1");
    // A store that has just begun to hear of others forgets what it was given before.
    for _ in 0..PROBES {
        store.set(&scope, PROBE_KEY, value, Some(PROBE_TTL)).await?;
        let found = store.get(&scope, PROBE_KEY).await?;
        store.delete(&scope, PROBE_KEY).await?;
        if found.is_some_and(|found| *found == *value) {
            return Ok(());
        }
    }
    Err(CacheError::Refused("a value that was set to try it out is not there".to_owned()))
}
