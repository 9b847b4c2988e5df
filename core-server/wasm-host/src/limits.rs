//! What an instance may allocate.
//!
//! Each instance has the memory it is granted as its limit, and all instances of a plugin together
//! have another, the plugin's budget. How many instances there are is the server's decision and not
//! the plugin's, so the budget is no limit that a plugin can break: an instance is only made when the
//! budget has room for one, and one that grows takes what idle instances have. See
//! [`pool`](crate::pool).

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use tokio::sync::Notify;
use wasmtime::ResourceLimiter;

/// Parts of a component. Components of real toolchains have fewer than ten of each.
const MAX_CORE_INSTANCES: usize = 64;
const MAX_TABLES: usize = 32;
const MAX_MEMORIES: usize = 8;

/// Elements of all tables of an instance together; each takes a pointer of host memory.
const MAX_TABLE_ELEMENTS: usize = 100_000;

/// Has memory that it can do without.
pub(crate) trait Idle: Send + Sync {
    /// Gives back some. False if there is none.
    fn give_up_one(&self) -> bool;
}

/// The memory of all instances of one plugin.
pub(crate) struct PluginMemory {
    used: AtomicU64,
    limit: u64,
    /// What an instance has needed at most until it could work.
    initial: AtomicU64,
    idle: OnceLock<Weak<dyn Idle>>,
    room: Notify,
    has_told: AtomicBool,
}

impl PluginMemory {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicU64::new(0),
            limit,
            initial: AtomicU64::new(0),
            idle: OnceLock::new(),
            room: Notify::new(),
            has_told: AtomicBool::new(false),
        })
    }

    /// Names those who give way to an instance that grows.
    pub(crate) fn take_from(&self, idle: Weak<dyn Idle>) {
        // There is one pool, which says so once.
        let _ = self.idle.set(idle);
    }

    /// What one more instance needs, if there is room for it.
    pub(crate) fn for_an_instance(self: &Arc<Self>) -> Option<Reservation> {
        let mut reservation = self.nothing();
        let bytes = self.initial.load(Ordering::Relaxed);
        self.add(bytes).then(|| {
            reservation.bytes = bytes;
            reservation
        })
    }

    /// For an instance that has to find out what it gets.
    pub(crate) fn nothing(self: &Arc<Self>) -> Reservation {
        Reservation { plugin: Arc::clone(self), bytes: 0 }
    }

    /// Ends when there may be room again. For one who waits at a time.
    pub(crate) async fn room(&self) {
        self.room.notified().await;
    }

    /// There may be room: memory was given back, or an instance has nothing to do.
    pub(crate) fn has_room(&self) {
        self.room.notify_one();
    }

    /// Writes to the log that the budget has been used up, once.
    pub(crate) fn tell_once(&self, plugin: &dyn fmt::Display) {
        if !self.has_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %plugin,
                mebibytes = self.limit / (1024 * 1024),
                "the instances of a plugin together have all the memory that they may have: calls wait for one another, or are refused because \
                 the plugin is busy; raise spec.grants.memory if this is too little"
            );
        }
    }

    /// Bytes that instances have, or have reserved.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: u64) -> bool {
        let add = |used: u64| used.checked_add(bytes).filter(|total| *total <= self.limit);
        self.used.try_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    fn add_from_idle(&self, bytes: u64) -> bool {
        loop {
            if self.add(bytes) {
                return true;
            }
            let idle = self.idle.get().and_then(Weak::upgrade);
            if !idle.is_some_and(|idle| idle.give_up_one()) {
                return false;
            }
        }
    }

    fn release(&self, bytes: u64) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            self.has_room();
        }
    }
}

/// A part of a plugin's memory that belongs to one instance.
pub(crate) struct Reservation {
    plugin: Arc<PluginMemory>,
    bytes: u64,
}

impl Reservation {
    fn grow_to(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let has_grown = more == 0 || self.plugin.add_from_idle(more);
        if has_grown {
            self.bytes += more;
        }
        has_grown
    }

    fn shrink_to(&mut self, bytes: u64) {
        let less = self.bytes.saturating_sub(bytes);
        self.bytes -= less;
        self.plugin.release(less);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

/// Whose limit stopped an instance from growing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exceeded {
    /// The memory granted to one instance.
    Instance,
    /// What all instances of the plugin may have together.
    Plugin,
}

/// The limits of one instance. A growth that is refused looks to the guest like a machine without
/// more memory; most guests then trap, and [`InstanceLimits::take_exceeded`] tells why.
pub(crate) struct InstanceLimits {
    memory_limit: u64,
    memory_used: u64,
    table_elements: usize,
    reservation: Reservation,
    exceeded: Option<Exceeded>,
}

impl InstanceLimits {
    pub(crate) fn new(memory_limit: u64, reservation: Reservation) -> Self {
        Self { memory_limit, memory_used: 0, table_elements: 0, reservation, exceeded: None }
    }

    /// The instance can work: what it has used so far is what the next one will need.
    pub(crate) fn is_ready(&mut self) {
        self.reservation.plugin.initial.fetch_max(self.memory_used, Ordering::Relaxed);
        self.reservation.shrink_to(self.memory_used);
    }

