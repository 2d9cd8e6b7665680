//! A filter that says "surely not in this table" for about 99 of 100 keys that are not: one cache line is looked at for each question.
//!
//! The bits lie in pages of 4 KiB: 63 lines of 64 bytes, zeros, a tag if the store is encrypted, a crc32 (both as of a block). About ten bits a key, seven of them set.

use crate::aead::TAG_BYTES;

/// Bytes of a page, tag and crc included.
pub(crate) const PAGE_BYTES: usize = 4096;
const LINE_BYTES: usize = 64;
const LINES: u64 = 63;
const KEYS_PER_LINE: u64 = 51;
const PROBES: u32 = 7;
const _: () = assert!(LINES as usize * LINE_BYTES + TAG_BYTES + 4 <= PAGE_BYTES);

/// The hash of a key that the filter is made of. Part of the format.
pub(crate) fn hash(key: &[u8]) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut h = (key.len() as u64).wrapping_mul(K);
    let fold = |h: u64, word: u64| {
        let wide = u128::from(h ^ word ^ K).wrapping_mul(0xd6e8_feb8_6659_fd93_a5a5_a5a5_a5a5_a5a7);
        (wide >> 64) as u64 ^ wide as u64
    };
    let (words, rest) = key.as_chunks::<8>();
    for word in words {
        h = fold(h, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    h = fold(h, u64::from_le_bytes(last));
    fold(h, K)
}

/// How many pages serve this many keys.
pub(crate) fn pages_for(keys: u64) -> u64 {
    keys.div_ceil(KEYS_PER_LINE * LINES).max(1)
}

/// Page, first byte of the line in it, and the bits to look at.
fn place(hash: u64, pages: u64) -> (u64, usize, impl Iterator<Item = (usize, u8)>) {
    let line = ((u128::from(hash) * u128::from(pages * LINES)) >> 64) as u64;
    let mut walk = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    walk ^= walk >> 32;
    let bits = (0..PROBES).map(move |probe| {
        let bit = (walk >> (probe * 9)) & 511;
        ((bit / 8) as usize, 1u8 << (bit % 8))
    });
    (line / LINES, (line % LINES) as usize * LINE_BYTES, bits)
}

/// Collects keys. Takes 4 KiB per about 3,200 expected keys.
pub(crate) struct BloomBuilder {
    bits: Vec<u8>,
    pages: u64,
}

impl BloomBuilder {
    pub(crate) fn new(expected_keys: u64) -> Self {
        let pages = pages_for(expected_keys);
        Self {
            bits: vec![0; pages as usize * PAGE_BYTES],
            pages,
        }
    }

    pub(crate) fn add(&mut self, key: &[u8]) {
        let (page, line, bits) = place(hash(key), self.pages);
        let at = page as usize * PAGE_BYTES + line;
        for (byte, mask) in bits {
            self.bits[at + byte] |= mask;
        }
    }

    /// The pages, with room for tag and crc at the end of each.
    pub(crate) fn pages(&self) -> impl Iterator<Item = &[u8]> {
        self.bits.chunks_exact(PAGE_BYTES)
    }
}

/// Which page decides about the key with this hash, and how to ask it.
pub(crate) fn question(hash: u64, pages: u64) -> (u64, impl Fn(&[u8]) -> bool) {
    let (page, line, bits) = place(hash, pages);
    let bits: [(usize, u8); PROBES as usize] = {
        let mut all = [(0, 0); PROBES as usize];
        for (to, from) in all.iter_mut().zip(bits) {
            *to = from;
        }
        all
    };
    (page, move |content: &[u8]| {
        bits.iter()
            .all(|(byte, mask)| content.get(line + byte).is_none_or(|b| b & mask != 0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_keys_and_few_others() {
        let keys: Vec<[u8; 16]> = (0..20_000u64)
            .map(|i| {
                let mut key = [7; 16];
                key[8..].copy_from_slice(&i.to_be_bytes());
                key
            })
            .collect();
        let mut builder = BloomBuilder::new(10_000);
        for key in &keys[..10_000] {
            builder.add(key);
        }
        let pages = builder.pages;
        let bits = builder.bits;
        let asked = |key: &[u8]| {
            let (page, may_hold) = question(hash(key), pages);
            may_hold(&bits[page as usize * PAGE_BYTES..][..PAGE_BYTES - 4])
        };
        assert!(keys[..10_000].iter().all(|k| asked(k)));
        let wrong = keys[10_000..].iter().filter(|k| asked(&k[..])).count();
        assert!(wrong < 300, "{wrong} of 10,000 false answers");
    }

    #[test]
    fn the_hash_is_part_of_the_format() {
        assert_eq!(hash(b""), hash(b""));
        assert_ne!(hash(b""), hash(b"\0"));
        assert_ne!(hash(b"abcdefgh"), hash(b"abcdefgh\0"));
    }
}
