//! What a pod needs of a package beside its code, in the database: where another pod has left both, a new one need neither
//! read the package nor unpack it.

use std::collections::BTreeMap;
use std::time::Duration;

use checkstack_control_api::MacKey;
use checkstack_plugin_package::{Digest, PluginPackage};
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use crate::database::{Database, DatabaseError};

const READ: Duration = Duration::from_secs(20);
const WRITE: Duration = Duration::from_secs(20);
/// Packages with more are unpacked in each pod.
const MAX_BYTES: usize = 1024 * 1024;
const TAG_BYTES: usize = 32;
/// Another release may judge packages by other rules, so it judges for itself.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// What a package says about itself, and the files of it that are used beside its component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Essentials {
    pub(super) plugin_id: String,
    /// The package's name.
    pub(super) name: String,
    pub(super) version: String,
    /// SQL by the name of its file.
    pub(super) migrations: BTreeMap<String, String>,
}

impl Essentials {
    /// Of a package that has been read, and so is in order.
    pub(super) fn of(package: &PluginPackage) -> Self {
        let mut migrations = BTreeMap::new();
        for migration in &package.migrations {
            let stem = format!("{:04}_{}", migration.version, migration.name);
            migrations.insert(format!("{stem}.up.sql"), migration.up.clone());
            if let Some(down) = &migration.down {
                migrations.insert(format!("{stem}.down.sql"), down.clone());
            }
        }
        Self {
            plugin_id: package.plugin_id.to_string(),
            name: package.metadata.name.clone(),
            version: package.metadata.version.clone(),
            migrations,
        }
    }
}

/// The table `checkstack.package_essentials`. It may lose what it was given.
#[derive(Clone)]
pub(super) struct SharedEssentials {
    database: Database,
    key: MacKey,
}

impl SharedEssentials {
    /// With the key that the pods of an instance have in common.
    pub(super) fn new(database: Database, key: MacKey) -> Self {
        Self { database, key }
    }

    /// What a pod of this release has read in an artifact.
    pub(super) async fn get(&self, artifact: Digest) -> Option<Essentials> {
        let stored = match self.read(artifact.to_string()).await {
            Ok(stored) => stored?,
            Err(error) => {
                debug!(%artifact, %error, "what other pods know of a package could not be read from the database");
                return None;
            }
        };
        let opened = open(&self.key, artifact, &stored);
        if opened.is_none() {
            debug!(%artifact, "what the database says of a package is not of a pod of this release, or it is damaged; the package is unpacked");
        }
        opened
    }

    /// For the pods to come, in the place of what is there.
    pub(super) async fn put(&self, artifact: Digest, essentials: &Essentials) {
        let sealed = match seal(&self.key, artifact, essentials) {
            Ok(sealed) if sealed.len() <= MAX_BYTES => sealed,
            Ok(sealed) => return debug!(%artifact, bytes = sealed.len(), "the migrations of a package are too large for the database"),
            Err(error) => return warn!(%artifact, %error, "what a package says of itself cannot be written down"),
        };
        if let Err(error) = self.write(artifact.to_string(), sealed).await {
            debug!(%artifact, %error, "what other pods need of a package could not be written to the database");
        }
    }

    async fn read(&self, artifact: String) -> Result<Option<Vec<u8>>, DatabaseError> {
        self.database
            .run(READ, move |connection| {
                Box::pin(async move {
                    sqlx::query_scalar("SELECT essentials FROM checkstack.package_essentials WHERE digest = $1")
                        .bind(artifact)
                        .fetch_optional(connection)
                        .await
                })
            })
            .await
    }

    async fn write(&self, artifact: String, sealed: Vec<u8>) -> Result<(), DatabaseError> {
        self.database
            .run(WRITE, move |connection| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO checkstack.package_essentials AS stored (digest, essentials)
                         SELECT digest, $2 FROM checkstack.plugin_artifacts WHERE digest = $1
                         ON CONFLICT (digest) DO UPDATE SET essentials = excluded.essentials WHERE stored.essentials <> excluded.essentials",
                    )
                    .bind(&artifact)
                    .bind(&sealed)
                    .execute(connection)
                    .await?;
                    Ok(())
                })
            })
            .await
    }
}

/// The document, and after it its tag.
fn seal(key: &MacKey, artifact: Digest, essentials: &Essentials) -> Result<Vec<u8>, serde_json::Error> {
    let mut sealed = serde_json::to_vec(essentials)?;
    let tag = key.tag(&[RELEASE.as_bytes(), artifact.as_bytes(), &sealed]);
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

fn open(key: &MacKey, artifact: Digest, sealed: &[u8]) -> Option<Essentials> {
    let (document, tag) = sealed.split_at_checked(sealed.len().checked_sub(TAG_BYTES)?)?;
    key.verify(&[RELEASE.as_bytes(), artifact.as_bytes(), document], tag).ok()?;
    serde_json::from_slice(document).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use checkstack_control_api::SealingKey;

    use super::*;

    fn key(byte: u8) -> MacKey {
        SealingKey::from_bytes(&[byte; 32]).unwrap().unpacked_package_key()
    }

    fn essentials() -> Essentials {
        Essentials {
            plugin_id: "uptime".into(),
            name: "@checkstack/uptime-backend".into(),
            version: "1.2.3".into(),
            migrations: BTreeMap::from([("0001_targets.up.sql".into(), "CREATE TABLE targets ()".into())]),
        }
    }

    #[test]
    fn only_what_a_pod_of_the_instance_wrote_of_this_artifact_is_believed() {
        let artifact = Digest::of(b"artifact");
        let sealed = seal(&key(1), artifact, &essentials()).unwrap();
        assert_eq!(open(&key(1), artifact, &sealed), Some(essentials()));
        assert_eq!(open(&key(2), artifact, &sealed), None, "another instance");
        assert_eq!(open(&key(1), Digest::of(b"other"), &sealed), None, "another artifact");
        for length in 0..sealed.len() {
            assert_eq!(open(&key(1), artifact, &sealed[..length]), None, "{length}");
            let mut flipped = sealed.clone();
            flipped[length] ^= 1;
            assert_eq!(open(&key(1), artifact, &flipped), None, "{length}");
        }
    }
}
