//! Strings between JavaScript and Rust without a detour: JavaScript's strings are UTF-16 and may hold half a surrogate pair, Rust's may not.

use rquickjs::{Ctx, FromJs, Result, Value, qjs};
use std::{borrow::Cow, slice};

/// Looks at a string as UTF-8, with U+FFFD in the place of each half of a surrogate pair. `look` may not run JavaScript.
///
/// # Errors
/// What the engine throws when `value` cannot be made a string (a Symbol), or memory runs out.
pub(crate) fn with_utf8<R>(value: &Value<'_>, look: impl FnOnce(&[u8]) -> R) -> Result<R> {
    let ctx = value.ctx().as_raw().as_ptr();
    let mut length = 0;
    // SAFETY: `value` belongs to `ctx`; what comes back is null with an exception, or `length` bytes that stay until they are freed below.
    let start = unsafe { qjs::JS_ToCStringLen(ctx, &raw mut length, value.as_raw()) };
    if start.is_null() {
        return Err(rquickjs::Error::Exception);
    }
    // SAFETY: see above.
    let bytes = unsafe { slice::from_raw_parts(start.cast::<u8>(), length) };
    let answer = look(&without_surrogates(bytes));
    // SAFETY: `start` came from JS_ToCStringLen and nothing looks at it any more.
    unsafe { qjs::JS_FreeCString(ctx, start) };
    Ok(answer)
}

/// A string, with U+FFFD in the place of each half of a surrogate pair: `String` as an argument refuses such strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) String);

impl<'js> FromJs<'js> for Text {
    fn from_js(_ctx: &Ctx<'js>, value: Value<'js>) -> Result<Self> {
        with_utf8(&value, |bytes| {
            Self(String::from_utf8_lossy(bytes).into_owned())
        })
    }
}

/// Looks at a string as UTF-16. `look` may not run JavaScript.
///
/// # Errors
/// As [`with_utf8`].
pub(crate) fn with_utf16<R>(value: &Value<'_>, look: impl FnOnce(&[u16]) -> R) -> Result<R> {
    let ctx = value.ctx().as_raw().as_ptr();
    let mut length = 0;
    // SAFETY: as in `with_utf8`; the length is in units of 16 bits.
    let start = unsafe { qjs::JS_ToCStringLenUTF16(ctx, &raw mut length, value.as_raw()) };
    if start.is_null() {
        return Err(rquickjs::Error::Exception);
    }
    // SAFETY: see above.
    let answer = look(unsafe { slice::from_raw_parts(start, length as usize) });
    // SAFETY: `start` came from JS_ToCStringLenUTF16 and nothing looks at it any more.
    unsafe { qjs::JS_FreeCStringUTF16(ctx, start) };
    Ok(answer)
}

/// Makes a string of units of UTF-16, half surrogate pairs included.
///
/// # Errors
/// When memory runs out.
pub(crate) fn from_utf16<'js>(ctx: &Ctx<'js>, units: &[u16]) -> Result<Value<'js>> {
    // SAFETY: the units are copied before the call returns; the value that comes back is owned by the `Value`.
    unsafe {
        let raw = qjs::JS_NewStringUTF16(ctx.as_raw().as_ptr(), units.as_ptr(), units.len() as _);
        if qjs::JS_IsException(raw) {
            return Err(rquickjs::Error::Exception);
        }
        Ok(Value::from_raw(ctx.clone(), raw))
    }
}

/// The engine writes half a surrogate pair as three bytes, `ED A0…BF xx`, which is as long as U+FFFD.
fn without_surrogates(bytes: &[u8]) -> Cow<'_, [u8]> {
    if std::str::from_utf8(bytes).is_ok() {
        return Cow::Borrowed(bytes);
    }
    let mut clean = bytes.to_vec();
    let mut at = 0;
    while at + 2 < clean.len() {
        if clean[at] == 0xed && clean[at + 1] >= 0xa0 {
            clean[at..at + 3].copy_from_slice("\u{fffd}".as_bytes());
            at += 3;
        } else {
            at += 1;
        }
    }
    Cow::Owned(clean)
}

#[cfg(test)]
mod tests {
    use super::without_surrogates;

    #[test]
    fn half_a_pair_becomes_the_replacement_character() {
        assert_eq!(
            &*without_surrogates(b"a\xed\xa0\x80b"),
            "a\u{fffd}b".as_bytes()
        );
        assert_eq!(
            &*without_surrogates("\u{d7ff}é".as_bytes()),
            "\u{d7ff}é".as_bytes()
        );
    }
}
