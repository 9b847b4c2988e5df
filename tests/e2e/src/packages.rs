//! Plugin packages of the tests: those that `plugins/build` made, and broken variants of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use checkstack_plugin_package::archive::Archive;
use checkstack_plugin_package::pack;
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use crate::namespace::Namespace;

/// The root of the work tree.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The bytes of a package by the beginning of its file name: `uptime`, `chaos`.
pub fn package(name: &str) -> Result<Vec<u8>> {
    for folder in ["plugins/dist", "tests/plugins/dist"] {
        let folder = repository().join(folder);
        for file in std::fs::read_dir(&folder).with_context(|| format!("{} is missing: run `make plugins`", folder.display()))? {
            let path = file?.path();
            let file_name = path.file_name().unwrap_or_default().to_string_lossy();
            let Some((before, version)) = file_name.strip_suffix(".tgz").and_then(|stem| stem.split_once(&format!("{name}-"))) else {
                continue;
            };
            if matches!(before, "checkstack-plugin-" | "checkstack-test-") && version.starts_with(|first: char| first.is_ascii_digit()) {
                return Ok(std::fs::read(&path)?);
            }
        }
    }
    anyhow::bail!("there is no package '{name}' in plugins/dist or tests/plugins/dist: run `make plugins`")
}

/// A package with further files.
pub fn with_files(tarball: &[u8], more: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<Vec<u8>> {
    let mut files = files(tarball)?;
    files.extend(more);
    Ok(pack::pack(&files)?)
}

fn files(tarball: &[u8]) -> Result<BTreeMap<String, Vec<u8>>> {
    let entries = Archive::open(tarball)?.extract(|_| true)?;
    Ok(entries.into_iter().filter_map(|(name, bytes)| Some((name.strip_prefix("package/")?.to_owned(), bytes))).collect())
}

/// A package with another `package.json`.
pub fn with_metadata(tarball: &[u8], change: impl FnOnce(&mut Value)) -> Result<Vec<u8>> {
    let mut files = files(tarball)?;
    let document = files.get_mut("package.json").context("the package has no package.json")?;
    let mut metadata: Value = serde_json::from_slice(document)?;
    change(&mut metadata);
    *document = serde_json::to_vec_pretty(&metadata)?;
    Ok(pack::pack(&files)?)
}

/// A ConfigMap with a package.
pub fn package_object(config_map: &str, tarball: &[u8]) -> Value {
    // Not by kubectl: it would put bytes that happen to be UTF-8 into `data` instead of `binaryData`.
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": config_map},
        "binaryData": {"package.tgz": ByteString(tarball.to_vec())},
    })
}

/// A package under another plugin id and name, so that several can be in one instance.
pub fn renamed(tarball: &[u8], id: &str) -> Result<Vec<u8>> {
    with_metadata(tarball, |metadata| {
        metadata["name"] = format!("@checkstack/{id}").into();
        metadata["checkstack"]["pluginId"] = id.into();
    })
}

impl Namespace {
    /// Puts bytes into a ConfigMap under the key `package.tgz`.
    pub async fn store_package(&self, config_map: &str, tarball: &[u8]) -> Result<()> {
        self.apply(&package_object(config_map, tarball).to_string()).await?;
        Ok(())
    }
}
