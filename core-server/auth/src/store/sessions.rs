//! Sessions of people who have signed in.

use std::time::Duration;

use checkstack_calls::access::Permissions;
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{Actor, Store, StoreError, attempts, audit};
use crate::credential::{SecretDigest, SessionToken};
use crate::session_lifetime::SessionLifetime;
use crate::sign_in_attempts::Attempt;

/// A user, as far as signing in needs to know.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct SignedIn {
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) name: String,
}

impl Store {
    /// The user with an address, and the hash of the password.
    pub(crate) async fn user_with_email(&self, email: String) -> Result<Option<(SignedIn, Option<String>)>, StoreError> {
        let row: Option<(Uuid, String, String, Option<String>)> = self
            .read(|connection| {
                Box::pin(
                    sqlx::query_as("SELECT id, email, name, password_hash FROM plugin_auth.users WHERE lower(email) = lower($1)")
                        .bind(email)
                        .fetch_optional(connection),
                )
            })
            .await?;
        Ok(row.map(|(id, email, name, hash)| (SignedIn { id, email, name }, hash)))
    }

    /// Begins a session, unless the password has been changed since `password_hash` was read. Then `attempt` was no guess.
    pub(crate) async fn begin_session(
        &self,
        user: &SignedIn,
        password_hash: String,
        token: &SessionToken,
        lifetime: SessionLifetime,
        attempt: Attempt,
    ) -> Result<bool, StoreError> {
        let (user, digest) = (user.clone(), token.digest());
        self.change(move |connection| {
            Box::pin(async move {
                // The row is kept as it is until the session is there: who changes the password ends the session.
                let known = sqlx::query("SELECT FROM plugin_auth.users WHERE id = $1 AND password_hash = $2 FOR SHARE")
                    .bind(user.id)
                    .bind(password_hash)
                    .fetch_optional(&mut *connection)
                    .await?;
                if known.is_none() {
                    return Ok(false);
                }
                attempts::forget(connection, attempt.0).await?;
                let ends = SessionEnd { unused: lifetime.unused(), latest: lifetime.longest() };
                insert(connection, &user, digest, ends, json!({})).await?;
                Ok(true)
            })
        })
        .await
    }

    /// The user of a session, and the seconds since 1970 at which it ends.
    pub(crate) async fn session(&self, token: &SessionToken) -> Result<Option<(SignedIn, f64)>, StoreError> {
        let digest = token.digest();
        let row: Option<(Uuid, String, String, f64)> = self
            .read(move |connection| {
                Box::pin(
                    sqlx::query_as(
                        "SELECT u.id, u.email, u.name, extract(epoch FROM s.expires_at)::float8
                         FROM plugin_auth.sessions s JOIN plugin_auth.users u ON u.id = s.user_id
                         WHERE s.token_digest = $1 AND s.expires_at > now()",
                    )
                    .bind(digest.to_vec())
                    .fetch_optional(connection),
                )
            })
            .await?;
        Ok(row.map(|(id, email, name, ends)| (SignedIn { id, email, name }, ends)))
    }

    /// Ends a session, if there is one.
    pub(crate) async fn end_session(&self, token: &SessionToken) -> Result<(), StoreError> {
        let digest = token.digest();
        self.read(move |connection| {
            Box::pin(sqlx::query("DELETE FROM plugin_auth.sessions WHERE token_digest = $1").bind(digest.to_vec()).execute(connection))
        })
        .await?;
        Ok(())
    }

    /// Forgets sessions that have ended; how many.
    pub(crate) async fn sweep_sessions(&self) -> Result<u64, StoreError> {
        let swept =
            self.read(|connection| Box::pin(sqlx::query("DELETE FROM plugin_auth.sessions WHERE expires_at <= now()").execute(connection)));
        Ok(swept.await?.rows_affected())
    }
}

/// When a session ends, from its beginning.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionEnd {
    /// When it is not used.
    pub(super) unused: Duration,
    /// However it is used.
    pub(super) latest: Duration,
}

/// Has a session that is used last on, unless that was done lately.
pub(super) async fn prolong(connection: &mut PgConnection, digest: SecretDigest, lifetime: SessionLifetime) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE plugin_auth.sessions SET expires_at = least(now() + make_interval(secs => $2), ends_at_latest)
         WHERE token_digest = $1 AND expires_at < ends_at_latest AND expires_at < now() + make_interval(secs => $3)
             AND expires_at > now()",
    )
    .bind(digest.to_vec())
    .bind(lifetime.unused().as_secs_f64())
    .bind(lifetime.prolonged_below().as_secs_f64())
    .execute(connection)
    .await?;
    Ok(())
}

/// With a record of it.
pub(super) async fn insert(
    connection: &mut PgConnection,
    user: &SignedIn,
    digest: SecretDigest,
    ends: SessionEnd,
    details: Value,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO plugin_auth.sessions (token_digest, user_id, expires_at, ends_at_latest)
         VALUES ($1, $2, now() + make_interval(secs => $3), now() + make_interval(secs => $4))",
    )
    .bind(digest.to_vec())
    .bind(user.id)
    .bind(ends.unused.as_secs_f64())
    .bind(ends.latest.as_secs_f64())
    .execute(&mut *connection)
    .await?;
    let actor = Actor { kind: "user", id: user.id.to_string(), name: user.name.clone(), may: Permissions::None };
    audit::record(connection, &actor, "session.begin", &format!("user:{}", user.id), details).await
}
