//! The artifact store: packages by digest, in chunks, in PostgreSQL.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Bytes, BytesMut};
use checkstack_plugin_package::Digest;
use futures::{Stream, TryStreamExt as _};
use sqlx::{Connection as _, PgConnection};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::database::{Database, DatabaseError};

/// Largest package.
pub(crate) const MAX_ARTIFACT_BYTES: u64 = 50 * 1024 * 1024;
/// What one row holds.
const CHUNK_BYTES: usize = 1024 * 1024;
/// A whole upload. The transaction's connection is the core's own.
const UPLOAD: Duration = Duration::from_secs(120);
/// The pause that an uploader may make.
const STALL: Duration = Duration::from_secs(20);
/// One statement.
const STATEMENT: Duration = Duration::from_secs(20);
/// Uploads at the same time in one pod.
const CONCURRENT_UPLOADS: usize = 2;

/// The packages of an instance.
#[derive(Clone)]
pub(crate) struct ArtifactStore {
    database: Database,
    uploads: Arc<Semaphore>,
}

/// What became of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It is new.
    Created,
    /// It had been there before.
    Existed,
}

/// Why an artifact was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    /// Over [`MAX_ARTIFACT_BYTES`].
    #[error("the artifact has more than {MAX_ARTIFACT_BYTES} bytes (50 MiB)")]
    TooLarge,
    /// The bytes are not those that the digest names.
    #[error("the content of {size} bytes has the digest {actual}, not {expected}")]
    DigestMismatch {
        /// As named in the path.
        expected: Digest,
        /// Of what arrived.
        actual: Digest,
        /// How much arrived.
        size: u64,
    },
    /// The sender broke off.
    #[error("the upload ended early: {0}")]
    Interrupted(String),
    /// The sender was too slow.
    #[error("the upload made no progress for {} s or took over {} s", STALL.as_secs(), UPLOAD.as_secs())]
    TooSlow,
    /// Others are being stored.
    #[error("{CONCURRENT_UPLOADS} uploads are in progress")]
    Busy,
    /// See there.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl ArtifactStore {
    /// The store in `database`.
    pub(crate) fn new(database: Database) -> Self {
        Self { database, uploads: Arc::new(Semaphore::new(CONCURRENT_UPLOADS)) }
    }

    /// Whether the store has an artifact.
    pub(crate) async fn contains(&self, digest: Digest) -> Result<bool, DatabaseError> {
        self.database.run(STATEMENT, move |connection| Box::pin(async move { exists(connection, digest).await })).await
    }

    /// The bytes of an artifact, not yet checked.
    pub(crate) async fn read(&self, digest: Digest) -> Result<Option<Bytes>, DatabaseError> {
        let rows: Option<(i64, Vec<Vec<u8>>)> = self
            .database
            .run(Duration::from_secs(60), move |connection| {
                Box::pin(async move {
                    let Some((content, size)) =
                        sqlx::query_as::<_, (Uuid, i64)>("SELECT content, size FROM checkstack.plugin_artifacts WHERE digest = $1")
                            .bind(digest.to_string())
                            .fetch_optional(&mut *connection)
                            .await?
                    else {
                        return Ok(None);
                    };
                    let chunks =
                        sqlx::query_scalar("SELECT bytes FROM checkstack.plugin_artifact_chunks WHERE content = $1 ORDER BY position")
                            .bind(content)
                            .fetch_all(connection)
                            .await?;
                    Ok(Some((size, chunks)))
                })
            })
            .await?;
        Ok(rows.map(|(_, chunks)| Bytes::from(chunks.concat())))
    }

    /// Stores what `content` brings, if that is what `digest` names. Nothing is visible before all
    /// of it has been checked; several may upload the same at once.
    pub(crate) async fn write<Error: std::fmt::Display>(
        &self,
        digest: Digest,
        content: impl Stream<Item = Result<Bytes, Error>>,
    ) -> Result<Stored, StoreError> {
        let _turn = self.uploads.try_acquire().map_err(|_| StoreError::Busy)?;
        let write = async {
            let mut connection = self.database.dedicated(STATEMENT).await?;
            let stored = write(&mut connection, digest, content).await?;
            // It is committed; whether the goodbye arrives does not matter.
            let _ = tokio::time::timeout(Duration::from_secs(1), connection.close()).await;
            Ok(stored)
        };
        tokio::time::timeout(UPLOAD, write).await.map_err(|_| StoreError::TooSlow)?
    }
}

async fn write<Error: std::fmt::Display>(
    connection: &mut PgConnection,
    digest: Digest,
    content: impl Stream<Item = Result<Bytes, Error>>,
) -> Result<Stored, StoreError> {
    let mut content = pin!(content);
    let mut transaction = connection.begin().await.map_err(DatabaseError::from)?;
    // What is there need not be written again, but the sender is still told if it sends the wrong thing.
    let existed = exists(&mut transaction, digest).await.map_err(DatabaseError::from)?;
    let upload = Uuid::new_v4();
    let mut hash = Context::new(&SHA256);
    let mut size: u64 = 0;
    let mut chunk = BytesMut::new();
    let mut position = 0;
    while let Some(part) = tokio::time::timeout(STALL, content.try_next())
        .await
        .map_err(|_| StoreError::TooSlow)?
        .map_err(|error| StoreError::Interrupted(error.to_string()))?
    {
        size += part.len() as u64;
        if size > MAX_ARTIFACT_BYTES {
            return Err(StoreError::TooLarge);
        }
        hash.update(&part);
        if !existed {
            chunk.extend_from_slice(&part);
            while chunk.len() >= CHUNK_BYTES {
                insert_chunk(&mut transaction, upload, position, &chunk.split_to(CHUNK_BYTES)).await?;
                position += 1;
            }
        }
    }
    let actual = digest_of(hash);
    if actual != digest {
        return Err(StoreError::DigestMismatch { expected: digest, actual, size });
    }
    if existed {
        return Ok(Stored::Existed);
    }
    insert_chunk(&mut transaction, upload, position, &chunk).await?;
    let inserted =
        sqlx::query("INSERT INTO checkstack.plugin_artifacts (digest, size, content) VALUES ($1, $2, $3) ON CONFLICT (digest) DO NOTHING")
            .bind(digest.to_string())
            .bind(i64::try_from(size).unwrap_or(i64::MAX))
            .bind(upload)
            .execute(&mut *transaction)
            .await
            .map_err(DatabaseError::from)?;
    if inserted.rows_affected() == 0 {
        // Somebody else was quicker; the transaction takes our chunks with it.
        return Ok(Stored::Existed);
    }
    transaction.commit().await.map_err(DatabaseError::from)?;
    Ok(Stored::Created)
}

async fn exists(connection: &mut PgConnection, digest: Digest) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM checkstack.plugin_artifacts WHERE digest = $1)")
        .bind(digest.to_string())
        .fetch_one(connection)
        .await
}

async fn insert_chunk(transaction: &mut PgConnection, content: Uuid, position: i32, bytes: &[u8]) -> Result<(), DatabaseError> {
    sqlx::query("INSERT INTO checkstack.plugin_artifact_chunks (content, position, bytes) VALUES ($1, $2, $3)")
        .bind(content)
        .bind(position)
        .bind(bytes)
        .execute(transaction)
        .await?;
    Ok(())
}

/// The digest of everything that went into `hash`.
fn digest_of(hash: Context) -> Digest {
    let mut bytes = [0; 32];
    let finished = hash.finish();
    bytes.iter_mut().zip(finished.as_ref()).for_each(|(to, from)| *to = *from);
    Digest::from_sha256(bytes)
}
