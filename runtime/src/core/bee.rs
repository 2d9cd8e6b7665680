//! Hyperbees.

use super::{
    args::{Count, Octets, Options},
    bridge::{Failure, Out, coded, held, hold, promise, steady},
    hypercore::{core, patience},
    pull::Pull,
    watching::{self, has_any},
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use pome_bee::{
    Batch, Change, DiffEntry, Entry, HistoryEntry, HistoryOptions, Hyperbee, Metadata, PutOptions,
    RangeOptions,
};
use pome_cores::Durability;
use rquickjs::{Ctx, Object, Result, Value};
use std::sync::Arc;
use tokio::sync::Mutex;

/// A batch; `None` once it was flushed or closed.
type Open = Arc<Mutex<Option<Batch>>>;

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    super::functions!(ctx, native, {
        "beeOpen" => open,
        "beeView" => view,
        "beeVersion" => version,
        "beeGet" => get,
        "beeGetBySeq" => get_by_seq,
        "beePeek" => peek,
        "beePut" => put,
        "beeDel" => del,
        "beeHeader" => header,
        "beeIs" => is_bee,
        "beeRange" => range,
        "beeHistory" => history,
        "beeDiff" => diff,
        "beeWatch" => watch,
        "beeChanged" => watching::changed::<Hyperbee>,
        "beeClearUnlinked" => clear_unlinked,
        "batchOpen" => batch_open,
        "batchLock" => batch_lock,
        "batchVersion" => batch_version,
        "batchGet" => batch_get,
        "batchPeek" => batch_peek,
        "batchRange" => batch_range,
        "batchPut" => batch_put,
        "batchDel" => batch_del,
        "batchFlush" => batch_flush,
        "batchClose" => batch_close,
    });
    Ok(())
}

fn bee(ctx: &Ctx<'_>, id: u32) -> Result<Hyperbee> {
    held(ctx, id)
}

/// `[seq, key, value]`: the decoding is JavaScript's.
fn entry_out(entry: Entry) -> Out {
    Out::List(vec![
        Out::count(entry.seq),
        Out::Bytes(entry.key),
        Out::or_null(entry.value, Out::Bytes),
    ])
}

fn bounds(options: &Options<'_>) -> Result<RangeOptions> {
    let mut range = RangeOptions::new();
    range.gt = options.bytes("gt")?;
    range.gte = options.bytes("gte")?;
    range.lt = options.bytes("lt")?;
    range.lte = options.bytes("lte")?;
    range.reverse = options.flag("reverse")?.unwrap_or(false);
    range.limit = options
        .whole("limit")?
        .and_then(|limit| u64::try_from(limit).ok());
    Ok(range)
}

fn open<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<u32> {
    let mut bee = Hyperbee::new(core(&ctx, id)?)
        .always_duplicate(options.flag("alwaysDuplicate")?.unwrap_or(true));
    if options.flag("readonly")?.unwrap_or(false) {
        bee = bee.read_only();
    }
    if let Some(feed) = options.bytes("contentFeed")? {
        bee = bee.with_metadata(Metadata {
            content_feed: Some(feed),
            ..Metadata::default()
        });
    }
    Ok(hold(Box::new(with_patience(bee, &options)?)))
}

fn with_patience(bee: Hyperbee, options: &Options<'_>) -> Result<Hyperbee> {
    let waiting = patience(options)?;
    let bee = bee.with_timeout(waiting.timeout);
    Ok(match options.flag("wait")? {
        Some(wait) => bee.with_wait(wait),
        None => bee,
    })
}

/// Another view: of a version, or under a prefix.
fn view<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<u32> {
    let mut bee = bee(&ctx, id)?;
    if let Some(prefix) = options.bytes("prefix")? {
        bee = bee.sub_with(prefix, options.bytes("sep")?.unwrap_or_default());
    }
    if let Some(version) = options.count("checkout")? {
        bee = bee.checkout(version);
    }
    Ok(hold(Box::new(bee)))
}

fn version(ctx: Ctx<'_>, id: u32) -> Result<Out> {
    steady(&ctx, id, 0, || Ok([bee(&ctx, id)?.version()]))
}

fn get<'js>(ctx: Ctx<'js>, id: u32, key: Octets, options: Options<'js>) -> Result<Value<'js>> {
    let bee = with_patience(bee(&ctx, id)?, &options)?;
    let update = options.flag("update")?.unwrap_or(true);
    promise(&ctx, async move {
        if update {
            bee.update().await?;
        }
        Ok(Out::or_null(bee.get(&key.0).await?, entry_out))
    })
}

