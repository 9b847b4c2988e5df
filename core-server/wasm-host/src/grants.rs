//! What a plugin may send: origins it may reach and header fields it may set.
//!
//! Pure: names are judged here, addresses in [`addresses`](crate::addresses) when they are known.

use std::fmt;

use checkstack_plugin_package::HttpGrant;
use http::HeaderName;
use ipnet::IpNet;
use url::{Host, Url};

/// `spec.grants.http`, understood.
#[derive(Debug, Clone, Default)]
pub(crate) struct HttpPolicy {
    origins: Vec<OriginPattern>,
    pub(crate) allowed_ranges: Vec<IpNet>,
}

/// An entry of `spec.grants.http.allow` that is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("spec.grants.http.allow: '{pattern}' {problem}; write an origin like https://api.acme.io or http://*.acme.io:8080")]
pub(crate) struct InvalidOrigin {
    pattern: String,
    problem: &'static str,
}

/// Why a URL may not be requested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefusedUrl {
    #[error("'{0}' is not an absolute URL: {1}")]
    NotAUrl(String, url::ParseError),
    #[error("scheme '{0}' is not http or https")]
    Scheme(String),
    #[error("a URL with a user name or password is refused: send an authorization header")]
    UserInfo,
    #[error("no grant covers {0}; spec.grants.http.allow must contain it")]
    NoGrant(Origin),
}

/// Scheme, host and port of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: Scheme,
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct OriginPattern {
    scheme: Scheme,
    host: HostPattern,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    Exactly(Host),
    /// One or more labels before this name.
    Below(String),
}

impl HttpPolicy {
    pub(crate) fn new(grant: &HttpGrant) -> Result<Self, InvalidOrigin> {
        let origins = grant.allow.iter().map(|pattern| OriginPattern::parse(pattern)).collect::<Result<_, _>>()?;
        Ok(Self { origins, allowed_ranges: grant.allow_cidrs.clone() })
    }

    /// The URL, if it may be requested.
    pub(crate) fn check(&self, text: &str) -> Result<Url, RefusedUrl> {
        let mut url = Url::parse(text).map_err(|error| RefusedUrl::NotAUrl(shown(text), error))?;
        let scheme = Scheme::of(url.scheme()).ok_or_else(|| RefusedUrl::Scheme(shown(url.scheme())))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(RefusedUrl::UserInfo);
        }
        let host = url.host().map(|host| without_trailing_dot(host.to_owned()));
        let (Some(host), Some(port)) = (host, url.port_or_known_default()) else {
            return Err(RefusedUrl::NotAUrl(shown(text), url::ParseError::EmptyHost));
        };
        let origin = Origin { scheme, host, port };
        if !self.origins.iter().any(|pattern| pattern.matches(&origin)) {
            return Err(RefusedUrl::NoGrant(origin));
        }
        url.set_fragment(None);
        Ok(url)
    }
}

impl OriginPattern {
    fn parse(pattern: &str) -> Result<Self, InvalidOrigin> {
        let invalid = |problem| InvalidOrigin { pattern: shown(pattern), problem };
        let (scheme, rest) = pattern.split_once("://").ok_or_else(|| invalid("has no scheme"))?;
        let scheme = Scheme::of(&scheme.to_ascii_lowercase()).ok_or_else(|| invalid("has a scheme other than http and https"))?;
        let wildcard = rest.strip_prefix("*.");
        let name = wildcard.unwrap_or(rest);
        let name = name.strip_suffix('/').unwrap_or(name);
        if name.contains('*') {
            return Err(invalid("has a '*' that is not the whole first label"));
        }
        if name.contains(['/', '\\', '?', '#']) {
            return Err(invalid("has more than scheme, host and port"));
        }
        if name.contains('@') {
            return Err(invalid("has a user name or password"));
        }
        // Judged by the parser that judges the URLs, so that both mean the same host.
        let url = Url::parse(&format!("{scheme}://{name}")).map_err(|_| invalid("is not an origin"))?;
        let host = url.host().map(|host| without_trailing_dot(host.to_owned()));
        let (Some(host), Some(port)) = (host, url.port_or_known_default()) else { return Err(invalid("has no host")) };
        let host = match (wildcard, host) {
            (None, host) => HostPattern::Exactly(host),
            (Some(_), Host::Domain(name)) => HostPattern::Below(name),
            (Some(_), _) => return Err(invalid("has a wildcard before an address")),
        };
        Ok(Self { scheme, host, port })
    }

