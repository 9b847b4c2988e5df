//! Parts of the server of which an admin chooses the provider: queues, caches (platform facts §7.4, §7.5).
//!
//! The choice is stored with a version that grows with each. The replica that is asked for a change makes it and stores it; the others see it
//! within seconds and follow.

mod choice;
mod plugin;

use async_trait::async_trait;
use checkstack_backends::{ActiveBackend, ProviderDescription};
use checkstack_calls::error::CallError;
use serde_json::Value;

pub use self::choice::{BackendChoice, BackendConfiguration, ProviderInfo};
pub use self::plugin::{BackendPlugin, HasChoice};

/// What has several providers, of which one is active.
#[async_trait]
pub trait Backends: Send + Sync + 'static {
    /// For logs and messages, for example `queue`.
    const WHAT: &'static str;
    /// Why a provider is not active now.
    type Error: std::error::Error + Send;

    /// All that can be chosen from.
    fn providers(&self) -> Vec<ProviderDescription>;

    /// What is active here.
    async fn active(&self) -> Option<ActiveBackend>;

    /// What is to be active as long as nobody has chosen; none: what is active at the start.
    fn unchosen(&self) -> Option<ActiveBackend> {
        None
    }

    /// Changes to another provider or configuration, as an admin has asked for.
    async fn switch(&self, provider: &str, configuration: Value) -> Result<BackendChange, Self::Error>;

    /// Changes to what another replica has chosen; none: it is not newer than what is active.
    async fn follow(&self, announced: ActiveBackend) -> Result<Option<BackendChange>, Self::Error>;

    /// What a caller is told of an error.
    fn refusal(problem: Self::Error) -> CallError;
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq)]
pub struct BackendChange {
    /// What is active now
    pub backend: ActiveBackend,
    /// What an admin should know
    pub warnings: Vec<String>,
}
