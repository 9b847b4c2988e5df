//! The instances of one plugin.
//!
//! A call takes the instance that was used last, because its memory is warm, or makes a new one when
//! all are busy. There are never more than the limit; calls beyond it wait in a bounded queue. An
//! instance comes back only from a call that went well.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use checkstack_platform::plugin::CallFailure;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::WasmHostSettings;
use crate::failure::{Cause, GuestFailure, Phase};
use crate::instance::{Deadline, Instance, Template};
use crate::lane::Stretch;

/// What a plugin may be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// Described, not initialised.
    Loaded = 0,
    /// Initialised.
    Running = 1,
    /// Shut down.
    Closed = 2,
}

/// See the module.
pub(crate) struct Pool {
    template: Template,
    /// The last is the one that was used last.
    idle: Mutex<Vec<Idle>>,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    state: AtomicU8,
    max_waiting: usize,
    queue_timeout: Duration,
    max_calls: u64,
    idle_timeout: Duration,
}

struct Idle {
    instance: Box<Instance>,
    since: Instant,
}

impl Pool {
    pub(crate) fn new(template: Template, settings: &WasmHostSettings) -> Arc<Self> {
        Arc::new(Self {
            template,
            idle: Mutex::new(Vec::new()),
            places: Arc::new(Semaphore::new(settings.max_instances_per_plugin.clamp(1, Semaphore::MAX_PERMITS))),
            waiting: AtomicUsize::new(0),
            state: AtomicU8::new(State::Loaded as u8),
            max_waiting: settings.max_waiting_calls_per_plugin,
            queue_timeout: settings.queue_timeout,
            max_calls: settings.max_calls_per_instance,
            idle_timeout: settings.idle_timeout,
        })
    }

    pub(crate) fn template(&self) -> &Template {
        &self.template
    }

    pub(crate) fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Loaded,
            1 => State::Running,
            _ => State::Closed,
        }
    }

    /// False when the plugin was closed in the meantime: nothing opens it again.
    pub(crate) fn run(&self) -> bool {
        let (from, to) = (State::Loaded as u8, State::Running as u8);
        match self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(state) => state == to,
        }
    }

    /// Waits for a place among the calls that are being worked on.
    pub(crate) async fn admit(self: &Arc<Self>, deadline: Deadline) -> Result<Lease, CallFailure> {
        let plugin_id = || self.template.context.plugin_id().clone();
        if self.state() != State::Running {
            return Err(CallFailure::NotRunning(plugin_id()));
        }
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(self.lease(place));
        }
        let _waiting = Waiting::enter(&self.waiting, self.max_waiting).ok_or_else(|| CallFailure::Overloaded(plugin_id()))?;
        // A call that waited for most of its time could not do much with the rest.
        let patience = self.queue_timeout.min(deadline.limit / 2);
        match tokio::time::timeout(patience, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(self.lease(place)),
            Ok(Err(_)) => Err(CallFailure::NotRunning(plugin_id())),
            Err(_) => Err(CallFailure::Overloaded(plugin_id())),
        }
    }

    /// The same for a step in the life of the plugin, which is run in the background and may wait
    /// until its deadline.
    pub(crate) async fn admit_step(self: &Arc<Self>, phase: Phase, deadline: Deadline) -> Result<Lease, GuestFailure> {
        match tokio::time::timeout_at(deadline.at.into(), Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => {
                let lease = self.lease(place);
                lease.stretch.enter_background();
                Ok(lease)
            }
            Ok(Err(_)) => Err(GuestFailure::abandoned(phase)),
            Err(_) => Err(GuestFailure { phase, cause: Cause::Deadline(deadline.limit) }),
        }
    }

    fn lease(self: &Arc<Self>, place: OwnedSemaphorePermit) -> Lease {
        let instance = self.idle().pop().map(|idle| idle.instance);
        let stretch = instance.as_ref().map_or_else(Arc::default, |instance| Arc::clone(instance.stretch()));
        Lease { instance, stretch, pool: Arc::clone(self), _place: place }
    }

    fn put_back(&self, instance: Box<Instance>) {
        if self.state() == State::Closed || instance.is_worn(self.max_calls) {
            return;
        }
        self.idle().push(Idle { instance, since: Instant::now() });
    }

    /// Refuses calls from now on and gives the last lease, if the plugin has ever run.
    pub(crate) async fn close(self: &Arc<Self>, deadline: Deadline) -> Option<Lease> {
        let before = self.state.swap(State::Closed as u8, Ordering::AcqRel);
        let last = match before == State::Running as u8 {
            true => self.admit_step(Phase::Shutdown, deadline).await.ok(),
            false => None,
        };
        self.places.close();
        self.idle().clear();
        last
    }

    /// Drops instances that nobody needed for some time, all but one.
    fn shrink(&self, now: Instant) {
        let stale = {
            let mut idle = self.idle();
            // The first have waited longest.
            let is_stale = |idle: &Idle| now.saturating_duration_since(idle.since) >= self.idle_timeout;
            let count = idle.iter().take_while(|idle| is_stale(idle)).count().min(idle.len().saturating_sub(1));
            idle.drain(..count).collect::<Vec<_>>()
        };
        // Outside the lock: giving memory back takes time.
        drop(stale);
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shrinks a pool from time to time, until it is gone.
pub(crate) async fn keep_small(pool: Weak<Pool>, idle_timeout: Duration) {
    let mut interval = tokio::time::interval((idle_timeout / 4).max(Duration::from_millis(10)));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let Some(pool) = pool.upgrade() else { return };
        pool.shrink(Instant::now());
    }
}

/// One of the calls that wait.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize, limit: usize) -> Option<Self> {
        let entered = Self(count);
        // Leaving is counted by dropping, also right here when the queue is full.
        (count.fetch_add(1, Ordering::Relaxed) < limit).then_some(entered)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place among the calls being worked on, and the instance that works. Dropping it drops the
/// instance.
pub(crate) struct Lease {
    // In this order: the instance is gone before its place is free.
    instance: Option<Box<Instance>>,
    stretch: Arc<Stretch>,
    pool: Arc<Pool>,
    _place: OwnedSemaphorePermit,
}

impl Lease {
    pub(crate) fn stretch(&self) -> &Arc<Stretch> {
        &self.stretch
    }

    /// The instance, made if there is none.
    pub(crate) async fn instance(&mut self, deadline: Deadline) -> Result<&mut Instance, GuestFailure> {
        let instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.pool.template.instantiate(Arc::clone(&self.stretch), deadline).await?,
        };
        Ok(self.instance.insert(instance))
    }

    /// The instance, made and initialised if need be.
    pub(crate) async fn initialised(&mut self, deadline: Deadline) -> Result<&mut Instance, GuestFailure> {
        let instance = self.instance(deadline).await?;
        if !instance.is_initialised() {
            instance.init(deadline).await?;
        }
        Ok(instance)
    }

    /// Ends a call that went well.
    pub(crate) fn give_back(mut self) {
        if let Some(instance) = self.instance.take() {
            self.pool.put_back(instance);
        }
    }
}
