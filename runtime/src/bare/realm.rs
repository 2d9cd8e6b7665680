//! bare-realm: globals of their own.

use crate::engine::realm::Realm;
use rquickjs::{Class, Ctx, Object, Result};

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    Class::<Realm>::define(&native)?;
    Ok(native)
}
