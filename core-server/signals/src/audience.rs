//! Who may see what.

use std::collections::BTreeSet;

use async_trait::async_trait;
use checkstack_calls::access::RuleId;

/// Knows what users may do.
#[async_trait]
pub trait Audience: Send + Sync {
    /// Those of `users` who have been granted `rule`, asked for all at once.
    ///
    /// # Errors
    /// Why it is not known now.
    async fn granted(&self, users: &[String], rule: &RuleId) -> Result<BTreeSet<String>, String>;
}

/// For a server that knows no users: nobody may see anything.
#[derive(Debug, Clone, Copy)]
pub struct NobodyKnows;

#[async_trait]
impl Audience for NobodyKnows {
    async fn granted(&self, _: &[String], _: &RuleId) -> Result<BTreeSet<String>, String> {
        Err("nobody here knows users".to_owned())
    }
}
