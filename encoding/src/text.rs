//! Text in the charsets that Node's buffers know.
//!
//! Source: compact-encoding 3.5.2, `index.js` (`string`, `ascii`, `hex`, `base64`, `ucs2`); b4a 1.x for what each charset means.

use crate::{Codec, CodecError, DecodeError, Reader, put_buffer, uint_len};
use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};
use std::borrow::Cow;

/// Between text and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Charset {
    /// UTF-8. Bytes that are none read as U+FFFD.
    #[default]
    Utf8,
    /// Writes the low byte of each UTF-16 unit, reads the low seven bits of each byte.
    Ascii,
    /// Hexadecimal: the text is twice as long as the bytes. Reads as lowercase.
    Hex,
    /// Base 64, padded.
    Base64,
    /// UTF-16, little-endian. Halves of a pair read as U+FFFD; an odd last byte is ignored.
    Ucs2,
}

impl Charset {
    fn bytes_len(self, text: &str) -> usize {
        match self {
            Self::Utf8 => text.len(),
            Self::Ascii => text.encode_utf16().count(),
            Self::Hex => text.len() / 2,
            Self::Base64 => self.bytes(text).map_or(0, |bytes| bytes.len()),
            Self::Ucs2 => 2 * text.encode_utf16().count(),
        }
    }

    fn bytes(self, text: &str) -> Result<Cow<'_, [u8]>, CodecError> {
        let refused = |what, reason| move |_| DecodeError::Unwritable { what, reason };
        Ok(match self {
            Self::Utf8 => Cow::Borrowed(text.as_bytes()),
            Self::Ascii => text.encode_utf16().map(|unit| unit as u8).collect(),
            Self::Hex => HEXLOWER_PERMISSIVE
                .decode(text.as_bytes())
                .map_err(refused("hex", "it must be pairs of hex digits"))?
                .into(),
            Self::Base64 => BASE64
                .decode(text.as_bytes())
                .map_err(refused("base64", "it must be padded base 64"))?
                .into(),
            Self::Ucs2 => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        })
    }

    fn text(self, bytes: &[u8]) -> String {
        match self {
            Self::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
            Self::Ascii => bytes.iter().map(|b| char::from(b & 0x7f)).collect(),
            Self::Hex => HEXLOWER.encode(bytes),
            Self::Base64 => BASE64.encode(bytes),
            Self::Ucs2 => {
                let units = bytes
                    .as_chunks()
                    .0
                    .iter()
                    .map(|unit| u16::from_le_bytes(*unit));
                char::decode_utf16(units)
                    .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                    .collect()
            }
        }
    }
}

/// A `uint` length in bytes, then the text: npm `string` (`utf8`), `ascii`, `hex`, `base64`, `ucs2` (`utf16le`).
#[derive(Debug, Clone, Copy, Default)]
pub struct Text(pub Charset);

/// npm `string`: UTF-8.
pub const STRING: Text = Text(Charset::Utf8);

impl Codec for Text {
    type Value = String;
    fn encoded_len(&self, value: &String) -> usize {
        let len = self.0.bytes_len(value);
        uint_len(len as u64) + len
    }
    fn encode(&self, value: &String, out: &mut Vec<u8>) -> Result<(), CodecError> {
        put_buffer(out, &self.0.bytes(value)?);
        Ok(())
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<String, CodecError> {
        Ok(self.0.text(input.buffer()?))
    }
}

/// Text of so many bytes, without a length: npm `string.fixed(n)` and the like. Text of another length is refused (npm leaves gaps).
#[derive(Debug, Clone, Copy)]
pub struct FixedText(pub Charset, pub usize);

impl Codec for FixedText {
    type Value = String;
    fn encoded_len(&self, _: &String) -> usize {
        self.1
    }
    fn encode(&self, value: &String, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let bytes = self.0.bytes(value)?;
        if bytes.len() != self.1 {
            return Err(DecodeError::Unwritable {
                what: "fixed text",
                reason: "it must have exactly that many bytes",
            });
        }
        out.extend_from_slice(&bytes);
        Ok(())
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<String, CodecError> {
        Ok(self.0.text(input.take(self.1 as u64)?))
    }
}

/// Text that takes all there is to read, without a length: npm `raw.string` and the like.
#[derive(Debug, Clone, Copy, Default)]
pub struct RawText(pub Charset);

impl Codec for RawText {
    type Value = String;
    fn encoded_len(&self, value: &String) -> usize {
        self.0.bytes_len(value)
    }
    fn encode(&self, value: &String, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(&self.0.bytes(value)?);
        Ok(())
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<String, CodecError> {
        Ok(self.0.text(input.take_rest()))
    }
}
