//! A plugin's directory: the files that belong into its package.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use checkstack_plugin_package::metadata::{DEFAULT_MIGRATIONS_DIRECTORY, PackageMetadata};
use checkstack_plugin_package::package::{MAX_COMPONENT_BYTES, MAX_METADATA_BYTES};
use checkstack_plugin_package::{archive, assets, migrations};
use serde_json::Value;

use crate::componentise::{Component, componentise};
use crate::output::Problems;

/// Files at the top of the directory that are packed, whatever their endings and their case.
const DOCUMENTS: &[&str] = &["readme", "license", "licence"];

/// A plugin that is ready to be packed.
pub(crate) struct Source {
    pub(crate) metadata: PackageMetadata,
    /// By path within the package.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// The component was made of a core module.
    pub(crate) was_core_module: bool,
}

/// Reads and checks `directory`. `wasm` stands in for the file that `package.json` names. The error
/// is either about the directory as a whole or has all [`Problems`].
pub(crate) fn read(directory: &Path, wasm: Option<&Path>) -> anyhow::Result<Source> {
    let document_path = directory.join("package.json");
    let document = read_file(&document_path, MAX_METADATA_BYTES)?;
    let mut problems = Vec::new();
    let metadata = PackageMetadata::from_json(&document)
        .map_err(|error| problems.extend(error.problems.iter().map(|problem| format!("package.json: {problem}"))));

    // Found without regard to the rest, so that a problem in package.json hides none elsewhere.
    let places = Places::of(&document);
    let mut files = read_documents(directory)?;
    let component = places.wasm.as_ref().and_then(|name| {
        let path = wasm.map_or_else(|| directory.join(name), PathBuf::from);
        read_component(&path).map_err(|problem| problems.push(problem)).ok()
    });
    let migrations = read_migrations(directory, &places).unwrap_or_else(|mut found| {
        problems.append(&mut found);
        BTreeMap::new()
    });

    let assets = places.frontend.as_ref().map(|folder| read_assets(directory, folder)).transpose().unwrap_or_else(|error| {
        problems.push(format!("{error:#}"));
        None
    });

    let (Ok(metadata), Some(component), true) = (metadata, component, problems.is_empty()) else {
        if problems.is_empty() {
            problems.push("package.json: checkstack.wasm is required: only plugins that run in the server can be packed".into());
        }
        return Err(Problems(problems).into());
    };
    let was_core_module = component.was_core_module;
    files.extend(migrations);
    files.extend(assets.unwrap_or_default());
    files.insert("package.json".into(), document);
    files.extend(metadata.checkstack.wasm.clone().map(|name| (name, component.bytes)));
    Ok(Source { metadata, files, was_core_module })
}

/// Where `package.json` says things are.
struct Places {
    wasm: Option<String>,
    /// Without a slash at its end.
    migrations: String,
    migrations_are_named: bool,
    /// Likewise.
    frontend: Option<String>,
}

impl Places {
    fn of(document: &[u8]) -> Self {
        let document: Value = serde_json::from_slice(document).unwrap_or_default();
        let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let migrations = text("/checkstack/migrations");
        let plain = |path: &str| path.trim_start_matches("./").trim_end_matches('/').to_owned();
        Self {
            wasm: text("/checkstack/wasm"),
            migrations_are_named: migrations.is_some(),
            migrations: migrations.map_or_else(|| DEFAULT_MIGRATIONS_DIRECTORY.to_owned(), |path| plain(&path)),
            frontend: text("/checkstack/frontend").map(|path| plain(&path)),
        }
    }
}

fn read_component(path: &Path) -> Result<Component, String> {
    let wasm = read_file(path, MAX_COMPONENT_BYTES).map_err(|error| format!("{error:#}"))?;
    componentise(wasm).map_err(|problem| format!("{}: {problem}", path.display()))
}

/// Migrations by their paths within the package, or everything that is wrong with them.
fn read_migrations(directory: &Path, places: &Places) -> Result<BTreeMap<String, Vec<u8>>, Vec<String>> {
    let path = directory.join(&places.migrations);
    let one = |error: anyhow::Error| vec![format!("{error:#}")];
    let entries = match fs::read_dir(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !places.migrations_are_named => return Ok(BTreeMap::new()),
        entries => entries.with_context(|| format!("cannot read the migrations in {}", path.display())).map_err(one)?,
    };
    let mut files = BTreeMap::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", path.display())).map_err(one)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".sql") && entry.path().is_file() {
            files.insert(name, read_file(&entry.path(), migrations::MAX_MIGRATION_BYTES).map_err(one)?);
        }
    }
    let result = migrations::read(files.iter().map(|(name, content)| (name.as_str(), content.as_slice())));
    result.map_err(|error| error.problems.iter().map(|problem| format!("{}: {problem}", path.display())).collect::<Vec<_>>())?;
    Ok(files.into_iter().map(|(name, content)| (format!("{}/{name}", places.migrations), content)).collect())
}

/// The files for browsers by their paths within the package.
fn read_assets(directory: &Path, folder: &str) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut bytes = 0;
    let mut folders = vec![(directory.join(folder), folder.to_owned())];
    while let Some((place, path)) = folders.pop() {
        let unreadable = || format!("cannot read the files for browsers in {}", place.display());
        for entry in fs::read_dir(&place).with_context(unreadable)? {
            let entry = entry.with_context(unreadable)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let (place, path) = (entry.path(), format!("{path}/{name}"));
            let kind = entry.file_type().with_context(unreadable)?;
            anyhow::ensure!(!kind.is_symlink(), "{} is a link; links are not allowed in a package", place.display());
            if assets::is_hidden(&name) {
                continue;
            }
            if kind.is_dir() {
                folders.push((place, path));
            } else {
                let content = read_file(&place, assets::MAX_ASSETS_BYTES)?;
                bytes += content.len() as u64;
                files.insert(path, content);
                assets::check(folder, files.len(), bytes)?;
            }
        }
    }
    assets::check(folder, files.len(), bytes)?;
    Ok(files)
}

fn read_documents(directory: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let entry = entry.with_context(|| format!("cannot read {}", directory.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_document = DOCUMENTS.iter().any(|document| name.to_lowercase().starts_with(document));
        if is_document && entry.path().is_file() {
            files.insert(name, read_file(&entry.path(), MAX_METADATA_BYTES)?);
        }
    }
    Ok(files)
}

/// A whole package, no more of it than may be read.
pub(crate) fn read_package(path: &Path) -> anyhow::Result<Vec<u8>> {
    read_file(path, archive::MAX_COMPRESSED_BYTES as u64)
}

pub(crate) fn read_file(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    let mut content = Vec::new();
    let file = fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.take(limit + 1).read_to_end(&mut content).with_context(|| format!("cannot read {}", path.display()))?;
    anyhow::ensure!(content.len() as u64 <= limit, "{} has more than {limit} bytes", path.display());
    Ok(content)
}
