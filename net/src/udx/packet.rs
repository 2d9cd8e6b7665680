//! The 20 bytes in front of every UDX packet, as libudx (npm udx-native 1.21) writes them.
//!
//! ```text
//! ff │ 01 │ kind │ data offset │ receiver's stream id u32 │ window u32 │ seq u32 │ ack u32      all little-endian
//! ```
//! *kind* is a set of bits. Between header and payload lie `data offset` bytes: the ranges of a selective acknowledgement, or the zeros that make a
//! packet a probe for a larger MTU.

use super::seq::Seq;
use std::ops::BitOr;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 20;
const MAGIC: u8 = 0xff;
const VERSION: u8 = 1;

/// What a packet is: a set of bits, of which unknown ones are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kind(pub u8);

impl Kind {
    /// A plain acknowledgement.
    pub const STATE: Kind = Kind(0);
    /// Bytes of the stream.
    pub const DATA: Kind = Kind(1);
    /// The last packet of the stream.
    pub const END: Kind = Kind(2);
    /// Ranges of later packets that have arrived follow.
    pub const SACK: Kind = Kind(4);
    /// An unordered message.
    pub const MESSAGE: Kind = Kind(8);
    /// The stream is gone.
    pub const DESTROY: Kind = Kind(16);
    /// Answer with an acknowledgement: a keep-alive, or a question whether the window has opened.
    pub const HEARTBEAT: Kind = Kind(32);

    /// True when one of the bits of `other` is set.
    pub fn has(self, other: Kind) -> bool {
        self.0 & other.0 != 0
    }

    /// Packets that take a number of the sequence and are acknowledged.
    pub(crate) fn is_ordered(self) -> bool {
        self.has(Kind::DATA | Kind::END)
    }
}

impl BitOr for Kind {
    type Output = Kind;
    fn bitor(self, other: Kind) -> Kind {
        Kind(self.0 | other.0)
    }
}

/// The header of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the packet is.
    pub kind: Kind,
    /// Bytes between header and payload.
    pub data_offset: u8,
    /// The id that the receiver gave the stream.
    pub id: u32,
    /// How many bytes the sender of this packet is ready to take.
    pub window: u32,
    /// The number of this packet; of one that takes none, that of the next.
    pub seq: Seq,
    /// The number of the next packet that its sender expects.
    pub ack: Seq,
}

impl Header {
    /// The bytes of it.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..4].copy_from_slice(&[MAGIC, VERSION, self.kind.0, self.data_offset]);
        out[4..8].copy_from_slice(&self.id.to_le_bytes());
        out[8..12].copy_from_slice(&self.window.to_le_bytes());
        out[12..16].copy_from_slice(&self.seq.0.to_le_bytes());
        out[16..].copy_from_slice(&self.ack.0.to_le_bytes());
        out
    }

    /// Reads the header of a packet; `None` when it is none of UDX.
    pub fn decode(packet: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER_BYTES] = packet.first_chunk()?;
        if header[0] != MAGIC || header[1] != VERSION {
            return None;
        }
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| header[at + i]));
        Some(Self {
            kind: Kind(header[2]),
            data_offset: header[3],
            id: word(4),
            window: word(8),
            seq: Seq(word(12)),
            ack: Seq(word(16)),
        })
    }
}

/// The ranges of a selective acknowledgement, `start..end` each.
pub(crate) fn ranges(bytes: &[u8]) -> impl Iterator<Item = (Seq, Seq)> + '_ {
    bytes.chunks_exact(8).map(|pair| {
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| pair[at + i]));
        (Seq(word(0)), Seq(word(4)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_the_bytes_of_libudx() {
        let header = Header {
            kind: Kind::DATA | Kind::END,
            data_offset: 5,
            id: 0x0403_0201,
            window: 0x40_0000,
            seq: Seq(7),
            ack: Seq(u32::MAX),
        };
        let bytes = header.encode();
        assert_eq!(
            bytes,
            [
                255, 1, 3, 5, 1, 2, 3, 4, 0, 0, 64, 0, 7, 0, 0, 0, 255, 255, 255, 255
            ]
        );
        assert_eq!(Header::decode(&bytes), Some(header));
        assert_eq!(Header::decode(&bytes[..19]), None);
        assert_eq!(Header::decode(&[0; 20]), None);
    }
}
