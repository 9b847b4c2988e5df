//! People.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{Actor, Store, StoreError, attempts, audit, conflict, roles};
use crate::sign_in_attempts::Attempt;

/// A person.
#[derive(Debug, Clone, Serialize, JsonSchema, FromRow)]
#[serde(rename_all = "camelCase")]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) name: String,
    /// Ids of those that an admin has given, beside `users`, which everybody has.
    pub(crate) roles: Vec<String>,
    /// Ids of those that groups at the provider give, as of the last time of signing in there.
    pub(crate) group_roles: Vec<String>,
}

impl Store {
    /// In the order of their addresses, after one.
    pub(crate) async fn users(&self, after: Option<String>, limit: u32) -> Result<Vec<User>, StoreError> {
        self.read(move |connection| {
            Box::pin(
                sqlx::query_as(
                    "SELECT id::text, email, name,
                            ARRAY(SELECT role_id FROM plugin_auth.user_roles WHERE user_id = u.id AND source = 'admin' ORDER BY 1) AS roles,
                            ARRAY(SELECT role_id FROM plugin_auth.user_roles WHERE user_id = u.id AND source = 'group' ORDER BY 1) AS group_roles
                     FROM plugin_auth.users u WHERE $1::text IS NULL OR lower(email) > lower($1) ORDER BY lower(email) LIMIT $2",
                )
                .bind(after)
                .bind(i64::from(limit))
                .fetch_all(connection),
            )
        })
        .await
    }

    pub(crate) async fn create_user(
        &self,
        actor: Actor,
        email: String,
        name: String,
        password_hash: String,
        roles: BTreeSet<String>,
    ) -> Result<String, StoreError> {
        self.change(move |connection| {
            Box::pin(async move {
                let taken = || format!("there is a user with the address {email} already");
                let id: Uuid =
                    sqlx::query_scalar("INSERT INTO plugin_auth.users (email, name, password_hash) VALUES ($1, $2, $3) RETURNING id")
                        .bind(&email)
                        .bind(&name)
                        .bind(password_hash)
                        .fetch_one(&mut *connection)
                        .await
                        .map_err(|error| conflict(error, "users_email", taken))?;
                set_roles(connection, &actor, id, &roles).await?;
                let details = json!({ "email": email, "name": name, "roles": roles });
                audit::record(connection, &actor, "user.create", &format!("user:{id}"), details).await?;
                Ok(id.to_string())
            })
        })
        .await
    }

    /// With all sessions.
    pub(crate) async fn delete_user(&self, actor: Actor, id: Uuid) -> Result<(), StoreError> {
        self.change(move |connection| {
            Box::pin(async move {
                lock(connection, &actor, id).await?;
                let email: String = sqlx::query_scalar("DELETE FROM plugin_auth.users WHERE id = $1 RETURNING email")
                    .bind(id)
                    .fetch_one(&mut *connection)
                    .await?;
                audit::record(connection, &actor, "user.delete", &format!("user:{id}"), json!({ "email": email })).await?;
                Ok(())
            })
        })
        .await
    }

    pub(crate) async fn set_user_roles(&self, actor: Actor, id: Uuid, roles: BTreeSet<String>) -> Result<(), StoreError> {
        self.change(move |connection| {
            Box::pin(async move {
                lock(connection, &actor, id).await?;
                set_roles(connection, &actor, id, &roles).await?;
                audit::record(connection, &actor, "user.set-roles", &format!("user:{id}"), json!({ "roles": roles })).await?;
                Ok(())
            })
        })
        .await
    }

    /// Ends all sessions that were begun with the one before.
    pub(crate) async fn set_password(&self, actor: Actor, id: Uuid, password_hash: String) -> Result<(), StoreError> {
        self.change(move |connection| {
            Box::pin(async move {
                lock(connection, &actor, id).await?;
                replace_password(connection, id, &password_hash).await?;
                audit::record(connection, &actor, "user.set-password", &format!("user:{id}"), json!({})).await?;
                Ok(())
            })
        })
        .await
    }

    /// The hash of one's password, where there is one.
    pub(crate) async fn password_hash(&self, id: Uuid) -> Result<Option<String>, StoreError> {
        let hash: Option<Option<String>> = self
            .read(move |connection| {
                Box::pin(
                    sqlx::query_scalar("SELECT password_hash FROM plugin_auth.users WHERE id = $1").bind(id).fetch_optional(connection),
                )
            })
            .await?;
        Ok(hash.flatten())
    }