fn get_by_seq(ctx: Ctx<'_>, id: u32, seq: Count) -> Result<Value<'_>> {
    let bee = bee(&ctx, id)?;
    promise(
        &ctx,
        async move { Ok(entry_out(bee.get_by_seq(seq.0).await?)) },
    )
}

fn peek<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<Value<'js>> {
    let bee = with_patience(bee(&ctx, id)?, &options)?;
    let range = bounds(&options)?;
    promise(&ctx, async move {
        bee.update().await?;
        Ok(Out::or_null(bee.peek(range).await?, entry_out))
    })
}

fn put<'js>(ctx: Ctx<'js>, id: u32, key: Octets, options: Options<'js>) -> Result<Value<'js>> {
    let bee = bee(&ctx, id)?;
    let value = options.bytes("value")?;
    promise(&ctx, async move {
        bee.put_with(&key.0, value, PutOptions::new()).await?;
        Ok(Out::Undefined)
    })
}

fn del(ctx: Ctx<'_>, id: u32, key: Octets) -> Result<Value<'_>> {
    let bee = bee(&ctx, id)?;
    promise(&ctx, async move {
        bee.del(&key.0).await?;
        Ok(Out::Undefined)
    })
}

fn header(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let bee = bee(&ctx, id)?;
    promise(&ctx, async move {
        Ok(Out::or_null(bee.header().await?, |header| {
            let feed = header.metadata.and_then(|metadata| metadata.content_feed);
            Out::Fields(vec![
                ("protocol", Out::Text(header.protocol)),
                (
                    "metadata",
                    Out::Fields(vec![("contentFeed", Out::or_null(feed, Out::bytes))]),
                ),
            ])
        }))
    })
}

fn is_bee<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<Value<'js>> {
    let core = core(&ctx, id)?;
    let waiting = patience(&options)?;
    promise(&ctx, async move {
        Ok(Out::Bool(Hyperbee::is_hyperbee(&core, waiting).await?))
    })
}

fn range<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<u32> {
    let bee = with_patience(bee(&ctx, id)?, &options)?;
    let range = bounds(&options)?;
    let update = options.flag("update")?.unwrap_or(true);
    let entries = futures_util::stream::once(async move {
        if update {
            bee.update().await?;
        }
        Ok::<_, pome_bee::Error>(bee.range(range).boxed())
    });
    let out = entries
        .try_flatten()
        .map(|entry: pome_bee::Result<Entry>| entry.map(entry_out).map_err(Failure::from));
    Ok(hold(Box::new(Pull::new(out))))
}

/// `[seq, key, value, isPut]`.
fn change_out(entry: HistoryEntry) -> Out {
    Out::List(vec![
        Out::count(entry.seq),
        Out::Bytes(entry.key),
        Out::or_null(entry.value, Out::Bytes),
        Out::Bool(entry.change == Change::Put),
    ])
}

fn history<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<u32> {
    let bee = with_patience(bee(&ctx, id)?, &options)?;
    let limit = options.whole("limit")?;
    let history = HistoryOptions {
        gt: options.whole("gt")?,
        gte: options.whole("gte")?,
        lt: options.whole("lt")?,
        lte: options.whole("lte")?,
        live: options.flag("live")?.unwrap_or(false),
        reverse: options.flag("reverse")?.unwrap_or(false),
        limit: limit.and_then(|limit| u64::try_from(limit).ok()),
    };
    let entries = futures_util::stream::once(async move {
        bee.update().await?;
        Ok::<_, pome_bee::Error>(bee.history(history).boxed())
    });
    let out = entries
        .try_flatten()
        .map(|entry: pome_bee::Result<HistoryEntry>| entry.map(change_out).map_err(Failure::from));
    Ok(hold(Box::new(Pull::new(out))))
}

fn difference_out(difference: DiffEntry) -> Out {
    Out::List(vec![
        Out::or_null(difference.left, entry_out),
        Out::or_null(difference.right, entry_out),
    ])
}

