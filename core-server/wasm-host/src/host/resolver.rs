//! Names to addresses that a plugin may connect to.
//!
//! The HTTP client connects to what this resolver answers and to nothing else, so a name cannot
//! lead to one address when it is checked and to another when it is used.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use crate::addresses::{self, DeniedAddress};

/// How long a name may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Lookups of one plugin at a time. The system's resolver cannot be interrupted: one that hangs keeps
/// its thread and its place here.
const MAX_CONCURRENT_LOOKUPS: usize = 4;

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    #[error(transparent)]
    Denied(#[from] DeniedAddress),
    #[error("'{0}' was not resolved within {seconds} s", seconds = TIMEOUT.as_secs())]
    Timeout(String),
    #[error("'{0}' has no address: {1}")]
    Failed(String, io::Error),
}

/// Resolves for one plugin.
#[derive(Clone)]
pub(super) struct CheckedResolver {
    allowed: Arc<[IpNet]>,
    lookups: Arc<Semaphore>,
}

impl CheckedResolver {
    pub(super) fn new(allowed: &[IpNet]) -> Self {
        Self { allowed: allowed.into(), lookups: Arc::new(Semaphore::new(MAX_CONCURRENT_LOOKUPS)) }
    }

    async fn resolve(self, name: String) -> Result<Vec<SocketAddr>, ResolveError> {
        match tokio::time::timeout(TIMEOUT, self.look_up(name.clone())).await {
            Ok(found) => permitted(&name, &found?, &self.allowed),
            Err(_) => Err(ResolveError::Timeout(name)),
        }
    }

    async fn look_up(&self, name: String) -> Result<Vec<SocketAddr>, ResolveError> {
        let failed = |error| ResolveError::Failed(name.clone(), error);
        let place = Arc::clone(&self.lookups).acquire_owned().await.map_err(|error| failed(io::Error::other(error)))?;
        let host = name.clone();
        let lookup = tokio::task::spawn_blocking(move || {
            let found = (host.as_str(), 0).to_socket_addrs().map(Vec::from_iter);
            drop(place);
            found
        });
        lookup.await.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)
    }
}

/// The addresses that may be connected to; if there is none, why.
fn permitted(name: &str, found: &[SocketAddr], allowed: &[IpNet]) -> Result<Vec<SocketAddr>, ResolveError> {
    let mut permitted = Vec::with_capacity(found.len());
    let mut denied = None;
    for address in found {
        match addresses::check(address.ip(), allowed) {
            Ok(()) => permitted.push(*address),
            Err(reason) => denied = Some(reason),
        }
    }
    match (permitted.is_empty(), denied) {
        (false, _) => Ok(permitted),
        (true, Some(reason)) => Err(reason.into()),
        (true, None) => Err(ResolveError::Failed(name.to_owned(), io::ErrorKind::NotFound.into())),
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolution = CheckedResolver::resolve(self.clone(), name.as_str().to_owned());
        Box::pin(async move { Ok(Box::new(resolution.await?.into_iter()) as Addrs) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 0)).collect()
    }

    #[test]
    fn only_permitted_addresses_of_a_name_remain() {
        let found = addresses(&["127.0.0.1", "93.184.216.34", "::1"]);
        assert_eq!(permitted("mixed.example", &found, &[]).unwrap(), addresses(&["93.184.216.34"]));
    }

    #[test]
    fn a_name_with_denied_addresses_only_is_denied() {
        let found = addresses(&["169.254.169.254", "::ffff:127.0.0.1"]);
        assert!(matches!(permitted("rebound.example", &found, &[]), Err(ResolveError::Denied(_))));
        assert_eq!(permitted("rebound.example", &found, &["127.0.0.0/8".parse().unwrap()]).unwrap().len(), 1);
    }

    #[tokio::test]
    async fn the_systems_resolver_is_asked() {
        let localhost = |allowed: &[IpNet]| CheckedResolver::new(allowed).resolve("localhost".to_owned());
        assert!(matches!(localhost(&[]).await, Err(ResolveError::Denied(_))));
        assert!(!localhost(&["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]).await.unwrap().is_empty());
        let unknown = CheckedResolver::new(&[]).resolve("no-such-name.invalid".to_owned()).await;
        assert!(matches!(unknown, Err(ResolveError::Failed(name, _)) if name == "no-such-name.invalid"));
    }
}
