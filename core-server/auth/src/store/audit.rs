//! Who changed what.

use async_trait::async_trait;
use checkstack_platform::native::{AuditLog, Caller};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use sqlx::{FromRow, PgConnection};

use super::{Actor, Store, StoreError};

/// A change that was made.
#[derive(Debug, Clone, Serialize, JsonSchema, FromRow)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditRecord {
    /// Grows.
    id: i64,
    /// RFC 3339.
    at: String,
    /// user, application, service or system
    actor_type: String,
    actor_id: String,
    actor_name: String,
    /// What was done.
    action: String,
    /// To what.
    object: String,
    details: Value,
}

/// In the transaction of the change.
pub(super) async fn record(
    connection: &mut PgConnection,
    actor: &Actor,
    action: &'static str,
    object: &str,
    details: Value,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO plugin_auth.audit_records (actor_type, actor_id, actor_name, action, object, details) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(actor.kind)
    .bind(&actor.id)
    .bind(&actor.name)
    .bind(action)
    .bind(object)
    .bind(details)
    .execute(connection)
    .await?;
    Ok(())
}

/// For what other parts of the server change.
pub(crate) struct Audit;

#[async_trait]
impl AuditLog for Audit {
    async fn record(
        &self,
        transaction: &mut PgConnection,
        caller: &Caller,
        action: &'static str,
        object: &str,
        details: Value,
    ) -> Result<(), sqlx::Error> {
        record(transaction, &Actor::of(caller.principal.as_ref()), action, object, details).await
    }
}

impl Store {
    /// The newest changes before one, newest first.
    pub(crate) async fn audit_records(&self, before: Option<i64>, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        self.read(move |connection| {
            Box::pin(
                sqlx::query_as(
                    r#"SELECT id, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS at,
                              actor_type, actor_id, actor_name, action, object, details
                       FROM plugin_auth.audit_records WHERE $1::bigint IS NULL OR id < $1 ORDER BY id DESC LIMIT $2"#,
                )
                .bind(before)
                .bind(i64::from(limit))
                .fetch_all(connection),
            )
        })
        .await
    }
}
