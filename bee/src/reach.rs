//! Which blocks a version of the tree needs.
use crate::{
    Hyperbee,
    error::Result,
    node::MAX_DEPTH,
    view::{NodeRef, Source, TOO_DEEP},
};

impl Hyperbee {
    /// The blocks that hold a node or an entry of the tree at this bee's version, in order. No later version needs another one that is older, so that all
    /// others below this version may be cleared when no older version shall be read any more. Reads the blocks with nodes.
    ///
    /// # Errors
    /// Those of the core; `Decoding` for blocks that are no bee's.
    pub async fn tree_blocks(&self) -> Result<Vec<u64>> {
        let view = self.lasting_view();
        let mut blocks = vec![];
        let mut todo: Vec<(NodeRef, usize)> = vec![];
        todo.extend(view.root().await?.map(|root| (root, 0)));
        while let Some((node, depth)) = todo.pop() {
            if depth >= MAX_DEPTH {
                return Err(view.fault(view.version().saturating_sub(1), TOO_DEEP));
            }
            if let NodeRef::Stored(block, _) = &node {
                blocks.push(block.seq);
            }
            let keys = view.key_count(&node);
            blocks.extend((0..keys).map(|at| view.key_seq(&node, at)));
            if !view.is_leaf(&node) {
                for at in 0..=keys {
                    todo.push((view.child(&node, at).await?, depth + 1));
                }
            }
        }
        blocks.sort_unstable();
        blocks.dedup();
        Ok(blocks)
    }
}
