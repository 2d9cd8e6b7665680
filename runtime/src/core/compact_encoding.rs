//! The native half of `compact-encoding`: texts with their length in front.
//!
//! Source: compact-encoding 3.5, `index.js`, `uint` and `utf8`.

use crate::engine::{bytes, error::JsError, text};
use rquickjs::{Ctx, Object, Result, String as JsString, Value, prelude::Func};

/// How many bytes a length takes.
fn uint_size(length: usize) -> usize {
    match length {
        0..=0xfc => 1,
        0xfd..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

/// Writes a length; `out` is as long as [`uint_size`] says.
fn write_uint(out: &mut [u8], length: usize) {
    let bytes = (length as u64).to_le_bytes();
    match out {
        [one] => *one = bytes[0],
        [tag, rest @ ..] => {
            *tag = match rest.len() {
                2 => 0xfd,
                4 => 0xfe,
                _ => 0xff,
            };
            rest.copy_from_slice(&bytes[..rest.len()]);
        }
        [] => {}
    }
}

fn check<'a, 'js>(ctx: &Ctx<'js>, string: &'a Value<'js>) -> Result<&'a Value<'js>> {
    if string.is_string() {
        return Ok(string);
    }
    Err(JsError::type_error("", "a string is wanted").throw(ctx))
}

/// How many bytes a text takes with its length.
fn text_size<'js>(ctx: Ctx<'js>, string: Value<'js>) -> Result<Value<'js>> {
    let size = text::with_utf8(check(&ctx, &string)?, |text| {
        uint_size(text.len()) + text.len()
    })?;
    Ok(Value::new_number(ctx, size as f64))
}

/// Writes a text with its length at `start`; the place behind it.
fn encode_text<'js>(
    ctx: Ctx<'js>,
    buffer: Value<'js>,
    string: Value<'js>,
    start: f64,
) -> Result<Value<'js>> {
    let start = start as usize;
    let end = text::with_utf8(check(&ctx, &string)?, |text| {
        bytes::write(&buffer, |buffer| {
            let size = uint_size(text.len());
            let end = start.checked_add(size + text.len())?;
            let (length, rest) = buffer.get_mut(start..end)?.split_at_mut(size);
            write_uint(length, text.len());
            rest.copy_from_slice(text);
            Some(end)
        })
    })??;
    match end {
        Some(end) => Ok(Value::new_number(ctx, end as f64)),
        None => Err(JsError::range_error("", "Out of bounds").throw(&ctx)),
    }
}

/// The text of the bytes from `start` to `end`.
fn decode_text<'js>(ctx: Ctx<'js>, buffer: Value<'js>, start: f64, end: f64) -> Result<Value<'js>> {
    let range = start as usize..end as usize;
    let text = bytes::read(&buffer, |buffer| {
        let text = String::from_utf8_lossy(buffer.get(range)?);
        Some(JsString::from_str(ctx.clone(), &text))
    })?;
    match text {
        Some(text) => Ok(text?.into_value()),
        None => Err(JsError::range_error("", "Out of bounds").throw(&ctx)),
    }
}

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    native.set("textSize", Func::from(text_size))?;
    native.set("encodeText", Func::from(encode_text))?;
    native.set("decodeText", Func::from(decode_text))?;
    Ok(native)
}
