//! What npm's own JavaScript of the Hypercore stack runs on: its native addons, answered at the packages' public faces.

mod files;
mod rabin;
mod rocks;
pub(crate) mod sodium;
mod udx;

use rquickjs::{Ctx, Object, Result};

/// The native half of `pome-npm`.
pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    files::add(ctx, &native)?;
    rabin::add(ctx, &native)?;
    rocks::add(ctx, &native)?;
    udx::add(ctx, &native)?;
    Ok(native)
}
