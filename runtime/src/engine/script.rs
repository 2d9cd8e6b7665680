//! Compiles the function that a CommonJS module is.

use super::error::JsError;
use rquickjs::{Ctx, Function, Result, Value, qjs};
use std::ffi::CString;

/// The function of a module's text, with the parameters of a module. Lines and columns in it are those of the text.
pub(crate) fn compile<'js>(ctx: &Ctx<'js>, href: &str, text: &str) -> Result<Function<'js>> {
    // The wrapper is line -1 and nothing is on line 0, which the engine takes for "not said".
    let source =
        format!("(function (require, module, exports, __filename, __dirname) {{\n\n{text}\n}})");
    let (length, source) = (source.len(), CString::new(source)?);
    let filename = CString::new(href)?;
    let mut options = qjs::JSEvalOptions {
        version: 1,
        eval_flags: qjs::JS_EVAL_TYPE_GLOBAL as i32,
        filename: filename.as_ptr(),
        line_num: -1,
    };
    // SAFETY: text and name end with a zero and outlive the call, `length` is that of the text, and the value that comes back is owned by the
    // `Value` made of it.
    let value = unsafe {
        let value = qjs::JS_Eval2(
            ctx.as_raw().as_ptr(),
            source.as_ptr(),
            length as qjs::size_t,
            &raw mut options,
        );
        if qjs::JS_IsException(value) {
            return Err(rquickjs::Error::Exception);
        }
        Value::from_raw(ctx.clone(), value)
    };
    value
        .into_function()
        .ok_or_else(|| JsError::syntax_error("", format!("{href} is no module")).throw(ctx))
}
