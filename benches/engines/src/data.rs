//! Keys and values: the same for every engine, incompressible, in no order.

pub(crate) use pome_bench_work::store::{Values, key, mix};

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
