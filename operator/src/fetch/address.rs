//! Which addresses a package may come from.
//!
//! The operator runs inside the cluster, and whoever may write a CheckstackPlugin chooses the URL.
//! Link-local addresses are refused: cloud providers serve credentials of the node there.

use std::io;
use std::net::{IpAddr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Whether a package may be fetched from `address`.
pub(super) fn is_allowed(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_unspecified() && !v4.is_multicast() && !v4.is_broadcast(),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_allowed(IpAddr::V4(v4)),
            // fd00:ec2::254 is where one provider serves the same credentials.
            None => {
                !v6.is_unicast_link_local()
                    && !v6.is_unspecified()
                    && !v6.is_multicast()
                    && v6.segments() != [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
            }
        },
    }
}

/// Resolves names with the system's resolver, and keeps only allowed addresses: what was checked
/// is what is connected to.
#[derive(Debug, Default)]
pub(super) struct CheckedResolver;

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> = found.iter().copied().filter(|address| is_allowed(address.ip())).collect();
            if allowed.is_empty() && !found.is_empty() {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, RefusedAddress).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// The name resolves to refused addresses only.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("packages are not fetched from link-local addresses")]
pub(super) struct RefusedAddress;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn metadata_services_are_refused() {
        for address in ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fd00:ec2::254", "0.0.0.0", "::", "224.0.0.1", "ff02::1"] {
            assert!(!is_allowed(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn addresses_of_clusters_and_the_internet_are_allowed() {
        for address in ["10.0.0.1", "192.168.1.1", "127.0.0.1", "::1", "fd00::1", "1.1.1.1", "2606:4700::1111"] {
            assert!(is_allowed(address.parse().unwrap()), "{address}");
        }
    }
}
