//! The data that is worked on: those of benches/work/src/given.rs.

/// Numbers without an order, the same each time: xorshift64*.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(2_685_821_657_736_338_717) >> 33) % below
    }
}

/// The block or value of this number.
pub(crate) fn block(size: usize, number: u64) -> Vec<u8> {
    let mut block = vec![number as u8; size];
    block[..4].copy_from_slice(&(number as u32).to_le_bytes());
    block
}

/// The number of a block.
pub(crate) fn number(block: &[u8]) -> u64 {
    block
        .first_chunk()
        .map_or(u64::MAX, |n| u64::from(u32::from_le_bytes(*n)))
}

/// The key of this number, as text.
pub(crate) fn key(number: u64) -> Vec<u8> {
    format!("key-{number:09}").into_bytes()
}
