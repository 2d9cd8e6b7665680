//! Nodes of the HyperDHT: what is announced and kept there, servers, and connections by key.

use super::{
    args::{Count, Octets, Options, bad, sized},
    bridge::{Failure, Out, call_back, held, hold, now, promise, take},
    pull::Pull,
};
use crate::event_loop::pool;
use pome_net::{
    dht_rpc::{DhtOptions, Reply},
    hyperdht::{
        AnnounceOptions, BOOTSTRAP, ConnectOptions, Found, HyperDht, HyperDhtOptions, Lookup,
        Server, ServerOptions, messages::Peer,
    },
};
use rquickjs::{Ctx, Function, Object, Result, Value};
use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::{Arc, mpsc as blocking},
    time::Duration,
};
use tokio::sync::{Mutex, mpsc, watch};

/// Names nodes to begin with, where the program names none: `host:port,…`, or `none`.
const BOOTSTRAP_VARIABLE: &str = "POME_BOOTSTRAP";
/// How long a program may think about letting a peer in.
const FIREWALL: Duration = Duration::from_secs(5);

/// A server that listens, until it is closed.
struct Listening {
    server: Mutex<Option<Server>>,
    closing: watch::Sender<bool>,
}

/// Peers that wait to be let in.
pub(super) struct Question {
    public_key: [u8; 32],
    answer: blocking::Sender<bool>,
}

/// Whoever answers.
pub(super) type Questions = Arc<Mutex<mpsc::UnboundedReceiver<Question>>>;

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    super::functions!(ctx, native, {
        "dhtOpen" => open,
        "dhtFacts" => facts,
        "dhtReady" => ready,
        "dhtClose" => close,
        "dhtClosed" => closed,
        "dhtSuspend" => suspend,
        "dhtResume" => resume,
        "dhtConnect" => connect,
        "dhtListen" => listen,
        "serverAccept" => accept,
        "serverFacts" => server_facts,
        "serverRefresh" => refresh,
        "serverClose" => server_close,
        "dhtLookup" => lookup,
        "dhtFindPeer" => find_peer,
        "dhtAnnounce" => announce,
        "dhtUnannounce" => unannounce,
        "dhtImmutablePut" => immutable_put,
        "dhtImmutableGet" => immutable_get,
        "dhtMutablePut" => mutable_put,
        "dhtMutableGet" => mutable_get,
        "dhtPing" => ping,
        "firewallQuestion" => question,
        "firewallAnswer" => answer,
    });
    Ok(())
}

pub(super) fn dht(ctx: &Ctx<'_>, id: u32) -> Result<HyperDht> {
    held(ctx, id)
}

/// `host:port`, with an id in front of it (`id@host:port`) that does not matter.
pub(super) fn address(text: &str) -> Option<SocketAddrV4> {
    let text = text.rsplit('@').next()?;
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let port = text.strip_prefix("localhost:")?.parse().ok()?;
    Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

pub(super) fn addresses<'js>(
    ctx: &Ctx<'js>,
    options: &Options<'js>,
    name: &str,
) -> Result<Option<Vec<SocketAddrV4>>> {
    let Some(list) = options.list::<String>(name)? else {
        return Ok(None);
    };
    let read = |text: &String| {
        address(text).ok_or_else(|| bad(ctx, &format!("{text} is no address of a node")))
    };
    list.iter().map(read).collect::<Result<Vec<_>>>().map(Some)
}

/// The nodes to begin with that the environment names.
pub(super) fn named_bootstrap() -> Option<Vec<SocketAddrV4>> {
    match std::env::var(BOOTSTRAP_VARIABLE) {
        Ok(text) if text == "none" => Some(Vec::new()),
        Ok(text) if !text.is_empty() => Some(text.split(',').filter_map(address).collect()),
        _ => None,
    }
}

/// Those, or those of the public network.
pub(crate) fn bootstrap() -> Vec<SocketAddrV4> {
    named_bootstrap().unwrap_or_else(|| BOOTSTRAP.to_vec())
}

