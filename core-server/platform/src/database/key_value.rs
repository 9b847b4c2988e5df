//! The key-value store of plugins: one table of the core, which no plugin's role can read.

use async_trait::async_trait;
use bytes::Bytes;
use checkstack_plugin_package::PluginId;

use super::turns::{self, Turns, Unavailable};
use super::{Database, DatabaseError};
use crate::plugin::{KeyValueError, KeyValueStore};

/// Longest key.
const MAX_KEY_BYTES: usize = 512;
/// Largest value.
const MAX_VALUE_BYTES: usize = 1024 * 1024;
/// Most keys of one page.
const MAX_KEYS: u32 = 1_000;
/// Expired entries that are deleted in one go: meanwhile they are locked.
const SWEPT_AT_ONCE: i64 = 100;

/// The entries of one plugin.
pub(crate) struct PluginKeyValue(Turns);

impl PluginKeyValue {
    pub(crate) fn new(database: Database, plugin_id: PluginId) -> Self {
        Self(Turns::new(database, plugin_id))
    }
}

impl From<Unavailable> for KeyValueError {
    fn from(Unavailable(message): Unavailable) -> Self {
        Self::Unavailable(message)
    }
}

#[async_trait]
impl KeyValueStore for PluginKeyValue {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, KeyValueError> {
        check_key(key)?;
        let key = key.to_owned();
        let value: Option<Vec<u8>> = self
            .0
            .take(move |plugin_id, connection| {
                Box::pin(
                    sqlx::query_scalar(
                        "SELECT value FROM checkstack.plugin_kv \
                         WHERE plugin_id = $1 AND key = $2 AND (expires_at IS NULL OR expires_at > now())",
                    )
                    .bind(plugin_id)
                    .bind(key)
                    .fetch_optional(connection),
                )
            })
            .await?;
        Ok(value.map(Bytes::from))
    }

    async fn set(&self, key: &str, value: Bytes, ttl_seconds: Option<u32>) -> Result<(), KeyValueError> {
        check_key(key)?;
        let key = key.to_owned();
        if value.len() > MAX_VALUE_BYTES {
            return Err(KeyValueError::Invalid(format!("the value has {} bytes; {MAX_VALUE_BYTES} are allowed", value.len())));
        }
        self.0
            .take(move |plugin_id, connection| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO checkstack.plugin_kv (plugin_id, key, value, expires_at) \
                     VALUES ($1, $2, $3, now() + make_interval(secs => $4)) \
                     ON CONFLICT (plugin_id, key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at",
                    )
                    .bind(plugin_id)
                    .bind(key)
                    .bind(&value[..])
                    .bind(ttl_seconds.map(f64::from))
                    .execute(connection)
                    .await
                })
            })
            .await?;
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<bool, KeyValueError> {
        check_key(key)?;
        let key = key.to_owned();
        let was_visible: Option<bool> = self
            .0
            .take(move |plugin_id, connection| {
                Box::pin(
                    sqlx::query_scalar(
                        "DELETE FROM checkstack.plugin_kv WHERE plugin_id = $1 AND key = $2 \
                         RETURNING expires_at IS NULL OR expires_at > now()",
                    )
                    .bind(plugin_id)
                    .bind(key)
                    .fetch_optional(connection),
                )
            })
            .await?;
        Ok(was_visible.unwrap_or(false))
    }

    async fn keys(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, KeyValueError> {
        if limit > MAX_KEYS {
            return Err(KeyValueError::Invalid(format!("a limit of {limit} keys; {MAX_KEYS} are allowed")));
        }
        if prefix.contains('\0') || after.is_some_and(|after| after.contains('\0')) {
            return Err(KeyValueError::Invalid("a key may not contain a zero byte".into()));
        }
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        let keys = self.0.take(move |plugin_id, connection| {
            Box::pin(
                sqlx::query_scalar(
                    "SELECT key FROM checkstack.plugin_kv \
                     WHERE plugin_id = $1 AND key >= $2 AND key <= $5 AND starts_with(key, $2) \
                       AND ($3::text IS NULL OR key > $3) AND (expires_at IS NULL OR expires_at > now()) \
                     ORDER BY key LIMIT $4",
                )
                .bind(plugin_id)
                .bind(prefix.clone())
                .bind(after)
                .bind(i64::from(limit))
                .bind(last_with(&prefix))
                .fetch_all(connection),
            )
        });
        Ok(keys.await?)
    }
}

/// A text that no key with this prefix comes after: where the index scan may stop.
fn last_with(prefix: &str) -> String {
    let last = char::MAX;
    format!("{prefix}{}", last.to_string().repeat(MAX_KEY_BYTES / last.len_utf8()))
}

fn check_key(key: &str) -> Result<(), KeyValueError> {
    match key {
        "" => Err(KeyValueError::Invalid("a key may not be empty".into())),
        _ if key.len() > MAX_KEY_BYTES => {
            Err(KeyValueError::Invalid(format!("the key has {} bytes; {MAX_KEY_BYTES} are allowed", key.len())))
        }
        _ if key.contains('\0') => Err(KeyValueError::Invalid("a key may not contain a zero byte".into())),
        _ => Ok(()),
    }
}

/// Deletes expired entries of all plugins; how many.
pub(crate) async fn sweep(database: &Database) -> Result<u64, DatabaseError> {
    let mut swept = 0;
    loop {
        let result = database
            .run_key_value(turns::CONNECTION, turns::STATEMENT, |connection| {
                Box::pin(
                    sqlx::query(
                        "DELETE FROM checkstack.plugin_kv WHERE (plugin_id, key) IN \
                         (SELECT plugin_id, key FROM checkstack.plugin_kv WHERE expires_at <= now() LIMIT $1 FOR UPDATE SKIP LOCKED)",
                    )
                    .bind(SWEPT_AT_ONCE)
                    .execute(connection),
                )
            })
            .await?;
        swept += result.rows_affected();
        if i64::try_from(result.rows_affected()).unwrap_or(0) < SWEPT_AT_ONCE {
            return Ok(swept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_limits() {
        assert!(check_key(&"k".repeat(512)).is_ok());
        for key in ["", "a\0b", &"k".repeat(513)] {
            assert!(check_key(key).is_err());
        }
    }
}
