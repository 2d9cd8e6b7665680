//! What npm's own JavaScript of the Hypercore stack runs on: its native addons, answered at the packages' public faces.

mod files;
mod rabin;
mod rocks;
pub(crate) mod sodium;
mod udx;

use rquickjs::{Ctx, Object, Result};

/// The native half of `pome-npm/bootstrap`: the nodes that the environment names; null where it names none.
pub(crate) fn bootstrap<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    let named = super::dht::named_bootstrap();
    let named: Option<Vec<String>> = named.map(|all| all.iter().map(ToString::to_string).collect());
    match named {
        Some(named) => native.set("bootstrap", named)?,
        None => native.set("bootstrap", rquickjs::Null)?,
    }
    Ok(native)
}

/// The native half of `pome-npm`.
pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    files::add(ctx, &native)?;
    rabin::add(ctx, &native)?;
    rocks::add(ctx, &native)?;
    udx::add(ctx, &native)?;
    Ok(native)
}