/// The address of the sockets of a node.
pub(super) fn host_of<'js>(ctx: &Ctx<'js>, options: &Options<'js>) -> Result<Ipv4Addr> {
    match options.text("host")? {
        Some(host) => host
            .parse()
            .map_err(|_| bad(ctx, "the host must be an IPv4 address")),
        None => Ok(Ipv4Addr::UNSPECIFIED),
    }
}

/// What a node is told, of this module and of `dht-rpc`.
pub(super) fn node_options<'js>(
    ctx: &Ctx<'js>,
    options: &Options<'js>,
    (host, port): (Ipv4Addr, u16),
    how: &mut DhtOptions,
) -> Result<()> {
    let node = &mut how.node;
    match addresses(ctx, options, "bootstrap")? {
        Some(bootstrap) => node.bootstrap = bootstrap,
        None if node.address.is_none() => node.bootstrap = bootstrap(),
        None => {}
    }
    node.nodes = addresses(ctx, options, "nodes")?.unwrap_or_default();
    if let Some(ephemeral) = options.flag("ephemeral")? {
        node.ephemeral = Some(ephemeral);
    }
    if let Some(firewalled) = options.flag("firewalled")? {
        node.firewalled = firewalled;
    }
    if let Some(quick) = options.flag("quickFirewall")? {
        node.quick_firewall = quick;
    }
    if let Some(concurrency) = options.count("concurrency")? {
        node.concurrency = usize::try_from(concurrency).unwrap_or(1).max(1);
    }
    how.host = host;
    how.port = port;
    if let Some(any) = options.flag("anyPort")? {
        how.any_port = any;
    }
    Ok(())
}

fn open<'js>(ctx: Ctx<'js>, options: Options<'js>) -> Result<u32> {
    let port = u16::try_from(options.count("port")?.unwrap_or(0)).unwrap_or(0);
    let host = host_of(&ctx, &options)?;
    let mut how = match options.flag("bootstrapper")?.unwrap_or(false) {
        true => HyperDhtOptions::bootstrapper(SocketAddrV4::new(host, port)),
        false => HyperDhtOptions::default(),
    };
    node_options(&ctx, &options, (host, port), &mut how.dht)?;
    how.key_pair = options.key_pair("keyPair")?;
    if let Some(alive) = options.count("connectionKeepAlive")? {
        how.connection_keep_alive = (alive > 0).then(|| Duration::from_millis(alive));
    }
    if let Some(interval) = options.millis("randomPunchInterval")? {
        how.random_punch_interval = interval;
    }
    how.defer_random_punch = options.flag("deferRandomPunch")?.unwrap_or(false);
    let _inside = pool().enter();
    Ok(hold(Box::new(now(&ctx, HyperDht::bind(how))?)))
}

fn facts(ctx: Ctx<'_>, id: u32) -> Result<Out> {
    let dht = dht(&ctx, id)?;
    let node = dht.dht();
    let local = node.local_addr();
    let outside = node.address();
    let told = *node.watch().borrow();
    Ok(Out::Fields(vec![
        ("localHost", Out::Text(local.ip().to_string())),
        ("localPort", Out::count(local.port().into())),
        (
            "host",
            Out::or_null(outside, |at| Out::Text(at.ip().to_string())),
        ),
        ("port", Out::count(outside.map_or(0, |at| at.port()).into())),
        ("id", Out::or_null(node.id(), Out::bytes)),
        ("firewalled", Out::Bool(node.is_firewalled())),
        ("bootstrapped", Out::Bool(told.ready)),
        ("ephemeral", Out::Bool(!told.persistent)),
        ("online", Out::Bool(!told.offline)),
        ("degraded", Out::Bool(told.degraded)),
        ("suspended", Out::Bool(dht.is_suspended())),
        ("publicKey", Out::bytes(dht.key_pair().public)),
        ("keyPair", super::store::pair_out(dht.key_pair())),
        (
            "nodes",
            Out::List(node.nodes().into_iter().map(address_out).collect()),
        ),
    ]))
}

pub(super) fn address_out(at: SocketAddrV4) -> Out {
    Out::Fields(vec![
        ("host", Out::Text(at.ip().to_string())),
        ("port", Out::count(at.port().into())),
    ])
}

fn ready(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let dht = dht(&ctx, id)?;
    promise(&ctx, async move {
        dht.ready().await?;
        Ok(Out::Undefined)
    })
}

