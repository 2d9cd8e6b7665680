//! `bare-buffer`: the methods of `Buffer` and of `b4a`, each one call from JavaScript into Rust.
//!
//! Every method is written once, over the buffer as its first argument; `b4a` has it as a function, `Buffer.prototype` as a method.

mod codec;
mod number;
mod search;

use crate::engine::bytes::{self, Bytes};
use crate::engine::error::JsError;
use crate::engine::text;
use codec::{Encoding, InvalidInput};
use rquickjs::{
    Array, Ctx, Function, IntoJs, Object, Result, Value,
    convert::Coerced,
    prelude::{Func, Opt, This},
};

/// As bare-buffer has it: what an array buffer can hold at most.
const MAX_LENGTH: f64 = 9_007_199_254_740_991.0;

/// An argument that may be left out; `undefined` counts as left out.
pub(super) type Arg<'js> = Opt<Value<'js>>;

pub(super) fn given<'a, 'js>(arg: &'a Arg<'js>) -> Option<&'a Value<'js>> {
    arg.0.as_ref().filter(|value| !value.is_undefined())
}

/// What `typeof` says.
pub(super) fn type_of(value: Option<&Value<'_>>) -> &'static str {
    match value {
        None => "undefined",
        Some(value) if value.is_undefined() => "undefined",
        Some(value) if value.is_bool() => "boolean",
        Some(value) if value.is_number() => "number",
        Some(value) if value.is_string() => "string",
        Some(value) if value.is_symbol() => "symbol",
        Some(value) if value.is_big_int() => "bigint",
        Some(value) if value.is_function() => "function",
        Some(_) => "object",
    }
}

fn wrong_type(
    ctx: &Ctx<'_>,
    name: &str,
    wanted: &str,
    value: Option<&Value<'_>>,
) -> rquickjs::Error {
    let found = type_of(value);
    JsError::type_error(
        "",
        format!("{name} must be {wanted}, received type {found}"),
    )
    .throw(ctx)
}

/// A whole number, or `default` when it is left out.
pub(super) fn integer(
    ctx: &Ctx<'_>,
    arg: Option<&Value<'_>>,
    name: &str,
    default: f64,
) -> Result<f64> {
    let Some(value) = arg.filter(|value| !value.is_undefined()) else {
        return Ok(default);
    };
    let Some(number) = value.as_number() else {
        return Err(wrong_type(ctx, name, "a number", Some(value)));
    };
    if number.fract() != 0.0 || !number.is_finite() {
        return Err(JsError::range_error("", format!("{name} must be an integer")).throw(ctx));
    }
    Ok(number)
}

fn size(ctx: &Ctx<'_>, arg: Option<&Value<'_>>, name: &str) -> Result<usize> {
    let Some(number) = arg.and_then(Value::as_number) else {
        return Err(wrong_type(ctx, name, "a number", arg));
    };
    if number.fract() != 0.0 || !(0.0..=MAX_LENGTH).contains(&number) {
        let message = format!("{name} must be an integer between 0 and {MAX_LENGTH}");
        return Err(JsError::range_error("", message).throw(ctx));
    }
    Ok(number as usize)
}

fn encoding(ctx: &Ctx<'_>, arg: Option<&Value<'_>>) -> Result<Encoding> {
    let Some(value) = arg.filter(|value| !value.is_undefined()) else {
        return Ok(Encoding::Utf8);
    };
    if !value.is_string() {
        return Err(wrong_type(ctx, "Encoding", "a string", Some(value)));
    }
    match text::with_utf8(value, Encoding::named)? {
        Some(encoding) => Ok(encoding),
        None => {
            let name = value.get::<Coerced<String>>()?.0;
            Err(JsError::new("", format!("Unknown encoding '{name}'")).throw(ctx))
        }
    }
}

fn invalid_input(ctx: &Ctx<'_>) -> rquickjs::Error {
    JsError::new("", "Invalid input").throw(ctx)
}

fn decode(ctx: &Ctx<'_>, string: &Value<'_>, encoding: Encoding) -> Result<Vec<u8>> {
    encoding
        .bytes(string)?
        .map_err(|InvalidInput| invalid_input(ctx))
}

/// A whole number as a place in `0..=length`.
pub(super) fn clamp(number: f64, length: usize) -> usize {
    // A float that does not fit saturates.
    (number.max(0.0) as usize).min(length)
}

fn length_of(value: &Value<'_>) -> Result<usize> {
    bytes::read(value, <[u8]>::len)
}

fn view<'a, 'js>(
    ctx: &Ctx<'js>,
    arg: Option<&'a Value<'js>>,
    name: &str,
) -> Result<&'a Value<'js>> {
    match arg {
        Some(value) if bytes::is_bytes(value) => Ok(value),
        other => Err(wrong_type(ctx, name, "a view", other)),
    }
}

// Making Buffers.

fn from<'js>(
    ctx: Ctx<'js>,
    value: Value<'js>,
    second: Arg<'js>,
    length: Arg<'js>,
) -> Result<Value<'js>> {
    if value.is_string() {
        let encoding = encoding(&ctx, given(&second))?;
        return Bytes(decode(&ctx, &value, encoding)?).into_js(&ctx);
    }
    if let Some(array) = value.as_array() {
        return Bytes(from_array(array)?).into_js(&ctx);
    }
    let kind = bytes::element(&value);
    if kind == Some(bytes::Element::U8) {
        return Bytes(bytes::copy(&value)?).into_js(&ctx);
    }
    if kind == Some(bytes::Element::None) {
        // A DataView has no elements.
        return Bytes(Vec::new()).into_js(&ctx);
    }
    if value.is_null() || value.is_undefined() {
        return Err(wrong_type(
            &ctx,
            "Value",
            "a string, an array, a view or an array buffer",
            Some(&value),
        ));
    }
    integer(&ctx, given(&second), "Offset", 0.0)?;
    integer(&ctx, given(&length), "Length", 0.0)?;
    let undefined = || Value::new_undefined(ctx.clone());
    let second = second.0.unwrap_or_else(undefined);
    let length = length.0.unwrap_or_else(undefined);
    // An array buffer is looked at in place; anything else gives its elements, each cut to a byte.
    bytes::construct(&ctx, [value, second, length])
}

