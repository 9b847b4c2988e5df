//! The fields of `package.json`, one after the other.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::{Object, Problems, entry_path, kind};
use super::rules::{check_email, check_package_name, check_path, check_url, check_version, plain_path, shown};
use super::{CheckstackMetadata, DEFAULT_MIGRATIONS_DIRECTORY, PackageMetadata, Person, PluginType, Repository};
use crate::PluginId;

/// `None` only when at least one problem was noted.
pub(super) fn read_package(root: &Object<'_>, problems: &mut Problems) -> Option<PackageMetadata> {
    // Everything is read before anything is unwrapped, so that every problem is found.
    let name = root.checked_text("name", problems, check_package_name);
    let version = root.checked_text("version", problems, check_version);
    let description = root.required_text("description", problems);
    let license = root.required_text("license", problems);
    let author = match root.get("author") {
        Some(author) => read_person(&root.child("author"), author, problems),
        None => problems.note(root.child("author"), "is required"),
    };
    let contributors = root.list("contributors", problems).iter().filter_map(|(path, value)| read_person(path, value, problems)).collect();
    let homepage = root.optional_text("homepage", problems, check_url);
    let repository = root.get("repository").and_then(|value| read_repository(&root.child("repository"), value, problems));
    let dependencies = root.text_map("dependencies", problems);
    let peer_dependencies = root.text_map("peerDependencies", problems);
    let checkstack = root.object("checkstack", problems).and_then(|block| read_checkstack(&block, problems));
    Some(PackageMetadata {
        name: name?,
        version: version?,
        description: description?,
        license: license?,
        author: author?,
        contributors,
        homepage,
        repository,
        dependencies,
        peer_dependencies,
        checkstack: checkstack?,
    })
}

fn read_checkstack(block: &Object<'_>, problems: &mut Problems) -> Option<CheckstackMetadata> {
    let plugin_type = block.required_text("type", problems).and_then(|text| match text.as_str() {
        "backend" => Some(PluginType::Backend),
        "frontend" => Some(PluginType::Frontend),
        "common" => Some(PluginType::Common),
        "tooling" => problems.note(block.child("type"), "is 'tooling', which is not installable"),
        other => problems.note(block.child("type"), format!("must be backend, frontend or common, not '{}'", shown(other))),
    });
    let plugin_id = block.text("pluginId", problems).and_then(|id| match PluginId::of_package(&id) {
        Ok(id) => Some(id),
        Err(error) => problems.note(block.child("pluginId"), format!("is invalid: {error}")),
    });
    let bundle = block
        .list("bundle", problems)
        .iter()
        .filter_map(|(path, value)| match value.as_str() {
            Some(name) if !name.is_empty() => Some(name.to_owned()),
            _ => problems.note(path.clone(), "must be the name of a package"),
        })
        .collect();
    let usage_instructions = block.text("usageInstructions", problems);
    let allow_install_scripts = block.flag("allowInstallScripts", problems);
    let wasm = block.optional_text("wasm", problems, check_path).map(plain_path);
    let migrations = block.optional_text("migrations", problems, check_path).map(plain_path);
    let frontend = block.optional_text("frontend", problems, check_path).map(plain_path);
    let dependencies = read_plugin_dependencies(block, plugin_id.as_ref(), problems);
    if plugin_type == Some(PluginType::Backend) {
        for required in ["pluginId", "wasm"] {
            if block.get(required).is_none() {
                let _: Option<()> = problems.note(block.child(required), "is required in a package of type backend");
            }
        }
    }
    Some(CheckstackMetadata {
        plugin_type: plugin_type?,
        plugin_id,
        bundle,
        usage_instructions,
        allow_install_scripts,
        wasm,
        dependencies,
        migrations: migrations.unwrap_or_else(|| DEFAULT_MIGRATIONS_DIRECTORY.to_owned()),
        frontend,
    })
}

fn read_plugin_dependencies(block: &Object<'_>, own: Option<&PluginId>, problems: &mut Problems) -> BTreeMap<PluginId, String> {
    let mut dependencies = BTreeMap::new();
    for (key, range) in block.text_map("dependencies", problems) {
        let path = entry_path(&block.child("dependencies"), &key);
        let id = match key.parse::<PluginId>() {
            Ok(id) if Some(&id) == own => problems.note(path.clone(), "is the plugin itself"),
            Ok(id) => Some(id),
            Err(error) => problems.note(path.clone(), format!("is invalid: {error}")),
        };
        match node_semver::Range::parse(&range) {
            Ok(_) => dependencies.extend(id.map(|id| (id, range))),
            Err(_) => {
                let _: Option<()> = problems.note(path, format!("must be a semver range such as ^1.2, not '{}'", shown(&range)));
            }
        }
    }
    dependencies
}

fn read_person(path: &str, value: &Value, problems: &mut Problems) -> Option<Person> {
    match value {
        Value::String(name) if !name.trim().is_empty() => Some(Person { name: name.clone(), email: None, url: None }),
        Value::Object(fields) => {
            let person = Object { path: path.to_owned(), fields };
            let name = person.required_text("name", problems);
            let email = person.optional_text("email", problems, check_email);
            let url = person.optional_text("url", problems, check_url);
            Some(Person { name: name?, email, url })
        }
        Value::String(_) => problems.note(path.to_owned(), "must not be empty"),
        other => problems.note(path.to_owned(), format!("must be a name or an object with a name, not {}", kind(other))),
    }
}

fn read_repository(path: &str, value: &Value, problems: &mut Problems) -> Option<Repository> {
    match value {
        Value::String(url) => Some(Repository { repository_type: None, url: url.clone() }),
        Value::Object(fields) => {
            let repository = Object { path: path.to_owned(), fields };
            let repository_type = repository.text("type", problems);
            let url = repository.required_text("url", problems);
            Some(Repository { repository_type, url: url? })
        }
        other => problems.note(path.to_owned(), format!("must be a URL or an object with a url, not {}", kind(other))),
    }
}
