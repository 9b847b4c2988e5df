//! Jobs in the memory of one process: gone with it, and not shared with other replicas.

mod queue;
mod store;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use store::MemoryStore;

use crate::provider::{OpenStore, Provider, ProviderDescription, check_range, invalid};
use crate::{QueueError, Timings};

/// Id of the provider.
pub const ID: &str = "memory";

/// What an admin can choose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct MemoryConfiguration {
    /// Jobs of one queue that are run at once.
    #[schemars(range(min = 1, max = 100))]
    pub concurrency: usize,
    /// Jobs of one queue that may wait for one group.
    #[schemars(range(min = 1))]
    pub max_queue_size: usize,
    /// Delays are multiplied by it; less than 1 for tests.
    #[schemars(range(min = 0, max = 1))]
    pub delay_multiplier: f64,
    /// Of the original platform, whose configurations have it. Nothing here needs a heartbeat.
    pub heartbeat_interval_ms: u64,
}

impl Default for MemoryConfiguration {
    fn default() -> Self {
        Self { concurrency: 10, max_queue_size: 10_000, delay_multiplier: 1.0, heartbeat_interval_ms: 5_000 }
    }
}

/// Opens a new, empty store each time.
#[derive(Debug, Clone, Default)]
pub struct MemoryProvider {
    timings: Timings,
}

impl MemoryProvider {
    /// Only the retention matters to it.
    pub fn new(timings: Timings) -> Self {
        Self { timings }
    }
}

impl Provider for MemoryProvider {
    fn description(&self) -> ProviderDescription {
        ProviderDescription {
            id: ID.to_owned(),
            display_name: "In memory".to_owned(),
            description: "Jobs are kept by the process that enqueues them: they are lost with it. For trying things out.".to_owned(),
            config_version: 1,
            config_schema: schemars::schema_for!(MemoryConfiguration).to_value(),
        }
    }

    fn open(&self, configuration: &Value) -> Result<OpenStore, QueueError> {
        let configuration: MemoryConfiguration = serde_json::from_value(configuration.clone()).map_err(|problem| invalid(ID, problem))?;
        check_range(ID, "concurrency", configuration.concurrency, 1..=100)?;
        check_range(ID, "maxQueueSize", configuration.max_queue_size, 1..=10_000_000)?;
        let multiplier = configuration.delay_multiplier;
        if !(0.0..=1.0).contains(&multiplier) {
            return Err(invalid(ID, format!("delayMultiplier is {multiplier}, and not in 0..=1")));
        }
        let store = MemoryStore::new(configuration.max_queue_size, multiplier, self.timings.retention);
        Ok(OpenStore { store: Arc::new(store), concurrency: configuration.concurrency })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn configurations_are_checked() {
        let open = |configuration| MemoryProvider::default().open(&configuration).map(|open| open.concurrency);
        assert_eq!(open(json!({})), Ok(10));
        assert_eq!(open(json!({"concurrency": 3, "heartbeatIntervalMs": 5000})), Ok(3));
        for wrong in [
            json!({"concurrency": 0}),
            json!({"concurrency": 101}),
            json!({"delayMultiplier": 2}),
            json!({"maxQueueSize": "many"}),
            json!({"delay": 1}),
        ] {
            assert!(matches!(open(wrong), Err(QueueError::InvalidConfiguration { .. })));
        }
    }
}
