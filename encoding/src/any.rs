//! Values that carry their type.
//!
//! ```text
//! uint type │ value
//! 0 none · 1 bool · 2 string · 3 buffer · 4 uint · 5 int · 6 float64 · 7 array · 8 object · 9 date
//! ```
//! Source: compact-encoding 3.5.2, `index.js` (`any`).

use crate::{
    Bool, Buffer, Codec, CodecError, Date, DecodeError, FLOAT64, INT, Reader, STRING, Uint,
    object::{Entries, in_key_order},
    put_uint, uint_len,
};

/// How deep arrays and objects may be in each other when they are read.
pub const ANY_DEPTH_MAX: usize = 128;

/// A value of one of the types that [`Any`] knows.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum AnyValue {
    /// Nothing: JavaScript's `null` and `undefined`.
    #[default]
    Null,
    /// A truth value.
    Bool(bool),
    /// Text.
    String(String),
    /// Bytes.
    Buffer(Vec<u8>),
    /// A whole number from 0 up.
    Uint(u64),
    /// A whole number. Written as [`AnyValue::Uint`] when it is not negative, as JavaScript knows no difference.
    Int(i64),
    /// A number. Written as a whole one when it is one, as JavaScript knows no difference.
    Float(f64),
    /// A list.
    Array(Vec<AnyValue>),
    /// Names and values, in order; ordered for writing as a JavaScript object orders its names.
    Object(Vec<(String, AnyValue)>),
    /// Milliseconds since 1970.
    Date(i64),
}

/// npm `any`.
///
/// ```
/// use pome_encoding::{Any, AnyValue, Codec};
/// let value = AnyValue::Array(vec![AnyValue::Uint(1), AnyValue::String("a".into())]);
/// let bytes = Any.to_vec(&value)?;
/// assert_eq!(bytes, [7, 2, 4, 1, 2, 1, b'a']);
/// assert_eq!(Any.from_slice(&bytes)?, value);
/// # Ok::<(), pome_encoding::CodecError>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Any;

/// A number as it is written.
enum Number {
    Uint(u64),
    Int(i64),
    Float(f64),
}

fn int(n: i64) -> Number {
    u64::try_from(n).map_or(Number::Int(n), Number::Uint)
}

fn float(n: f64) -> Number {
    // Whole numbers that an i64 holds; larger ones are no `uint` either, and are refused there.
    if n.fract() == 0.0 {
        if n < 0.0 {
            Number::Int(n as i64)
        } else {
            Number::Uint(n as u64)
        }
    } else {
        Number::Float(n)
    }
}

impl Codec for Any {
    type Value = AnyValue;

    fn encoded_len(&self, value: &AnyValue) -> usize {
        let number = |number| match number {
            Number::Uint(n) => Uint.encoded_len(&n),
            Number::Int(n) => INT.encoded_len(&n),
            Number::Float(n) => FLOAT64.encoded_len(&n),
        };
        1 + match value {
            AnyValue::Null => 0,
            AnyValue::Bool(_) => 1,
            AnyValue::String(text) => STRING.encoded_len(text),
            AnyValue::Buffer(bytes) => Buffer.encoded_len(bytes),
            AnyValue::Uint(n) => number(Number::Uint(*n)),
            AnyValue::Int(n) => number(int(*n)),
            AnyValue::Float(n) => number(float(*n)),
            AnyValue::Array(list) => {
                uint_len(list.len() as u64)
                    + list
                        .iter()
                        .map(|item| self.encoded_len(item))
                        .sum::<usize>()
            }
            AnyValue::Object(entries) => {
                let of_entry = |(name, value): &(String, AnyValue)| {
                    STRING.encoded_len(name) + self.encoded_len(value)
                };
                uint_len(entries.len() as u64) + entries.iter().map(of_entry).sum::<usize>()
            }
            AnyValue::Date(ms) => Date.encoded_len(ms),
        }
    }

    fn encode(&self, value: &AnyValue, out: &mut Vec<u8>) -> Result<(), CodecError> {
        match value {
            AnyValue::Null => put_uint(out, 0),
            AnyValue::Bool(b) => out.extend([1, u8::from(*b)]),
            AnyValue::String(text) => {
                put_uint(out, 2);
                STRING.encode(text, out)?;
            }
            AnyValue::Buffer(bytes) => {
                put_uint(out, 3);
                Buffer.encode(bytes, out)?;
            }
            AnyValue::Uint(n) => encode_number(Number::Uint(*n), out)?,
            AnyValue::Int(n) => encode_number(int(*n), out)?,
            AnyValue::Float(n) => encode_number(float(*n), out)?,
            AnyValue::Array(list) => {
                put_uint(out, 7);
                put_uint(out, list.len() as u64);
                list.iter().try_for_each(|item| self.encode(item, out))?;
            }
            AnyValue::Object(entries) => {
                put_uint(out, 8);
                put_uint(out, entries.len() as u64);
                for (name, value) in in_key_order(entries, |(name, _)| name) {
                    STRING.encode(name, out)?;
                    self.encode(value, out)?;
                }
            }
            AnyValue::Date(ms) => {
                put_uint(out, 9);
                Date.encode(ms, out)?;
            }
        }
        Ok(())
    }

    fn decode(&self, input: &mut Reader<'_>) -> Result<AnyValue, CodecError> {
        decode(input, ANY_DEPTH_MAX)
    }
}

fn encode_number(number: Number, out: &mut Vec<u8>) -> Result<(), CodecError> {
    match number {
        Number::Uint(n) => {
            put_uint(out, 4);
            Uint.encode(&n, out)
        }
        Number::Int(n) => {
            put_uint(out, 5);
            INT.encode(&n, out)
        }
        Number::Float(n) => {
            put_uint(out, 6);
            FLOAT64.encode(&n, out)
        }
    }
}

fn decode(input: &mut Reader<'_>, depth: usize) -> Result<AnyValue, CodecError> {
    let invalid = DecodeError::Invalid { what: "any" };
    Ok(match input.uint()? {
        0 => AnyValue::Null,
        1 => AnyValue::Bool(Bool.decode(input)?),
        2 => AnyValue::String(STRING.decode(input)?),
        3 => AnyValue::Buffer(Buffer.decode(input)?),
        4 => AnyValue::Uint(Uint.decode(input)?),
        5 => AnyValue::Int(INT.decode(input)?),
        6 => AnyValue::Float(FLOAT64.decode(input)?),
        7 => {
            let depth = depth.checked_sub(1).ok_or(invalid)?;
            let mut list = Vec::new();
            for _ in 0..input.uint()? {
                list.push(decode(input, depth)?);
            }
            AnyValue::Array(list)
        }
        8 => {
            let depth = depth.checked_sub(1).ok_or(invalid)?;
            let mut entries = Entries::default();
            for _ in 0..input.uint()? {
                entries.set(STRING.decode(input)?, decode(input, depth)?);
            }
            AnyValue::Object(entries.into_list())
        }
        9 => AnyValue::Date(Date.decode(input)?),
        _ => return Err(invalid),
    })
}
