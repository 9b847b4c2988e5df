//! `package.json`: what a package says about itself (platform facts §3.7, and our additions to its
//! `checkstack` block).
//!
//! Reading never stops at the first problem: an author sees all of them at once. Keys that are not
//! known are dropped.

mod fields;
mod reading;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::PluginId;
use fields::{Object, Problems, kind};

/// Where migrations are when the package does not say.
pub const DEFAULT_MIGRATIONS_DIRECTORY: &str = "migrations";

/// A valid `package.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PackageMetadata {
    /// npm's name of the package: `@acme/widget-backend`.
    pub name: String,
    /// A semantic version.
    pub version: String,
    /// One sentence.
    pub description: String,
    /// An SPDX expression, usually; any text is accepted.
    pub license: String,
    /// Who made it.
    pub author: Person,
    /// Who helped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contributors: Vec<Person>,
    /// A URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// The source's repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<Repository>,
    /// npm packages, with ranges. Not plugins: those are in [`CheckstackMetadata::dependencies`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dependencies: BTreeMap<String, String>,
    /// npm peer packages, with ranges.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub peer_dependencies: BTreeMap<String, String>,
    /// What concerns Checkstack.
    pub checkstack: CheckstackMetadata,
}

/// The block `checkstack`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckstackMetadata {
    /// What kind of package it is.
    #[serde(rename = "type")]
    pub plugin_type: PluginType,
    /// The plugin's id. A backend package has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin_id: Option<PluginId>,
    /// Names of the other packages of a bundle; on its primary package only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bundle: Vec<String>,
    /// Markdown for an admin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_instructions: Option<String>,
    /// Kept for compatibility. Nothing here ever runs a package's scripts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_install_scripts: bool,
    /// Path of the WebAssembly component within the package. A backend package has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wasm: Option<String>,
    /// Plugins that must be active before this one: id to semver range, in npm's syntax.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dependencies: BTreeMap<PluginId, String>,
    /// The directory of SQL migrations within the package.
    pub migrations: String,
    /// The directory of files for browsers within the package: the plugin's part of the web UI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frontend: Option<String>,
}

/// Kinds of packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginType {
    /// Runs in the server.
    Backend,
    /// Runs in the browser.
    Frontend,
    /// Code that others share.
    Common,
}

/// An author or contributor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Person {
    /// Name, or npm's one-line form with address and URL.
    pub name: String,
    /// Mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Web page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Where the source is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repository {
    /// `git`, usually.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub repository_type: Option<String>,
    /// A URL or npm's short form (`github:acme/widget`).
    pub url: String,
}

/// A `package.json` that breaks rules: all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidMetadata {
    /// At least one.
    pub problems: Vec<MetadataProblem>,
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MetadataProblem {
    /// The field, as a path: `checkstack.dependencies["uptime"]`. Empty for the whole document.
    pub field: String,
    /// What is wrong, and what is expected.
    pub rule: String,
}

impl PackageMetadata {
    /// Reads and checks a `package.json`.
    pub fn from_json(document: &[u8]) -> Result<Self, InvalidMetadata> {
        let fail = |rule: String| InvalidMetadata { problems: vec![MetadataProblem { field: String::new(), rule }] };
        // A byte order mark is common in files from Windows and no reason to refuse.
        let document = document.strip_prefix(b"\xef\xbb\xbf").unwrap_or(document);
        let root: Value = serde_json::from_slice(document).map_err(|error| fail(format!("is not JSON: {error}")))?;
        let Value::Object(root) = root else {
            return Err(fail(format!("must be a JSON object, not {}", kind(&root))));
        };
        let mut problems = Problems::default();
        match reading::read_package(&Object { path: String::new(), fields: &root }, &mut problems) {
            Some(metadata) if problems.0.is_empty() => Ok(metadata),
            _ => Err(InvalidMetadata { problems: problems.0 }),
        }
    }
}

impl PluginType {
    /// As in `package.json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Frontend => "frontend",
            Self::Common => "common",
        }
    }
}

impl fmt::Display for PluginType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Display for MetadataProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.is_empty() {
            true => formatter.write_str(&self.rule),
            false => write!(formatter, "{} {}", self.field, self.rule),
        }
    }
}

impl fmt::Display for InvalidMetadata {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// More than these would not be read, but would fill a status.
        const SHOWN: usize = 20;
        write!(formatter, "package.json failed validation: ")?;
        for (index, problem) in self.problems.iter().take(SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(formatter, "{separator}{problem}")?;
        }
        match self.problems.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(formatter, "; and {more} more"),
        }
    }
}

impl std::error::Error for InvalidMetadata {}
