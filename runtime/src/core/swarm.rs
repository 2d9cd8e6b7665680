//! Hyperswarms.

use super::{
    args::{Octets, Options, bad, sized},
    bridge::{Out, call_back, held, hold, now, promise},
    dht::{dht, firewall},
};
use crate::event_loop::pool;
use pome_net::hyperswarm::{
    BanReason, Connections, Discovery, Event, Events, Hyperswarm, JoinOptions, PeerInfo,
    SwarmOptions,
};
use rquickjs::{Ctx, Function, Object, Result, Value};
use std::sync::Arc;
use tokio::sync::Mutex;

type Coming = Arc<Mutex<Connections>>;
type News = Arc<Mutex<Events>>;
type Session = Arc<Discovery>;

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    super::functions!(ctx, native, {
        "swarmOpen" => open,
        "swarmConnection" => connection,
        "swarmEvent" => event,
        "swarmFacts" => facts,
        "swarmPeers" => peers,
        "swarmPeer" => peer,
        "swarmJoin" => join,
        "swarmLeave" => leave,
        "swarmStatus" => status,
        "swarmJoinPeer" => join_peer,
        "swarmLeavePeer" => leave_peer,
        "swarmBan" => ban,
        "swarmReconnect" => reconnect,
        "swarmListen" => listen,
        "swarmFlush" => flush,
        "swarmClear" => clear,
        "swarmSuspend" => suspend,
        "swarmResume" => resume,
        "swarmDestroy" => destroy,
        "discoveryFlushed" => flushed,
        "discoveryRefresh" => refresh,
        "discoveryDestroy" => discovery_destroy,
        "discoveryFacts" => discovery_facts,
    });
    Ok(())
}

fn swarm(ctx: &Ctx<'_>, id: u32) -> Result<Hyperswarm> {
    held(ctx, id)
}

/// How many, where infinity and nothing are no limit.
fn limit(options: &Options<'_>, name: &str, default: usize) -> Result<usize> {
    let limit = options.count(name)?;
    Ok(limit.map_or(default, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    }))
}

/// `{handle, connections, events, firewall, publicKey, secretKey}`.
fn open<'js>(ctx: Ctx<'js>, node: u32, options: Options<'js>) -> Result<Out> {
    let dht = dht(&ctx, node)?;
    let mut how = SwarmOptions::default();
    how.key_pair = options.key_pair("keyPair")?;
    how.max_peers = limit(&options, "maxPeers", how.max_peers)?;
    how.max_client_connections =
        limit(&options, "maxClientConnections", how.max_client_connections)?;
    how.max_server_connections =
        limit(&options, "maxServerConnections", how.max_server_connections)?;
    how.max_parallel = limit(&options, "maxParallel", how.max_parallel)?;
    if let Some(relay) = options.array::<32>("relayThrough")? {
        how.relay_through = relay.into();
    }
    if let Some(jitter) = options.millis("jitter")? {
        how.jitter = jitter;
    }
    let questions = match options.flag("firewall")?.unwrap_or(false) {
        true => {
            let (questions, ask) = firewall();
            how.firewall = Some(Arc::new(move |public_key, _| ask(public_key)));
            Some(questions)
        }
        false => None,
    };
    let _inside = pool().enter();
    let swarm = Hyperswarm::new(dht, how);
    let coming: Coming = Arc::new(Mutex::new(swarm.connections()));
    let news: News = Arc::new(Mutex::new(swarm.events()));
    Ok(Out::Fields(vec![
        ("keyPair", super::store::pair_out(swarm.key_pair())),
        ("connections", Out::held(coming)),
        ("events", Out::held(news)),
        ("firewall", Out::or_null(questions, Out::held)),
        ("handle", Out::held(swarm)),
    ]))
}

