//! Encodings made of others: arrays, frames, records, and what fills the rest of a buffer.
//!
//! Source: compact-encoding 3.5.2, `index.js` and `raw.js`.

use crate::{
    Codec, CodecError, DecodeError, Element, Reader, STRING, Text,
    object::{Entries, in_key_order},
    primitives::numbers,
    put_uint, uint_len,
};
use std::marker::PhantomData;

/// The most elements that [`Array`] reads.
pub const ARRAY_MAX: u64 = 0x10_0000;

/// npm `array(enc)`: a `uint` count (at most [`ARRAY_MAX`]), then the elements.
#[derive(Debug, Clone, Copy, Default)]
pub struct Array<C>(pub C);

impl<C: Codec> Codec for Array<C> {
    type Value = Vec<C::Value>;
    fn encoded_len(&self, value: &Self::Value) -> usize {
        uint_len(value.len() as u64) + RawArray(&self.0).encoded_len_of(value)
    }
    fn encode(&self, value: &Self::Value, out: &mut Vec<u8>) -> Result<(), CodecError> {
        if value.len() as u64 > ARRAY_MAX {
            return Err(DecodeError::Unwritable {
                what: "array",
                reason: "readers take at most 0x100000 elements",
            });
        }
        put_uint(out, value.len() as u64);
        value.iter().try_for_each(|item| self.0.encode(item, out))
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<Self::Value, CodecError> {
        let count = input.uint()?;
        if count > ARRAY_MAX {
            return Err(DecodeError::Invalid { what: "array" });
        }
        // Not more room at once than the input could fill with elements of one byte each.
        let mut out = Vec::with_capacity((count as usize).min(input.rest().len()));
        for _ in 0..count {
            out.push(self.0.decode(input)?);
        }
        Ok(out)
    }
}

/// npm `frame(enc)`: a `uint` length in bytes, then the value. What stands in the frame behind the value is ignored.
#[derive(Debug, Clone, Copy, Default)]
pub struct Frame<C>(pub C);

impl<C: Codec> Codec for Frame<C> {
    type Value = C::Value;
    fn encoded_len(&self, value: &C::Value) -> usize {
        let len = self.0.encoded_len(value);
        uint_len(len as u64) + len
    }
    fn encode(&self, value: &C::Value, out: &mut Vec<u8>) -> Result<(), CodecError> {
        put_uint(out, self.0.encoded_len(value) as u64);
        self.0.encode(value, out)
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<C::Value, CodecError> {
        self.0.decode(&mut Reader::new(input.buffer()?))
    }
}

/// npm `record(key, value)`: a `uint` count, then names and values in turn. As in a JavaScript object, a name occurs once (the later value
/// stays, in the earlier place), and names that are array indexes are written first, in the order of their numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Record<K, V>(pub K, pub V);

/// npm `stringRecord`.
pub const STRING_RECORD: Record<Text, Text> = Record(STRING, STRING);

impl<K: Codec<Value = String>, V: Codec> Codec for Record<K, V> {
    type Value = Vec<(String, V::Value)>;
    fn encoded_len(&self, value: &Self::Value) -> usize {
        let entries = value
            .iter()
            .map(|(name, value)| self.0.encoded_len(name) + self.1.encoded_len(value));
        uint_len(value.len() as u64) + entries.sum::<usize>()
    }
    fn encode(&self, value: &Self::Value, out: &mut Vec<u8>) -> Result<(), CodecError> {
        put_uint(out, value.len() as u64);
        for (name, value) in in_key_order(value, |(name, _)| name) {
            self.0.encode(name, out)?;
            self.1.encode(value, out)?;
        }
        Ok(())
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<Self::Value, CodecError> {
        let count = input.uint()?;
        let mut entries = Entries::default();
        for _ in 0..count {
            let before = input.rest().len();
            let name = self.0.decode(input)?;
            let value = self.1.decode(input)?;
            if input.rest().len() == before {
                // Entries without bytes could be counted for ever.
                return Err(DecodeError::Invalid { what: "record" });
            }
            entries.set(name, value);
        }
        Ok(entries.into_list())
    }
}

/// npm `raw`, `raw.buffer`, `raw.binary`, `raw.arraybuffer`, `raw.uint8array`: all there is to read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Raw;

impl Codec for Raw {
    type Value = Vec<u8>;
    fn encoded_len(&self, value: &Vec<u8>) -> usize {
        value.len()
    }
    fn encode(&self, value: &Vec<u8>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(value);
        Ok(())
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<Vec<u8>, CodecError> {
        Ok(input.take_rest().to_vec())
    }
}

/// npm `raw.array(enc)`: elements to the end, without a count.
#[derive(Debug, Clone, Copy, Default)]
pub struct RawArray<C>(pub C);

impl<C: Codec> RawArray<C> {
    fn encoded_len_of(&self, value: &[C::Value]) -> usize {
        value.iter().map(|item| self.0.encoded_len(item)).sum()
    }
}

impl<C: Codec> Codec for RawArray<C> {
    type Value = Vec<C::Value>;
    fn encoded_len(&self, value: &Self::Value) -> usize {
        self.encoded_len_of(value)
    }
    fn encode(&self, value: &Self::Value, out: &mut Vec<u8>) -> Result<(), CodecError> {
        value.iter().try_for_each(|item| self.0.encode(item, out))
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<Self::Value, CodecError> {
        let mut out = Vec::new();
        while !input.is_empty() {
            let before = input.rest().len();
            out.push(self.0.decode(input)?);
            if input.rest().len() == before {
                // Elements without bytes would never come to the end.
                return Err(DecodeError::Invalid { what: "raw array" });
            }
        }
        Ok(out)
    }
}

/// npm `raw.uint16array`, `raw.float64array`, … : numbers to the end. Bytes that do not make up a whole number are ignored.
#[derive(Debug, Clone, Copy, Default)]
pub struct RawTypedArray<T>(PhantomData<T>);

impl<T> RawTypedArray<T> {
    /// The encoding for arrays of `T`.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: Element> Codec for RawTypedArray<T> {
    type Value = Vec<T>;
    fn encoded_len(&self, value: &Vec<T>) -> usize {
        value.len() * T::SIZE
    }
    fn encode(&self, value: &Vec<T>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        value.iter().for_each(|number| number.put(out));
        Ok(())
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<Vec<T>, CodecError> {
        numbers(input.take_rest())
    }
}
