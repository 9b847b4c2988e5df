//! Who of many users has been granted a rule.

use std::collections::BTreeSet;

use checkstack_calls::access::RuleId;
use uuid::Uuid;

use super::accounts::{ADMIN, USERS};
use super::{Store, StoreError};

impl Store {
    /// Those of these users who have been granted `rule` by any of their roles, the one of everybody who signs in included. What is no id of a
    /// user is left out.
    pub(crate) async fn users_granted(&self, users: &[String], rule: &RuleId) -> Result<BTreeSet<String>, StoreError> {
        let ids: Vec<Uuid> = users.iter().filter_map(|user| Uuid::try_parse(user).ok()).collect();
        if ids.is_empty() {
            return Ok(BTreeSet::new());
        }
        let rule = rule.to_string();
        let granted: Vec<Uuid> = self
            .read(move |connection| {
                Box::pin(
                    sqlx::query_scalar(
                        "WITH granting AS (
                             SELECT role_id FROM plugin_auth.role_access_rules WHERE rule_id = $2 UNION SELECT $3
                         )
                         SELECT id FROM plugin_auth.users u
                         WHERE id = ANY($1) AND (
                             $4 IN (SELECT role_id FROM granting)
                             OR EXISTS (SELECT FROM plugin_auth.user_roles JOIN granting USING (role_id) WHERE user_id = u.id)
                         )",
                    )
                    .bind(ids)
                    .bind(rule)
                    .bind(ADMIN)
                    .bind(USERS)
                    .fetch_all(connection),
                )
            })
            .await?;
        Ok(granted.iter().map(Uuid::to_string).collect())
    }
}
