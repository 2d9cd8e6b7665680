//! bare-crypto: hashes, ciphers, signatures, randomness. All of it from libraries; here are only their names and lengths.

mod cipher;
mod hash;
mod keys;

use rquickjs::{Class, Ctx, Function, Object, Value, prelude::Func};

use self::{cipher::Cipher, hash::Hash};
use super::failure::Failure;
use crate::engine::bytes;

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    Class::<Hash>::define(&native)?;
    Class::<Cipher>::define(&native)?;
    native.set("pbkdf2", Function::new(ctx.clone(), hash::pbkdf2)?)?;
    native.set("seal", Function::new(ctx.clone(), cipher::seal)?)?;
    native.set("unseal", Function::new(ctx.clone(), cipher::unseal)?)?;
    native.set("keyLengths", Func::from(cipher::lengths))?;
    native.set("keyPair", Function::new(ctx.clone(), keys::key_pair)?)?;
    native.set("sign", Function::new(ctx.clone(), keys::sign)?)?;
    native.set("verify", Function::new(ctx.clone(), keys::verify)?)?;
    native.set("fill", Function::new(ctx.clone(), fill)?)?;
    native.set("isEqual", Function::new(ctx.clone(), is_equal)?)?;
    Ok(native)
}

/// What a wrong argument is answered with.
fn invalid(ctx: &Ctx<'_>, message: &'static str) -> rquickjs::Error {
    Failure::new("INVALID_ARGUMENT", message).throw(ctx)
}

/// Fills a view with random bytes.
fn fill<'js>(ctx: Ctx<'js>, view: Value<'js>) -> rquickjs::Result<()> {
    bytes::write(&view, getrandom::fill)?.map_err(|_| Failure::named("EIO").throw(&ctx))
}

/// Whether two views of one length have the same bytes; how long it takes says nothing about where they differ.
fn is_equal<'js>(first: Value<'js>, second: Value<'js>) -> rquickjs::Result<bool> {
    let second = bytes::copy(&second)?;
    bytes::read(&first, |first| {
        bool::from(subtle::ConstantTimeEq::ct_eq(first, second.as_slice()))
    })
}
