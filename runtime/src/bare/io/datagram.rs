//! UDP sockets: datagrams that come and go one by one.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::AsFd,
    rc::Rc,
    sync::Arc,
};

use parking_lot::Mutex;
use rquickjs::{Ctx, Function, JsLifetime, Object, Value, class::Trace};
use socket2::SockRef;
use tokio::{net::UdpSocket, sync::watch};

use super::address;
use crate::{
    bare::{
        failure::Failure,
        reply::Reply,
        task::{self, Liveness},
    },
    engine::bytes,
    event_loop,
};

/// The largest datagram there is, in bytes.
const DATAGRAM_MAX_BYTES: usize = 65536;

/// A socket. Datagrams are asked for one by one.
#[derive(Trace, JsLifetime)]
#[rquickjs::class]
pub(crate) struct Datagrams {
    #[qjs(skip_trace)]
    open: Mutex<Option<Arc<UdpSocket>>>,
    #[qjs(skip_trace)]
    is_closed: watch::Sender<bool>,
    /// Of receiving, which may go on for ever.
    #[qjs(skip_trace)]
    live: Rc<Liveness>,
    /// Of sending, which ends by itself.
    #[qjs(skip_trace)]
    requests: Rc<Liveness>,
}

/// How a socket is bound.
struct Wish {
    ipv6_only: bool,
    reuse_address: bool,
    reuse_port: bool,
}

impl Datagrams {
    fn get(&self) -> Result<Arc<UdpSocket>, Failure> {
        let open = self.open.lock().clone();
        open.ok_or_else(|| Failure::named("EBADF"))
    }

    fn open(&self, at: SocketAddr, wish: &Wish) -> Result<(), Failure> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(at),
            socket2::Type::DGRAM,
            Some(socket2::Protocol::UDP),
        )?;
        if at.is_ipv6() {
            socket.set_only_v6(wish.ipv6_only)?;
        }
        socket.set_reuse_address(wish.reuse_address)?;
        socket.set_reuse_port(wish.reuse_port)?;
        socket.set_nonblocking(true)?;
        socket.bind(&at.into())?;
        let _reactor = event_loop::pool().enter();
        *self.open.lock() = Some(Arc::new(UdpSocket::from_std(socket.into())?));
        Ok(())
    }

    /// What the system says of the socket, or does with it.
    fn with<T>(
        &self,
        ctx: &Ctx<'_>,
        work: impl FnOnce(&UdpSocket) -> Result<T, Failure>,
    ) -> rquickjs::Result<T> {
        self.get()
            .and_then(|open| work(&open))
            .map_err(|failure| failure.throw(ctx))
    }

    fn option<T>(
        &self,
        ctx: &Ctx<'_>,
        work: impl FnOnce(&SockRef<'_>, bool) -> std::io::Result<T>,
    ) -> rquickjs::Result<T> {
        self.with(ctx, |open| {
            let is_ipv6 = open.local_addr()?.is_ipv6();
            Ok(work(&SockRef::from(open), is_ipv6)?)
        })
    }
}

fn ip(text: &str) -> Result<IpAddr, Failure> {
    address::socket_address(text, 0).map(|address| address.ip())
}

/// The interface of an IPv6 address with a zone, by its number; 0 leaves it to the system.
fn scope(text: Option<&str>) -> Result<u32, Failure> {
    match text
        .map(|text| address::socket_address(text, 0))
        .transpose()?
    {
        Some(SocketAddr::V6(address)) => Ok(address.scope_id()),
        _ => Ok(0),
    }
}

#[rquickjs::methods]
impl Datagrams {
    #[qjs(constructor)]
    fn new(ctx: Ctx<'_>) -> Self {
        Self {
            open: Mutex::new(None),
            is_closed: watch::Sender::new(false),
            live: Liveness::new(&ctx),
            requests: Liveness::new(&ctx),
        }
    }

