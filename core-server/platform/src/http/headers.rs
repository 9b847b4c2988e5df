//! Header fields that the platform takes away, and those that it adds.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Fields that concern one connection only (RFC 9110 §7.6.1), with those that say so by custom.
const HOP_BY_HOP: [HeaderName; 8] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Removes hop-by-hop fields, those included that `Connection` names.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
            .collect();
        headers.remove(header::CONNECTION);
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// What a page of a plugin may load, when the plugin does not say so itself: nothing.
const DEFAULT_CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// On every answer below `/api/` (platform facts §1.7), whatever the plugin says; but what its own pages may load is
/// for the plugin to say.
pub(super) fn add_security_headers(headers: &mut HeaderMap) {
    const SECURITY: [(HeaderName, HeaderValue); 3] = [
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000; includeSubDomains")),
    ];
    for (name, value) in SECURITY {
        headers.insert(name, value);
    }
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(DEFAULT_CONTENT_SECURITY_POLICY);
}

/// A page of a plugin may run scripts, if it says so, but not as this origin: they would act with the session of whoever looks
/// at the page.
pub(super) fn confine_page(headers: &mut HeaderMap) {
    headers.append(header::CONTENT_SECURITY_POLICY, CONFINED);
}

const CONFINED: HeaderValue = HeaderValue::from_static("sandbox allow-downloads allow-forms allow-popups allow-scripts");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_by_hop_fields_and_those_that_connection_names_are_removed() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Secret"),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x-other", "1"),
            ("te", "trailers"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic x"),
            ("accept", "text/html"),
            ("authorization", "Bearer x"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        strip_hop_by_hop(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "authorization"]);
    }

    #[test]
    fn security_headers_replace_those_of_a_plugin() {
        let mut headers = HeaderMap::new();
        headers.append(header::X_FRAME_OPTIONS, HeaderValue::from_static("ALLOWALL"));
        add_security_headers(&mut headers);
        assert_eq!(headers.get_all(header::X_FRAME_OPTIONS).iter().collect::<Vec<_>>(), ["DENY"]);
        assert_eq!(headers.len(), 4);
    }

    #[test]
    fn a_page_may_say_what_it_loads() {
        let mut headers = HeaderMap::new();
        add_security_headers(&mut headers);
        assert_eq!(headers[header::CONTENT_SECURITY_POLICY], DEFAULT_CONTENT_SECURITY_POLICY);
        let own = HeaderValue::from_static("default-src 'none'; style-src 'sha256-x'");
        let mut headers = HeaderMap::from_iter([(header::CONTENT_SECURITY_POLICY, own.clone())]);
        add_security_headers(&mut headers);
        assert_eq!(headers.get_all(header::CONTENT_SECURITY_POLICY).iter().collect::<Vec<_>>(), [&own]);
        // Of several policies a browser obeys all.
        confine_page(&mut headers);
        assert_eq!(headers.get_all(header::CONTENT_SECURITY_POLICY).iter().collect::<Vec<_>>(), [&own, &CONFINED]);
        assert!(!CONFINED.to_str().unwrap().contains("allow-same-origin"));
    }
}
