//! What a browser is shown at `/` while there is no web UI.

use bytes::Bytes;

use super::files::tag;
use super::representation::Representation;

const PAGE: &str = include_str!("start_page.html");

/// It may load nothing but the style that is in it.
pub(super) const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page. It says nothing about the instance that not everybody may know.
pub(super) fn page() -> Representation {
    Representation {
        content: Bytes::from_static(PAGE.as_bytes()),
        coded: Vec::new(),
        content_type: "text/html; charset=utf-8",
        cache_control: "no-cache",
        tag: tag(PAGE.as_bytes()),
    }
}
