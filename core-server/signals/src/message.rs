//! What browsers and the server say to each other (platform facts §8), byte for byte.

use checkstack_sockets::Utf8Bytes;
use serde::{Deserialize, Serialize};

use crate::signal::Signal;

/// Who a socket belongs to of whom it is not known.
pub const ANONYMOUS: &str = "anonymous";

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Said<'a> {
    #[serde(rename_all = "camelCase")]
    Connected {
        user_id: &'a str,
    },
    Pong,
    Error {
        message: &'a str,
    },
}

/// The first message on a socket. None: the user is not known.
pub fn connected(user_id: Option<&str>) -> Utf8Bytes {
    text(&Said::Connected { user_id: user_id.unwrap_or(ANONYMOUS) })
}

/// What the client is told that it has done wrong.
pub fn error(message: &str) -> Utf8Bytes {
    text(&Said::Error { message })
}

/// The answer to [`Heard::Ping`].
pub(crate) fn pong() -> Utf8Bytes {
    text(&Said::Pong)
}

pub(crate) fn signal(signal: &Signal) -> Utf8Bytes {
    text(signal)
}

fn text(message: &impl Serialize) -> Utf8Bytes {
    // Strings and JSON values can always be written as JSON.
    serde_json::to_string(message).unwrap_or_default().into()
}

/// What a client may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    Ping,
    /// Of a later release, or nothing at all.
    Unknown,
    /// Not JSON.
    Malformed,
}

impl Heard {
    pub(crate) fn of(text: &str) -> Self {
        #[derive(Deserialize)]
        struct Message<'a> {
            #[serde(rename = "type", borrow)]
            kind: std::borrow::Cow<'a, str>,
        }
        match serde_json::from_str::<Message<'_>>(text) {
            Ok(message) if message.kind == "ping" => Self::Ping,
            Ok(_) => Self::Unknown,
            Err(_) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => Self::Unknown,
            Err(_) => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_are_those_of_the_original() {
        assert_eq!(connected(Some("ada")).as_str(), r#"{"type":"connected","userId":"ada"}"#);
        assert_eq!(connected(None).as_str(), r#"{"type":"connected","userId":"anonymous"}"#);
        assert_eq!(error("a \"b\"").as_str(), r#"{"type":"error","message":"a \"b\""}"#);
        assert_eq!(pong().as_str(), r#"{"type":"pong"}"#);
    }

    #[test]
    fn a_ping_is_told_from_everything_else() {
        for ping in [r#"{"type":"ping"}"#, r#" { "more": [1], "type" : "ping" } "#, r#"{"type":"p\u0069ng"}"#] {
            assert_eq!(Heard::of(ping), Heard::Ping, "{ping}");
        }
        for unknown in [r#"{"type":"pong"}"#, r#"{"type":"subscribe","to":"x"}"#, "{}", "1", "null", "[]", r#"{"type":1}"#] {
            assert_eq!(Heard::of(unknown), Heard::Unknown, "{unknown}");
        }
        for malformed in ["", "ping", "{", r#"{"type":"ping""#, "{\"type\":\"ping\"}}"] {
            assert_eq!(Heard::of(malformed), Heard::Malformed, "{malformed}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_client_says_is_one_of_these(text in ".{0,200}") {
            prop_assert!(Heard::of(&text) != Heard::Ping || text.contains("ing"));
        }
    }
}