fn peer_out(peer: &PeerInfo) -> Out {
    let relays = peer.relay_addresses.iter().map(|at| {
        Out::Fields(vec![
            ("host", Out::Text(at.ip().to_string())),
            ("port", Out::count(at.port().into())),
        ])
    });
    Out::Fields(vec![
        ("publicKey", Out::bytes(peer.public_key)),
        ("relayAddresses", Out::List(relays.collect())),
        (
            "topics",
            Out::List(peer.topics.iter().map(Out::bytes).collect()),
        ),
        ("priority", Out::count(peer.priority as u64)),
        ("prioritized", Out::Bool(peer.is_prioritized())),
        ("attempts", Out::count(peer.attempts.into())),
        ("client", Out::Bool(peer.client)),
        ("server", Out::Bool(peer.server())),
        ("banned", Out::Bool(peer.banned)),
        ("explicit", Out::Bool(peer.explicit)),
        ("reconnecting", Out::Bool(peer.reconnecting)),
        ("proven", Out::Bool(peer.proven)),
        ("forceRelaying", Out::Bool(peer.force_relaying)),
    ])
}

/// The next connection: `{connection, peer}`; null when the swarm is gone. The process lives until then.
fn connection<'js>(ctx: Ctx<'js>, id: u32, callback: Function<'js>) -> Result<()> {
    let coming: Coming = held(&ctx, id)?;
    call_back(&ctx, true, callback, async move {
        let next = coming.lock().await.next().await;
        Ok(Out::or_null(next, |(connection, peer)| {
            Out::Fields(vec![
                ("peer", peer_out(&peer)),
                ("connection", Out::held(connection)),
            ])
        }))
    })
}

/// The next event: `[name, key, topic]`; null when the swarm is gone.
fn event<'js>(ctx: Ctx<'js>, id: u32, callback: Function<'js>) -> Result<()> {
    let news: News = held(&ctx, id)?;
    call_back(&ctx, false, callback, async move {
        let event = news.lock().await.next().await;
        let name = |name: &str| Out::Text(name.to_owned());
        Ok(Out::or_null(event, |event| {
            Out::List(match event {
                Event::Banned { public_key, why } => vec![
                    name("ban"),
                    Out::bytes(public_key),
                    Out::Bool(why == BanReason::Firewall),
                ],
                Event::Topic { public_key, topic } => {
                    vec![name("topic"), Out::bytes(public_key), Out::bytes(topic)]
                }
                _ => vec![name("update")],
            })
        }))
    })
}

fn facts(ctx: Ctx<'_>, id: u32) -> Result<Out> {
    let swarm = swarm(&ctx, id)?;
    let stats = swarm.stats();
    let side = |side: pome_net::hyperswarm::SideStats| {
        Out::Fields(vec![
            ("opened", Out::count(side.opened)),
            ("closed", Out::count(side.closed)),
            ("attempted", Out::count(side.attempted)),
        ])
    };
    Ok(Out::Fields(vec![
        ("connecting", Out::count(swarm.connecting() as u64)),
        ("connected", Out::count(swarm.connected().len() as u64)),
        (
            "explicit",
            Out::List(swarm.explicit_peers().iter().map(Out::bytes).collect()),
        ),
        (
            "topics",
            Out::List(
                swarm
                    .topics()
                    .iter()
                    .map(|one| Out::bytes(one.topic))
                    .collect(),
            ),
        ),
        (
            "stats",
            Out::Fields(vec![
                ("updates", Out::count(stats.updates)),
                (
                    "connects",
                    Out::Fields(vec![
                        ("client", side(stats.client)),
                        ("server", side(stats.server)),
                    ]),
                ),
                ("bannedPeers", Out::count(stats.banned_peers)),
            ]),
        ),
    ]))
}

fn peers(ctx: Ctx<'_>, id: u32) -> Result<Out> {
    let peers = swarm(&ctx, id)?.peers();
    Ok(Out::List(peers.iter().map(peer_out).collect()))
}

fn key(ctx: &Ctx<'_>, key: &Octets) -> Result<[u8; 32]> {
    sized(ctx, "publicKey", &key.0)
}

fn peer(ctx: Ctx<'_>, id: u32, public_key: Octets) -> Result<Out> {
    let peer = swarm(&ctx, id)?.peer(&key(&ctx, &public_key)?);
    Ok(Out::or_null(peer.as_ref(), peer_out))
}

fn joining(options: &Options<'_>) -> Result<JoinOptions> {
    Ok(JoinOptions {
        client: options.flag("client")?.unwrap_or(true),
        server: options.flag("server")?.unwrap_or(true),
        limit: match options.count("limit")? {
            Some(limit) => usize::try_from(limit).ok(),
            None => None,
        },
    })
}

