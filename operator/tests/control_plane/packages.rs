//! Plugin packages for tests.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use checkstack_plugin_package::pack::pack;
use serde_json::json;
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve};

const WORLD: &str = include_str!("../../../plugin-sdk/wit/plugin.wit");

static COMPONENT: LazyLock<Vec<u8>> = LazyLock::new(|| component(WORLD));

/// A package of a plugin that could run.
pub fn package(id: &str, version: &str) -> Vec<u8> {
    package_with(id, version, json!({}), &COMPONENT)
}

/// One that depends on others.
pub fn package_with_dependencies(id: &str, version: &str, dependencies: serde_json::Value) -> Vec<u8> {
    package_with(id, version, dependencies, &COMPONENT)
}

/// One for another version of the plugin world.
pub fn package_of_another_world(id: &str) -> Vec<u8> {
    let world = WORLD.replace("checkstack:plugin@0.2.0", "checkstack:plugin@7.0.0");
    assert_ne!(world, WORLD);
    package_with(id, "1.0.0", json!({}), &component(&world))
}

fn package_with(id: &str, version: &str, dependencies: serde_json::Value, component: &[u8]) -> Vec<u8> {
    let metadata = json!({
        "name": format!("@acme/{id}"), "version": version, "description": id, "author": "Acme", "license": "MIT",
        "checkstack": { "type": "backend", "pluginId": id, "wasm": "dist/plugin.wasm", "dependencies": dependencies },
    });
    let files = BTreeMap::from([
        ("package.json".to_owned(), metadata.to_string().into_bytes()),
        ("dist/plugin.wasm".to_owned(), component.to_vec()),
    ]);
    pack(&files).unwrap()
}

/// A component of the world that traps when it is called. Nobody calls it here.
fn component(wit: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("plugin.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    let mut module = wit_component::dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}
