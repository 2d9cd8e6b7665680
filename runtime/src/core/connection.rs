//! Connections to peers: the secret stream as plain messages, what replicates over it, and its channels.

use super::{
    args::{Count, Octets, Options},
    bridge::{Out, call_back, held, hold, now, promise, take},
};
use crate::event_loop::{Loop, pool};
use futures_util::FutureExt;
use pome_cores::{Corestore, DiscoveryKey, Hypercore, KeyPair};
use pome_net::{
    driver::{
        Channel, Connection, ConnectionOptions, Corked, Incoming, Listener, Messages,
        ReplicateOptions, Replication,
    },
    noise::{Pattern, Role},
    protomux::{ChannelOptions, Topic},
};
use rquickjs::{Ctx, Function, Object, Result, Value};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf},
    sync::{Mutex, watch},
};

/// Bytes that wait between a connection and the stream of the program that carries it.
const PIPE: usize = 64 << 10;
/// How long a peer may take to say what it has.
const INTRODUCTION: Duration = Duration::from_secs(1);
/// Messages at a crossing.
const MESSAGES: usize = 64;

/// A connection's plain messages.
type Plain = Arc<Messages>;

/// The program's side of a connection that it carries itself.
#[derive(Clone)]
struct Pipe {
    read: Arc<Mutex<ReadHalf<DuplexStream>>>,
    write: Arc<Mutex<Option<WriteHalf<DuplexStream>>>>,
}

/// Something that can be closed while somebody waits for it.
struct Closable<T> {
    what: parking_lot::Mutex<Option<Arc<T>>>,
    closed: watch::Sender<bool>,
}

impl<T> Closable<T> {
    fn new(what: T) -> Arc<Self> {
        Arc::new(Self {
            what: parking_lot::Mutex::new(Some(Arc::new(what))),
            closed: watch::Sender::new(false),
        })
    }

    fn get(&self) -> Option<Arc<T>> {
        self.what.lock().clone()
    }

    fn close(&self) {
        self.closed.send_replace(true);
        let gone = self.what.lock().take();
        drop(gone);
    }

    /// Comes when it was closed.
    async fn is_closed(&self) {
        // The sender is here, too.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }
}

type Muxed = Arc<Closable<Channel>>;
type Pairs = Arc<Closable<Mutex<Listener>>>;

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    super::functions!(ctx, native, {
        "connOver" => over,
        "connFacts" => facts,
        "connOpened" => opened,
        "connClosed" => closed,
        "connEnd" => end,
        "connAbort" => abort,
        "connMessages" => messages,
        "connReplicate" => replicate,
        "messagesSend" => messages_send,
        "messagesRecv" => messages_recv,
        "messagesEnd" => messages_end,
        "pipeRead" => pipe_read,
        "pipeWrite" => pipe_write,
        "pipeEnd" => pipe_end,
        "muxOpen" => mux_open,
        "muxCork" => mux_cork,
        "muxPair" => mux_pair,
        "muxPaired" => mux_paired,
        "muxUnpair" => mux_unpair,
        "channelOpened" => channel_opened,
        "channelSend" => channel_send,
        "channelRecv" => channel_recv,
        "channelClose" => channel_close,
    });
    Ok(())
}

fn connection(ctx: &Ctx<'_>, id: u32) -> Result<Connection> {
    held(ctx, id)
}

/// The connection, to offer something to the peer. What the peer says is heard when all of the event has run: it may offer more.
fn offering(ctx: &Ctx<'_>, id: u32) -> Result<Connection> {
    let connection = connection(ctx, id)?;
    Loop::get(ctx).keep_until_settled(connection.pause());
    Ok(connection)
}

/// A connection over a stream of the program: `{connection, pipe}`.
fn over<'js>(ctx: Ctx<'js>, initiator: bool, options: Options<'js>) -> Result<Out> {
    let pair = options.key_pair("keyPair")?.unwrap_or_else(KeyPair::random);
    let role = match initiator {
        true => Role::Initiator,
        false => Role::Responder,
    };
    let mut how = ConnectionOptions {
        handshake_timeout: None,
        ..ConnectionOptions::default()
    };
    how.stream.pattern = match options.text("pattern")?.as_deref() {
        Some("IK") => Pattern::Ik,
        _ => Pattern::Xx,
    };
    how.stream.remote_public_key = options.array("remotePublicKey")?;
    how.stream.keep_alive = options.millis("keepAlive")?;
    let (ours, theirs) = tokio::io::duplex(PIPE);
    let _inside = pool().enter();
    let connection = now(&ctx, Connection::over(ours, role, &pair, how))?;
    let (read, write) = tokio::io::split(theirs);
    let pipe = Pipe {
        read: Arc::new(Mutex::new(read)),
        write: Arc::new(Mutex::new(Some(write))),
    };
    Ok(Out::Fields(vec![
        ("connection", Out::held(connection)),
        ("pipe", Out::held(pipe)),
    ]))
}

