//! Truth values, floating point, bytes, bits, dates and typed arrays.
//!
//! Source: compact-encoding 3.5.2, `index.js`.

use crate::{Codec, CodecError, INT, Reader, put_buffer, put_uint, uint_len};
use std::marker::PhantomData;

/// npm `bool`: one byte. Only 1 reads as true.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bool;

impl Codec for Bool {
    type Value = bool;
    fn encoded_len(&self, _: &bool) -> usize {
        1
    }
    fn encode(&self, value: &bool, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.push(u8::from(*value));
        Ok(())
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<bool, CodecError> {
        Ok(input.u8()? == 1)
    }
}

/// npm `none`: no bytes at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nothing;

impl Codec for Nothing {
    type Value = ();
    fn encoded_len(&self, (): &()) -> usize {
        0
    }
    fn encode(&self, (): &(), _: &mut Vec<u8>) -> Result<(), CodecError> {
        Ok(())
    }
    fn decode(&self, _: &mut Reader<'_>) -> Result<(), CodecError> {
        Ok(())
    }
}

/// npm `buffer`, `binary`, `arraybuffer`, `uint8array`: a `uint` length, then the bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Buffer;

impl Codec for Buffer {
    type Value = Vec<u8>;
    fn encoded_len(&self, value: &Vec<u8>) -> usize {
        uint_len(value.len() as u64) + value.len()
    }
    fn encode(&self, value: &Vec<u8>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        put_buffer(out, value);
        Ok(())
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<Vec<u8>, CodecError> {
        Ok(input.buffer()?.to_vec())
    }
}

/// npm `optionalBuffer`: as [`Buffer`], but length 0 stands for none. So an empty buffer comes back as `None`.
#[derive(Debug, Clone, Copy, Default)]
pub struct OptionalBuffer;

impl Codec for OptionalBuffer {
    type Value = Option<Vec<u8>>;
    fn encoded_len(&self, value: &Option<Vec<u8>>) -> usize {
        value.as_ref().map_or(1, |bytes| Buffer.encoded_len(bytes))
    }
    fn encode(&self, value: &Option<Vec<u8>>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        put_buffer(out, value.as_deref().unwrap_or_default());
        Ok(())
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<Option<Vec<u8>>, CodecError> {
        let bytes = input.buffer()?;
        Ok((!bytes.is_empty()).then(|| bytes.to_vec()))
    }
}

/// npm `fixed(N)`, `fixed8` … `fixed64`: `N` bytes, no length.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fixed<const N: usize>;

impl<const N: usize> Codec for Fixed<N> {
    type Value = [u8; N];
    fn encoded_len(&self, _: &[u8; N]) -> usize {
        N
    }
    fn encode(&self, value: &[u8; N], out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(value);
        Ok(())
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<[u8; N], CodecError> {
        input.fixed()
    }
}

/// npm `bitarray`: a `uint` count of bits, then eight a byte, the first in the lowest bit. Bits past the count are ignored.
#[derive(Debug, Clone, Copy, Default)]
pub struct BitArray;

impl Codec for BitArray {
    type Value = Vec<bool>;
    fn encoded_len(&self, value: &Vec<bool>) -> usize {
        uint_len(value.len() as u64) + value.len().div_ceil(8)
    }
    fn encode(&self, value: &Vec<bool>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        put_uint(out, value.len() as u64);
        out.extend(value.chunks(8).map(|bits| {
            bits.iter()
                .rev()
                .fold(0, |byte, bit| (byte << 1) | u8::from(*bit))
        }));
        Ok(())
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<Vec<bool>, CodecError> {
        let count = input.uint()?;
        let bytes = input.take(count.div_ceil(8))?;
        let bits = bytes
            .iter()
            .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        Ok(bits
            .take(usize::try_from(count).unwrap_or(usize::MAX))
            .collect())
    }
}

/// npm `date`: milliseconds since 1970 as an `int`, so from −2⁵² to 2⁵² − 1 of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Date;

impl Codec for Date {
    type Value = i64;
    fn encoded_len(&self, value: &i64) -> usize {
        INT.encoded_len(value)
    }
    fn encode(&self, value: &i64, out: &mut Vec<u8>) -> Result<(), CodecError> {
        INT.encode(value, out)
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<i64, CodecError> {
        INT.decode(input)
    }
}

/// What a typed array is made of: a number with a fixed count of bytes, little-endian.
pub trait Element: Copy {
    /// How many bytes one takes.
    const SIZE: usize;
    /// Appends its bytes.
    fn put(self, out: &mut Vec<u8>);
    /// Takes one from the front.
    ///
    /// # Errors
    /// [`CodecError::OutOfBounds`].
    fn read(input: &mut Reader<'_>) -> Result<Self, CodecError>;
}

macro_rules! elements {
    ($($number:ty),*) => {$(
        impl Element for $number {
            const SIZE: usize = size_of::<$number>();
            fn put(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn read(input: &mut Reader<'_>) -> Result<Self, CodecError> {
                Ok(Self::from_le_bytes(input.fixed()?))
            }
        }
    )*};
}
elements!(u8, u16, u32, u64, i8, i16, i32, i64);

macro_rules! floats {
    ($($number:ty),*) => {$(
        impl Element for $number {
            const SIZE: usize = size_of::<$number>();
            fn put(self, out: &mut Vec<u8>) {
                // JavaScript has one NaN, Rust many: all are written as that one.
                let canonical = if self.is_nan() { Self::from_bits(Self::NAN.to_bits()) } else { self };
                out.extend_from_slice(&canonical.to_le_bytes());
            }
            fn read(input: &mut Reader<'_>) -> Result<Self, CodecError> {
                Ok(Self::from_le_bytes(input.fixed()?))
            }
        }
    )*};
}
floats!(f32, f64);

/// One number of fixed size: npm `float32`, `float64`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain<T>(PhantomData<T>);

/// npm `float32`.
pub const FLOAT32: Plain<f32> = Plain(PhantomData);
/// npm `float64`.
pub const FLOAT64: Plain<f64> = Plain(PhantomData);

impl<T: Element> Codec for Plain<T> {
    type Value = T;
    fn encoded_len(&self, _: &T) -> usize {
        T::SIZE
    }
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        value.put(out);
        Ok(())
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<T, CodecError> {
        T::read(input)
    }
}

/// npm `uint16array`, `int32array`, `float64array`, … : a `uint` count, then the numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct TypedArray<T>(PhantomData<T>);

impl<T> TypedArray<T> {
    /// The encoding for arrays of `T`.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: Element> Codec for TypedArray<T> {
    type Value = Vec<T>;
    fn encoded_len(&self, value: &Vec<T>) -> usize {
        uint_len(value.len() as u64) + value.len() * T::SIZE
    }
    fn encode(&self, value: &Vec<T>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        put_uint(out, value.len() as u64);
        value.iter().for_each(|number| number.put(out));
        Ok(())
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<Vec<T>, CodecError> {
        let count = input.uint()?;
        numbers(input.take(count.saturating_mul(T::SIZE as u64))?)
    }
}

/// As many whole numbers as fit into `bytes`.
pub(crate) fn numbers<T: Element>(bytes: &[u8]) -> Result<Vec<T>, CodecError> {
    bytes
        .chunks_exact(T::SIZE)
        .map(|chunk| T::read(&mut Reader::new(chunk)))
        .collect()
}
