//! Packages of plugins. Their components are right on the outside; what they do is scripted.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use checkstack_plugin_package::pack::pack;
use checkstack_plugin_package::{Digest, Grants, PluginEntry};
use serde_json::{Map, json};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve};

const WORLD: &str = include_str!("../../../../plugin-sdk/wit/plugin.wit");

/// A package, and the entry of a set that asks for it.
#[derive(Clone)]
pub(crate) struct Package {
    pub(crate) bytes: Vec<u8>,
    pub(crate) entry: PluginEntry,
}

/// `package("uptime@1.2.0", &["catalog ^1"])`
pub(crate) fn package(plugin: &str, dependencies: &[&str]) -> Package {
    package_with(plugin, dependencies, &[])
}

/// With migrations, each a name and its SQL.
pub(crate) fn package_with(plugin: &str, dependencies: &[&str], migrations: &[(&str, &str)]) -> Package {
    package_of(plugin, dependencies, migrations, &COMPONENT)
}

/// With a component of the caller's.
pub(crate) fn package_of(plugin: &str, dependencies: &[&str], migrations: &[(&str, &str)], component: &[u8]) -> Package {
    let (id, version) = plugin.split_once('@').unwrap_or((plugin, "1.0.0"));
    let dependencies: BTreeMap<String, String> = dependencies
        .iter()
        .map(|text| text.split_once(' ').unwrap_or((text, "^1")))
        .map(|(id, range)| (id.to_owned(), range.to_owned()))
        .collect();
    let metadata = json!({
        "name": format!("@acme/{id}"), "version": version, "description": "A plugin", "author": "Acme", "license": "MIT",
        "checkstack": {"type": "backend", "pluginId": id, "wasm": "dist/plugin.wasm", "dependencies": dependencies},
    });
    let mut files = BTreeMap::from([
        ("package.json".to_owned(), metadata.to_string().into_bytes()),
        ("dist/plugin.wasm".to_owned(), component.to_vec()),
    ]);
    for (name, sql) in migrations {
        let file = if name.ends_with(".down") { format!("migrations/{name}.sql") } else { format!("migrations/{name}.up.sql") };
        files.insert(file, sql.as_bytes().to_vec());
    }
    packed(id, version, &files, dependencies)
}

/// With files for browsers, which it may have served.
pub(crate) fn package_with_assets(plugin: &str, assets: &[(&str, &str)]) -> Package {
    let (id, version) = plugin.split_once('@').unwrap_or((plugin, "1.0.0"));
    let metadata = json!({
        "name": format!("@acme/{id}"), "version": version, "description": "A plugin", "author": "Acme", "license": "MIT",
        "checkstack": {"type": "backend", "pluginId": id, "wasm": "dist/plugin.wasm", "frontend": "dist/ui"},
    });
    let mut files = BTreeMap::from([
        ("package.json".to_owned(), metadata.to_string().into_bytes()),
        ("dist/plugin.wasm".to_owned(), COMPONENT.to_vec()),
    ]);
    files.extend(assets.iter().map(|(path, content)| (format!("dist/ui/{path}"), content.as_bytes().to_vec())));
    let mut package = packed(id, version, &files, BTreeMap::new());
    package.entry.grants.frontend = true;
    package
}

/// Built for another version of the world.
pub(crate) fn package_of_another_world(id: &str) -> Package {
    let metadata = json!({
        "name": format!("@acme/{id}"), "version": "1.0.0", "description": "A plugin", "author": "Acme", "license": "MIT",
        "checkstack": {"type": "backend", "pluginId": id, "wasm": "dist/plugin.wasm"},
    });
    let component = component(&WORLD.replace("checkstack:plugin@0.2.0", "checkstack:plugin@0.9.0"));
    let files =
        BTreeMap::from([("package.json".to_owned(), metadata.to_string().into_bytes()), ("dist/plugin.wasm".to_owned(), component)]);
    packed(id, "1.0.0", &files, BTreeMap::new())
}

fn packed(id: &str, version: &str, files: &BTreeMap<String, Vec<u8>>, dependencies: BTreeMap<String, String>) -> Package {
    let bytes = pack(files).unwrap();
    let entry = PluginEntry {
        resource: id.into(),
        plugin_id: id.parse().unwrap(),
        package: format!("@acme/{id}"),
        version: version.into(),
        digest: Digest::of(&bytes),
        dependencies: dependencies.into_iter().map(|(id, range)| (id.parse().unwrap(), range)).collect(),
        critical: false,
        config: Map::new(),
        config_version: 1,
        secret_config_hash: None,
        grants: Grants { database: true, ..Grants::default() },
        unknown: Map::new(),
    };
    Package { bytes, entry }
}

static COMPONENT: LazyLock<Vec<u8>> = LazyLock::new(|| component(WORLD));

fn component(wit: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("plugin.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    let mut module = wit_component::dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}