/// Between this bee and another one (`other`), or another version of it (`version`).
fn diff<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<u32> {
    let this = bee(&ctx, id)?;
    let other = match options.count("other")? {
        Some(other) => bee(&ctx, u32::try_from(other).unwrap_or(0))?,
        None => this.checkout(options.count("version")?.unwrap_or(0)),
    };
    let differences = this.diff(&other, bounds(&options)?);
    let out = differences.map(|difference| difference.map(difference_out).map_err(Failure::from));
    Ok(hold(Box::new(Pull::new(out))))
}

fn watch<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<u32> {
    let (bee, range) = (bee(&ctx, id)?, bounds(&options)?);
    let changes = bee.watch(range.clone()).map(|changed| match changed {
        Ok(changed) => Ok((changed.current, changed.previous)),
        Err(error) => Err(Failure::from(error)),
    });
    watching::watch(&ctx, bee, changes, move |(now, told)| {
        has_any(now.diff(&told, range.clone()))
    })
}

fn clear_unlinked<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<Value<'js>> {
    let bee = bee(&ctx, id)?;
    let gte = options.count("gte")?.unwrap_or(0);
    let lt = options.count("lt")?;
    promise(&ctx, async move {
        let end = lt.unwrap_or_else(|| bee.version().saturating_sub(1));
        bee.clear_unlinked(gte, Some(end)).await?;
        Ok(Out::count(end))
    })
}

fn batch(ctx: &Ctx<'_>, id: u32) -> Result<Open> {
    held(ctx, id)
}

fn closed() -> Failure {
    coded("SESSION_CLOSED", "the batch was flushed or closed")
}

fn batch_open(ctx: Ctx<'_>, id: u32) -> Result<u32> {
    let open: Open = Arc::new(Mutex::new(Some(bee(&ctx, id)?.batch())));
    Ok(hold(Box::new(open)))
}

/// Work on an open batch.
macro_rules! on_batch {
    ($ctx:expr, $id:expr, |$batch:ident| $work:expr) => {{
        let open = batch($ctx, $id)?;
        promise($ctx, async move {
            let mut open = open.lock().await;
            let $batch = open.as_mut().ok_or_else(closed)?;
            Ok($work)
        })
    }};
}

fn batch_lock(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    on_batch!(&ctx, id, |batch| {
        batch.lock().await?;
        Out::Undefined
    })
}

fn batch_version(ctx: Ctx<'_>, id: u32) -> Result<Out> {
    let open = batch(&ctx, id)?;
    // While something is being written, nobody knows.
    let version = open
        .try_lock()
        .ok()
        .and_then(|open| Some(open.as_ref()?.version()));
    Ok(Out::or_null(version, Out::count))
}

fn batch_get(ctx: Ctx<'_>, id: u32, key: Octets) -> Result<Value<'_>> {
    on_batch!(&ctx, id, |batch| Out::or_null(
        batch.get(&key.0).await?,
        entry_out
    ))
}

fn batch_peek<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<Value<'js>> {
    let range = bounds(&options)?;
    on_batch!(&ctx, id, |batch| Out::or_null(
        batch.peek(range).await?,
        entry_out
    ))
}

/// All entries of a range at once, for a batch does not outlive its bee's next write.
fn batch_range<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<Value<'js>> {
    let range = bounds(&options)?;
    on_batch!(&ctx, id, |batch| {
        let entries: Vec<Entry> = batch.range(range).try_collect().await?;
        Out::List(entries.into_iter().map(entry_out).collect())
    })
}

fn batch_put<'js>(
    ctx: Ctx<'js>,
    id: u32,
    key: Octets,
    options: Options<'js>,
) -> Result<Value<'js>> {
    let value: Option<Bytes> = options.bytes("value")?;
    on_batch!(&ctx, id, |batch| {
        batch.put_with(&key.0, value, PutOptions::new()).await?;
        Out::Undefined
    })
}

fn batch_del(ctx: Ctx<'_>, id: u32, key: Octets) -> Result<Value<'_>> {
    on_batch!(&ctx, id, |batch| {
        batch.del(&key.0).await?;
        Out::Undefined
    })
}

fn batch_flush(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let open = batch(&ctx, id)?;
    promise(&ctx, async move {
        let batch = open.lock().await.take().ok_or_else(closed)?;
        batch.flush(Durability::Buffered).await?;
        Ok(Out::Undefined)
    })
}

fn batch_close(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let open = batch(&ctx, id)?;
    promise(&ctx, async move {
        drop(open.lock().await.take());
        Ok(Out::Undefined)
    })
}
