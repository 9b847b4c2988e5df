//! How often it has been tried to sign in with an address: counted for all replicas together.

use std::time::Duration;

use sqlx::PgConnection;

use super::{Store, StoreError};
use crate::credential::SecretDigest;

/// Rows at most, after sweeping. Each costs whoever makes it the time of hashing a password.
const MOST_ROWS: i64 = 100_000;

impl Store {
    /// Counts one more attempt, before it is made, so that many at once are counted as well. False: there have been `allowed`
    /// within that time, and this one is not to be made.
    pub(crate) async fn count_attempt(&self, address: SecretDigest, allowed: u32, within: Duration) -> Result<bool, StoreError> {
        let counted: Option<i32> = self
            .read(move |connection| {
                Box::pin(
                    sqlx::query_scalar(
                        "INSERT INTO plugin_auth.sign_in_attempts AS made (address_digest, attempts) VALUES ($1, 1)
                         ON CONFLICT (address_digest) DO UPDATE SET
                             attempts = CASE WHEN made.since <= now() - make_interval(secs => $3) THEN 1 ELSE made.attempts + 1 END,
                             since = CASE WHEN made.since <= now() - make_interval(secs => $3) THEN now() ELSE made.since END
                         WHERE made.attempts < $2 OR made.since <= now() - make_interval(secs => $3)
                         RETURNING attempts",
                    )
                    .bind(address.to_vec())
                    .bind(i32::try_from(allowed).unwrap_or(i32::MAX))
                    .bind(within.as_secs_f64())
                    .fetch_optional(connection),
                )
            })
            .await?;
        Ok(counted.is_some())
    }

    /// An attempt that was counted was not made.
    pub(crate) async fn give_attempt_back(&self, address: SecretDigest) -> Result<(), StoreError> {
        let given = "UPDATE plugin_auth.sign_in_attempts SET attempts = attempts - 1 WHERE address_digest = $1 AND attempts > 0";
        self.read(move |connection| Box::pin(sqlx::query(given).bind(address.to_vec()).execute(connection))).await?;
        Ok(())
    }

    /// Counting begins anew: it was no guess.
    pub(crate) async fn forget_attempts(&self, address: SecretDigest) -> Result<(), StoreError> {
        self.read(move |connection| Box::pin(forget(connection, address))).await
    }

    /// Forgets those that count no longer, and the oldest when there are too many; how many.
    pub(crate) async fn sweep_attempts(&self, within: Duration) -> Result<u64, StoreError> {
        self.read(move |connection| {
            Box::pin(async move {
                let old = sqlx::query("DELETE FROM plugin_auth.sign_in_attempts WHERE since <= now() - make_interval(secs => $1)")
                    .bind(within.as_secs_f64())
                    .execute(&mut *connection)
                    .await?;
                let more = sqlx::query(
                    "DELETE FROM plugin_auth.sign_in_attempts
                     WHERE since < (SELECT since FROM plugin_auth.sign_in_attempts ORDER BY since DESC OFFSET $1 LIMIT 1)",
                )
                .bind(MOST_ROWS)
                .execute(connection)
                .await?;
                Ok(old.rows_affected() + more.rows_affected())
            })
        })
        .await
    }
}

/// Within a transaction.
pub(super) async fn forget(connection: &mut PgConnection, address: SecretDigest) -> Result<(), sqlx::Error> {
    let forgotten = sqlx::query("DELETE FROM plugin_auth.sign_in_attempts WHERE address_digest = $1");
    forgotten.bind(address.to_vec()).execute(connection).await.map(drop)
}
