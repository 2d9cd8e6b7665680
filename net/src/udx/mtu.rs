//! Finding the largest packet that the path carries: a data packet is padded to the next size, and if it is acknowledged that size holds. A path that
//! stops carrying what it carried before swallows such packets without a word: then it begins anew.

/// Bytes of an IPv4 packet that every path is taken to carry.
const BASE: u16 = 1200;
const MAX: u16 = 1500;
const STEP: u16 = 32;
const TRIES: u8 = 10;
/// Headers in front of a payload: IP, UDP, UDX.
const OVERHEAD_V4: u16 = 20 + 8 + 20;
const OVERHEAD_V6: u16 = 40 + 8 + 20;

#[derive(Debug, Clone)]
pub(crate) struct Mtu {
    size: u16,
    probe: u16,
    tries: u8,
    /// The next data packet shall be a probe.
    wanted: bool,
    done: bool,
    overhead: u16,
}

impl Mtu {
    pub(crate) fn new(ipv6: bool) -> Self {
        Self {
            size: BASE,
            probe: BASE,
            tries: 0,
            wanted: false,
            done: false,
            overhead: if ipv6 { OVERHEAD_V6 } else { OVERHEAD_V4 },
        }
    }

    /// Bytes of an IP packet.
    pub(crate) fn size(&self) -> u16 {
        self.size
    }

    /// Payload bytes of a packet.
    pub(crate) fn payload(&self) -> usize {
        usize::from(self.size - self.overhead)
    }

    /// Payload bytes of a packet that every path carries.
    pub(crate) fn base_payload(&self) -> usize {
        usize::from(BASE - self.overhead)
    }

    /// The path has become narrower.
    pub(crate) fn fall_back(&mut self) {
        *self = Self {
            overhead: self.overhead,
            ..Self::new(false)
        };
    }

    /// How many zeros make a packet with `payload` bytes a probe; `None` when it shall be none.
    pub(crate) fn padding(&mut self, payload: usize) -> Option<u8> {
        if !self.wanted || payload == 0 {
            return None;
        }
        let padding = usize::from(self.probe - self.overhead).checked_sub(payload)?;
        let padding = u8::try_from(padding).ok().filter(|n| *n > 0)?;
        self.wanted = false;
        self.tries += 1;
        Some(padding)
    }

    pub(crate) fn acked(&mut self, probe: bool) {
        if self.done {
            return;
        }
        if probe {
            self.size = self.probe;
            self.tries = 0;
        } else if self.probe != BASE || self.wanted {
            return;
        }
        // The first packet that arrives confirms the base.
        if self.size == MAX {
            self.done = true;
        } else {
            self.probe = (self.size + STEP).min(MAX);
            self.wanted = true;
        }
    }

    pub(crate) fn lost(&mut self) {
        if self.tries >= TRIES {
            self.done = true;
        } else if !self.done {
            self.wanted = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_limit_of_the_path() {
        for (path, found) in [(1500, 1500), (1300, 1296), (1200, 1200)] {
            let mut mtu = Mtu::new(false);
            mtu.acked(false);
            while !mtu.done {
                let payload = mtu.payload();
                let padding = mtu.padding(payload).expect("a probe is wanted");
                if payload + usize::from(padding) + 48 <= path {
                    mtu.acked(true);
                } else {
                    mtu.lost();
                }
            }
            assert_eq!(mtu.size(), found, "path of {path}");
        }
    }
}
