//! How many bytes lie below the nodes that seeks have passed. A seek passes one node for each level of the tree; of those it has met before, and of the
//! upper ones every seek meets, the store is not asked again.

use std::{cell::RefCell, collections::HashMap};

use foldhash::fast::FixedState;
use parking_lot::{RwLock, RwLockReadGuard};
use smallvec::SmallVec;

use crate::merkle::{Node, Nodes, Seek, Tree, flat_tree::depth};

/// Of one core: they take about 140 KiB.
const KNOWN_MAX: usize = 4096;

/// Those of one history of a core: what is truncated begins with none.
#[derive(Debug, Default)]
pub(crate) struct Sizes(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    sizes: HashMap<u64, u64, FixedState>,
    /// Nodes of a smaller depth are not kept: there were too many.
    floor: u32,
}

impl Known {
    fn learn(&mut self, index: u64, size: u64) {
        if depth(index) < self.floor {
            return;
        }
        self.sizes.insert(index, size);
        while self.sizes.len() > KNOWN_MAX {
            self.floor += 1;
            let floor = self.floor;
            self.sizes.retain(|index, _| depth(*index) >= floor);
        }
    }
}

impl Sizes {
    /// [`Tree::seek`] in a tree of this history, whose nodes are looked up in `nodes` where their sizes are not known.
    pub(crate) fn seek<N: Nodes>(
        &self,
        tree: &Tree,
        nodes: &N,
        bytes: u64,
        padding: u64,
    ) -> Result<Seek, N::Error> {
        let passing = Passing {
            known: self.0.read(),
            nodes,
            met: RefCell::default(),
        };
        let found = tree.seek(&passing, bytes, padding);
        let Passing { known, met, .. } = passing;
        drop(known);
        let met = met.into_inner();
        // Where another seek is at it, the next one tells.
        if !met.is_empty()
            && let Some(mut known) = self.0.try_write()
        {
            for (index, size) in met {
                known.learn(index, size);
            }
        }
        found
    }
}

/// Nodes as one seek sees them.
struct Passing<'a, N> {
    known: RwLockReadGuard<'a, Known>,
    nodes: &'a N,
    /// What was not known.
    met: RefCell<SmallVec<[(u64, u64); 16]>>,
}

impl<N: Nodes> Nodes for Passing<'_, N> {
    type Error = N::Error;

    fn node(&self, index: u64) -> Result<Option<Node>, N::Error> {
        self.nodes.node(index)
    }

    fn size(&self, index: u64) -> Result<Option<u64>, N::Error> {
        if let Some(size) = self.known.sizes.get(&index) {
            return Ok(Some(*size));
        }
        let size = self.nodes.size(index)?;
        if let Some(size) = size {
            self.met.borrow_mut().push((index, size));
        }
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::merkle::TreeError;

    #[test]
    fn what_was_met_is_not_asked_for_again_and_what_is_kept_is_bounded() {
        const LENGTH: usize = 20_000;
        // Blocks of 1, 2, 3, 1, 2, 3, … bytes, and where each of them begins.
        let blocks: Vec<&[u8]> = (0..LENGTH).map(|n| &[0; 3][..n % 3 + 1]).collect();
        let starts: Vec<u64> = (0..LENGTH as u64)
            .map(|n| n / 3 * 6 + [0, 1, 3][n as usize % 3])
            .collect();
        let mut batch = Tree::default().batch();
        batch.append_blocks(&blocks);
        let stored: HashMap<u64, Node> = batch
            .nodes()
            .iter()
            .map(|node| (node.index, *node))
            .collect();
        let tree = batch.into_tree();

        let asked = Cell::new(0);
        let nodes = |index| {
            asked.set(asked.get() + 1);
            Ok::<_, TreeError>(stored.get(&index).copied())
        };
        let sizes = Sizes::default();
        let seek = |bytes| (sizes.seek(&tree, &nodes, bytes, 0).unwrap(), asked.take());
        let found = |block| Seek::Found { block, offset: 0 };
        let middle = LENGTH as u64 / 2;
        assert!(matches!(seek(starts[LENGTH / 2]), (at, 1..) if at == found(middle)));
        assert_eq!(seek(starts[LENGTH / 2]), (found(middle), 0));

        for (block, start) in starts.iter().enumerate() {
            assert_eq!(seek(*start).0, found(block as u64));
        }
        assert!(sizes.0.read().sizes.len() <= KNOWN_MAX);
        // About as many nodes as there are blocks lie to the left of another; each level that is left out halves them.
        let most = starts.iter().map(|start| seek(*start).1).max();
        assert_eq!(most, Some(3));
    }
}
