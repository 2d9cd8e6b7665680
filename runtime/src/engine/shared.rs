//! The memory of SharedArrayBuffers: it belongs to the process, not to the heap of a thread.
//!
//! ```text
//! | how many heaps and messages have it: 8 bytes | its length in bytes: 8 bytes | the bytes, at a multiple of 16 |
//! ```

use rquickjs::{Ctx, qjs};
use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    ffi::c_void,
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
};

const HEADER_BYTES: usize = 16;

#[repr(C)]
struct Header {
    count: AtomicUsize,
    length: usize,
}

const _: () = assert!(size_of::<Header>() <= HEADER_BYTES);

fn layout(length: usize) -> Option<Layout> {
    Layout::from_size_align(length.checked_add(HEADER_BYTES)?, HEADER_BYTES).ok()
}

extern "C" fn allocate(_: *mut c_void, length: qjs::size_t) -> *mut c_void {
    let length = length as usize;
    let Some(layout) = layout(length) else {
        return ptr::null_mut();
    };
    // SAFETY: the layout is never empty; the header fits before the bytes, and nobody else knows of it yet.
    unsafe {
        let start = alloc_zeroed(layout);
        if start.is_null() {
            return ptr::null_mut();
        }
        start.cast::<Header>().write(Header {
            count: AtomicUsize::new(1),
            length,
        });
        start.add(HEADER_BYTES).cast()
    }
}

/// One more has the memory.
///
/// # Safety
/// `bytes` came from [`allocate`], and the caller has it.
pub(super) unsafe fn retain(bytes: *mut u8) {
    // SAFETY: as the caller says, the header is before it and alive.
    let header = unsafe { &*bytes.sub(HEADER_BYTES).cast::<Header>() };
    header.count.fetch_add(1, Ordering::Relaxed);
}

/// One has it no more; the last one frees it.
///
/// # Safety
/// As [`retain`]; the caller does not look at it again.
pub(super) unsafe fn release(bytes: *mut u8) {
    // SAFETY: as the caller says, the header is before it and alive; the last who had it is alone with it.
    unsafe {
        let start = bytes.sub(HEADER_BYTES);
        let header = &*start.cast::<Header>();
        let length = header.length;
        if header.count.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(layout) = layout(length)
        {
            dealloc(start, layout);
        }
    }
}

extern "C" fn duplicate(_: *mut c_void, bytes: *mut c_void) {
    // SAFETY: the engine only hands out what it got from `allocate`.
    unsafe { retain(bytes.cast()) }
}

extern "C" fn free(_: *mut c_void, bytes: *mut c_void) {
    // SAFETY: as in `duplicate`, when the buffer is collected.
    unsafe { release(bytes.cast()) }
}

/// Lets a heap have SharedArrayBuffers with others, and its thread wait for them.
pub(crate) fn install(ctx: &Ctx<'_>) {
    let functions = qjs::JSSharedArrayBufferFunctions {
        sab_alloc: Some(allocate),
        sab_free: Some(free),
        sab_dup: Some(duplicate),
        sab_opaque: ptr::null_mut(),
    };
    // SAFETY: the runtime of a context that is alive; it copies the functions.
    unsafe {
        let runtime = qjs::JS_GetRuntime(ctx.as_raw().as_ptr());
        qjs::JS_SetSharedArrayBufferFunctions(runtime, &raw const functions);
        qjs::JS_SetCanBlock(runtime, true);
    }
}
