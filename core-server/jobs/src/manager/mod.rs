//! The queues of a process, and which provider keeps their jobs.
//!
//! The provider can be changed while everything runs ([`switch`]): handles of queues and consumers go on with the new one. Which is
//! active is kept and announced to other replicas by the caller, as an [`ActiveBackend`].

mod overview;
mod publication;
mod queue;
mod switch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

pub use checkstack_backends::ActiveBackend;
use serde_json::Value;
use tokio::sync::{Notify, OwnedRwLockReadGuard};

pub use publication::{Draft, DraftRow, Publication};
use queue::Remembered;
pub use queue::{Consumer, Queue};
pub use switch::Switched;

use crate::counts::Tallies;
use crate::engine::Engine;
use crate::job::QueueName;
use crate::provider::{Provider, ProviderDescription};
use crate::store::Published;
use crate::{QueueError, Timings};

/// Most queues of one process: a thousand plugins with eight each.
pub const MAX_QUEUES: usize = 10_000;

/// How patient a manager is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long calls wait for a provider to be active.
    pub calls: Duration,
    /// How long jobs that are being run may go on when the provider changes.
    pub jobs: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { calls: Duration::from_secs(10), jobs: Duration::from_secs(30) }
    }
}

/// See the module. Cheap to clone; [`Self::stop`] ends it.
#[derive(Clone)]
pub struct QueueManager {
    shared: Arc<Shared>,
}

struct Shared {
    timings: Timings,
    patience: Patience,
    providers: RwLock<BTreeMap<String, Arc<dyn Provider>>>,
    queues: Mutex<BTreeSet<QueueName>>,
    consumers: Mutex<Vec<Arc<Remembered>>>,
    /// Calls read it for as long as they take; a change waits for them, and they for it.
    current: Arc<tokio::sync::RwLock<Current>>,
    changed: Notify,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
    tallies: Tallies,
}

enum Current {
    None,
    Active { engine: Arc<Engine>, backend: ActiveBackend },
    Stopped,
}

/// The active engine, which is not changed while this is held.
struct InUse(OwnedRwLockReadGuard<Current, Arc<Engine>>);

impl std::ops::Deref for InUse {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.0
    }
}

impl Shared {
    /// Waits for a provider to be active, within bounds.
    async fn engine(&self) -> Result<InUse, QueueError> {
        let active = async {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                // Before looking: nothing is missed in between.
                changed.as_mut().enable();
                if let Some(engine) = self.engine_now().await? {
                    return Ok(engine);
                }
                changed.await;
            }
        };
        tokio::time::timeout(self.patience.calls, active).await.unwrap_or(Err(QueueError::NotActive(self.patience.calls)))
    }

    async fn engine_now(&self) -> Result<Option<InUse>, QueueError> {
        let current = self.current.clone().read_owned().await;
        if matches!(*current, Current::Stopped) {
            return Err(QueueError::Stopped);
        }
        let engine = OwnedRwLockReadGuard::try_map(current, |current| match current {
            Current::Active { engine, .. } => Some(engine),
            Current::None | Current::Stopped => None,
        });
        Ok(engine.ok().map(InUse))
    }

    fn remembered(&self) -> Vec<Arc<Remembered>> {
        self.consumers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl QueueManager {
    /// No provider is active yet: see [`Self::follow`].
    pub fn new(timings: Timings, patience: Patience) -> Self {
        Self {
            shared: Arc::new(Shared {
                timings,
                patience,
                providers: RwLock::default(),
                queues: Mutex::default(),
                consumers: Mutex::default(),
                current: Arc::new(tokio::sync::RwLock::new(Current::None)),
                changed: Notify::new(),
                changing: tokio::sync::Mutex::default(),
                tallies: Tallies::default(),
            }),
        }
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

    /// A handle of a queue. It stays valid when the provider changes.
    ///
    /// # Errors
    /// [`QueueError::Invalid`]: the name is not valid, or there are [`MAX_QUEUES`] already.
    pub fn queue(&self, name: &str) -> Result<Queue, QueueError> {
        let name: QueueName = name.parse()?;
        let mut queues = self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if !queues.contains(&name) && queues.len() >= MAX_QUEUES {
            return Err(QueueError::Invalid(format!("there are {MAX_QUEUES} queues, and '{name}' would be one more")));
        }
        queues.insert(name.clone());
        Ok(Queue::new(name, self.shared.clone()))
    }

    /// Publishes to a queue that this process need not have otherwise: see [`Queue::publish`].
    ///
    /// # Errors
    /// As there.
    pub async fn publish(&self, queue: &QueueName, data: Value) -> Result<Published, QueueError> {
        Queue::new(queue.clone(), self.shared.clone()).publish(data).await
    }

    /// What is active; none before the first [`Self::follow`], and after [`Self::stop`].
    pub async fn active(&self) -> Option<ActiveBackend> {
        match &*self.shared.current.read().await {
            Current::Active { backend, .. } => Some(backend.clone()),
            Current::None | Current::Stopped => None,
        }
    }

    /// Ends all consumers and everything else: nothing is claimed any more, jobs that are being run have `grace`, the others are given
    /// back. Calls fail from then on.
    pub async fn stop(&self, grace: Duration) {
        let _changing = self.shared.changing.lock().await;
        let engine = match &*self.shared.current.read().await {
            Current::Active { engine, .. } => Some(engine.clone()),
            Current::None | Current::Stopped => None,
        };
        if let Some(engine) = &engine {
            // Jobs that are ending may still enqueue others.
            engine.end_consumers(grace).await;
        }
        *self.shared.current.write().await = Current::Stopped;
        self.shared.changed.notify_waiters();
        self.shared.consumers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Some(engine) = engine {
            engine.stop(Duration::ZERO).await;
        }
    }
}
