//! The limit of a heap: what is kept back so that a program without memory can still say so.

use rquickjs::{Ctx, qjs};

/// What telling of an error takes, in bytes.
const SPARE_BYTES: usize = 4 << 20;

/// Lets a heap with a limit have a little more from now on: an error that nobody caught is about to be told.
pub(crate) fn spare(ctx: &Ctx<'_>, limit: Option<usize>) {
    let Some(limit) = limit else {
        return;
    };
    // SAFETY: sets a number of the runtime of a context that is alive.
    unsafe {
        let runtime = qjs::JS_GetRuntime(ctx.as_raw().as_ptr());
        qjs::JS_SetMemoryLimit(runtime, limit.saturating_add(SPARE_BYTES) as qjs::size_t);
    }
}
