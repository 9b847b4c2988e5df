#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use serde_json::{Map, Value, json};

use super::*;

fn valid() -> Value {
    json!({
        "name": "@acme/widget-backend", "version": "1.2.3", "description": "Widget checks", "author": "Acme", "license": "MIT",
        "checkstack": {"type": "backend", "pluginId": "widget", "wasm": "dist/plugin.wasm"},
    })
}

fn read(document: &Value) -> Result<PackageMetadata, InvalidMetadata> {
    PackageMetadata::from_json(document.to_string().as_bytes())
}

/// The valid document with one value replaced, or removed where `value` is `Null`.
fn with(pointer: &str, value: Value) -> Value {
    let mut document = valid();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Value::Null => drop(parent.remove(key)),
        value => drop(parent.insert(key.to_owned(), value)),
    }
    document
}

#[test]
fn the_least_document_gets_defaults() {
    let metadata = read(&valid()).unwrap();
    assert_eq!(metadata.checkstack.migrations, "migrations");
    assert_eq!(metadata.checkstack.plugin_id.unwrap().as_str(), "widget");
    assert!(!metadata.checkstack.allow_install_scripts);
    assert_eq!(metadata.author, Person { name: "Acme".into(), email: None, url: None });
}

#[test]
fn a_full_document_is_read_and_unknown_keys_are_dropped() {
    let document = json!({
        "name": "widget", "version": "1.2.3-rc.1+build", "description": "d", "license": "MIT", "scripts": {"postinstall": "rm -rf /"},
        "author": {"name": "Ann", "email": "ann@acme.io", "url": "https://acme.io", "age": 3},
        "contributors": ["Bob <bob@acme.io>", {"name": "Cleo"}],
        "homepage": "https://acme.io/widget", "repository": {"type": "git", "url": "git+https://github.com/acme/widget.git"},
        "dependencies": {"@checkstack/backend-api": "^0.14.0"}, "peerDependencies": {"left": "*"},
        "checkstack": {
            "type": "backend", "pluginId": "widget", "wasm": "./dist/plugin.wasm", "migrations": "./sql/",
            "dependencies": {"catalog": "^1.2 || 2.x", "uptime": "*"}, "bundle": ["@acme/widget-common"],
            "usageInstructions": "# Use", "allowInstallScripts": true, "future": 1,
        },
    });
    let metadata = read(&document).unwrap();
    assert_eq!(metadata.checkstack.wasm.as_deref(), Some("dist/plugin.wasm"));
    assert_eq!(metadata.checkstack.migrations, "sql");
    assert_eq!(metadata.contributors.len(), 2);
    let mut known = document.clone();
    known["checkstack"]["wasm"] = "dist/plugin.wasm".into();
    known["checkstack"]["migrations"] = "sql".into();
    for (parent, key) in [("", "scripts"), ("/author", "age"), ("/checkstack", "future")] {
        known.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    }
    known["contributors"][0] = json!({"name": "Bob <bob@acme.io>"});
    assert_eq!(serde_json::to_value(&metadata).unwrap(), known);
}