fn close(ctx: Ctx<'_>, id: u32) -> Result<()> {
    dht(&ctx, id)?.close();
    Ok(())
}

/// When it was closed: the process lives until then.
fn closed<'js>(ctx: Ctx<'js>, id: u32, callback: Function<'js>) -> Result<()> {
    let node = dht(&ctx, id)?.dht().clone();
    call_back(&ctx, true, callback, async move {
        let mut told = node.watch();
        while !node.is_closed() && told.changed().await.is_ok() {}
        Ok(Out::Undefined)
    })
}

fn suspend(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let dht = dht(&ctx, id)?;
    promise(&ctx, async move {
        dht.suspend().await;
        Ok(Out::Undefined)
    })
}

fn resume(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let dht = dht(&ctx, id)?;
    promise(&ctx, async move {
        dht.resume().await;
        Ok(Out::Undefined)
    })
}

/// Calls back with a connection.
fn connect<'js>(
    ctx: Ctx<'js>,
    id: u32,
    public_key: Octets,
    options: Options<'js>,
    callback: Function<'js>,
) -> Result<()> {
    let dht = dht(&ctx, id)?;
    let public_key = sized(&ctx, "publicKey", &public_key.0)?;
    let mut how = ConnectOptions::default();
    how.key_pair = options.key_pair("keyPair")?;
    how.relay_addresses = addresses(&ctx, &options, "relayAddresses")?.unwrap_or_default();
    how.local_connection = options.flag("localConnection")?.unwrap_or(true);
    how.holepunch = options.flag("holepunch")?.unwrap_or(true).into();
    if let Some(relay) = options.array::<32>("relayThrough")? {
        how.relay_through = relay.into();
    }
    call_back(&ctx, true, callback, async move {
        Ok(Out::held(dht.connect(&public_key, how).await?))
    })
}

/// Asks the program whether a peer is refused, and waits for it. The thread of the program never waits for one of the pool, so it will answer.
fn asked(questions: &mpsc::UnboundedSender<Question>, public_key: &[u8; 32]) -> bool {
    let (answer, answered) = blocking::channel();
    let question = Question {
        public_key: *public_key,
        answer,
    };
    if questions.send(question).is_err() {
        return true;
    }
    tokio::task::block_in_place(|| answered.recv_timeout(FIREWALL)).unwrap_or(true)
}

/// What a firewall asks, and the firewall: true refuses.
pub(super) fn firewall() -> (
    Questions,
    impl Fn(&[u8; 32]) -> bool + Send + Sync + 'static,
) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let ask = move |public_key: &[u8; 32]| asked(&sender, public_key);
    (Arc::new(Mutex::new(receiver)), ask)
}

/// The next peer that wants to be let in: `{publicKey, answer}`; null when nobody asks any more.
fn question<'js>(ctx: Ctx<'js>, id: u32, callback: Function<'js>) -> Result<()> {
    let questions: Questions = held(&ctx, id)?;
    call_back(&ctx, false, callback, async move {
        let question = questions.lock().await.recv().await;
        Ok(Out::or_null(question, |question| {
            Out::Fields(vec![
                ("publicKey", Out::bytes(question.public_key)),
                ("answer", Out::held(question.answer)),
            ])
        }))
    })
}

fn answer(id: u32, refused: bool) {
    if let Some(answer) = take::<blocking::Sender<bool>>(id) {
        // It may have been given up meanwhile.
        let _ = answer.send(refused);
    }
}

/// Listens: `{server, firewall}`.
fn listen<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<Value<'js>> {
    let dht = dht(&ctx, id)?;
    let pair = options
        .key_pair("keyPair")?
        .unwrap_or_else(|| dht.key_pair().clone());
    let mut how = ServerOptions::default();
    how.share_local_address = options.flag("shareLocalAddress")?.unwrap_or(true);
    how.holepunch = options.flag("holepunch")?.unwrap_or(true).into();
    if let Some(relay) = options.array::<32>("relayThrough")? {
        how.relay_through = relay.into();
    }
    let questions = match options.flag("firewall")?.unwrap_or(false) {
        true => {
            let (questions, ask) = firewall();
            how.firewall = Some(Arc::new(move |public_key, _, _| ask(public_key)));
            Some(questions)
        }
        false => None,
    };
    promise(&ctx, async move {
        let server = dht.listen(&pair, how).await?;
        let listening = Arc::new(Listening {
            server: Mutex::new(Some(server)),
            closing: watch::Sender::new(false),
        });
        Ok(Out::Fields(vec![
            ("server", Out::held(listening)),
            ("firewall", Out::or_null(questions, Out::held)),
        ]))
    })
}

