//! Where a browser goes after signing in: a path of this origin, and nothing else.

use serde::{Deserialize, Serialize};
use url::Url;

const MAX_BYTES: usize = 2048;
/// No host has this name (RFC 2606): a path that leads elsewhere is seen by it.
const ORIGIN: &str = "https://origin.invalid";

/// A path with what may follow it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct ReturnTo(String);

impl ReturnTo {
    /// The path, unless a browser could be led to another origin by it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if !text.starts_with('/') || text.len() > MAX_BYTES {
            return None;
        }
        let origin = Url::parse(ORIGIN).ok()?;
        // As browsers do: a backslash is a slash, and line feeds are nothing.
        let url = origin.join(text).ok().filter(|url| url.origin() == origin.origin() && url.username().is_empty())?;
        let path = url.as_str().strip_prefix(ORIGIN)?;
        // A browser that reads it again must come to the same.
        let is_path = !path.starts_with("//") && path.len() <= MAX_BYTES;
        is_path.then(|| Self(path.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ReturnTo {
    fn default() -> Self {
        Self("/".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_paths_of_this_origin() {
        let parsed = |text: &str| ReturnTo::parse(text).map(|path| path.0);
        for path in ["/", "/systems", "/systems?filter=a%20b#top", "/a//b"] {
            assert_eq!(parsed(path).as_deref(), Some(path));
        }
        assert_eq!(parsed("/a/../b\n").as_deref(), Some("/b"));
        for elsewhere in [
            "",
            "systems",
            "https://evil.example",
            "//evil.example",
            r"/\evil.example",
            "/\t/evil.example",
            "/..//evil.example",
            "/.//evil.example",
            "javascript:alert(1)",
            " //evil.example",
        ] {
            assert_eq!(parsed(elsewhere), None, "{elsewhere}");
        }
        assert_eq!(parsed(&format!("/{}", "a".repeat(MAX_BYTES))), None);
    }

    proptest! {
        #[test]
        fn whatever_is_asked_for_leads_to_this_origin(text in r"[/\\.@:?#a\t\n% ]{0,12}") {
            if let Some(path) = ReturnTo::parse(&text) {
                let origin = Url::parse("https://checkstack.example.com").unwrap();
                let reached = origin.join(path.as_str()).unwrap();
                prop_assert_eq!(reached.origin(), origin.origin());
                prop_assert!(path.as_str().starts_with('/') && http::HeaderValue::from_str(path.as_str()).is_ok());
                prop_assert_eq!(ReturnTo::parse(path.as_str()), Some(path), "the same again");
            }
        }
    }
}
