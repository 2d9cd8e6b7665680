//! The tree nodes that are on their way with answers of one peer.
//!
//! Hundreds of blocks are asked for before the first of them is here. If each request asked for the whole way up to a node that is stored, they would bring the
//! same nodes again and again. A peer answers in order, so a later request need only lead to what an earlier one brings.

use super::numbers::NumberSet;
use crate::merkle::flat_tree::{parent, sibling};

/// Nodes that are remembered before the older half is dropped (about 40 B each).
const GENERATION: usize = 8192;
/// Proofs that led to a node that did not come, before nothing is built on promises any more.
const BROKEN_MAX: u32 = 16;

/// See the module. Nothing is believed because of it: a proof that leads nowhere is asked for again.
#[derive(Debug, Default)]
pub(crate) struct Promised {
    newer: NumberSet,
    older: NumberSet,
    broken: u32,
}

impl Promised {
    /// True when an answer that is on its way brings this node.
    pub(crate) fn has(&self, index: u64) -> bool {
        self.newer.contains(&index) || self.older.contains(&index)
    }

    /// A proof was asked for that climbs so many levels from `index`.
    pub(crate) fn add(&mut self, index: u64, levels: u64) {
        if self.broken >= BROKEN_MAX {
            return;
        }
        if self.newer.len() >= GENERATION {
            self.older = std::mem::take(&mut self.newer);
        }
        let mut at = index;
        for _ in 0..levels {
            self.newer.insert(at);
            self.newer.insert(sibling(at));
            at = parent(at);
        }
    }

    /// An answer will not come.
    pub(crate) fn clear(&mut self) {
        self.newer.clear();
        self.older.clear();
    }

    /// A proof led to a node that has not come.
    pub(crate) fn broke(&mut self) {
        self.broken += 1;
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_covers_the_way_and_what_is_beside_it() {
        let mut promised = Promised::default();
        promised.add(8, 2);
        // 8 and 10 under 9; 9 and 13 under 11
        for index in [8, 10, 9, 13] {
            assert!(promised.has(index), "{index}");
        }
        assert!(!promised.has(11) && !promised.has(12));
        promised.clear();
        assert!(!promised.has(8));
        for _ in 0..BROKEN_MAX {
            promised.broke();
        }
        promised.add(8, 2);
        assert!(!promised.has(8), "it did not keep its promises");
    }

    #[test]
    fn it_is_bounded() {
        let mut promised = Promised::default();
        for block in 0..100_000 {
            promised.add(2 * block, 1);
            assert!(promised.has(2 * block));
            assert!(promised.newer.len() + promised.older.len() <= 2 * GENERATION + 4);
        }
    }
}
