//! Programs outside that have a key.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{Actor, Store, StoreError, audit, roles};
use crate::credential::ApplicationKey;

/// A program outside.
#[derive(Debug, Clone, Serialize, JsonSchema, FromRow)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Application {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    /// Ids, beside `applications`, which all have.
    pub(crate) roles: Vec<String>,
    /// RFC 3339, to the minute.
    pub(crate) last_used_at: Option<String>,
}

impl Store {
    pub(crate) async fn applications(&self) -> Result<Vec<Application>, StoreError> {
        self.read(|connection| {
            Box::pin(
                sqlx::query_as(
                    r#"SELECT id::text, name, description,
                              ARRAY(SELECT role_id FROM plugin_auth.application_roles WHERE application_id = a.id ORDER BY 1) AS roles,
                              to_char(last_used_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"') AS last_used_at
                       FROM plugin_auth.applications a ORDER BY name, id LIMIT 1000"#,
                )
                .fetch_all(connection),
            )
        })
        .await
    }

    pub(crate) async fn create_application(
        &self,
        actor: Actor,
        key: &ApplicationKey,
        name: String,
        description: String,
        roles: BTreeSet<String>,
    ) -> Result<(), StoreError> {
        let (id, digest) = (key.id, key.secret_digest());
        self.change(move |connection| {
            Box::pin(async move {
                sqlx::query("INSERT INTO plugin_auth.applications (id, name, description, secret_digest) VALUES ($1, $2, $3, $4)")
                    .bind(id)
                    .bind(&name)
                    .bind(description)
                    .bind(digest.to_vec())
                    .execute(&mut *connection)
                    .await?;
                set_roles(connection, &actor, id, &roles).await?;
                let details = json!({ "name": name, "roles": roles });
                audit::record(connection, &actor, "application.create", &format!("application:{id}"), details).await?;
                Ok(())
            })
        })
        .await
    }

    /// In the place of the key before.
    pub(crate) async fn replace_application_key(&self, actor: Actor, key: &ApplicationKey) -> Result<(), StoreError> {
        let (id, digest) = (key.id, key.secret_digest());
        self.change(move |connection| {
            Box::pin(async move {
                lock(connection, &actor, id).await?;
                sqlx::query("UPDATE plugin_auth.applications SET secret_digest = $2 WHERE id = $1")
                    .bind(id)
                    .bind(digest.to_vec())
                    .execute(&mut *connection)
                    .await?;
                audit::record(connection, &actor, "application.replace-key", &format!("application:{id}"), json!({})).await?;
                Ok(())
            })
        })
        .await
    }

    pub(crate) async fn set_application_roles(&self, actor: Actor, id: Uuid, roles: BTreeSet<String>) -> Result<(), StoreError> {
        self.change(move |connection| {
            Box::pin(async move {
                lock(connection, &actor, id).await?;
                set_roles(connection, &actor, id, &roles).await?;
                audit::record(connection, &actor, "application.set-roles", &format!("application:{id}"), json!({ "roles": roles })).await?;
                Ok(())
            })
        })
        .await
    }

    pub(crate) async fn delete_application(&self, actor: Actor, id: Uuid) -> Result<(), StoreError> {
        self.change(move |connection| {
            Box::pin(async move {
                lock(connection, &actor, id).await?;
                let name: String = sqlx::query_scalar("DELETE FROM plugin_auth.applications WHERE id = $1 RETURNING name")
                    .bind(id)
                    .fetch_one(&mut *connection)
                    .await?;
                audit::record(connection, &actor, "application.delete", &format!("application:{id}"), json!({ "name": name })).await?;
                Ok(())
            })
        })
        .await
    }
}

/// Nobody else changes the application until the transaction ends. Refused when it may do more than the actor.
async fn lock(connection: &mut PgConnection, actor: &Actor, id: Uuid) -> Result<(), StoreError> {
    let found =
        sqlx::query("SELECT FROM plugin_auth.applications WHERE id = $1 FOR UPDATE").bind(id).fetch_optional(&mut *connection).await?;
    found.ok_or_else(|| no_application(id))?;
    let held: Vec<String> = sqlx::query_scalar("SELECT role_id FROM plugin_auth.application_roles WHERE application_id = $1")
        .bind(id)
        .fetch_all(&mut *connection)
        .await?;
    roles::ensure_within(connection, actor, &held).await
}

async fn set_roles(connection: &mut PgConnection, actor: &Actor, id: Uuid, roles: &BTreeSet<String>) -> Result<(), StoreError> {
    let asked: Vec<String> = roles.iter().cloned().collect();
    roles::ensure_known(connection, &asked).await?;
    roles::ensure_within(connection, actor, &asked).await?;
    sqlx::query("DELETE FROM plugin_auth.application_roles WHERE application_id = $1").bind(id).execute(&mut *connection).await?;
    sqlx::query("INSERT INTO plugin_auth.application_roles (application_id, role_id) SELECT $1, unnest($2::text[])")
        .bind(id)
        .bind(asked)
        .execute(connection)
        .await?;
    Ok(())
}

fn no_application(id: Uuid) -> StoreError {
    StoreError::NotFound(format!("there is no application {id}"))
}
