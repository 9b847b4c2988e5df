//! From the store to the pod's directory: read, verify, unpack; or, where another pod has done all that, only what came of it.
//!
//! The same code runs in the init container (`materialise`), which compiles as well, so that a starting server finds
//! everything done, and in the running server for plugins that arrive later.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::Duration;

use bytes::Bytes;
use checkstack_control_api::MacKey;
use checkstack_control_api::report::PluginReason;
use checkstack_plugin_package::{Digest, Migration, PluginEntry};
use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{info, warn};

use super::essentials::SharedEssentials;
use super::unpack::{self, Building};
use super::{ArtifactStore, sweep};
use crate::plugin::{MaterialisedArtifact, PluginFailure, PluginLoader};

/// Compiling one plugin, or reading its code.
const COMPILE: Duration = Duration::from_secs(120);
/// Of 50 MB each at most.
const MAX_PACKAGES: usize = 4;
/// For code from the database.
const MAX_WAITING: usize = 3;
/// Below the state directory.
const ARTIFACTS: &str = "artifacts";

/// Brings artifacts to where plugins are loaded from.
#[derive(Clone)]
pub(crate) struct Materialiser {
    store: ArtifactStore,
    essentials: SharedEssentials,
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
    /// `state` is a directory that only this server writes to; `key` is for what pods tell each other of packages.
    pub(crate) fn new(store: ArtifactStore, key: MacKey, loader: Arc<dyn PluginLoader>, state: &Path) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            essentials: SharedEssentials::new(store.database.clone(), key),
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

    /// Verified and unpacked; or without its component, if it can be loaded without.
    pub(crate) async fn materialise(&self, entry: &PluginEntry) -> Result<MaterialisedArtifact, PluginFailure> {
        let artifact = unpack::place(&self.directory, entry.digest);
        if self.cleaned.is_completed() && self.is_complete(&artifact).await {
            return Ok(artifact);
        }
        tokio::task::spawn_blocking(self.clean()).await.map_err(|error| internal(error.to_string()))?;
        if !self.is_complete(&artifact).await && !self.receive(entry, &artifact).await {
            self.unpack(entry, &artifact).await?;
        }
        Ok(artifact)
    }

    /// A directory gets its name only when everything is in it, and loses it before anything is deleted; but code that cannot be
    /// used is.
    async fn is_complete(&self, artifact: &MaterialisedArtifact) -> bool {
        tokio::fs::try_exists(&artifact.component).await.unwrap_or(false) || self.loader.has_code(artifact).await
    }

    /// What other pods have read in the package and compiled. False if that is not all there, or cannot be used.
    async fn receive(&self, entry: &PluginEntry, artifact: &MaterialisedArtifact) -> bool {
        let Some(essentials) = self.essentials.get(entry.digest).await else { return false };
        // If the set says something else about it, the package is asked.
        if unpack::check_identity(&essentials, entry).is_err() {
            return false;
        }
        let Ok(_turn) = acquire(&self.compiling).await else { return false };
        let place = artifact.clone();
        let Ok(Ok(building)) = tokio::task::spawn_blocking(move || Building::begin(&place, &essentials)).await else { return false };
        if !self.loader.receive(&building.artifact()).await {
            return false;
        }
        let place = artifact.clone();
        matches!(tokio::task::spawn_blocking(move || building.finish(&place)).await, Ok(Ok(())))
    }

    /// From the package, and the pods to come need not.
    async fn unpack(&self, entry: &PluginEntry, artifact: &MaterialisedArtifact) -> Result<(), PluginFailure> {
        let package = acquire(&self.packages).await?;
        // While others are unpacked.
        let bytes = self.fetch(entry.digest).await?;
        let turn = acquire(&self.turns).await?;
        let (unpacked, artifact) = (entry.clone(), artifact.clone());
        // Hashing, unpacking and writing block. They go on when nobody waits any more, and so the
        // turns go with them.
        let unpack = tokio::task::spawn_blocking(move || {
            let _turns = (package, turn);
            unpack::unpack(&bytes, &unpacked, &artifact)
        });
        let essentials = unpack.await.map_err(|error| internal(format!("the package could not be unpacked: {error}")))??;
        if let Some(essentials) = essentials {
            self.essentials.put(entry.digest, &essentials).await;
        }
        Ok(())
    }

    /// Materialised, and compiled.
    async fn compile(&self, entry: &PluginEntry) -> Result<(), PluginFailure> {
        let artifact = self.materialise(entry).await?;
        let _turn = acquire(&self.compiling).await?;
        if self.loader.has_code(&artifact).await {
            return Ok(());
        }
        let compiled = tokio::time::timeout(COMPILE, self.loader.precompile(&artifact)).await;
        let late = || format!("the component was not compiled within {} s; the server goes on with it", COMPILE.as_secs());
        compiled.map_err(|_| PluginFailure::transient(PluginReason::DeadlineExceeded, late()))?
    }

    /// The migrations of a materialised artifact.
    pub(crate) async fn migrations(&self, artifact: &MaterialisedArtifact) -> Result<Vec<Migration>, PluginFailure> {
        let directory = artifact.directory.clone();
        let read = tokio::task::spawn_blocking(move || unpack::read_migrations(&directory));
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
}

async fn acquire(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, PluginFailure> {
    Arc::clone(turns).acquire_owned().await.map_err(|_| internal("the server is shutting down"))
}

fn internal(message: impl Into<String>) -> PluginFailure {
    PluginFailure::transient(PluginReason::Internal, message)
}
