//! `indexOf`, `lastIndexOf` and `includes` of Buffers.

use super::{Arg, decode, encoding, given, integer, length_of, number, view};
use crate::engine::bytes;
use rquickjs::{Ctx, Result, Value};

pub(super) fn includes<'js>(
    ctx: Ctx<'js>,
    buffer: Value<'js>,
    value: Arg<'js>,
    offset: Arg<'js>,
    name: Arg<'js>,
) -> Result<bool> {
    Ok(index_of::<true>(ctx, buffer, value, offset, name)? >= 0.0)
}

/// Where `value`, a byte, a text or a view, stands: the `FIRST` place at or after `offset`, or the last one at or before it; -1 when nowhere. Nothing is
/// not found anywhere.
pub(super) fn index_of<'js, const FIRST: bool>(
    ctx: Ctx<'js>,
    buffer: Value<'js>,
    value: Arg<'js>,
    offset: Arg<'js>,
    name: Arg<'js>,
) -> Result<f64> {
    // The encoding may stand in the place of the offset.
    let (offset, name) = match given(&offset) {
        Some(encoding) if encoding.is_string() => (None, Some(encoding)),
        offset => (offset, given(&name)),
    };
    let length = length_of(&buffer)?;
    let default = if FIRST { 0.0 } else { length as f64 };
    let mut offset = integer(&ctx, offset, "Offset", default)?;
    let needle = match value.0.as_ref() {
        Some(value) if value.is_string() => decode(&ctx, value, encoding(&ctx, name)?)?,
        Some(value) if value.is_bool() => vec![u8::from(value.as_bool() == Some(true))],
        Some(value) if value.is_number() => {
            let number = value.as_number().unwrap_or_default();
            vec![number::to_u64(number).to_le_bytes()[0]]
        }
        other => bytes::copy(view(&ctx, other, "Value")?)?,
    };
    if offset < 0.0 {
        offset += length as f64;
    }
    if needle.is_empty() || needle.len() > length || (!FIRST && offset < 0.0) {
        return Ok(-1.0);
    }
    let last = length - needle.len();
    let start = offset.max(0.0) as usize;
    let found = bytes::read(&buffer, |bytes| {
        let here = |at: &usize| bytes[*at..*at + needle.len()] == *needle;
        if FIRST {
            (start..=last).find(here)
        } else {
            (0..=start.min(last)).rev().find(here)
        }
    })?;
    Ok(found.map_or(-1.0, |at| at as f64))
}
