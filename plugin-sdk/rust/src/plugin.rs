//! The trait that a plugin implements.

use serde::de::DeserializeOwned;

use crate::{Probe, Router};

/// A plugin. [`export!`](crate::export) makes a component of it.
pub trait Plugin: Sized + 'static {
    /// What `spec.config` and the secrets of `spec.configFrom` are read into. What does not fit is
    /// reported with its place, as an invalid configuration; `#[serde(deny_unknown_fields)]` finds
    /// misspelt fields. A plugin without configuration uses [`NoConfig`].
    type Config: DeserializeOwned;

    /// Makes an instance able to work. Called on each of them, after the plugins it depends on. The
    /// first, when the plugin is activated, may take ten times the deadline of a call and at least 10
    /// seconds; further ones are made while a call waits, within its deadline. What has to happen
    /// once belongs in a migration or in [`after_plugins_ready`](Self::after_plugins_ready).
    fn init(config: Self::Config) -> Result<Self, InitError>;

    /// What it answers below `/api/<plugin id>`.
    fn routes() -> Router<Self>;

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

/// Reads a configuration; the error says where it does not fit.
pub(crate) fn read_config<C: DeserializeOwned>(text: &str) -> Result<C, InitError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let place = error.path().to_string();
        let cause = without_position(error.into_inner().to_string());
        InitError::InvalidConfig(if place == "." { cause } else { format!("`{place}`: {cause}") })
    })
}

/// The text without ` at line 1 column 42`: the person who wrote YAML never saw that line.
fn without_position(mut text: String) -> String {
    if let Some(end) = text.rfind(" at line ") {
        text.truncate(end);
    }
    text
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
        let config: Config = read_config(r#"{"targets": [{"port": 80}]}"#).unwrap();
        assert_eq!(config, Config { targets: vec![Target { port: 80 }] });
        assert_eq!(read_config::<NoConfig>("{}"), Ok(NoConfig {}));
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_place() {
        let message = |text| match read_config::<Config>(text) {
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
}
