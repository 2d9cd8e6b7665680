//! The text encodings of Buffers: what their names are, and how bytes become text and text bytes.
//!
//! Source: bare-buffer 3.7, `lib/`. Hex and base64 are strict: a character that does not belong there is an error, where Node.js stops or skips.

use crate::engine::text;
use rquickjs::{Ctx, Result, String as JsString, Value};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    Utf16le,
    Latin1,
    Ascii,
    Base64,
    Base64url,
    Hex,
}

/// The text is not of the encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InvalidInput;

impl Encoding {
    /// By any of its names, in any case.
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        let mut lower = [0; 16];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        Some(match &*lower {
            b"utf8" | b"utf-8" => Self::Utf8,
            b"utf16le" | b"utf-16le" | b"ucs2" | b"ucs-2" => Self::Utf16le,
            b"latin1" | b"binary" => Self::Latin1,
            b"ascii" => Self::Ascii,
            b"base64" => Self::Base64,
            b"base64url" => Self::Base64url,
            b"hex" => Self::Hex,
            _ => return None,
        })
    }

    /// How many bytes a text takes. For base64 and hex it goes by the text's length and does not look for mistakes.
    pub(super) fn byte_length(self, text: &Value<'_>) -> Result<usize> {
        match self {
            Self::Utf8 => text::with_utf8(text, <[u8]>::len),
            Self::Utf16le => text::with_utf16(text, |units| units.len() * 2),
            Self::Latin1 | Self::Ascii => text::with_utf16(text, <[u16]>::len),
            Self::Base64 | Self::Base64url => text::with_utf8(text, |bytes| {
                let padding = bytes
                    .iter()
                    .rev()
                    .take(2)
                    .take_while(|byte| **byte == b'=')
                    .count();
                (bytes.len() - padding) * 3 / 4
            }),
            Self::Hex => text::with_utf8(text, |bytes| bytes.len() / 2),
        }
    }

    /// The bytes of a text.
    pub(super) fn bytes(
        self,
        text: &Value<'_>,
    ) -> Result<std::result::Result<Vec<u8>, InvalidInput>> {
        match self {
            Self::Utf8 => text::with_utf8(text, |bytes| Ok(bytes.to_vec())),
            Self::Utf16le => text::with_utf16(text, |units| {
                Ok(units.iter().flat_map(|unit| unit.to_le_bytes()).collect())
            }),
            // Of each unit the low byte is kept.
            Self::Latin1 | Self::Ascii => text::with_utf16(text, |units| {
                Ok(units.iter().map(|unit| unit.to_le_bytes()[0]).collect())
            }),
            Self::Base64 | Self::Base64url => text::with_utf8(text, from_base64),
            Self::Hex => text::with_utf8(text, from_hex),
        }
    }

    /// Writes as much of a text as there is room for, whole characters only; how many bytes that were.
    pub(super) fn write(
        self,
        text: &Value<'_>,
        room: &mut [u8],
    ) -> Result<std::result::Result<usize, InvalidInput>> {
        let bytes = match self.bytes(text)? {
            Ok(bytes) => bytes,
            Err(invalid) => return Ok(Err(invalid)),
        };
        let mut count = bytes.len().min(room.len());
        if count < bytes.len() {
            match self {
                Self::Utf8 => {
                    while count > 0 && bytes[count] & 0xc0 == 0x80 {
                        count -= 1;
                    }
                }
                Self::Utf16le => count &= !1,
                _ => {}
            }
        }
        room[..count].copy_from_slice(&bytes[..count]);
        Ok(Ok(count))
    }

    /// The text of bytes.
    pub(super) fn text<'js>(self, ctx: &Ctx<'js>, bytes: &[u8]) -> Result<Value<'js>> {
        let string = |text: &str| Ok(JsString::from_str(ctx.clone(), text)?.into_value());
        match self {
            Self::Utf8 => string(&String::from_utf8_lossy(bytes)),
            Self::Utf16le => {
                let units: Vec<u16> = bytes
                    .chunks_exact(2)
                    .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
                    .collect();
                text::from_utf16(ctx, &units)
            }
            Self::Latin1 => string(
                &bytes
                    .iter()
                    .map(|byte| char::from(*byte))
                    .collect::<String>(),
            ),
            Self::Ascii => string(
                &bytes
                    .iter()
                    .map(|byte| char::from(byte & 0x7f))
                    .collect::<String>(),
            ),
            Self::Base64 => string(&data_encoding::BASE64.encode(bytes)),
            Self::Base64url => string(&data_encoding::BASE64URL_NOPAD.encode(bytes)),
            Self::Hex => string(&data_encoding::HEXLOWER.encode(bytes)),
        }
    }
}

fn from_hex(text: &[u8]) -> std::result::Result<Vec<u8>, InvalidInput> {
    data_encoding::HEXLOWER_PERMISSIVE
        .decode(text)
        .map_err(|_| InvalidInput)
}

/// Either alphabet, with or without padding.
fn from_base64(text: &[u8]) -> std::result::Result<Vec<u8>, InvalidInput> {
    let end = text.len()
        - text
            .iter()
            .rev()
            .take(2)
            .take_while(|byte| **byte == b'=')
            .count();
    let mut bytes = Vec::with_capacity(end * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in &text[..end] {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return Err(InvalidInput),
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count).to_le_bytes()[0]);
        }
    }
    // One character alone is no byte.
    if count == 6 {
        Err(InvalidInput)
    } else {
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{Encoding, InvalidInput, from_base64, from_hex};

    #[test]
    fn names_are_known_in_any_case() {
        assert_eq!(Encoding::named(b"UTF-8"), Some(Encoding::Utf8));
        assert_eq!(Encoding::named(b"Base64Url"), Some(Encoding::Base64url));
        assert_eq!(Encoding::named(b"utf-32"), None);
        assert_eq!(Encoding::named(&[b'x'; 40]), None);
    }

    #[test]
    fn base64_takes_both_alphabets_and_no_strangers() {
        assert_eq!(from_base64(b"YWI="), Ok(b"ab".to_vec()));
        assert_eq!(from_base64(b"YWI"), Ok(b"ab".to_vec()));
        assert_eq!(from_base64(b"_-8"), from_base64(b"/+8="));
        for wrong in [&b"YWJj!"[..], b"Y", b"YWJj\nYWJj"] {
            assert_eq!(from_base64(wrong), Err(InvalidInput));
        }
    }

    #[test]
    fn hex_comes_in_pairs() {
        assert_eq!(from_hex(b"aBcD"), Ok(vec![0xab, 0xcd]));
        assert_eq!(from_hex(b"abc"), Err(InvalidInput));
        assert_eq!(from_hex(b"zz"), Err(InvalidInput));
    }
}
