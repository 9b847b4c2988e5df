//! Which network addresses a plugin may connect to.
//!
//! A granted host name is a promise about a name, and whoever answers for that name chooses the
//! address. So addresses that reach the pod itself, its node or the cloud's metadata service are
//! refused whatever the name, unless a grant names the address range. Private ranges are not
//! refused: services inside the cluster have such addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Why an address is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressKind {
    Unspecified,
    Loopback,
    LinkLocal,
    Multicast,
    Broadcast,
    CloudMetadata,
}

impl fmt::Display for AddressKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Unspecified => "an unspecified",
            Self::Loopback => "a loopback",
            Self::LinkLocal => "a link-local",
            Self::Multicast => "a multicast",
            Self::Broadcast => "a broadcast",
            Self::CloudMetadata => "a cloud metadata",
        })
    }
}

/// An address that a plugin asked for and may not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {kind} address; if it is meant, spec.grants.http.allowCidrs must contain it")]
pub(crate) struct DeniedAddress {
    pub(crate) address: IpAddr,
    pub(crate) kind: AddressKind,
}

/// Metadata services outside the link-local ranges: Alibaba Cloud, Azure, Oracle Cloud, AWS, Google Cloud.
const CLOUD_METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254)),
];

/// Lets `address` pass, or says why not.
pub(crate) fn check(address: IpAddr, allowed: &[IpNet]) -> Result<(), DeniedAddress> {
    let embedded = embedded_ipv4(address).map(IpAddr::V4);
    let Some(kind) = kind(address).or_else(|| embedded.and_then(kind)) else { return Ok(()) };
    let covered = |address: IpAddr| allowed.iter().any(|range| range.contains(&address));
    if covered(address) || embedded.is_some_and(covered) { Ok(()) } else { Err(DeniedAddress { address, kind }) }
}

fn kind(address: IpAddr) -> Option<AddressKind> {
    if CLOUD_METADATA.contains(&address) {
        return Some(AddressKind::CloudMetadata);
    }
    match address {
        // All of 0.0.0.0/8 means "this host" to Linux.
        IpAddr::V4(address) if address.octets()[0] == 0 => Some(AddressKind::Unspecified),
        IpAddr::V4(address) if address.is_loopback() => Some(AddressKind::Loopback),
        IpAddr::V4(address) if address.is_link_local() => Some(AddressKind::LinkLocal),
        IpAddr::V4(address) if address.is_multicast() => Some(AddressKind::Multicast),
        IpAddr::V4(address) if address.is_broadcast() => Some(AddressKind::Broadcast),
        IpAddr::V6(address) if address.is_unspecified() => Some(AddressKind::Unspecified),
        IpAddr::V6(address) if address.is_loopback() => Some(AddressKind::Loopback),
        IpAddr::V6(address) if address.is_unicast_link_local() => Some(AddressKind::LinkLocal),
        IpAddr::V6(address) if address.is_multicast() => Some(AddressKind::Multicast),
        _ => None,
    }
}

/// The IPv4 address that a router or the kernel would make of an IPv6 address.
fn embedded_ipv4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return None };
    let ipv4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        // IPv4-mapped ::ffff:a.b.c.d and its translated form ::ffff:0:a.b.c.d.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => Some(ipv4(high, low)),
        // IPv4-compatible ::a.b.c.d; :: and ::1 have a meaning of their own.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(ipv4(high, low)),
        // NAT64, well-known and local-use prefix.
        [0x0064, 0xff9b, 0, 0, 0, 0, high, low] | [0x0064, 0xff9b, 1, _, _, _, high, low] => Some(ipv4(high, low)),
        // 6to4.
        [0x2002, high, low, ..] => Some(ipv4(high, low)),
        // Teredo keeps the client's address inverted.
        [0x2001, 0, _, _, _, _, high, low] => Some(ipv4(!high, !low)),
        // ISATAP.
        [_, _, _, _, 0 | 0x0200, 0x5efe, high, low] => Some(ipv4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn denied(address: &str) -> Option<AddressKind> {
        check(address.parse().unwrap(), &[]).err().map(|denied| denied.kind)
    }

    #[test]
    fn addresses_of_the_pod_the_node_and_the_cloud_are_refused() {
        use AddressKind::*;
        for (address, kind) in [
            ("127.0.0.1", Loopback),
            ("127.255.255.254", Loopback),
            ("::1", Loopback),
            ("0.0.0.0", Unspecified),
            ("0.1.2.3", Unspecified),
            ("::", Unspecified),
            ("169.254.169.254", LinkLocal),
            ("169.254.0.1", LinkLocal),
            ("fe80::1", LinkLocal),
            ("febf::1", LinkLocal),
            ("224.0.0.1", Multicast),
            ("ff02::1", Multicast),
            ("255.255.255.255", Broadcast),
            ("100.100.100.200", CloudMetadata),
            ("168.63.129.16", CloudMetadata),
            ("fd00:ec2::254", CloudMetadata),
            ("fd20:ce::254", CloudMetadata),
        ] {
            assert_eq!(denied(address), Some(kind), "{address}");
        }
    }

    #[test]
    fn so_are_the_forms_of_them_inside_ipv6() {
        for address in [
            "::ffff:127.0.0.1",
            "::ffff:0:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "::169.254.169.254",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001:0:1:2:3:4:5601:5601",
            "fd00::5efe:7f00:1",
            "::ffff:100.100.100.200",
        ] {
            assert!(denied(address).is_some(), "{address}");
        }
    }

    #[test]
    fn others_pass() {
        for address in
            ["10.0.0.1", "172.16.3.4", "192.168.1.1", "100.64.0.1", "8.8.8.8", "fd12:3456::1", "2606:4700::1111", "64:ff9b::8.8.8.8"]
        {
            assert_eq!(denied(address), None, "{address}");
        }
    }

    #[test]
    fn a_granted_range_covers_the_address_in_both_forms() {
        let loopback = ["127.0.0.0/8".parse().unwrap()];
        assert!(check("127.0.0.1".parse().unwrap(), &loopback).is_ok());
        assert!(check("::ffff:127.0.0.1".parse().unwrap(), &loopback).is_ok());
        assert!(check("169.254.169.254".parse().unwrap(), &loopback).is_err());
        assert!(check("::1".parse().unwrap(), &loopback).is_err());
        assert!(check("::1".parse().unwrap(), &["::1/128".parse().unwrap()]).is_ok());
    }

    proptest! {
        #[test]
        fn an_ipv4_address_is_judged_alike_in_every_disguise(bits: u32) {
            let plain = Ipv4Addr::from_bits(bits);
            let [a, b, c, d] = plain.octets();
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            let refused = check(IpAddr::V4(plain), &[]).is_err();
            for disguise in [
                plain.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, 7, 7, 7, 7, !high, !low),
            ] {
                prop_assert_eq!(check(IpAddr::V6(disguise), &[]).is_err(), refused, "{} as {}", plain, disguise);
            }
        }
    }
}
