//! `checkstack plugin pack`.

use std::fs;

use checkstack_plugin_package::{Archive, Digest, Integrity, PluginPackage};
use serde_json::{Value, json};

use crate::checkstack;
use crate::plugin_directory::{PluginDirectory, WORLD, component_of, metadata, module_of, module_without_world};

#[test]
fn a_package_has_what_belongs_into_it_and_nothing_else() {
    let plugin = PluginDirectory::new();
    let printed = checkstack(&["plugin", "pack", plugin.path()]).success();
    let bytes = fs::read(plugin.package_path()).unwrap();
    let files: Vec<String> = Archive::open(&bytes).unwrap().files().keys().cloned().collect();
    assert_eq!(
        files,
        [
            "package/LICENSE",
            "package/README.md",
            "package/dist/plugin.wasm",
            "package/migrations/0001_widgets.down.sql",
            "package/migrations/0001_widgets.up.sql",
            "package/migrations/0002_more.up.sql",
            "package/package.json"
        ]
    );
    let expected = format!(
        "Packed     {}\nSize       {} bytes\nDigest     {}\nIntegrity  {}\n",
        plugin.package_path(),
        bytes.len(),
        Digest::of(&bytes),
        Integrity::of(&bytes)
    );
    assert_eq!(printed, expected);
    assert_eq!(fs::read_dir(plugin.file("dist")).unwrap().count(), 2, "nothing is left beside component and package");
}

#[test]
fn files_for_browsers_are_packed_from_the_folder_that_is_named() {
    let plugin = PluginDirectory::new();
    let mut metadata = metadata();
    metadata["checkstack"]["frontend"] = json!("./ui/");
    plugin.write("package.json", metadata.to_string().as_bytes());
    let failed = checkstack(&["plugin", "pack", plugin.path()]).errors();
    assert!(failed.len() == 1 && failed[0].contains("cannot read the files for browsers in"), "{failed:?}");
    for (file, content) in [("ui/main.js", "main"), ("ui/chunks/a.js", "a"), ("ui/.env", "hidden")] {
        plugin.write(file, content.as_bytes());
    }
    checkstack(&["plugin", "pack", plugin.path()]).success();
    let package = PluginPackage::read(&fs::read(plugin.package_path()).unwrap()).unwrap();
    assert_eq!(package.assets.keys().collect::<Vec<_>>(), ["chunks/a.js", "main.js"]);
    std::os::unix::fs::symlink("/etc/passwd", plugin.file("ui/link")).unwrap();
    let failed = checkstack(&["plugin", "pack", plugin.path()]).errors();
    assert!(failed.len() == 1 && failed[0].contains("links are not allowed in a package"), "{failed:?}");
}

#[test]
fn the_same_plugin_gives_the_same_package() {
    let pack = || {
        let plugin = PluginDirectory::new();
        checkstack(&["plugin", "pack", plugin.path()]).success();
        // A second time over the first, from a module instead of the component it becomes.
        let first = fs::read(plugin.package_path()).unwrap();
        plugin.write("dist/plugin.wasm", &module_of(WORLD));
        checkstack(&["plugin", "pack", plugin.path()]).success();
        assert_eq!(first, fs::read(plugin.package_path()).unwrap());
        first
    };
    assert_eq!(pack(), pack());
}

#[test]
fn a_core_module_is_packed_as_a_component() {
    let plugin = PluginDirectory::new();
    fs::remove_file(plugin.file("dist/plugin.wasm")).unwrap();
    plugin.write("target/widget.wasm", &module_of(WORLD));
    let (module, out) = (plugin.file("target/widget.wasm"), plugin.file("out/put"));
    let arguments = ["plugin", "pack", plugin.path(), "--wasm", module.to_str().unwrap(), "--out-dir", out.to_str().unwrap(), "-o", "json"];
    let printed: Value = serde_json::from_str(&checkstack(&arguments).success()).unwrap();
    let path = out.join("acme-widget-backend-1.2.3.tgz");
    let bytes = fs::read(&path).unwrap();
    assert_eq!(PluginPackage::read(&bytes).unwrap().component, component_of(WORLD));
    let expected = json!({
        "package": "@acme/widget-backend", "version": "1.2.3", "path": path, "size": bytes.len(), "digest": Digest::of(&bytes),
        "integrity": Integrity::of(&bytes).to_string(), "componentised": true,
    });
    assert_eq!(printed, expected);
}

#[test]
fn validation_alone_writes_nothing() {
    let plugin = PluginDirectory::new();
    let printed = checkstack(&["plugin", "pack", plugin.path(), "--validate-only"]).success();
    assert!(printed.starts_with("Valid      @acme/widget-backend 1.2.3, nothing was written\n"), "{printed}");
    assert!(!plugin.file("dist/acme-widget-backend-1.2.3.tgz").exists());
}

