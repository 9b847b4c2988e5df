//! What an instance may allocate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

/// Parts of a component. Components of real toolchains have fewer than ten of each.
const MAX_CORE_INSTANCES: usize = 64;
const MAX_TABLES: usize = 32;
const MAX_MEMORIES: usize = 8;

/// Elements of all tables of an instance together; each takes a pointer of host memory.
const MAX_TABLE_ELEMENTS: usize = 100_000;

/// The memory of all instances of one plugin.
#[derive(Debug)]
pub(crate) struct PluginMemory {
    used: AtomicU64,
    limit: u64,
}

impl PluginMemory {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(0), limit })
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn reserve(&self, bytes: u64) -> bool {
        let add = |used: u64| used.checked_add(bytes).filter(|total| *total <= self.limit);
        self.used.try_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
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
/// more memory; most guests then trap, and [`InstanceLimits::exceeded`] tells why.
#[derive(Debug)]
pub(crate) struct InstanceLimits {
    memory_limit: u64,
    memory_used: u64,
    table_elements: usize,
    plugin: Arc<PluginMemory>,
    exceeded: Option<Exceeded>,
}

impl InstanceLimits {
    pub(crate) fn new(memory_limit: u64, plugin: Arc<PluginMemory>) -> Self {
        Self { memory_limit, memory_used: 0, table_elements: 0, plugin, exceeded: None }
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
        if self.memory_used.saturating_add(growth) > self.memory_limit {
            self.exceeded = Some(Exceeded::Instance);
            return Ok(false);
        }
        if !self.plugin.reserve(growth) {
            self.exceeded = Some(Exceeded::Plugin);
            return Ok(false);
        }
        self.memory_used += growth;
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

impl Drop for InstanceLimits {
    fn drop(&mut self) {
        self.plugin.release(self.memory_used);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PAGE: usize = 65_536;

    #[test]
    fn all_memories_of_an_instance_count_together() {
        let mut limits = InstanceLimits::new(3 * PAGE as u64, PluginMemory::new(u64::MAX));
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
        let mut first = InstanceLimits::new(u64::MAX, Arc::clone(&plugin));
        let mut second = InstanceLimits::new(u64::MAX, Arc::clone(&plugin));
        assert!(first.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(!second.memory_growing(0, 2 * PAGE, None).unwrap());
        assert_eq!(second.take_exceeded(), Some(Exceeded::Plugin));
        drop(first);
        assert!(second.memory_growing(0, 2 * PAGE, None).unwrap());
        drop(second);
        assert_eq!(plugin.used(), 0);
    }

    #[test]
    fn the_modules_own_maximum_is_no_exceeded_grant() {
        let mut limits = InstanceLimits::new(u64::MAX, PluginMemory::new(u64::MAX));
        assert!(!limits.memory_growing(0, 2 * PAGE, Some(PAGE)).unwrap());
        assert_eq!(limits.take_exceeded(), None);
    }

    #[test]
    fn tables_are_bounded_together() {
        let mut limits = InstanceLimits::new(u64::MAX, PluginMemory::new(u64::MAX));
        assert!(limits.table_growing(0, MAX_TABLE_ELEMENTS, None).unwrap());
        assert!(!limits.table_growing(0, 1, None).unwrap());
    }
}
