//! Bytes between JavaScript and Rust: views are read and written in place, results become Buffers.
//!
//! The closures given here may not run JavaScript: it could shrink, detach or overwrite what they look at.

use super::error::JsError;
use rquickjs::{Ctx, IntoJs, JsLifetime, Object, Persistent, Result, TypedArray, Value, qjs};
use std::ptr::NonNull;

/// The prototype that Buffers have, once `bare-buffer` is there.
#[derive(JsLifetime)]
struct BufferPrototype(Persistent<Object<'static>>);

/// Says what prototype [`Bytes`] get; called once per thread, by `bare-buffer`.
pub(crate) fn set_buffer_prototype<'js>(ctx: &Ctx<'js>, prototype: Object<'js>) -> Result<()> {
    ctx.store_userdata(BufferPrototype(Persistent::save(ctx, prototype)))?;
    Ok(())
}

/// Bytes on their way to JavaScript, where they are a Buffer (a plain `Uint8Array` as long as there is no `bare-buffer`).
#[derive(Debug, Clone, Default)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl<'js> IntoJs<'js> for Bytes {
    fn into_js(self, ctx: &Ctx<'js>) -> Result<Value<'js>> {
        let array = TypedArray::<u8>::new(ctx.clone(), self.0)?;
        let prototype = match ctx.userdata::<BufferPrototype>() {
            Some(prototype) => Some(prototype.0.clone().restore(ctx)?),
            None => None,
        };
        if prototype.is_some() {
            array.as_object().set_prototype(prototype.as_ref())?;
        }
        Ok(array.into_value())
    }
}

/// Where the bytes of an ArrayBuffer, a SharedArrayBuffer, a typed array or a DataView are right now; `None` when it is none of them, or detached.
fn raw(value: &Value<'_>) -> Option<NonNull<[u8]>> {
    let ctx = value.ctx();
    let object = value.as_object()?;
    // SAFETY: the calls only look at `value`, which is alive; `buffer` is freed by the `Value` that takes it over.
    unsafe {
        let raw_ctx = ctx.as_raw().as_ptr();
        if qjs::JS_GetTypedArrayType(value.as_raw()) >= 0 {
            let (mut offset, mut length) = (0, 0);
            let buffer = qjs::JS_GetTypedArrayBuffer(
                raw_ctx,
                value.as_raw(),
                &raw mut offset,
                &raw mut length,
                std::ptr::null_mut(),
            );
            if qjs::JS_IsException(buffer) {
                ctx.catch();
                return None;
            }
            let buffer = Value::from_raw(ctx.clone(), buffer);
            return part(&buffer, offset as usize, length as usize);
        }
    }
    // SAFETY: only asks for the class of a value that is alive.
    if unsafe { qjs::JS_IsDataView(value.as_raw()) } {
        let buffer: Value<'_> = object.get("buffer").ok()?;
        return part(
            &buffer,
            object.get("byteOffset").ok()?,
            object.get("byteLength").ok()?,
        );
    }
    whole(value)
}

fn whole(value: &Value<'_>) -> Option<NonNull<[u8]>> {
    let mut length = 0;
    // SAFETY: for anything but a buffer that is attached it answers with null, and an exception that is taken away here.
    let start = unsafe {
        qjs::JS_GetArrayBuffer(
            value.ctx().as_raw().as_ptr(),
            &raw mut length,
            value.as_raw(),
        )
    };
    match NonNull::new(start) {
        Some(start) => Some(NonNull::slice_from_raw_parts(start, length as usize)),
        None if value.ctx().has_exception() => {
            value.ctx().catch();
            None
        }
        None => Some(NonNull::slice_from_raw_parts(NonNull::dangling(), 0)),
    }
}

fn part(buffer: &Value<'_>, offset: usize, length: usize) -> Option<NonNull<[u8]>> {
    let all = whole(buffer)?;
    if offset.checked_add(length)? > all.len() {
        return None;
    }
    // SAFETY: the part lies within the buffer, as was just checked.
    let start = unsafe { all.cast::<u8>().add(offset) };
    Some(NonNull::slice_from_raw_parts(start, length))
}

fn no_bytes(ctx: &Ctx<'_>) -> rquickjs::Error {
    JsError::type_error(
        "",
        "a Buffer, typed array, DataView or ArrayBuffer is wanted",
    )
    .throw(ctx)
}

/// True for what [`read`] takes.
pub(crate) fn is_bytes(value: &Value<'_>) -> bool {
    value.is_object() && raw(value).is_some()
}

/// Looks at the bytes of a view in place. `look` may not run JavaScript.
///
/// # Errors
/// A TypeError when `value` is no view of bytes, or its buffer is detached.
pub(crate) fn read<R>(value: &Value<'_>, look: impl FnOnce(&[u8]) -> R) -> Result<R> {
    let bytes = raw(value).ok_or_else(|| no_bytes(value.ctx()))?;
    // SAFETY: nothing runs JavaScript while `look` does, so the buffer stays where it is; another thread can only write to a SharedArrayBuffer,
    // whose bytes are plain and are never relied on to stay the same.
    Ok(look(unsafe { bytes.as_ref() }))
}

/// Writes into the bytes of a view in place. `fill` may not run JavaScript.
///
/// # Errors
/// A TypeError when `value` is no view of bytes, or its buffer is detached.
pub(crate) fn write<R>(value: &Value<'_>, fill: impl FnOnce(&mut [u8]) -> R) -> Result<R> {
    let mut bytes = raw(value).ok_or_else(|| no_bytes(value.ctx()))?;
    // SAFETY: as in `read`, and no other slice of this thread is alive: `read` and `write` end before they return.
    Ok(fill(unsafe { bytes.as_mut() }))
}

/// Copies the bytes of a view.
///
/// # Errors
/// As [`read`].
pub(crate) fn copy(value: &Value<'_>) -> Result<Vec<u8>> {
    read(value, <[u8]>::to_vec)
}
