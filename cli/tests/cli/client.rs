//! `checkstack client`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use checkstack_plugin_package::pack;
use serde_json::{Value, json};

use crate::guest::Guest;
use crate::plugin_directory::{PluginDirectory, WORLD, component_of, metadata};
use crate::{Finished, checkstack};

fn contract() -> String {
    let page = json!({ "type": "object", "required": ["next"], "properties": { "next": { "type": ["string", "null"] } } });
    json!({ "procedures": { "pages/read": { "operation": "query", "summary": "A page", "output": page } } }).to_string()
}

/// The package of a plugin with that component.
fn package(directory: &PluginDirectory, component: Vec<u8>) -> String {
    let files =
        BTreeMap::from([("package.json".to_owned(), metadata().to_string().into_bytes()), ("dist/plugin.wasm".to_owned(), component)]);
    directory.write("widget.tgz", &pack::pack(&files).unwrap());
    directory.file("widget.tgz").to_str().unwrap().to_owned()
}

#[test]
fn a_client_is_made_of_a_package_without_a_server() {
    let directory = PluginDirectory::new();
    let package = package(&directory, Guest::default().contract(&contract()).component());
    let plugins = checkstack(&["client", &package, "--language", "typescript", "--for", "plugin"]).success();
    for part in ["   * A page\n", "export const widget = {\n", "  pagesRead(): PagesReadOutput {\n", "  next: string | null;\n"] {
        assert!(plugins.contains(part), "{part}: {plugins}");
    }
    let outside = checkstack(&["client", &package, "--language", "rust"]).success();
    assert!(outside.contains("pub async fn pages_read(&self) -> Result<types::PagesReadOutput, super::Error> {"), "{outside}");
    let rust = checkstack(&["client", &package, "--language", "rust", "--for", "plugin"]).success();
    assert!(rust.contains("pub fn pages_read() -> Result<types::PagesReadOutput, Error> {"), "{rust}");
}

#[test]
fn a_file_is_written_and_compared() {
    let directory = PluginDirectory::new();
    let package = package(&directory, Guest::default().contract(&contract()).component());
    let out = directory.file("widget.ts");
    let arguments = ["client", &package, "--language", "typescript", "--out", out.to_str().unwrap()];
    let check: Vec<&str> = arguments.into_iter().chain(["--check"]).collect();
    assert!(checkstack(&check).errors()[0].starts_with("cannot read "));
    assert_eq!(checkstack(&arguments).success(), "");
    assert_eq!(checkstack(&check).success(), "");
    fs::write(&out, "// something else").unwrap();
    assert!(checkstack(&check).errors()[0].ends_with("widget.ts is not the client of this source: make it again, without --check"));
    assert_eq!(fs::read_to_string(&out).unwrap(), "// something else", "it only compares");
}

#[test]
fn a_description_comes_from_a_running_instance() {
    let document: Value = json!({ "openapi": "3.1.1", "paths": { "/rest/shop/ping": { "get": { "responses": { "200": {} } } } } });
    let mut command = Command::new(env!("CARGO_BIN_EXE_checkstack"));
    let mut running = command
        .args(["client", "-", "--language", "typescript"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    running.stdin.take().unwrap().write_all(document.to_string().as_bytes()).unwrap();
    let made = Finished(running.wait_with_output().unwrap()).success();
    assert!(made.contains("    ping: (call?: CallOptions): Promise<void> =>"), "{made}");
}

#[test]
fn describing_needs_no_server_and_ends() {
    let directory = PluginDirectory::new();
    let client = |component: Vec<u8>| checkstack(&["client", &package(&directory, component), "--language", "rust"]);
    let guest = |instructions: &str| Guest::default().contract(&contract()).describe(instructions).component();
    client(guest("(call $log (i32.const 2) (i32.const 2080) (i32.const 3) (i32.const 0) (i32.const 0)) (drop (call $clock))")).success();
    let refused = client(guest("(call $kv_get (i32.const 2080) (i32.const 3) (i32.const 3900))")).errors();
    assert!(refused[0].contains("the plugin cannot be asked what it offers") && refused[0].contains("key-value"), "{refused:?}");
    let refused = client(guest("(loop $for_ever (br $for_ever))")).errors();
    assert!(refused[0].contains("all fuel consumed"), "{refused:?}");
    let refused = client(component_of(WORLD)).errors();
    assert!(refused[0].contains("the plugin cannot be asked what it offers"), "{refused:?}");
}

#[test]
fn what_offers_nothing_or_wrongly_has_no_client() {
    let directory = PluginDirectory::new();
    let refused = |component: Vec<u8>| checkstack(&["client", &package(&directory, component), "--language", "rust"]).errors().remove(0);
    assert!(refused(Guest::default().component()).ends_with("the plugin 'widget' has no procedures"));
    assert!(refused(Guest::default().contract("{").component()).contains("the contract that the plugin describes is none"));
    let files = json!({ "procedures": { "a": { "operation": "query", "eventStream": true } } }).to_string();
    assert!(refused(Guest::default().contract(&files).component()).contains("only parts of the server can answer with a stream of events"));
    let page = directory.file("page.html");
    fs::write(&page, "<html>").unwrap();
    assert!(checkstack(&["client", page.to_str().unwrap(), "--language", "rust"]).errors()[0].contains("neither gzip nor tar"));
}
