//! `checkstack plugin inspect`.

use std::collections::BTreeMap;

use checkstack_plugin_package::{Digest, Integrity, pack};
use serde_json::{Value, json};

use crate::checkstack;
use crate::plugin_directory::{PluginDirectory, WORLD, component_of, metadata};

/// A package with that component and description, and where it is.
fn package(plugin: &PluginDirectory, component: Vec<u8>, description: &str) -> (String, Vec<u8>) {
    let mut metadata = metadata();
    metadata["description"] = json!(description);
    let bytes = pack::pack(&BTreeMap::from([
        ("package.json".to_owned(), metadata.to_string().into_bytes()),
        ("dist/plugin.wasm".to_owned(), component),
        ("migrations/0001_widgets.up.sql".to_owned(), b"CREATE TABLE widgets (id int)".to_vec()),
        ("migrations/0001_widgets.down.sql".to_owned(), b"DROP TABLE widgets".to_vec()),
        ("migrations/0002_more.up.sql".to_owned(), b"SELECT 1".to_vec()),
    ]))
    .unwrap();
    plugin.write("package.tgz", &bytes);
    (plugin.file("package.tgz").to_str().unwrap().to_owned(), bytes)
}

#[test]
fn text_shows_everything_a_person_asks_for() {
    let plugin = PluginDirectory::new();
    let world = WORLD.split_once("world plugin {").unwrap().0;
    let small = format!(
        "{world} world plugin {{ import log; export lifecycle; export handler; export procedures; export readiness; export worker; export listener; }}"
    );
    let (path, bytes) = package(&plugin, component_of(&small), "Widget checks");
    let expected = format!(
        "\
Package       @acme/widget-backend 1.2.3
Plugin id     widget
Type          backend
Description   Widget checks
Author        Acme
License       MIT
Size          {} bytes
Digest        {}
Integrity     {}
World         checkstack:plugin 0.2.0
Runs here     yes, this release provides 0.2.0
Imports       checkstack:plugin/log@0.2.0
              checkstack:plugin/types@0.2.0
Exports       checkstack:plugin/lifecycle@0.2.0
              checkstack:plugin/handler@0.2.0
              checkstack:plugin/procedures@0.2.0
              checkstack:plugin/readiness@0.2.0
              checkstack:plugin/worker@0.2.0
              checkstack:plugin/listener@0.2.0
Dependencies  catalog ^1
Migrations    0001_widgets
              0002_more (cannot be undone)
",
        bytes.len(),
        Digest::of(&bytes),
        Integrity::of(&bytes)
    );
    assert_eq!(checkstack(&["plugin", "inspect", &path]).success(), expected);
}

#[test]
fn json_has_the_same_for_programs() {
    let plugin = PluginDirectory::new();
    let (path, bytes) = package(&plugin, component_of(WORLD), "Widget checks");
    let shown: Value = serde_json::from_str(&checkstack(&["plugin", "inspect", &path, "--output", "json"]).success()).unwrap();
    assert_eq!(shown["metadata"]["checkstack"]["pluginId"], "widget");
    assert_eq!(shown["digest"], Digest::of(&bytes).to_string());
    assert_eq!(shown["size"], bytes.len());
    assert_eq!(shown["world"], json!({"version": "0.2.0", "provided": "0.2.0", "compatible": true}));
    assert_eq!(shown["imports"].as_array().unwrap().len(), 14);
    assert_eq!(shown["exports"].as_array().unwrap().len(), 6);
    let hash = Digest::of(b"SELECT 1").to_string();
    assert_eq!(shown["migrations"][1], json!({"version": 2, "name": "more", "hash": hash, "reversible": false}));
}

#[test]
fn a_package_for_another_world_is_shown_with_what_is_wrong() {
    let plugin = PluginDirectory::new();
    let (path, _) = package(&plugin, component_of(&WORLD.replace("plugin@0.2.0", "plugin@0.3.0")), "Widget checks");
    let shown = checkstack(&["plugin", "inspect", &path]).success();
    assert!(
        shown.contains("\nWorld         checkstack:plugin 0.3.0\nRuns here     no: it is built for checkstack:plugin 0.3.0; "),
        "{shown}"
    );
}

#[test]
fn a_package_cannot_take_over_the_terminal() {
    let plugin = PluginDirectory::new();
    let (path, _) = package(&plugin, component_of(WORLD), "Widget\u{1b}[2J\nDigest  sha256:0");
    let shown = checkstack(&["plugin", "inspect", &path]).success();
    assert!(shown.contains("Description   Widget\\u{1b}[2J\\nDigest  sha256:0\n"), "{shown}");
}

#[test]
fn what_is_no_package_is_refused_with_the_reason() {
    let plugin = PluginDirectory::new();
    let error_for = |content: &[u8]| {
        plugin.write("package.tgz", content);
        let errors = checkstack(&["plugin", "inspect", plugin.file("package.tgz").to_str().unwrap()]).errors();
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors[0].split_once("package.tgz: ").unwrap().1.to_owned()
    };
    assert_eq!(error_for(b""), "the archive is empty");
    assert!(error_for(b"<html>not found</html>").starts_with("the file is neither gzip nor tar"));
    assert!(error_for(&pack::pack(&BTreeMap::new()).unwrap()).starts_with("the archive has no package/package.json"));
    let errors = checkstack(&["plugin", "inspect", "no-such-file.tgz"]).errors();
    assert_eq!(errors, ["cannot read no-such-file.tgz: No such file or directory (os error 2)"]);
}
