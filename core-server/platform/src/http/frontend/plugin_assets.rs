//! `/assets/plugins/<package>/…`: the files for browsers of the version of a plugin that serves now. The name of a package has a slash in it
//! when it has a scope.

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use tracing::warn;

use super::file_types::{cache_control, content_type};
use super::representation::{Representation, is_known};
use crate::artifacts::ArtifactAssets;
use crate::http::budget::overloaded;
use crate::http::{Shared, headers};

/// Where the files of a package are.
pub(in crate::http) fn path_of(package: &str) -> String {
    format!("/assets/plugins/{package}")
}

/// The answer, if there is such a file. `path` is what comes after `/assets/plugins/`.
pub(super) async fn answer(shared: &Shared, path: &str, sent: &HeaderMap) -> Option<Response> {
    let (package, path) = split(path)?;
    // For as long as it is read, the version is not taken down.
    let call = shared.table.enter_package(package)?;
    let mut response = file(shared, call.assets()?, path, sent).await?;
    // As a page it would act with the session of whoever looks at it; as a script of the web UI it may, as an admin has granted.
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    headers::confine_page(response.headers_mut());
    Some(response)
}

async fn file(shared: &Shared, assets: &ArtifactAssets, path: &str, sent: &HeaderMap) -> Option<Response> {
    let place = assets.place(path)?;
    let length = tokio::fs::symlink_metadata(&place).await.ok().filter(std::fs::Metadata::is_file)?.len();
    let mut file = Representation {
        content: Bytes::new(),
        coded: Vec::new(),
        content_type: content_type(path),
        cache_control: cache_control(path),
        tag: assets.digest.hex().chars().take(32).collect(),
    };
    if !is_known(sent, &format!("\"{}\"", file.tag)) {
        let mut share = shared.bodies.share();
        if share.grow_to(usize::try_from(length).ok()?).is_err() {
            return Some(overloaded());
        }
        match tokio::fs::read(&place).await {
            Ok(content) => file.content = share.hold(content.into()),
            Err(error) => {
                warn!(file = %place.display(), %error, "a file of a plugin cannot be read");
                return None;
            }
        }
    }
    Some(file.answer(sent))
}

/// The name of a package, and the path in it.
fn split(path: &str) -> Option<(&str, &str)> {
    let scope = if path.starts_with('@') { path.find('/')? + 1 } else { 0 };
    let end = scope + path.get(scope..)?.find('/')?;
    Some((path.get(..end)?, path.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_a_part_of_the_name() {
        for (path, expected) in [
            ("@acme/widget/a/b.js", Some(("@acme/widget", "a/b.js"))),
            ("widget/b.js", Some(("widget", "b.js"))),
            ("widget/", Some(("widget", ""))),
            ("widget", None),
            ("@acme/widget", None),
            ("@acme", None),
            ("", None),
        ] {
            assert_eq!(split(path), expected, "{path}");
        }
    }
}
