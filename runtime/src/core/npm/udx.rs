//! `udx-native`: sockets, and streams on them, of `pome-net`.
//!
//! Each socket and stream of a program has one function of JavaScript that is told what happens: `(what, …)`.

use super::super::{
    args::{Octets, bad},
    bridge::{Out, coded, held, hold, now, promise, take},
    functions,
};
use crate::{
    engine::error::os_error,
    event_loop::{Held, Loop, Root, Sender, pool},
};
use bytes::Bytes;
use parking_lot::Mutex;
use pome_net::{
    networks::NetworkWatch,
    udx::{Connector, Datagram, Duplex, Socket, StreamOptions, Udx},
};
use rquickjs::{Ctx, Function, IntoJs, Null, Object, Result, Value, function::Args};
use std::{
    collections::HashSet,
    future::{Future, poll_fn},
    io,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{Notify, mpsc},
};

/// So many datagrams are told in one event at most.
const DATAGRAMS_AT_ONCE: usize = 64;
/// So much of a stream is read at once at most, in bytes.
const READ_BYTES: usize = 64 << 10;

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    functions!(ctx, native, {
        "udxNew" => || hold(Box::new(Udx::new())),
        "udxBind" => bind,
        "udxSend" => send,
        "udxSocketClose" => socket_close,
        "udxStream" => stream,
        "udxConnect" => connect,
        "udxChangeRemote" => change_remote,
        "udxRead" => read,
        "udxWrite" => write,
        "udxEnd" => end,
        "udxMessage" => message,
        "udxDestroy" => destroy,
        "udxRelease" => release,
        "udxKeepAlive" => keep_alive,
        "udxRelay" => relay,
        "udxDeny" => deny,
        "udxFlushed" => flushed,
        "udxStats" => stats,
        "udxLookup" => lookup,
        "udxWatch" => watch,
        "udxUnwatch" => unwatch,
    });
    Ok(())
}

/// Tells a function of JavaScript, from any thread.
#[derive(Clone)]
struct Teller {
    sender: Sender,
    root: Root,
}

impl Teller {
    fn new<'js>(ctx: &Ctx<'js>, function: Function<'js>) -> Self {
        let this = Loop::get(ctx);
        Self {
            sender: this.sender(),
            root: this.root(ctx, function.into_value()),
        }
    }

    fn tell(&self, what: Vec<Out>) {
        let root = self.root;
        self.sender.send(move |ctx| {
            let told = Loop::get(ctx).rooted(ctx, root);
            let Some(function) = told.and_then(Value::into_function) else {
                return Ok(());
            };
            let mut args = Args::new(ctx.clone(), what.len());
            for one in what {
                args.push_arg(one)?;
            }
            function.call_arg(args)
        });
    }
}

/// A socket of a program.
#[derive(Clone)]
struct OurSocket {
    socket: Socket,
}

fn address(ctx: &Ctx<'_>, host: &str, port: f64) -> Result<SocketAddr> {
    let ip: IpAddr = host
        .parse()
        .map_err(|_| bad(ctx, &format!("{host} is not a valid IP address")))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked before"
    )]
    match (0.0..65_536.0).contains(&port) {
        true => Ok(SocketAddr::new(ip, port as u16)),
        false => Err(bad(ctx, &format!("{port} is not a valid port"))),
    }
}

/// How a socket says the address: one of IPv6 has those of IPv4 in its own form.
fn from(socket: &Socket, to: SocketAddr) -> SocketAddr {
    match (socket.local_addr(), to) {
        (SocketAddr::V6(_), SocketAddr::V4(to)) => {
            SocketAddr::new(to.ip().to_ipv6_mapped().into(), to.port())
        }
        _ => to,
    }
}

/// `[host, family, port]`.
fn told(at: SocketAddr) -> [Out; 3] {
    let ip = at.ip().to_canonical();
    [
        Out::Text(ip.to_string()),
        Out::Number(if ip.is_ipv4() { 4.0 } else { 6.0 }),
        Out::Number(at.port().into()),
    ]
}

