//! `http-client`: requests to the outside, as far as grants go.
//!
//! A URL is judged before anything is done ([`grants`](crate::grants)), an address when it is known:
//! that of an address in the URL here, that of a name in the [`resolver`](super::resolver).

use std::collections::HashSet;
use std::error::Error as StdError;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use checkstack_plugin_package::PluginId;
use reqwest::{Client, redirect};
use tokio::sync::Semaphore;
use url::{Host as UrlHost, Url};

use super::HostState;
use super::resolver::{CheckedResolver, ResolveError};
use crate::addresses;
use crate::bindings::checkstack::plugin::http_client::{Error, Host, OutgoingRequest, Response};
use crate::grants::{HttpPolicy, RefusedUrl};
use crate::messages;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest exchange, and that of a plugin that does not say.
const MAX_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;
const MAX_RESPONSE_HEADERS: usize = 128;
const MAX_RESPONSE_HEADER_BYTES: u32 = 64 * 1024;
/// Exchanges of one plugin at a time; more wait, within their own timeout.
const MAX_CONCURRENT_EXCHANGES: usize = 16;
const MAX_IDLE_CONNECTIONS_PER_HOST: usize = 4;
/// Connections to these many origins are kept for later requests. One more, and all that are idle are closed.
const MAX_KEPT_ORIGINS: usize = 32;
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The HTTP client of one plugin. Connections are not shared with others: an address that is
/// permitted for one plugin may not be for another.
pub(super) struct HttpClient {
    policy: HttpPolicy,
    plugin_id: PluginId,
    exchanges: Semaphore,
    /// Made when first used: it loads the system's certificates.
    kept: Mutex<Option<Kept>>,
}

/// A client, with the origins that it may have connections to.
struct Kept {
    client: Client,
    origins: HashSet<url::Origin>,
}

impl HttpClient {
    pub(super) fn new(policy: HttpPolicy, plugin_id: PluginId) -> Self {
        Self { policy, plugin_id, exchanges: Semaphore::new(MAX_CONCURRENT_EXCHANGES), kept: Mutex::default() }
    }

    async fn send(&self, request: OutgoingRequest) -> Result<Response, Error> {
        let limit = request.timeout.map_or(MAX_TIMEOUT, |milliseconds| Duration::from_millis(milliseconds.into()).min(MAX_TIMEOUT));
        let request = self.checked(request)?;
        let exchange = async {
            let _place = self.exchanges.acquire().await.map_err(|error| Error::Unreachable(error.to_string()))?;
            receive(self.client_for(request.url())?.execute(request).await.map_err(failure)?).await
        };
        tokio::time::timeout(limit, exchange)
            .await
            .unwrap_or_else(|_| Err(Error::Timeout(format!("no complete answer within {} ms", limit.as_millis()))))
    }

    /// The request, if it can and may be sent.
    fn checked(&self, request: OutgoingRequest) -> Result<reqwest::Request, Error> {
        let OutgoingRequest { method, url, headers, body, timeout: _ } = request;
        let url = self.policy.check(&url)?;
        if let Some(address) = literal_address(&url) {
            addresses::check(address, &self.policy.allowed_ranges).map_err(|denied| Error::Denied(denied.to_string()))?;
        }
        let mut request = reqwest::Request::new(messages::method(&method).map_err(Error::Invalid)?, url);
        *request.headers_mut() = messages::outgoing_headers(headers).map_err(Error::Invalid)?;
        if !body.is_empty() {
            *request.body_mut() = Some(body.into());
        }
        Ok(request)
    }

    fn client_for(&self, url: &Url) -> Result<Client, Error> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let origin = url.origin();
        if let Some(Kept { client, origins }) = kept.as_mut()
            && (origins.contains(&origin) || origins.len() < MAX_KEPT_ORIGINS)
        {
            origins.insert(origin);
            return Ok(client.clone());
        }
        // The one before goes with its connections when the last exchange on it ends.
        let client = self.client()?;
        *kept = Some(Kept { client: client.clone(), origins: HashSet::from([origin]) });
        Ok(client)
    }

    fn client(&self) -> Result<Client, Error> {
        Client::builder()
            .user_agent(format!("checkstack/{} (plugin {})", env!("CARGO_PKG_VERSION"), self.plugin_id))
            .dns_resolver(CheckedResolver::new(&self.policy.allowed_ranges))
            // A proxy would connect to addresses that nobody checked.
            .no_proxy()
            // The target of a redirect needs a grant of its own.
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(MAX_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS_PER_HOST)
            .http1_max_headers(MAX_RESPONSE_HEADERS)
            .http2_max_header_list_size(MAX_RESPONSE_HEADER_BYTES)
            .build()
            .map_err(|error| Error::Unreachable(format!("the server's HTTP client does not work: {}", deepest(&error))))
    }
}

/// Hosts that are addresses are not resolved.
fn literal_address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        UrlHost::Ipv4(address) => Some(address.into()),
        UrlHost::Ipv6(address) => Some(address.into()),
        UrlHost::Domain(_) => None,
    }
}

/// Reads an answer while it is within its limits.
async fn receive(mut response: reqwest::Response) -> Result<Response, Error> {
    let too_large = || Error::TooLarge(format!("the answer has more than {MAX_RESPONSE_BYTES} bytes"));
    if response.content_length().is_some_and(|length| length > MAX_RESPONSE_BYTES as u64) {
        return Err(too_large());
    }
    let status = response.status().as_u16();
    let headers = messages::owned_headers(response.headers());
    if headers.iter().map(|header| header.name.len() + header.value.len()).sum::<usize>() > MAX_RESPONSE_HEADER_BYTES as usize {
        return Err(Error::TooLarge(format!("the answer's header section has more than {MAX_RESPONSE_HEADER_BYTES} bytes")));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failure)? {
        if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response { status, headers, body })
}

impl From<RefusedUrl> for Error {
    fn from(refused: RefusedUrl) -> Self {
        match refused {
            RefusedUrl::NoGrant(_) => Self::Denied(refused.to_string()),
            RefusedUrl::NotAUrl(..) | RefusedUrl::Scheme(_) | RefusedUrl::UserInfo => Self::Invalid(refused.to_string()),
        }
    }
}

fn failure(error: reqwest::Error) -> Error {
    match causes(&error).find_map(|cause| cause.downcast_ref::<ResolveError>()) {
        Some(ResolveError::Denied(denied)) => return Error::Denied(denied.to_string()),
        Some(timeout @ ResolveError::Timeout(_)) => return Error::Timeout(timeout.to_string()),
        Some(ResolveError::Failed(..)) | None => {}
    }
    match error.is_timeout() {
        true => Error::Timeout("no answer in time".into()),
        false => Error::Unreachable(deepest(&error)),
    }
}

/// The cause that says most; those above only say where.
fn deepest(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

impl Host for HostState {
    async fn send(&mut self, mut request: OutgoingRequest) -> Result<Response, Error> {
        self.check_may_act().map_err(Error::Denied)?;
        // The plugin's own deadline may be nearer. It should hear of it as an error that it can handle,
        // a moment before it is stopped.
        let remaining = u32::try_from(self.call.remaining().as_millis()).unwrap_or(u32::MAX);
        let own = request.timeout.unwrap_or(u32::MAX);
        request.timeout = Some(own.min(remaining.saturating_sub(remaining / 20)));
        self.plugin.http.send(request).await
    }
}
