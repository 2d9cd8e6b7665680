//! The engine's own class of an object: a Map is one whatever its prototype says.

use rquickjs::{Result, String as JsString, Value, qjs};

/// The name of an object's class, `Object` or `Uint8Array`; `undefined` for what is no object.
///
/// # Errors
/// When memory runs out.
pub(crate) fn name<'js>(value: &Value<'js>) -> Result<Value<'js>> {
    let ctx = value.ctx();
    if !value.is_object() {
        return Ok(Value::new_undefined(ctx.clone()));
    }
    if value.is_proxy() {
        return Ok(JsString::from_str(ctx.clone(), "Proxy")?.into_value());
    }
    // SAFETY: the value is alive and belongs to the context; the atom that comes back is ours and is freed once its string is made, and the string is
    // owned by the `Value`.
    unsafe {
        let raw = ctx.as_raw().as_ptr();
        let atom =
            qjs::JS_GetClassName(qjs::JS_GetRuntime(raw), qjs::JS_GetClassID(value.as_raw()));
        let name = qjs::JS_AtomToString(raw, atom);
        qjs::JS_FreeAtom(raw, atom);
        if qjs::JS_IsException(name) {
            return Err(rquickjs::Error::Exception);
        }
        Ok(Value::from_raw(ctx.clone(), name))
    }
}
