//! The blocks that were read or written lately, shared by all views of a bee, and by as many bees as one likes.
use crate::{edit::Tree, node::Block};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Default bound on the memory of a cache, in bytes.
const CACHE_BYTES: usize = 40 << 20;

/// A cache for the blocks of many bees, which bounds their memory together. Cheap to clone.
///
/// ```
/// # use pome_bee::{BeeCache, Hyperbee};
/// # use pome_cores::{CoreOptions, Corestore};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let store = pome_storage::Store::open(folder.path(), pome_storage::Options::default())?;
/// # let cores = Corestore::open(store)?;
/// let cache = BeeCache::new(16 << 20);
/// let fruit = Hyperbee::new(cores.get(CoreOptions::name("fruit")).await?).with_cache(&cache);
/// let trees = Hyperbee::new(cores.get(CoreOptions::name("trees")).await?).with_cache(&cache);
/// fruit.put(b"apple", "red").await?;
/// trees.put(b"apple", "small").await?;
/// assert_eq!(fruit.get(b"apple").await?.and_then(|e| e.value), Some("red".into()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct BeeCache(Arc<Shared>);

/// Two generations: what is found in the old one moves to the young one; when the young one has its half of the bytes, it becomes the old one and the old
/// one goes. So a lookup costs a hash or two, and what is used stays. A fifth of the whole is beside them, for the tree of the bee that was written last.
struct Shared {
    half_bytes: usize,
    tree_bytes: usize,
    bees: AtomicU64,
    inner: Mutex<Inner>,
    /// Whose it is, and the tree.
    tree: Mutex<Option<(u64, Tree)>>,
}

#[derive(Default)]
struct Inner {
    bytes: usize,
    young: Blocks,
    old: Blocks,
}

/// Which bee, the fork of its core, seq.
type Place = (u64, u64, u64);
type Blocks = HashMap<Place, Arc<Block>, BuildHasherDefault<PlaceHasher>>;

/// A hash of three numbers, of which the last are dense: multiplications spread them well.
#[derive(Debug, Default)]
struct PlaceHasher(u64);

impl Hasher for PlaceHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}

impl fmt::Debug for BeeCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BeeCache").finish_non_exhaustive()
    }
}

impl Default for BeeCache {
    /// 40 MiB.
    fn default() -> Self {
        Self::new(CACHE_BYTES)
    }
}

impl BeeCache {
    /// A cache of at most so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Shared {
            half_bytes: bytes / 5 * 2,
            tree_bytes: bytes / 5,
            bees: AtomicU64::new(0),
            inner: Mutex::default(),
            tree: Mutex::default(),
        }))
    }

    /// The part of one bee.
    pub(crate) fn part(&self) -> Cache {
        Cache {
            bee: self.0.bees.fetch_add(1, Ordering::Relaxed),
            shared: self.0.clone(),
        }
    }
}

/// The part of a cache that one bee and its views use.
pub(crate) struct Cache {
    bee: u64,
    shared: Arc<Shared>,
}

impl Cache {
    /// The block, if it is here and the reader's core is of the same fork.
    pub(crate) fn get(&self, fork: u64, seq: u64) -> Option<Arc<Block>> {
        let place = (self.bee, fork, seq);
        let mut inner = self.shared.inner.lock();
        if let Some(block) = inner.young.get(&place) {
            return Some(block.clone());
        }
        let block = inner.old.remove(&place)?;
        self.shared.insert(&mut inner, place, block.clone());
        Some(block)
    }

    /// Keeps `block`. `fork` is that of the core when the block was read.
    pub(crate) fn insert(&self, fork: u64, block: Arc<Block>) {
        let mut inner = self.shared.inner.lock();
        let place = (self.bee, fork, block.seq);
        self.shared.insert(&mut inner, place, block);
    }

    /// The tree of this version, with what the bee's last change left of it.
    pub(crate) fn take_tree(&self, fork: u64, version: u64) -> Tree {
        let kept = self.shared.tree.lock().take_if(|(bee, _)| *bee == self.bee);
        kept.map(|(_, tree)| tree)
            .filter(|tree| (tree.fork, tree.version) == (fork, version))
            .unwrap_or_else(|| Tree::new(fork, version))
    }

    /// Keeps what a change left of the bee's tree for the next one, unless it is too much.
    pub(crate) fn keep_tree(&self, tree: Tree) {
        if tree.weight() <= self.shared.tree_bytes {
            let before = self.shared.tree.lock().replace((self.bee, tree));
            drop(before);
        }
    }
}

impl Shared {
    fn insert(&self, inner: &mut Inner, place: Place, block: Arc<Block>) {
        let weight = block.weight();
        if weight > self.half_bytes {
            return;
        }
        if inner.bytes + weight > self.half_bytes {
            inner.old = mem::take(&mut inner.young);
            inner.bytes = 0;
        }
        inner.bytes += weight;
        if let Some(before) = inner.young.insert(place, block) {
            inner.bytes = inner.bytes.saturating_sub(before.weight());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(seq: u64) -> Arc<Block> {
        Arc::new(Block::pending(seq, vec![0; 600].into(), None))
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        let cache = BeeCache::new(20_000);
        let (one, other) = (cache.part(), cache.part());
        for seq in 1..1000 {
            one.insert(0, block(seq));
            other.insert(0, block(seq));
            assert!(one.get(0, 1).is_some(), "used all the time");
        }
        let kept = |part: &Cache| (1..1000).filter(|seq| part.get(0, *seq).is_some()).count();
        let kept = kept(&one) + kept(&other);
        assert!((5..=20).contains(&kept), "{kept}");
    }

    #[test]
    fn forks_and_bees_do_not_mix() {
        let cache = BeeCache::default();
        let (one, other) = (cache.part(), cache.part());
        one.insert(0, block(1));
        assert!(one.get(0, 1).is_some());
        assert!(one.get(1, 1).is_none());
        assert!(other.get(0, 1).is_none());
        one.insert(1, block(2));
        assert!(one.get(1, 1).is_none());
        assert!(one.get(1, 2).is_some());
    }

    #[test]
    fn places_do_not_collide() {
        let hash = |place: Place| {
            use std::hash::BuildHasher;
            BuildHasherDefault::<PlaceHasher>::default().hash_one(place)
        };
        let all: std::collections::HashSet<u64> = (0..20_000)
            .map(|n| hash((n % 20, n / 20 % 10, n / 200)))
            .collect();
        assert_eq!(all.len(), 20_000);
    }
}
