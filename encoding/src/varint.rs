//! Whole numbers: `uint` and `int` of variable length, and the ones of a fixed width.
//!
//! Source: compact-encoding 3.5.2, `index.js`.

use crate::{Codec, CodecError, DecodeError, Reader};

/// The largest number that JavaScript holds exactly (2⁵³ − 1), and so the largest that a `uint` may be.
pub const MAX_SAFE: u64 = (1 << 53) - 1;

const INT_MIN: i64 = -(1 << 52);
const INT_MAX: i64 = (1 << 52) - 1;

/// How many bytes [`put_uint`] writes.
pub fn uint_len(n: u64) -> usize {
    match n {
        0..=0xfc => 1,
        0xfd..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

/// Appends a compact-encoding `uint`, in its shortest form. A number above [`MAX_SAFE`] is written, but no reader takes it.
pub fn put_uint(out: &mut Vec<u8>, n: u64) {
    match uint_len(n) {
        1 => out.push(n as u8),
        3 => {
            out.push(0xfd);
            out.extend_from_slice(&(n as u16).to_le_bytes());
        }
        5 => {
            out.push(0xfe);
            out.extend_from_slice(&(n as u32).to_le_bytes());
        }
        _ => {
            out.push(0xff);
            out.extend_from_slice(&n.to_le_bytes());
        }
    }
}

/// Appends a `uint` length and the bytes.
pub fn put_buffer(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn check(n: u64, max: u64, what: &'static str) -> Result<u64, CodecError> {
    if n > max {
        let reason = "it is larger than the encoding reaches";
        return Err(DecodeError::Unwritable { what, reason });
    }
    Ok(n)
}

/// npm `uint`: 1, 3, 5 or 9 bytes for a number up to [`MAX_SAFE`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Uint;

impl Codec for Uint {
    type Value = u64;
    fn encoded_len(&self, value: &u64) -> usize {
        uint_len(*value)
    }
    fn encode(&self, value: &u64, out: &mut Vec<u8>) -> Result<(), CodecError> {
        put_uint(out, check(*value, MAX_SAFE, "uint")?);
        Ok(())
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<u64, CodecError> {
        input.uint()
    }
}

/// A number in `WIDTH` bytes (at most 8), little-endian, or big-endian where `BE`. Never above [`MAX_SAFE`].
///
/// Where npm would cut a number that is too wide for its bytes, this refuses it.
#[derive(Debug, Clone, Copy, Default)]
pub struct FixedUint<const WIDTH: usize, const BE: bool = false>;

impl<const WIDTH: usize, const BE: bool> FixedUint<WIDTH, BE> {
    const MAX: u64 = if WIDTH >= 7 {
        MAX_SAFE
    } else {
        (1 << (8 * WIDTH)) - 1
    };
    const NAME: &'static str = match (WIDTH, BE) {
        (1, _) => "uint8",
        (2, _) => "uint16",
        (3, _) => "uint24",
        (4, false) => "uint32",
        (4, true) => "uint32be",
        (5, _) => "uint40",
        (6, _) => "uint48",
        (7, _) => "uint56",
        (_, false) => "uint64",
        (_, true) => "uint64be",
    };
}

impl<const WIDTH: usize, const BE: bool> Codec for FixedUint<WIDTH, BE> {
    type Value = u64;
    fn encoded_len(&self, _: &u64) -> usize {
        WIDTH
    }
    fn encode(&self, value: &u64, out: &mut Vec<u8>) -> Result<(), CodecError> {
        const { assert!(0 < WIDTH && WIDTH <= 8) };
        let n = check(*value, Self::MAX, Self::NAME)?;
        if BE {
            out.extend_from_slice(&n.to_be_bytes()[8 - WIDTH..]);
        } else {
            out.extend_from_slice(&n.to_le_bytes()[..WIDTH]);
        }
        Ok(())
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<u64, CodecError> {
        let bytes: [u8; WIDTH] = input.fixed()?;
        let push = |n, byte: &u8| (n << 8) | u64::from(*byte);
        let n = if BE {
            bytes.iter().fold(0, push)
        } else {
            bytes.iter().rev().fold(0, push)
        };
        if n > Self::MAX {
            return Err(DecodeError::Invalid { what: Self::NAME });
        }
        Ok(n)
    }
}

/// npm `uint8`.
pub const UINT8: FixedUint<1> = FixedUint;
/// npm `uint16` and `port`.
pub const UINT16: FixedUint<2> = FixedUint;
/// npm `uint24`.
pub const UINT24: FixedUint<3> = FixedUint;
/// npm `uint32`.
pub const UINT32: FixedUint<4> = FixedUint;
/// npm `uint32be`.
pub const UINT32BE: FixedUint<4, true> = FixedUint;
/// npm `uint40`.
pub const UINT40: FixedUint<5> = FixedUint;
/// npm `uint48`.
pub const UINT48: FixedUint<6> = FixedUint;
/// npm `uint56`.
pub const UINT56: FixedUint<7> = FixedUint;
/// npm `uint64`: up to [`MAX_SAFE`] all the same; [`BigUint64`] has all 64 bits.
pub const UINT64: FixedUint<8> = FixedUint;
/// npm `uint64be`.
pub const UINT64BE: FixedUint<8, true> = FixedUint;

/// A signed number over an unsigned encoding: 0, −1, 1, −2, 2 … become 0, 1, 2, 3, 4 … Reaches from −2⁵² to 2⁵² − 1, less over narrow ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct ZigZag<C>(pub C);

fn zig(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

fn zag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

impl<C: Codec<Value = u64>> Codec for ZigZag<C> {
    type Value = i64;
    fn encoded_len(&self, value: &i64) -> usize {
        self.0.encoded_len(&zig(*value))
    }
    fn encode(&self, value: &i64, out: &mut Vec<u8>) -> Result<(), CodecError> {
        if !(INT_MIN..=INT_MAX).contains(value) {
            let reason = "it must be from -2^52 to 2^52 - 1";
            return Err(DecodeError::Unwritable {
                what: "int",
                reason,
            });
        }
        self.0.encode(&zig(*value), out)
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<i64, CodecError> {
        self.0.decode(input).map(zag)
    }
}

/// npm `int`.
pub const INT: ZigZag<Uint> = ZigZag(Uint);
/// npm `int8`.
pub const INT8: ZigZag<FixedUint<1>> = ZigZag(FixedUint);
/// npm `int16`.
pub const INT16: ZigZag<FixedUint<2>> = ZigZag(FixedUint);
/// npm `int24`.
pub const INT24: ZigZag<FixedUint<3>> = ZigZag(FixedUint);
/// npm `int32`.
pub const INT32: ZigZag<FixedUint<4>> = ZigZag(FixedUint);
/// npm `int40`.
pub const INT40: ZigZag<FixedUint<5>> = ZigZag(FixedUint);
/// npm `int48`.
pub const INT48: ZigZag<FixedUint<6>> = ZigZag(FixedUint);
/// npm `int56`.
pub const INT56: ZigZag<FixedUint<7>> = ZigZag(FixedUint);
/// npm `int64`.
pub const INT64: ZigZag<FixedUint<8>> = ZigZag(FixedUint);

/// npm `biguint64`: 8 bytes, little-endian, all 64 bits.
#[derive(Debug, Clone, Copy, Default)]
pub struct BigUint64;

impl Codec for BigUint64 {
    type Value = u64;
    fn encoded_len(&self, _: &u64) -> usize {
        8
    }
    fn encode(&self, value: &u64, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<u64, CodecError> {
        Ok(u64::from_le_bytes(input.fixed()?))
    }
}

/// npm `bigint64`: zig-zag over [`BigUint64`].
#[derive(Debug, Clone, Copy, Default)]
pub struct BigInt64;

impl Codec for BigInt64 {
    type Value = i64;
    fn encoded_len(&self, _: &i64) -> usize {
        8
    }
    fn encode(&self, value: &i64, out: &mut Vec<u8>) -> Result<(), CodecError> {
        BigUint64.encode(&zig(*value), out)
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<i64, CodecError> {
        BigUint64.decode(input).map(zag)
    }
}
