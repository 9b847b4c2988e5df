//! What one plugin may have in use at a time, of what there is for all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use checkstack_plugin_package::PluginId;
use tokio::sync::Semaphore;

/// A share of the same size for each plugin, whichever of its versions asks.
#[derive(Clone)]
pub(super) struct Shares {
    size: u32,
    plugins: Arc<Mutex<BTreeMap<PluginId, Arc<Semaphore>>>>,
}

impl Shares {
    pub(super) fn new(size: u32) -> Self {
        Self { size: size.max(1), plugins: Arc::default() }
    }

    pub(super) fn size(&self) -> u32 {
        self.size
    }

    pub(super) fn of(&self, plugin_id: &PluginId) -> Arc<Semaphore> {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        plugins.entry(plugin_id.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.size as usize))).clone()
    }
}
