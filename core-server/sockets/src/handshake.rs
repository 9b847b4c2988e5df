//! Whether a request may become a WebSocket (RFC 6455 §4.2).

use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, Method, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Why a request cannot become a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAHandshake {
    /// It is not a `GET`.
    #[error("a WebSocket is opened with GET")]
    Method,
    /// It does not ask for it.
    #[error("this address is a WebSocket: ask for an upgrade to 'websocket'")]
    NoUpgrade,
    /// It asks for another version of the protocol.
    #[error("version 13 of the WebSocket protocol is spoken here")]
    Version,
    /// Its key is none.
    #[error("Sec-WebSocket-Key is not 16 bytes in Base64")]
    Key,
}

impl NotAHandshake {
    /// 405, 426 or 400.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoUpgrade | Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Key => StatusCode::BAD_REQUEST,
        }
    }

    /// What the answer has to say besides (RFC 9110 §15.5.6 and §15.5.22, RFC 6455 §4.4).
    pub fn fields(self) -> Vec<(HeaderName, HeaderValue)> {
        match self {
            Self::Method => vec![(header::ALLOW, HeaderValue::from_static("GET"))],
            Self::NoUpgrade | Self::Version => vec![
                (header::UPGRADE, HeaderValue::from_static("websocket")),
                (header::CONNECTION, HeaderValue::from_static("upgrade")),
                (header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
            ],
            Self::Key => Vec::new(),
        }
    }
}

/// What the answer with status 101 has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    accept: HeaderValue,
}

impl Accepted {
    /// Its header fields.
    pub fn fields(self) -> [(HeaderName, HeaderValue); 3] {
        [
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::CONNECTION, HeaderValue::from_static("upgrade")),
            (header::SEC_WEBSOCKET_ACCEPT, self.accept),
        ]
    }
}

/// Looks at a request. Extensions and subprotocols that it offers are not taken.
///
/// # Errors
/// When it is no handshake of version 13.
pub fn check(method: &Method, headers: &HeaderMap) -> Result<Accepted, NotAHandshake> {
    if method != Method::GET {
        return Err(NotAHandshake::Method);
    }
    if !names(headers, &header::CONNECTION, "upgrade") || !names(headers, &header::UPGRADE, "websocket") {
        return Err(NotAHandshake::NoUpgrade);
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(NotAHandshake::Version);
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key.as_bytes())).ok_or(NotAHandshake::Key)?;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).map_err(|_| NotAHandshake::Key)?;
    Ok(Accepted { accept })
}

/// Whether a list in a header field has a word, in whatever case.
fn names(headers: &HeaderMap, field: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(field).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|found| found.trim().eq_ignore_ascii_case(word))
}

/// 16 bytes in Base64: 22 characters and two signs of equality.
fn is_key(key: &[u8]) -> bool {
    let is_character = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    matches!(key.split_last_chunk::<2>(), Some((characters, b"==")) if characters.len() == 22 && characters.iter().all(is_character))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455 §1.3.
    fn example() -> HeaderMap {
        let fields = [
            (header::UPGRADE, "websocket"),
            (header::CONNECTION, "keep-alive, Upgrade"),
            (header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
            (header::SEC_WEBSOCKET_VERSION, "13"),
        ];
        fields.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_example_of_the_standard_is_accepted() {
        let fields = check(&Method::GET, &example()).unwrap().fields();
        assert!(fields.contains(&(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))));
    }

    #[test]
    fn anything_else_is_told_what_is_missing() {
        let without = |field: HeaderName| {
            let mut headers = example();
            headers.remove(field);
            headers
        };
        let with = |field: HeaderName, value: &'static str| {
            let mut headers = example();
            headers.insert(field, HeaderValue::from_static(value));
            headers
        };
        for (method, headers, refusal, status) in [
            (Method::POST, example(), NotAHandshake::Method, 405),
            (Method::GET, without(header::UPGRADE), NotAHandshake::NoUpgrade, 426),
            (Method::GET, with(header::UPGRADE, "h2c"), NotAHandshake::NoUpgrade, 426),
            (Method::GET, without(header::CONNECTION), NotAHandshake::NoUpgrade, 426),
            (Method::GET, with(header::CONNECTION, "close"), NotAHandshake::NoUpgrade, 426),
            (Method::GET, without(header::SEC_WEBSOCKET_VERSION), NotAHandshake::Version, 426),
            (Method::GET, with(header::SEC_WEBSOCKET_VERSION, "8"), NotAHandshake::Version, 426),
            (Method::GET, without(header::SEC_WEBSOCKET_KEY), NotAHandshake::Key, 400),
            (Method::GET, with(header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ"), NotAHandshake::Key, 400),
            (Method::GET, with(header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZ!=="), NotAHandshake::Key, 400),
        ] {
            let refused = check(&method, &headers).unwrap_err();
            assert_eq!((refused, refused.status().as_u16()), (refusal, status), "{headers:?}");
            assert_eq!(refused.fields().is_empty(), refusal == NotAHandshake::Key);
        }
    }
}
