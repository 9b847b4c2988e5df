//! Who may see a signal: asked of the plugin that knows users.

use std::collections::BTreeSet;
use std::sync::Weak;

use async_trait::async_trait;
use checkstack_calls::access::RuleId;
use checkstack_signals::Audience;

use crate::http::Shared;

/// Signals are there before it is known who knows users.
pub(crate) struct AskIdentity(pub(crate) Weak<Shared>);

#[async_trait]
impl Audience for AskIdentity {
    async fn granted(&self, users: &[String], rule: &RuleId) -> Result<BTreeSet<String>, String> {
        let shared = self.0.upgrade().ok_or_else(|| "the server ends".to_owned())?;
        shared.identity().users_granted(users, rule).await.map_err(|problem| problem.to_string())
    }
}
