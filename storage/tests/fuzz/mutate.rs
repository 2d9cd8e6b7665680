//! Changes of bytes that are likely to matter: single bits, lengths at their bounds, parts that are moved, doubled, cut or taken from another input.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) struct Mutator {
    rng: ChaCha8Rng,
}

const BYTES: [u8; 8] = [0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff];

impl Mutator {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    fn below(&mut self, n: usize) -> usize {
        self.rng.random_range(0..n.max(1))
    }

    /// A changed input, and whether every crc shall be believed.
    pub(crate) fn next(&mut self, inputs: &[Vec<u8>]) -> (Vec<u8>, bool) {
        let mut bytes = inputs[self.below(inputs.len())].clone();
        let times = 1 + self.below(4) * self.below(3);
        for _ in 0..times {
            self.change(&mut bytes, inputs);
        }
        bytes.truncate(64 << 10);
        (bytes, self.rng.random())
    }

    /// Where something is: mostly where bytes are not zero.
    fn place(&mut self, bytes: &[u8]) -> usize {
        for _ in 0..8 {
            let at = self.below(bytes.len());
            if bytes.get(at).is_some_and(|b| *b != 0) {
                return at;
            }
        }
        self.below(bytes.len())
    }

    fn change(&mut self, bytes: &mut Vec<u8>, inputs: &[Vec<u8>]) {
        if bytes.is_empty() {
            bytes.resize(1 + self.below(64), 0);
        }
        let at = self.place(bytes);
        let left = bytes.len() - at;
        match self.below(10) {
            0..=2 => bytes[at] ^= 1 << self.below(8),
            3 => bytes[at] = BYTES[self.below(BYTES.len())],
            4 => {
                // A number at a bound, aligned as the format has them, or not.
                let at = if self.rng.random() { at & !3 } else { at };
                let width = [2, 4, 8][self.below(3)];
                let len = bytes.len() as u64;
                let numbers = [
                    0,
                    1,
                    len,
                    len - 1,
                    len + 1,
                    len / 2,
                    u64::MAX,
                    1 << 31,
                    1 << 63,
                    4096,
                    512,
                ];
                let number = numbers[self.below(numbers.len())].to_le_bytes();
                for (to, from) in bytes[at..].iter_mut().zip(&number[..width]) {
                    *to = *from;
                }
            }
            5 => {
                let n = 1 + self.below(left.min(64));
                self.rng.fill_bytes(&mut bytes[at..][..n.min(left)]);
            }
            6 => {
                // A part of it, somewhere else.
                let (from, n) = (self.place(bytes), 1 + self.below(512));
                let part = bytes[from..(from + n).min(bytes.len())].to_vec();
                let n = part.len().min(left);
                bytes[at..at + n].copy_from_slice(&part[..n]);
            }
            7 => {
                let n = 1 + self.below(64);
                let part = bytes[at..(at + n).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
            8 => match self.rng.random() {
                true => bytes.truncate(at),
                false => {
                    bytes.drain(at..(at + 1 + self.below(64)).min(bytes.len()));
                }
            },
            _ => {
                let other = &inputs[self.below(inputs.len())];
                let n = 1 + self.below(other.len());
                let end = n.min(left).min(other.len());
                let from = self.below(other.len() - end + 1);
                bytes[at..at + end].copy_from_slice(&other[from..from + end]);
            }
        }
    }
}