fn from_array(array: &Array<'_>) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(array.len());
    for index in 0..array.len() {
        let element: Value<'_> = array.get(index)?;
        let number = match element.as_number() {
            Some(number) => number,
            None => element.get::<Coerced<f64>>()?.0,
        };
        bytes.push(number::to_u64(number).to_le_bytes()[0]);
    }
    Ok(bytes)
}

/// A Buffer of zeros, in the engine's own memory: too many of them are an error of the program's.
fn zeros<'js>(ctx: &Ctx<'js>, count: usize) -> Result<Value<'js>> {
    let undefined = Value::new_undefined(ctx.clone());
    let count = Value::new_number(ctx.clone(), count as f64);
    bytes::construct(ctx, [count, undefined.clone(), undefined])
}

fn alloc<'js>(
    ctx: Ctx<'js>,
    count: Value<'js>,
    filling: Arg<'js>,
    encoding: Arg<'js>,
) -> Result<Value<'js>> {
    let buffer = zeros(&ctx, size(&ctx, Some(&count), "Size")?)?;
    if given(&filling).is_some() {
        return fill(ctx, buffer, filling, Opt(None), Opt(None), encoding);
    }
    Ok(buffer)
}

fn alloc_unsafe<'js>(ctx: Ctx<'js>, count: Value<'js>) -> Result<Value<'js>> {
    zeros(&ctx, size(&ctx, Some(&count), "Size")?)
}

fn byte_length<'js>(ctx: Ctx<'js>, value: Value<'js>, name: Arg<'js>) -> Result<Value<'js>> {
    if value.is_string() {
        let length = encoding(&ctx, given(&name))?.byte_length(&value)?;
        return Ok(Value::new_number(ctx, length as f64));
    }
    Object::from_value(value)?.get("byteLength")
}

fn concat<'js>(ctx: Ctx<'js>, buffers: Array<'js>, length: Arg<'js>) -> Result<Value<'js>> {
    let mut parts = Vec::with_capacity(buffers.len());
    let mut total = 0;
    for (index, part) in buffers.iter::<Value<'js>>().enumerate() {
        let part = part?;
        if bytes::element(&part) != Some(bytes::Element::U8) {
            let message = format!("buffers[{index}] must be a view of single bytes");
            return Err(JsError::type_error("", message).throw(&ctx));
        }
        let length = length_of(&part)?;
        total += length;
        parts.push((part, length));
    }
    if let Some(length) = given(&length) {
        total = size(&ctx, Some(length), "Length")?;
    }
    let all = zeros(&ctx, total)?;
    let mut at = 0;
    for (part, length) in parts {
        let count = length.min(total - at);
        if count > 0 {
            bytes::transfer(&part, 0, &all, at, count)?;
        }
        at += count;
    }
    Ok(all)
}

