//! Errors that no `catch` of a program sees: how `Bare.exit()` leaves the code that called it.

use rquickjs::{Ctx, Exception, qjs};

/// Throws what cannot be caught; what comes back is for `return Err(…)`.
pub(crate) fn unwind(ctx: &Ctx<'_>) -> rquickjs::Error {
    match Exception::from_message(ctx.clone(), "terminated") {
        Ok(error) => {
            let value = error.into_object().into_value();
            // SAFETY: marks an error object that is alive, in the context that it belongs to.
            unsafe { qjs::JS_SetUncatchableError(ctx.as_raw().as_ptr(), value.as_raw()) };
            ctx.throw(value)
        }
        Err(error) => error,
    }
}
