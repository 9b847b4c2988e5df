//! The artifact store: packages by digest, in chunks, in PostgreSQL.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Bytes, BytesMut};
use checkstack_plugin_package::Digest;
use futures::stream::BoxStream;
use futures::{Stream, TryStreamExt as _};
use sqlx::{Connection as _, PgConnection};
use tokio::sync::Semaphore;
use tracing::warn;
use uuid::Uuid;

use super::collection::keep;
use crate::database::division::UPLOADS;
use crate::database::{Database, DatabaseError};

/// Largest package.
pub(crate) const MAX_ARTIFACT_BYTES: u64 = 50 * 1024 * 1024;
/// What one row holds.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Reading a whole artifact.
const READ: Duration = Duration::from_secs(60);
/// A whole upload, in one transaction on a connection of its own.
const UPLOAD: Duration = Duration::from_secs(120);
/// The pause that an uploader may make.
const STALL: Duration = Duration::from_secs(20);
/// One statement.
pub(super) const STATEMENT: Duration = Duration::from_secs(20);

/// The packages of an instance.
#[derive(Clone)]
pub(crate) struct ArtifactStore {
    pub(super) database: Database,
    uploads: Arc<Semaphore>,
}

/// What became of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It is new, or replaces one that was damaged.
    Created,
    /// It had been there before, unharmed.
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
    #[error("{UPLOADS} uploads are in progress")]
    Busy,
    /// See there.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl ArtifactStore {
    /// The store in `database`.
    pub(crate) fn new(database: Database) -> Self {
        Self { database, uploads: Arc::new(Semaphore::new(UPLOADS as usize)) }
    }

    /// Whether the store has an artifact. Who asks means to use it.
    pub(crate) async fn contains(&self, digest: Digest) -> Result<bool, DatabaseError> {
        self.database
            .run(STATEMENT, move |connection| {
                Box::pin(async move {
                    keep(&mut *connection, digest).await?;
                    exists(connection, digest).await
                })
            })
            .await
    }

    /// The bytes of an artifact, not yet checked.
    pub(crate) async fn read(&self, digest: Digest) -> Result<Option<Bytes>, DatabaseError> {
        let read = self.database.run(READ, move |connection| {
            Box::pin(async move {
                let mut whole: Option<BytesMut> = None;
                let mut chunks = chunks(connection, digest);
                while let Some((_, chunk)) = chunks.try_next().await? {
                    whole.get_or_insert_default().extend_from_slice(&chunk.unwrap_or_default());
                }
                Ok(whole)
            })
        });
        Ok(read.await?.map(BytesMut::freeze))
    }

    /// Stores what `content` brings, if that is what `digest` names. Nothing is visible before all
    /// of it has been checked; several may upload the same at once. What the store has already is
    /// checked too, and replaced if it is damaged.
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
    keep(&mut transaction, digest).await.map_err(DatabaseError::from)?;
    // What is there need not be written again, but the sender is still told if it sends the wrong thing.
    let found = look(&mut transaction, digest).await.map_err(DatabaseError::from)?;
    let existed = found == Found::Whole;
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
        transaction.commit().await.map_err(DatabaseError::from)?;
        return Ok(Stored::Existed);
    }
    insert_chunk(&mut transaction, upload, position, &chunk).await?;
    let recorded = match found {
        Found::Damaged(old) => replace(&mut transaction, digest, size, upload, old).await,
        Found::Nothing | Found::Whole => insert(&mut transaction, digest, size, upload).await,
    };
    if !recorded.map_err(DatabaseError::from)? {
        // Somebody else was quicker; the transaction takes our chunks with it.
        return Ok(Stored::Existed);
    }
    transaction.commit().await.map_err(DatabaseError::from)?;
    Ok(Stored::Created)
}

/// What the store has under a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Whole,
    /// Something else, with this content.
    Damaged(Uuid),
}

async fn look(connection: &mut PgConnection, digest: Digest) -> Result<Found, sqlx::Error> {
    let mut hash = Context::new(&SHA256);
    let mut found = None;
    let mut chunks = chunks(connection, digest);
    while let Some((content, chunk)) = chunks.try_next().await? {
        found = Some(content);
        hash.update(&chunk.unwrap_or_default());
    }
    Ok(match found {
        None => Found::Nothing,
        Some(_) if digest_of(hash) == digest => Found::Whole,
        Some(content) => Found::Damaged(content),
    })
}

/// The content that it belongs to, and its bytes.
type Chunk = (Uuid, Option<Vec<u8>>);

/// The content of an artifact and its chunks in order, or one without bytes if all are lost. One
/// statement, so that all of it is of one moment: others may delete or replace the artifact meanwhile.
fn chunks(connection: &mut PgConnection, digest: Digest) -> BoxStream<'_, Result<Chunk, sqlx::Error>> {
    sqlx::query_as(
        "SELECT content, chunk.bytes
         FROM checkstack.plugin_artifacts LEFT JOIN checkstack.plugin_artifact_chunks AS chunk USING (content)
         WHERE digest = $1
         ORDER BY chunk.position",
    )
    .bind(digest.to_string())
    .fetch(connection)
}

/// False if there is one already.
async fn insert(transaction: &mut PgConnection, digest: Digest, size: u64, content: Uuid) -> Result<bool, sqlx::Error> {
    let inserted =
        sqlx::query("INSERT INTO checkstack.plugin_artifacts (digest, size, content) VALUES ($1, $2, $3) ON CONFLICT (digest) DO NOTHING")
            .bind(digest.to_string())
            .bind(i64::try_from(size).unwrap_or(i64::MAX))
            .bind(content)
            .execute(transaction)
            .await?;
    Ok(inserted.rows_affected() > 0)
}

/// Puts `content` in the place of what is damaged. False if somebody else has done so.
async fn replace(transaction: &mut PgConnection, digest: Digest, size: u64, content: Uuid, damaged: Uuid) -> Result<bool, sqlx::Error> {
    let updated = sqlx::query("UPDATE checkstack.plugin_artifacts SET content = $3, size = $2 WHERE digest = $1 AND content = $4")
        .bind(digest.to_string())
        .bind(i64::try_from(size).unwrap_or(i64::MAX))
        .bind(content)
        .bind(damaged)
        .execute(&mut *transaction)
        .await?;
    if updated.rows_affected() == 0 {
        // Or somebody has deleted it.
        return insert(transaction, digest, size, content).await;
    }
    sqlx::query("DELETE FROM checkstack.plugin_artifact_chunks WHERE content = $1").bind(damaged).execute(transaction).await?;
    warn!(%digest, "replaced an artifact that was damaged in the database");
    Ok(true)
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
