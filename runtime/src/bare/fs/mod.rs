//! bare-fs: files and folders.
//!
//! The face (`js/bare-fs.js`) knows forms, defaults and classes; here one request serves the call that waits and the call that calls back.

pub(crate) mod descriptors;
mod request;
mod stat;
mod tree;
mod watch;

use rquickjs::{Ctx, Function, Object, Value, function::Rest};

use self::request::{FileFailure, Request};
use super::{
    args::Args,
    failure::Failure,
    reply::Reply,
    task::{self, IntoError},
};
use crate::engine::errno;

impl IntoError for FileFailure {
    fn into_error<'js>(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        let error = self.failure.to_error(ctx)?;
        if let Some(object) = error.as_object() {
            object.set("operation", self.operation)?;
            object.set("path", self.path.as_deref())?;
            object.set("destination", self.destination.as_deref())?;
            object.set("fd", self.fd.map(|fd| fd as f64))?;
        }
        Ok(error)
    }
}

/// `sync(name, …)` answers at once; `start(callback, name, …)` calls back; `Watch` tells of changes.
pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    native.set("sync", Function::new(ctx.clone(), sync)?)?;
    native.set("start", Function::new(ctx.clone(), start)?)?;
    native.set("watch", Function::new(ctx.clone(), watch::start)?)?;
    let errnos = Object::new(ctx.clone())?;
    for (name, number, _) in errno::all() {
        errnos.set(name, -number)?;
    }
    native.set("errnos", errnos)?;
    Ok(native)
}

fn request<'js>(ctx: &Ctx<'js>, name: &str, rest: &[Value<'js>]) -> rquickjs::Result<Request> {
    Request::parse(name, &Args::new(ctx, rest))?.ok_or_else(|| Failure::named("ENOSYS").throw(ctx))
}

fn sync<'js>(ctx: Ctx<'js>, name: String, rest: Rest<Value<'js>>) -> rquickjs::Result<Value<'js>> {
    let request = request(&ctx, &name, &rest.0)?;
    match request.permit(&ctx) {
        Ok(request) => task::outcome(&ctx, request.run(&descriptors::of(&ctx))),
        Err(refused) => Err(refused.throw(&ctx)),
    }
}

fn start<'js>(
    ctx: Ctx<'js>,
    callback: Function<'js>,
    name: String,
    rest: Rest<Value<'js>>,
) -> rquickjs::Result<()> {
    let request = request(&ctx, &name, &rest.0)?;
    match request.permit(&ctx) {
        Ok(request) => {
            let open_files = descriptors::of(&ctx);
            task::blocking(&ctx, callback, move || request.run(&open_files));
        }
        Err(refused) => task::blocking(&ctx, callback, move || Err::<Reply, _>(refused)),
    }
    Ok(())
}
