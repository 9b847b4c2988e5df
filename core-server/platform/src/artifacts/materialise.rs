//! From the store to the pod's directory: read, verify, unpack.
//!
//! The same code runs in the init container (`materialise`), which compiles as well, so that a starting server finds
//! everything done, and in the running server for plugins that arrive later.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::Duration;

use bytes::Bytes;
use checkstack_control_api::report::PluginReason;
use checkstack_plugin_package::{Digest, Migration, PluginEntry, PluginPackage, migrations};
use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{info, warn};

use super::{ArtifactStore, assets, sweep};
use crate::plugin::{MaterialisedArtifact, PluginFailure, PluginLoader};

/// Compiling one plugin, or reading its code.
const COMPILE: Duration = Duration::from_secs(120);
/// Of 50 MB each at most.
const MAX_PACKAGES: usize = 4;
/// For code from the database.
const MAX_WAITING: usize = 3;
/// Below the state directory.
const ARTIFACTS: &str = "artifacts";
/// Below an artifact's directory.
const COMPONENT: &str = "plugin.wasm";
const METADATA: &str = "package.json";
const MIGRATIONS: &str = "migrations";

/// Brings artifacts to where plugins are loaded from.
#[derive(Clone)]
pub(crate) struct Materialiser {
    store: ArtifactStore,
    loader: Arc<dyn PluginLoader>,
    directory: PathBuf,
    /// Unpacking uses a whole CPU.
    turns: Arc<Semaphore>,
    /// Packages that are being read, or wait in memory to be unpacked.
    packages: Arc<Semaphore>,
    /// Plugins that are being compiled, or whose code is being read: some more than there are CPUs, since to read is to wait.
    compiling: Arc<Semaphore>,
    /// Whether what cannot be trusted of what an earlier server left behind has been deleted.
    cleaned: Arc<Once>,
}

impl Materialiser {
    /// `state` is a directory that only this server writes to.
    pub(crate) fn new(store: ArtifactStore, loader: Arc<dyn PluginLoader>, state: &Path) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            store,
            loader,
            directory: state.join(ARTIFACTS),
            turns: Arc::new(Semaphore::new(cpus)),
            packages: Arc::new(Semaphore::new(MAX_PACKAGES)),
            compiling: Arc::new(Semaphore::new(cpus + MAX_WAITING)),
            cleaned: Arc::new(Once::new()),
        }
    }

    /// Every plugin of a set; those that cannot be materialised, with the reason. They never keep
    /// the others from it.
    pub(crate) async fn materialise_all(&self, entries: &[PluginEntry]) -> Vec<(PluginEntry, PluginFailure)> {
        futures::stream::iter(entries)
            .map(|entry| async move {
                match self.compile(entry).await {
                    Ok(()) => {
                        info!(plugin = %entry.plugin_id, version = %entry.version, digest = %entry.digest, "materialised");
                        None
                    }
                    Err(failure) => {
                        warn!(plugin = %entry.plugin_id, version = %entry.version, digest = %entry.digest, reason = ?failure.reason, %failure, "not materialised");
                        Some((entry.clone(), failure))
                    }
                }
            })
            .buffer_unordered(entries.len().max(1))
            .filter_map(|failed| async move { failed })
            .collect()
            .await
    }

    /// Verified and unpacked.
    pub(crate) async fn materialise(&self, entry: &PluginEntry) -> Result<MaterialisedArtifact, PluginFailure> {
        let artifact = self.artifact(entry.digest);
        if self.cleaned.is_completed() && is_complete(&artifact).await {
            return Ok(artifact);
        }
        let package = acquire(&self.packages).await?;
        tokio::task::spawn_blocking(self.clean()).await.map_err(|error| internal(error.to_string()))?;
        if is_complete(&artifact).await {
            return Ok(artifact);
        }
        // While others are unpacked.
        let bytes = self.fetch(entry.digest).await?;
        let turn = acquire(&self.turns).await?;
        let (entry, unpacked) = (entry.clone(), artifact.clone());
        // Hashing, unpacking and writing block. They go on when nobody waits any more, and so the
        // turns go with them.
        let unpack = tokio::task::spawn_blocking(move || {
            let _turns = (package, turn);
            unpack(&bytes, &entry, &unpacked)
        });
        unpack.await.map_err(|error| internal(format!("the package could not be unpacked: {error}")))??;
        Ok(artifact)
    }

    /// The same, and compiled.
    async fn compile(&self, entry: &PluginEntry) -> Result<(), PluginFailure> {
        let artifact = self.materialise(entry).await?;
        let _turn = acquire(&self.compiling).await?;
        let compiled = tokio::time::timeout(COMPILE, self.loader.precompile(&artifact)).await;
        let late = || format!("the component was not compiled within {} s; the server goes on with it", COMPILE.as_secs());
        compiled.map_err(|_| PluginFailure::transient(PluginReason::DeadlineExceeded, late()))?
    }

    /// The migrations of a materialised artifact.
    pub(crate) async fn migrations(&self, artifact: &MaterialisedArtifact) -> Result<Vec<Migration>, PluginFailure> {
        let directory = artifact.directory.join(MIGRATIONS);
        let read = tokio::task::spawn_blocking(move || read_migrations(&directory));
        read.await
            .map_err(|error| internal(error.to_string()))?
            .map_err(|error| internal(format!("the unpacked migrations cannot be read: {error}")))
    }

    /// Deletes what is neither running nor wanted.
    pub(crate) async fn retain(&self, wanted: impl Fn(&str) -> bool + Send + 'static) {
        let (directory, clean) = (self.directory.clone(), self.clean());
        let delete = tokio::task::spawn_blocking(move || {
            clean();
            sweep::sweep(&directory, wanted);
        });
        if let Err(error) = delete.await {
            warn!(%error, "artifacts that are no longer used could not be deleted");
        }
    }

    /// Before the first change of the directory by this server, which alone writes to it.
    fn clean(&self) -> impl FnOnce() + Send + 'static {
        let (directory, cleaned) = (self.directory.clone(), self.cleaned.clone());
        move || cleaned.call_once_force(|_| sweep::clean(&directory))
    }

    async fn fetch(&self, digest: Digest) -> Result<Bytes, PluginFailure> {
        match self.store.read(digest).await {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(PluginFailure::transient(
                PluginReason::ArtifactMissing,
                format!(
                    "the artifact store has no artifact {digest}; the operator uploads it again when the plugin's source can be reached"
                ),
            )),
            Err(error) => Err(match error.is_transient() {
                true => PluginFailure::transient(PluginReason::DatabaseUnavailable, error.to_string()),
                false => internal(format!("the artifact cannot be read from the store: {error}")),
            }),
        }
    }

    fn artifact(&self, digest: Digest) -> MaterialisedArtifact {
        let directory = self.directory.join(digest.hex());
        MaterialisedArtifact { digest, component: directory.join(COMPONENT), directory }
    }
}

