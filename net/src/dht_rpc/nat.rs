//! What the answers of other nodes say about the address that this one has outside, as npm nat-sampler counts it.

use std::net::Ipv4Addr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sample {
    host: Ipv4Addr,
    /// 0: of any port.
    port: u16,
}

/// The last addresses under which others saw this node.
#[derive(Debug, Clone, Default)]
pub struct NatSampler {
    samples: Vec<Sample>,
    next: usize,
    host: Option<Ipv4Addr>,
    port: u16,
}

/// How many addresses are remembered.
const KEPT: usize = 16;

impl NatSampler {
    /// Another node saw this address.
    pub fn add(&mut self, host: Ipv4Addr, port: u16) {
        let sample = Sample { host, port };
        if self.samples.len() < KEPT {
            self.samples.push(sample);
        } else {
            self.samples[self.next % KEPT] = sample;
            self.next += 1;
        }
        let size = self.samples.len();
        let threshold = size
            - match size {
                0..4 => 0,
                4..8 => 1,
                8..12 => 2,
                _ => 3,
            };
        let most = |same: &dyn Fn(&Sample, &Sample) -> bool| {
            self.samples
                .iter()
                .map(|a| (self.samples.iter().filter(|b| same(a, b)).count(), *a))
                .max_by_key(|(count, _)| *count)
                .filter(|(count, _)| *count >= threshold)
        };
        (self.host, self.port) = if let Some((_, sample)) = most(&|a, b| a == b) {
            (Some(sample.host), sample.port)
        } else if let Some((_, sample)) = most(&|a, b| a.host == b.host) {
            (Some(sample.host), 0)
        } else {
            (None, 0)
        };
    }

    /// The address outside, if most agree on it.
    pub fn host(&self) -> Option<Ipv4Addr> {
        self.host
    }

    /// The port outside; 0: each node saw another one.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many answers it rests on.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// True when nobody said anything.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_must_agree() {
        let mut nat = NatSampler::default();
        let host = Ipv4Addr::new(1, 2, 3, 4);
        nat.add(host, 10);
        assert_eq!((nat.host(), nat.port()), (Some(host), 10));
        nat.add(host, 11);
        assert_eq!((nat.host(), nat.port()), (Some(host), 0));
        for _ in 0..14 {
            nat.add(host, 10);
        }
        assert_eq!((nat.host(), nat.port()), (Some(host), 10));
        for last in 0..16 {
            nat.add(Ipv4Addr::new(9, 9, 9, last), 1);
        }
        assert_eq!(nat.host(), None);
    }
}
