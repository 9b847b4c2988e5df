//! Deleting artifacts that nothing needs any more.
//!
//! The operator says what is in use: it alone knows what can be gone back to. What is not stays for some time all the
//! same, so that an artifact on its way into a plugin set is not taken from under it; asking for one, or sending it again,
//! counts as use. Who reads an artifact reads it as of one moment and never sees half of it go.

use std::collections::BTreeSet;
use std::time::Duration;

use checkstack_plugin_package::Digest;
use sqlx::PgConnection;

use super::ArtifactStore;
use super::store::STATEMENT;
use crate::database::DatabaseError;

impl ArtifactStore {
    /// Deletes what is not `in_use`, and has not been for `grace`. How many that were.
    pub(crate) async fn collect(&self, in_use: &BTreeSet<Digest>, grace: Duration) -> Result<u64, DatabaseError> {
        let in_use: Vec<String> = in_use.iter().map(Digest::to_string).collect();
        self.database.run(STATEMENT, move |connection| Box::pin(async move { collect(connection, &in_use, grace).await })).await
    }
}

async fn collect(connection: &mut PgConnection, in_use: &[String], grace: Duration) -> Result<u64, sqlx::Error> {
    sqlx::query(
        "UPDATE checkstack.plugin_artifacts
         SET unneeded_since = CASE WHEN digest = ANY ($1) THEN NULL ELSE now() END
         WHERE (unneeded_since IS NULL) <> (digest = ANY ($1))",
    )
    .bind(in_use)
    .execute(&mut *connection)
    .await?;
    let deleted = sqlx::query("DELETE FROM checkstack.plugin_artifacts WHERE unneeded_since <= now() - make_interval(secs => $1)")
        .bind(grace.as_secs_f64())
        .execute(connection)
        .await?;
    Ok(deleted.rows_affected())
}

/// From now on it is of use, if it is there.
pub(super) async fn keep(connection: &mut PgConnection, digest: Digest) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE checkstack.plugin_artifacts SET unneeded_since = NULL WHERE digest = $1 AND unneeded_since IS NOT NULL")
        .bind(digest.to_string())
        .execute(connection)
        .await?;
    Ok(())
}
