//! What a seed makes happen.

use crate::oracle::{JOURNAL, Key, Op, SPACES};
use bytes::Bytes;
use pome_storage::{Durability, Options, PAYLOAD_BYTES_MIN};
use pome_wal::{Device, Faults, SimDevice};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The dice of one history.
pub(crate) struct Chance {
    rng: ChaCha8Rng,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0x706f_6d65),
        }
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.rng.random_range(0..n)
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn bytes(&mut self, len: u64) -> Bytes {
        let mut value = vec![0; len as usize];
        self.rng.fill_bytes(&mut value);
        value.into()
    }

    pub(crate) fn durability(&mut self) -> Durability {
        match self.one_in(3) {
            true => Durability::Synced,
            false => Durability::Buffered,
        }
    }

    pub(crate) fn key(&mut self) -> Key {
        let n = self.below(24) as u8;
        match self.below(12) {
            0 => vec![n; 200].into(),
            1 => Key::new(),
            _ => vec![b'k', n / 8, n % 8].into(),
        }
    }

    pub(crate) fn value(&mut self) -> Bytes {
        let len = match self.below(10) {
            0 => PAYLOAD_BYTES_MIN as u64 + self.below(3_000),
            1 => self.below(PAYLOAD_BYTES_MIN as u64),
            _ => self.below(60),
        };
        self.bytes(len)
    }

    pub(crate) fn ops(&mut self) -> Vec<Op> {
        let count = 1 + if self.one_in(8) {
            self.below(40)
        } else {
            self.below(4)
        };
        let space = |chance: &mut Self| match chance.below(SPACES) {
            JOURNAL => JOURNAL + 1,
            space => space,
        };
        (0..count)
            .map(|_| {
                let space = space(self);
                match self.below(12) {
                    0..=1 => Op::Delete(space, self.key()),
                    2 => Op::DeleteRange(space, self.key(), self.key()),
                    _ => Op::Put(space, self.key(), self.value()),
                }
            })
            .collect()
    }

    /// How many device calls until something happens.
    pub(crate) fn soon(&mut self) -> u64 {
        let within = match self.below(3) {
            0 => 8,
            1 => 40,
            _ => 250,
        };
        1 + self.below(within)
    }

    /// A fault of the device that a life goes on with, or is poisoned by.
    pub(crate) fn faults(&mut self, device: &SimDevice) -> Faults {
        let mut faults = Faults::default();
        match self.below(6) {
            0 => faults.space_bytes = Some(bytes_used(device) + self.below(32 << 10)),
            1 => {
                faults.full_from = Some(self.soon());
                faults.full_calls = self.soon();
            }
            2 => faults.fail_read = Some(self.soon()),
            3 => faults.fail_write = Some(self.soon()),
            4 => faults.fail_sync = Some(self.soon()),
            _ => faults.fail_call = Some(self.soon()),
        }
        faults
    }

    /// One way for a disk to break its word.
    pub(crate) fn lie(&mut self) -> Faults {
        let mut faults = Faults::default();
        let n = Some(self.soon());
        match self.below(4) {
            0 => faults.misdirect_write = n,
            1 => faults.lose_write = n,
            2 => faults.skip_sync = n,
            _ => faults.skip_sync_dir = Some(1 + self.below(10)),
        }
        faults
    }

    pub(crate) fn options(&mut self, seed: u64) -> Options {
        let encrypted = self.one_in(2);
        let mut options = options(seed, encrypted);
        options.log_segment_bytes = 4096 << self.below(3);
        options.payload_segment_bytes = 8192 << self.below(3);
        options
    }
}

/// A store of small files in which nothing happens by itself.
pub(crate) fn options(seed: u64, encrypted: bool) -> Options {
    let mut options = Options::default();
    options.background = false;
    options.seed = Some(seed);
    options.log_segment_bytes = 4096;
    options.payload_segment_bytes = 4096;
    if encrypted {
        options.key = Some(pome_storage::Key::from_key_file(&[7; 32]).unwrap());
        options.cache_bytes = 32 << 10;
    }
    options
}

pub(crate) fn bytes_used(device: &SimDevice) -> u64 {
    let names = device.list().unwrap_or_default();
    names
        .iter()
        .filter_map(|name| device.bytes(name))
        .map(|bytes| bytes.len() as u64)
        .sum()
}
