//! The shape that every encoding has, and the one error type.

use crate::Reader;

/// Why bytes could not be decoded, or a value not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ended before the value did.
    #[error("input ends early: {wanted} bytes wanted, {left} left")]
    OutOfBounds {
        /// How many bytes the value needs.
        wanted: u64,
        /// How many were there.
        left: usize,
    },
    /// The bytes are there, but are no value of this encoding.
    #[error("invalid {what}")]
    Invalid {
        /// Name of the encoding.
        what: &'static str,
    },
    /// A value that this encoding has no bytes for.
    #[error("no {what} can be written for this value: {reason}")]
    Unwritable {
        /// Name of the encoding.
        what: &'static str,
        /// What it would have to be.
        reason: &'static str,
    },
}

/// The same errors under the name that fits both directions.
pub type CodecError = DecodeError;

/// How values of one type become bytes and come back. Encodings are values themselves, so that they can be put together:
///
/// ```
/// use pome_encoding::{Array, Codec, Frame, STRING, Uint};
/// let numbers = Frame(Array(Uint));
/// assert_eq!(numbers.to_vec(&vec![1, 300])?, [5, 2, 1, 0xfd, 0x2c, 0x01]);
/// assert_eq!(numbers.from_slice(&[5, 2, 1, 0xfd, 0x2c, 0x01])?, [1, 300]);
/// assert_eq!(STRING.to_vec(&"hi".to_string())?, [2, b'h', b'i']);
/// # Ok::<(), pome_encoding::CodecError>(())
/// ```
///
/// Source: compact-encoding 3.5.2, `index.js`. Vectors: `tests/vectors/encoding.json`.
pub trait Codec {
    /// What is encoded.
    type Value;

    /// How many bytes [`Codec::encode`] appends for this value. For a value that it refuses: any number.
    fn encoded_len(&self, value: &Self::Value) -> usize;

    /// Appends the bytes of `value` to `out`.
    ///
    /// # Errors
    /// [`DecodeError::Unwritable`] when the encoding has no bytes for it; what stands in `out` past its old end is then of no use.
    fn encode(&self, value: &Self::Value, out: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Takes one value from the front of `input`. Never panics, and allocates no more than a small multiple of what is there to read.
    ///
    /// # Errors
    /// [`DecodeError::OutOfBounds`] and [`DecodeError::Invalid`]; `input` is then somewhere inside the value.
    fn decode(&self, input: &mut Reader<'_>) -> Result<Self::Value, CodecError>;

    /// The bytes of `value` (npm `encode`).
    ///
    /// # Errors
    /// As [`Codec::encode`].
    fn to_vec(&self, value: &Self::Value) -> Result<Vec<u8>, CodecError> {
        let mut out = Vec::with_capacity(self.encoded_len(value));
        self.encode(value, &mut out)?;
        Ok(out)
    }

    /// The value at the front of `bytes` (npm `decode`). Bytes behind it are ignored.
    ///
    /// # Errors
    /// As [`Codec::decode`].
    #[expect(
        clippy::wrong_self_convention,
        reason = "the encoding is the receiver, the value comes out"
    )]
    fn from_slice(&self, bytes: &[u8]) -> Result<Self::Value, CodecError> {
        self.decode(&mut Reader::new(bytes))
    }
}

impl<C: Codec + ?Sized> Codec for &C {
    type Value = C::Value;
    fn encoded_len(&self, value: &Self::Value) -> usize {
        (**self).encoded_len(value)
    }
    fn encode(&self, value: &Self::Value, out: &mut Vec<u8>) -> Result<(), CodecError> {
        (**self).encode(value, out)
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<Self::Value, CodecError> {
        (**self).decode(input)
    }
}
