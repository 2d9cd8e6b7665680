//! Which versions a writer published: those at which a batch ended.
use crate::{
    Hyperbee, Result,
    node::MAX_DEPTH,
    view::{NodeRef, Source, TOO_DEEP},
};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};

impl Hyperbee {
    /// The versions at which a put, a delete or a batch ended, oldest first, up to this bee's version. At every other version a reader is in the middle of a
    /// batch, and sees an older or broken tree. Reads all blocks; keeps all keys in memory.
    ///
    /// How they are told apart: level 0 of a block's index is the root only in the last block of a batch. In an earlier one it is a node that a later block
    /// of the batch has as a child, or one that nothing uses and that does not hold all the keys there were. A batch of so few keys that all of them
    /// lie in one node may show a version in its middle.
    ///
    /// # Errors
    /// When a block does not decode, or is not here.
    pub async fn whole_versions(&self) -> Result<Vec<u64>> {
        self.whole_versions_since(1).await
    }

    /// As [`whole_versions`](Self::whole_versions), from `base` on, which must be one: reads the tree at `base` and the blocks after it, so that older
    /// ones may be missing.
    ///
    /// # Errors
    /// As [`whole_versions`](Self::whole_versions).
    pub async fn whole_versions_since(&self, base: u64) -> Result<Vec<u64>> {
        let base = base.max(1);
        let view = self.lasting_view();
        let mut children = HashSet::new();
        let mut keys = HashSet::new();
        // How many keys lie at and below each level of each block.
        let mut counts: HashMap<(u64, u64), usize> = HashMap::new();
        if base < view.version {
            self.checkout(base).count(&mut keys, &mut counts).await?;
        }
        let mut roots: Vec<u64> = (base > 1 && base <= view.version)
            .then_some(base - 1)
            .into_iter()
            .collect();
        for seq in base..view.version {
            let block = view.block(seq).await?;
            let fault = |what| view.fault(seq, what);
            if block.is_deletion().map_err(fault)? {
                keys.remove(&block.key);
            } else {
                keys.insert(block.key.clone());
            }
            let levels = block.all_levels().map_err(fault)?;
            // Nodes of one block may lie in any order, so each pass settles at least one more of them.
            for _ in 0..levels.len().min(MAX_DEPTH) {
                for (offset, level) in (0u64..).zip(&levels) {
                    let below = level
                        .children
                        .iter()
                        .map(|place| counts.get(place).copied().unwrap_or(0));
                    counts.insert(
                        (seq, offset),
                        below.fold(level.keys.len(), usize::saturating_add),
                    );
                }
            }
            let places = levels.iter().flat_map(|level| &level.children);
            children.extend(
                places
                    .filter(|(_, offset)| *offset == 0)
                    .map(|(child, _)| *child),
            );
            if counts.get(&(seq, 0)) == Some(&keys.len()) {
                roots.push(seq);
            }
        }
        Ok(roots
            .into_iter()
            .filter(|seq| !children.contains(seq))
            .map(|seq| seq + 1)
            .collect())
    }

    /// Takes in the keys of this version, and how many lie at and below each node.
    async fn count(
        &self,
        keys: &mut HashSet<Bytes>,
        counts: &mut HashMap<(u64, u64), usize>,
    ) -> Result<()> {
        let view = self.lasting_view();
        // Nodes in an order in which each comes after its parent.
        let mut nodes = Vec::new();
        let mut todo: Vec<NodeRef> = view.root().await?.into_iter().collect();
        while let Some(node) = todo.pop() {
            // An honest tree has no more nodes than blocks times levels.
            if nodes.len() as u64 > view.version.saturating_mul(MAX_DEPTH as u64) {
                return Err(view.fault(view.version.saturating_sub(1), TOO_DEEP));
            }
            let mut below = Vec::new();
            for at in 0..view.key_count(&node) {
                keys.insert(view.key(&node, at).await?);
            }
            if !view.is_leaf(&node) {
                for at in 0..=view.key_count(&node) {
                    below.extend(view.child_place(&node, at));
                    todo.push(view.child(&node, at).await?);
                }
            }
            if let NodeRef::Stored(block, offset) = &node {
                nodes.push(((block.seq, *offset), view.key_count(&node), below));
            }
        }
        for (place, own, below) in nodes.into_iter().rev() {
            let below = below.iter().map(|at| counts.get(at).copied().unwrap_or(0));
            let count = below.fold(own, usize::saturating_add);
            counts.insert(place, count);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::Hyperbee;
    use pome_cores::{CoreOptions, Corestore, Durability};

    #[tokio::test]
    async fn a_batch_is_one_version() {
        let folder = tempfile::tempdir().unwrap();
        let store =
            pome_storage::Store::open(folder.path(), pome_storage::Options::default()).unwrap();
        let cores = Corestore::open(store).unwrap();
        let bee = Hyperbee::new(cores.get(CoreOptions::name("bee")).await.unwrap());
        let mut expected = Vec::new();
        for round in 0..40u32 {
            if round % 3 == 0 {
                let mut batch = bee.batch();
                for i in 0..round % 23 + 1 {
                    let key = format!("{}", (round * 31 + i * 17) % 200);
                    batch.put(key.as_bytes(), "value").await.unwrap();
                }
                batch.flush(Durability::Buffered).await.unwrap();
            } else if round % 7 == 0 {
                let first = bee.peek(crate::RangeOptions::new()).await.unwrap().unwrap();
                bee.del(&first.key).await.unwrap();
            } else {
                bee.put(format!("{round}").as_bytes(), "value")
                    .await
                    .unwrap();
            }
            expected.push(bee.version());
        }
        assert_eq!(bee.whole_versions().await.unwrap(), expected);
        for (at, base) in expected.iter().enumerate() {
            let since = bee.whole_versions_since(*base).await.unwrap();
            assert_eq!(since, expected[at..], "since {base}");
        }

        // What neither a version nor a later one needs may go.
        for base in [expected[9], expected[20], expected[39]] {
            let needed = bee.checkout(base).tree_blocks().await.unwrap();
            for seq in (1..base).filter(|seq| needed.binary_search(seq).is_err()) {
                bee.core().clear(seq..seq + 1).await.unwrap();
            }
            let fresh = Hyperbee::new(bee.core().clone()).with_wait(false);
            let later = expected.iter().filter(|version| **version >= base);
            for version in later {
                let all = fresh.checkout(*version).range(crate::RangeOptions::new());
                let all: Vec<_> = futures_util::TryStreamExt::try_collect(all).await.unwrap();
                assert!(!all.is_empty());
            }
            let since = fresh.whole_versions_since(base).await.unwrap();
            assert_eq!(since.first(), Some(&base));
        }
        let older = Hyperbee::new(bee.core().clone())
            .with_wait(false)
            .checkout(expected[12]);
        let all = older.range(crate::RangeOptions::new());
        let all: Result<Vec<_>, _> = futures_util::TryStreamExt::try_collect(all).await;
        assert!(all.is_err(), "an older version is no longer whole");
    }
}
