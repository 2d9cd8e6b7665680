//! The machine's networks: the addresses of its interfaces, and when they change.

mod watch;

pub use watch::{Changes, NetworkWatch};

use nix::net::if_::InterfaceFlags;
use std::net::Ipv4Addr;

/// An IPv4 address of this machine, and the network that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Network {
    /// The address.
    pub address: Ipv4Addr,
    /// How many of its first bits all addresses of the network have in common.
    pub prefix: u32,
    /// Nobody but this machine is there.
    pub is_loopback: bool,
}

impl Network {
    /// True for an address of this network.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        let mask = u32::MAX
            .checked_shl(32_u32.saturating_sub(self.prefix))
            .unwrap_or(0);
        u32::from(address) & mask == u32::from(self.address) & mask
    }
}

/// The networks of the interfaces that are up, sorted.
pub fn networks() -> Vec<Network> {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let mut found: Vec<_> = interfaces
        .filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP))
        .filter_map(|interface| {
            let ip =
                |address: nix::sys::socket::SockaddrStorage| Some(address.as_sockaddr_in()?.ip());
            let mask = interface.netmask.and_then(ip);
            Some(Network {
                address: ip(interface.address?)?,
                prefix: mask.map_or(32, |mask| u32::from(mask).leading_ones()),
                is_loopback: interface.flags.contains(InterfaceFlags::IFF_LOOPBACK),
            })
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_a_network() {
        let network = |prefix| Network {
            address: Ipv4Addr::new(10, 1, 2, 3),
            prefix,
            is_loopback: false,
        };
        let near = Ipv4Addr::new(10, 1, 2, 200);
        assert!(network(24).contains(near) && !network(25).contains(near));
        assert!(!network(32).contains(near) && network(32).contains(network(32).address));
        assert!(network(0).contains(Ipv4Addr::BROADCAST));
    }

    #[test]
    fn this_machine_has_some() {
        // Of a machine with nothing but loopback, loopback.
        assert!(networks().iter().any(|network| network.is_loopback));
    }
}