/// A directory gets its name only when everything is in it, and loses it before anything is deleted.
async fn is_complete(artifact: &MaterialisedArtifact) -> bool {
    tokio::fs::try_exists(&artifact.directory).await.unwrap_or(false)
}

fn unpack(bytes: &[u8], entry: &PluginEntry, artifact: &MaterialisedArtifact) -> Result<(), PluginFailure> {
    let actual = Digest::of(bytes);
    if actual != entry.digest {
        return Err(PluginFailure::terminal(
            PluginReason::ArtifactCorrupt,
            format!(
                "the stored artifact {} has the digest {actual}: it was damaged in the database; the operator uploads it again, which replaces it",
                entry.digest
            ),
        ));
    }
    let package = PluginPackage::read(bytes).map_err(|error| {
        let reason = match error.is_world_mismatch() {
            true => PluginReason::IncompatibleWorld,
            false => PluginReason::ArtifactCorrupt,
        };
        PluginFailure::terminal(reason, error.to_string())
    })?;
    check_identity(&package, entry)?;
    lay_out(&package, artifact).map_err(|error| internal(format!("the package could not be written to the state directory: {error}")))
}

/// The set must not say something else about the package than the package itself.
fn check_identity(package: &PluginPackage, entry: &PluginEntry) -> Result<(), PluginFailure> {
    let metadata = &package.metadata;
    for (what, found, expected) in [
        ("plugin id", package.plugin_id.as_str(), entry.plugin_id.as_str()),
        ("name", &metadata.name, &entry.package),
        ("version", &metadata.version, &entry.version),
    ] {
        if found != expected {
            return Err(PluginFailure::terminal(
                PluginReason::InvalidPackage,
                format!("the package has the {what} '{found}', but the plugin set expects '{expected}'"),
            ));
        }
    }
    Ok(())
}

/// Into a directory beside, which is then renamed: a crash leaves nothing half done under the name. What a
/// crash of the node leaves is not used (see [`sweep::clean`]), so nobody waits for the disk.
fn lay_out(package: &PluginPackage, artifact: &MaterialisedArtifact) -> io::Result<()> {
    let parent = artifact.directory.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)?;
    let building = tempfile::Builder::new().prefix(sweep::UNPACKING).tempdir_in(parent)?;
    write(&building.path().join(COMPONENT), &package.component)?;
    write(&building.path().join(METADATA), &serde_json::to_vec_pretty(&package.metadata)?)?;
    let migrations = building.path().join(MIGRATIONS);
    std::fs::create_dir(&migrations)?;
    for migration in &package.migrations {
        let stem = format!("{:04}_{}", migration.version, migration.name);
        write(&migrations.join(format!("{stem}.up.sql")), migration.up.as_bytes())?;
        if let Some(down) = &migration.down {
            write(&migrations.join(format!("{stem}.down.sql")), down.as_bytes())?;
        }
    }
    assets::write(building.path(), &package.assets)?;
    match std::fs::rename(building.path(), &artifact.directory) {
        Ok(()) => {
            // It has moved; there is nothing left to delete.
            let _ = building.keep();
            Ok(())
        }
        // Another one was quicker, with the same content.
        Err(_) if artifact.directory.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    File::create_new(path)?.write_all(content)
}

fn read_migrations(directory: &Path) -> io::Result<Vec<Migration>> {
    let mut files = Vec::new();
    for found in std::fs::read_dir(directory)? {
        let found = found?;
        files.push((found.file_name().to_string_lossy().into_owned(), std::fs::read(found.path())?));
    }
    migrations::read(files.iter().map(|(name, content)| (name.as_str(), content.as_slice())))
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

async fn acquire(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, PluginFailure> {
    Arc::clone(turns).acquire_owned().await.map_err(|_| internal("the server is shutting down"))
}

fn internal(message: impl Into<String>) -> PluginFailure {
    PluginFailure::transient(PluginReason::Internal, message)
}
