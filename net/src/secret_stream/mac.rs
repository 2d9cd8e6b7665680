//! Poly1305 for short messages: one block after the other in 64-bit words. The vectorised one of the `poly1305` crate prepares powers of its key for every
//! message, and merges its four lanes after it; below [`SHORT`] bytes that takes longer than the message.
//!
//! A number below 2¹³⁰ is in three words of 44, 44 and 42 bits, with room above each for a sum. 2¹³⁰ is 5 modulo the prime, so what is carried out of the
//! top comes back five times at the bottom. No step depends on the bytes.

use zeroize::Zeroize;

/// Messages below this many bytes are hashed here.
pub(super) const SHORT: usize = 8192;

const BLOCK: usize = 16;
const LOW: u64 = (1 << 44) - 1;
const TOP: u64 = (1 << 42) - 1;

/// A number that sums are multiplied with.
struct Multiplier {
    r: [u64; 3],
    /// 20 times the upper words: what they multiply comes back from above 2¹³⁰, 2 bits higher than a word ends.
    s: [u64; 2],
}

impl Multiplier {
    fn new(r: [u64; 3]) -> Self {
        Self {
            r,
            s: [20 * r[1], 20 * r[2]],
        }
    }

    /// The words of a product, not carried yet.
    #[inline(always)]
    fn times(&self, [h0, h1, h2]: [u64; 3]) -> [u128; 3] {
        let ([r0, r1, r2], [s1, s2]) = (self.r, self.s);
        [
            wide(h0, r0) + wide(h1, s2) + wide(h2, s1),
            wide(h0, r1) + wide(h1, r0) + wide(h2, s2),
            wide(h0, r2) + wide(h1, r1) + wide(h2, r0),
        ]
    }
}

impl Drop for Multiplier {
    fn drop(&mut self) {
        self.r.zeroize();
        self.s.zeroize();
    }
}

/// The state of one message.
pub(super) struct ShortMac {
    r: Multiplier,
    /// `r` times `r`: two blocks are taken at a time, so that their multiplications do not wait for each other.
    square: Multiplier,
    sum: [u64; 3],
    pad: u128,
}

/// 16 bytes as three words.
#[inline(always)]
fn words(block: &[u8; BLOCK]) -> [u64; 3] {
    let n = u128::from_le_bytes(*block);
    [n as u64 & LOW, (n >> 44) as u64 & LOW, (n >> 88) as u64]
}

#[inline(always)]
fn wide(a: u64, b: u64) -> u128 {
    u128::from(a) * u128::from(b)
}

/// Brings the words of a product to their lengths; the second may be a little longer.
#[inline(always)]
fn carry([d0, d1, d2]: [u128; 3]) -> [u64; 3] {
    let d1 = d1 + (d0 >> 44);
    let d2 = d2 + (d1 >> 44);
    let h0 = (d0 as u64 & LOW) + 5 * (d2 >> 42) as u64;
    let h1 = (d1 as u64 & LOW) + (h0 >> 44);
    [h0 & LOW, h1, d2 as u64 & TOP]
}

