//! Hypercores.

use super::{
    args::{Count, Octets, Options},
    bridge::{Failure, Out, Outcome, call_back, held, hold, now, patient, promise, steady},
    pull::Pull,
    store::{manifest_out, pair_out},
};
use crate::event_loop::Loop;
use bytes::Bytes;
use futures_util::StreamExt;
use pome_cores::{
    ByteStreamOptions, CommitOptions, Durability, GetOptions, Hypercore, ReadStreamOptions,
    SessionOptions,
    replication::{CoreEvent, Download, Extension, ExtensionSender, PeerId},
};
use rquickjs::{Ctx, Function, Object, Result, Value};
use std::{sync::Arc, time::Duration};
use tokio::sync::{Mutex, broadcast, watch};

/// How long the process lives for what peers may have to bring.
const QUICK: Duration = Duration::from_millis(200);

/// What happens to a core.
type Events = Arc<Mutex<News>>;

struct News {
    /// Length and fork, as soon as they change: the core's own events of that come when it is on disk.
    head: watch::Receiver<(u64, u64)>,
    seen: (u64, u64),
    events: broadcast::Receiver<CoreEvent>,
}

impl News {
    /// What became of the head since it was last looked at.
    fn moved(&mut self) -> Option<Out> {
        let (length, fork) = *self.head.borrow_and_update();
        let (before, seen) = (self.seen, (length, fork));
        self.seen = seen;
        if fork != before.1 {
            let name = Out::Text("truncate".to_owned());
            return Some(Out::List(vec![name, Out::count(length), Out::count(fork)]));
        }
        (length > before.0).then(|| Out::List(vec![Out::Text("append".to_owned())]))
    }
}

/// A download; it ends when nobody has it any more.
type Fetching = Arc<Mutex<Download>>;
/// Messages of a program beside a core.
#[derive(Clone)]
struct Beside {
    receiver: Arc<Mutex<Extension>>,
    sender: ExtensionSender,
    core: Hypercore,
}

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    super::functions!(ctx, native, {
        "coreLength" => |ctx: Ctx<'_>, id: u32| count(&ctx, id, 0),
        "coreByteLength" => |ctx: Ctx<'_>, id: u32| count(&ctx, id, 1),
        "coreContiguousLength" => |ctx: Ctx<'_>, id: u32| count(&ctx, id, 2),
        "coreRemoteContiguousLength" => |ctx: Ctx<'_>, id: u32| Ok::<_, rquickjs::Error>(Out::count(core(&ctx, id)?.remote_contiguous_length())),
        "coreSignedLength" => |ctx: Ctx<'_>, id: u32| count(&ctx, id, 3),
        "coreFork" => |ctx: Ctx<'_>, id: u32| count(&ctx, id, 4),
        "corePadding" => |ctx: Ctx<'_>, id: u32| Ok::<_, rquickjs::Error>(Out::count(core(&ctx, id)?.padding())),
        "coreWritable" => |ctx: Ctx<'_>, id: u32| Ok::<_, rquickjs::Error>(Out::Bool(core(&ctx, id)?.writable())),
        "coreManifest" => |ctx: Ctx<'_>, id: u32| Ok::<_, rquickjs::Error>(Out::or_null(core(&ctx, id)?.manifest().as_ref(), manifest_out)),
        "coreKeyPair" => |ctx: Ctx<'_>, id: u32| Ok::<_, rquickjs::Error>(Out::or_null(core(&ctx, id)?.key_pair().as_ref(), pair_out)),
        "coreSession" => session,
        "coreClose" => close,
        "coreAppend" => append,
        "coreTruncate" => truncate,
        "coreClear" => clear,
        "coreGet" => get,
        "coreHere" => here,
        "coreHas" => has,
        "coreSeek" => seek,
        "coreUpdate" => update,
        "coreTreeHash" => tree_hash,
        "coreSignable" => signable,
        "coreUserData" => user_data,
        "coreSetUserData" => set_user_data,
        "coreUsage" => usage,
        "corePurge" => purge,
        "coreSetActive" => set_active,
        "coreSetEncryptionKey" => set_encryption_key,
        "corePeers" => peers,
        "coreFindingPeers" => finding_peers,
        "coreDownload" => download,
        "coreDownloaded" => downloaded,
        "coreEvents" => events,
        "coreEvent" => event,
        "coreExtension" => extension,
        "coreExtensionSend" => extension_send,
        "coreExtensionMessage" => extension_message,
        "coreReadStream" => read_stream,
        "coreByteStream" => byte_stream,
        "coreCommit" => commit,
        "coreStartMarking" => start_marking,
        "coreMark" => mark,
        "coreClearMarks" => clear_marks,
        "coreSweep" => sweep,
    });
    Ok(())
}

