//! bare-dns: names of hosts, as the machine resolves them ([`lookup`]), and the records that servers have of them ([`resolver`]).

mod message;
mod resolver;

use std::net::{SocketAddr, ToSocketAddrs};

use rquickjs::{Class, Ctx, Function, Object, prelude::Func};

use super::{failure::Failure, reply::Reply, task};
use crate::permissions;

/// `lookup(host, family, all, callback)`: the addresses, as `{ address, family }`, in the machine's order.
fn lookup<'js>(ctx: Ctx<'js>, host: String, family: u8, callback: Function<'js>) {
    match permissions::socket(&ctx, &host) {
        Ok(()) => task::blocking(&ctx, callback, move || resolve(&host, family)),
        Err(refused) => task::blocking(&ctx, callback, move || Err::<Reply, _>(refused)),
    }
}

fn resolve(host: &str, family: u8) -> Result<Reply, Failure> {
    if host.is_empty() {
        return Err(unknown());
    }
    let found = (host, 0_u16).to_socket_addrs().map_err(failure)?;
    let wanted = |address: &SocketAddr| match family {
        4 => address.is_ipv4(),
        6 => address.is_ipv6(),
        _ => true,
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found.filter(wanted) {
        if !addresses.iter().any(|known| known.ip() == address.ip()) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(unknown());
    }
    let rows = addresses.into_iter().map(|address| {
        let family = if address.is_ipv4() { 4.0 } else { 6.0 };
        Reply::Map(vec![
            ("address", Reply::Text(address.ip().to_string())),
            ("family", Reply::Number(family)),
        ])
    });
    Ok(Reply::List(rows.collect()))
}

fn unknown() -> Failure {
    Failure::new("EAI_NONAME", "unknown node or service")
}

/// The library's resolver says what failed in words only.
fn failure(error: std::io::Error) -> Failure {
    let text = error.to_string();
    let has = |words: &str| text.contains(words);
    if error.raw_os_error().is_some() {
        error.into()
    } else if has("Temporary failure") {
        Failure::new("EAI_AGAIN", "temporary failure")
    } else if has("No address associated") {
        Failure::new("EAI_NODATA", "no address")
    } else if has("Non-recoverable") {
        Failure::new("EAI_FAIL", "permanent failure")
    } else {
        unknown()
    }
}

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    native.set("lookup", Function::new(ctx.clone(), lookup)?)?;
    Class::<resolver::Resolver>::define(&native)?;
    native.set("systemServers", Func::from(resolver::system_servers))?;
    native.set(
        "reverseName",
        Func::from(|ip: String| resolver::reverse_name(&ip)),
    )?;
    // As it is written afterwards; undefined for what is no address.
    native.set(
        "server",
        Func::from(|text: String| resolver::server_address(&text).map(resolver::server_text)),
    )?;
    Ok(native)
}
