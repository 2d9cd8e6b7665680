//! Work that is done off the JavaScript thread and answers a callback on it.
//!
//! Every native operation that waits has one form: the face hands it a callback, which is called once, with `(error)` or `(null, value)`.
//! Sources of many events (a listening socket, a signal) are asked for the next one each time, so that nothing is ever called that did not ask.

use std::{cell::Cell, future::Future, rc::Rc};

use rquickjs::{Ctx, Function, Persistent, Value};

use super::{failure::Failure, reply::Reply};
use crate::{
    engine::error::JsError,
    event_loop::{Handle, Loop},
};

/// What can be thrown or handed to a callback as an `Error`.
pub(crate) trait IntoError {
    /// The JavaScript error.
    fn into_error<'js>(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>>;
}

impl IntoError for Failure {
    fn into_error<'js>(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        self.to_error(ctx)
    }
}

impl IntoError for JsError {
    fn into_error<'js>(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        rquickjs::IntoJs::into_js(self, ctx)
    }
}

/// Whether a native object keeps the process alive: it does while something is under way on it, unless it was unref'd.
pub(crate) struct Liveness {
    handle: Handle,
    wanted: Cell<bool>,
    active: Cell<usize>,
}

impl Liveness {
    /// Of an object that nothing is under way on yet.
    pub(crate) fn new(ctx: &Ctx<'_>) -> Rc<Self> {
        Rc::new(Self {
            handle: Loop::get(ctx).handle(false),
            wanted: Cell::new(true),
            active: Cell::new(0),
        })
    }

    /// `ref()` or `unref()` of the object.
    pub(crate) fn set(&self, wanted: bool) {
        self.wanted.set(wanted);
        self.update();
    }

    fn update(&self) {
        if self.wanted.get() && self.active.get() > 0 {
            self.handle.ref_();
        } else {
            self.handle.unref();
        }
    }

    fn enter(&self) {
        self.active.set(self.active.get() + 1);
        self.update();
    }

    fn leave(&self) {
        self.active.set(self.active.get().saturating_sub(1));
        self.update();
    }
}

/// Runs `future` on the pool, then `callback`. `live` says whether the process waits for it.
pub(crate) fn run<'js, E>(
    ctx: &Ctx<'js>,
    live: &Rc<Liveness>,
    callback: Function<'js>,
    future: impl Future<Output = Result<Reply, E>> + Send + 'static,
) where
    E: IntoError + Send + 'static,
{
    let callback = Persistent::save(ctx, callback);
    let live = live.clone();
    live.enter();
    let events = Loop::get(ctx);
    let handle = events.handle(false);
    events.spawn(handle, future, move |ctx: &Ctx<'_>, output| {
        live.leave();
        answer(ctx, callback.restore(ctx)?, output)
    });
}

/// Runs `work`, which may block, on a thread of its own, then `callback`. The process waits for it.
pub(crate) fn blocking<'js, E>(
    ctx: &Ctx<'js>,
    callback: Function<'js>,
    work: impl FnOnce() -> Result<Reply, E> + Send + 'static,
) where
    E: IntoError + Send + 'static,
{
    let callback = Persistent::save(ctx, callback);
    let events = Loop::get(ctx);
    let handle = events.handle(true);
    events.spawn_blocking(handle, work, move |ctx: &Ctx<'_>, output| {
        answer(ctx, callback.restore(ctx)?, output)
    });
}

/// Calls `callback` with the outcome.
pub(crate) fn answer<'js, E: IntoError>(
    ctx: &Ctx<'js>,
    callback: Function<'js>,
    output: Result<Reply, E>,
) -> rquickjs::Result<()> {
    match output {
        Ok(value) => callback.call((Value::new_null(ctx.clone()), value)),
        Err(failure) => callback.call((failure.into_error(ctx)?,)),
    }
}

/// The outcome of a call that waited, as its value or thrown.
pub(crate) fn outcome<'js, E: IntoError>(
    ctx: &Ctx<'js>,
    output: Result<Reply, E>,
) -> rquickjs::Result<Value<'js>> {
    match output {
        Ok(value) => rquickjs::IntoJs::into_js(value, ctx),
        Err(failure) => {
            let error = failure.into_error(ctx)?;
            Err(ctx.throw(error))
        }
    }
}