fn compare_static<'js>(ctx: Ctx<'js>, a: Value<'js>, b: Value<'js>) -> Result<i32> {
    view(&ctx, Some(&a), "First buffer")?;
    view(&ctx, Some(&b), "Second buffer")?;
    order(&a, &b)
}

fn order(a: &Value<'_>, b: &Value<'_>) -> Result<i32> {
    Ok(bytes::read(a, |a| bytes::read(b, |b| a.cmp(b)))?? as i32)
}

fn is_encoding<'js>(ctx: Ctx<'js>, name: Arg<'js>) -> bool {
    if encoding(&ctx, given(&name)).is_ok() {
        return true;
    }
    ctx.catch();
    false
}

fn is_utf8(buffer: Value<'_>) -> Result<bool> {
    bytes::read(&buffer, |bytes| std::str::from_utf8(bytes).is_ok())
}

fn is_ascii(buffer: Value<'_>) -> Result<bool> {
    bytes::read(&buffer, <[u8]>::is_ascii)
}

// Methods.

fn to_string<'js>(
    ctx: Ctx<'js>,
    buffer: Value<'js>,
    name: Arg<'js>,
    start: Arg<'js>,
    end: Arg<'js>,
) -> Result<Value<'js>> {
    let encoding = encoding(&ctx, given(&name))?;
    text_of(&ctx, &buffer, encoding, (&start, &end))
}

fn to_hex<'js>(
    ctx: Ctx<'js>,
    buffer: Value<'js>,
    start: Arg<'js>,
    end: Arg<'js>,
) -> Result<Value<'js>> {
    text_of(&ctx, &buffer, Encoding::Hex, (&start, &end))
}

fn text_of<'js>(
    ctx: &Ctx<'js>,
    buffer: &Value<'js>,
    encoding: Encoding,
    (start, end): (&Arg<'js>, &Arg<'js>),
) -> Result<Value<'js>> {
    let length = length_of(buffer)?;
    let start = clamp(integer(ctx, given(start), "Start", 0.0)?, length);
    let end = clamp(integer(ctx, given(end), "End", length as f64)?, length);
    let part = start..end.max(start);
    bytes::read(buffer, |bytes| encoding.text(ctx, &bytes[part]))?
}

fn write<'js>(
    ctx: Ctx<'js>,
    buffer: Value<'js>,
    string: Value<'js>,
    offset: Arg<'js>,
    length: Arg<'js>,
    name: Arg<'js>,
) -> Result<usize> {
    if !string.is_string() {
        return Err(wrong_type(&ctx, "String", "a string", Some(&string)));
    }
    let total = length_of(&buffer)?;
    // The encoding may stand in the place of the offset or of the length.
    let (offset, length, name) = match (given(&offset), given(&length)) {
        (Some(first), _) if first.is_string() => (None, None, Some(first)),
        (offset, Some(second)) if second.is_string() => (offset, None, Some(second)),
        (offset, length) => (offset, length, given(&name)),
    };
    let encoding = encoding(&ctx, name)?;
    let offset = integer(&ctx, offset, "Offset", 0.0)?;
    let length = integer(&ctx, length, "Length", total as f64 - offset)?;
    let start = clamp(offset, total);
    let end = clamp(offset + length, total).max(start);
    bytes::write(&buffer, |bytes| {
        encoding.write(&string, &mut bytes[start..end])
    })??
    .map_err(|InvalidInput| invalid_input(&ctx))
}

fn equals<'js>(ctx: Ctx<'js>, buffer: Value<'js>, other: Arg<'js>) -> Result<bool> {
    let other = view(&ctx, other.0.as_ref(), "Target")?;
    bytes::read(&buffer, |a| bytes::read(other, |b| a == b))?
}

fn compare<'js>(
    ctx: Ctx<'js>,
    buffer: Value<'js>,
    target: Arg<'js>,
    target_start: Arg<'js>,
    target_end: Arg<'js>,
    source_start: Arg<'js>,
    source_end: Arg<'js>,
) -> Result<i32> {
    let target = view(&ctx, target.0.as_ref(), "Target")?;
    let (theirs, ours) = (length_of(target)?, length_of(&buffer)?);
    let at = |arg: &Arg<'js>, name: &str, default: f64, length: usize| {
        Ok::<_, rquickjs::Error>(clamp(integer(&ctx, given(arg), name, default)?, length))
    };
    let b0 = at(&target_start, "Target start", 0.0, theirs)?;
    let b1 = at(&target_end, "Target end", theirs as f64, theirs)?.max(b0);
    let a0 = at(&source_start, "Source start", 0.0, ours)?;
    let a1 = at(&source_end, "Source end", ours as f64, ours)?.max(a0);
    let order = bytes::read(&buffer, |a| {
        bytes::read(target, |b| a[a0..a1].cmp(&b[b0..b1]))
    })??;
    Ok(order as i32)
}

