//! The cookies that are the server's own: only browsers keep them, and no plugin sees or sets them.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

/// Of a session.
pub(crate) use checkstack_calls::openapi::SESSION_COOKIE as SESSION;
/// Of a sign-in that has begun and is not at its end.
pub(crate) const PENDING_SIGN_IN: &str = "checkstack.pending_sign_in";
/// All.
pub(crate) const OURS: [&str; 2] = [SESSION, PENDING_SIGN_IN];

/// The first that has a value, among all cookies of a request.
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok()).flat_map(|all| all.split(';'));
    let mut named = cookies.filter_map(|cookie| cookie.trim().strip_prefix(name)?.strip_prefix('='));
    named.find(|value| !value.is_empty())
}

/// For paths that begin with `path`. Scripts cannot read it, and other sites cannot make a browser send it with anything
/// but a plain link.
pub(crate) fn set(name: &str, value: &str, path: &str, lifetime: Duration, is_encrypted: bool) -> Option<HeaderValue> {
    let secure = if is_encrypted { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path={path}; HttpOnly; SameSite=Lax; Max-Age={}{secure}", lifetime.as_secs());
    HeaderValue::from_str(&text).ok()
}

/// Whether the client's own connection is encrypted, as far as a proxy in front says so. Who lies about it harms only
/// their own cookie.
pub(crate) fn is_encrypted(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"https"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_for_the_browser_alone() {
        let text = |is_encrypted| set(SESSION, "abc", "/", Duration::from_secs(60), is_encrypted).unwrap().to_str().unwrap().to_owned();
        assert_eq!(text(false), "checkstack.session_token=abc; Path=/; HttpOnly; SameSite=Lax; Max-Age=60");
        assert_eq!(text(true), "checkstack.session_token=abc; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure");
        let proxied = HeaderMap::from_iter([(http::HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static("HTTPS"))]);
        assert!(is_encrypted(&proxied) && !is_encrypted(&HeaderMap::new()));
    }
}