pub(super) fn core(ctx: &Ctx<'_>, id: u32) -> Result<Hypercore> {
    held(ctx, id)
}

/// A core, and what it is as the program first sees it.
pub(super) fn described(core: Hypercore) -> Out {
    Out::Fields(vec![
        ("key", Out::bytes(core.key().0)),
        ("discoveryKey", Out::bytes(core.discovery_key().0)),
        ("length", Out::count(core.length())),
        ("fork", Out::count(core.fork())),
        ("id", Out::Text(core.id())),
        ("writable", Out::Bool(core.writable())),
        ("snapshotted", Out::Bool(core.is_snapshot())),
        ("handle", Out::held(core)),
    ])
}

/// How long to wait: npm's `wait` and `timeout`.
pub(super) fn patience(options: &Options<'_>) -> Result<GetOptions> {
    Ok(GetOptions {
        no_wait: !options.flag("wait")?.unwrap_or(true),
        timeout: options.millis("timeout")?,
    })
}

fn session<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<Value<'js>> {
    let core = core(&ctx, id)?;
    let mut derived = SessionOptions::default();
    derived.writable = options.flag("writable")?;
    derived.wait = options.flag("wait")?;
    derived.timeout = options.millis("timeout")?;
    derived.exclusive = options.flag("exclusive")?.unwrap_or(false);
    derived.active = options.flag("active")?;
    let snapshot = options.flag("snapshot")?.unwrap_or(false);
    let branch = options.text("name")?;
    promise(&ctx, async move {
        let session = match branch {
            Some(name) => core.branch(&name).await?,
            None => core.session_with(derived).await?,
        };
        Ok(described(match snapshot {
            true => session.snapshot()?,
            false => session,
        }))
    })
}

/// Length, length in bytes, contiguous length, signed length, fork. What changes a core counts first: for the program it is done at the next `await`.
fn count(ctx: &Ctx<'_>, id: u32, which: usize) -> Result<Out> {
    steady(ctx, id, which, || {
        let core = core(ctx, id)?;
        Ok([
            core.length(),
            core.byte_length(),
            core.contiguous_length(),
            core.signed_length(),
            core.fork(),
        ])
    })
}

fn close(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let core = core(&ctx, id)?;
    promise(&ctx, async move {
        core.close().await?;
        Ok(Out::Undefined)
    })
}

fn append<'js>(
    ctx: Ctx<'js>,
    id: u32,
    blocks: Vec<Octets>,
    options: Options<'js>,
) -> Result<Value<'js>> {
    let core = core(&ctx, id)?;
    let blocks: Vec<Bytes> = blocks.into_iter().map(|block| block.0).collect();
    let most = options.count("maxLength")?;
    let signature = options.bytes("signature")?;
    let durability = match options.flag("sync")?.unwrap_or(false) {
        true => Durability::Synced,
        false => Durability::Buffered,
    };
    count(&ctx, id, 0)?;
    promise(&ctx, async move {
        let appended = match (most, signature) {
            (_, Some(signature)) => core.append_signed(blocks, signature).await?,
            (Some(most), None) => core.append_within(most, blocks, durability).await?,
            (None, None) => core.append_with(blocks, durability).await?,
        };
        Ok(Out::Fields(vec![
            ("length", Out::count(appended.length)),
            ("byteLength", Out::count(appended.byte_length)),
        ]))
    })
}

