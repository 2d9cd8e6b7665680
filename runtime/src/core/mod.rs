//! The face of the Rust core: Hypercore and what is built on it, under their npm names.
//!
//! JavaScript keeps the shape (classes, events, encodings, streams); here are the plain functions that it calls, one crossing per call. They are one
//! object, `pome-core`; what they work on are numbers, see [`bridge`].

mod args;
mod bee;
mod blobs;
mod bridge;
pub(crate) mod compact_encoding;
mod connection;
pub(crate) mod crypto;
pub(crate) mod dht;
mod dht_rpc;
mod drive;
mod hypercore;
mod keys;
mod local;
pub(crate) mod npm;
mod pull;
mod store;
mod swarm;
mod watching;
pub(crate) mod z32;

use rquickjs::{Ctx, Object, Result};

/// Sets functions of an object.
macro_rules! functions {
    ($ctx:expr, $object:expr, { $($name:literal => $function:expr),* $(,)? }) => {
        $($object.set($name, rquickjs::Function::new($ctx.clone(), $function)?)?;)*
    };
}
use functions;

/// The native half of `pome-core`.
pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    functions!(ctx, native, { "letGo" => bridge::let_go });
    pull::add(ctx, &native)?;
    store::add(ctx, &native)?;
    hypercore::add(ctx, &native)?;
    bee::add(ctx, &native)?;
    drive::add(ctx, &native)?;
    blobs::add(ctx, &native)?;
    local::add(ctx, &native)?;
    connection::add(ctx, &native)?;
    dht::add(ctx, &native)?;
    dht_rpc::add(ctx, &native)?;
    swarm::add(ctx, &native)?;
    keys::add(ctx, &native)?;
    Ok(native)
}
