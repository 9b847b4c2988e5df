//! Compiled code in the database, so that a new pod of an instance need not compile what another one has.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use checkstack_plugin_package::Digest;
use tracing::debug;

use crate::database::{Database, DatabaseError};
use crate::plugin::CodeCache;

const READ: Duration = Duration::from_secs(20);
const WRITE: Duration = Duration::from_secs(20);
/// Code for another target stays for so many days: releases are rolled out and back.
const OTHER_TARGETS_DAYS: i32 = 7;
/// More is compiled in each pod.
const MAX_CODE_BYTES: usize = 64 * 1024 * 1024;

/// The table `checkstack.compiled_code`.
pub(crate) struct DatabaseCodeCache(Database);

impl DatabaseCodeCache {
    pub(crate) fn new(database: Database) -> Self {
        Self(database)
    }

    async fn read(&self, artifact: String, target: String) -> Result<Option<Vec<u8>>, DatabaseError> {
        self.0
            .run(READ, move |connection| {
                Box::pin(async move {
                    sqlx::query_scalar("SELECT code FROM checkstack.compiled_code WHERE digest = $1 AND target = $2")
                        .bind(artifact)
                        .bind(target)
                        .fetch_optional(connection)
                        .await
                })
            })
            .await
    }

    async fn write(&self, artifact: String, target: String, code: Bytes) -> Result<(), DatabaseError> {
        self.0
            .run(WRITE, move |connection| {
                Box::pin(async move {
                    // What is there may be damaged: it would have been used otherwise.
                    sqlx::query(
                        "INSERT INTO checkstack.compiled_code (digest, target, code)
                         SELECT digest, $2, $3 FROM checkstack.plugin_artifacts WHERE digest = $1
                         ON CONFLICT (digest, target) DO UPDATE SET code = excluded.code, stored_at = now()",
                    )
                    .bind(&artifact)
                    .bind(&target)
                    .bind(code.as_ref())
                    .execute(&mut *connection)
                    .await?;
                    sqlx::query(
                        "DELETE FROM checkstack.compiled_code
                         WHERE digest = $1 AND target <> $2 AND stored_at < now() - make_interval(days => $3)",
                    )
                    .bind(&artifact)
                    .bind(&target)
                    .bind(OTHER_TARGETS_DAYS)
                    .execute(connection)
                    .await?;
                    Ok(())
                })
            })
            .await
    }
}

#[async_trait]
impl CodeCache for DatabaseCodeCache {
    async fn get(&self, artifact: &Digest, target: &str) -> Option<Bytes> {
        match self.read(artifact.to_string(), target.to_owned()).await {
            Ok(code) => code.map(Bytes::from),
            Err(error) => {
                debug!(%artifact, %error, "compiled code could not be read from the database");
                None
            }
        }
    }

    async fn put(&self, artifact: &Digest, target: &str, code: Bytes) {
        if code.len() > MAX_CODE_BYTES {
            return debug!(%artifact, bytes = code.len(), "compiled code is too large for the database");
        }
        if let Err(error) = self.write(artifact.to_string(), target.to_owned(), code).await {
            debug!(%artifact, %error, "compiled code could not be written to the database");
        }
    }
}