fn truncate<'js>(
    ctx: Ctx<'js>,
    id: u32,
    length: Count,
    options: Options<'js>,
) -> Result<Value<'js>> {
    let core = core(&ctx, id)?;
    let fork = options.count("fork")?;
    count(&ctx, id, 0)?;
    promise(&ctx, async move {
        match fork {
            Some(fork) => core.truncate_with(length.0, fork).await?,
            None => core.truncate(length.0).await?,
        }
        Ok(Out::Undefined)
    })
}

fn clear(ctx: Ctx<'_>, id: u32, start: Count, end: Count) -> Result<Value<'_>> {
    let core = core(&ctx, id)?;
    promise(&ctx, async move {
        Ok(Out::count(core.clear(start.0..end.0.max(start.0)).await?))
    })
}

fn get<'js>(ctx: Ctx<'js>, id: u32, index: Count, options: Options<'js>) -> Result<Value<'js>> {
    let core = core(&ctx, id)?;
    let waiting = patience(&options)?;
    let raw = options.flag("raw")?.unwrap_or(false);
    let read = async move |waiting: GetOptions| -> Outcome<Option<Out>> {
        let block = core.get_with(index.0, waiting).await?;
        Ok(match (block, raw) {
            (Some(_), true) => core.stored_block(index.0).await?.map(Out::Bytes),
            (block, _) => block.map(Out::Bytes),
        })
    };
    let (waits, ends) = (!waiting.no_wait, waiting.timeout.is_some());
    let (now, later) = (read.clone(), read);
    let quick = async move {
        let here = now(GetOptions {
            no_wait: true,
            timeout: None,
        })
        .await?;
        Ok(here.or((!waits).then_some(Out::Null)))
    };
    patient(&ctx, ends, quick, async move {
        Ok(later(waiting).await?.unwrap_or(Out::Null))
    })
}

/// A block that is here, without a promise. Undefined where `coreGet` has to be asked.
fn here(ctx: Ctx<'_>, id: u32, index: Count) -> Result<Out> {
    let core = core(&ctx, id)?;
    let block = Loop::get(&ctx).at_once(core.get_with(
        index.0,
        GetOptions {
            no_wait: true,
            timeout: None,
        },
    ));
    Ok(match block {
        Some(Ok(Some(block))) => Out::Bytes(block),
        // What goes wrong is told by the one who is asked next.
        _ => Out::Undefined,
    })
}

fn has(ctx: Ctx<'_>, id: u32, start: Count, end: Count) -> Result<Value<'_>> {
    let core = core(&ctx, id)?;
    promise(&ctx, async move {
        Ok(Out::Bool(core.has(start.0..end.0.max(start.0)).await?))
    })
}

fn seek<'js>(ctx: Ctx<'js>, id: u32, offset: Count, options: Options<'js>) -> Result<Value<'js>> {
    let core = core(&ctx, id)?;
    let waiting = patience(&options)?;
    promise(&ctx, async move {
        let place = core.seek_with(offset.0, waiting).await?;
        Ok(Out::or_null(place, |(index, offset)| {
            Out::List(vec![Out::count(index), Out::count(offset)])
        }))
    })
}

fn update(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let core = core(&ctx, id)?;
    let update = async move || -> Outcome { Ok(Out::Bool(core.update().await?)) };
    let again = update.clone();
    let quick = async move { tokio::time::timeout(QUICK, update()).await.ok().transpose() };
    patient(&ctx, false, quick, async move { again().await })
}

fn tree_hash<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<Value<'js>> {
    let core = core(&ctx, id)?;
    let length = options.count("length")?;
    promise(&ctx, async move {
        Ok(Out::bytes(match length {
            Some(length) => core.tree_hash_at(length).await?,
            None => core.tree_hash().await?,
        }))
    })
}

fn signable<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<Value<'js>> {
    let core = core(&ctx, id)?;
    let (length, fork) = (options.count("length")?, options.count("fork")?);
    promise(&ctx, async move {
        let length = length.unwrap_or_else(|| core.length());
        let fork = fork.unwrap_or_else(|| core.fork());
        Ok(Out::bytes(core.signable_at(length, fork).await?))
    })
}

