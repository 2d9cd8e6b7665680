//! A large value in pieces of 4 KiB, each sealed by itself: who wants a few bytes of a value opens the pieces they lie in.
//!
//! ```text
//! nonce 24 │ ciphertext 4096 │ tag 16 │ ciphertext 4096 │ tag 16 │ … │ ciphertext 1…4096 (of an empty value 0) │ tag 16
//! ```
//! AES-256-GCM, under a key of the value's own (see [`crate::aead`]). A piece is sealed under its number, and the last one as the last: those that
//! were exchanged, left out, or cut off do not open. All of a value have the same associated data.

use crate::{
    aead::{Message, NONCE_BYTES, TAG_BYTES},
    format::VALUE_BYTES_MAX,
};
use std::ops::Range;

const PIECE_BYTES: usize = 4096;
/// A piece with its tag.
const SEALED_PIECE_BYTES: usize = PIECE_BYTES + TAG_BYTES;
/// Part of the number of the last piece.
const LAST: u32 = 1 << 31;

const _: () = assert!(VALUE_BYTES_MAX / PIECE_BYTES < LAST as usize);

/// An empty value has one piece, too.
const fn count(len: u64, piece: usize) -> u64 {
    let count = len.div_ceil(piece as u64);
    if count == 0 { 1 } else { count }
}

/// How long a value of `plain` bytes is when it is sealed; `None` where no number is so large.
pub(crate) const fn sealed_bytes(plain: u64) -> Option<u64> {
    let tags = count(plain, PIECE_BYTES) * TAG_BYTES as u64;
    plain.checked_add(NONCE_BYTES as u64 + tags)
}

/// The reverse of [`sealed_bytes`]; `None` when no value has this length.
pub(crate) const fn plain_bytes(sealed: u64) -> Option<u64> {
    let Some(pieces) = sealed.checked_sub(NONCE_BYTES as u64) else {
        return None;
    };
    let tags = count(pieces, SEALED_PIECE_BYTES) * TAG_BYTES as u64;
    let Some(plain) = pieces.checked_sub(tags) else {
        return None;
    };
    // Else the last piece has no byte besides its tag, or not even that.
    match sealed_bytes(plain) {
        Some(len) if len == sealed => Some(plain),
        _ => None,
    }
}

fn number(index: usize, last: bool) -> u32 {
    let index = u32::try_from(index).expect("a value has at most 64 MiB");
    if last { index | LAST } else { index }
}

/// The message key of a value is made by `key` of its nonce.
pub(crate) fn seal(
    key: impl FnOnce(&[u8; NONCE_BYTES]) -> Message,
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    plain: &[u8],
) -> Vec<u8> {
    let key = key(nonce);
    let pieces = count(plain.len() as u64, PIECE_BYTES) as usize;
    let mut out = Vec::with_capacity(NONCE_BYTES + plain.len() + pieces * TAG_BYTES);
    out.extend_from_slice(nonce);
    let mut rest = plain;
    for index in 0..pieces {
        let (piece, behind) = rest.split_at(rest.len().min(PIECE_BYTES));
        rest = behind;
        let at = out.len();
        out.extend_from_slice(piece);
        let tag = key.seal(number(index, index + 1 == pieces), aad, &mut out[at..]);
        out.extend_from_slice(&tag);
    }
    out
}

