//! Addresses on the machine's own networks: two peers behind one NAT need no hole in it.

use std::net::{Ipv4Addr, SocketAddrV4};

/// The addresses that a socket can be reached at from the machine's own networks; loopback where there is no other.
pub(crate) fn local_addresses(host: Ipv4Addr, port: u16) -> Vec<SocketAddrV4> {
    let at = |ip| SocketAddrV4::new(ip, port);
    if host == Ipv4Addr::LOCALHOST {
        return vec![at(host)];
    }
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let mut found: Vec<_> = interfaces
        .filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()))
        .filter(|ip| !ip.is_loopback() && (host.is_unspecified() || *ip == host))
        .map(at)
        .collect();
    if found.is_empty() {
        found.push(at(Ipv4Addr::LOCALHOST));
    }
    found
}

/// The peer's address that shares most leading bytes with one of ours, if any shares one.
pub(crate) fn matching(ours: &[SocketAddrV4], theirs: &[SocketAddrV4]) -> Option<SocketAddrV4> {
    let shared = |a: SocketAddrV4, b: SocketAddrV4| {
        let (a, b) = (a.ip().octets(), b.ip().octets());
        a[..3]
            .iter()
            .zip(&b[..3])
            .take_while(|(a, b)| a == b)
            .count()
    };
    let mut best = (0, None);
    for our in ours {
        for their in theirs {
            let count = shared(*our, *their);
            if count > best.0 {
                best = (count, Some(*their));
            }
        }
    }
    best.1
}

/// An address of a network that is not the internet.
pub(crate) fn is_private(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    ip.is_private() || ip.is_loopback() || ip.is_link_local() || a == 100 && b & 0xc0 == 64
}

/// An address that belongs to no host.
pub(crate) fn is_reserved(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    a == 0
        || a == 192 && b == 0 && c == 0
        || ip.is_documentation()
        || a == 198 && b & 0xfe == 18
        || a >= 224
}

/// The first address that is one of the internet.
pub(crate) fn first_public(addresses: &[SocketAddrV4]) -> Option<SocketAddrV4> {
    let is_public = |at: &&SocketAddrV4| !is_private(*at.ip()) && !is_reserved(*at.ip());
    addresses.iter().find(is_public).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_address_is_taken() {
        let list = |text: &str| -> Vec<SocketAddrV4> {
            text.split(' ')
                .map(|at| at.parse().expect("an address"))
                .collect()
        };
        let ours = list("10.1.2.3:1 192.168.7.4:1");
        let theirs = list("8.8.8.8:5 192.168.9.1:5 192.168.7.9:5");
        assert_eq!(matching(&ours, &theirs), Some(theirs[2]));
        assert_eq!(matching(&ours, &theirs[..2]), Some(theirs[1]));
        assert_eq!(matching(&ours, &theirs[..1]), None);
        assert_eq!(first_public(&theirs), Some(theirs[0]));
        assert_eq!(first_public(&theirs[1..]), None);
        for reserved in [
            "0.1.2.3",
            "192.0.2.1",
            "198.19.0.1",
            "230.1.1.1",
            "255.255.255.255",
        ] {
            assert!(
                is_reserved(reserved.parse().expect("an address")),
                "{reserved}"
            );
        }
        assert!(is_private(Ipv4Addr::new(100, 64, 0, 1)));
        assert!(!is_private(Ipv4Addr::new(100, 128, 0, 1)));
    }

    #[test]
    fn a_socket_of_loopback_has_one_address() {
        let only = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7);
        assert_eq!(local_addresses(Ipv4Addr::LOCALHOST, 7), [only]);
        assert!(!local_addresses(Ipv4Addr::UNSPECIFIED, 7).is_empty());
    }
}
