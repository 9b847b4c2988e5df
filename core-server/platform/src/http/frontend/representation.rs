//! A file as it is sent: conditional requests (RFC 9110 §13), and codings that were made beforehand.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{HeaderName, StatusCode};

use crate::http::compression;

/// The same file in another coding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Coded {
    /// As in `Content-Encoding`.
    pub(super) coding: &'static str,
    pub(super) content: Bytes,
}

/// What can be sent for a path.
#[derive(Debug, Clone)]
pub(super) struct Representation {
    pub(super) content: Bytes,
    /// Best first.
    pub(super) coded: Vec<Coded>,
    pub(super) content_type: &'static str,
    pub(super) cache_control: &'static str,
    /// Of the content, without quotes.
    pub(super) tag: String,
}

impl Representation {
    /// The answer to a request with these fields.
    pub(super) fn answer(self, sent: &HeaderMap) -> Response {
        let varies = !self.coded.is_empty();
        let coded = self.coded.into_iter().find(|coded| compression::accepts(sent, coded.coding));
        let (content, coding) = coded.map_or((self.content, None), |coded| (coded.content, Some(coded.coding)));
        // Each coding is other bytes, and so has a tag of its own.
        let tag = coding.map_or_else(|| format!("\"{}\"", self.tag), |coding| format!("\"{}-{coding}\"", self.tag));
        let is_known = is_known(sent, &tag);
        let mut response = Response::new(if is_known { Body::empty() } else { Body::from(content) });
        let headers = response.headers_mut();
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        set(header::ETAG, &tag);
        set(header::CACHE_CONTROL, self.cache_control);
        if varies {
            set(header::VARY, "accept-encoding");
        }
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        set(header::CONTENT_TYPE, self.content_type);
        if let Some(coding) = coding {
            set(header::CONTENT_ENCODING, coding);
        }
        response
    }
}

/// Whether `If-None-Match` names the tag, by the weak comparison.
pub(super) fn is_known(sent: &HeaderMap, tag: &str) -> bool {
    let values = sent.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> Representation {
        Representation {
            content: Bytes::from_static(b"script"),
            coded: vec![
                Coded { coding: "br", content: Bytes::from_static(b"b") },
                Coded { coding: "gzip", content: Bytes::from_static(b"g") },
            ],
            content_type: "text/javascript",
            cache_control: "no-cache",
            tag: "abc".to_owned(),
        }
    }

    fn answer(fields: &[(&'static str, &str)]) -> (u16, String, String) {
        let sent = fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect();
        let response = script().answer(&sent);
        let field = |name: HeaderName| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        (response.status().as_u16(), field(header::ETAG), field(header::CONTENT_ENCODING))
    }

    fn said(status: u16, tag: &str, coding: &str) -> (u16, String, String) {
        (status, tag.to_owned(), coding.to_owned())
    }

    #[test]
    fn the_best_coding_that_is_accepted_is_sent() {
        assert_eq!(answer(&[]), said(200, "\"abc\"", ""));
        assert_eq!(answer(&[("accept-encoding", "gzip, br")]), said(200, "\"abc-br\"", "br"));
        assert_eq!(answer(&[("accept-encoding", "gzip, br;q=0")]), said(200, "\"abc-gzip\"", "gzip"));
        assert_eq!(script().answer(&HeaderMap::new()).headers()[header::VARY], "accept-encoding");
    }

    #[test]
    fn what_is_known_is_not_sent_again() {
        for tags in ["\"abc\"", "W/\"abc\"", "\"x\", W/\"abc\"", "*"] {
            assert_eq!(answer(&[("if-none-match", tags)]), said(304, "\"abc\"", ""), "{tags}");
        }
        for tags in ["\"abcd\"", "abc", "\"abc-br\"", ""] {
            assert_eq!(answer(&[("if-none-match", tags)]).0, 200, "{tags}");
        }
        assert_eq!(answer(&[("if-none-match", "\"abc-br\""), ("accept-encoding", "br")]), said(304, "\"abc-br\"", ""));
    }
}
