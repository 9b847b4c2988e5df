//! What there is about a plugin that is gone for good, with its data.

use checkstack_plugin_package::PluginId;
use serde_json::json;

use super::{Actor, Store, StoreError, audit};

impl Store {
    /// Deletes the access rules of a plugin, whoever has them, and what teams were granted of its objects. False: there was nothing.
    pub(crate) async fn forget_plugin(&self, plugin: &PluginId) -> Result<bool, StoreError> {
        let plugin = plugin.to_string();
        self.change(move |connection| {
            Box::pin(async move {
                // Ids of plugins have no dot in them.
                let prefix = format!("{plugin}.");
                // Those that roles contain go with them.
                let rules: Vec<String> = sqlx::query_scalar("DELETE FROM plugin_auth.access_rules WHERE starts_with(id, $1) RETURNING id")
                    .bind(&prefix)
                    .fetch_all(&mut *connection)
                    .await?;
                let grants = sqlx::query("DELETE FROM plugin_auth.team_grants WHERE starts_with(resource_type, $1)")
                    .bind(&prefix)
                    .execute(&mut *connection)
                    .await?;
                let team_only = sqlx::query("DELETE FROM plugin_auth.team_only_objects WHERE starts_with(resource_type, $1)")
                    .bind(&prefix)
                    .execute(&mut *connection)
                    .await?;
                let (grants, team_only) = (grants.rows_affected(), team_only.rows_affected());
                if rules.is_empty() && grants + team_only == 0 {
                    return Ok(false);
                }
                let details = json!({ "accessRules": rules, "teamGrants": grants, "teamOnlyObjects": team_only });
                audit::record(connection, &Actor::system("purge"), "plugin.forget", &format!("plugin:{plugin}"), details).await?;
                Ok(true)
            })
        })
        .await
    }
}