/// Opens a socket: `[number, port]`.
fn bind<'js>(
    ctx: Ctx<'js>,
    udx: u32,
    port: f64,
    host: String,
    news: Function<'js>,
) -> Result<Vec<u32>> {
    // Packets to whomever it likes, other than those of the native swarm.
    crate::permissions::socket(&ctx, &host).map_err(|refused| refused.throw(&ctx))?;
    let udx: Udx = held(&ctx, udx)?;
    let at = address(&ctx, &host, port)?;
    let bound = {
        let _inside = pool().enter();
        udx.bind(at)
    };
    let (socket, datagrams) = bound.map_err(|error| os_error(&ctx, &error, "bind", None))?;
    let this = Loop::get(&ctx);
    let teller = Teller::new(&ctx, news);
    // It keeps the program alive until it has heard that it is closed.
    let life = this.hold(this.handle(true));
    pool().spawn(tell_datagrams(datagrams, teller, life));
    let port = socket.local_addr().port();
    let id = hold(Box::new(OurSocket { socket }));
    Ok(vec![id, port.into()])
}

async fn tell_datagrams(mut datagrams: mpsc::Receiver<Datagram>, teller: Teller, life: Held) {
    let mut batch = Vec::new();
    while datagrams.recv_many(&mut batch, DATAGRAMS_AT_ONCE).await > 0 {
        let mut all = Vec::with_capacity(4 * batch.len());
        for datagram in batch.drain(..) {
            all.push(Out::Bytes(datagram.bytes));
            all.extend(told(datagram.from));
        }
        teller.tell(vec![Out::Text("messages".into()), Out::List(all)]);
    }
    teller.tell(vec![Out::Text("close".into())]);
    let root = teller.root;
    teller.sender.send(move |ctx| {
        let this = Loop::get(ctx);
        this.unroot(root);
        this.release(life);
        Ok(())
    });
}

/// Sends a datagram; false when the system did not take it.
fn send(ctx: Ctx<'_>, id: u32, bytes: Octets, port: f64, host: String, ttl: u32) -> Result<bool> {
    let ours: OurSocket = held(&ctx, id)?;
    let to = from(&ours.socket, address(&ctx, &host, port)?);
    let sent = match ttl {
        0 => ours.socket.send_to(&bytes.0, to),
        ttl => ours.socket.send_to_with_ttl(&bytes.0, to, ttl),
    };
    Ok(sent.is_ok())
}

fn socket_close(id: u32) {
    if let Some(ours) = take::<OurSocket>(id) {
        ours.socket.close();
    }
}

/// A stream of a program.
#[derive(Clone)]
struct OurStream(Arc<Shared>);

struct Shared {
    duplex: Mutex<Duplex>,
    connector: Connector,
    teller: Teller,
    /// Who waits for progress: acknowledgements, or the end of a change of the remote.
    progress: Notify,
    wants_flush: AtomicBool,
    is_changing: AtomicBool,
    /// Addresses whose packets the program does not want.
    denied: Mutex<HashSet<SocketAddr>>,
}

impl Shared {
    /// Asks the duplex, which is held no longer than that takes.
    fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        ask: impl FnOnce(&mut Duplex, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        ask(&mut self.duplex.lock(), cx)
    }
}

/// Makes a stream. `firewall(socket, port, host)` hears of packets that come in through other sockets before it is connected; null drops them.
fn stream<'js>(
    ctx: Ctx<'js>,
    udx: u32,
    id: u32,
    seq: u32,
    has_firewall: bool,
    news: Function<'js>,
) -> Result<u32> {
    let udx: Udx = held(&ctx, udx)?;
    let mut options = StreamOptions::default();
    options.seq = seq;
    let duplex = udx
        .stream(id, &options)
        .map_err(|error| os_error(&ctx, &error, "bind", None))?;
    let teller = Teller::new(&ctx, news);
    let shared = Arc::new(Shared {
        connector: duplex.connector(),
        duplex: Mutex::new(duplex),
        teller: teller.clone(),
        progress: Notify::new(),
        wants_flush: AtomicBool::new(false),
        is_changing: AtomicBool::new(false),
        denied: Mutex::default(),
    });
    if has_firewall {
        let weak = Arc::downgrade(&shared);
        let seen = Mutex::new(HashSet::new());
        let firewall = move |socket: &Socket, at: SocketAddr| {
            let Some(shared) = weak.upgrade() else {
                return true;
            };
            if shared.denied.lock().contains(&at) {
                return true;
            }
            // The program answers later: until then the stream takes what comes.
            if seen.lock().insert(at) {
                let mut what = vec![Out::Text("firewall".into())];
                what.push(Out::Number(socket.local_addr().port().into()));
                what.extend(told(at));
                teller.tell(what);
            }
            false
        };
        shared.duplex.lock().set_firewall(Some(Arc::new(firewall)));
    }
    pool().spawn(watch_end(shared.clone()));
    pool().spawn(watch_messages(shared.clone()));
    pool().spawn(watch_progress(shared.clone()));
    Ok(hold(Box::new(OurStream(shared))))
}

