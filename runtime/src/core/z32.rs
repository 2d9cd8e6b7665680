//! `z32`: base 32 in the alphabet in which keys are written.
//!
//! Source: z32 1.1. A text whose length no bytes have is not refused: the bits that are missing count as zero.

use crate::engine::{
    bytes::{self, Bytes},
    error::JsError,
    text,
};
use rquickjs::{
    Ctx, IntoJs, Object, Result, Value,
    prelude::{Func, Opt},
};

const ALPHABET: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

fn encode_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(char::from(ALPHABET[(bits >> count & 31) as usize]));
        }
    }
    if count > 0 {
        text.push(char::from(ALPHABET[(bits << (5 - count) & 31) as usize]));
    }
    text
}

/// The place of the first character that is not of the alphabet, if there is one.
fn decode_text(text: &[u16]) -> std::result::Result<Vec<u8>, usize> {
    // How many bytes the characters after the last eight stand for.
    const REST: [usize; 8] = [0, 1, 1, 2, 2, 3, 4, 4];
    let length = text.len() / 8 * 5 + REST[text.len() % 8];
    let mut bytes = Vec::with_capacity(length + 1);
    let (mut bits, mut count) = (0_u32, 0);
    for (at, character) in text.iter().enumerate() {
        let is_it = |known: &u8| u16::from(*known) == *character;
        let value = ALPHABET.iter().position(is_it).ok_or(at)?;
        bits = bits << 5 | value as u32;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count).to_le_bytes()[0]);
        }
    }
    if bytes.len() < length {
        bytes.push((bits << (8 - count)).to_le_bytes()[0]);
    }
    bytes.truncate(length);
    Ok(bytes)
}

fn encode(value: Value<'_>) -> Result<String> {
    if value.is_string() {
        return text::with_utf8(&value, encode_bytes);
    }
    bytes::read(&value, encode_bytes)
}

fn decode<'js>(ctx: Ctx<'js>, text: Value<'js>, out: Opt<Value<'js>>) -> Result<Value<'js>> {
    let decoded = text::with_utf16(&text, |text| {
        decode_text(text).map_err(|at| (at, String::from_utf16_lossy(&text[at..=at])))
    })?;
    let decoded = decoded.map_err(|(at, found)| {
        let message = format!("Invalid character in base32 input: \"{found}\" at position {at}");
        JsError::new("", message).throw(&ctx)
    })?;
    let Some(out) = out.0.filter(|out| !out.is_undefined() && !out.is_null()) else {
        return Bytes(decoded).into_js(&ctx);
    };
    let count = bytes::write(&out, |out| {
        let count = decoded.len().min(out.len());
        out[..count].copy_from_slice(&decoded[..count]);
        count
    })?;
    bytes::part_of(&out, 0, count)
}

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    native.set("encode", Func::from(encode))?;
    native.set("decode", Func::from(decode))?;
    Ok(native)
}

#[cfg(test)]
mod tests {
    use super::{decode_text, encode_bytes};

    #[test]
    fn bytes_come_back() {
        for length in 0..40 {
            let bytes: Vec<u8> = (0..length)
                .map(|i| (i as u8).wrapping_mul(97).wrapping_add(13))
                .collect();
            let text: Vec<u16> = encode_bytes(&bytes).encode_utf16().collect();
            assert_eq!(decode_text(&text), Ok(bytes));
        }
    }

    #[test]
    fn a_stranger_is_named_by_its_place() {
        let decode = |text: &str| decode_text(&text.encode_utf16().collect::<Vec<_>>());
        assert_eq!(decode("yb2d"), Err(2));
        assert_eq!(decode("y"), Ok(vec![0]));
    }
}
