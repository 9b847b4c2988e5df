//! Packages by HTTP.

use std::error::Error as _;
use std::net::IpAddr;

use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Client, Response, StatusCode, redirect};
use url::{Host, Url};

use super::address::{CheckedResolver, RefusedAddress, is_allowed};
use super::{FetchError, FetchLimits};

/// Headers whose values come from a Secret. Their values are never printed.
#[derive(Clone, Default)]
pub struct SecretHeaders(HeaderMap);

impl SecretHeaders {
    /// Headers from the entries of the Secret `secret`.
    ///
    /// # Errors
    /// A name or a value is no header.
    pub fn from_entries<'a>(secret: &str, entries: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, FetchError> {
        let mut headers = HeaderMap::new();
        for (key, value) in entries {
            let invalid = || FetchError::InvalidSecretHeader { name: secret.to_owned(), key: key.to_owned() };
            let name: reqwest::header::HeaderName = key.parse().map_err(|_| invalid())?;
            // Secrets written with an editor or `echo` end with a line feed.
            let mut value = reqwest::header::HeaderValue::from_bytes(value.trim_ascii_end()).map_err(|_| invalid())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(Self(headers))
    }
}

/// Fetches by HTTP. Cheap to clone.
#[derive(Clone)]
pub struct HttpFetcher {
    client: Client,
    limits: FetchLimits,
}

impl HttpFetcher {
    /// A fetcher with these limits.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(limits: FetchLimits) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .user_agent(concat!("checkstack-operator/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(limits.connect)
            .redirect(redirect::Policy::none())
            .referer(false)
            .pool_max_idle_per_host(0)
            .dns_resolver(CheckedResolver)
            .build()?;
        Ok(Self { client, limits })
    }

    /// The bytes at `url`.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn fetch(&self, url: &str, secrets: &SecretHeaders) -> Result<Vec<u8>, FetchError> {
        let fetched = tokio::time::timeout(self.limits.total, self.follow(url, secrets)).await;
        fetched.unwrap_or_else(|_| Err(FetchError::TimedOut { url: shown(url), limit: self.limits.total }))
    }

    async fn follow(&self, start: &str, secrets: &SecretHeaders) -> Result<Vec<u8>, FetchError> {
        let start = checked_url(start)?;
        let mut url = start.clone();
        for _ in 0..=self.limits.redirects {
            let mut request = self.client.get(url.clone());
            if url.origin() == start.origin() {
                request = request.headers(secrets.0.clone());
            }
            let response = request.send().await.map_err(|error| unreachable(&url, &error))?;
            match response.status() {
                StatusCode::OK => return self.read_body(&url, response).await,
                status if status.is_redirection() => url = next_url(&url, &response)?,
                status => return Err(status_error(&url, status)),
            }
        }
        Err(FetchError::TooManyRedirects { url: shown(start.as_str()), limit: self.limits.redirects })
    }

    async fn read_body(&self, url: &Url, mut response: Response) -> Result<Vec<u8>, FetchError> {
        let too_large = || FetchError::TooLarge { location: shown(url.as_str()), limit: self.limits.size };
        let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
        if announced.is_some_and(|length| length > self.limits.size) {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(announced.unwrap_or(0));
        while let Some(chunk) = response.chunk().await.map_err(|_| FetchError::Truncated { url: shown(url.as_str()) })? {
            if bytes.len() + chunk.len() > self.limits.size {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

fn checked_url(text: &str) -> Result<Url, FetchError> {
    let invalid = |reason: &str| FetchError::InvalidUrl { url: shown(text), reason: reason.to_owned() };
    let url = Url::parse(text).map_err(|error| invalid(&error.to_string()))?;
    check_target(&url).map_err(invalid)?;
    Ok(url)
}

/// What holds for the first URL and for every redirect.
fn check_target(url: &Url) -> Result<(), &'static str> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err("only http and https are supported");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it must not contain a user name or a password; use secretHeadersRef");
    }
    let literal = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(Host::Domain(_)) => None,
        None => return Err("it has no host"),
    };
    if literal.is_some_and(|address| !is_allowed(address)) {
        return Err("packages are not fetched from link-local addresses");
    }
    Ok(())
}

fn next_url(from: &Url, response: &Response) -> Result<Url, FetchError> {
    let Some(target) = response.headers().get(LOCATION).and_then(|location| location.to_str().ok()) else {
        return Err(status_error(from, response.status()));
    };
    let refused =
        |reason: &str| FetchError::RefusedRedirect { url: shown(from.as_str()), target: shown(target), reason: reason.to_owned() };
    let next = from.join(target).map_err(|error| refused(&error.to_string()))?;
    check_target(&next).map_err(refused)?;
    if from.scheme() == "https" && next.scheme() == "http" {
        return Err(refused("it leaves https"));
    }
    Ok(next)
}

fn status_error(url: &Url, status: StatusCode) -> FetchError {
    let url = shown(url.as_str());
    let code = status.as_u16();
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => FetchError::NotFound { url, status: code },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            FetchError::AccessDenied { url, status: code }
        }
        _ => FetchError::UnexpectedStatus { url, status: code },
    }
}

/// The kind of failure in words that are the same each time: the operating system's own texts hold
/// port numbers and the like.
fn unreachable(url: &Url, error: &reqwest::Error) -> FetchError {
    let mut source = error.source();
    let mut reason = if error.is_timeout() {
        "it did not answer in time"
    } else if error.is_connect() {
        "the connection failed"
    } else {
        "the connection broke"
    };
    while let Some(cause) = source {
        if cause.is::<RefusedAddress>() || cause.to_string() == RefusedAddress.to_string() {
            return FetchError::InvalidUrl { url: shown(url.as_str()), reason: RefusedAddress.to_string() };
        }
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            reason = match io.kind() {
                std::io::ErrorKind::ConnectionRefused => "the connection was refused",
                std::io::ErrorKind::ConnectionReset => "the connection was reset",
                std::io::ErrorKind::TimedOut => "it did not answer in time",
                std::io::ErrorKind::HostUnreachable | std::io::ErrorKind::NetworkUnreachable => "there is no route to it",
                _ => reason,
            };
        }
        let text = cause.to_string();
        if text.contains("dns error") {
            reason = "its name cannot be resolved";
        } else if text.contains("certificate") {
            reason = "its certificate is not trusted";
        }
        source = cause.source();
    }
    FetchError::Unreachable { url: shown(url.as_str()), reason: reason.to_owned() }
}

/// A URL for a message: without its query, which often holds a signature, without credentials,
/// and not longer than a line.
fn shown(url: &str) -> String {
    let text = match Url::parse(url) {
        Ok(mut url) => {
            url.set_query(None);
            url.set_fragment(None);
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.to_string()
        }
        Err(_) => url.split(['?', '#']).next().unwrap_or_default().to_owned(),
    };
    text.chars().take(200).collect()
}
