//! Typed clients of procedures, in Rust and in TypeScript, for plugins and for programs outside.
//!
//! The source is the OpenAPI document that the server makes of contracts (`checkstack_calls::openapi`): it is the same for parts of
//! the server and for plugins in the sandbox. A client is one file.
//!
//! - `api` reads the document: what each plugin offers, with schemas whose names are those of types.
//! - In Rust, types are made by `typify`; in TypeScript by this crate ([decision 0025](../../../docs/decisions/0025-clients.md)).
//! - How a call is made is not generated: a plugin calls through its SDK, an outsider's client has the same fixed part in all files.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests"))]

mod api;
mod names;
mod rust;
mod typescript;

use serde_json::Value;

pub use api::InvalidDocument;

/// What a client is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// One module.
    Rust,
    /// One module.
    TypeScript,
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// A plugin, through its SDK.
    Plugin,
    /// A program outside, over HTTP.
    Outsider,
}

/// What a client is to be.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// What it is written in.
    pub language: Language,
    /// Who calls.
    pub caller: Caller,
    /// Whose procedures are in it, by id; all when empty.
    pub plugins: &'a [String],
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The document is not what the server makes.
    #[error(transparent)]
    Document(#[from] InvalidDocument),
    /// It describes no procedure of that plugin.
    #[error("the description has no procedures of the plugin '{0}'; it has those of {1}")]
    UnknownPlugin(String, String),
    /// A plugin's client is of one plugin.
    #[error("the description has procedures of {0}: say of which plugin the client is to be (--plugin)")]
    SeveralPlugins(String),
    /// There is nothing to call.
    #[error("the description has no procedures")]
    Nothing,
    /// Types cannot be made of a schema.
    #[error("no Rust types can be made of the schemas of the plugin '{plugin}': {problem}")]
    Types {
        /// Whose schemas they are.
        plugin: String,
        /// What is wrong with them.
        problem: String,
    },
    /// What was made is no Rust: a fault of this crate.
    #[error("what was made is no Rust: {0}")]
    Syntax(#[from] syn::Error),
}

/// The text of a client's file, of an OpenAPI document as the server makes it.
///
/// # Errors
/// When the document is another one, or no types can be made of it.
pub fn generate(document: &Value, options: Options<'_>) -> Result<String, Error> {
    let mut plugins = api::read(document)?;
    let names = |plugins: &[api::Plugin]| plugins.iter().map(|plugin| plugin.id.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(unknown) = options.plugins.iter().find(|wanted| plugins.iter().all(|plugin| plugin.id != **wanted)) {
        return Err(Error::UnknownPlugin(unknown.clone(), names(&plugins)));
    }
    if !options.plugins.is_empty() {
        plugins.retain(|plugin| options.plugins.contains(&plugin.id));
    }
    match (options.language, options.caller, plugins.as_slice()) {
        (_, _, []) => Err(Error::Nothing),
        (Language::TypeScript, Caller::Outsider, plugins) => Ok(typescript::for_outsiders(plugins)),
        (Language::Rust, Caller::Outsider, plugins) => rust::for_outsiders(plugins),
        (Language::TypeScript, Caller::Plugin, [plugin]) => Ok(typescript::for_plugins(plugin)),
        (Language::Rust, Caller::Plugin, [plugin]) => rust::for_plugins(plugin),
        (_, Caller::Plugin, several) => Err(Error::SeveralPlugins(names(several))),
    }
}

#[cfg(test)]
mod tests;
