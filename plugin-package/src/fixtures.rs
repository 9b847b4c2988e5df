//! Packages and components for tests.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve};

/// The world of this repository.
pub(crate) const WORLD: &str = include_str!("../../plugin-sdk/wit/plugin.wit");

/// A component of our world that imports all it may; calling it traps.
pub(crate) fn component() -> Vec<u8> {
    component_of(WORLD)
}

/// A component of the world `plugin` in `wit`.
pub(crate) fn component_of(wit: &str) -> Vec<u8> {
    ComponentEncoder::default().module(&module_of(wit)).unwrap().validate(true).encode().unwrap()
}

/// The core module that a Rust guest would be compiled to.
pub(crate) fn module_of(wit: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("plugin.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    let mut module = wit_component::dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    module
}

/// A valid `package.json`.
pub(crate) fn metadata() -> Value {
    json!({
        "name": "@acme/widget-backend", "version": "1.2.3", "description": "Widget checks", "author": "Acme", "license": "MIT",
        "checkstack": {"type": "backend", "pluginId": "widget", "wasm": "dist/plugin.wasm", "dependencies": {"catalog": "^1"}},
    })
}

/// The files of a valid package.
pub(crate) fn files() -> BTreeMap<String, Vec<u8>> {
    BTreeMap::from([
        ("package.json".to_owned(), metadata().to_string().into_bytes()),
        ("README.md".to_owned(), b"# Widget".to_vec()),
        ("dist/plugin.wasm".to_owned(), component()),
        ("migrations/0001_widgets.up.sql".to_owned(), b"CREATE TABLE widgets (id int)".to_vec()),
        ("migrations/0001_widgets.down.sql".to_owned(), b"DROP TABLE widgets".to_vec()),
    ])
}
