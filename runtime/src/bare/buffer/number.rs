//! `readInt32BE` and its like: numbers of 1 to 8 bytes in Buffers, of either byte order.

use super::{Arg, given, named, type_of};
use crate::engine::{bytes, error::JsError};
use rquickjs::{
    Ctx, Object, Result, Value,
    convert::Coerced,
    prelude::{Func, This},
};

/// The number modulo 2⁶⁴, as JavaScript's integer conversions cut it.
pub(super) fn to_u64(number: f64) -> u64 {
    let whole = number.trunc();
    if !whole.is_finite() {
        return 0;
    }
    // The remainder fits 65 bits with its sign.
    (whole % 18_446_744_073_709_551_616.0) as i128 as u64
}

fn out_of_bounds(ctx: &Ctx<'_>) -> rquickjs::Error {
    JsError::range_error("", "Offset is outside the bounds of the buffer").throw(ctx)
}

/// Where the number stands: a whole number, 0 when it is left out.
fn place(ctx: &Ctx<'_>, arg: Option<&Value<'_>>) -> Result<usize> {
    let Some(value) = arg else { return Ok(0) };
    let Some(number) = value.as_number() else {
        let message = format!("Offset must be a number, received type {}", type_of(arg));
        return Err(JsError::type_error("", message).throw(ctx));
    };
    if number.fract() != 0.0 || !number.is_finite() {
        return Err(JsError::range_error("", "Offset must be an integer").throw(ctx));
    }
    if number < 0.0 {
        return Err(out_of_bounds(ctx));
    }
    Ok(number as usize)
}

fn width(ctx: &Ctx<'_>, arg: Option<&Value<'_>>) -> Result<usize> {
    match arg.and_then(Value::as_int) {
        Some(width @ 1..=6) => Ok(width as usize),
        _ => Err(JsError::range_error("", "Byte length must be between 1 and 6").throw(ctx)),
    }
}

/// Reads `count` bytes at `offset` as an unsigned number, the least significant byte first when `little`.
fn read(
    ctx: &Ctx<'_>,
    buffer: &Value<'_>,
    offset: usize,
    count: usize,
    little: bool,
) -> Result<u64> {
    let number = bytes::read(buffer, |bytes| {
        let part = bytes.get(offset..offset.checked_add(count)?)?;
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if little {
            part.iter().rev().fold(0, join)
        } else {
            part.iter().fold(0, join)
        })
    })?;
    number.ok_or_else(|| out_of_bounds(ctx))
}

/// Writes the low `count` bytes of `number`; the place behind them.
fn put(
    ctx: &Ctx<'_>,
    buffer: &Value<'_>,
    number: u64,
    offset: usize,
    count: usize,
    little: bool,
) -> Result<f64> {
    let done = bytes::write(buffer, |bytes| {
        let part = bytes.get_mut(offset..offset.checked_add(count)?)?;
        part.copy_from_slice(&number.to_le_bytes()[..count]);
        if !little {
            part.reverse();
        }
        Some(())
    })?;
    done.ok_or_else(|| out_of_bounds(ctx))?;
    Ok((offset + count) as f64)
}

fn number_of(arg: Option<&Value<'_>>) -> Result<f64> {
    match arg {
        None => Ok(f64::NAN),
        Some(value) => match value.as_number() {
            Some(number) => Ok(number),
            None => Ok(value.get::<Coerced<f64>>()?.0),
        },
    }
}

/// Extends the sign of a number of `count` bytes.
fn signed(number: u64, count: usize) -> i64 {
    let unused = 64 - 8 * count as u32;
    (number << unused) as i64 >> unused
}

