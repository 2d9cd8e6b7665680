//! Values on their way from one heap to another: bytes, which only another heap of this process reads. SharedArrayBuffers stay where they are.

use super::{error::JsError, shared};
use rquickjs::{Ctx, Result, Value, qjs};
use std::{ptr, slice};

const FLAGS_WRITE: u32 = qjs::JS_WRITE_OBJ_SAB | qjs::JS_WRITE_OBJ_REFERENCE;
const FLAGS_READ: u32 = qjs::JS_READ_OBJ_SAB | qjs::JS_READ_OBJ_REFERENCE;

/// A value outside of any heap.
pub(crate) struct Clone {
    bytes: Vec<u8>,
    /// The memory of the SharedArrayBuffers in it, which it has.
    shared: Vec<*mut u8>,
}

// SAFETY: the memory that the pointers name is counted with an atomic, and is there for any thread as long as this is.
unsafe impl Send for Clone {}
// SAFETY: nobody writes through the pointers here, nor changes the list, once it is made.
unsafe impl Sync for Clone {}

impl Clone {
    /// Copies a value out of its heap.
    ///
    /// # Errors
    /// A TypeError for what cannot be copied: a function, a proxy, an object of a native class.
    pub(crate) fn of(value: &Value<'_>) -> Result<Self> {
        let ctx = value.ctx().as_raw().as_ptr();
        let mut length = 0;
        let mut table = qjs::JSSABTab {
            tab: ptr::null_mut(),
            len: 0,
        };
        // SAFETY: the value is alive; what is handed out, the bytes and the table, is copied and freed here, once. Memory in the table belongs to
        // buffers that are alive in `value`.
        unsafe {
            let start = qjs::JS_WriteObject2(
                ctx,
                &raw mut length,
                value.as_raw(),
                FLAGS_WRITE as i32,
                &raw mut table,
            );
            if start.is_null() {
                return Err(rquickjs::Error::Exception);
            }
            let bytes = slice::from_raw_parts(start, length as usize).to_vec();
            qjs::js_free(ctx, start.cast());
            let shared = match table.tab.is_null() {
                true => Vec::new(),
                false => slice::from_raw_parts(table.tab, table.len as usize).to_vec(),
            };
            qjs::js_free(ctx, table.tab.cast());
            for memory in &shared {
                shared::retain(*memory);
            }
            Ok(Self { bytes, shared })
        }
    }

    /// Copies it into a heap.
    pub(crate) fn value<'js>(&self, ctx: &Ctx<'js>) -> Result<Value<'js>> {
        // SAFETY: the bytes were written by `of` in this process, and the memory that they name is held by `self` until the new buffers hold it too.
        let value = unsafe {
            let value = qjs::JS_ReadObject2(
                ctx.as_raw().as_ptr(),
                self.bytes.as_ptr(),
                self.bytes.len() as qjs::size_t,
                FLAGS_READ as i32,
                ptr::null_mut(),
            );
            if qjs::JS_IsException(value) {
                return Err(rquickjs::Error::Exception);
            }
            Value::from_raw(ctx.clone(), value)
        };
        Ok(value)
    }
}

impl Drop for Clone {
    fn drop(&mut self) {
        for memory in self.shared.drain(..) {
            // SAFETY: `of` has retained it for this value.
            unsafe { shared::release(memory) };
        }
    }
}

/// Takes the bytes of an ArrayBuffer away from its heap: what was transferred is empty there.
///
/// # Errors
/// A TypeError for anything else.
pub(crate) fn detach(value: &Value<'_>) -> Result<()> {
    // SAFETY: asks for the class of a value that is alive, and detaches only an ArrayBuffer.
    unsafe {
        if !qjs::JS_IsArrayBuffer(value.as_raw()) {
            return Err(
                JsError::type_error("", "only an ArrayBuffer can be transferred")
                    .throw(value.ctx()),
            );
        }
        qjs::JS_DetachArrayBuffer(value.ctx().as_raw().as_ptr(), value.as_raw());
    }
    Ok(())
}
