//! HTTP messages on their way into and out of the guest.

use std::borrow::Cow;

use bytes::Bytes;
use checkstack_platform::plugin::{Caller, PluginRequest, PluginResponse};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::bindings::checkstack::plugin::types::{
    Caller as GuestCaller, HeaderParam as GuestHeader, HeaderResult as OwnedHeader, Request as GuestRequest, Response as GuestResponse,
};
use crate::grants::is_forbidden_header;

/// Limits of a header section that a guest wrote.
const MAX_HEADERS: usize = 256;
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// The texts of a request's header section: what is not UTF-8 has to be made so before it can be lent.
pub(crate) type HeaderTexts<'a> = Vec<(&'a str, Cow<'a, str>)>;

pub(crate) fn header_texts(headers: &HeaderMap) -> HeaderTexts<'_> {
    headers.iter().map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()))).collect()
}

/// Lends header texts to the guest.
pub(crate) fn guest_headers<'a>(texts: &'a HeaderTexts<'a>) -> Vec<GuestHeader<'a>> {
    texts.iter().map(|(name, value)| GuestHeader { name, value }).collect()
}

/// Lends a request to the guest; nothing is copied but into the guest's memory.
pub(crate) fn guest_request<'a>(request: &'a PluginRequest, headers: &'a [GuestHeader<'a>]) -> GuestRequest<'a> {
    GuestRequest {
        method: request.method.as_str(),
        path: &request.path,
        query: request.query.as_deref(),
        headers,
        body: &request.body,
        caller: match &request.caller {
            Caller::Anonymous => GuestCaller::Anonymous,
            Caller::Plugin(id) => GuestCaller::Plugin(id.as_str()),
        },
        correlation_id: &request.correlation_id,
    }
}

/// A guest's answer, if it is one.
pub(crate) fn response_from_guest(response: GuestResponse, max_body_bytes: usize) -> Result<PluginResponse, String> {
    let GuestResponse { status, headers, body } = response;
    let status = match status {
        200..=599 => StatusCode::from_u16(status).map_err(|error| error.to_string())?,
        _ => return Err(format!("status {status} is not between 200 and 599")),
    };
    if body.len() > max_body_bytes {
        return Err(format!("the body has {} bytes; at most {max_body_bytes} are allowed", body.len()));
    }
    Ok(PluginResponse { status, headers: header_map(headers, |_| true)?, body: Bytes::from(body) })
}

/// An answer of the host for the guest.
pub(crate) fn response_to_guest(response: PluginResponse) -> GuestResponse {
    GuestResponse { status: response.status.as_u16(), headers: owned_headers(&response.headers), body: Vec::from(response.body) }
}

pub(crate) fn owned_headers(headers: &HeaderMap) -> Vec<OwnedHeader> {
    let owned = |(name, value): (&HeaderName, &HeaderValue)| OwnedHeader {
        name: name.as_str().to_owned(),
        value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
    };
    headers.iter().map(owned).collect()
}

/// Header fields of a request that a guest sends. Those of the connection are not its to set.
pub(crate) fn outgoing_headers(headers: Vec<OwnedHeader>) -> Result<HeaderMap, String> {
    header_map(headers, |name| !is_forbidden_header(name))
}

pub(crate) fn method(text: &str) -> Result<Method, String> {
    match Method::from_bytes(text.as_bytes()) {
        Ok(method) if method != Method::CONNECT => Ok(method),
        _ => Err(format!("'{}' is not a method that can be used here", shown(text))),
    }
}

fn header_map(headers: Vec<OwnedHeader>, is_allowed: impl Fn(&HeaderName) -> bool) -> Result<HeaderMap, String> {
    if headers.len() > MAX_HEADERS {
        return Err(format!("it has {} header fields; at most {MAX_HEADERS} are allowed", headers.len()));
    }
    let bytes: usize = headers.iter().map(|header| header.name.len().saturating_add(header.value.len())).sum();
    if bytes > MAX_HEADER_BYTES {
        return Err(format!("its header section has {bytes} bytes; at most {MAX_HEADER_BYTES} are allowed"));
    }
    let mut map = HeaderMap::with_capacity(headers.len());
    for OwnedHeader { name, value } in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("'{}' is not a header name", shown(&name)))?;
        if !is_allowed(&name) {
            return Err(format!("header '{name}' belongs to the connection and cannot be set"));
        }
        // Takes the string's own memory.
        let value = HeaderValue::from_maybe_shared(Bytes::from(value))
            .map_err(|_| format!("the value of header '{name}' has characters that cannot be sent"))?;
        map.append(name, value);
    }
    Ok(map)
}

/// What a guest wrote, short and on one line.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn header(name: &str, value: &str) -> OwnedHeader {
        OwnedHeader { name: name.into(), value: value.into() }
    }

    fn answer(status: u16, headers: Vec<OwnedHeader>, body: &[u8]) -> Result<PluginResponse, String> {
        response_from_guest(GuestResponse { status, headers, body: body.to_vec() }, 10)
    }

    #[test]
    fn an_answer_must_be_a_response() {
        let response = answer(201, vec![header("X-A", "1"), header("x-a", "2")], b"body").unwrap();
        assert_eq!(response.status, StatusCode::CREATED);
        assert_eq!(response.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        for status in [0, 101, 199, 600, 65_535] {
            assert!(answer(status, vec![], b"").unwrap_err().contains(&status.to_string()));
        }
        assert!(answer(200, vec![], &[0; 11]).unwrap_err().contains("at most 10"));
        assert!(answer(200, vec![header("a b", "")], b"").unwrap_err().contains("'a b'"));
        assert!(answer(200, vec![header("a", "x\r\nset-cookie: y")], b"").unwrap_err().contains("'a'"));
        assert!(answer(200, vec![header("a", ""); 257], b"").is_err());
        assert!(answer(200, vec![header("a", &"x".repeat(70_000))], b"").is_err());
    }

    #[test]
    fn a_request_cannot_smuggle() {
        for name in ["Host", "transfer-encoding", "Content-Length", "connection"] {
            assert!(outgoing_headers(vec![header(name, "x")]).unwrap_err().contains("belongs to the connection"), "{name}");
        }
        assert!(outgoing_headers(vec![header("authorization", "Bearer x")]).is_ok());
        assert!(method("GET").is_ok() && method("PURGE").is_ok());
        for text in ["CONNECT", "", "G T", "GET /x HTTP/1.1\r\n"] {
            assert!(method(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_header_that_is_not_utf8_still_reaches_the_guest() {
        let mut headers = HeaderMap::new();
        headers.insert("x-raw", HeaderValue::from_bytes(b"a\xff").unwrap());
        assert_eq!(header_texts(&headers), [("x-raw", Cow::from("a\u{fffd}"))]);
    }
}
