//! An artifact's directory: how it comes to be there, from a package or from what other pods have left of one.
//!
//! It is made beside its place and then renamed: a crash leaves nothing half done under the name. What a crash of the
//! node leaves is not used (see [`sweep::clean`]), so nobody waits for the disk.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use checkstack_control_api::report::PluginReason;
use checkstack_plugin_package::{Digest, Migration, PluginEntry, PluginPackage, migrations};
use tempfile::TempDir;

use super::essentials::Essentials;
use super::{assets, sweep};
use crate::plugin::{MaterialisedArtifact, PluginFailure};

/// Below an artifact's directory.
const COMPONENT: &str = "plugin.wasm";
const MIGRATIONS: &str = "migrations";

/// The place of an artifact below the directory of all.
pub(super) fn place(directory: &Path, digest: Digest) -> MaterialisedArtifact {
    in_directory(directory.join(digest.hex()).as_path(), digest)
}

fn in_directory(directory: &Path, digest: Digest) -> MaterialisedArtifact {
    MaterialisedArtifact { digest, component: directory.join(COMPONENT), directory: directory.into() }
}

/// What was read from the store, checked and unpacked. Returned is what pods to come need beside the code; none if they
/// need the package itself, since there are files for browsers in it.
pub(super) fn unpack(bytes: &[u8], entry: &PluginEntry, artifact: &MaterialisedArtifact) -> Result<Option<Essentials>, PluginFailure> {
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
    let essentials = Essentials::of(&package);
    check_identity(&essentials, entry)?;
    let lay_out = || {
        let building = Building::begin(artifact, &essentials)?;
        write(&building.artifact().component, &package.component)?;
        assets::write(building.directory.path(), &package.assets)?;
        building.finish(artifact)
    };
    lay_out().map_err(|error| {
        PluginFailure::transient(PluginReason::Internal, format!("the package could not be written to the state directory: {error}"))
    })?;
    Ok(package.assets.is_empty().then_some(essentials))
}

/// The set must not say something else about the package than the package itself.
pub(super) fn check_identity(package: &Essentials, entry: &PluginEntry) -> Result<(), PluginFailure> {
    for (what, found, expected) in [
        ("plugin id", package.plugin_id.as_str(), entry.plugin_id.as_str()),
        ("name", &package.name, &entry.package),
        ("version", &package.version, &entry.version),
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

/// The migrations in an artifact's directory.
pub(super) fn read_migrations(directory: &Path) -> io::Result<Vec<Migration>> {
    let mut files = Vec::new();
    for found in std::fs::read_dir(directory.join(MIGRATIONS))? {
        let found = found?;
        files.push((found.file_name().to_string_lossy().into_owned(), std::fs::read(found.path())?));
    }
    migrations::read(files.iter().map(|(name, content)| (name.as_str(), content.as_slice())))
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// A directory that is being made. Dropped, it is gone.
pub(super) struct Building {
    directory: TempDir,
    digest: Digest,
}

impl Building {
    /// Everything is in it but the code, be it the component or what was compiled of it.
    pub(super) fn begin(artifact: &MaterialisedArtifact, essentials: &Essentials) -> io::Result<Self> {
        let parent = artifact.directory.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent)?;
        let directory = tempfile::Builder::new().prefix(sweep::UNPACKING).tempdir_in(parent)?;
        let migrations = directory.path().join(MIGRATIONS);
        std::fs::create_dir(&migrations)?;
        for (name, sql) in &essentials.migrations {
            write(&migrations.join(name), sql.as_bytes())?;
        }
        Ok(Self { directory, digest: artifact.digest })
    }

    /// Where the code belongs.
    pub(super) fn artifact(&self) -> MaterialisedArtifact {
        in_directory(self.directory.path(), self.digest)
    }

    /// Gives it its name.
    pub(super) fn finish(self, artifact: &MaterialisedArtifact) -> io::Result<()> {
        let renamed = std::fs::rename(self.directory.path(), &artifact.directory);
        match renamed {
            Err(_) if artifact.component.exists() => return Ok(()), // Another one was quicker, with the same content.
            // The code in it could not be used, and the component is not in it.
            Err(_) if artifact.directory.is_dir() => {
                sweep::discard(&artifact.directory)?;
                std::fs::rename(self.directory.path(), &artifact.directory)?;
            }
            renamed => renamed?,
        }
        // It has moved; there is nothing left to delete.
        let _ = self.directory.keep();
        Ok(())
    }
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    File::create_new(path)?.write_all(content)
}