/// A whole number as the engine keeps small ones, which is cheaper than as a float.
fn whole(ctx: Ctx<'_>, number: f64) -> Value<'_> {
    Value::new_number(ctx, number)
}

pub(super) fn add<'js>(
    ctx: &Ctx<'js>,
    methods: &Object<'js>,
    functions: &Object<'js>,
) -> Result<()> {
    // A getter and a setter of `$count` bytes under `$read` and `$write`, and under `$also…` where a name has two spellings.
    macro_rules! numbers {
        ($($read:literal $write:literal $([$also_read:literal $also_write:literal])? $count:literal $little:literal
            $get:expr, $set:expr;)*) => {$({
            fn get<'js>(ctx: Ctx<'js>, buffer: Value<'js>, offset: Arg<'js>) -> Result<Value<'js>> {
                let bits = read(&ctx, &buffer, place(&ctx, given(&offset))?, $count, $little)?;
                let convert: fn(Ctx<'js>, u64) -> Value<'js> = $get;
                Ok(convert(ctx, bits))
            }
            fn set<'js>(ctx: Ctx<'js>, buffer: Value<'js>, value: Arg<'js>, offset: Arg<'js>) -> Result<f64> {
                let convert: fn(f64) -> u64 = $set;
                let bits = convert(number_of(given(&value))?);
                put(&ctx, &buffer, bits, place(&ctx, given(&offset))?, $count, $little)
            }
            fn get_method<'js>(ctx: Ctx<'js>, this: This<Value<'js>>, offset: Arg<'js>) -> Result<Value<'js>> {
                get(ctx, this.0, offset)
            }
            fn set_method<'js>(ctx: Ctx<'js>, this: This<Value<'js>>, value: Arg<'js>, offset: Arg<'js>) -> Result<f64> {
                set(ctx, this.0, value, offset)
            }
            methods.set($read, named(ctx, $read, Func::from(get_method))?)?;
            methods.set($write, named(ctx, $write, Func::from(set_method))?)?;
            functions.set($read, named(ctx, $read, Func::from(get))?)?;
            functions.set($write, named(ctx, $write, Func::from(set))?)?;
            $(
                for all in [methods, functions] {
                    all.set($also_read, all.get::<_, Value<'js>>($read)?)?;
                    all.set($also_write, all.get::<_, Value<'js>>($write)?)?;
                }
            )?
        })*};
    }
    numbers! {
        "readInt8" "writeInt8" 1 true |ctx, bits| whole(ctx, signed(bits, 1) as f64), to_u64;
        "readInt16LE" "writeInt16LE" 2 true |ctx, bits| whole(ctx, signed(bits, 2) as f64), to_u64;
        "readInt16BE" "writeInt16BE" 2 false |ctx, bits| whole(ctx, signed(bits, 2) as f64), to_u64;
        "readInt32LE" "writeInt32LE" 4 true |ctx, bits| whole(ctx, signed(bits, 4) as f64), to_u64;
        "readInt32BE" "writeInt32BE" 4 false |ctx, bits| whole(ctx, signed(bits, 4) as f64), to_u64;
        "readUint8" "writeUint8" ["readUInt8" "writeUInt8"] 1 true |ctx, bits| whole(ctx, bits as f64), to_u64;
        "readUint16LE" "writeUint16LE" ["readUInt16LE" "writeUInt16LE"] 2 true |ctx, bits| whole(ctx, bits as f64), to_u64;
        "readUint16BE" "writeUint16BE" ["readUInt16BE" "writeUInt16BE"] 2 false |ctx, bits| whole(ctx, bits as f64), to_u64;
        "readUint32LE" "writeUint32LE" ["readUInt32LE" "writeUInt32LE"] 4 true |ctx, bits| whole(ctx, bits as f64), to_u64;
        "readUint32BE" "writeUint32BE" ["readUInt32BE" "writeUInt32BE"] 4 false |ctx, bits| whole(ctx, bits as f64), to_u64;
        "readFloatLE" "writeFloatLE" 4 true
            |ctx, bits| Value::new_float(ctx, f64::from(f32::from_bits(bits as u32))), |number| u64::from((number as f32).to_bits());
        "readFloatBE" "writeFloatBE" 4 false
            |ctx, bits| Value::new_float(ctx, f64::from(f32::from_bits(bits as u32))), |number| u64::from((number as f32).to_bits());
        "readDoubleLE" "writeDoubleLE" 8 true |ctx, bits| Value::new_float(ctx, f64::from_bits(bits)), f64::to_bits;
        "readDoubleBE" "writeDoubleBE" 8 false |ctx, bits| Value::new_float(ctx, f64::from_bits(bits)), f64::to_bits;
    }

    // Of 1 to 6 bytes, the count being an argument.
    macro_rules! sized {
        ($($read:literal $write:literal $([$also_read:literal $also_write:literal])? $little:literal $signed:literal;)*) => {$({
            fn get<'js>(ctx: Ctx<'js>, this: This<Value<'js>>, offset: Arg<'js>, count: Arg<'js>) -> Result<Value<'js>> {
                let count = width(&ctx, given(&count))?;
                let bits = read(&ctx, &this.0, place(&ctx, given(&offset))?, count, $little)?;
                Ok(whole(ctx, if $signed { signed(bits, count) as f64 } else { bits as f64 }))
            }
            fn set<'js>(
                ctx: Ctx<'js>,
                this: This<Value<'js>>,
                value: Arg<'js>,
                offset: Arg<'js>,
                count: Arg<'js>,
            ) -> Result<f64> {
                let count = width(&ctx, given(&count))?;
                let bits = to_u64(number_of(given(&value))?);
                put(&ctx, &this.0, bits, place(&ctx, given(&offset))?, count, $little)
            }
            methods.set($read, named(ctx, $read, Func::from(get))?)?;
            methods.set($write, named(ctx, $write, Func::from(set))?)?;
            $(
                methods.set($also_read, methods.get::<_, Value<'js>>($read)?)?;
                methods.set($also_write, methods.get::<_, Value<'js>>($write)?)?;
            )?
        })*};
    }
    sized! {
        "readIntLE" "writeIntLE" true true;
        "readIntBE" "writeIntBE" false true;
        "readUintLE" "writeUintLE" ["readUIntLE" "writeUIntLE"] true false;
        "readUintBE" "writeUintBE" ["readUIntBE" "writeUIntBE"] false false;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{signed, to_u64};

    #[test]
    fn numbers_are_cut_as_javascript_cuts_them() {
        assert_eq!(to_u64(-1.0), u64::MAX);
        assert_eq!(to_u64(257.9), 257);
        assert_eq!(to_u64(f64::NAN), 0);
        assert_eq!(to_u64(18_446_744_073_709_551_616.0), 0);
        assert_eq!(signed(0xff_ffff, 3), -1);
        assert_eq!(signed(0x7f_ffff, 3), 0x7f_ffff);
    }
}
