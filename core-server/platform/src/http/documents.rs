//! Small documents about the instance itself (platform facts §1.8): `/api/config`, `/api/plugins`, `/api/about`.

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use checkstack_calls::access::Principal;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Serialize;

use super::frontend::path_of;
use super::{Shared, headers, json_response, openapi};
use crate::dispatch::Endpoint;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Document {
    Config,
    Plugins,
    About,
}

/// What the instance says about itself, for all documents.
pub(crate) struct About {
    /// The address that people use.
    pub(crate) base_url: String,
    /// Of the server.
    pub(crate) version: String,
}

/// What a web UI has to know before anybody has signed in.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Config<'a> {
    base_url: &'a str,
}

/// A plugin with a part in the web UI.
#[derive(Serialize)]
pub(super) struct FrontendPlugin {
    name: String,
    path: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    #[serde(skip_serializing_if = "Option::is_none")]
    core_version: Option<String>,
    plugins: Vec<PluginVersion>,
}

#[derive(Serialize)]
struct PluginVersion {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(rename = "type")]
    plugin_type: &'static str,
}

/// The document at this path.
pub(super) fn at(path: &str) -> Option<Document> {
    match path {
        "/api/config" => Some(Document::Config),
        "/api/plugins" => Some(Document::Plugins),
        "/api/about" => Some(Document::About),
        _ => None,
    }
}

/// Answers a request for it.
pub(super) async fn answer(shared: &Shared, document: Document, request: Request) -> Response {
    let mut response = match (request.method(), document) {
        (&Method::GET | &Method::HEAD, Document::Config) => json_response(StatusCode::OK, &config(shared)),
        (&Method::GET | &Method::HEAD, Document::Plugins) => json_response(StatusCode::OK, &plugins(shared)),
        (&Method::GET | &Method::HEAD, Document::About) => about(shared, request.headers()).await,
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers::add_security_headers(response.headers_mut());
    response
}

pub(super) fn config(shared: &Shared) -> Config<'_> {
    Config { base_url: &shared.about.base_url }
}

/// Those that serve now.
pub(super) fn plugins(shared: &Shared) -> Vec<FrontendPlugin> {
    let serving = shared.table.serving();
    let packages = serving.iter().filter_map(|endpoint| endpoint.package()).filter(|package| package.assets.is_some());
    packages.map(|package| FrontendPlugin { path: path_of(&package.name), name: package.name.clone() }).collect()
}

/// Which versions run here is for those who have shown who they are: to others it says which known faults to try.
async fn about(shared: &Shared, sent: &HeaderMap) -> Response {
    let shows_versions = match shared.identity().principal(sent).await {
        Ok(principal) => matches!(principal, Some(Principal::User(_) | Principal::Application(_))),
        Err(problem) => return openapi::not_identified(&problem),
    };
    let version = |text: &str| shows_versions.then(|| text.to_owned());
    let plugin = |endpoint: &Endpoint| match endpoint.package() {
        Some(package) => (package.name.clone(), version(&package.version)),
        None => (endpoint.plugin_id().to_string(), version(&shared.about.version)),
    };
    let serving = shared.table.serving();
    let plugins = serving
        .iter()
        .map(|endpoint| plugin(endpoint))
        .map(|(name, version)| PluginVersion { name, version, plugin_type: "backend" })
        .collect();
    json_response(StatusCode::OK, &Versions { core_version: version(&shared.about.version), plugins })
}