/// The bytes of a value that lie in `wanted` and are there; `None` when one of the pieces they lie in does not open. No other is looked at.
pub(crate) fn open(
    key: impl FnOnce(&[u8; NONCE_BYTES]) -> Message,
    aad: &[u8],
    sealed: &[u8],
    wanted: Range<usize>,
) -> Option<Vec<u8>> {
    let (nonce, pieces) = sealed.split_first_chunk()?;
    let plain = usize::try_from(plain_bytes(sealed.len() as u64)?).ok()?;
    let end = wanted.end.min(plain);
    let start = wanted.start.min(end);
    let key = key(nonce);
    let count = count(pieces.len() as u64, SEALED_PIECE_BYTES) as usize;
    let first = (start / PIECE_BYTES).min(count - 1);
    let behind = end.div_ceil(PIECE_BYTES).clamp(first + 1, count);
    let mut out = Vec::with_capacity((behind - first) * PIECE_BYTES);
    let all = pieces.chunks(SEALED_PIECE_BYTES).enumerate();
    for (index, piece) in all.take(behind).skip(first) {
        let (ciphertext, tag) = piece.split_last_chunk()?;
        let at = out.len();
        out.extend_from_slice(ciphertext);
        if !key.open(
            number(index, index + 1 == count),
            aad,
            out.get_mut(at..)?,
            tag,
        ) {
            return None;
        }
    }
    let skipped = start - first * PIECE_BYTES;
    out.truncate(end - first * PIECE_BYTES);
    if skipped > 0 {
        out.drain(..skipped);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(nonce: &[u8; NONCE_BYTES]) -> Message {
        Message::aes(&[7; 32], nonce)
    }

    fn value(len: usize) -> Vec<u8> {
        (0..len).map(|n| (n * 7 % 251) as u8).collect()
    }

    fn sealed(nonce: u8, plain: &[u8]) -> Vec<u8> {
        seal(key, &[nonce; NONCE_BYTES], b"place", plain)
    }

    fn whole(sealed: &[u8]) -> Option<Vec<u8>> {
        open(key, b"place", sealed, 0..usize::MAX)
    }

    const LENGTHS: [usize; 8] = [0, 1, 1024, 4095, 4096, 4097, 8192, 20_000];

    #[test]
    fn a_value_has_the_length_that_is_said() {
        for len in LENGTHS {
            let sealed = sealed(1, &value(len));
            assert_eq!(sealed_bytes(len as u64), Some(sealed.len() as u64));
            assert_eq!(plain_bytes(sealed.len() as u64), Some(len as u64));
            assert_eq!(whole(&sealed), Some(value(len)), "{len}");
        }
        assert_eq!(sealed_bytes(u64::MAX), None);
        for len in [0, 23, 24, 39, 24 + SEALED_PIECE_BYTES as u64 + 15] {
            assert_eq!(plain_bytes(len), None, "{len}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_that_of_the_value(len in 0..20_000_usize, start in 0..25_000_usize, part in 0..9000_usize) {
            let plain = value(len);
            let end = (start + part).min(len);
            let want = &plain[start.min(end)..end];
            let got = open(key, b"place", &sealed(1, &plain), start..start + part);
            prop_assert_eq!(got.as_deref(), Some(want));
        }
    }

    /// Each bit flipped: the parts that lie in the piece do not open, and the others do.
    #[test]
    fn a_changed_piece_does_not_open_and_the_others_do() {
        let plain = value(9000);
        let good = sealed(1, &plain);
        for at in (NONCE_BYTES..good.len())
            .step_by(97)
            .chain([good.len() - 1])
        {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            assert_eq!(whole(&bad), None, "byte {at}");
            for piece in 0..3 {
                let start = piece * PIECE_BYTES;
                let opened = open(key, b"place", &bad, start..start + 10);
                let hit = (at - NONCE_BYTES) / SEALED_PIECE_BYTES == piece;
                assert_eq!(opened.is_none(), hit, "byte {at}, piece {piece}");
            }
        }
        for at in 0..NONCE_BYTES {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(open(key, b"place", &bad, 5000..5001), None, "byte {at}");
        }
        assert_eq!(open(key, b"plate", &good, 5000..5001), None);
    }

    #[test]
    fn pieces_that_were_exchanged_or_cut_off_do_not_open() {
        let plain = value(3 * PIECE_BYTES);
        let good = sealed(1, &plain);
        let (nonce, pieces) = good.split_at(NONCE_BYTES);
        let pieces: Vec<&[u8]> = pieces.chunks(SEALED_PIECE_BYTES).collect();
        let made = |order: &[&[u8]]| [nonce, &order.concat()].concat();
        let other = sealed(2, &plain);
        let other = &other[NONCE_BYTES..][..SEALED_PIECE_BYTES];
        assert_eq!(whole(&made(&pieces)), Some(plain));
        for (what, order) in [
            ("the first two", vec![pieces[1], pieces[0], pieces[2]]),
            ("the last two", vec![pieces[0], pieces[2], pieces[1]]),
            ("one twice", vec![pieces[0], pieces[0], pieces[2]]),
            ("without the first", vec![pieces[1], pieces[2]]),
            ("without the middle", vec![pieces[0], pieces[2]]),
            ("without the last", vec![pieces[0], pieces[1]]),
            ("the first alone", vec![pieces[0]]),
            (
                "the last twice",
                vec![pieces[0], pieces[1], pieces[2], pieces[2]],
            ),
            ("of another value", vec![other, pieces[1], pieces[2]]),
        ] {
            assert_eq!(whole(&made(&order)), None, "{what}");
        }
        for len in (0..good.len()).step_by(13) {
            assert_eq!(whole(&good[..len]), None, "cut at {len}");
        }
    }
}
