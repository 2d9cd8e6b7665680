//! Nodes of dht-rpc with commands of the program's own.

use super::{
    args::{Count, Options, bad},
    bridge::{Failure, Out, call_back, held, hold, now, promise},
    dht::{address, address_out, addresses, host_of, node_options},
    pull::Pull,
};
use crate::event_loop::pool;
use pome_net::{
    dht_rpc::{
        Answer, Ask, Dht, DhtOptions, Incoming, Node, QueryOptions, QueryResult, Reply,
        RequestOptions, Service,
    },
    udx::Udx,
};
use rquickjs::{Ctx, Function, Object, Result, Value};
use std::{
    net::SocketAddrV4,
    sync::{Arc, Mutex as Lock, PoisonError},
    time::Duration,
};
use tokio::sync::{Mutex, mpsc};

/// Questions of other nodes that the program has not looked at: more are refused.
const QUESTIONS_MAX: usize = 1024;

/// A node, and what others ask it.
#[derive(Clone)]
struct Running {
    dht: Dht,
    questions: Arc<Mutex<mpsc::Receiver<Incoming>>>,
}

/// A query that was begun, and how it ended.
type Ended = Arc<Lock<Option<QueryResult>>>;

struct Questions(mpsc::Sender<Incoming>);

impl Service for Questions {
    fn asked(&self, node: &mut Node, incoming: Incoming, now: Duration) {
        if let Err(error) = self.0.try_send(incoming) {
            node.refuse(&error.into_inner(), now);
        }
    }
}

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    super::functions!(ctx, native, {
        "rpcOpen" => open,
        "rpcFacts" => facts,
        "rpcReady" => ready,
        "rpcChanged" => changed,
        "rpcAsked" => asked,
        "rpcReply" => reply,
        "rpcRequest" => request,
        "rpcPing" => ping,
        "rpcQuery" => query,
        "rpcClosest" => closest,
        "rpcRefresh" => refresh,
        "rpcSuspend" => suspend,
        "rpcResume" => resume,
        "rpcClose" => close,
    });
    Ok(())
}

fn node(ctx: &Ctx<'_>, id: u32) -> Result<Running> {
    held(ctx, id)
}

fn open<'js>(ctx: Ctx<'js>, options: Options<'js>) -> Result<u32> {
    let port = u16::try_from(options.count("port")?.unwrap_or(0)).unwrap_or(0);
    let host = host_of(&ctx, &options)?;
    let mut how = match options.text("bootstrapper")? {
        Some(outside) => match address(&format!("{outside}:{port}")) {
            Some(address) => DhtOptions::bootstrapper(address),
            None => {
                return Err(bad(
                    &ctx,
                    "the host of a bootstrap node must be an IPv4 address",
                ));
            }
        },
        None => DhtOptions::default(),
    };
    node_options(&ctx, &options, (host, port), &mut how)?;
    let (sender, questions) = mpsc::channel(QUESTIONS_MAX);
    let _inside = pool().enter();
    let dht = now(
        &ctx,
        Dht::bind_with(how, &Udx::new(), Arc::new(Questions(sender))),
    )?;
    Ok(hold(Box::new(Running {
        dht,
        questions: Arc::new(Mutex::new(questions)),
    })))
}

fn facts(ctx: Ctx<'_>, id: u32) -> Result<Out> {
    let dht = node(&ctx, id)?.dht;
    let (local, outside, told) = (dht.local_addr(), dht.address(), *dht.watch().borrow());
    Ok(Out::Fields(vec![
        ("localHost", Out::Text(local.ip().to_string())),
        ("localPort", Out::count(local.port().into())),
        (
            "host",
            Out::or_null(outside, |at| Out::Text(at.ip().to_string())),
        ),
        ("port", Out::count(outside.map_or(0, |at| at.port()).into())),
        ("id", Out::or_null(dht.id(), Out::bytes)),
        ("firewalled", Out::Bool(dht.is_firewalled())),
        ("bootstrapped", Out::Bool(told.ready)),
        ("ephemeral", Out::Bool(!told.persistent)),
        ("online", Out::Bool(!told.offline)),
        ("degraded", Out::Bool(told.degraded)),
        ("wakeups", Out::count(told.wakeups)),
        (
            "nodes",
            Out::List(dht.nodes().into_iter().map(address_out).collect()),
        ),
    ]))
}

