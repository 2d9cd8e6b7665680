//! What kind of NAT is in front of a socket, told by the addresses that other nodes see it at. Source: hyperdht 6.34.0, `lib/nat.js`.

use super::messages::firewall::{CONSISTENT, OPEN, RANDOM, UNKNOWN};
use std::{
    collections::HashSet,
    net::{Ipv4Addr, SocketAddrV4},
};

/// With so many answers there is a result, whatever they are.
pub(crate) const ENOUGH: usize = 4;
const FEW: usize = 3;

/// The answers of other nodes about one socket.
#[derive(Debug)]
pub(crate) struct Nat {
    /// Nothing is in front of this node at all.
    open: bool,
    firewall: u64,
    addresses: Option<Vec<SocketAddrV4>>,
    /// Each address and how often it was seen, most often first; of equals the first seen.
    full: Vec<(SocketAddrV4, usize)>,
    hosts: Vec<(Ipv4Addr, usize)>,
    heard: HashSet<SocketAddrV4>,
    frozen: bool,
}

fn count<T: PartialEq>(samples: &mut Vec<(T, usize)>, seen: T) {
    match samples.iter_mut().find(|(value, _)| *value == seen) {
        Some((_, hits)) => *hits += 1,
        None => samples.push((seen, 1)),
    }
    samples.sort_by_key(|(_, hits)| std::cmp::Reverse(*hits));
}

impl Nat {
    pub(crate) fn new(open: bool) -> Self {
        Self {
            open,
            firewall: if open { OPEN } else { UNKNOWN },
            addresses: None,
            full: Vec::new(),
            hosts: Vec::new(),
            heard: HashSet::new(),
            frozen: false,
        }
    }

    /// See [`super::messages::firewall`].
    pub(crate) fn firewall(&self) -> u64 {
        self.firewall
    }

    /// Where the other side may reach the socket.
    pub(crate) fn addresses(&self) -> Option<&[SocketAddrV4]> {
        self.addresses.as_deref()
    }

    pub(crate) fn sampled(&self) -> usize {
        self.heard.len()
    }

    /// The other side was told: nothing changes any more.
    pub(crate) fn freeze(&mut self) {
        self.frozen = true;
    }

    /// A node saw the socket at this address. True when there is a result.
    pub(crate) fn add(&mut self, seen: SocketAddrV4, by: SocketAddrV4) -> bool {
        if self.heard.insert(by) {
            count(&mut self.hosts, *seen.ip());
            count(&mut self.full, seen);
            if !self.frozen && (self.sampled() >= FEW || self.open) {
                self.update();
            }
        }
        matches!(self.firewall, CONSISTENT | OPEN) || self.sampled() >= ENOUGH
    }

    fn update(&mut self) {
        if self.open {
            self.firewall = OPEN;
            return;
        }
        let hits = |at: usize| self.full.get(at).map_or(0, |(_, hits)| *hits);
        self.firewall = match hits(0) {
            3.. => CONSISTENT,
            1 => RANDOM,
            _ if self.hosts.len() == 1 && self.sampled() > FEW => RANDOM,
            _ if self.hosts.len() > 1 && hits(1) > 1 => CONSISTENT,
            _ if self.sampled() > ENOUGH => RANDOM,
            _ => self.firewall,
        };
        self.addresses = match self.firewall {
            RANDOM => self
                .hosts
                .first()
                .map(|(host, _)| vec![SocketAddrV4::new(*host, 0)]),
            CONSISTENT => {
                let mut list = Vec::new();
                for (address, hits) in &self.full {
                    if *hits >= 2 || list.len() < 2 {
                        list.push(*address);
                    }
                }
                Some(list)
            }
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(answers: &[&str]) -> Nat {
        let mut nat = Nat::new(false);
        for (at, answer) in answers.iter().enumerate() {
            let by = SocketAddrV4::new(Ipv4Addr::new(9, 9, 9, at as u8), 1);
            let address = answer.parse().expect("an address");
            nat.add(address, by);
            // The same node again says nothing new.
            nat.add("7.7.7.7:7".parse().expect("an address"), by);
        }
        nat
    }

    #[test]
    fn kinds_of_nats() {
        let [a1, a2, a3, a4] = ["1.1.1.1:1", "1.1.1.1:2", "1.1.1.1:3", "1.1.1.1:4"];
        let [b1, b2] = ["2.2.2.2:1", "2.2.2.2:2"];
        let cases: [(&[&str], u64); 9] = [
            (&[a1, a1], UNKNOWN),
            (&[a1, a1, a1], CONSISTENT),
            (&[a1, a2, a3], RANDOM),
            (&[a1, a2, a3, a4], RANDOM),
            // Two answers agree, a third does not: the fourth decides.
            (&[a1, a1, a2], UNKNOWN),
            (&[a1, a1, a2, a3], RANDOM),
            (&[a1, a1, a2, a1], CONSISTENT),
            // Two addresses, as mobile networks have them.
            (&[a1, a1, b1, b1], CONSISTENT),
            (&[a1, a1, b1, b2, a2], RANDOM),
        ];
        for (answers, kind) in cases {
            assert_eq!(seen(answers).firewall(), kind, "{answers:?}");
        }
        let both = seen(&[a1, a1, b1, b1]);
        assert_eq!(both.addresses().map(<[_]>::len), Some(2));
        let random = seen(&[a1, a2, a3]);
        assert_eq!(
            random.addresses(),
            Some(&["1.1.1.1:0".parse().expect("one")][..])
        );
        let mut frozen = seen(&[a1, a1]);
        frozen.freeze();
        frozen.add(a1.parse().expect("one"), b1.parse().expect("one"));
        assert_eq!(frozen.firewall(), UNKNOWN);
        assert!(Nat::new(true).add(a1.parse().expect("one"), b1.parse().expect("one")));
    }
}
