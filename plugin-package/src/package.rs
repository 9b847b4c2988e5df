//! A plugin package as a whole: from the bytes of a `.tgz` to a plugin that can run.

use std::collections::BTreeMap;

use crate::archive::{Archive, ArchiveError, PACKAGE_PREFIX};
use crate::assets::{self, InvalidAssets};
use crate::component::{ComponentError, ComponentInterface};
use crate::metadata::{InvalidMetadata, PackageMetadata, PluginType};
use crate::migrations::{self, InvalidMigrations, Migration};
use crate::{Digest, PluginId};

/// Largest `package.json`.
pub const MAX_METADATA_BYTES: u64 = 1024 * 1024;
/// Largest component, unpacked.
pub const MAX_COMPONENT_BYTES: u64 = 64 * 1024 * 1024;
/// Most that the migrations of a package have together.
pub const MAX_MIGRATIONS_BYTES: u64 = 16 * 1024 * 1024;

/// A package of a plugin that runs in the server.
#[derive(Debug, Clone)]
pub struct PluginPackage {
    /// From its `package.json`.
    pub metadata: PackageMetadata,
    /// The plugin's id.
    pub plugin_id: PluginId,
    /// Of the `.tgz`.
    pub digest: Digest,
    /// Bytes of the `.tgz`.
    pub size: u64,
    /// The WebAssembly component.
    pub component: Vec<u8>,
    /// What the component imports and exports.
    pub interface: ComponentInterface,
    /// In order.
    pub migrations: Vec<Migration>,
    /// Files for browsers, by path below their directory.
    pub assets: BTreeMap<String, Vec<u8>>,
}