fn facts(ctx: Ctx<'_>, id: u32) -> Result<Out> {
    let connection = connection(&ctx, id)?;
    let remote = connection.udx().and_then(|udx| udx.remote_addr());
    Ok(Out::Fields(vec![
        (
            "isInitiator",
            Out::Bool(connection.role() == Role::Initiator),
        ),
        ("publicKey", Out::bytes(connection.public_key())),
        (
            "remotePublicKey",
            Out::or_null(connection.remote_public_key(), Out::bytes),
        ),
        (
            "handshakeHash",
            Out::or_null(connection.handshake_hash(), Out::bytes),
        ),
        (
            "remoteHost",
            Out::or_null(remote, |remote| Out::Text(remote.ip().to_string())),
        ),
        (
            "remotePort",
            Out::or_null(remote, |remote| Out::count(remote.port().into())),
        ),
        ("relayed", Out::Bool(connection.is_relayed())),
    ]))
}

/// When the handshake is done; the process lives until then, if `stay`.
fn opened<'js>(ctx: Ctx<'js>, id: u32, stay: bool, callback: Function<'js>) -> Result<()> {
    let connection = connection(&ctx, id)?;
    call_back(&ctx, stay, callback, async move {
        connection.opened().await?;
        Ok(Out::Undefined)
    })
}

/// When it is over; the process lives until then, if `stay`.
fn closed<'js>(ctx: Ctx<'js>, id: u32, stay: bool, callback: Function<'js>) -> Result<()> {
    let connection = connection(&ctx, id)?;
    call_back(&ctx, stay, callback, async move {
        connection.closed().await?;
        Ok(Out::Undefined)
    })
}

fn end(ctx: Ctx<'_>, id: u32) -> Result<()> {
    connection(&ctx, id)?.end();
    Ok(())
}

fn abort(ctx: Ctx<'_>, id: u32) -> Result<()> {
    connection(&ctx, id)?.abort();
    Ok(())
}

fn messages(ctx: Ctx<'_>, id: u32) -> Result<u32> {
    let plain: Plain = Arc::new(connection(&ctx, id)?.messages());
    Ok(hold(Box::new(plain)))
}

/// Exchanges cores: all of a store (`store`), or one (`core` of it).
fn replicate<'js>(ctx: Ctx<'js>, id: u32, store: u32, options: Options<'js>) -> Result<u32> {
    let connection = offering(&ctx, id)?;
    let store: Corestore = held(&ctx, store)?;
    let mut how = ReplicateOptions::default();
    if let Some(core) = options.count("core")? {
        let core: Hypercore = held(&ctx, u32::try_from(core).unwrap_or(0))?;
        how.only = Some(vec![DiscoveryKey(core.discovery_key().0)]);
    }
    let replication: Replication = connection.replicate(&store, how);
    // Until the peer has said what it has, a core that is asked whether there is more waits for it.
    let finding = store.finding_peers();
    let waits = connection.clone();
    pool().spawn(async move {
        let _ = tokio::time::timeout(INTRODUCTION, waits.closed()).await;
        drop(finding);
    });
    Ok(hold(Box::new(replication)))
}

/// Sends messages, each when there is room.
fn messages_send<'js>(
    ctx: Ctx<'js>,
    id: u32,
    list: Vec<Octets>,
    callback: Function<'js>,
) -> Result<()> {
    let plain: Plain = held(&ctx, id)?;
    call_back(&ctx, true, callback, async move {
        for message in list {
            plain.send(message.0).await?;
        }
        Ok(Out::Undefined)
    })
}

/// The next messages, all that there are; null when the peer has ended its side.
fn messages_recv<'js>(ctx: Ctx<'js>, id: u32, callback: Function<'js>) -> Result<()> {
    let plain: Plain = held(&ctx, id)?;
    call_back(&ctx, false, callback, async move {
        let Some(first) = plain.recv().await? else {
            return Ok(Out::Null);
        };
        let mut list = vec![Out::Bytes(first)];
        // An end, or an error, is told again.
        while list.len() < MESSAGES
            && let Some(Ok(Some(next))) = plain.recv().now_or_never()
        {
            list.push(Out::Bytes(next));
        }
        Ok(Out::List(list))
    })
}

fn messages_end(ctx: Ctx<'_>, id: u32) -> Result<()> {
    let plain: Plain = held(&ctx, id)?;
    plain.end();
    Ok(())
}

/// What the connection wants sent; null at its end.
fn pipe_read<'js>(ctx: Ctx<'js>, id: u32, callback: Function<'js>) -> Result<()> {
    let pipe: Pipe = held(&ctx, id)?;
    call_back(&ctx, false, callback, async move {
        let mut buffer = bytes::BytesMut::with_capacity(PIPE);
        let count = pipe.read.lock().await.read_buf(&mut buffer).await?;
        Ok(match count {
            0 => Out::Null,
            _ => Out::Bytes(buffer.freeze()),
        })
    })
}

/// What came for the connection.
fn pipe_write<'js>(ctx: Ctx<'js>, id: u32, bytes: Octets, callback: Function<'js>) -> Result<()> {
    let pipe: Pipe = held(&ctx, id)?;
    call_back(&ctx, false, callback, async move {
        let mut write = pipe.write.lock().await;
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        let write = write.as_mut().ok_or_else(closed)?;
        write.write_all(&bytes.0).await?;
        Ok(Out::Undefined)
    })
}