fn ready(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let dht = node(&ctx, id)?.dht;
    promise(&ctx, async move {
        dht.ready().await?;
        Ok(Out::Undefined)
    })
}

/// Calls back when something that [`facts`] says may be new: true; false when the node was closed. The process lives until then.
fn changed<'js>(ctx: Ctx<'js>, id: u32, callback: Function<'js>) -> Result<()> {
    let dht = node(&ctx, id)?.dht;
    let mut told = dht.watch();
    call_back(&ctx, true, callback, async move {
        let has_changed = !dht.is_closed() && told.changed().await.is_ok();
        Ok(Out::Bool(has_changed && !dht.is_closed()))
    })
}

/// The next question of another node; null when the node was closed.
fn asked<'js>(ctx: Ctx<'js>, id: u32, callback: Function<'js>) -> Result<()> {
    let running = node(&ctx, id)?;
    call_back(&ctx, false, callback, async move {
        let question = running.questions.lock().await.recv().await;
        Ok(Out::or_null(question, |incoming| {
            let request = &incoming.request;
            Out::Fields(vec![
                ("command", Out::count(request.command)),
                ("target", Out::or_null(request.target, Out::bytes)),
                ("value", Out::or_null(request.value.clone(), Out::Bytes)),
                ("token", Out::or_null(request.token, Out::bytes)),
                ("id", Out::or_null(incoming.id, Out::bytes)),
                ("from", address_out(incoming.from)),
                ("to", address_out(request.to)),
                ("handle", Out::held(incoming)),
            ])
        }))
    })
}

fn reply<'js>(ctx: Ctx<'js>, id: u32, question: u32, options: Options<'js>) -> Result<()> {
    let running = node(&ctx, id)?;
    let incoming: Incoming = held(&ctx, question)?;
    let answer = Answer {
        error: options.count("error")?.unwrap_or(0),
        value: options.bytes("value")?,
        token: options.flag("token")?.unwrap_or(true),
        closer_nodes: options.flag("closerNodes")?.unwrap_or(true),
    };
    running.dht.reply(&incoming, answer);
    Ok(())
}

fn ask(options: &Options<'_>) -> Result<Ask> {
    Ok(Ask {
        internal: options.flag("internal")?.unwrap_or(false),
        command: options.count("command")?.unwrap_or(0),
        target: options.array("target")?,
        value: options.bytes("value")?,
        token: options.array("token")?,
    })
}

fn reply_out(reply: Reply) -> Out {
    let response = reply.response;
    #[expect(
        clippy::cast_precision_loss,
        reason = "a round trip has few milliseconds"
    )]
    let rtt = reply.rtt.as_millis() as f64;
    let closer = response.closer_nodes.into_iter().map(address_out);
    Out::Fields(vec![
        ("rtt", Out::Number(rtt)),
        (
            "from",
            Out::Fields(vec![
                ("id", Out::or_null(reply.id, Out::bytes)),
                ("host", Out::Text(reply.from.ip().to_string())),
                ("port", Out::count(reply.from.port().into())),
            ]),
        ),
        ("to", address_out(response.to)),
        ("token", Out::or_null(response.token, Out::bytes)),
        ("closerNodes", Out::List(closer.collect())),
        ("error", Out::count(response.error)),
        ("value", Out::or_null(response.value, Out::Bytes)),
    ])
}

fn to(ctx: &Ctx<'_>, host: &str, port: Count) -> Result<SocketAddrV4> {
    address(&format!("{host}:{}", port.0)).ok_or_else(|| bad(ctx, "no address of a node"))
}

