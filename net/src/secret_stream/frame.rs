//! How a byte stream is cut into messages: a length of three bytes (`u24` LE), then that many bytes.

use bytes::{Buf, BytesMut};

/// The bytes of a length.
pub(super) const LENGTH: usize = 3;

/// The longest message that a length can name, in bytes, sealed.
pub const FRAME_MAX: usize = (1 << 24) - 1;

/// What the bytes at the front of a stream are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Front {
    /// A whole message of this many bytes stands behind its length.
    Whole(usize),
    /// Nothing, or part of a message: this many more bytes are wanted before it makes sense to look again.
    Missing(usize),
}

/// Looks at the front of `input`.
pub(super) fn front(input: &[u8]) -> Front {
    let Some(length) = input.first_chunk::<LENGTH>() else {
        return Front::Missing(LENGTH - input.len());
    };
    let length = length_of(length);
    match (LENGTH + length).checked_sub(input.len()) {
        None | Some(0) => Front::Whole(length),
        Some(missing) => Front::Missing(missing),
    }
}

/// The length that the peer announces next, as far as it is there.
pub(super) fn announced(input: &[u8]) -> Option<usize> {
    input.first_chunk::<LENGTH>().map(length_of)
}

fn length_of(bytes: &[u8; LENGTH]) -> usize {
    usize::from(bytes[0]) | usize::from(bytes[1]) << 8 | usize::from(bytes[2]) << 16
}

/// The three bytes that announce `length`, which must not be over [`FRAME_MAX`].
pub(super) fn length_bytes(length: usize) -> [u8; LENGTH] {
    debug_assert!(length <= FRAME_MAX);
    [length as u8, (length >> 8) as u8, (length >> 16) as u8]
}

/// Takes a message of `length` bytes, without a copy, off a front that [`front`] calls whole.
pub(super) fn take(input: &mut BytesMut, length: usize) -> BytesMut {
    let mut frame = input.split_to(LENGTH + length);
    frame.advance(LENGTH);
    frame
}