async fn watch_end(shared: Arc<Shared>) {
    let ended = poll_fn(|cx| {
        let duplex = shared.duplex.lock();
        let closed = pin!(duplex.closed());
        closed.poll(cx)
    })
    .await;
    let why = match ended {
        Ok(()) => Out::Null,
        Err(error) => Out::Text(error.code().to_owned()),
    };
    // What there is to be read may still be wanted: the program says when it is done with the stream.
    shared.teller.tell(vec![Out::Text("close".into()), why]);
    shared.progress.notify_one();
}

async fn watch_messages(shared: Arc<Shared>) {
    loop {
        let message = poll_fn(|cx| {
            let duplex = shared.duplex.lock();
            let next = pin!(duplex.recv());
            next.poll(cx)
        });
        let Some(message) = message.await else {
            return;
        };
        shared
            .teller
            .tell(vec![Out::Text("message".into()), Out::Bytes(message)]);
    }
}

/// Tells when all that was written has arrived, and when a change of the remote is over, if that is asked for.
async fn watch_progress(shared: Arc<Shared>) {
    while shared.connector.is_open()
        || shared.wants_flush.load(Ordering::Acquire)
        || shared.is_changing.load(Ordering::Acquire)
    {
        let mut wish = pin!(shared.progress.notified());
        // One task waits for both: a stream has room for one such waker.
        let (flushed, changed) = poll_fn(|cx| {
            let duplex = shared.duplex.lock();
            let mut found = (None, None);
            if shared.wants_flush.load(Ordering::Acquire)
                && let Poll::Ready(done) = pin!(duplex.flushed()).poll(cx)
            {
                found.0 = Some(done);
            }
            if shared.is_changing.load(Ordering::Acquire)
                && let Poll::Ready(done) = pin!(duplex.remote_changed()).poll(cx)
            {
                found.1 = Some(done);
            }
            // Another wish, or the end, may come while this waits.
            match found {
                (None, None) => wish.as_mut().poll(cx).map(|()| (None, None)),
                found => Poll::Ready(found),
            }
        })
        .await;
        if let Some(done) = flushed {
            shared.wants_flush.store(false, Ordering::Release);
            let what = vec![Out::Text("flushed".into()), Out::Bool(done)];
            shared.teller.tell(what);
        }
        if changed.is_some() {
            shared.is_changing.store(false, Ordering::Release);
            shared.teller.tell(vec![Out::Text("remote-changed".into())]);
        }
    }
}

fn connect<'js>(
    ctx: Ctx<'js>,
    id: u32,
    socket: u32,
    remote_id: u32,
    port: f64,
    host: String,
) -> Result<()> {
    let (stream, ours, to) = towards(&ctx, (id, socket), (&host, port))?;
    stream.0.connector.connect(&ours.socket, remote_id, to);
    Ok(())
}

/// A stream, and where it is to go: through a socket, to an address.
fn towards(
    ctx: &Ctx<'_>,
    (id, socket): (u32, u32),
    (host, port): (&str, f64),
) -> Result<(OurStream, OurSocket, SocketAddr)> {
    let ours: OurSocket = held(ctx, socket)?;
    let to = from(&ours.socket, address(ctx, host, port)?);
    Ok((held(ctx, id)?, ours, to))
}

fn change_remote<'js>(
    ctx: Ctx<'js>,
    id: u32,
    socket: u32,
    remote_id: u32,
    port: f64,
    host: String,
) -> Result<()> {
    let (stream, ours, to) = towards(&ctx, (id, socket), (&host, port))?;
    stream
        .0
        .connector
        .change_remote(&ours.socket, remote_id, to);
    stream.0.is_changing.store(true, Ordering::Release);
    stream.0.progress.notify_one();
    Ok(())
}

