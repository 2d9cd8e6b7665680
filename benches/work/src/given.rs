//! The data that is worked on. `benches/peers/npm/driver.js` makes the same.

use bytes::Bytes;
use std::path::Path;

/// Numbers without an order, the same each time: xorshift64*.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(2_685_821_657_736_338_717) >> 33) % below
    }
}

/// The block or value of this number.
pub fn block(size: usize, number: u64) -> Bytes {
    let mut block = vec![number as u8; size];
    block[..4].copy_from_slice(&(number as u32).to_le_bytes());
    block.into()
}

/// The number of a block.
pub(crate) fn number(block: &[u8]) -> u64 {
    block
        .first_chunk()
        .map_or(u64::MAX, |n| u64::from(u32::from_le_bytes(*n)))
}

/// The key of this number, as text.
pub fn key(number: u64) -> Vec<u8> {
    format!("key-{number:09}").into_bytes()
}

/// Makes so many files of 0 to 64 KiB, in folders of 50.
///
/// # Errors
/// When the disk refuses one.
pub fn write_tree(folder: &Path, files: u64) -> std::io::Result<()> {
    let mut random = Random::new(17);
    for i in 0..files {
        let folder = folder.join(format!("d{}", i / 50));
        std::fs::create_dir_all(&folder)?;
        let size = random.below(65_536) as usize;
        std::fs::write(folder.join(format!("f{i}.bin")), vec![i as u8; size])?;
    }
    Ok(())
}