fn user_data(ctx: Ctx<'_>, id: u32, key: String) -> Result<Value<'_>> {
    let core = core(&ctx, id)?;
    promise(&ctx, async move {
        Ok(Out::or_null(core.user_data(&key).await?, Out::Bytes))
    })
}

fn set_user_data<'js>(
    ctx: Ctx<'js>,
    id: u32,
    key: String,
    options: Options<'js>,
) -> Result<Value<'js>> {
    let core = core(&ctx, id)?;
    let value = options.bytes("value")?;
    promise(&ctx, async move {
        core.set_user_data(&key, value).await?;
        Ok(Out::Undefined)
    })
}

fn usage(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let core = core(&ctx, id)?;
    promise(&ctx, async move {
        let usage = core.usage().await?;
        Ok(Out::Fields(vec![
            ("blocks", Out::count(usage.value_bytes)),
            ("keys", Out::count(usage.key_bytes)),
        ]))
    })
}

fn purge(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let core = core(&ctx, id)?;
    promise(&ctx, async move {
        core.purge().await?;
        Ok(Out::Undefined)
    })
}

fn set_active(ctx: Ctx<'_>, id: u32, active: bool) -> Result<()> {
    core(&ctx, id)?.set_active(active);
    Ok(())
}

fn set_encryption_key<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<()> {
    core(&ctx, id)?.set_encryption_key(options.array("key")?);
    Ok(())
}

fn peers(ctx: Ctx<'_>, id: u32) -> Result<Out> {
    let peers = core(&ctx, id)?.peers().into_iter().map(|peer| {
        Out::Fields(vec![
            ("id", Out::count(peer.id)),
            ("remotePublicKey", Out::bytes(peer.remote_public_key)),
            ("remoteLength", Out::count(peer.remote_length)),
            ("remoteFork", Out::count(peer.remote_fork)),
            (
                "remoteContiguousLength",
                Out::count(peer.remote_contiguous_length),
            ),
            ("remoteUploading", Out::Bool(peer.remote_uploading)),
            ("remoteDownloading", Out::Bool(peer.remote_downloading)),
            ("inflight", Out::count(peer.inflight as u64)),
            ("paused", Out::Bool(peer.paused)),
        ])
    });
    Ok(Out::List(peers.collect()))
}

fn finding_peers(ctx: Ctx<'_>, id: u32) -> Result<u32> {
    Ok(hold(Box::new(core(&ctx, id)?.finding_peers())))
}

fn download<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<u32> {
    let core = core(&ctx, id)?;
    let start = options.count("start")?.unwrap_or(0);
    let end = options.count("end")?;
    let linear = options.flag("linear")?.unwrap_or(false);
    let blocks = options.list::<Count>("blocks")?;
    let started = match (blocks, end, linear) {
        (Some(blocks), ..) => {
            core.download_blocks(blocks.into_iter().map(|block| block.0).collect())
        }
        (None, Some(end), true) => core.download_linear(start..end),
        (None, Some(end), false) => core.download(start..end),
        (None, None, true) => core.download_linear(start..),
        (None, None, false) => core.download(start..),
    };
    let fetching: Fetching = Arc::new(Mutex::new(now(&ctx, started.map_err(Failure::from))?));
    Ok(hold(Box::new(fetching)))
}

