//! The native half of `bare-path`: where relative paths begin.

use crate::engine::error::os_error;
use rquickjs::{Ctx, Object, Result, prelude::Func};

fn cwd(ctx: Ctx<'_>) -> Result<String> {
    match std::env::current_dir() {
        Ok(folder) => Ok(folder.to_string_lossy().into_owned()),
        Err(error) => Err(os_error(&ctx, &error, "cwd", None)),
    }
}

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    native.set("cwd", Func::from(cwd))?;
    Ok(native)
}