fn copy<'js>(
    ctx: Ctx<'js>,
    buffer: Value<'js>,
    target: Arg<'js>,
    target_start: Arg<'js>,
    source_start: Arg<'js>,
    source_end: Arg<'js>,
) -> Result<usize> {
    let target = view(&ctx, target.0.as_ref(), "Target")?;
    let (theirs, ours) = (length_of(target)?, length_of(&buffer)?);
    let at = |arg: &Arg<'js>, name: &str, default: usize| match given(arg) {
        None => Ok(default),
        given => size(&ctx, given, name),
    };
    let to = at(&target_start, "Target start", 0)?;
    let from = at(&source_start, "Source start", 0)?;
    let end = at(&source_end, "Source end", ours)?.min(ours);
    if from > ours {
        return Err(
            JsError::range_error("", format!("Source start must be at most {ours}")).throw(&ctx),
        );
    }
    let count = end.saturating_sub(from).min(theirs.saturating_sub(to));
    if count > 0 {
        bytes::transfer(&buffer, from, target, to, count)?;
    }
    Ok(count)
}

fn fill<'js>(
    ctx: Ctx<'js>,
    buffer: Value<'js>,
    value: Arg<'js>,
    offset: Arg<'js>,
    end: Arg<'js>,
    name: Arg<'js>,
) -> Result<Value<'js>> {
    let Some(value) = value.0 else {
        return Err(wrong_type(
            &ctx,
            "Fill value",
            "a number, a string or a view",
            None,
        ));
    };
    let (offset, end, name) = match (value.is_string(), given(&offset), given(&end)) {
        (true, Some(first), _) if first.is_string() => (None, None, Some(first)),
        (true, offset, Some(second)) if second.is_string() => (offset, None, Some(second)),
        (_, offset, end) => (offset, end, given(&name)),
    };
    let pattern = if let Some(number) = value.as_number() {
        vec![number::to_u64(number).to_le_bytes()[0]]
    } else if let Some(flag) = value.as_bool() {
        vec![u8::from(flag)]
    } else if value.is_string() {
        decode(&ctx, &value, encoding(&ctx, name)?)?
    } else if bytes::is_bytes(&value) {
        bytes::copy(&value)?
    } else {
        return Err(wrong_type(
            &ctx,
            "Fill value",
            "a number, a string or a view",
            Some(&value),
        ));
    };
    let total = length_of(&buffer)?;
    let start = clamp(integer(&ctx, offset, "Offset", 0.0)?, total);
    let end = clamp(integer(&ctx, end, "End", total as f64)?, total).max(start);
    bytes::write(&buffer, |bytes| {
        let part = &mut bytes[start..end];
        match &*pattern {
            [] => part.fill(0),
            [one] => part.fill(*one),
            more => {
                for chunk in part.chunks_mut(more.len()) {
                    chunk.copy_from_slice(&more[..chunk.len()]);
                }
            }
        }
    })?;
    Ok(buffer)
}

fn subarray<'js>(
    _ctx: Ctx<'js>,
    buffer: Value<'js>,
    start: Arg<'js>,
    end: Arg<'js>,
) -> Result<Value<'js>> {
    let length = length_of(&buffer)?;
    // Counted from the end when it is negative; anything that is no number is made one, as for any typed array.
    let place = |arg: &Arg<'js>, default: usize| -> Result<usize> {
        let Some(value) = given(arg) else {
            return Ok(default);
        };
        let number = match value.as_number() {
            Some(number) => number,
            None => value.get::<Coerced<f64>>()?.0,
        }
        .trunc();
        Ok(clamp(
            if number < 0.0 {
                number + length as f64
            } else {
                number
            },
            length,
        ))
    };
    let start = place(&start, 0)?;
    let end = place(&end, length)?.max(start);
    bytes::part_of(&buffer, start, end - start)
}

fn swap<const N: usize>(ctx: &Ctx<'_>, buffer: Value<'_>) -> Result<()> {
    if length_of(&buffer)? % N != 0 {
        let message = format!("Buffer size must be a multiple of {}-bits", N * 8);
        return Err(JsError::range_error("", message).throw(ctx));
    }
    bytes::write(&buffer, |bytes| {
        bytes.chunks_exact_mut(N).for_each(<[u8]>::reverse)
    })
}

