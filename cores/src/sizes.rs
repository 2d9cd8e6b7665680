//! How many bytes lie below the nodes that seeks have passed. A seek passes one node for each level of the tree; of those it has met before, and of the
//! upper ones every seek meets, the store is not asked again.

use std::{cell::RefCell, collections::HashMap};

use foldhash::fast::FixedState;
use parking_lot::RwLock;
use smallvec::SmallVec;

use crate::merkle::{Node, Nodes, Seek, Tree, flat_tree::depth};

/// Of one history of a core: they take about 140 KiB. Each snapshot and each branch that is sought in has its own.
const KNOWN_MAX: usize = 4096;

/// Those of one history of a core: a head after a truncation begins with none, and never shares them with one before. A seek that still holds the head of
/// before may meet nodes of after in the store; what it learns goes with that head.
#[derive(Debug, Default)]
pub(crate) struct Sizes(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    sizes: HashMap<u64, u64, FixedState>,
    /// Nodes of a smaller depth are not kept any more: there were too many.
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
            known: &self.0,
            nodes,
            met: RefCell::default(),
        };
        let found = tree.seek(&passing, bytes, padding);
        let met = passing.met.into_inner();
        // Where another seek looks something up at this moment, a later one tells.
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
    known: &'a RwLock<Known>,
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
        let known = self.known.read().sizes.get(&index).copied();
        if known.is_some() {
            return Ok(known);
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

    use bytes::Bytes;
    use pome_storage::{Batch, Durability, Store};

    use super::*;
    use crate::{CoreOptions, Corestore, layout, merkle::TreeError};

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
        let afresh = |start: &u64| {
            let sought = Sizes::default().seek(&tree, &nodes, *start, 0);
            sought.map(|_| asked.take()).unwrap()
        };
        assert_eq!(starts.iter().step_by(97).map(afresh).max(), Some(14));

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

    #[tokio::test]
    async fn a_repair_forgets_what_was_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Default::default()).unwrap();
        let cores = Corestore::open(store.clone()).unwrap();
        let core = cores.get(CoreOptions::name("log")).await.unwrap();
        let blocks = ["a", "bb", "ccc", "dddd"].map(Bytes::from);
        core.append_batch(blocks.to_vec()).await.unwrap();
        let mut wrong = core.node(1).await.unwrap().unwrap();
        wrong.size = 5;
        let (space, mut batch) = (core.session.core.space, Batch::new());
        batch.put_slice(space, layout::node_key(1), &layout::node_value(&wrong));
        store.commit(batch, Durability::Buffered).unwrap();
        assert_ne!(core.seek(4).await.unwrap(), (2, 1));
        let repaired = core.repair(|_| {}).await.unwrap();
        assert!(
            repaired.nodes > 0 && repaired.left.is_empty(),
            "{repaired:?}"
        );
        assert_eq!(core.seek(4).await.unwrap(), (2, 1));
    }
}
