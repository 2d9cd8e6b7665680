//! Cutting content where the content says so, so that what is moved in a file is still found in equal blocks.
//!
//! A cut comes where a hash over the last 64 bytes ends in zeros: between 512 KiB and 8 MiB from the last one, as mirror-drive has it. Where exactly is the
//! writer's own business: readers read what the block map says.

use bytes::{Bytes, BytesMut};

/// Fewest bytes of a piece, but for the last.
const MIN: usize = 512 << 10;
/// Most bytes of a piece.
const MAX: usize = 8 << 20;
/// One cut in about so many bytes, after the first [`MIN`].
const MASK: u64 = ((1 << 20) - 1) << 44;

/// A number for each byte, from a fixed sequence (splitmix64).
const GEAR: [u64; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut z = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[at] = z ^ (z >> 31);
        at += 1;
    }
    table
};

/// Takes content in any parts, gives pieces.
#[derive(Default)]
pub(crate) struct Cutter {
    piece: BytesMut,
    hash: u64,
}

impl Cutter {
    /// The pieces that end in `content`.
    pub(crate) fn push(&mut self, mut content: Bytes) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        while let Some(end) = self.end_in(&content) {
            self.piece.extend_from_slice(&content.split_to(end));
            pieces.push(self.piece.split().freeze());
            self.hash = 0;
        }
        self.piece.extend_from_slice(&content);
        pieces
    }

    /// How many bytes of `content` end the piece.
    fn end_in(&mut self, content: &[u8]) -> Option<usize> {
        let before = self.piece.len();
        for (at, byte) in content.iter().enumerate() {
            self.hash = (self.hash << 1).wrapping_add(GEAR[usize::from(*byte)]);
            let length = before + at + 1;
            if length >= MAX || (length >= MIN && self.hash & MASK == 0) {
                return Some(at + 1);
            }
        }
        None
    }

    /// What is left.
    pub(crate) fn finish(self) -> Option<Bytes> {
        (!self.piece.is_empty()).then(|| self.piece.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(content: &[u8], part: usize) -> Vec<Bytes> {
        let mut cutter = Cutter::default();
        let parts = content.chunks(part);
        let mut pieces: Vec<_> = parts
            .flat_map(|part| cutter.push(Bytes::copy_from_slice(part)))
            .collect();
        pieces.extend(cutter.finish());
        pieces
    }

    fn content(len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed;
        let next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as u8
        };
        std::iter::repeat_with(next).take(len).collect()
    }

    #[test]
    fn pieces_do_not_depend_on_the_parts_and_find_themselves_again() {
        let before = content(20 << 20, 7);
        let pieces = cut(&before, 65_536);
        assert_eq!(pieces, cut(&before, 1_000_003));
        assert_eq!(pieces.concat(), before);
        let (last, rest) = pieces.split_last().expect("some");
        assert!(last.len() <= MAX && pieces.len() > 5);
        assert!(rest.iter().all(|piece| (MIN..=MAX).contains(&piece.len())));
        // a few bytes in front move all others
        let after = [b"in front".as_slice(), &before].concat();
        let moved = cut(&after, 65_536);
        let again = moved.iter().filter(|piece| pieces.contains(piece)).count();
        assert!(again + 2 >= pieces.len(), "{again} of {}", pieces.len());
        // no content that never cuts itself grows without end
        assert!(
            cut(&vec![0; 20 << 20], 65_536)
                .iter()
                .all(|piece| piece.len() <= MAX)
        );
        assert!(cut(b"", 1).is_empty());
    }
}
