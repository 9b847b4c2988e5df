//! Answers are sent compressed to those who can read that (RFC 9110 §8.4.1, §12.5.3).
//!
//! Bodies are in memory as a whole, and are compressed as a whole: short ones at once, longer ones on a thread that serves nobody, one or a
//! few at a time. What finds no turn, and what is very long, goes as it is.

use std::io::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::sync::Semaphore;

use super::budget::BodyBudget;

/// Shorter bodies fit into a packet or two anyway.
const SHORTEST: u64 = 1024;
/// Takes about as long as a call.
const AT_ONCE: u64 = 16 * 1024;
/// Takes some ten milliseconds.
const LONGEST: u64 = 1024 * 1024;

/// See the module.
#[derive(Clone)]
pub(super) struct Compression {
    turns: Arc<Semaphore>,
}

/// How the answer to a request may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted {
    gzip: bool,
}

impl Accepted {
    /// By the request. What is asked with HEAD has the fields of what is sent as it is.
    pub(super) fn by(method: &Method, headers: &HeaderMap) -> Self {
        Self { gzip: method != Method::HEAD && accepts(headers, "gzip") }
    }
}

impl Compression {
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { turns: Arc::new(Semaphore::new(cores.div_ceil(2))) }
    }

    /// The response as it is sent. Its body counts among all bodies, as it did before.
    pub(super) async fn apply(&self, accepted: Accepted, mut response: Response, bodies: &BodyBudget) -> Response {
        let Some(length) = response.body().size_hint().exact().filter(|length| *length >= SHORTEST) else { return response };
        if !may_be_compressed(response.status(), response.headers()) {
            return response;
        }
        // For caches, whoever asked this time.
        response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
        if !accepted.gzip || length > LONGEST {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        // It is in memory: this does not fail.
        let Ok(bytes) = body.collect().await.map(|body| body.to_bytes()) else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
        let compressed = self.compressed(bytes.clone()).await;
        match compressed.and_then(|compressed| bodies.counted(compressed.into()).ok()) {
            Some(compressed) => {
                describe(&mut parts.headers);
                Response::from_parts(parts, Body::from(compressed))
            }
            None => Response::from_parts(parts, Body::from(bytes)),
        }
    }

    /// None when there is no turn, or nothing is gained.
    async fn compressed(&self, bytes: Bytes) -> Option<Vec<u8>> {
        let length = bytes.len();
        let compressed = if length as u64 <= AT_ONCE {
            gzip(&bytes)
        } else {
            let turn = Arc::clone(&self.turns).try_acquire_owned().ok()?;
            let work = move || {
                let _turn = turn;
                gzip(&bytes)
            };
            tokio::task::spawn_blocking(work).await.ok()?
        };
        compressed.filter(|compressed| compressed.len() < length)
    }
}

fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Level::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

/// What is different about a compressed answer.
fn describe(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::ACCEPT_RANGES);
    // A strong one is of the bytes that are sent (RFC 9110 §8.8.3).
    let weak =
        headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).filter(|tag| !tag.starts_with("W/")).map(|tag| format!("W/{tag}"));
    if let Some(weak) = weak.and_then(|tag| HeaderValue::try_from(tag).ok()) {
        headers.insert(header::ETAG, weak);
    }
}

fn may_be_compressed(status: StatusCode, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    status != StatusCode::PARTIAL_CONTENT
        && !headers.contains_key(header::CONTENT_ENCODING)
        && !text(header::CACHE_CONTROL).to_ascii_lowercase().contains("no-transform")
        && is_compressible(text(header::CONTENT_TYPE))
}

/// Text, in the wider sense. Pictures and archives are compressed already.
fn is_compressible(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let Some((kind, subtype)) = media_type.split_once('/') else { return false };
    match kind {
        "text" => subtype != "event-stream",
        "application" => {
            matches!(subtype, "json" | "javascript" | "xml" | "wasm" | "manifest+json" | "x-ndjson") || has_text_suffix(subtype)
        }
        "image" => subtype == "svg+xml",
        _ => false,
    }
}

fn has_text_suffix(subtype: &str) -> bool {
    subtype.ends_with("+json") || subtype.ends_with("+xml")
}

