//! The record of who changed what, for plugins that are a part of the server.

use async_trait::async_trait;
use serde_json::Value;
use sqlx::PgConnection;

use super::Caller;

/// Keeps the record.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Records a change within the transaction that makes it. `action` is like `secrets.set`, `object` what was changed; nothing
    /// of it is secret.
    ///
    /// # Errors
    /// When the database does not take it; the change must not be made then.
    async fn record(
        &self,
        transaction: &mut PgConnection,
        caller: &Caller,
        action: &'static str,
        object: &str,
        details: Value,
    ) -> Result<(), sqlx::Error>;
}