fn read_into(shared: &Shared, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut room = ReadBuf::new(buffer);
    let polled = shared.poll(cx, |duplex, cx| Pin::new(duplex).poll_read(cx, &mut room));
    polled.map_ok(|()| room.filled().len())
}

/// What there is to read now: a buffer; null at the end; false when the stream is gone. Undefined: it is told later, as `data`, with the same.
fn read(ctx: Ctx<'_>, id: u32) -> Result<Out> {
    let stream: OurStream = held(&ctx, id)?;
    let mut buffer = vec![0; READ_BYTES];
    let outcome = |read: io::Result<usize>, mut buffer: Vec<u8>| match read {
        Ok(0) => Out::Null,
        Ok(count) => {
            buffer.truncate(count);
            buffer.shrink_to_fit();
            Out::Bytes(buffer.into())
        }
        Err(_) => Out::Bool(false),
    };
    let mut cx = Context::from_waker(Waker::noop());
    if let Poll::Ready(read) = read_into(&stream.0, &mut cx, &mut buffer) {
        return Ok(outcome(read, buffer));
    }
    pool().spawn(async move {
        let read = poll_fn(|cx| read_into(&stream.0, cx, &mut buffer)).await;
        let what = vec![Out::Text("data".into()), outcome(read, buffer)];
        stream.0.teller.tell(what);
    });
    Ok(Out::Undefined)
}

/// Writes as much as there is room for; answers where that ended.
fn write_some(shared: &Shared, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    shared.poll(cx, |duplex, cx| Pin::new(duplex).poll_write(cx, bytes))
}

/// Writes the buffers. True when all of them were taken; else that is told later, as `drain`.
fn write<'js>(ctx: Ctx<'js>, id: u32, buffers: Vec<Octets>) -> Result<bool> {
    let stream: OurStream = held(&ctx, id)?;
    let mut cx = Context::from_waker(Waker::noop());
    let mut rest: Vec<Bytes> = buffers.into_iter().map(|buffer| buffer.0).rev().collect();
    while let Some(bytes) = rest.last_mut() {
        if bytes.is_empty() {
            rest.pop();
            continue;
        }
        match write_some(&stream.0, &mut cx, bytes) {
            Poll::Ready(Ok(count)) => drop(bytes.split_to(count)),
            // That it is gone is told by its end.
            Poll::Ready(Err(_)) => return Ok(true),
            Poll::Pending => break,
        }
    }
    if rest.is_empty() {
        return Ok(true);
    }
    pool().spawn(async move {
        'all: while let Some(bytes) = rest.last_mut() {
            while !bytes.is_empty() {
                match poll_fn(|cx| write_some(&stream.0, cx, bytes)).await {
                    Ok(count) => drop(bytes.split_to(count)),
                    Err(_) => break 'all,
                }
            }
            rest.pop();
        }
        stream.0.teller.tell(vec![Out::Text("drain".into())]);
    });
    Ok(false)
}

fn end(ctx: Ctx<'_>, id: u32) -> Result<()> {
    let stream: OurStream = held(&ctx, id)?;
    let mut cx = Context::from_waker(Waker::noop());
    // It has no reason to wait, or to fail.
    let _ = stream
        .0
        .poll(&mut cx, |duplex, cx| Pin::new(duplex).poll_shutdown(cx));
    Ok(())
}

fn message(ctx: Ctx<'_>, id: u32, bytes: Octets) -> Result<bool> {
    let stream: OurStream = held(&ctx, id)?;
    Ok(stream.0.connector.send(bytes.0))
}

fn destroy(ctx: Ctx<'_>, id: u32) -> Result<()> {
    let stream: OurStream = held(&ctx, id)?;
    stream.0.duplex.lock().destroy();
    stream.0.progress.notify_one();
    Ok(())
}

/// The program has heard of the end, and wants nothing more of the stream.
fn release(ctx: Ctx<'_>, id: u32) {
    if let Some(stream) = take::<OurStream>(id) {
        Loop::get(&ctx).unroot(stream.0.teller.root);
    }
}

fn keep_alive(ctx: Ctx<'_>, id: u32, millis: u32) -> Result<()> {
    let stream: OurStream = held(&ctx, id)?;
    let every = (millis > 0).then(|| Duration::from_millis(millis.into()));
    stream.0.duplex.lock().set_keep_alive(every);
    Ok(())
}