/// The next connection; null when the server was closed.
fn accept<'js>(ctx: Ctx<'js>, id: u32, callback: Function<'js>) -> Result<()> {
    let listening: Arc<Listening> = held(&ctx, id)?;
    call_back(&ctx, true, callback, async move {
        let mut server = listening.server.lock().await;
        let Some(server) = server.as_mut() else {
            return Ok(Out::Null);
        };
        let mut closing = listening.closing.subscribe();
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => Ok(Out::Null),
            connection = server.accept() => Ok(Out::or_null(connection, Out::held)),
        }
    })
}

/// The nodes through which it is reached; null while somebody waits for a connection of it and it cannot be asked.
fn server_facts(ctx: Ctx<'_>, id: u32) -> Result<Out> {
    let listening: Arc<Listening> = held(&ctx, id)?;
    let relays = listening
        .server
        .try_lock()
        .ok()
        .and_then(|server| Some(server.as_ref()?.relay_addresses()));
    Ok(Out::or_null(relays, |relays| {
        Out::List(relays.into_iter().map(address_out).collect())
    }))
}

fn refresh(ctx: Ctx<'_>, id: u32) -> Result<()> {
    let listening: Arc<Listening> = held(&ctx, id)?;
    if let Ok(server) = listening.server.try_lock()
        && let Some(server) = server.as_ref()
    {
        server.refresh();
    }
    Ok(())
}

fn server_close(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let listening: Arc<Listening> = held(&ctx, id)?;
    listening.closing.send_replace(true);
    promise(&ctx, async move {
        if let Some(server) = listening.server.lock().await.take() {
            server.close().await;
        }
        Ok(Out::Undefined)
    })
}

fn peer_out(peer: &Peer) -> Out {
    let relays = peer.relay_addresses.iter().copied().map(address_out);
    Out::Fields(vec![
        ("publicKey", Out::bytes(peer.public_key)),
        ("relayAddresses", Out::List(relays.collect())),
    ])
}

fn reply_out(reply: &Reply) -> Vec<(&'static str, Out)> {
    let mut from = vec![
        ("host", Out::Text(reply.from.ip().to_string())),
        ("port", Out::count(reply.from.port().into())),
    ];
    from.push(("id", Out::or_null(reply.id, Out::bytes)));
    vec![
        ("token", Out::or_null(reply.response.token, Out::bytes)),
        ("from", Out::Fields(from)),
        ("to", address_out(reply.response.to)),
    ]
}

fn found_out(found: &Found) -> Out {
    let mut fields = reply_out(&found.reply);
    fields.push((
        "peers",
        Out::List(found.peers.iter().map(peer_out).collect()),
    ));
    fields.push(("bump", Out::count(found.bump)));
    Out::Fields(fields)
}

fn looked_up(lookup: Lookup) -> Pull {
    Pull::new(futures_util::stream::unfold(Some(lookup), |lookup| async {
        let mut lookup = lookup?;
        match lookup.next().await {
            Ok(Some(found)) => Some((Ok(found_out(&found)), Some(lookup))),
            Ok(None) => None,
            Err(error) => Some((Err(Failure::from(error)), None)),
        }
    }))
}

fn lookup(ctx: Ctx<'_>, id: u32, topic: Octets) -> Result<u32> {
    let lookup = dht(&ctx, id)?.lookup(sized(&ctx, "topic", &topic.0)?);
    Ok(hold(Box::new(looked_up(lookup))))
}

fn find_peer(ctx: Ctx<'_>, id: u32, public_key: Octets) -> Result<u32> {
    let lookup = dht(&ctx, id)?.find_peer(&sized(&ctx, "publicKey", &public_key.0)?);
    Ok(hold(Box::new(looked_up(lookup))))
}

