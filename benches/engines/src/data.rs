//! Keys and values: the same for every engine, incompressible, in no order.

use bytes::Bytes;

/// What is stored, and how much of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Of one value.
    pub(crate) value_bytes: usize,
    /// Commits of one value each, by one committer.
    pub(crate) single: usize,
    /// Commits of one value each, by each of 16 committers.
    pub(crate) each_of_16: usize,
    pub(crate) batch: usize,
    pub(crate) batches: usize,
    pub(crate) gets: usize,
    pub(crate) cold_gets: usize,
}

pub(crate) const COMMITTERS: usize = 16;

pub(crate) const SMALL: Size = Size {
    value_bytes: 100,
    single: 5_000,
    each_of_16: 1_000,
    batch: 1_000,
    batches: 100,
    gets: 400_000,
    cold_gets: 1_000,
};

pub(crate) const BIG: Size = Size {
    value_bytes: 64 << 10,
    single: 500,
    each_of_16: 32,
    batch: 64,
    batches: 64,
    gets: 20_000,
    cold_gets: 500,
};

impl Size {
    pub(crate) fn quick(self) -> Self {
        Self {
            single: self.single / 10,
            each_of_16: self.each_of_16 / 10,
            batches: self.batches / 10,
            gets: self.gets / 10,
            cold_gets: self.cold_gets / 10,
            ..self
        }
    }

    /// All values that are stored in the end.
    pub(crate) fn total(&self) -> usize {
        self.single + COMMITTERS * self.each_of_16 + self.batch * self.batches
    }
}

/// The next of a sequence of numbers without an order (SplitMix64).
pub(crate) fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The key of the n-th value: 32 bytes.
pub(crate) fn key(n: usize) -> [u8; 32] {
    let mut key = [0; 32];
    let mut state = n as u64;
    for part in key.chunks_mut(8) {
        state = mix(state);
        part.copy_from_slice(&state.to_le_bytes());
    }
    key
}

/// Bytes from which the values are cut, so that making them costs nothing while the clock runs.
#[derive(Clone)]
pub(crate) struct Values {
    pool: Bytes,
    len: usize,
}

impl Values {
    pub(crate) fn new(len: usize) -> Self {
        let pool = (0..(8 << 20) / 8)
            .flat_map(|n: u64| mix(n).to_le_bytes())
            .collect::<Vec<u8>>();
        Self {
            pool: pool.into(),
            len,
        }
    }

    pub(crate) fn value(&self, n: usize) -> Bytes {
        let room = self.pool.len() - self.len;
        let start = (mix(n as u64) as usize) % room;
        self.pool.slice(start..start + self.len)
    }
}