    /// What was taken over of the first admin's Secret: name and hash of the password.
    pub(crate) async fn admin_secret(&self) -> Result<Option<(String, String)>, StoreError> {
        self.read(|connection| {
            Box::pin(sqlx::query_as("SELECT username, password_hash FROM plugin_auth.admin_secret").fetch_optional(connection))
        })
        .await
    }

    /// Makes the user of the Secret, an admin with its password. `before` is what was taken over last: when that is no longer so,
    /// another replica was quicker. Wipes the slate of failed attempts.
    pub(crate) async fn take_over_admin(
        &self,
        before: Option<(String, String)>,
        username: String,
        password_hash: String,
        attempt: Attempt,
    ) -> Result<bool, StoreError> {
        self.change(move |connection| {
            Box::pin(async move {
                sqlx::query("LOCK TABLE plugin_auth.admin_secret IN EXCLUSIVE MODE").execute(&mut *connection).await?;
                let now: Option<(String, String)> =
                    sqlx::query_as("SELECT username, password_hash FROM plugin_auth.admin_secret").fetch_optional(&mut *connection).await?;
                if now != before {
                    return Ok(false);
                }
                let id: Uuid = sqlx::query_scalar(
                    "INSERT INTO plugin_auth.users (email, name) VALUES ($1, 'Administrator')
                     ON CONFLICT (lower(email)) DO UPDATE SET email = users.email RETURNING id",
                )
                .bind(&username)
                .fetch_one(&mut *connection)
                .await?;
                replace_password(connection, id, &password_hash).await?;
                sqlx::query("INSERT INTO plugin_auth.user_roles (user_id, role_id) VALUES ($1, 'admin') ON CONFLICT DO NOTHING")
                    .bind(id)
                    .execute(&mut *connection)
                    .await?;
                sqlx::query(
                    "INSERT INTO plugin_auth.admin_secret (username, password_hash) VALUES ($1, $2)
                     ON CONFLICT (only_row) DO UPDATE SET username = excluded.username, password_hash = excluded.password_hash",
                )
                .bind(&username)
                .bind(password_hash)
                .execute(&mut *connection)
                .await?;
                let details = json!({ "email": username });
                // Who has the new password may have tried it before it counted.
                attempts::forget(connection, attempt.0).await?;
                audit::record(connection, &Actor::system("admin-secret"), "user.take-over", &format!("user:{id}"), details).await?;
                Ok(true)
            })
        })
        .await
    }
}

/// Nobody else changes the user until the transaction ends. Refused when the user may do more than the actor.
async fn lock(connection: &mut PgConnection, actor: &Actor, id: Uuid) -> Result<(), StoreError> {
    let found = sqlx::query("SELECT FROM plugin_auth.users WHERE id = $1 FOR UPDATE").bind(id).fetch_optional(&mut *connection).await?;
    found.ok_or_else(|| no_user(id))?;
    let held: Vec<String> =
        sqlx::query_scalar("SELECT role_id FROM plugin_auth.user_roles WHERE user_id = $1").bind(id).fetch_all(&mut *connection).await?;
    roles::ensure_within(connection, actor, &held).await
}

async fn set_roles(connection: &mut PgConnection, actor: &Actor, id: Uuid, roles: &BTreeSet<String>) -> Result<(), StoreError> {
    let asked: Vec<String> = roles.iter().cloned().collect();
    roles::ensure_known(connection, &asked).await?;
    roles::ensure_within(connection, actor, &asked).await?;
    sqlx::query("DELETE FROM plugin_auth.user_roles WHERE user_id = $1 AND source = 'admin'").bind(id).execute(&mut *connection).await?;
    sqlx::query("INSERT INTO plugin_auth.user_roles (user_id, role_id) SELECT $1, unnest($2::text[])")
        .bind(id)
        .bind(asked)
        .execute(connection)
        .await?;
    Ok(())
}

async fn replace_password(connection: &mut PgConnection, id: Uuid, password_hash: &str) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE plugin_auth.users SET password_hash = $2 WHERE id = $1")
        .bind(id)
        .bind(password_hash)
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM plugin_auth.sessions WHERE user_id = $1").bind(id).execute(connection).await?;
    Ok(())
}

fn no_user(id: Uuid) -> StoreError {
    StoreError::NotFound(format!("there is no user {id}"))
}
