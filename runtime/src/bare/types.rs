//! The native half of `bare-type` and `bare-inspect`: what the engine knows of a value and JavaScript does not tell.

use crate::engine::class;
use rquickjs::{
    Array, Ctx, Object, Promise, Result, Value, object::Filter, prelude::Func,
    promise::PromiseState,
};

/// Of more properties than these, only the elements are shown.
const NAMED_KEYS_MAX: usize = 4096;

/// `[state, result]`: what a promise has come to, without waiting for it.
fn promise<'js>(ctx: Ctx<'js>, promise: Promise<'js>) -> Result<Array<'js>> {
    let all = Array::new(ctx.clone())?;
    match promise.state() {
        PromiseState::Pending => all.set(0, "pending")?,
        PromiseState::Resolved => {
            all.set(0, "resolved")?;
            if let Some(result) = promise.result::<Value<'js>>() {
                all.set(1, result?)?;
            }
        }
        PromiseState::Rejected => {
            all.set(0, "rejected")?;
            if let Some(Err(_)) = promise.result::<Value<'js>>() {
                all.set(1, ctx.catch())?;
            }
        }
    }
    Ok(all)
}

/// The enumerable properties of an array that are not its elements.
fn named_keys<'js>(object: Object<'js>) -> Result<Vec<String>> {
    let length = object
        .get::<_, Value<'js>>("length")?
        .as_number()
        .unwrap_or_default();
    if length > NAMED_KEYS_MAX as f64 {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for key in object.own_keys::<String>(Filter::new().string().enum_only()) {
        let key = key?;
        if key.parse::<u32>().is_err() {
            names.push(key);
        }
    }
    Ok(names)
}

fn class_name<'js>(value: Value<'js>) -> Result<Value<'js>> {
    class::name(&value)
}

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    native.set("className", Func::from(class_name))?;
    native.set("promise", Func::from(promise))?;
    native.set("namedKeys", Func::from(named_keys))?;
    Ok(native)
}
