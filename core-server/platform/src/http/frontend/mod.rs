//! What browsers get: the web UI from a directory, the parts of it that plugins bring, and a start page while there is none (platform
//! facts §1.9).

mod file_types;
mod files;
mod index_page;
mod plugin_assets;
mod representation;
mod start_page;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, header};
use percent_encoding::percent_decode_str;
use serde_json::json;
use tracing::{debug, error, info};

use super::{Shared, documents, headers, not_found};
use files::{Files, Limits};
use index_page::{IndexPage, Rendered, policy};
pub(super) use plugin_assets::path_of;
use representation::Representation;

const LIMITS: Limits = Limits { entries: 10_000, bytes: 64 * 1024 * 1024 };
const INDEX: &str = "index.html";
/// Of plugins; whoever has the folder of this name has all below it.
const PLUGIN_ASSETS: &str = "assets/plugins/";

/// The web UI, where there is one.
pub(crate) struct Frontend {
    directory: PathBuf,
    ui: OnceLock<Ui>,
}

struct Ui {
    files: Files,
    index: IndexPage,
}

impl Frontend {
    /// In this directory; need not exist.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, ui: OnceLock::new() }
    }

    /// Reads the directory, once. One that cannot be used is as good as none: the API is served all the same.
    pub(crate) async fn open(&self) {
        let directory = self.directory.clone();
        match tokio::task::spawn_blocking(move || open(&directory)).await {
            Ok(Ok(Some(ui))) => {
                info!(directory = %self.directory.display(), "the web UI is served");
                // A server starts once.
                let _ = self.ui.set(ui);
            }
            Ok(Ok(None)) => debug!(directory = %self.directory.display(), "there is no web UI"),
            Ok(Err(problem)) => error!(directory = %self.directory.display(), problem, "the web UI is not served"),
            Err(problem) => error!(%problem, "the web UI is not served"),
        }
    }
}

fn open(directory: &Path) -> Result<Option<Ui>, String> {
    match std::fs::metadata(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        _ => {}
    }
    let files = Files::read(directory, LIMITS).map_err(|error| error.to_string())?;
    let index = files.get(INDEX).ok_or("it has no index.html")?;
    let index = IndexPage::new(&index.content).ok_or("index.html is not UTF-8")?;
    Ok(Some(Ui { files, index }))
}

/// Answers a request that is neither to the platform's documents nor to a plugin.
pub(super) async fn answer(shared: &Shared, request: Request) -> Response {
    let found = match *request.method() {
        Method::GET | Method::HEAD => page(shared, request.uri().path(), request.headers()).await,
        _ => None,
    };
    let mut response = found.unwrap_or_else(not_found);
    headers::add_security_headers(response.headers_mut());
    response
}

async fn page(shared: &Shared, path: &str, sent: &HeaderMap) -> Option<Response> {
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    let path = decoded.strip_prefix('/')?;
    if !is_plain(path) {
        return None;
    }
    if let Some(below) = path.strip_prefix(PLUGIN_ASSETS) {
        return plugin_assets::answer(shared, below, sent).await;
    }
    let Some(ui) = shared.frontend.ui.get() else {
        let is_asked_for = path.is_empty() && accepts_pages(sent);
        return is_asked_for.then(|| navigable(start_page::page(), sent, start_page::POLICY));
    };
    if let Some(file) = ui.files.get(path).filter(|_| path != INDEX) {
        return Some(with_policy(file.clone().answer(sent), &policy("'self'")));
    }
    // What is not there must not be answered with a page: a script of yesterday's version would be one that cannot be read.
    let is_file = path.starts_with("assets/") || path.starts_with("vendor/");
    (!is_file && wants_page(path, sent)).then(|| index(shared, ui, sent)).flatten()
}

fn index(shared: &Shared, ui: &Ui, sent: &HeaderMap) -> Option<Response> {
    let bootstrap = json!({ "config": documents::config(shared), "enabledPlugins": documents::plugins(shared) });
    let Rendered { page, policy } = ui.index.render(&bootstrap).ok()?;
    Some(navigable(page, sent, &policy))
}

/// A page that is there for those who want pages.
fn navigable(page: Representation, sent: &HeaderMap, policy: &str) -> Response {
    let mut response = with_policy(page.answer(sent), policy);
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
    response
}

fn with_policy(mut response: Response, policy: &str) -> Response {
    if let Ok(policy) = HeaderValue::try_from(policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Names joined by `/`, none of them hidden, or nothing at all. A folder of the UI may be asked for with a slash at its end.
fn is_plain(path: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['\\', '\0']);
    path.is_empty() || path.strip_suffix('/').unwrap_or(path).split('/').all(is_name)
}

/// Whether the web UI is to show what is at this path: a browser says so, and of others it is assumed where the path is not that of
/// a file.
fn wants_page(path: &str, sent: &HeaderMap) -> bool {
    let is_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    accepts_pages(sent) || (!is_file || path == INDEX) && accepts_anything(sent)
}

fn accepts_pages(sent: &HeaderMap) -> bool {
    accepts(sent, "text/html")
}

fn accepts_anything(sent: &HeaderMap) -> bool {
    !sent.contains_key(header::ACCEPT) || accepts(sent, "*/*")
}

fn accepts(sent: &HeaderMap, wanted: &str) -> bool {
    let values = sent.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    let mut types = values.flat_map(|value| value.split(',')).filter_map(|entry| entry.split(';').next());
    types.any(|media_type| media_type.trim().eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_lead_anywhere() {
        for path in ["", "index.html", "assets/a.js", "systems/1/", "a b/é"] {
            assert!(is_plain(path), "{path}");
        }
        for path in ["/", "..", "../a", "a/../b", "a//b", ".env", "a/.git/config", "a\\b", "a\0", "//", "a//"] {
            assert!(!is_plain(path), "{path:?}");
        }
    }

    #[test]
    fn a_page_is_for_who_wants_one() {
        let wants = |path: &str, accept: Option<&str>| {
            let sent = accept.map(|accept| (header::ACCEPT, HeaderValue::from_str(accept).unwrap()));
            wants_page(path, &sent.into_iter().collect())
        };
        let browser = Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
        for (path, accept, expected) in [
            ("systems/my.host", browser, true),
            ("systems", Some("*/*"), true),
            ("systems", None, true),
            ("index.html", None, true),
            ("favicon.ico", Some("image/png, */*;q=0.5"), false),
            ("systems", Some("application/json"), false),
            ("systems.json", None, false),
        ] {
            assert_eq!(wants(path, accept), expected, "{path} {accept:?}");
        }
    }
}
