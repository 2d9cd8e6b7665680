//! Streams of bytes over descriptors: TCP and Unix sockets, pipes, terminals. What bare-tcp, bare-pipe, bare-tty and bare-subprocess stand on.

mod address;
mod datagram;
mod listener;
pub(crate) mod poll;
mod stdio;
mod stream;

use rquickjs::{Class, Ctx, Object, prelude::Func};

pub use self::stdio::claim_channel;
use self::{datagram::Datagrams, listener::Listener, stdio::Kind};
pub(crate) use self::{stdio::channel_mode, stream::Stream};

/// The classes `Stream`, `Listener` and `Datagrams`, and what is asked about descriptors.
pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    Class::<Stream>::define(&native)?;
    Class::<Listener>::define(&native)?;
    Class::<Datagrams>::define(&native)?;
    native.set(
        "kind",
        Func::from(|ctx: Ctx<'_>, fd: i32| Kind::of(&ctx, fd).name()),
    )?;
    native.set("parseAddress", Func::from(address::family))?;
    native.set("pipe", Func::from(stdio::pipe))?;
    native.set("socketpair", Func::from(stdio::socketpair))?;
    native.set("channel", Func::from(stdio::channel))?;
    Ok(native)
}
