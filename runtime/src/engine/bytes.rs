//! Bytes between JavaScript and Rust: views are read and written in place, results become Buffers.
//!
//! The closures given here may not run JavaScript: it could shrink, detach or overwrite what they look at.

use super::error::JsError;
use rquickjs::{ArrayBuffer, Ctx, IntoJs, JsLifetime, Object, Persistent, Result, Value, qjs};
use std::ptr::NonNull;

/// The class that Buffers have, once `bare-buffer` is there.
#[derive(JsLifetime)]
struct BufferClass {
    /// The engine's `Uint8Array`.
    base: Persistent<Object<'static>>,
    /// `Buffer`, which extends it.
    class: Persistent<Object<'static>>,
}

/// Says what class [`Bytes`] get; called once per thread, by `bare-buffer`.
pub(crate) fn set_buffer_class<'js>(ctx: &Ctx<'js>, class: Object<'js>) -> Result<()> {
    let base: Object<'js> = ctx.globals().get("Uint8Array")?;
    ctx.store_userdata(BufferClass {
        base: Persistent::save(ctx, base),
        class: Persistent::save(ctx, class),
    })?;
    Ok(())
}

/// Bytes on their way to JavaScript, where they are a Buffer (a plain `Uint8Array` as long as there is no `bare-buffer`).
#[derive(Debug, Clone, Default)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

/// Below this many bytes it is cheaper to copy than to hand memory over.
pub(crate) const COPY_BYTES_MAX: usize = 4096;

impl<'js> IntoJs<'js> for Bytes {
    fn into_js(self, ctx: &Ctx<'js>) -> Result<Value<'js>> {
        if self.0.len() <= COPY_BYTES_MAX {
            return buffer(ctx, &self.0);
        }
        over(ctx, ArrayBuffer::new(ctx.clone(), self.0)?)
    }
}

/// A Buffer with a copy of these bytes.
///
/// # Errors
/// When there is no memory for it.
pub(crate) fn buffer<'js>(ctx: &Ctx<'js>, bytes: &[u8]) -> Result<Value<'js>> {
    over(ctx, ArrayBuffer::new_copy(ctx.clone(), bytes)?)
}

fn over<'js>(ctx: &Ctx<'js>, buffer: ArrayBuffer<'js>) -> Result<Value<'js>> {
    let undefined = Value::new_undefined(ctx.clone());
    construct(ctx, [buffer.into_value(), undefined.clone(), undefined])
}

/// `new Buffer(…)` with the arguments of `new Uint8Array(…)`, without running the constructor's JavaScript.
///
/// # Errors
/// What `Uint8Array` throws.
pub(crate) fn construct<'js>(ctx: &Ctx<'js>, args: [Value<'js>; 3]) -> Result<Value<'js>> {
    let class = ctx
        .userdata::<BufferClass>()
        .map(|class| (class.base.clone(), class.class.clone()));
    let (base, class): (Object<'js>, Object<'js>) = match class {
        Some((base, class)) => (base.restore(ctx)?, class.restore(ctx)?),
        None => {
            let base: Object<'js> = ctx.globals().get("Uint8Array")?;
            (base.clone(), base)
        }
    };
    let mut raw = args.each_ref().map(|arg| arg.as_raw());
    // SAFETY: all values are alive until the call returns, and the engine does not keep the arguments; what comes back is owned by the `Value`.
    unsafe {
        let made = qjs::JS_CallConstructor2(
            ctx.as_raw().as_ptr(),
            base.as_value().as_raw(),
            class.as_value().as_raw(),
            3,
            raw.as_mut_ptr(),
        );
        if qjs::JS_IsException(made) {
            return Err(rquickjs::Error::Exception);
        }
        Ok(Value::from_raw(ctx.clone(), made))
    }
}

/// What the elements of a view are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    /// Bytes.
    U8,
    /// Other numbers.
    Other,
    /// A DataView has no elements.
    None,
}

/// The elements of a view; `None` for what is no view.
pub(crate) fn element(value: &Value<'_>) -> Option<Element> {
    if !value.is_object() {
        return None;
    }
    // SAFETY: only asks for the class of a value that is alive.
    let (array, is_data_view) = unsafe {
        (
            qjs::JS_GetTypedArrayType(value.as_raw()),
            qjs::JS_IsDataView(value.as_raw()),
        )
    };
    match u32::try_from(array) {
        Ok(
            qjs::JSTypedArrayEnum_JS_TYPED_ARRAY_UINT8
            | qjs::JSTypedArrayEnum_JS_TYPED_ARRAY_UINT8C,
        ) => Some(Element::U8),
        Ok(_) => Some(Element::Other),
        Err(_) if is_data_view => Some(Element::None),
        Err(_) => None,
    }
}

/// A Buffer over a part of what a Uint8Array looks at. The caller has checked that the part is in there.
///
/// # Errors
/// A TypeError when `value` is no typed array.
pub(crate) fn part_of<'js>(value: &Value<'js>, start: usize, length: usize) -> Result<Value<'js>> {
    let ctx = value.ctx();
    let mut offset = 0;
    // SAFETY: `value` is alive; what comes back is owned by the `Value`.
    let buffer = unsafe {
        let buffer = qjs::JS_GetTypedArrayBuffer(
            ctx.as_raw().as_ptr(),
            value.as_raw(),
            &raw mut offset,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        );
        if qjs::JS_IsException(buffer) {
            return Err(rquickjs::Error::Exception);
        }
        Value::from_raw(ctx.clone(), buffer)
    };
    let place = Value::new_number(ctx.clone(), (offset as usize + start) as f64);
    let length = Value::new_number(ctx.clone(), length as f64);
    construct(ctx, [buffer, place, length])
}

/// Copies `count` bytes of a view at `from` into another, or the same one, at `to`.
///
/// # Errors
/// A TypeError when either is no view of bytes; a RangeError when the bytes are not in there.
pub(crate) fn transfer(
    source: &Value<'_>,
    from: usize,
    target: &Value<'_>,
    to: usize,
    count: usize,
) -> Result<()> {
    let ctx = source.ctx();
    let source = raw(source).ok_or_else(|| no_bytes(ctx))?;
    let target = raw(target).ok_or_else(|| no_bytes(ctx))?;
    let fits =
        |place: usize, length: usize| place.checked_add(count).is_some_and(|end| end <= length);
    if !fits(from, source.len()) || !fits(to, target.len()) {
        return Err(JsError::range_error("", "the bytes to copy are out of bounds").throw(ctx));
    }
    // SAFETY: both parts lie within their buffers, as was just checked, and may overlap.
    unsafe {
        source
            .cast::<u8>()
            .add(from)
            .copy_to(target.cast::<u8>().add(to), count);
    }
    Ok(())
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
