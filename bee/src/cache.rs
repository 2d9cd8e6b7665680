//! The blocks that were read or written lately, shared by all views of a bee.
use crate::node::Block;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    mem,
    sync::Arc,
};

/// Default bound on the memory of a cache, in bytes.
pub(crate) const CACHE_BYTES: usize = 32 << 20;

/// A bounded map of blocks by seq, of one fork of the core.
///
/// Two generations: what is found in the old one moves to the young one; when the young one has half of the bytes, it becomes the old one and the old
/// one goes. So a lookup costs a hash or two, and what is used stays.
#[derive(Debug)]
pub(crate) struct Cache {
    half_bytes: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    fork: u64,
    bytes: usize,
    young: Blocks,
    old: Blocks,
}

type Blocks = HashMap<u64, Arc<Block>, BuildHasherDefault<SeqHasher>>;

/// A hash of one number, for seqs: they are dense, so a multiplication spreads them well.
#[derive(Debug, Default)]
struct SeqHasher(u64);

impl Hasher for SeqHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, seq: u64) {
        let mixed = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}

impl Cache {
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            half_bytes: bytes / 2,
            inner: Mutex::default(),
        }
    }

    /// The block, if it is here and the reader's core is of the same fork.
    pub(crate) fn get(&self, fork: u64, seq: u64) -> Option<Arc<Block>> {
        let mut inner = self.inner.lock();
        if inner.fork != fork {
            return None;
        }
        if let Some(block) = inner.young.get(&seq) {
            return Some(block.clone());
        }
        let block = inner.old.remove(&seq)?;
        self.insert_into(&mut inner, block.clone());
        Some(block)
    }

    /// Keeps `block`. `fork` is that of the core when the block was read; a newer one empties the cache.
    pub(crate) fn insert(&self, fork: u64, block: Arc<Block>) {
        let mut inner = self.inner.lock();
        if fork < inner.fork {
            return;
        }
        if fork > inner.fork {
            *inner = Inner {
                fork,
                ..Inner::default()
            };
        }
        self.insert_into(&mut inner, block);
    }

    fn insert_into(&self, inner: &mut Inner, block: Arc<Block>) {
        let weight = block.weight();
        if weight > self.half_bytes {
            return;
        }
        if inner.bytes + weight > self.half_bytes {
            inner.old = mem::take(&mut inner.young);
            inner.bytes = 0;
        }
        inner.bytes += weight;
        if let Some(before) = inner.young.insert(block.seq, block) {
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
        let cache = Cache::new(20_000);
        for seq in 1..1000 {
            cache.insert(0, block(seq));
            assert!(cache.get(0, 1).is_some(), "used all the time");
        }
        let kept = (1..1000).filter(|seq| cache.get(0, *seq).is_some()).count();
        assert!((5..=20).contains(&kept), "{kept}");
    }

    #[test]
    fn forks_do_not_mix() {
        let cache = Cache::new(20_000);
        cache.insert(0, block(1));
        assert!(cache.get(1, 1).is_none());
        cache.insert(1, block(2));
        assert!(cache.get(1, 1).is_none());
        cache.insert(0, block(3));
        assert!(cache.get(1, 3).is_none());
        assert!(cache.get(1, 2).is_some());
    }
}