/// Drops what comes from an address that the stream is not connected to.
fn deny(ctx: Ctx<'_>, id: u32, port: f64, host: String) -> Result<()> {
    let stream: OurStream = held(&ctx, id)?;
    let at = address(&ctx, &host, port)?;
    let mut denied = stream.0.denied.lock();
    denied.insert(at);
    if let SocketAddr::V4(at) = at {
        denied.insert(SocketAddr::new(at.ip().to_ipv6_mapped().into(), at.port()));
    }
    Ok(())
}

fn relay(ctx: Ctx<'_>, id: u32, other: u32) -> Result<()> {
    let (stream, other): (OurStream, OurStream) = (held(&ctx, id)?, held(&ctx, other)?);
    if Arc::ptr_eq(&stream.0, &other.0) {
        return Err(bad(&ctx, "a stream is not relayed to itself"));
    }
    let done = stream.0.duplex.lock().relay_to(&other.0.duplex.lock());
    now(&ctx, done)
}

/// Asks to be told (`flushed`) when all that was written has arrived.
fn flushed(ctx: Ctx<'_>, id: u32) -> Result<()> {
    let stream: OurStream = held(&ctx, id)?;
    stream.0.wants_flush.store(true, Ordering::Release);
    stream.0.progress.notify_one();
    Ok(())
}

fn stats(ctx: Ctx<'_>, id: u32) -> Result<Out> {
    let stream: OurStream = held(&ctx, id)?;
    let (counts, (rtt, mtu, bandwidth)) = (stream.0.connector.stats(), stream.0.connector.path());
    let rtt = rtt.map_or(0, |rtt| u64::try_from(rtt.as_millis()).unwrap_or(u64::MAX));
    Ok(Out::Fields(vec![
        ("bytesTransmitted", Out::count(counts.bytes_transmitted)),
        ("packetsTransmitted", Out::count(counts.packets_transmitted)),
        ("bytesReceived", Out::count(counts.bytes_received)),
        ("packetsReceived", Out::count(counts.packets_received)),
        ("retransmits", Out::count(counts.retransmits)),
        ("fastRecoveries", Out::count(counts.fast_recoveries)),
        ("rtoCount", Out::count(counts.timeouts)),
        ("rtt", Out::count(rtt)),
        ("mtu", Out::Number(mtu.into())),
        ("bandwidth", Out::Number(bandwidth)),
    ]))
}

/// The first address of a name, of this family (4, 6, or 0 for either): `[host, family]`.
fn lookup(ctx: Ctx<'_>, host: String, family: u32) -> Result<Value<'_>> {
    promise(&ctx, async move {
        let found = tokio::net::lookup_host((host.as_str(), 0)).await;
        let fits = |at: &SocketAddr| match family {
            4 => at.is_ipv4(),
            6 => at.is_ipv6(),
            _ => true,
        };
        match found.ok().and_then(|mut all| all.find(fits)) {
            Some(at) => {
                let [host, family, _] = told(at);
                Ok(Out::List(vec![host, family]))
            }
            None => Err(coded("ENOTFOUND", format!("getaddrinfo {host}"))),
        }
    })
}

/// Tells each time that the addresses of the machine have changed.
fn watch<'js>(ctx: Ctx<'js>, news: Function<'js>) -> Result<Value<'js>> {
    let opened = {
        let _inside = pool().enter();
        NetworkWatch::new()
    };
    let Ok(mut networks) = opened else {
        // Without the kernel's news there are none.
        return Null.into_js(&ctx);
    };
    let teller = Teller::new(&ctx, news);
    let its = teller.clone();
    let task = pool().spawn(async move {
        while networks.changed().await.is_ok() {
            its.tell(Vec::new());
        }
    });
    hold(Box::new(Watching(Arc::new(task.abort_handle()), teller))).into_js(&ctx)
}

#[derive(Clone)]
struct Watching(Arc<tokio::task::AbortHandle>, Teller);

fn unwatch(ctx: Ctx<'_>, id: u32) {
    if let Some(Watching(task, teller)) = take(id) {
        task.abort();
        Loop::get(&ctx).unroot(teller.root);
    }
}