fn topic(ctx: &Ctx<'_>, topic: &Octets) -> Result<[u8; 32]> {
    topic.0[..].try_into().map_err(|_| {
        let what = format!(
            "a topic must have 32 bytes, not {}: hash what is longer or shorter",
            topic.0.len()
        );
        bad(ctx, &what)
    })
}

fn join<'js>(ctx: Ctx<'js>, id: u32, name: Octets, options: Options<'js>) -> Result<u32> {
    let _inside = pool().enter();
    let joined = swarm(&ctx, id)?.join(topic(&ctx, &name)?, joining(&options)?);
    let session: Session = Arc::new(now(&ctx, joined)?);
    Ok(hold(Box::new(session)))
}

fn status(ctx: Ctx<'_>, id: u32, name: Octets) -> Result<bool> {
    Ok(swarm(&ctx, id)?.status(&topic(&ctx, &name)?).is_some())
}

fn join_peer(ctx: Ctx<'_>, id: u32, public_key: Octets) -> Result<()> {
    let _inside = pool().enter();
    swarm(&ctx, id)?.join_peer(key(&ctx, &public_key)?);
    Ok(())
}

fn leave_peer(ctx: Ctx<'_>, id: u32, public_key: Octets) -> Result<()> {
    let _inside = pool().enter();
    swarm(&ctx, id)?.leave_peer(&key(&ctx, &public_key)?);
    Ok(())
}

fn ban(ctx: Ctx<'_>, id: u32, public_key: Octets, banned: bool) -> Result<()> {
    let _inside = pool().enter();
    swarm(&ctx, id)?.ban(key(&ctx, &public_key)?, banned);
    Ok(())
}

fn reconnect(ctx: Ctx<'_>, id: u32, public_key: Octets, again: bool) -> Result<()> {
    let _inside = pool().enter();
    swarm(&ctx, id)?.set_reconnecting(&key(&ctx, &public_key)?, again);
    Ok(())
}

/// Work on a swarm that answers with nothing.
macro_rules! on_swarm {
    ($ctx:expr, $id:expr, |$swarm:ident| $work:expr) => {{
        let $swarm = swarm($ctx, $id)?;
        promise($ctx, async move { Ok($work) })
    }};
}

fn leave(ctx: Ctx<'_>, id: u32, name: Octets) -> Result<Value<'_>> {
    let name = topic(&ctx, &name)?;
    on_swarm!(&ctx, id, |swarm| {
        swarm.leave(&name).await;
        Out::Undefined
    })
}

fn listen(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    on_swarm!(&ctx, id, |swarm| {
        swarm.listen().await?;
        Out::Undefined
    })
}

fn flush(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    on_swarm!(&ctx, id, |swarm| Out::Bool(swarm.flush().await))
}

fn clear(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    on_swarm!(&ctx, id, |swarm| {
        swarm.clear().await;
        Out::Undefined
    })
}

fn suspend(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    on_swarm!(&ctx, id, |swarm| {
        swarm.suspend().await;
        Out::Undefined
    })
}

fn resume(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    on_swarm!(&ctx, id, |swarm| {
        swarm.resume().await;
        Out::Undefined
    })
}

fn destroy(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    on_swarm!(&ctx, id, |swarm| {
        swarm.destroy().await;
        Out::Undefined
    })
}

fn flushed(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let session: Session = held(&ctx, id)?;
    promise(&ctx, async move { Ok(Out::Bool(session.flushed().await)) })
}

fn refresh<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<Value<'js>> {
    let session: Session = held(&ctx, id)?;
    let how = joining(&options)?;
    promise(
        &ctx,
        async move { Ok(Out::Bool(session.refresh(how).await?)) },
    )
}

fn discovery_destroy(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let session: Session = held(&ctx, id)?;
    promise(&ctx, async move {
        session.destroy().await;
        Ok(Out::Undefined)
    })
}

fn discovery_facts(ctx: Ctx<'_>, id: u32) -> Result<Out> {
    let session: Session = held(&ctx, id)?;
    Ok(Out::Fields(vec![
        ("isClient", Out::Bool(session.is_client())),
        ("isServer", Out::Bool(session.is_server())),
    ]))
}
