//! A plugin's directory, as an author has it.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve};

/// The world of this repository.
pub(crate) const WORLD: &str = include_str!("../../../plugin-sdk/wit/plugin.wit");

pub(crate) struct PluginDirectory(TempDir);

impl PluginDirectory {
    /// A valid plugin with a component.
    pub(crate) fn new() -> Self {
        let directory = Self(tempfile::tempdir().unwrap());
        directory.write_json("package.json", &metadata());
        directory.write("dist/plugin.wasm", &component_of(WORLD));
        directory.write("migrations/0001_widgets.up.sql", b"CREATE TABLE widgets (id int)");
        directory.write("migrations/0001_widgets.down.sql", b"DROP TABLE widgets");
        directory.write("migrations/0002_more.up.sql", b"ALTER TABLE widgets ADD name text");
        directory.write("README.md", b"# Widget");
        directory.write("LICENSE", b"MIT");
        directory.write("src/secret.ts", b"not for the package");
        directory
    }

    pub(crate) fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Where its package is put.
    pub(crate) fn package_path(&self) -> String {
        self.file("dist/acme-widget-backend-1.2.3.tgz").to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn write_json(&self, name: &str, content: &Value) {
        self.write(name, content.to_string().as_bytes());
    }
}

pub(crate) fn metadata() -> Value {
    json!({
        "name": "@acme/widget-backend", "version": "1.2.3", "description": "Widget checks", "author": "Acme", "license": "MIT",
        "checkstack": {"type": "backend", "pluginId": "widget", "wasm": "dist/plugin.wasm", "dependencies": {"catalog": "^1"}},
    })
}

/// The core module that cargo would make of a guest in Rust. Calling it traps.
pub(crate) fn module_of(wit: &str) -> Vec<u8> {
    let (resolve, world) = world(wit);
    let mut module = wit_component::dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    module
}

/// The same without the section that names its world.
pub(crate) fn module_without_world() -> Vec<u8> {
    let (resolve, world) = world(WORLD);
    wit_component::dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync))
}

pub(crate) fn component_of(wit: &str) -> Vec<u8> {
    ComponentEncoder::default().module(&module_of(wit)).unwrap().validate(true).encode().unwrap()
}

fn world(wit: &str) -> (Resolve, wit_parser::WorldId) {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("plugin.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    (resolve, world)
}
