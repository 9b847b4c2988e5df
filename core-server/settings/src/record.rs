//! Settings as they are stored: JSON with the version of its format (platform facts §5.1).
//!
//! For what the core itself and its native parts keep. Plugins in the sandbox migrate their own settings, with the
//! `Versioned` of their SDK; the records of both have the same form.
//!
//! - [`Record`] is the wrapper.
//! - [`MigrationChain`] brings data from any version to the newest, step by step.
//! - [`Versioned`] does so for a Rust type, and says whether the result fits the type's schema.

mod defaults;
mod migration;
mod unknown;
mod versioned;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::defaults::apply_defaults;
pub use self::migration::{ChainError, Migration, MigrationChain, MigrationError};
pub use self::unknown::unknown_fields;
pub use self::versioned::{DefinitionError, InvalidData, RecordError, Steps, Versioned};

/// Data and the version of its format. Its `Debug` does not show the data, which may have secrets.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record<T = Value> {
    /// Of the format. The first is 1.
    pub version: u32,
    /// In that format.
    pub data: T,
    /// When it was last brought to a newer version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrated_at: Option<Timestamp>,
    /// The version that it was first written in, if that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_version: Option<u32>,
    /// The plugin that it belongs to, in records that say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin_id: Option<String>,
}

impl<T> Record<T> {
    /// One that was never migrated.
    #[must_use]
    pub fn new(version: u32, data: T) -> Self {
        Self { version, data, migrated_at: None, original_version: None, plugin_id: None }
    }

    /// The same, of a plugin.
    #[must_use]
    pub fn of_plugin(self, plugin_id: impl Into<String>) -> Self {
        Self { plugin_id: Some(plugin_id.into()), ..self }
    }

    /// The same with other data.
    #[must_use]
    pub fn with<U>(self, data: U) -> Record<U> {
        let Self { version, data: _, migrated_at, original_version, plugin_id } = self;
        Record { version, data, migrated_at, original_version, plugin_id }
    }
}

impl<T> fmt::Debug for Record<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Record");
        shown.field("version", &self.version).field("migrated_at", &self.migrated_at);
        shown.field("original_version", &self.original_version).field("plugin_id", &self.plugin_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_has_the_form_that_is_stored() {
        let full = json!({
            "version": 2, "data": { "a": 1 }, "migratedAt": "2026-01-02T03:04:05.678Z", "originalVersion": 1, "pluginId": "backend",
        });
        let record: Record = serde_json::from_value(full.clone()).unwrap();
        assert_eq!(record.migrated_at, Some("2026-01-02T03:04:05.678Z".parse().unwrap()));
        assert_eq!(serde_json::to_value(&record).unwrap(), full);
        let short = json!({ "version": 1, "data": null });
        let record: Record = serde_json::from_value(short.clone()).unwrap();
        assert_eq!(serde_json::to_value(&record).unwrap(), short);
        assert_eq!(serde_json::to_value(record.of_plugin("a").with(3)).unwrap(), json!({ "version": 1, "data": 3, "pluginId": "a" }));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for other in [json!({ "data": {} }), json!({ "version": -1, "data": {} }), json!({ "version": "1", "data": {} }), json!([])] {
            assert!(serde_json::from_value::<Record>(other.clone()).is_err(), "{other}");
        }
    }

    #[test]
    fn debug_does_not_show_the_data() {
        let shown = format!("{:?}", Record::new(1, json!("hunter2")).of_plugin("health"));
        assert!(!shown.contains("hunter2") && shown.contains("health"), "{shown}");
    }
}
