//! The instances of one plugin.
//!
//! A call takes the instance that was used last, because its memory is warm, or makes a new one when
//! all are busy. There are never more than the limit, nor more than the plugin's memory has room for;
//! calls beyond that wait in a bounded queue. An instance comes back only from a call that went well.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use checkstack_platform::plugin::{CallFailure, Usage};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::WasmHostSettings;
use crate::failure::{Cause, GuestFailure, Phase};
use crate::instance::{Deadline, Instance, Template};
use crate::lane::Stretch;
use crate::limits::{self, Reservation};

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
    /// How long calls have waited, in nanoseconds.
    waited: AtomicU64,
    max_instances: usize,
    /// Those who have a place and neither instance nor memory wait in this line, and are counted.
    line: tokio::sync::Mutex<()>,
    in_line: AtomicUsize,
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
        let max_instances = settings.max_instances_per_plugin.clamp(1, Semaphore::MAX_PERMITS);
        let pool = Arc::new(Self {
            template,
            idle: Mutex::new(Vec::new()),
            places: Arc::new(Semaphore::new(max_instances)),
            waiting: AtomicUsize::new(0),
            waited: AtomicU64::new(0),
            max_instances,
            line: tokio::sync::Mutex::new(()),
            in_line: AtomicUsize::new(0),
            state: AtomicU8::new(State::Loaded as u8),
            max_waiting: settings.max_waiting_calls_per_plugin,
            queue_timeout: settings.queue_timeout,
            max_calls: settings.max_calls_per_instance,
            idle_timeout: settings.idle_timeout,
        });
        let as_idle: Arc<dyn limits::Idle> = pool.clone();
        pool.template.memory().take_from(Arc::downgrade(&as_idle));
        pool
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
        let mut place = Arc::clone(&self.places).try_acquire_owned().ok();
        // Nobody overtakes those in line.
        if place.is_some()
            && self.in_line.load(Ordering::Relaxed) == 0
            && let Some(start) = self.start()
            && let Some(place) = place.take()
        {
            return Ok(self.lease(place, start));
        }
        let _waiting = Waiting::enter(&self.waiting, self.max_waiting).ok_or_else(|| CallFailure::Overloaded(plugin_id()))?;
        // A call that waited for most of its time could not do much with the rest.
        let patience = self.queue_timeout.min(deadline.limit / 2);
        let since = Instant::now();
        let turn = tokio::time::timeout(patience, self.lease_in_turn(place)).await;
        self.waited.fetch_add(u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        match turn {
            Ok(Some(lease)) if self.state() == State::Running => Ok(lease),
            Ok(_) => Err(CallFailure::NotRunning(plugin_id())),
            Err(_) => Err(CallFailure::Overloaded(plugin_id())),
        }
    }

    /// The same for a step in the life of the plugin, which is run in the background and may wait
    /// until its deadline.
    pub(crate) async fn admit_step(self: &Arc<Self>, phase: Phase, deadline: Deadline) -> Result<Lease, GuestFailure> {
        match tokio::time::timeout_at(deadline.at.into(), self.lease_in_turn(None)).await {
            Ok(Some(lease)) => {
                lease.stretch.enter_background();
                Ok(lease)
            }
            Ok(None) => Err(GuestFailure::abandoned(phase)),
            Err(_) => Err(GuestFailure { phase, cause: Cause::Deadline(deadline.limit) }),
        }
    }

    /// Waits for a place, if there is none yet, and for an instance or room for one. `None` when the
    /// plugin has been closed.
    async fn lease_in_turn(self: &Arc<Self>, place: Option<OwnedSemaphorePermit>) -> Option<Lease> {
        let place = match place {
            Some(place) => place,
            None => Arc::clone(&self.places).acquire_owned().await.ok()?,
        };
        let _in_line = Waiting::enter(&self.in_line, usize::MAX);
        let _first = self.line.lock().await;
        loop {
            if let Some(start) = self.start() {
                return Some(self.lease(place, start));
            }
            let memory = self.template.memory();
            memory.tell_once(self.template.context.plugin_id());
            memory.room().await;
        }
    }

    /// What the plugin takes, but for the time that threads work for it.
    pub(crate) fn usage(&self) -> Usage {
        let at_rest = self.idle().len();
        let working = self.max_instances.saturating_sub(self.places.available_permits());
        Usage {
            instances: (at_rest + working) as u64,
            memory_bytes: self.template.memory().used(),
            waiting: self.waiting.load(Ordering::Relaxed) as u64,
            queued: Duration::from_nanos(self.waited.load(Ordering::Relaxed)),
            ..Usage::default()
        }
    }

    /// What a lease begins with, if the plugin can have it now.
    fn start(&self) -> Option<Start> {
        let idle = self.idle().pop();
        match idle {
            Some(idle) => Some(Start::Instance(idle.instance)),
            None => self.template.memory().for_an_instance().map(Start::Memory),
        }
    }

    fn lease(self: &Arc<Self>, place: OwnedSemaphorePermit, start: Start) -> Lease {
        let (instance, memory) = match start {
            Start::Instance(instance) => (Some(instance), None),
            Start::Memory(memory) => (None, Some(memory)),
        };
        let stretch = instance.as_ref().map_or_else(Arc::default, |instance| Arc::clone(instance.stretch()));
        Lease { instance, memory, stretch, pool: Arc::clone(self), _place: place }
    }

    fn put_back(&self, instance: Box<Instance>) {
        if self.state() == State::Closed || instance.is_worn(self.max_calls) {
            return;
        }
        self.idle().push(Idle { instance, since: Instant::now() });
        self.template.memory().has_room();
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

impl limits::Idle for Pool {
    fn give_up_one(&self) -> bool {
        let longest = {
            let mut idle = self.idle();
            (!idle.is_empty()).then(|| idle.remove(0))
        };
        // Dropped outside the lock.
        longest.is_some()
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

/// An instance, or the memory for one.
enum Start {
    Instance(Box<Instance>),
    Memory(Reservation),
}

/// A place among the calls being worked on, and the instance that works. Dropping it drops the
/// instance.
pub(crate) struct Lease {
    // In this order: the instance is gone before its place is free.
    instance: Option<Box<Instance>>,
    /// For an instance that has not been made yet.
    memory: Option<Reservation>,
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
            None => {
                let template = &self.pool.template;
                let memory = self.memory.take().unwrap_or_else(|| template.memory().nothing());
                template.instantiate(Arc::clone(&self.stretch), memory, deadline).await?
            }
        };
        Ok(self.instance.insert(instance))
    }

    /// The instance, made and initialised if need be, for a call at this place in a chain of calls.
    pub(crate) async fn initialised(&mut self, deadline: Deadline, depth: u8) -> Result<&mut Instance, GuestFailure> {
        let instance = self.instance(deadline).await?;
        if !instance.is_initialised() {
            instance.init(deadline, depth).await?;
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
