//! Which versions a writer published: those at which a batch ended.
use crate::{Hyperbee, Result, node::MAX_DEPTH, view::Source};
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
        let view = self.lasting_view();
        let mut roots = Vec::new();
        let mut children = HashSet::new();
        let mut keys = HashSet::new();
        // How many keys lie at and below each level of each block.
        let mut counts: HashMap<(u64, u64), usize> = HashMap::new();
        for seq in 1..view.version {
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
    }
}