    pub(crate) fn plugin(&self) -> &PluginMemory {
        &self.reservation.plugin
    }

    /// Bytes of linear memory.
    pub(crate) fn memory_used(&self) -> u64 {
        self.memory_used
    }

    /// The refused growth since the last call of this function.
    pub(crate) fn take_exceeded(&mut self) -> Option<Exceeded> {
        self.exceeded.take()
    }
}

impl ResourceLimiter for InstanceLimits {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let growth = desired.saturating_sub(current) as u64;
        let wanted = self.memory_used.saturating_add(growth);
        if wanted > self.memory_limit {
            self.exceeded = Some(Exceeded::Instance);
            return Ok(false);
        }
        if !self.reservation.grow_to(wanted) {
            self.exceeded = Some(Exceeded::Plugin);
            return Ok(false);
        }
        self.memory_used = wanted;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let elements = self.table_elements.saturating_add(desired.saturating_sub(current));
        if elements > MAX_TABLE_ELEMENTS || maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.table_elements = elements;
        Ok(true)
    }

    fn instances(&self) -> usize {
        MAX_CORE_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PAGE: usize = 65_536;

    #[test]
    fn all_memories_of_an_instance_count_together() {
        let mut limits = InstanceLimits::new(3 * PAGE as u64, PluginMemory::new(u64::MAX).nothing());
        assert!(limits.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(!limits.memory_growing(0, 2 * PAGE, None).unwrap());
        assert_eq!(limits.take_exceeded(), Some(Exceeded::Instance));
        assert_eq!(limits.take_exceeded(), None);
        assert!(limits.memory_growing(0, PAGE, None).unwrap());
        assert_eq!(limits.memory_used(), 3 * PAGE as u64);
    }

    #[test]
    fn all_instances_of_a_plugin_count_together_until_they_go() {
        let plugin = PluginMemory::new(3 * PAGE as u64);
        let mut first = InstanceLimits::new(u64::MAX, plugin.nothing());
        let mut second = InstanceLimits::new(u64::MAX, plugin.nothing());
        assert!(first.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(!second.memory_growing(0, 2 * PAGE, None).unwrap());
        assert_eq!(second.take_exceeded(), Some(Exceeded::Plugin));
        drop(first);
        assert!(second.memory_growing(0, 2 * PAGE, None).unwrap());
        drop(second);
        assert_eq!(plugin.used(), 0);
    }

    #[test]
    fn an_instance_has_from_the_start_what_the_ones_before_it_needed() {
        let plugin = PluginMemory::new(7 * PAGE as u64);
        let instance = |needs: usize| {
            let mut limits = InstanceLimits::new(u64::MAX, plugin.for_an_instance()?);
            assert!(limits.memory_growing(0, needs * PAGE, None).unwrap());
            limits.is_ready();
            Some(limits)
        };
        let first = instance(3).unwrap();
        let frugal = instance(1).unwrap();
        assert_eq!(plugin.used(), 4 * PAGE as u64, "what is not needed is given back");
        let reserved = plugin.for_an_instance().unwrap();
        assert!(plugin.for_an_instance().is_none());
        drop((first, frugal, reserved));
        assert_eq!(plugin.used(), 0);
    }

    #[test]
    fn growth_takes_what_idle_instances_have() {
        struct Pool(std::sync::Mutex<Vec<InstanceLimits>>);
        impl Idle for Pool {
            fn give_up_one(&self) -> bool {
                let idle = self.0.lock().unwrap().pop();
                idle.is_some()
            }
        }
        let plugin = PluginMemory::new(4 * PAGE as u64);
        let of = |pages: usize| {
            let mut limits = InstanceLimits::new(u64::MAX, plugin.nothing());
            assert!(limits.memory_growing(0, pages * PAGE, None).unwrap());
            limits
        };
        let pool = Arc::new(Pool(std::sync::Mutex::new(vec![of(1), of(1), of(1)])));
        let as_idle: Arc<dyn Idle> = pool.clone();
        plugin.take_from(Arc::downgrade(&as_idle));
        let mut growing = of(1);
        assert!(growing.memory_growing(PAGE, 3 * PAGE, None).unwrap());
        assert_eq!(pool.0.lock().unwrap().len(), 1, "no more than it needs");
        assert!(!growing.memory_growing(3 * PAGE, 6 * PAGE, None).unwrap());
        assert_eq!(growing.take_exceeded(), Some(Exceeded::Plugin));
    }

    #[test]
    fn the_modules_own_maximum_is_no_exceeded_grant() {
        let mut limits = InstanceLimits::new(u64::MAX, PluginMemory::new(u64::MAX).nothing());
        assert!(!limits.memory_growing(0, 2 * PAGE, Some(PAGE)).unwrap());
        assert_eq!(limits.take_exceeded(), None);
    }

    #[test]
    fn tables_are_bounded_together() {
        let mut limits = InstanceLimits::new(u64::MAX, PluginMemory::new(u64::MAX).nothing());
        assert!(limits.table_growing(0, MAX_TABLE_ELEMENTS, None).unwrap());
        assert!(!limits.table_growing(0, 1, None).unwrap());
    }
}
