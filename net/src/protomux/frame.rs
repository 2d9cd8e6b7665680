//! A frame on its way out: many small pieces in one buffer, large ones beside it, so that a block is not copied into a message and a message
//! not into a batch.

use bytes::{BufMut, Bytes, BytesMut};
use pome_encoding::uint_len;

/// From this size (bytes) a piece is linked instead of copied.
const LINK_MIN: usize = 2048;

/// One message for the stream below, in pieces that belong one behind the other.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    pieces: Vec<Bytes>,
    open: BytesMut,
    len: usize,
}

impl Frame {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Its pieces, in order.
    pub fn pieces(&self) -> &[Bytes] {
        debug_assert!(self.open.is_empty(), "closed before it goes out");
        &self.pieces
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of it in one buffer.
    pub fn to_vec(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    pub(super) fn put_slice(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
        self.len += bytes.len();
    }

    pub(super) fn put_uint(&mut self, n: u64) {
        match uint_len(n) {
            1 => self.open.put_u8(n as u8),
            3 => {
                self.open.put_u8(0xfd);
                self.open.put_u16_le(n as u16);
            }
            5 => {
                self.open.put_u8(0xfe);
                self.open.put_u32_le(n as u32);
            }
            _ => {
                self.open.put_u8(0xff);
                self.open.put_u64_le(n);
            }
        }
        self.len += uint_len(n);
    }

    pub(super) fn put(&mut self, bytes: &Bytes) {
        if bytes.len() < LINK_MIN {
            return self.put_slice(bytes);
        }
        self.len += bytes.len();
        self.close();
        self.pieces.push(bytes.clone());
    }

    /// Makes the last piece one of [`Frame::pieces`].
    pub(super) fn close(&mut self) {
        if !self.open.is_empty() {
            self.pieces.push(self.open.split().freeze());
        }
    }
}