    /// The address that it got; port 0 takes a free one.
    fn bind<'js>(
        &self,
        ctx: Ctx<'js>,
        port: u16,
        host: String,
        options: Object<'js>,
    ) -> rquickjs::Result<Reply> {
        crate::permissions::socket(&ctx, "UDP").map_err(|refused| refused.throw(&ctx))?;
        let wish = Wish {
            ipv6_only: options.get("ipv6Only")?,
            reuse_address: options.get("reuseAddr")?,
            reuse_port: options.get("reusePort")?,
        };
        let at = address::socket_address(&host, port).map_err(|failure| failure.throw(&ctx))?;
        self.open(at, &wish)
            .map_err(|failure| failure.throw(&ctx))?;
        self.with(&ctx, |open| Ok(address::reply(open.local_addr()?)))
    }

    #[qjs(rename = "localAddress")]
    fn local_address(&self, ctx: Ctx<'_>) -> rquickjs::Result<Reply> {
        self.with(&ctx, |open| Ok(address::reply(open.local_addr()?)))
    }

    #[qjs(rename = "remoteAddress")]
    fn remote_address(&self, ctx: Ctx<'_>) -> rquickjs::Result<Reply> {
        self.with(&ctx, |open| Ok(address::reply(open.peer_addr()?)))
    }

    /// From now on only from and to this address.
    fn connect(&self, ctx: Ctx<'_>, port: u16, host: String) -> rquickjs::Result<()> {
        let to = address::socket_address(&host, port).map_err(|failure| failure.throw(&ctx))?;
        self.option(&ctx, |socket, _| socket.connect(&to.into()))
    }

    fn disconnect(&self, ctx: Ctx<'_>) -> rquickjs::Result<()> {
        self.with(&ctx, |open| Ok(rustix::net::connect_unspec(open.as_fd())?))
    }

    /// `callback(err, [bytes, address, length])` with the next datagram. Of one that is longer than `max` there is the beginning, and the length that it
    /// had.
    fn receive<'js>(&self, ctx: Ctx<'js>, max: usize, callback: Function<'js>) {
        let open = self.get();
        let mut is_closed = self.is_closed.subscribe();
        task::run(&ctx, &self.live, callback, async move {
            let open = open?;
            let mut data = vec![0; DATAGRAM_MAX_BYTES];
            tokio::select! {
                biased;
                _ = is_closed.wait_for(|is_closed| *is_closed) => Err(Failure::named("ECANCELED")),
                received = open.recv_from(&mut data) => {
                    let (length, from) = received?;
                    data.truncate(length.min(max));
                    data.shrink_to_fit();
                    Ok(Reply::List(vec![
                        Reply::Bytes(data),
                        address::reply(from),
                        Reply::count(length),
                    ]))
                }
            }
        });
    }

    /// `callback(err)` when it is with the system. Without a port it goes to where the socket is connected to.
    fn send<'js>(
        &self,
        ctx: Ctx<'js>,
        data: Value<'js>,
        port: u16,
        host: Option<String>,
        callback: Function<'js>,
    ) -> rquickjs::Result<()> {
        let data = bytes::copy(&data)?;
        let open = self.get();
        task::run(&ctx, &self.requests, callback, async move {
            let open = open?;
            match host {
                Some(host) => {
                    let to = address::socket_address(&host, port)?;
                    open.send_to(&data, to).await?;
                }
                None => {
                    open.send(&data).await?;
                }
            }
            Ok::<_, Failure>(Reply::Nothing)
        });
        Ok(())
    }

    #[qjs(rename = "setBroadcast")]
    fn set_broadcast(&self, ctx: Ctx<'_>, flag: bool) -> rquickjs::Result<()> {
        self.option(&ctx, |socket, _| socket.set_broadcast(flag))
    }

    #[qjs(rename = "setTTL")]
    fn set_ttl(&self, ctx: Ctx<'_>, ttl: u32) -> rquickjs::Result<()> {
        self.option(&ctx, |socket, is_ipv6| match is_ipv6 {
            true => socket.set_unicast_hops_v6(ttl),
            false => socket.set_ttl_v4(ttl),
        })
    }

    #[qjs(rename = "setMulticastTTL")]
    fn set_multicast_ttl(&self, ctx: Ctx<'_>, ttl: u32) -> rquickjs::Result<()> {
        self.option(&ctx, |socket, is_ipv6| match is_ipv6 {
            true => socket.set_multicast_hops_v6(ttl),
            false => socket.set_multicast_ttl_v4(ttl),
        })
    }

    #[qjs(rename = "setMulticastLoopback")]
    fn set_multicast_loopback(&self, ctx: Ctx<'_>, flag: bool) -> rquickjs::Result<()> {
        self.option(&ctx, |socket, is_ipv6| match is_ipv6 {
            true => socket.set_multicast_loop_v6(flag),
            false => socket.set_multicast_loop_v4(flag),
        })
    }

    #[qjs(rename = "setMulticastInterface")]
    fn set_multicast_interface(&self, ctx: Ctx<'_>, interface: String) -> rquickjs::Result<()> {
        self.with(&ctx, |open| {
            let socket = SockRef::from(open);
            match ip(&interface)? {
                IpAddr::V4(address) => socket.set_multicast_if_v4(&address)?,
                IpAddr::V6(_) => socket.set_multicast_if_v6(scope(Some(&interface))?)?,
            }
            Ok(())
        })
    }

    /// Joins a group of receivers, or leaves it.
    #[qjs(rename = "setMembership")]
    fn set_membership(
        &self,
        ctx: Ctx<'_>,
        group: String,
        interface: Option<String>,
        join: bool,
    ) -> rquickjs::Result<()> {
        self.with(&ctx, |open| {
            let socket = SockRef::from(open);
            match ip(&group)? {
                IpAddr::V4(group) => {
                    let interface = match interface.as_deref().map(ip).transpose()? {
                        Some(IpAddr::V4(interface)) => interface,
                        Some(IpAddr::V6(_)) => return Err(Failure::named("EINVAL")),
                        None => Ipv4Addr::UNSPECIFIED,
                    };
                    match join {
                        true => socket.join_multicast_v4(&group, &interface)?,
                        false => socket.leave_multicast_v4(&group, &interface)?,
                    }
                }
                IpAddr::V6(group) => {
                    let interface = scope(interface.as_deref())?;
                    match join {
                        true => socket.join_multicast_v6(&group, interface)?,
                        false => socket.leave_multicast_v6(&group, interface)?,
                    }
                }
            }
            Ok(())
        })
    }

    /// As [`set_membership`](Self::set_membership), for what one sender sends; IPv4 only.
    #[qjs(rename = "setSourceMembership")]
    fn set_source_membership(
        &self,
        ctx: Ctx<'_>,
        source: String,
        group: String,
        interface: Option<String>,
        join: bool,
    ) -> rquickjs::Result<()> {
        self.with(&ctx, |open| {
            let socket = SockRef::from(open);
            let interface = interface.unwrap_or_else(|| Ipv4Addr::UNSPECIFIED.to_string());
            match (ip(&source)?, ip(&group)?, ip(&interface)?) {
                (IpAddr::V4(source), IpAddr::V4(group), IpAddr::V4(interface)) => match join {
                    true => socket.join_ssm_v4(&source, &group, &interface)?,
                    false => socket.leave_ssm_v4(&source, &group, &interface)?,
                },
                _ => return Err(Failure::named("ENOSYS")),
            }
            Ok(())
        })
    }

    #[qjs(rename = "sendBufferSize")]
    fn send_buffer_size(&self, ctx: Ctx<'_>) -> rquickjs::Result<usize> {
        self.option(&ctx, |socket, _| socket.send_buffer_size())
    }

    #[qjs(rename = "setSendBufferSize")]
    fn set_send_buffer_size(&self, ctx: Ctx<'_>, bytes: usize) -> rquickjs::Result<()> {
        self.option(&ctx, |socket, _| socket.set_send_buffer_size(bytes))
    }

    #[qjs(rename = "recvBufferSize")]
    fn recv_buffer_size(&self, ctx: Ctx<'_>) -> rquickjs::Result<usize> {
        self.option(&ctx, |socket, _| socket.recv_buffer_size())
    }

    #[qjs(rename = "setRecvBufferSize")]
    fn set_recv_buffer_size(&self, ctx: Ctx<'_>, bytes: usize) -> rquickjs::Result<()> {
        self.option(&ctx, |socket, _| socket.set_recv_buffer_size(bytes))
    }

    /// What is under way ends with `ECANCELED`; then `callback()`.
    fn close<'js>(&self, ctx: Ctx<'js>, callback: Function<'js>) {
        self.is_closed.send_replace(true);
        self.open.lock().take();
        task::run(&ctx, &self.live, callback, async {
            Ok::<_, Failure>(Reply::Nothing)
        });
    }

    #[qjs(rename = "setRef")]
    fn set_ref(&self, wanted: bool) {
        self.live.set(wanted);
    }
}