    fn matches(&self, origin: &Origin) -> bool {
        self.scheme == origin.scheme
            && self.port == origin.port
            && match (&self.host, &origin.host) {
                (HostPattern::Exactly(expected), host) => expected == host,
                (HostPattern::Below(parent), Host::Domain(name)) => {
                    name.strip_suffix(parent.as_str()).and_then(|labels| labels.strip_suffix('.')).is_some_and(|labels| !labels.is_empty())
                }
                (HostPattern::Below(_), _) => false,
            }
    }
}

impl Scheme {
    fn of(text: &str) -> Option<Self> {
        match text {
            "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            _ => None,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.scheme, self.host)?;
        match (self.scheme, self.port) {
            (Scheme::Http, 80) | (Scheme::Https, 443) => Ok(()),
            (_, port) => write!(formatter, ":{port}"),
        }
    }
}

/// Fields that belong to the connection, or decide where one message ends and the next begins.
pub(crate) fn is_forbidden_header(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "host"
            | "connection"
            | "content-length"
            | "transfer-encoding"
            | "te"
            | "trailer"
            | "upgrade"
            | "keep-alive"
            | "expect"
            | "http2-settings"
    ) || name.as_str().starts_with("proxy-")
}

/// `acme.io.` and `acme.io` are one name.
fn without_trailing_dot(host: Host) -> Host {
    match host {
        Host::Domain(name) => Host::Domain(name.strip_suffix('.').map_or_else(|| name.clone(), str::to_owned)),
        address => address,
    }
}

