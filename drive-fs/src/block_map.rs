//! Block maps: the content of a deduplicated blob is a list of blocks of the core, anywhere and more than once.
//!
//! One block of a map: `uint 0` (version), `uint` count, and per block `uint` index, `uint` byte length. A map of more than
//! 8,192 entries goes on in the next block; a map has at most 64 blocks.
//! Source: hyperblobs 2.12.1, `lib/block-map.js`. Vectors: `drive.json`, `block_maps`.

use bytes::Bytes;
use pome_encoding::{DecodeError, Reader, put_uint, uint_len};

/// Entries in one block of a map.
const ENTRIES_PER_BLOCK: usize = 8192;
/// Blocks of one map.
pub(crate) const BLOCKS_MAX: u64 = 64;
/// Entries that a map may have in memory: twice what 64 blocks of a well-behaved writer hold.
const ENTRIES_MAX: usize = 1 << 20;

/// One block of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MappedBlock {
    /// Where in the core.
    pub(crate) index: u64,
    /// Its size.
    pub(crate) byte_length: u64,
}

/// The list of blocks, in the order of the content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct BlockMap {
    blocks: Vec<MappedBlock>,
    /// `ends[i]` is the byte after block `i` of the content.
    ends: Vec<u64>,
}

impl BlockMap {
    pub(crate) fn push(&mut self, block: MappedBlock) -> Result<(), &'static str> {
        if self.blocks.len() >= ENTRIES_MAX {
            return Err("too many blocks");
        }
        let end = self.byte_length().checked_add(block.byte_length);
        self.ends.push(end.ok_or("too many bytes")?);
        self.blocks.push(block);
        Ok(())
    }

    pub(crate) fn blocks(&self) -> &[MappedBlock] {
        &self.blocks
    }

    /// Size of the content.
    pub(crate) fn byte_length(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Which block of the list holds the byte at `offset`, and where in it.
    pub(crate) fn seek(&self, offset: u64) -> (usize, u64) {
        let at = self.ends.partition_point(|end| *end <= offset);
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        (at, offset - start)
    }

    /// The blocks of the map itself.
    pub(crate) fn encode(&self) -> Vec<Bytes> {
        self.blocks
            .chunks(ENTRIES_PER_BLOCK)
            .map(|blocks| {
                let mut out = Vec::with_capacity(1 + uint_len(ENTRIES_PER_BLOCK as u64));
                put_uint(&mut out, 0);
                put_uint(&mut out, blocks.len() as u64);
                for block in blocks {
                    put_uint(&mut out, block.index);
                    put_uint(&mut out, block.byte_length);
                }
                out.into()
            })
            .collect()
    }

    pub(crate) fn decode(buffers: &[Bytes]) -> Result<Self, &'static str> {
        let mut map = Self::default();
        for buffer in buffers {
            let mut reader = Reader::new(buffer);
            let mut uint = || {
                reader.uint().map_err(|e: DecodeError| match e {
                    DecodeError::OutOfBounds { .. } => "it ends early",
                    _ => "a number out of range",
                })
            };
            if uint()? != 0 {
                return Err("unknown version");
            }
            for _ in 0..uint()? {
                let (index, byte_length) = (uint()?, uint()?);
                map.push(MappedBlock { index, byte_length })?;
            }
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pome_test_support::{hex, load};
    use proptest::prelude::*;

    #[test]
    fn block_map_vectors() {
        let elsewhere = [
            "pattern",
            "blobs_namespace",
            "scenarios",
            "content_manifests",
            "paths",
            "hyperblobs",
        ];
        let vectors = load("drive", &["block_maps"], &elsewhere);
        for case in vectors["block_maps"].as_array().unwrap() {
            let mut map = BlockMap::default();
            for block in case["blocks"].as_array().unwrap() {
                map.push(MappedBlock {
                    index: block["index"].as_u64().unwrap(),
                    byte_length: block["byteLength"].as_u64().unwrap(),
                })
                .unwrap();
            }
            let bytes: Vec<Bytes> = case["bytes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|b| hex(b).into())
                .collect();
            assert_eq!(map.encode(), bytes);
            assert_eq!(BlockMap::decode(&bytes), Ok(map));
        }
    }

    #[test]
    fn seeking() {
        let mut map = BlockMap::default();
        for (index, byte_length) in [(9, 3), (4, 0), (9, 3), (1, 2)] {
            map.push(MappedBlock { index, byte_length }).unwrap();
        }
        let found: Vec<_> = (0..9).map(|at| map.seek(at)).collect();
        assert_eq!(
            found,
            [
                (0, 0),
                (0, 1),
                (0, 2),
                (2, 0),
                (2, 1),
                (2, 2),
                (3, 0),
                (3, 1),
                (4, 0)
            ]
        );
        assert_eq!(BlockMap::default().seek(0), (0, 0));
    }

    #[test]
    fn a_long_map_goes_on_in_the_next_block() {
        let mut map = BlockMap::default();
        for index in 0..8193 {
            map.push(MappedBlock {
                index,
                byte_length: 1,
            })
            .unwrap();
        }
        let bytes = map.encode();
        assert_eq!(bytes.len(), 2);
        assert_eq!(BlockMap::decode(&bytes), Ok(map));
    }

    #[test]
    fn hostile_maps_are_errors() {
        for (bytes, what) in [
            (&b""[..], "it ends early"),
            (&[1, 0], "unknown version"),
            (&[0, 0xfe, 0xff, 0xff, 0xff, 0xff], "it ends early"),
        ] {
            let buffers = [Bytes::copy_from_slice(bytes)];
            assert_eq!(BlockMap::decode(&buffers), Err(what));
        }
        let mut twice = vec![0, 2];
        for _ in 0..2 {
            put_uint(&mut twice, 0);
            put_uint(&mut twice, u64::MAX);
        }
        assert!(BlockMap::decode(&[twice.into()]).is_err());
    }

    proptest! {
        #[test]
        fn no_input_panics(buffers: Vec<Vec<u8>>) {
            let buffers: Vec<Bytes> = buffers.into_iter().map(Bytes::from).collect();
            let _ = BlockMap::decode(&buffers);
        }
    }
}