fn swap16<'js>(ctx: Ctx<'js>, buffer: Value<'js>) -> Result<Value<'js>> {
    swap::<2>(&ctx, buffer.clone())?;
    Ok(buffer)
}

fn swap32<'js>(ctx: Ctx<'js>, buffer: Value<'js>) -> Result<Value<'js>> {
    swap::<4>(&ctx, buffer.clone())?;
    Ok(buffer)
}

fn swap64<'js>(ctx: Ctx<'js>, buffer: Value<'js>) -> Result<Value<'js>> {
    swap::<8>(&ctx, buffer.clone())?;
    Ok(buffer)
}

/// Says what class the Buffers made here have.
fn attach<'js>(ctx: Ctx<'js>, constructor: Object<'js>) -> Result<()> {
    bytes::set_buffer_class(&ctx, constructor)
}

/// The functions of `bare-buffer`: `methods` take the buffer as `this`, `functions` as their first argument, `statics` make or look at buffers.
pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    let methods = Object::new(ctx.clone())?;
    let functions = Object::new(ctx.clone())?;
    let statics = Object::new(ctx.clone())?;

    // Both forms of one function: `$argument`s besides the buffer are all of the same type.
    macro_rules! both {
        ($($name:literal: $function:path, ($($argument:ident),*);)*) => {$(
            fn_pair!($name, $function, $($argument),*);
        )*};
    }
    macro_rules! fn_pair {
        ($name:literal, $function:path, $($argument:ident),*) => {{
            fn method<'js>(ctx: Ctx<'js>, this: This<Value<'js>>, $($argument: Arg<'js>),*) -> Result<Value<'js>> {
                $function(ctx.clone(), this.0, $($argument),*)?.into_js(&ctx)
            }
            fn function<'js>(ctx: Ctx<'js>, buffer: Value<'js>, $($argument: Arg<'js>),*) -> Result<Value<'js>> {
                $function(ctx.clone(), buffer, $($argument),*)?.into_js(&ctx)
            }
            methods.set($name, named(ctx, $name, Func::from(method))?)?;
            functions.set($name, named(ctx, $name, Func::from(function))?)?;
        }};
    }
    both! {
        "toString": to_string, (a, b, c);
        "toHex": to_hex, (a, b);
        "equals": equals, (a);
        "compare": compare, (a, b, c, d, e);
        "copy": copy, (a, b, c, d);
        "fill": fill, (a, b, c, d);
        "subarray": subarray, (a, b);
        "swap16": swap16, ();
        "swap32": swap32, ();
        "swap64": swap64, ();
        "includes": search::includes, (a, b, c);
        "indexOf": search::index_of::<true>, (a, b, c);
        "lastIndexOf": search::index_of::<false>, (a, b, c);
        "write": write_any, (a, b, c, d);
    }
    number::add(ctx, &methods, &functions)?;

    macro_rules! statics {
        ($($name:literal: $function:path;)*) => {
            $(statics.set($name, named(ctx, $name, Func::from($function))?)?;)*
        };
    }
    statics! {
        "from": from;
        "alloc": alloc;
        "allocUnsafe": alloc_unsafe;
        "allocUnsafeSlow": alloc_unsafe;
        "byteLength": byte_length;
        "concat": concat;
        "compare": compare_static;
        "isEncoding": is_encoding;
        "isUTF8": is_utf8;
        "isASCII": is_ascii;
    }

    native.set("methods", methods)?;
    native.set("functions", functions)?;
    native.set("statics", statics)?;
    native.set("attach", Func::from(attach))?;
    native.set("maxLength", MAX_LENGTH)?;
    Ok(native)
}

fn write_any<'js>(
    ctx: Ctx<'js>,
    buffer: Value<'js>,
    string: Arg<'js>,
    offset: Arg<'js>,
    length: Arg<'js>,
    name: Arg<'js>,
) -> Result<usize> {
    let string = string
        .0
        .unwrap_or_else(|| Value::new_undefined(ctx.clone()));
    write(ctx, buffer, string, offset, length, name)
}

pub(super) fn named<'js, F: IntoJs<'js>>(
    ctx: &Ctx<'js>,
    name: &str,
    function: F,
) -> Result<Function<'js>> {
    Function::from_value(function.into_js(ctx)?)?.with_name(name)
}