/// Why a package cannot be run. None of these passes by waiting: the package must change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// The archive itself is refused.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// `bundle.json` at its root.
    #[error("the archive is a bundle (it has bundle.json at its root); bundles are not supported, use the archive of the single package")]
    Bundle,
    /// Not an npm package.
    #[error("the archive has no package/package.json: it is no npm-style package")]
    MissingPackageJson,
    /// A file of the package is too large.
    #[error("'{file}' has {size} bytes; {limit} are allowed")]
    FileTooLarge {
        /// Its path in the archive.
        file: String,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// `package.json` breaks rules.
    #[error(transparent)]
    Metadata(#[from] InvalidMetadata),
    /// A package that has nothing to run in a server.
    #[error("the package is of type {0}; only packages of type backend can run in the server")]
    NotRunnable(PluginType),
    /// The component is not where the metadata say.
    #[error("the package has no file '{0}', which checkstack.wasm in its package.json names")]
    MissingComponent(String),
    /// The component is none, or not of our world.
    #[error("the component '{path}' cannot be used: {error}")]
    Component {
        /// Its path in the package.
        path: String,
        /// What is wrong with it.
        error: ComponentError,
    },
    /// The migrations break rules.
    #[error(transparent)]
    Migrations(#[from] InvalidMigrations),
    /// The files for browsers break rules.
    #[error(transparent)]
    Assets(#[from] InvalidAssets),
}

impl PackageError {
    /// True when the package is in order, but for another version of the server's plugin world.
    pub fn is_world_mismatch(&self) -> bool {
        matches!(self, Self::Component { error, .. } if error.is_world_mismatch())
    }
}

impl PluginPackage {
    /// Reads a package and checks everything, so that what is returned can be run by this release.
    pub fn read(bytes: &[u8]) -> Result<Self, PackageError> {
        let package = Self::open(bytes)?;
        package.check_compatible()?;
        Ok(package)
    }

    /// Reads a package, but does not ask whether this release provides the world that its component
    /// is built for: for telling what is in it all the same. See [`Self::check_compatible`].
    pub fn open(bytes: &[u8]) -> Result<Self, PackageError> {
        let archive = Archive::open(bytes)?;
        let metadata = read_metadata(&archive)?;
        let (Some(plugin_id), Some(wasm), PluginType::Backend) =
            (metadata.checkstack.plugin_id.clone(), metadata.checkstack.wasm.clone(), metadata.checkstack.plugin_type)
        else {
            return Err(PackageError::NotRunnable(metadata.checkstack.plugin_type));
        };
        let component_name = format!("{PACKAGE_PREFIX}{wasm}");
        let migrations_prefix = format!("{PACKAGE_PREFIX}{}/", metadata.checkstack.migrations);
        check_sizes(&archive, &component_name, &wasm, &migrations_prefix)?;
        let frontend = metadata.checkstack.frontend.as_deref();
        let assets = frontend.map(|directory| assets::read(&archive, directory)).transpose()?.unwrap_or_default();

        let is_migration = |name: &str| name.starts_with(&migrations_prefix) && name.ends_with(".sql");
        let mut files = archive.extract(|name| name == component_name || is_migration(name))?;
        let component = files.remove(&component_name).ok_or_else(|| PackageError::MissingComponent(wasm.clone()))?;
        let interface = ComponentInterface::of(&component).map_err(|error| PackageError::Component { path: wasm, error })?;
        Ok(Self {
            migrations: read_migrations(&files, &migrations_prefix)?,
            assets,
            metadata,
            plugin_id,
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            component,
            interface,
        })
    }

    /// Whether this release can run the component: its imports, its exports, its world version.
    pub fn check_compatible(&self) -> Result<(), PackageError> {
        self.interface
            .check()
            .map_err(|error| PackageError::Component { path: self.metadata.checkstack.wasm.clone().unwrap_or_default(), error })
    }
}

fn read_metadata(archive: &Archive<'_>) -> Result<PackageMetadata, PackageError> {
    if archive.files().contains_key("bundle.json") {
        return Err(PackageError::Bundle);
    }
    let name = format!("{PACKAGE_PREFIX}package.json");
    let size = *archive.files().get(&name).ok_or(PackageError::MissingPackageJson)?;
    check_size(&name, size, MAX_METADATA_BYTES)?;
    let mut files = archive.extract(|file| file == name)?;
    let document = files.remove(&name).ok_or(PackageError::MissingPackageJson)?;
    Ok(PackageMetadata::from_json(&document)?)
}

/// Before anything is unpacked into memory.
fn check_sizes(archive: &Archive<'_>, component: &str, wasm: &str, migrations_prefix: &str) -> Result<(), PackageError> {
    let size = archive.files().get(component).ok_or_else(|| PackageError::MissingComponent(wasm.to_owned()))?;
    check_size(component, *size, MAX_COMPONENT_BYTES)?;
    let migrations = archive.files().iter().filter(|(name, _)| name.starts_with(migrations_prefix) && name.ends_with(".sql"));
    check_size(migrations_prefix, migrations.map(|(_, size)| size).sum(), MAX_MIGRATIONS_BYTES)
}

fn check_size(file: &str, size: u64, limit: u64) -> Result<(), PackageError> {
    match size > limit {
        true => Err(PackageError::FileTooLarge { file: file.chars().take(200).collect(), size, limit }),
        false => Ok(()),
    }
}

fn read_migrations(files: &BTreeMap<String, Vec<u8>>, prefix: &str) -> Result<Vec<Migration>, InvalidMigrations> {
    migrations::read(files.iter().filter_map(|(name, content)| Some((name.strip_prefix(prefix)?, content.as_slice()))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::{WORLD, component_of, files, metadata, module_of};
    use crate::pack::pack;

    type Files = BTreeMap<String, Vec<u8>>;

    fn read(change: impl Fn(&mut Files)) -> Result<PluginPackage, PackageError> {
        let mut files = files();
        change(&mut files);
        PluginPackage::read(&pack(&files).unwrap())
    }

    #[test]
    fn a_whole_package_is_read() {
        let bytes = pack(&files()).unwrap();
        let package = PluginPackage::read(&bytes).unwrap();
        assert_eq!(package.metadata.version, "1.2.3");
        assert_eq!(package.metadata.checkstack.dependencies.keys().map(PluginId::as_str).collect::<Vec<_>>(), ["catalog"]);
        assert_eq!((package.digest, package.size), (Digest::of(&bytes), bytes.len() as u64));
        assert_eq!(package.component, files()["dist/plugin.wasm"]);
        assert_eq!(package.interface.world_version(), Some(crate::component::WORLD_VERSION));
        assert_eq!(package.migrations.len(), 1);
        assert_eq!(package.migrations.first().unwrap().down.as_deref(), Some("DROP TABLE widgets"));
    }

    #[test]
    fn each_lack_has_its_own_error() {
        assert_eq!(read(|files| drop(files.remove("package.json"))).unwrap_err(), PackageError::MissingPackageJson);
        assert_eq!(
            read(|files| drop(files.remove("dist/plugin.wasm"))).unwrap_err(),
            PackageError::MissingComponent("dist/plugin.wasm".into())
        );
        assert!(matches!(read(|files| drop(files.insert("package.json".into(), b"{}".to_vec()))), Err(PackageError::Metadata(_))));
        assert!(matches!(read(|files| drop(files.insert("migrations/x.sql".into(), b"x".to_vec()))), Err(PackageError::Migrations(_))));
        let frontend = |files: &mut Files| {
            let mut metadata = metadata();
            metadata["checkstack"]["type"] = json!("frontend");
            files.insert("package.json".into(), metadata.to_string().into_bytes());
        };
        assert_eq!(read(frontend).unwrap_err(), PackageError::NotRunnable(PluginType::Frontend));
        assert!(matches!(PluginPackage::read(b""), Err(PackageError::Archive(ArchiveError::Empty))));
    }

    #[test]
    fn the_component_is_judged_and_a_wrong_world_still_tells_what_the_package_is() {
        let read_with = |component: Vec<u8>| read(move |files| drop(files.insert("dist/plugin.wasm".into(), component.clone())));
        let error = read_with(module_of(WORLD)).unwrap_err();
        assert!(matches!(&error, PackageError::Component { error: ComponentError::CoreModule, .. }) && !error.is_world_mismatch());

        let mut files = files();
        files.insert("dist/plugin.wasm".into(), component_of(&WORLD.replace("plugin@0.2.0", "plugin@0.9.0")));
        let bytes = pack(&files).unwrap();
        let error = PluginPackage::read(&bytes).unwrap_err();
        assert!(error.is_world_mismatch());
        assert_eq!(
            error.to_string(),
            "the component 'dist/plugin.wasm' cannot be used: it is built for checkstack:plugin 0.9.0; this server provides 0.2.0: use a build of the plugin for 0.2.0"
        );
        let package = PluginPackage::open(&bytes).unwrap();
        assert_eq!(package.metadata.version, "1.2.3");
        assert_eq!(package.check_compatible(), Err(error));
    }

    #[test]
    fn a_bundle_is_said_to_be_one() {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(2);
        archive.append_data(&mut header, "bundle.json", b"{}".as_slice()).unwrap();
        assert_eq!(PluginPackage::read(&archive.into_inner().unwrap()).unwrap_err(), PackageError::Bundle);
    }

    #[test]
    fn files_that_are_too_large_are_refused_before_they_are_unpacked() {
        let large = |file: &'static str, size: usize| read(move |files| drop(files.insert(file.into(), vec![b' '; size]))).unwrap_err();
        let limit_of = |error: PackageError| match error {
            PackageError::FileTooLarge { limit, .. } => limit,
            other => panic!("{other}"),
        };
        assert_eq!(limit_of(large("package.json", 1024 * 1024 + 1)), MAX_METADATA_BYTES);
        assert_eq!(limit_of(large("dist/plugin.wasm", 64 * 1024 * 1024 + 1)), MAX_COMPONENT_BYTES);
        assert_eq!(limit_of(large("migrations/0002_a.up.sql", 16 * 1024 * 1024 + 1)), MAX_MIGRATIONS_BYTES);
    }

    #[test]
    fn migrations_may_be_elsewhere() {
        let elsewhere = |files: &mut Files| {
            let mut metadata = metadata();
            metadata["checkstack"]["migrations"] = json!("sql/postgres/");
            files.insert("package.json".into(), metadata.to_string().into_bytes());
            files.insert("sql/postgres/0007_a.up.sql".into(), b"SELECT 1".to_vec());
        };
        assert_eq!(read(elsewhere).unwrap().migrations.iter().map(|migration| migration.version).collect::<Vec<_>>(), [7]);
    }
}