/// What a plugin or an admin wrote, short and on one line.
fn shown(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(allow: &[&str]) -> HttpPolicy {
        HttpPolicy::new(&HttpGrant { allow: allow.iter().map(ToString::to_string).collect(), ..HttpGrant::default() }).unwrap()
    }

    fn allows(pattern: &str, url: &str) -> bool {
        policy(&[pattern]).check(url).is_ok()
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (pattern, url) in [
            ("https://api.acme.io", "https://api.acme.io/v1?x=1#f"),
            ("https://api.acme.io", "https://api.acme.io:443/"),
            ("https://api.acme.io:443", "https://api.acme.io"),
            ("https://api.acme.io/", "https://api.acme.io"),
            ("HTTPS://API.Acme.IO", "https://api.acme.io"),
            ("https://api.acme.io", "HTTPS://API.ACME.IO/"),
            ("https://api.acme.io", "https://api.acme.io./"),
            ("https://api.acme.io.", "https://api.acme.io/"),
            ("http://catalog.shop.svc:8080", "http://catalog.shop.svc:8080/items"),
            ("http://10.0.0.5", "http://10.0.0.5/"),
            ("http://10.0.0.5", "http://0xa.5/"),
            ("http://[fd12::1]:8080", "http://[fd12:0::1]:8080/"),
            ("https://bücher.example", "https://xn--bcher-kva.example/"),
            ("https://xn--bcher-kva.example", "https://BÜCHER.example/"),
        ] {
            assert!(allows(pattern, url), "{pattern} should allow {url}");
        }
        for (pattern, url) in [
            ("https://api.acme.io", "http://api.acme.io/"),
            ("https://api.acme.io", "https://api.acme.io:8443/"),
            ("https://api.acme.io", "https://acme.io/"),
            ("https://api.acme.io", "https://x.api.acme.io/"),
            ("https://api.acme.io", "https://api.acme.io.evil.example/"),
            ("https://api.acme.io", "https://evil.example/api.acme.io"),
            ("https://api.acme.io", "https://evil.example#api.acme.io"),
            ("https://api.acme.io", "https://evil.example\\@api.acme.io/"),
            ("https://api.acme.io", "https://api.acme.io@evil.example/"),
        ] {
            assert!(!allows(pattern, url), "{pattern} should not allow {url}");
        }
    }

    #[test]
    fn a_wildcard_is_one_or_more_labels_and_never_the_apex() {
        let pattern = "https://*.acme.io";
        assert!(allows(pattern, "https://api.acme.io/"));
        assert!(allows(pattern, "https://eu.api.ACME.io./"));
        for url in [
            "https://acme.io/",
            "https://.acme.io/",
            "https://notacme.io/",
            "https://api.acme.io.evil.example/",
            "https://api.acme.io:8443/",
        ] {
            assert!(!allows(pattern, url), "{url}");
        }
    }

    #[test]
    fn other_patterns_are_refused_and_named() {
        for pattern in [
            "",
            "acme.io",
            "*",
            "https://",
            "https://*",
            "https://*.",
            "ftp://acme.io",
            "https://acme.io/v1",
            "https://a.*.io",
            "https://*acme.io",
            "https://u:p@acme.io",
            "https://acme.io?x",
            "https://acme.io#x",
            "https://acme.io:99999",
            "http://*.10.0.0.1",
            "https://*.[::1]",
            "https://acme.io//",
            "https://a b",
        ] {
            let grant = HttpGrant { allow: vec![pattern.into()], ..HttpGrant::default() };
            let Err(error) = HttpPolicy::new(&grant) else { panic!("'{pattern}' was accepted") };
            assert!(error.to_string().contains(pattern), "{error}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_grant() {
        let refusal = |url: &str| policy(&["https://api.acme.io"]).check(url).unwrap_err();
        assert_eq!(
            refusal("http://other.example:8080/x").to_string(),
            "no grant covers http://other.example:8080; spec.grants.http.allow must contain it"
        );
        assert_eq!(refusal("https://user:secret@api.acme.io/"), RefusedUrl::UserInfo);
        assert!(matches!(refusal("file:///etc/passwd"), RefusedUrl::Scheme(_)));
        assert!(matches!(refusal("/relative"), RefusedUrl::NotAUrl(..)));
    }

    #[test]
    fn without_a_grant_nothing_is_allowed() {
        assert!(matches!(HttpPolicy::default().check("https://acme.io"), Err(RefusedUrl::NoGrant(_))));
    }

    #[test]
    fn fields_of_the_connection_are_forbidden() {
        for name in ["Host", "connection", "Content-Length", "transfer-encoding", "TE", "Upgrade", "Proxy-Authorization", "proxy-anything"]
        {
            assert!(is_forbidden_header(&name.parse().unwrap()), "{name}");
        }
        for name in ["authorization", "content-type", "accept", "x-proxy", "cookie"] {
            assert!(!is_forbidden_header(&name.parse().unwrap()), "{name}");
        }
    }

    fn label() -> impl Strategy<Value = String> {
        "[a-z]([a-z0-9-]{0,8}[a-z0-9])?".prop_filter("not the form of an encoded label", |label| !label.contains("--"))
    }

    proptest! {
        #[test]
        fn a_host_matches_a_wildcard_only_below_it(labels in prop::collection::vec(label(), 0..4), parent in prop::collection::vec(label(), 2..4), port in 1_u16..) {
            let parent = parent.join(".");
            let host = labels.iter().map(String::as_str).chain([parent.as_str()]).collect::<Vec<_>>().join(".");
            let policy = policy(&[&format!("http://*.{parent}:{port}")]);
            prop_assert_eq!(policy.check(&format!("http://{host}:{port}/x")).is_ok(), !labels.is_empty());
            // A name that only ends in the same characters belongs to someone else.
            let foreign = format!("http://x{parent}:{port}/");
            prop_assert!(policy.check(&foreign).is_err());
        }

        #[test]
        fn no_text_is_allowed_whose_host_was_not_granted(text in "(https?://)?[a-z@:/\\\\.#?%0-9\\[\\]*]{0,40}") {
            if let Ok(url) = policy(&["https://api.acme.io"]).check(&text) {
                prop_assert_eq!(url.host_str().map(|host| host.trim_end_matches('.')), Some("api.acme.io"));
                prop_assert_eq!(url.scheme(), "https");
                prop_assert_eq!(url.port_or_known_default(), Some(443));
            }
        }
    }
}
