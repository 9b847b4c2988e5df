//! `checkstack client`.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use anyhow::Context as _;
use checkstack_calls::contract::Contract;
use checkstack_calls::openapi;
use checkstack_clients::Options;
use checkstack_plugin_package::{PluginPackage, archive};
use serde_json::Value;

use crate::arguments::{Caller, ClientArguments, Language};
use crate::{describe, output, source};

/// Of a description of all that an instance offers.
const MAX_DOCUMENT_BYTES: u64 = 64 * 1024 * 1024;

pub(crate) fn run(arguments: &ClientArguments) -> anyhow::Result<()> {
    let document = document(&arguments.source).with_context(|| arguments.source.display().to_string())?;
    let options = Options {
        language: match arguments.language {
            Language::Rust => checkstack_clients::Language::Rust,
            Language::TypeScript => checkstack_clients::Language::TypeScript,
        },
        caller: match arguments.caller {
            Caller::Plugin => checkstack_clients::Caller::Plugin,
            Caller::Http => checkstack_clients::Caller::Outsider,
        },
        plugins: &arguments.plugins,
    };
    let client = checkstack_clients::generate(&document, options)?;
    match &arguments.out {
        None => output::print(&client),
        Some(out) if arguments.check => check(out, &client),
        // What is not changed keeps its time, by which build tools go.
        Some(out) if fs::read_to_string(out).is_ok_and(|there| there == client) => Ok(()),
        Some(out) => fs::write(out, client).with_context(|| format!("cannot write {}", out.display())),
    }
}

fn check(out: &Path, client: &str) -> anyhow::Result<()> {
    let there = fs::read_to_string(out).with_context(|| format!("cannot read {}", out.display()))?;
    anyhow::ensure!(there == client, "{} is not the client of this source: make it again, without --check", out.display());
    Ok(())
}

/// What the source describes, as an instance would.
fn document(source: &Path) -> anyhow::Result<Value> {
    let bytes = match source.as_os_str() == "-" {
        true => {
            let mut bytes = Vec::new();
            io::stdin().lock().take(MAX_DOCUMENT_BYTES).read_to_end(&mut bytes).context("cannot read standard input")?;
            bytes
        }
        false => source::read_file(source, MAX_DOCUMENT_BYTES.max(archive::MAX_COMPRESSED_BYTES as u64))?,
    };
    // A document begins with a brace, a package with the mark of gzip or a file's name.
    match bytes.trim_ascii_start().first() {
        Some(b'{') => serde_json::from_slice(&bytes).context("it is no OpenAPI document"),
        _ => of_package(&bytes),
    }
}

fn of_package(bytes: &[u8]) -> anyhow::Result<Value> {
    let package = PluginPackage::read(bytes)?;
    let plugin = package.metadata.checkstack.plugin_id.context("the package is no plugin: it has no pluginId")?;
    let contract = describe::contract(&package.component)?.with_context(|| format!("the plugin '{plugin}' has no procedures"))?;
    let contract: Contract = serde_json::from_str(&contract).context("the contract that the plugin describes is none")?;
    let offer = contract.offer(plugin).context("the contract that the plugin describes cannot be used")?;
    Ok(openapi::document([&offer], "/"))
}
