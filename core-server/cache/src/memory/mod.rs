//! Entries in the memory of each process. They are gone with it; [`crate::replicas`] says how those of other processes are kept right.

mod entries;
mod space;
mod store;

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::entries::Usage;
use self::space::Limits;
use self::store::MemoryStore;
use crate::CacheError;
use crate::provider::{Provider, ProviderDescription};
use crate::replicas::{Backplane, Replicas, Timings};
use crate::store::CacheStore;

/// Id of the provider.
pub const ID: &str = "memory";

/// What an admin can choose. How many bytes there are is a setting of the server, since it depends on what the pod has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct MemoryConfiguration {
    /// Entries of all plugins together. There may be room for fewer.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_entries: usize,
    /// How often expired entries are looked for; they are never found in any case.
    #[schemars(range(min = 1_000, max = 3_600_000))]
    pub sweep_interval_ms: u64,
    /// What one plugin may have of the bytes and of the entries, in percent. The shares of all may be more than the whole.
    #[schemars(range(min = 1, max = 100))]
    pub plugin_share_percent: usize,
}

impl Default for MemoryConfiguration {
    fn default() -> Self {
        Self { max_entries: 100_000, sweep_interval_ms: 60_000, plugin_share_percent: 25 }
    }
}

impl MemoryConfiguration {
    fn check(&self) -> Result<(), CacheError> {
        in_range("maxEntries", self.max_entries as u64, 1..=10_000_000)?;
        in_range("sweepIntervalMs", self.sweep_interval_ms, 1_000..=3_600_000)?;
        in_range("pluginSharePercent", self.plugin_share_percent as u64, 1..=100)
    }

    fn limits(&self, bytes: usize) -> Limits {
        // The quotient first: the product may not fit.
        let part = |of: usize| (of / 100 * self.plugin_share_percent + of % 100 * self.plugin_share_percent / 100).max(1);
        Limits { total: Usage { bytes, entries: self.max_entries }, share: Usage { bytes: part(bytes), entries: part(self.max_entries) } }
    }
}

/// Opens a new, empty store each time.
pub struct MemoryProvider {
    bytes: usize,
    others: Option<(Arc<dyn Backplane>, Timings)>,
}

impl MemoryProvider {
    /// For one process alone. `bytes`: of all entries, with their keys and what it costs to keep them.
    pub fn alone(bytes: usize) -> Self {
        Self { bytes, others: None }
    }

    /// For several processes, each with so many bytes.
    pub fn replicated(bytes: usize, backplane: Arc<dyn Backplane>, timings: Timings) -> Self {
        Self { bytes, others: Some((backplane, timings)) }
    }
}

impl Provider for MemoryProvider {
    fn description(&self) -> ProviderDescription {
        ProviderDescription {
            id: ID.to_owned(),
            display_name: "In memory".to_owned(),
            description: "Each replica keeps entries in its own memory, and tells the others what to forget.".to_owned(),
            config_version: 1,
            config_schema: schemars::schema_for!(MemoryConfiguration).to_value(),
        }
    }

    fn open(&self, configuration: &Value) -> Result<Arc<dyn CacheStore>, CacheError> {
        let configuration: MemoryConfiguration = serde_json::from_value(configuration.clone()).map_err(invalid)?;
        configuration.check()?;
        let replicas = self.others.as_ref().map(|(backplane, timings)| Replicas::new(backplane.clone(), *timings));
        let sweep = Duration::from_millis(configuration.sweep_interval_ms);
        Ok(Arc::new(MemoryStore::new(configuration.limits(self.bytes), replicas, sweep)))
    }
}

fn in_range(name: &str, value: u64, range: std::ops::RangeInclusive<u64>) -> Result<(), CacheError> {
    match range.contains(&value) {
        true => Ok(()),
        false => Err(invalid(format!("{name} is {value}, and not in {}..={}", range.start(), range.end()))),
    }
}

fn invalid(problem: impl ToString) -> CacheError {
    CacheError::InvalidConfiguration { provider: ID.to_owned(), problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn configurations_are_checked() {
        let provider = MemoryProvider::alone(1_000);
        let open = |configuration: Value| provider.open(&configuration).map(drop);
        assert_eq!(open(json!({})), Ok(()));
        assert_eq!(open(json!({ "maxEntries": 10_000, "sweepIntervalMs": 60_000 })), Ok(()), "as the original platform has it");
        for wrong in [
            json!({ "maxEntries": 0 }),
            json!({ "sweepIntervalMs": 999 }),
            json!({ "pluginSharePercent": 101 }),
            json!({ "pluginSharePercent": "all" }),
            json!({ "maxEntrys": 5 }),
        ] {
            assert!(matches!(open(wrong), Err(CacheError::InvalidConfiguration { .. })));
        }
    }

    #[test]
    fn a_share_is_a_part_of_the_bytes_and_of_the_entries() {
        let configuration = MemoryConfiguration { max_entries: 10, ..MemoryConfiguration::default() };
        let share = |bytes: usize| configuration.limits(bytes).share;
        assert_eq!(share(1_050), Usage { bytes: 262, entries: 2 });
        assert_eq!(share(usize::MAX / 100 * 100).bytes, usize::MAX / 100 * 25);
        let least = MemoryConfiguration { max_entries: 1, plugin_share_percent: 1, ..configuration }.limits(1);
        assert_eq!(least.share, Usage { bytes: 1, entries: 1 });
    }
}
