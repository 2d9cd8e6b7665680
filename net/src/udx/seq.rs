//! Numbers of packets, which begin again at 0 after 2^32.

use std::cmp::Ordering;

/// The number of a packet. Two of them are compared by the shorter way round, so only those within 2^31 of each other compare sensibly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Seq(pub u32);

impl Seq {
    /// The number `n` packets later.
    pub(crate) fn plus(self, n: u32) -> Seq {
        Seq(self.0.wrapping_add(n))
    }

    pub(crate) fn max_of(self, other: Seq) -> Seq {
        if other > self { other } else { self }
    }

    pub(crate) fn next(self) -> Seq {
        self.plus(1)
    }

    /// How many packets lie between `earlier` and this one; negative when it is later.
    pub(crate) fn since(self, earlier: Seq) -> i32 {
        self.0.wrapping_sub(earlier.0) as i32
    }
}

impl PartialOrd for Seq {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.since(*other).cmp(&0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives_the_wrap() {
        assert!(Seq(u32::MAX) < Seq(0));
        assert!(Seq(5) > Seq(4));
        assert_eq!(Seq(1).since(Seq(u32::MAX)), 2);
    }
}
