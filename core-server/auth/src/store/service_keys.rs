//! Keys that tokens of services are signed with.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use sqlx::FromRow;
use uuid::Uuid;

use super::{Actor, Store, StoreError, audit};
use crate::service_keys::{NewKey, PublicParts};

/// A row, without what is known already.
#[derive(FromRow)]
pub(crate) struct StoredServiceKey {
    pub(crate) id: Uuid,
    /// Unless there is a newer one.
    pub(crate) signs: bool,
    age_seconds: f64,
    modulus: Option<Vec<u8>>,
    exponent: Option<Vec<u8>>,
    sealed_private_key: Option<Vec<u8>>,
}

impl StoredServiceKey {
    pub(crate) fn age(&self) -> Duration {
        Duration::try_from_secs_f64(self.age_seconds).unwrap_or_default()
    }

    /// None: it was asked for without, since it is known.
    pub(crate) fn into_key(self) -> Option<NewKey> {
        let public = PublicParts { id: self.id, modulus: self.modulus?, exponent: self.exponent? };
        Some(NewKey { public, sealed_private_key: self.sealed_private_key? })
    }
}

/// A key, for an admin.
#[derive(Debug, Clone, Serialize, JsonSchema, FromRow)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceKeyInfo {
    /// The `kid` of tokens.
    id: String,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339. None: it signs.
    expires_at: Option<String>,
    /// RFC 3339. None: it counts.
    revoked_at: Option<String>,
}

impl Store {
    /// All that count, newest first; of those in `known` only that they do.
    pub(crate) async fn service_keys(&self, known: Vec<Uuid>) -> Result<Vec<StoredServiceKey>, StoreError> {
        self.read(|connection| {
            Box::pin(
                sqlx::query_as(
                    "SELECT id, expires_at IS NULL AS signs, extract(epoch FROM now() - created_at)::float8 AS age_seconds,
                            CASE WHEN id <> ALL($1) THEN modulus END AS modulus,
                            CASE WHEN id <> ALL($1) THEN exponent END AS exponent,
                            CASE WHEN id <> ALL($1) THEN sealed_private_key END AS sealed_private_key
                     FROM plugin_auth.service_keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
                     ORDER BY created_at DESC, id LIMIT 1000",
                )
                .bind(known)
                .fetch_all(connection),
            )
        })
        .await
    }

    /// Has a key sign from now on, unless there is one that is not older than `at_least`: then another replica has been quicker.
    /// Those before count for `grace`. Whether it does; `unusable` ones are as if they were not there.
    pub(crate) async fn add_service_key(
        &self,
        key: NewKey,
        unusable: Vec<Uuid>,
        at_least: Duration,
        grace: Duration,
    ) -> Result<bool, StoreError> {
        self.change(move |connection| {
            Box::pin(async move {
                // Replicas do it one after the other. An advisory lock could be held by any plugin.
                sqlx::query("LOCK TABLE plugin_auth.service_keys IN SHARE ROW EXCLUSIVE MODE").execute(&mut *connection).await?;
                let is_there: bool = sqlx::query_scalar(
                    "SELECT EXISTS (SELECT FROM plugin_auth.service_keys WHERE revoked_at IS NULL AND expires_at IS NULL
                         AND created_at > now() - make_interval(secs => $1) AND id <> ALL($2))",
                )
                .bind(at_least.as_secs_f64())
                .bind(unusable)
                .fetch_one(&mut *connection)
                .await?;
                if is_there {
                    return Ok(false);
                }
                sqlx::query("UPDATE plugin_auth.service_keys SET expires_at = now() + make_interval(secs => $1) WHERE expires_at IS NULL")
                    .bind(grace.as_secs_f64())
                    .execute(&mut *connection)
                    .await?;
                sqlx::query("INSERT INTO plugin_auth.service_keys (id, modulus, exponent, sealed_private_key) VALUES ($1, $2, $3, $4)")
                    .bind(key.public.id)
                    .bind(key.public.modulus)
                    .bind(key.public.exponent)
                    .bind(key.sealed_private_key)
                    .execute(&mut *connection)
                    .await?;
                Ok(true)
            })
        })
        .await
    }

    /// Forgets those whose time is over; how many.
    pub(crate) async fn sweep_service_keys(&self) -> Result<u64, StoreError> {
        let swept = self
            .read(|connection| Box::pin(sqlx::query("DELETE FROM plugin_auth.service_keys WHERE expires_at <= now()").execute(connection)));
        Ok(swept.await?.rows_affected())
    }

    /// All that there are, newest first.
    pub(crate) async fn service_key_infos(&self) -> Result<Vec<ServiceKeyInfo>, StoreError> {
        self.read(|connection| {
            Box::pin(
                sqlx::query_as(
                    r#"SELECT id::text, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS created_at,
                              to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS expires_at,
                              to_char(revoked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS revoked_at
                       FROM plugin_auth.service_keys ORDER BY service_keys.created_at DESC, service_keys.id LIMIT 1000"#,
                )
                .fetch_all(connection),
            )
        })
        .await
    }

    /// From now on no token that was signed with it counts. If it is the one that signs, another one will be made. It is still
    /// shown for a day.
    pub(crate) async fn revoke_service_key(&self, actor: Actor, id: Uuid) -> Result<(), StoreError> {
        self.change(move |connection| {
            Box::pin(async move {
                let was_revoked: Option<bool> =
                    sqlx::query_scalar("SELECT revoked_at IS NOT NULL FROM plugin_auth.service_keys WHERE id = $1 FOR UPDATE")
                        .bind(id)
                        .fetch_optional(&mut *connection)
                        .await?;
                if was_revoked.ok_or_else(|| StoreError::NotFound(format!("there is no service key {id}")))? {
                    return Ok(());
                }
                sqlx::query(
                    "UPDATE plugin_auth.service_keys SET revoked_at = now(), expires_at = coalesce(expires_at, now() + interval '1 day')
                     WHERE id = $1",
                )
                .bind(id)
                .execute(&mut *connection)
                .await?;
                audit::record(connection, &actor, "service-key.revoke", &format!("service-key:{id}"), json!({})).await?;
                Ok(())
            })
        })
        .await
    }
}
