//! Which pages may open a socket. A browser lets every page open one to every server, with the cookies of whoever looks at the page; what it
//! cannot do is to lie about where the page is from.

use http::header::{self, HeaderMap, HeaderValue};

/// Origins whose pages may open sockets, besides those of the server itself.
#[derive(Debug, Clone, Default)]
pub struct Origins(Vec<HeaderValue>);

impl Origins {
    /// These: `https://checks.example.com`. One that cannot stand in a header field allows nobody.
    pub fn new(origins: &[String]) -> Self {
        Self(origins.iter().filter_map(|origin| HeaderValue::try_from(origin).ok()).collect())
    }

    /// Whether who makes a request is no page, a page of an allowed origin, or one that was loaded from the very host that the request goes to.
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let (origin, more) = (origins.next(), origins.next());
        match (origin, more) {
            (None, _) => true,
            (Some(origin), None) => self.0.contains(origin) || self.is_own(origin, headers),
            (Some(_), Some(_)) => false,
        }
    }

    /// The page's host and port are those that the browser asks for. A page without encryption is none of a server that has it: anybody on
    /// the way may have written it.
    fn is_own(&self, origin: &HeaderValue, headers: &HeaderMap) -> bool {
        let (Ok(origin), Some(Ok(host))) = (origin.to_str(), headers.get(header::HOST).map(HeaderValue::to_str)) else { return false };
        let (page, is_encrypted) = match (origin.strip_prefix("https://"), origin.strip_prefix("http://")) {
            (Some(page), _) => (page, true),
            (None, Some(page)) => (page, false),
            (None, None) => return false,
        };
        let has_encryption = || self.0.iter().any(|known| *known == format!("https://{page}"));
        !page.is_empty() && page.eq_ignore_ascii_case(host) && (is_encrypted || !has_encryption())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_a_stranger_opens_nothing() {
        let origins = Origins::new(&["https://checks.example.com".into(), "http://localhost:5173".into(), "no\norigin".into()]);
        let allowed = |origin: &str, host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::try_from(host).unwrap());
            headers.insert(header::ORIGIN, HeaderValue::try_from(origin).unwrap());
            origins.allow(&headers)
        };
        for (origin, host, expected) in [
            ("https://checks.example.com", "10.0.0.1:3000", true),
            ("http://localhost:5173", "localhost:3000", true),
            ("http://localhost:3000", "localhost:3000", true),
            ("https://Own.example", "own.example", true),
            ("http://localhost:3001", "localhost:3000", false),
            ("https://checks.example.com.evil.example", "checks.example.com", false),
            ("https://evil.example", "checks.example.com", false),
            ("http://checks.example.com", "10.0.0.1", false),
            ("http://checks.example.com", "checks.example.com", false),
            ("null", "null", false),
            ("file://", "", false),
            ("http://", "", false),
        ] {
            assert_eq!(allowed(origin, host), expected, "{origin} at {host}");
        }
    }

    #[test]
    fn who_is_no_page_is_let_in_and_who_claims_two_origins_is_not() {
        let origins = Origins::new(&["https://a.example".into()]);
        let mut headers = HeaderMap::new();
        assert!(origins.allow(&headers));
        headers.append(header::ORIGIN, HeaderValue::from_static("https://a.example"));
        assert!(origins.allow(&headers));
        headers.append(header::ORIGIN, HeaderValue::from_static("https://a.example"));
        assert!(!origins.allow(&headers));
    }
}
