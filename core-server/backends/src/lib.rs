//! What queues and caches have in common (platform facts §7.4, §7.5): several providers are registered, an admin chooses one of them, and every
//! replica follows.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The provider that is active, its configuration, and which choice of an admin that is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActiveBackend {
    /// Id of the provider
    pub provider: String,
    /// Of the provider
    pub configuration: Value,
    /// Grows with each choice: who hears of a greater one follows it.
    pub version: u64,
}

impl Default for ActiveBackend {
    /// In memory, as long as nobody has chosen.
    fn default() -> Self {
        Self { provider: "memory".to_owned(), configuration: Value::Object(serde_json::Map::new()), version: 0 }
    }
}

impl ActiveBackend {
    /// Whether to change to `announced`.
    pub fn is_followed_by(&self, announced: &Self) -> bool {
        announced.version > self.version
    }
}

/// What an admin is told of a provider.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderDescription {
    /// For example `memory`
    pub id: String,
    /// For people
    pub display_name: String,
    /// For people
    pub description: String,
    /// Of the format of its configuration
    pub config_version: u32,
    /// JSON Schema of its configuration
    pub config_schema: Value,
}
