//! `sodium-native`: libsodium's functions over the crates that have their primitives.
//!
//! As there, what is made is written into a buffer of the caller's. Inputs are copied before anything is written: they may be the same memory.
//! Source: sodium-native 5.1, whose functions these are. Secrets live in JavaScript's memory, which is not wiped.

mod boxes;
mod constants;
mod hash;
mod helpers;
mod points;
mod scrypt;
mod sign;
mod stream;

use super::super::bridge::{Out, coded, promise};
use crate::engine::{
    bytes::{self, Bytes},
    error::JsError,
};
use rquickjs::{Ctx, Object, Result, Value, prelude::Opt};

/// The native half of `sodium-native`.
pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    constants::add(&native)?;
    helpers::add(ctx, &native)?;
    hash::add(ctx, &native)?;
    scrypt::add(ctx, &native)?;
    sign::add(ctx, &native)?;
    points::add(ctx, &native)?;
    boxes::add(ctx, &native)?;
    stream::add(ctx, &native)?;
    Ok(native)
}

fn wrong(ctx: &Ctx<'_>, message: impl Into<String>) -> rquickjs::Error {
    JsError::new("", message).throw(ctx)
}

/// What libsodium says no to.
fn refused(ctx: &Ctx<'_>) -> rquickjs::Error {
    wrong(ctx, "status: -1")
}

/// A promise of the key that `make` makes of a password, on another thread.
fn key_later<'js>(
    ctx: &Ctx<'js>,
    make: impl FnOnce() -> Option<Vec<u8>> + Send + 'static,
) -> Result<Value<'js>> {
    promise(ctx, async move {
        match tokio::task::spawn_blocking(make).await {
            Ok(Some(key)) => Ok(Out::Bytes(key.into())),
            _ => Err(coded("BAD_ARGUMENT", "no key can be made of this password")),
        }
    })
}

/// The bytes of an argument.
fn input(value: &Value<'_>) -> Result<Vec<u8>> {
    bytes::copy(value)
}

/// An argument that may be missing.
fn optional<'js>(value: Opt<Value<'js>>) -> Option<Value<'js>> {
    value
        .0
        .filter(|value| !value.is_undefined() && !value.is_null())
}

fn optional_input(value: Opt<Value<'_>>) -> Result<Vec<u8>> {
    optional(value).map_or(Ok(Vec::new()), |value| bytes::copy(&value))
}

/// The bytes of an argument that has `N` of them.
fn fixed<const N: usize>(ctx: &Ctx<'_>, value: &Value<'_>, name: &str) -> Result<[u8; N]> {
    bytes::read(value, |bytes| <[u8; N]>::try_from(bytes))?
        .map_err(|_| wrong(ctx, format!("{name} must be {N} bytes")))
}

/// Fills the buffer of an argument, which has to be of that size.
fn put(ctx: &Ctx<'_>, value: &Value<'_>, name: &str, made: &[u8]) -> Result<()> {
    let fits = bytes::write(value, |out| {
        let fits = out.len() == made.len();
        if fits {
            out.copy_from_slice(made);
        }
        fits
    })?;
    match fits {
        true => Ok(()),
        false => Err(wrong(ctx, format!("{name} must be {} bytes", made.len()))),
    }
}

fn length(value: &Value<'_>) -> Result<usize> {
    bytes::read(value, <[u8]>::len)
}

/// A Buffer of zeros.
fn zeros(count: usize) -> Bytes {
    Bytes(vec![0; count])
}