/// No more comes for the connection.
fn pipe_end(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let pipe: Pipe = held(&ctx, id)?;
    promise(&ctx, async move {
        if let Some(mut write) = pipe.write.lock().await.take() {
            // Where the connection is gone there is nothing to end.
            let _ = write.shutdown().await;
        }
        Ok(Out::Undefined)
    })
}

fn topic<'js>(options: &Options<'js>) -> Result<Topic> {
    let protocol = options.text("protocol")?.unwrap_or_default();
    let id = options.bytes("id")?.unwrap_or_default();
    Ok(Topic::new(&protocol, &id))
}

/// Opens a channel; null where there is one already.
fn mux_open<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<Out> {
    let topic = topic(&options)?;
    let handshake = options.bytes("handshake")?.unwrap_or_default();
    let aliases: Vec<String> = options.list("aliases")?.unwrap_or_default();
    let aliases: Vec<&str> = aliases.iter().map(String::as_str).collect();
    let opened = offering(&ctx, id)?.open(
        &topic,
        ChannelOptions {
            handshake: &handshake,
            aliases: &aliases,
            shared: !options.flag("unique")?.unwrap_or(true),
        },
    );
    let channel = now(&ctx, opened)?;
    Ok(Out::or_null(channel, |channel| {
        let muxed: Muxed = Closable::new(channel);
        Out::held(muxed)
    }))
}

fn mux_cork(ctx: Ctx<'_>, id: u32) -> Result<u32> {
    let corked: Corked = connection(&ctx, id)?.cork();
    Ok(hold(Box::new(corked)))
}

fn mux_pair<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<u32> {
    let connection = offering(&ctx, id)?;
    let listener = match options.bytes("id")? {
        Some(_) => connection.pair(topic(&options)?),
        None => connection.pair_any(&options.text("protocol")?.unwrap_or_default()),
    };
    let pairs: Pairs = Closable::new(Mutex::new(listener));
    Ok(hold(Box::new(pairs)))
}

/// The next open by the peer: `{id, incoming}`; the channel is rejected when `incoming` is let go and nothing was opened.
fn mux_paired<'js>(ctx: Ctx<'js>, id: u32, callback: Function<'js>) -> Result<()> {
    let pairs: Pairs = held(&ctx, id)?;
    call_back(&ctx, false, callback, async move {
        let Some(listener) = pairs.get() else {
            return Ok(Out::Null);
        };
        let next = async { listener.lock().await.next().await };
        let incoming: Option<Incoming> = tokio::select! {
            biased;
            () = pairs.is_closed() => None,
            incoming = next => incoming,
        };
        Ok(Out::or_null(incoming, |incoming| {
            Out::Fields(vec![
                ("id", Out::bytes(&incoming.topic().id)),
                ("incoming", Out::held(incoming)),
            ])
        }))
    })
}

fn mux_unpair(id: u32) {
    if let Some(pairs) = take::<Pairs>(id) {
        pairs.close();
    }
}

/// The peer's handshake when it has opened, too; null when it never does.
fn channel_opened<'js>(ctx: Ctx<'js>, id: u32, callback: Function<'js>) -> Result<()> {
    let muxed: Muxed = held(&ctx, id)?;
    call_back(&ctx, false, callback, async move {
        let Some(channel) = muxed.get() else {
            return Ok(Out::Null);
        };
        let handshake = tokio::select! {
            biased;
            handshake = channel.opened() => handshake,
            () = muxed.is_closed() => None,
        };
        Ok(Out::or_null(handshake, Out::Bytes))
    })
}

/// False: it is time to wait.
fn channel_send(ctx: Ctx<'_>, id: u32, kind: Count, body: Octets) -> Result<bool> {
    let muxed: Muxed = held(&ctx, id)?;
    match muxed.get() {
        Some(channel) => now(&ctx, channel.send_now(kind.0, body.0)),
        None => Ok(false),
    }
}

/// The next messages, all that there are: `[kind, body]` each; null when the channel was closed.
fn channel_recv<'js>(ctx: Ctx<'js>, id: u32, callback: Function<'js>) -> Result<()> {
    let muxed: Muxed = held(&ctx, id)?;
    call_back(&ctx, false, callback, async move {
        let Some(channel) = muxed.get() else {
            return Ok(Out::Null);
        };
        let pair = |(kind, body)| Out::List(vec![Out::count(kind), Out::Bytes(body)]);
        let first = tokio::select! {
            biased;
            () = muxed.is_closed() => None,
            message = channel.recv() => message?,
        };
        let Some(first) = first else {
            return Ok(Out::Null);
        };
        let mut list = vec![pair(first)];
        while list.len() < MESSAGES
            && let Some(Ok(Some(next))) = channel.recv().now_or_never()
        {
            list.push(pair(next));
        }
        Ok(Out::List(list))
    })
}

fn channel_close(id: u32) {
    if let Some(muxed) = take::<Muxed>(id) {
        muxed.close();
    }
}