/// True when all of it came; false when it was given up.
fn downloaded(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let fetching: Fetching = held(&ctx, id)?;
    let done = async move || match fetching.lock().await.done().await {
        Ok(()) => Ok(Out::Bool(true)),
        Err(pome_cores::Error::Closed) => Ok(Out::Bool(false)),
        Err(error) => Err(Failure::from(error)),
    };
    let again = done.clone();
    let quick = async move { tokio::time::timeout(QUICK, done()).await.ok().transpose() };
    patient(&ctx, false, quick, async move { again().await })
}

/// What happens from the moment on at which the program saw this length and fork: peers may have brought more since.
fn events(ctx: Ctx<'_>, id: u32, length: Count, fork: Count) -> Result<u32> {
    let core = core(&ctx, id)?;
    let mut head = core.watch();
    let seen = (length.0, fork.0);
    if *head.borrow_and_update() != seen {
        head.mark_changed();
    }
    let events: Events = Arc::new(Mutex::new(News {
        head,
        seen,
        events: core.events(),
    }));
    Ok(hold(Box::new(events)))
}

fn event_out(event: CoreEvent) -> Option<Out> {
    let name = |name: &str| Out::Text(name.to_owned());
    Some(Out::List(match event {
        CoreEvent::PeerAdd(peer) => vec![name("peer-add"), Out::count(peer)],
        CoreEvent::PeerRemove(peer) => vec![name("peer-remove"), Out::count(peer)],
        CoreEvent::Upload {
            index,
            byte_length,
            peer,
        } => vec![
            name("upload"),
            Out::count(index),
            Out::count(byte_length),
            Out::count(peer),
        ],
        CoreEvent::Download {
            index,
            byte_length,
            peer,
        } => vec![
            name("download"),
            Out::count(index),
            Out::count(byte_length),
            Out::count(peer),
        ],
        CoreEvent::RemoteContiguousLength(length) => {
            vec![name("remote-contiguous-length"), Out::count(length)]
        }
        CoreEvent::Manifest => vec![name("manifest")],
        CoreEvent::VerificationError { code, peer } => vec![
            name("verification-error"),
            Out::Text(code.to_owned()),
            Out::count(peer),
        ],
        CoreEvent::InvalidRequest { peer } => vec![name("invalid-request"), Out::count(peer)],
        CoreEvent::Conflict { length, fork } => {
            vec![name("conflict"), Out::count(length), Out::count(fork)]
        }
        CoreEvent::Recovered { length } => vec![name("recovered"), Out::count(length)],
        // Append and truncate are told by the head.
        _ => return None,
    }))
}

/// The next events, all that there are: a list of `[name, …arguments]`.
fn event<'js>(ctx: Ctx<'js>, id: u32, callback: Function<'js>) -> Result<()> {
    let events: Events = held(&ctx, id)?;
    call_back(&ctx, false, callback, async move {
        let mut news = events.lock().await;
        let news = &mut *news;
        let mut list = Vec::new();
        while list.is_empty() {
            tokio::select! {
                biased;
                changed = news.head.changed() => match changed {
                    Ok(()) => list.extend(news.moved()),
                    Err(_) => return Ok(Out::Null),
                },
                event = news.events.recv() => match event {
                    Ok(event) => list.extend(event_out(event)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return Ok(Out::Null),
                },
            }
        }
        while let Ok(event) = news.events.try_recv() {
            list.extend(event_out(event));
        }
        Ok(Out::List(list))
    })
}

fn extension(ctx: Ctx<'_>, id: u32, name: String) -> Result<u32> {
    let core = core(&ctx, id)?;
    let extension = core.extension(&name);
    let beside = Beside {
        sender: extension.sender(),
        receiver: Arc::new(Mutex::new(extension)),
        core,
    };
    Ok(hold(Box::new(beside)))
}