/// This coding, or anything, with a weight that is not zero.
pub(super) fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let codings =
        headers.get_all(header::ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let (mut named, mut any) = (None, None);
    for coding in codings {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let is_wanted = weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0));
        match name.as_str() {
            "x-gzip" if wanted == "gzip" => named = Some(is_wanted),
            name if name == wanted => named = Some(is_wanted),
            "*" => any = Some(is_wanted),
            _ => {}
        }
    }
    named.or(any).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    const PLENTY: usize = 64 * 1024 * 1024;
    const GZIP: Accepted = Accepted { gzip: true };

    fn accepted(method: &Method, encodings: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in encodings {
            headers.append(header::ACCEPT_ENCODING, HeaderValue::try_from(*value).unwrap());
        }
        Accepted::by(method, &headers).gzip
    }

    fn response(body: impl Into<Body>, fields: &[(&'static str, &str)]) -> Response {
        let mut response = Response::new(body.into());
        for (name, value) in fields {
            response.headers_mut().insert(*name, HeaderValue::try_from(*value).unwrap());
        }
        response
    }

    const JSON: (&str, &str) = ("content-type", "application/json");

    async fn sent(accepted: Accepted, response: Response) -> (HeaderMap, Vec<u8>) {
        let (parts, body) = Compression::new().apply(accepted, response, &BodyBudget::new(PLENTY)).await.into_parts();
        (parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
    }

    #[test]
    fn gzip_is_taken_from_who_wants_it() {
        for encodings in [&["gzip"][..], &["gzip, deflate, br"], &["br", "gzip;q=0.5"], &["*"], &["X-GZIP"], &["*;q=0, gzip"]] {
            assert!(accepted(&Method::GET, encodings), "{encodings:?}");
        }
        for encodings in [&[][..], &["br"], &["identity"], &["gzip;q=0"], &["gzip; q=0.000"], &["*;q=0"], &["gzip;q=0, *"], &["gzip;q=x"]] {
            assert!(!accepted(&Method::GET, encodings), "{encodings:?}");
        }
        assert!(!accepted(&Method::HEAD, &["gzip"]));
    }

    #[tokio::test]
    async fn what_is_sent_is_what_was_answered() {
        for length in [1_024, 16_384, 16_385, 1_048_576] {
            let body: Vec<u8> = (0..length).map(|at| b"checkstack"[at % 10]).collect();
            let fields = [JSON, ("etag", "\"1\""), ("content-length", "5"), ("accept-ranges", "bytes"), ("vary", "cookie")];
            let (headers, bytes) = sent(GZIP, response(body.clone(), &fields)).await;
            assert!(bytes.len() < body.len() / 5, "{} of {length}", bytes.len());
            assert_eq!(
                (&headers["content-encoding"], &headers["etag"]),
                (&"gzip".parse().unwrap(), &"W/\"1\"".parse::<HeaderValue>().unwrap())
            );
            assert!(!headers.contains_key("content-length") && !headers.contains_key("accept-ranges"));
            assert_eq!(headers.get_all("vary").iter().collect::<Vec<_>>(), ["cookie", "accept-encoding"]);
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == body);
        }
    }

    #[tokio::test]
    async fn what_would_not_gain_goes_as_it_is() {
        let body = || vec![b'a'; 4096];
        let noise: Vec<u8> = (0..4096).map(|_| rand::random()).collect();
        for (accepted, response, varies) in [
            (Accepted { gzip: false }, response(body(), &[JSON]), true),
            (GZIP, response(vec![b'a'; 1023], &[JSON]), false),
            (GZIP, response(vec![b'a'; 1024 * 1024 + 1], &[JSON]), true),
            (GZIP, response(body(), &[("content-type", "image/png")]), false),
            (GZIP, response(body(), &[("content-type", "text/event-stream")]), false),
            (GZIP, response(body(), &[]), false),
            (GZIP, response(body(), &[JSON, ("content-encoding", "br")]), false),
            (GZIP, response(body(), &[JSON, ("cache-control", "public, No-Transform")]), false),
            (GZIP, response(noise, &[JSON]), true),
        ] {
            let length = response.body().size_hint().exact().unwrap();
            let encoding = response.headers().get("content-encoding").cloned();
            let (headers, bytes) = sent(accepted, response).await;
            assert_eq!((bytes.len() as u64, headers.get("content-encoding")), (length, encoding.as_ref()), "{headers:?}");
            assert_eq!(headers.contains_key("vary"), varies, "{headers:?}");
        }
        let mut part = response(body(), &[JSON]);
        *part.status_mut() = StatusCode::PARTIAL_CONTENT;
        assert!(!sent(GZIP, part).await.0.contains_key("content-encoding"));
    }

    #[tokio::test]
    async fn long_bodies_wait_for_nobody() {
        let compression = Compression::new();
        let all = u32::try_from(compression.turns.available_permits()).unwrap();
        let turns = compression.turns.clone().acquire_many_owned(all).await.unwrap();
        let long = || response(vec![b'a'; 100_000], &[JSON]);
        let bodies = BodyBudget::new(PLENTY);
        assert!(!compression.apply(GZIP, long(), &bodies).await.headers().contains_key("content-encoding"));
        assert!(compression.apply(GZIP, response(vec![b'a'; 2048], &[JSON]), &bodies).await.headers().contains_key("content-encoding"));
        drop(turns);
        assert!(compression.apply(GZIP, long(), &bodies).await.headers().contains_key("content-encoding"));
    }

    #[tokio::test]
    async fn what_is_compressed_counts_among_all_bodies() {
        // Hexadecimal digits of noise: half of them are left.
        let noise: String = (0..500_000).map(|_| char::from(b"0123456789abcdef"[usize::from(rand::random::<u8>() % 16)])).collect();
        let (compression, bodies) = (Compression::new(), BodyBudget::new(400_000));
        let first = compression.apply(GZIP, response(noise.clone(), &[JSON]), &bodies).await;
        assert!(first.headers().contains_key("content-encoding"));
        let second = compression.apply(GZIP, response(noise.clone(), &[JSON]), &bodies).await;
        assert!(!second.headers().contains_key("content-encoding"), "there is no room for another body, and so the first one is sent");
        drop(first);
        assert!(compression.apply(GZIP, response(noise, &[JSON]), &bodies).await.headers().contains_key("content-encoding"));
    }

    #[test]
    fn text_in_the_wider_sense_is_compressible() {
        for compressible in
            ["text/html; charset=utf-8", "Application/JSON", "application/problem+json", "image/svg+xml", "application/wasm"]
        {
            assert!(is_compressible(compressible), "{compressible}");
        }
        for other in ["", "json", "image/jpeg", "application/octet-stream", "application/zip", "font/woff2"] {
            assert!(!is_compressible(other), "{other}");
        }
    }
}
