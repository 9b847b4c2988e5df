//! The caches of the server, as something of which a provider is chosen.

use async_trait::async_trait;
use checkstack_cache::provider::ProviderDescription;
use checkstack_cache::{ActiveBackend, CacheError, CacheManager};
use checkstack_calls::error::{CallError, ErrorCode};
use checkstack_platform::native::backends::{BackendChange, Backends};
use serde_json::Value;
use tracing::error;

/// See the module.
pub(crate) struct Caches(pub(crate) CacheManager);

#[async_trait]
impl Backends for Caches {
    const WHAT: &'static str = "cache";
    type Error = CacheError;

    fn providers(&self) -> Vec<ProviderDescription> {
        self.0.providers()
    }

    async fn active(&self) -> Option<ActiveBackend> {
        self.0.active()
    }

    fn unchosen(&self) -> Option<ActiveBackend> {
        Some(ActiveBackend::default())
    }

    async fn switch(&self, provider: &str, configuration: Value) -> Result<BackendChange, CacheError> {
        let backend = self.0.switch(provider, configuration).await?;
        Ok(BackendChange { backend, warnings: Vec::new() })
    }

    async fn follow(&self, announced: ActiveBackend) -> Result<Option<BackendChange>, CacheError> {
        let follows = self.0.follow(announced.clone()).await?;
        Ok(follows.then(|| BackendChange { backend: announced, warnings: Vec::new() }))
    }

    fn refusal(problem: CacheError) -> CallError {
        let code = match &problem {
            CacheError::UnknownProvider(_) => ErrorCode::NotFound,
            CacheError::InvalidConfiguration { .. } | CacheError::Invalid(_) => ErrorCode::BadRequest,
            problem if problem.is_transient() => ErrorCode::ServiceUnavailable,
            CacheError::Stopped => ErrorCode::ServiceUnavailable,
            _ => {
                error!(%problem, "the caches refuse");
                return CallError::internal();
            }
        };
        CallError::with_message(code, problem.to_string())
    }
}