/// To one peer, by its number, or to all.
fn extension_send<'js>(
    ctx: Ctx<'js>,
    id: u32,
    message: Octets,
    options: Options<'js>,
) -> Result<bool> {
    let beside: Beside = held(&ctx, id)?;
    let peer: Option<PeerId> = options.count("peer")?;
    match peer {
        Some(peer) => Ok(beside.sender.send(peer, message.0)),
        None => {
            beside.sender.broadcast(&message.0);
            Ok(!beside.core.peers().is_empty())
        }
    }
}

fn extension_message<'js>(ctx: Ctx<'js>, id: u32, callback: Function<'js>) -> Result<()> {
    let beside: Beside = held(&ctx, id)?;
    call_back(&ctx, false, callback, async move {
        match beside.receiver.lock().await.recv().await {
            Ok((peer, message)) => Ok(Out::List(vec![Out::count(peer), Out::Bytes(message)])),
            Err(_) => Ok(Out::Null),
        }
    })
}

fn read_stream<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<u32> {
    let core = core(&ctx, id)?;
    let mut reading = ReadStreamOptions::default();
    reading.start = options.count("start")?.unwrap_or(0);
    reading.end = options
        .whole("end")?
        .and_then(|end| u64::try_from(end).ok());
    reading.live = options.flag("live")?.unwrap_or(false);
    reading.snapshot = options.flag("snapshot")?.unwrap_or(true);
    reading.reverse = options.flag("reverse")?.unwrap_or(false);
    reading.get = patience(&options)?;
    let blocks = core.read_stream(reading);
    let out = blocks.map(|block| block.map(Out::Bytes).map_err(Failure::from));
    Ok(hold(Box::new(Pull::new(out))))
}

fn byte_stream<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<u32> {
    let core = core(&ctx, id)?;
    let mut reading = ByteStreamOptions::default();
    reading.byte_offset = options.count("byteOffset")?.unwrap_or(0);
    reading.byte_length = options
        .whole("byteLength")?
        .and_then(|length| u64::try_from(length).ok());
    if let Some(prefetch) = options.count("prefetch")? {
        reading.prefetch = prefetch;
    }
    let pieces = core.byte_stream(reading);
    let out = pieces.map(|piece| piece.map(Out::Bytes).map_err(Failure::from));
    Ok(hold(Box::new(Pull::new(out))))
}

/// Takes the blocks of a branch over; null when it does not follow from what is there.
fn commit<'js>(ctx: Ctx<'js>, id: u32, branch: u32, options: Options<'js>) -> Result<Value<'js>> {
    let (onto, branch) = (core(&ctx, id)?, core(&ctx, branch)?);
    let mut wanted = CommitOptions::default();
    wanted.length = options.count("length")?;
    wanted.signature = options.bytes("signature")?;
    count(&ctx, id, 0)?;
    promise(&ctx, async move {
        let committed = onto.commit(&branch, wanted).await?;
        Ok(Out::or_null(committed, |appended| {
            Out::Fields(vec![
                ("length", Out::count(appended.length)),
                ("byteLength", Out::count(appended.byte_length)),
            ])
        }))
    })
}

fn start_marking(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let core = core(&ctx, id)?;
    promise(&ctx, async move {
        core.start_marking().await?;
        Ok(Out::Undefined)
    })
}

fn mark(ctx: Ctx<'_>, id: u32, start: Count, end: Count) -> Result<Value<'_>> {
    let core = core(&ctx, id)?;
    promise(&ctx, async move {
        core.mark(start.0..end.0.max(start.0)).await?;
        Ok(Out::Undefined)
    })
}

fn clear_marks(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let core = core(&ctx, id)?;
    promise(&ctx, async move {
        core.clear_marks().await?;
        Ok(Out::Undefined)
    })
}

fn sweep(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let core = core(&ctx, id)?;
    promise(&ctx, async move { Ok(Out::count(core.sweep().await?)) })
}
