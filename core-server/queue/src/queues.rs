//! The queues of the server, as something of which a provider is chosen.

use async_trait::async_trait;
use checkstack_calls::error::{CallError, ErrorCode};
use checkstack_jobs::provider::ProviderDescription;
use checkstack_jobs::{ActiveBackend, QueueError, QueueManager, Switched};
use checkstack_platform::native::backends::{BackendChange, Backends};
use serde_json::Value;
use tracing::error;

/// See the module.
pub(crate) struct Queues(pub(crate) QueueManager);

#[async_trait]
impl Backends for Queues {
    const WHAT: &'static str = "queue";
    type Error = QueueError;

    fn providers(&self) -> Vec<ProviderDescription> {
        self.0.providers()
    }

    async fn active(&self) -> Option<ActiveBackend> {
        self.0.active().await
    }

    async fn switch(&self, provider: &str, configuration: Value) -> Result<BackendChange, QueueError> {
        self.0.switch(provider, configuration).await.map(change)
    }

    async fn follow(&self, announced: ActiveBackend) -> Result<Option<BackendChange>, QueueError> {
        Ok(self.0.follow(announced).await?.map(change))
    }

    fn refusal(problem: QueueError) -> CallError {
        let code = match &problem {
            QueueError::UnknownProvider(_) => ErrorCode::NotFound,
            QueueError::InvalidConfiguration { .. } | QueueError::Invalid(_) => ErrorCode::BadRequest,
            problem if problem.is_transient() => ErrorCode::ServiceUnavailable,
            QueueError::Stopped => ErrorCode::ServiceUnavailable,
            _ => {
                error!(%problem, "the queues refuse");
                return CallError::internal();
            }
        };
        CallError::with_message(code, problem.to_string())
    }
}

fn change(Switched { backend, warnings, .. }: Switched) -> BackendChange {
    BackendChange { backend, warnings }
}