#[test]
fn every_rule_names_its_field() {
    let cases = [
        ("/name", Value::Null, "name is required"),
        ("/name", json!(""), "name must not be empty"),
        ("/name", json!(7), "name must be a string, not a number"),
        ("/name", json!("../../etc/passwd"), "name must be an npm package name"),
        ("/name", json!("Acme"), "name must be an npm package name"),
        ("/name", json!("@acme"), "name must be an npm package name"),
        ("/name", json!("@acme/a/b"), "name must be an npm package name"),
        ("/name", json!(format!("a{}", "a".repeat(214))), "name must be an npm package name"),
        ("/version", Value::Null, "version is required"),
        ("/version", json!("1.2"), "version must be a semantic version such as 1.2.3, not '1.2'"),
        ("/version", json!("latest"), "version must be a semantic version"),
        ("/description", json!(" "), "description must not be empty"),
        ("/license", Value::Null, "license is required"),
        ("/author", Value::Null, "author is required"),
        ("/author", json!(""), "author must not be empty"),
        ("/author", json!([]), "author must be a name or an object with a name, not an array"),
        ("/author", json!({}), "author.name is required"),
        ("/author", json!({"name": "a", "email": "a@b"}), "author.email must be a mail address, not 'a@b'"),
        ("/author", json!({"name": "a", "email": "a b@c.io"}), "author.email must be a mail address"),
        ("/author", json!({"name": "a", "url": "acme"}), "author.url must be a URL, not 'acme'"),
        ("/contributors", json!({}), "contributors must be an array, not an object"),
        ("/contributors", json!(["a", {"email": "a@b.io"}]), "contributors[1].name is required"),
        ("/homepage", json!("acme"), "homepage must be a URL"),
        ("/repository", json!({"type": "git"}), "repository.url is required"),
        ("/repository", json!(true), "repository must be a URL or an object with a url, not a boolean"),
        ("/dependencies", json!([]), "dependencies must be an object, not an array"),
        ("/dependencies", json!({"a": 1}), "dependencies[\"a\"] must be a string, not a number"),
        ("/peerDependencies", json!({"a": {}}), "peerDependencies[\"a\"] must be a string, not an object"),
        ("/checkstack", Value::Null, "checkstack is required"),
        ("/checkstack", json!("backend"), "checkstack must be an object, not a string"),
        ("/checkstack/type", Value::Null, "checkstack.type is required"),
        ("/checkstack/type", json!("tooling"), "checkstack.type is 'tooling', which is not installable"),
        ("/checkstack/type", json!("server"), "checkstack.type must be backend, frontend or common, not 'server'"),
        ("/checkstack/pluginId", Value::Null, "checkstack.pluginId is required in a package of type backend"),
        ("/checkstack/pluginId", json!("Widget"), "checkstack.pluginId is invalid: plugin id 'Widget'"),
        ("/checkstack/pluginId", json!("plugins"), "checkstack.pluginId is invalid: plugin id 'plugins' is reserved"),
        ("/checkstack/wasm", Value::Null, "checkstack.wasm is required in a package of type backend"),
        ("/checkstack/wasm", json!("/plugin.wasm"), "checkstack.wasm must be a path within the package"),
        ("/checkstack/wasm", json!("../plugin.wasm"), "checkstack.wasm must be a path within the package"),
        ("/checkstack/wasm", json!("a//b"), "checkstack.wasm must be a path within the package"),
        ("/checkstack/wasm", json!("a\\b"), "checkstack.wasm must be a path within the package"),
        ("/checkstack/migrations", json!("."), "checkstack.migrations must be a path within the package"),
        ("/checkstack/bundle", json!(["a", 1]), "checkstack.bundle[1] must be the name of a package"),
        ("/checkstack/usageInstructions", json!(1), "checkstack.usageInstructions must be a string"),
        ("/checkstack/allowInstallScripts", json!("yes"), "checkstack.allowInstallScripts must be true or false, not a string"),
        ("/checkstack/dependencies", json!(["uptime"]), "checkstack.dependencies must be an object, not an array"),
        (
            "/checkstack/dependencies",
            json!({"uptime": "soon"}),
            "checkstack.dependencies[\"uptime\"] must be a semver range such as ^1.2, not 'soon'",
        ),
        ("/checkstack/dependencies", json!({"uptime": "workspace:*"}), "checkstack.dependencies[\"uptime\"] must be a semver range"),
        ("/checkstack/dependencies", json!({"Up": "*"}), "checkstack.dependencies[\"Up\"] is invalid"),
        ("/checkstack/dependencies", json!({"widget": "*"}), "checkstack.dependencies[\"widget\"] is the plugin itself"),
    ];
    for (pointer, value, expected) in cases {
        let error = read(&with(pointer, value.clone())).expect_err(expected);
        assert_eq!(error.problems.len(), 1, "{pointer} = {value}: {error}");
        assert!(error.problems[0].to_string().starts_with(expected), "{pointer} = {value}: {error}");
    }
}

#[test]
fn all_problems_are_listed_at_once() {
    let error = read(&json!({"version": "x", "author": {"email": "e"}, "checkstack": {"type": "backend", "dependencies": {"A": "b"}}}))
        .unwrap_err();
    let fields: Vec<&str> = error.problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "name",
            "version",
            "description",
            "license",
            "author.name",
            "author.email",
            "checkstack.dependencies[\"A\"]",
            "checkstack.dependencies[\"A\"]",
            "checkstack.pluginId",
            "checkstack.wasm"
        ]
    );
    assert!(error.to_string().starts_with("package.json failed validation: name is required; version must be"), "{error}");
}

#[test]
fn a_message_stays_short_whatever_the_document_has() {
    let dependencies: Map<String, Value> = (0..5_000).map(|index| (format!("{}\n{index}", "x".repeat(500)), json!(1))).collect();
    let error = read(&with("/dependencies", Value::Object(dependencies))).unwrap_err();
    assert_eq!(error.problems.len(), 5_000);
    let message = error.to_string();
    assert!(message.ends_with("; and 4980 more") && message.len() < 4_000 && !message.contains('\n'), "{message}");
}

#[test]
fn packages_that_do_not_run_in_the_server_need_neither_id_nor_component() {
    for plugin_type in ["frontend", "common"] {
        let mut document = valid();
        document["checkstack"] = json!({"type": plugin_type});
        assert_eq!(read(&document).unwrap().checkstack.plugin_type.as_str(), plugin_type);
    }
}

#[test]
fn what_is_no_json_object_is_said_to_be_none() {
    for (document, expected) in [("", "is not JSON"), ("{", "is not JSON"), ("[]", "must be a JSON object, not an array")] {
        let error = PackageMetadata::from_json(document.as_bytes()).unwrap_err();
        assert!(error.problems[0].rule.starts_with(expected), "{error}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(PackageMetadata::from_json(deep.as_bytes()).is_err());
}

#[test]
fn a_byte_order_mark_is_no_problem() {
    assert!(PackageMetadata::from_json(format!("\u{feff}{}", valid()).as_bytes()).is_ok());
}
