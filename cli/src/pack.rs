//! `checkstack plugin pack`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use checkstack_plugin_package::{Digest, Integrity, PluginPackage, pack};
use serde::Serialize;

use crate::arguments::{Format, PackArguments};
use crate::output::{self, Table};
use crate::source;

/// What was made.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Packed {
    package: String,
    version: String,
    /// None when nothing was to be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<PathBuf>,
    size: u64,
    digest: Digest,
    integrity: String,
    /// The component was made of a core module.
    componentised: bool,
}

pub(crate) fn run(arguments: &PackArguments) -> anyhow::Result<()> {
    let source = source::read(&arguments.directory, arguments.wasm.as_deref())?;
    let bytes = pack::pack(&source.files)?;
    // What is handed out was read as the server will read it.
    let package = PluginPackage::read(&bytes)?;
    let (name, version) = (source.metadata.name, source.metadata.version);
    let path = match arguments.validate_only {
        true => None,
        false => {
            let out_dir = arguments.out_dir.clone().unwrap_or_else(|| arguments.directory.join("dist"));
            Some(write(&out_dir, &pack::file_name(&name, &version), &bytes)?)
        }
    };
    let packed = Packed {
        package: name,
        version,
        path,
        size: package.size,
        digest: package.digest,
        integrity: Integrity::of(&bytes).to_string(),
        componentised: source.was_core_module,
    };
    match arguments.output {
        Format::Json => output::print_json(&packed),
        Format::Text => output::print(&text(&packed)),
    }
}

/// Writes beside and renames, so that no reader ever finds half a package.
fn write(directory: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make the directory {}", directory.display()))?;
    let path = directory.join(name);
    let unfinished = directory.join(format!(".{name}.{}", std::process::id()));
    let written = fs::write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, &path));
    if written.is_err() {
        // It may not be there at all; the error that matters is the one before.
        let _ = fs::remove_file(&unfinished);
    }
    written.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn text(packed: &Packed) -> String {
    let mut table = Table::default();
    match &packed.path {
        Some(path) => table.row("Packed", path.display()),
        None => table.row("Valid", format!("{} {}, nothing was written", packed.package, packed.version)),
    }
    table.row("Size", format!("{} bytes", packed.size));
    table.row("Digest", packed.digest);
    table.row("Integrity", &packed.integrity);
    table.to_string()
}