impl ShortMac {
    /// `key` must never be used again.
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let (mut r, mut pad) = ([0; BLOCK], [0; BLOCK]);
        r.copy_from_slice(&key[..BLOCK]);
        pad.copy_from_slice(&key[BLOCK..]);
        // The bits that Poly1305 clears in its multiplier.
        for byte in [3, 7, 11, 15] {
            r[byte] &= 15;
        }
        for byte in [4, 8, 12] {
            r[byte] &= 252;
        }
        let r = Multiplier::new(words(&r));
        let square = Multiplier::new(carry(r.times(r.r)));
        Self {
            r,
            square,
            sum: [0; 3],
            pad: u128::from_le_bytes(pad),
        }
    }

    /// Takes whole blocks; `high` is what stands above their 16 bytes.
    fn blocks(&mut self, blocks: &[[u8; BLOCK]], high: u64) {
        let with = |[h0, h1, h2]: [u64; 3], block| {
            let [m0, m1, m2] = words(block);
            [h0 + m0, h1 + m1, h2 + (m2 | high)]
        };
        let mut sum = self.sum;
        let (pairs, last) = blocks.as_chunks::<2>();
        for [a, b] in pairs {
            let [x0, x1, x2] = self.square.times(with(sum, a));
            let [y0, y1, y2] = self.r.times(with([0; 3], b));
            sum = carry([x0 + y0, x1 + y1, x2 + y2]);
        }
        for block in last {
            sum = carry(self.r.times(with(sum, block)));
        }
        self.sum = sum;
    }

    /// Takes bytes whose number is a multiple of 16.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        let (blocks, rest) = bytes.as_chunks();
        debug_assert!(rest.is_empty());
        self.blocks(blocks, 1 << 40);
    }

    /// The MAC, after the last bytes.
    pub(super) fn finish(mut self, rest: &[u8]) -> [u8; BLOCK] {
        let (blocks, rest) = rest.as_chunks();
        self.blocks(blocks, 1 << 40);
        if !rest.is_empty() {
            let mut last = [0; BLOCK];
            last[..rest.len()].copy_from_slice(rest);
            last[rest.len()] = 1;
            self.blocks(&[last], 0);
        }
        let [mut h0, mut h1, mut h2] = self.sum;
        for _ in 0..2 {
            h1 += h0 >> 44;
            h0 &= LOW;
            h2 += h1 >> 44;
            h1 &= LOW;
            h0 += 5 * (h2 >> 42);
            h2 &= TOP;
        }
        h1 += h0 >> 44;
        h0 &= LOW;
        // All of it below 2¹³⁰ now: 128 bits and the two above them.
        let low = u128::from(h0) | u128::from(h1) << 44 | u128::from(h2) << 88;
        let (less, carry) = low.overflowing_add(5);
        let above = (h2 >> 40) + u64::from(carry);
        // Of the prime or more: without the prime, which is adding 5 and dropping 2¹³⁰.
        let mask = u128::from(above >> 2).wrapping_neg();
        let reduced = (less & mask) | (low & !mask);
        reduced.wrapping_add(self.pad).to_le_bytes()
    }
}

impl Drop for ShortMac {
    fn drop(&mut self) {
        self.pad.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use poly1305::{Poly1305, universal_hash::KeyInit};
    use proptest::prelude::*;

    fn ours(key: &[u8; 32], first: &[u8], rest: &[u8]) -> [u8; 16] {
        let mut mac = ShortMac::new(key);
        mac.update(first);
        mac.finish(rest)
    }

    fn theirs(key: &[u8; 32], bytes: &[u8]) -> [u8; 16] {
        Poly1305::new(&(*key).into()).compute_unpadded(bytes).into()
    }

    proptest! {
        #[test]
        fn it_is_the_crates(
            key in any::<[u8; 32]>(),
            bytes in prop::collection::vec(prop_oneof![Just(0xff), Just(0), any::<u8>()], 0..400),
            cut in 0..25_usize,
        ) {
            let cut = (16 * cut).min(bytes.len() & !15);
            let (first, rest) = bytes.split_at(cut);
            prop_assert_eq!(ours(&key, first, rest), theirs(&key, &bytes));
        }
    }

    /// Sums at the edges of the prime, where carries run through all words. The multiplier 1 leaves the blocks as they are.
    #[test]
    fn sums_around_the_prime_are_reduced() {
        for r in [1_u8, 2, 4, 15] {
            for pad in [0, 0xff] {
                let mut key = [pad; 32];
                key[..16].fill(0);
                key[0] = r;
                for last in 0..=255 {
                    for middle in [0, 0xff] {
                        let mut block = [middle; 16];
                        block[0] = last;
                        let bytes = [block, [0xff; 16], block].concat();
                        for len in [0, 15, 16, 17, 32, 47, 48] {
                            let bytes = &bytes[..len];
                            assert_eq!(
                                ours(&key, &[], bytes),
                                theirs(&key, bytes),
                                "{r} {last} {len}"
                            );
                        }
                    }
                }
            }
        }
    }
}
