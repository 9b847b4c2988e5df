//! The trait that a plugin implements.

use serde::de::DeserializeOwned;

use crate::entities::Kind;
use crate::events::Subscription;
use crate::jobs::Queue;
use crate::versioned::{VersionError, Versioned};
use crate::{Probe, Procedures, Router};

/// A plugin. [`export!`](crate::export) makes a component of it.
pub trait Plugin: Sized + 'static {
    /// What `spec.config` and the secrets of `spec.configFrom` are read into. What does not fit is
    /// reported with its place, as an invalid configuration; `#[serde(deny_unknown_fields)]` finds
    /// misspelt fields. A plugin without configuration uses [`NoConfig`].
    type Config: DeserializeOwned;

    /// The format of the configuration. A plugin that changes it in a way that breaks what admins have written adds a
    /// migration, which raises the version: `spec.configVersion` says which one theirs is of.
    fn config_format() -> Versioned<Self::Config> {
        Versioned::new()
    }

    /// Makes an instance able to work. Called on each of them, after the plugins it depends on. The
    /// first, when the plugin is activated, may take ten times the deadline of a call and at least 10
    /// seconds; further ones are made while a call waits, within its deadline. What has to happen
    /// once belongs in a migration or in [`after_plugins_ready`](Self::after_plugins_ready).
    fn init(config: Self::Config) -> Result<Self, InitError>;

    /// What it answers below `/api/<plugin id>`, but for its procedures.
    fn routes() -> Router<Self> {
        Router::new()
    }

    /// What it offers to callers.
    fn procedures() -> Procedures<Self> {
        Procedures::new()
    }

    /// Queues, and what does their jobs.
    fn queues() -> Vec<Queue<Self>> {
        Vec::new()
    }

    /// Events of which it is told, and what it does then.
    fn subscriptions() -> Vec<Subscription<Self>> {
        Vec::new()
    }

    /// Kinds of things whose changes others hear.
    fn entities() -> Vec<Kind> {
        Vec::new()
    }

    /// What it adds to the server's readiness. Called before `init`.
    fn probes() -> Vec<Probe<Self>> {
        Vec::new()
    }

    /// Called once per activation and replica, on one instance, when all plugins have been
    /// initialised. May take as long as the first `init`.
    fn after_plugins_ready(&self) -> Result<(), InitError> {
        Ok(())
    }

    /// Called once per activation and replica, when the last request has been answered.
    fn shutdown(&self) {}
}

/// Why a plugin does not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitError {
    /// The configuration is wrong, in these words. The server waits for a change of it.
    InvalidConfig(String),
    /// Anything else. The server tries again.
    Failed(String),
}

impl InitError {
    /// The configuration is wrong: say which field, what is wrong with it and what would be right.
    pub fn invalid_config(message: impl Into<String>) -> Self {
        Self::InvalidConfig(message.into())
    }

    /// It did not work this time.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }
}

/// So that `?` works on every error in `init`.
impl<E: std::error::Error> From<E> for InitError {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The configuration of a plugin that takes none: any field is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// Reads a configuration of some version; the error says where it does not fit.
pub(crate) fn read_config<C: DeserializeOwned>(format: &Versioned<C>, version: u32, text: &str) -> Result<C, InitError> {
    let given = serde_json::from_str(text)?;
    format.parse(version, given).map_err(|error| {
        InitError::InvalidConfig(match error {
            VersionError::Unexpected(problem) => problem,
            other => format!("spec.configVersion: {other}"),
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        targets: Vec<Target>,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Target {
        port: u16,
    }

    #[test]
    fn a_configuration_is_read() {
        let config: Config = read_config(&Versioned::new(), 1, r#"{"targets": [{"port": 80}]}"#).unwrap();
        assert_eq!(config, Config { targets: vec![Target { port: 80 }] });
        assert_eq!(read_config::<NoConfig>(&Versioned::new(), 1, "{}"), Ok(NoConfig {}));
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_place() {
        let message = |text| match read_config::<Config>(&Versioned::new(), 1, text) {
            Err(InitError::InvalidConfig(message)) => message,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            message(r#"{"targets": [{"port": 80}, {"port": "no"}]}"#),
            "`targets[1].port`: invalid type: string \"no\", expected u16"
        );
        assert_eq!(message("{}"), "missing field `targets`");
        assert!(message(r#"{"target": []}"#).contains("unknown field `target`"));
    }

    #[test]
    fn a_configuration_of_a_later_release_is_refused_by_its_version() {
        let refused = read_config::<NoConfig>(&Versioned::new(), 2, "{}");
        let expected = "spec.configVersion: it is of version 2, and this release of the plugin understands versions up to 1";
        assert_eq!(refused, Err(InitError::InvalidConfig(expected.into())));
    }
}
