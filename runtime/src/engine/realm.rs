//! A second set of globals in the heap of a thread: what runs in it sees none of the program's names, and its objects may be used outside.

use rquickjs::{Ctx, JsLifetime, Result, Value, class::Trace, qjs};
use std::{ffi::CString, ptr::NonNull};

/// The globals, as an object for JavaScript.
#[derive(Trace, JsLifetime)]
#[rquickjs::class]
pub(crate) struct Realm {
    #[qjs(skip_trace)]
    context: Globals,
}

/// A context of the engine besides that of the program.
struct Globals(NonNull<qjs::JSContext>);

impl Globals {
    fn new(ctx: &Ctx<'_>) -> Option<Self> {
        // SAFETY: the runtime of a context that is alive; the new context is ours, and freed once.
        let raw = unsafe { qjs::JS_NewContext(qjs::JS_GetRuntime(ctx.as_raw().as_ptr())) };
        NonNull::new(raw).map(Self)
    }
}

impl Drop for Globals {
    fn drop(&mut self) {
        // SAFETY: made by `new`, given back once; objects and functions of it that are still used have it too.
        unsafe { qjs::JS_FreeContext(self.0.as_ptr()) }
    }
}

#[rquickjs::methods]
impl Realm {
    #[qjs(constructor)]
    fn new(ctx: Ctx<'_>) -> Result<Self> {
        match Globals::new(&ctx) {
            Some(context) => Ok(Self { context }),
            None => Err(rquickjs::Error::Allocation),
        }
    }

    /// What a script of these globals comes to. Its first line is number `offset` + 1.
    fn evaluate<'js>(
        &self,
        ctx: Ctx<'js>,
        code: String,
        filename: String,
        offset: i32,
    ) -> Result<Value<'js>> {
        let (length, code) = (code.len(), CString::new(code)?);
        let filename = CString::new(filename)?;
        let mut options = qjs::JSEvalOptions {
            version: 1,
            eval_flags: qjs::JS_EVAL_TYPE_GLOBAL as i32,
            filename: filename.as_ptr(),
            line_num: offset.saturating_add(1),
        };
        // SAFETY: text and name end with a zero and outlive the call, `length` is that of the text, the context is alive and of the same runtime as
        // `ctx`, and the value that comes back is owned by the `Value` made of it.
        unsafe {
            let value = qjs::JS_Eval2(
                self.context.0.as_ptr(),
                code.as_ptr(),
                length as qjs::size_t,
                &raw mut options,
            );
            if qjs::JS_IsException(value) {
                return Err(rquickjs::Error::Exception);
            }
            Ok(Value::from_raw(ctx, value))
        }
    }
}
