//! bare-ws's frames (RFC 6455): the mask over their bytes.

use rquickjs::{Ctx, Object, Value, prelude::Func};

use crate::engine::bytes;

/// Applies a mask of four bytes to a view, in place; again, and it is off.
fn mask<'js>(view: Value<'js>, key: Value<'js>) -> rquickjs::Result<()> {
    let key = bytes::copy(&key)?;
    bytes::write(&view, |data| {
        for (byte, mask) in data.iter_mut().zip(key.iter().cycle()) {
            *byte ^= mask;
        }
    })
}

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    native.set("mask", Func::from(mask))?;
    native.set(
        "isText",
        Func::from(|view: Value<'js>| bytes::read(&view, |data| std::str::from_utf8(data).is_ok())),
    )?;
    Ok(native)
}
