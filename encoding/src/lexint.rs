//! Numbers whose bytes sort as the numbers do.
//!
//! ```text
//! 0 … 250         the number
//! 251 … 255       fb, then number − 251
//! … 2^16 − 1      fc, then number − 251 in 2 bytes, big-endian
//! … 2^24 − 1      fd, the same in 3 bytes
//! … 2^32 − 1      fe, the same in 4 bytes
//! above           ff, exponent, 6 bytes: (number − 251) · 2^(11 − exponent); the exponent is the binary logarithm less 32
//! ```
//! The last form keeps 44 bits: from 2⁴⁴ up some numbers come back smaller than they were. From 2³² to 2³² + 250 the npm module writes
//! bytes that nobody, itself included, can read; so does this, because both must write the same.
//!
//! Source: compact-encoding 3.5.2, `lexint.js`.

use crate::{Codec, CodecError, DecodeError, Reader, varint::MAX_SAFE};

const OFFSET: u64 = 251;

/// The original takes logarithms in floating point. Just below 2⁴⁸ … 2⁵³ they come out a whole number too high for this many numbers.
const ROUNDED_UP: [u64; 6] = [1, 2, 3, 1, 27, 38];

/// npm `lexint`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lexint;

impl Codec for Lexint {
    type Value = u64;
    fn encoded_len(&self, value: &u64) -> usize {
        match value {
            0..=250 => 1,
            251..=255 => 2,
            256..=0xffff => 3,
            0x1_0000..=0xff_ffff => 4,
            0x100_0000..=0xffff_ffff => 5,
            _ => 8,
        }
    }
    fn encode(&self, value: &u64, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let width = match self.encoded_len(value) {
            _ if *value > MAX_SAFE => {
                let reason = "it must be at most 2^53 - 1";
                return Err(DecodeError::Unwritable {
                    what: "lexint",
                    reason,
                });
            }
            1 => {
                out.push(*value as u8);
                return Ok(());
            }
            8 => 6,
            len => len - 1,
        };
        let rest = value - OFFSET;
        let bytes = if width < 6 {
            out.push(0xfa + width as u8);
            rest
        } else {
            let exponent = logarithm(rest) as i32 - 32;
            out.extend([0xff, exponent as u8]);
            if exponent <= 11 {
                rest << (11 - exponent)
            } else {
                rest >> (exponent - 11)
            }
        };
        out.extend_from_slice(&bytes.to_be_bytes()[8 - width..]);
        Ok(())
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<u64, CodecError> {
        let flag = input.u8()?;
        let width = match flag {
            0..=250 => return Ok(u64::from(flag)),
            251..=254 => u64::from(flag) - 250,
            255 => return scaled(input),
        };
        Ok(big_endian(input.take(width)?) + OFFSET)
    }
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, b| (n << 8) | u64::from(*b))
}

/// The binary logarithm, rounded down as the original does it.
fn logarithm(n: u64) -> u32 {
    let exact = n.ilog2();
    let next = exact + 1;
    match ROUNDED_UP.get(next.wrapping_sub(48) as usize) {
        Some(reach) if (1 << next) - n <= *reach => next,
        _ => exact,
    }
}

fn scaled(input: &mut Reader<'_>) -> Result<u64, CodecError> {
    let exponent = u32::from(input.u8()?);
    let bytes = big_endian(input.take(6)?);
    let shifted = match exponent {
        // A fraction: only bytes that no encoder wrote have one.
        0..11 if bytes.trailing_zeros() < 11 - exponent && bytes != 0 => None,
        0..11 => Some(bytes >> (11 - exponent)),
        11..=63 => u64::try_from(u128::from(bytes) << (exponent - 11)).ok(),
        64..=250 if bytes == 0 => Some(0),
        _ => None,
    };
    shifted
        .map(|n| n.saturating_add(OFFSET))
        .filter(|n| *n <= MAX_SAFE)
        .ok_or(DecodeError::Invalid { what: "lexint" })
}