#[test]
fn the_working_directory_is_the_default() {
    let plugin = PluginDirectory::new();
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_checkstack")).args(["plugin", "pack"]).current_dir(plugin.path()).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("Packed     ./dist/acme-widget-backend-1.2.3.tgz\n"));
}

#[test]
fn all_problems_are_said_at_once_and_nothing_is_written() {
    let plugin = PluginDirectory::new();
    plugin.write("migrations/0002_other.up.sql", b" ");
    plugin.write("dist/plugin.wasm", &component_of(&WORLD.replace("plugin@0.2.0", "plugin@0.4.0")));
    let mut package = metadata();
    package["version"] = json!("1");
    package["checkstack"].as_object_mut().unwrap().remove("pluginId");
    plugin.write_json("package.json", &package);
    let component = plugin.file("dist/plugin.wasm");
    let migrations = plugin.file("migrations");
    assert_eq!(
        checkstack(&["plugin", "pack", plugin.path()]).errors(),
        [
            "package.json: version must be a semantic version such as 1.2.3, not '1'".to_owned(),
            "package.json: checkstack.pluginId is required in a package of type backend".to_owned(),
            format!(
                "{}: it is built for checkstack:plugin 0.4.0; this server provides 0.2.0: use a build of the plugin for 0.2.0",
                component.display()
            ),
            format!("{}: '0002_other.up.sql' is empty", migrations.display()),
            format!("{}: version 0002 is claimed by 'more' and 'other'", migrations.display()),
        ]
    );
    assert_eq!(fs::read_dir(plugin.file("dist")).unwrap().count(), 1);
}

#[test]
fn what_cannot_be_a_component_is_said_with_the_reason() {
    let error_for = |wasm: &[u8]| {
        let plugin = PluginDirectory::new();
        plugin.write("dist/plugin.wasm", wasm);
        let errors = checkstack(&["plugin", "pack", plugin.path(), "--validate-only"]).errors();
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors[0].clone()
    };
    assert!(error_for(b"#!/bin/sh").ends_with("plugin.wasm: it is not a WebAssembly component: it does not begin as WebAssembly does"));
    assert!(
        error_for(&module_without_world())
            .ends_with("a core WebAssembly module that does not name its world: build it with the plugin SDK")
    );
    let wasi = WORLD.replace("import clock;", "import clock; import wasi-clock: interface { now: func() -> u64; }");
    assert!(
        error_for(&module_of(&wasi)).ends_with("it imports 'wasi-clock', but a plugin may import only interfaces of checkstack:plugin")
    );
    assert!(error_for(&module_of(&WORLD.replace("export handler;", ""))).contains("it does not export 'checkstack:plugin/handler'"));
    let mut damaged = component_of(WORLD);
    damaged.truncate(damaged.len() / 2);
    assert!(error_for(&damaged).contains("it is not a WebAssembly component"));
}

#[test]
fn files_that_are_not_there_are_named() {
    let plugin = PluginDirectory::new();
    fs::remove_file(plugin.file("dist/plugin.wasm")).unwrap();
    let mut package = metadata();
    package["checkstack"]["migrations"] = json!("sql");
    plugin.write_json("package.json", &package);
    let errors = checkstack(&["plugin", "pack", plugin.path()]).errors();
    let (component, migrations) = (plugin.file("dist/plugin.wasm"), plugin.file("sql"));
    assert!(errors[0].starts_with(&format!("cannot read {}: ", component.display())), "{errors:?}");
    assert!(errors[1].starts_with(&format!("cannot read the migrations in {}: ", migrations.display())), "{errors:?}");

    fs::remove_file(plugin.file("package.json")).unwrap();
    let errors = checkstack(&["plugin", "pack", plugin.path()]).errors();
    assert!(errors.len() == 1 && errors[0].contains("package.json: No such file"), "{errors:?}");
}

#[test]
fn a_package_without_anything_to_run_is_refused() {
    let plugin = PluginDirectory::new();
    let mut package = metadata();
    package["checkstack"] = json!({"type": "frontend"});
    plugin.write_json("package.json", &package);
    let errors = checkstack(&["plugin", "pack", plugin.path()]).errors();
    assert_eq!(errors, ["package.json: checkstack.wasm is required: only plugins that run in the server can be packed"]);
    package["checkstack"] = json!({"type": "frontend", "wasm": "dist/plugin.wasm"});
    plugin.write_json("package.json", &package);
    let errors = checkstack(&["plugin", "pack", plugin.path()]).errors();
    assert_eq!(errors, ["the package is of type frontend; only packages of type backend can run in the server"]);
}