fn sending(options: &Options<'_>) -> Result<RequestOptions> {
    Ok(RequestOptions {
        socket: None,
        ttl: options
            .count("ttl")?
            .filter(|ttl| *ttl > 0)
            .and_then(|ttl| u32::try_from(ttl).ok()),
        retries: match options.flag("retry")? {
            Some(false) => Some(0),
            _ => None,
        },
    })
}

fn request<'js>(
    ctx: Ctx<'js>,
    id: u32,
    host: String,
    port: Count,
    options: Options<'js>,
) -> Result<Value<'js>> {
    let dht = node(&ctx, id)?.dht;
    let (to, ask, how) = (to(&ctx, &host, port)?, ask(&options)?, sending(&options)?);
    promise(&ctx, async move {
        Ok(reply_out(dht.request_by(to, ask, how).await?))
    })
}

fn ping<'js>(
    ctx: Ctx<'js>,
    id: u32,
    host: String,
    port: Count,
    options: Options<'js>,
) -> Result<Value<'js>> {
    let dht = node(&ctx, id)?.dht;
    let (to, how) = (to(&ctx, &host, port)?, sending(&options)?);
    let delay = options.millis("delay")?;
    promise(&ctx, async move {
        let pending = match delay {
            Some(delay) => dht.delayed_ping(to, delay),
            None => dht.ping_by(to, how),
        };
        Ok(reply_out(pending.await?))
    })
}

/// A stream of answers, and what stands for the closest ones once it has ended: [`closest`].
fn query<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<Vec<u32>> {
    let dht = node(&ctx, id)?.dht;
    let ask = ask(&options)?;
    if ask.target.is_none() {
        return Err(bad(&ctx, "a query needs a target of 32 bytes"));
    }
    let how = QueryOptions {
        commit: options
            .flag("commit")?
            .unwrap_or(false)
            .then(|| ask.clone()),
        ask,
        nodes: addresses(&ctx, &options, "nodes")?.unwrap_or_default(),
        concurrency: options
            .count("concurrency")?
            .and_then(|count| usize::try_from(count).ok()),
        ..QueryOptions::default()
    };
    let ended = Ended::default();
    let end = ended.clone();
    let replies = futures_util::stream::unfold(Some(dht.query(how)), move |query| {
        let end = end.clone();
        async move {
            let mut query = query?;
            match query.next().await {
                Ok(reply) => Some((Ok(reply_out(reply)), Some(query))),
                Err(Ok(result)) => {
                    *end.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
                    None
                }
                Err(Err(error)) => Some((Err(Failure::from(error)), None)),
            }
        }
    });
    Ok(vec![
        hold(Box::new(Pull::new(replies))),
        hold(Box::new(ended)),
    ])
}

/// The closest nodes that answered a query, the closest first, and how many of them took its commit; null before it has ended.
fn closest(ctx: Ctx<'_>, id: u32) -> Result<Out> {
    let ended: Ended = held(&ctx, id)?;
    let result = ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Out::or_null(result, |result| {
        Out::Fields(vec![
            (
                "closest",
                Out::List(result.closest.into_iter().map(reply_out).collect()),
            ),
            ("committed", Out::count(result.committed as u64)),
        ])
    }))
}

fn refresh(ctx: Ctx<'_>, id: u32) -> Result<()> {
    node(&ctx, id)?.dht.refresh();
    Ok(())
}

fn suspend(ctx: Ctx<'_>, id: u32) -> Result<()> {
    node(&ctx, id)?.dht.suspend();
    Ok(())
}

fn resume(ctx: Ctx<'_>, id: u32) -> Result<()> {
    node(&ctx, id)?.dht.resume();
    Ok(())
}

fn close(ctx: Ctx<'_>, id: u32) -> Result<()> {
    node(&ctx, id)?.dht.close();
    Ok(())
}