/// Announces; what the nodes on the way know comes back.
fn announce<'js>(
    ctx: Ctx<'js>,
    id: u32,
    topic: Octets,
    options: Options<'js>,
) -> Result<Value<'js>> {
    let dht = dht(&ctx, id)?;
    let topic = sized(&ctx, "topic", &topic.0)?;
    let pair = options
        .key_pair("keyPair")?
        .unwrap_or_else(|| dht.key_pair().clone());
    let relays = addresses(&ctx, &options, "relayAddresses")?.unwrap_or_default();
    let how = AnnounceOptions {
        clear: options.flag("clear")?.unwrap_or(false),
        bump: options.count("bump")?.unwrap_or(0),
    };
    promise(&ctx, async move {
        let mut all = Vec::new();
        dht.announce_and_look(topic, &pair, &relays, how, |found| {
            all.push(found_out(found));
        })
        .await?;
        Ok(Out::List(all))
    })
}

fn unannounce<'js>(
    ctx: Ctx<'js>,
    id: u32,
    topic: Octets,
    options: Options<'js>,
) -> Result<Value<'js>> {
    let dht = dht(&ctx, id)?;
    let topic = sized(&ctx, "topic", &topic.0)?;
    let pair = options
        .key_pair("keyPair")?
        .unwrap_or_else(|| dht.key_pair().clone());
    promise(&ctx, async move {
        let mut all = Vec::new();
        dht.unannounce_and_look(topic, &pair, |found| all.push(found_out(found)))
            .await?;
        Ok(Out::List(all))
    })
}

fn immutable_put(ctx: Ctx<'_>, id: u32, value: Octets) -> Result<Value<'_>> {
    let dht = dht(&ctx, id)?;
    promise(&ctx, async move {
        Ok(Out::bytes(dht.immutable_put(value.0).await?))
    })
}

fn immutable_get(ctx: Ctx<'_>, id: u32, hash: Octets) -> Result<Value<'_>> {
    let dht = dht(&ctx, id)?;
    let hash = sized(&ctx, "target", &hash.0)?;
    promise(&ctx, async move {
        Ok(Out::or_null(dht.immutable_get(hash).await?, Out::Bytes))
    })
}

fn mutable_put<'js>(
    ctx: Ctx<'js>,
    id: u32,
    value: Octets,
    options: Options<'js>,
) -> Result<Value<'js>> {
    let dht = dht(&ctx, id)?;
    let pair = options
        .key_pair("keyPair")?
        .unwrap_or_else(|| dht.key_pair().clone());
    let seq = options.count("seq")?.unwrap_or(0);
    promise(&ctx, async move {
        dht.mutable_put(&pair, value.0, seq).await?;
        Ok(Out::Undefined)
    })
}

fn mutable_get<'js>(
    ctx: Ctx<'js>,
    id: u32,
    public_key: Octets,
    options: Options<'js>,
) -> Result<Value<'js>> {
    let dht = dht(&ctx, id)?;
    let public_key = sized(&ctx, "publicKey", &public_key.0)?;
    let seq = options.count("seq")?.unwrap_or(0);
    let latest = options.flag("latest")?.unwrap_or(true);
    promise(&ctx, async move {
        let value = dht.mutable_get(&public_key, seq, latest).await?;
        Ok(Out::or_null(value, |value| {
            Out::Fields(vec![
                ("seq", Out::count(value.seq)),
                ("value", Out::Bytes(value.value)),
                ("signature", Out::bytes(value.signature)),
            ])
        }))
    })
}

fn ping(ctx: Ctx<'_>, id: u32, host: String, port: Count) -> Result<Value<'_>> {
    let dht = dht(&ctx, id)?;
    let to =
        address(&format!("{host}:{}", port.0)).ok_or_else(|| bad(&ctx, "no address of a node"))?;
    promise(&ctx, async move {
        let reply = dht.dht().ping(to).await?;
        let mut fields = reply_out(&reply);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a round trip has few milliseconds"
        )]
        fields.push(("rtt", Out::Number(reply.rtt.as_millis() as f64)));
        Ok(Out::Fields(fields))
    })
}
