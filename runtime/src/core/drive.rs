//! Hyperdrives.

use super::{
    args::{Count, Octets, Options, bad},
    blobs::{Writer, blob_of, blob_out, reading, written},
    bridge::{Failure, Out, coded, held, hold, now, promise, steady},
    hypercore::core,
    pull::Pull,
    watching::{self, has_any},
};
use futures_util::{StreamExt, TryStreamExt};
use pome_cores::{Corestore, Durability};
use pome_drive_fs::{
    Difference, DriveBatch, DriveDownload, DriveOptions, Entry, EntryValue, Error, GetOptions,
    Hyperdrive, Ignore, ListOptions, PutOptions,
};
use rquickjs::{Ctx, Object, Result, Value};
use std::sync::Arc;
use tokio::sync::Mutex;

/// A batch; `None` once it was flushed or closed.
type Open = Arc<Mutex<Option<DriveBatch>>>;
type Fetching = Arc<Mutex<DriveDownload>>;

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    super::functions!(ctx, native, {
        "driveOpen" => open,
        "driveOver" => over,
        "driveKey" => drive_key,
        "driveFacts" => facts,
        "driveVersion" => version,
        "driveContent" => content,
        "driveDb" => db,
        "driveView" => view,
        "driveClose" => close,
        "driveUpdate" => update,
        "driveEntry" => entry,
        "driveGet" => get,
        "driveExists" => exists,
        "driveHas" => has,
        "drivePut" => put,
        "drivePutEntry" => put_entry,
        "driveDel" => del,
        "driveSymlink" => symlink,
        "driveClear" => clear,
        "driveClearAll" => clear_all,
        "driveTruncate" => truncate,
        "driveBlobsLength" => blobs_length,
        "drivePurge" => purge,
        "driveList" => list,
        "driveReaddir" => readdir,
        "driveDiff" => diff,
        "driveRead" => read,
        "driveWrite" => write,
        "driveDownload" => download,
        "driveDownloadDiff" => download_diff,
        "driveDownloadRange" => download_range,
        "driveDownloaded" => downloaded,
        "driveWatch" => watch,
        "driveChanged" => watching::changed::<Hyperdrive>,
        "driveBatch" => batch,
        "driveBatchPut" => batch_put,
        "driveBatchPutEntry" => batch_put_entry,
        "driveBatchDel" => batch_del,
        "driveBatchEntry" => batch_entry,
        "driveBatchGet" => batch_get,
        "driveBatchFlush" => batch_flush,
        "driveBatchClose" => batch_close,
    });
    Ok(())
}

pub(super) fn drive(ctx: &Ctx<'_>, id: u32) -> Result<Hyperdrive> {
    held(ctx, id)
}

fn described(drive: Hyperdrive) -> Out {
    Out::Fields(vec![
        ("key", Out::bytes(drive.key().0)),
        ("discoveryKey", Out::bytes(drive.discovery_key().0)),
        ("id", Out::Text(drive.key().to_string())),
        ("core", Out::held(drive.core().clone())),
        ("handle", Out::held(drive)),
    ])
}

fn open<'js>(ctx: Ctx<'js>, store: u32, options: Options<'js>) -> Result<Value<'js>> {
    let store: Corestore = held(&ctx, store)?;
    let wanted = DriveOptions {
        key: options.key("key")?,
        encryption_key: options.array("encryptionKey")?,
        cache: None,
    };
    let active = options.flag("active")?;
    promise(&ctx, async move {
        let drive = Hyperdrive::open(store, wanted).await?;
        if let Some(active) = active {
            drive.set_active(active).await?;
        }
        Ok(described(drive))
    })
}

/// A drive whose database is a core that is open already.
fn over<'js>(ctx: Ctx<'js>, store: u32, id: u32, options: Options<'js>) -> Result<Value<'js>> {
    let store: Corestore = held(&ctx, store)?;
    let core = core(&ctx, id)?;
    let encryption_key = options.array("encryptionKey")?;
    promise(&ctx, async move {
        Ok(described(
            Hyperdrive::from_core(store, core, encryption_key).await?,
        ))
    })
}

/// The key of the drive that a store makes where none is given.
fn drive_key(ctx: Ctx<'_>, store: u32) -> Result<Value<'_>> {
    let store: Corestore = held(&ctx, store)?;
    promise(&ctx, async move {
        Ok(Out::bytes(Hyperdrive::drive_key(&store).await?.0))
    })
}

fn facts(ctx: Ctx<'_>, id: u32) -> Result<Out> {
    let drive = drive(&ctx, id)?;
    Ok(Out::Fields(vec![
        ("writable", Out::Bool(drive.writable())),
        (
            "contentKey",
            Out::or_null(drive.content_key(), |key| Out::bytes(key.0)),
        ),
    ]))
}

fn version(ctx: Ctx<'_>, id: u32) -> Result<Out> {
    steady(&ctx, id, 0, || Ok([drive(&ctx, id)?.version()]))
}

/// The core of the contents, as soon as it is known.
fn content(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let drive = drive(&ctx, id)?;
    promise(&ctx, async move {
        let blobs = drive.blobs().await?;
        Ok(super::hypercore::described(blobs.core().clone()))
    })
}

/// The database, as a bee.
fn db(ctx: Ctx<'_>, id: u32) -> Result<u32> {
    Ok(hold(Box::new(drive(&ctx, id)?.db().clone())))
}

fn view(ctx: Ctx<'_>, id: u32, version: Count) -> Result<u32> {
    let drive = drive(&ctx, id)?;
    let then = drive.checkout(version.0).map_err(Failure::from);
    Ok(hold(Box::new(now(&ctx, then)?)))
}

/// Work on a drive that answers with nothing.
macro_rules! on_drive {
    ($ctx:expr, $id:expr, |$drive:ident| $work:expr) => {{
        let $drive = drive($ctx, $id)?;
        promise($ctx, async move { Ok($work) })
    }};
}

fn close(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    on_drive!(&ctx, id, |drive| {
        drive.close().await?;
        Out::Undefined
    })
}

fn update(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    on_drive!(&ctx, id, |drive| Out::Bool(drive.update().await?))
}

fn getting(options: &Options<'_>) -> Result<GetOptions> {
    Ok(GetOptions {
        follow: options.flag("follow")?.unwrap_or(false),
        no_wait: !options.flag("wait")?.unwrap_or(true),
        timeout: options.millis("timeout")?,
    })
}

fn value_out(value: EntryValue) -> Out {
    let metadata = value.metadata.map(|metadata| metadata.to_string());
    Out::Fields(vec![
        ("executable", Out::Bool(value.executable)),
        ("linkname", Out::or_null(value.linkname, Out::Text)),
        ("blob", Out::or_null(value.blob, blob_out)),
        ("metadata", Out::or_null(metadata, Out::Json)),
    ])
}

fn entry_out(entry: Entry) -> Out {
    Out::Fields(vec![
        ("seq", Out::count(entry.seq)),
        ("key", Out::Text(entry.path)),
        ("value", value_out(entry.value)),
    ])
}

fn entry<'js>(ctx: Ctx<'js>, id: u32, path: String, options: Options<'js>) -> Result<Value<'js>> {
    let waiting = getting(&options)?;
    on_drive!(&ctx, id, |drive| {
        drive.update().await?;
        Out::or_null(drive.entry_with(&path, &waiting).await?, entry_out)
    })
}

fn get<'js>(ctx: Ctx<'js>, id: u32, path: String, options: Options<'js>) -> Result<Value<'js>> {
    let waiting = getting(&options)?;
    on_drive!(&ctx, id, |drive| {
        drive.update().await?;
        Out::or_null(drive.get_with(&path, &waiting).await?, Out::Bytes)
    })
}

fn exists(ctx: Ctx<'_>, id: u32, path: String) -> Result<Value<'_>> {
    on_drive!(&ctx, id, |drive| {
        drive.update().await?;
        Out::Bool(drive.exists(&path).await?)
    })
}

fn has(ctx: Ctx<'_>, id: u32, path: String) -> Result<Value<'_>> {
    on_drive!(&ctx, id, |drive| Out::Bool(drive.has(&path).await?))
}

pub(super) fn putting<'js>(ctx: &Ctx<'js>, options: &Options<'js>) -> Result<PutOptions> {
    let metadata = match options.text("metadata")? {
        Some(text) => Some(
            serde_json::from_str(&text).map_err(|_| bad(ctx, "the metadata must be plain data"))?,
        ),
        None => None,
    };
    Ok(PutOptions {
        executable: options.flag("executable")?.unwrap_or(false),
        metadata,
        durability: Durability::Buffered,
    })
}

fn put<'js>(
    ctx: Ctx<'js>,
    id: u32,
    path: String,
    content: Octets,
    options: Options<'js>,
) -> Result<Value<'js>> {
    let how = putting(&ctx, &options)?;
    on_drive!(&ctx, id, |drive| {
        drive.put(&path, content.0, how).await?;
        Out::Undefined
    })
}

fn entry_of<'js>(ctx: &Ctx<'js>, options: &Options<'js>) -> Result<EntryValue> {
    let how = putting(ctx, options)?;
    let blob = match options.options("blob")? {
        Some(blob) => Some(blob_of(&blob)?),
        None => None,
    };
    Ok(EntryValue {
        executable: how.executable,
        linkname: options.text("linkname")?,
        blob,
        metadata: how.metadata,
    })
}

fn put_entry<'js>(
    ctx: Ctx<'js>,
    id: u32,
    path: String,
    options: Options<'js>,
) -> Result<Value<'js>> {
    let value = entry_of(&ctx, &options)?;
    on_drive!(&ctx, id, |drive| {
        drive.put_entry(&path, value, Durability::Buffered).await?;
        Out::Undefined
    })
}

fn del(ctx: Ctx<'_>, id: u32, path: String) -> Result<Value<'_>> {
    on_drive!(&ctx, id, |drive| {
        drive.del(&path).await?;
        Out::Undefined
    })
}

fn symlink<'js>(
    ctx: Ctx<'js>,
    id: u32,
    path: String,
    target: String,
    options: Options<'js>,
) -> Result<Value<'js>> {
    let metadata = putting(&ctx, &options)?.metadata;
    on_drive!(&ctx, id, |drive| {
        drive.symlink(&path, &target, metadata).await?;
        Out::Undefined
    })
}

fn clear(ctx: Ctx<'_>, id: u32, path: String) -> Result<Value<'_>> {
    on_drive!(&ctx, id, |drive| Out::count(drive.clear(&path).await?))
}

fn clear_all(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    on_drive!(&ctx, id, |drive| Out::count(drive.clear_all().await?))
}

fn truncate(ctx: Ctx<'_>, id: u32, version: Count) -> Result<Value<'_>> {
    on_drive!(&ctx, id, |drive| {
        drive.truncate(version.0).await?;
        Out::Undefined
    })
}

fn blobs_length(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    on_drive!(&ctx, id, |drive| Out::count(drive.blobs_length().await?))
}

fn purge(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    on_drive!(&ctx, id, |drive| {
        drive.purge().await?;
        Out::Undefined
    })
}

pub(super) fn ignored<'js>(ctx: &Ctx<'js>, options: &Options<'js>) -> Result<Ignore> {
    match options.list::<String>("ignore")? {
        Some(paths) => now(ctx, Ignore::paths(paths).map_err(Failure::from)),
        None => Ok(Ignore::none()),
    }
}

fn listing<'js>(ctx: &Ctx<'js>, options: &Options<'js>) -> Result<ListOptions> {
    Ok(ListOptions {
        recursive: options.flag("recursive")?.unwrap_or(true),
        ignore: ignored(ctx, options)?,
    })
}

pub(super) fn pulled<T: 'static>(
    stream: impl futures_util::Stream<Item = std::result::Result<T, Error>> + Send + 'static,
    out: impl Fn(T) -> Out + Send + 'static,
) -> u32 {
    let out = stream.map(move |one| one.map(&out).map_err(Failure::from));
    hold(Box::new(Pull::new(out)))
}

fn list<'js>(ctx: Ctx<'js>, id: u32, folder: String, options: Options<'js>) -> Result<u32> {
    let drive = drive(&ctx, id)?;
    let entries = drive.list(&folder, listing(&ctx, &options)?);
    let updated = futures_util::stream::once(async move {
        drive.update().await?;
        Ok::<_, Error>(entries)
    });
    Ok(pulled(updated.try_flatten(), entry_out))
}

fn readdir(ctx: Ctx<'_>, id: u32, folder: String) -> Result<u32> {
    let drive = drive(&ctx, id)?;
    let names = drive.readdir(&folder);
    let updated = futures_util::stream::once(async move {
        drive.update().await?;
        Ok::<_, Error>(names)
    });
    Ok(pulled(updated.try_flatten(), Out::Text))
}

fn difference_out(difference: Difference) -> Out {
    Out::Fields(vec![
        ("left", Out::or_null(difference.left, entry_out)),
        ("right", Out::or_null(difference.right, entry_out)),
    ])
}

fn diff(ctx: Ctx<'_>, id: u32, version: Count, folder: String) -> Result<u32> {
    let differences = drive(&ctx, id)?.diff(version.0, &folder);
    Ok(pulled(differences, difference_out))
}

fn read<'js>(ctx: Ctx<'js>, id: u32, path: String, options: Options<'js>) -> Result<u32> {
    let drive = drive(&ctx, id)?;
    let range = reading(&options)?;
    let pieces = futures_util::stream::once(async move {
        drive.update().await?;
        Ok::<_, Error>(drive.read_stream(&path, range))
    });
    Ok(pulled(pieces.try_flatten(), Out::Bytes))
}

fn write<'js>(ctx: Ctx<'js>, id: u32, path: String, options: Options<'js>) -> Result<Value<'js>> {
    let how = putting(&ctx, &options)?;
    let dedup = options.flag("dedup")?.unwrap_or(false);
    on_drive!(&ctx, id, |drive| written(Writer::Drive(Box::new(
        match dedup {
            true => drive.dedup_stream(&path, how).await?,
            false => drive.write_stream(&path, how).await?,
        }
    ))))
}

fn fetching(download: DriveDownload) -> Out {
    let fetching: Fetching = Arc::new(Mutex::new(download));
    Out::held(fetching)
}

fn download<'js>(
    ctx: Ctx<'js>,
    id: u32,
    folder: String,
    options: Options<'js>,
) -> Result<Value<'js>> {
    let listing = listing(&ctx, &options)?;
    on_drive!(&ctx, id, |drive| {
        drive.update().await?;
        fetching(drive.download(&folder, listing).await?)
    })
}

fn download_diff(ctx: Ctx<'_>, id: u32, version: Count, folder: String) -> Result<Value<'_>> {
    on_drive!(&ctx, id, |drive| fetching(
        drive.download_diff(version.0, &folder).await?
    ))
}

fn ranges(options: &Options<'_>, name: &str) -> Result<Vec<std::ops::Range<u64>>> {
    let mut ranges = Vec::new();
    for range in options.list::<Options<'_>>(name)?.unwrap_or_default() {
        let start = range.count("start")?.unwrap_or(0);
        let end = range.count("end")?;
        let length = range.count("length")?;
        let end = end.or(length.map(|length| start.saturating_add(length)));
        ranges.push(start..end.unwrap_or(start));
    }
    Ok(ranges)
}

fn download_range<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<Value<'js>> {
    let database = ranges(&options, "db")?;
    let contents = ranges(&options, "blobs")?;
    on_drive!(&ctx, id, |drive| fetching(
        drive.download_range(database, contents).await?
    ))
}

fn downloaded(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let fetching: Fetching = held(&ctx, id)?;
    promise(&ctx, async move {
        fetching.lock().await.done().await?;
        Ok(Out::Undefined)
    })
}

fn watch(ctx: Ctx<'_>, id: u32, folder: String) -> Result<u32> {
    let drive = drive(&ctx, id)?;
    let changes = drive.watch(&folder).map(|changed| match changed {
        Ok(changed) => Ok((changed.current, changed.previous)),
        Err(error) => Err(Failure::from(error)),
    });
    watching::watch(&ctx, drive, changes, move |(now, told)| {
        has_any(now.diff(told.version(), &folder))
    })
}

fn batch(ctx: Ctx<'_>, id: u32) -> Result<u32> {
    let batch = drive(&ctx, id)?.batch().map_err(Failure::from);
    let open: Open = Arc::new(Mutex::new(Some(now(&ctx, batch)?)));
    Ok(hold(Box::new(open)))
}

fn closed() -> Failure {
    coded("SESSION_CLOSED", "the batch was flushed or closed")
}

/// Work on an open batch.
macro_rules! on_batch {
    ($ctx:expr, $id:expr, |$batch:ident| $work:expr) => {{
        let open: Open = held($ctx, $id)?;
        promise($ctx, async move {
            let mut open = open.lock().await;
            let $batch = open.as_mut().ok_or_else(closed)?;
            Ok($work)
        })
    }};
}

fn batch_put<'js>(
    ctx: Ctx<'js>,
    id: u32,
    path: String,
    content: Octets,
    options: Options<'js>,
) -> Result<Value<'js>> {
    let how = putting(&ctx, &options)?;
    on_batch!(&ctx, id, |batch| {
        batch.put(&path, content.0, how)?;
        Out::Undefined
    })
}

fn batch_put_entry<'js>(
    ctx: Ctx<'js>,
    id: u32,
    path: String,
    options: Options<'js>,
) -> Result<Value<'js>> {
    let value = entry_of(&ctx, &options)?;
    on_batch!(&ctx, id, |batch| {
        batch.put_entry(&path, value)?;
        Out::Undefined
    })
}

fn batch_del(ctx: Ctx<'_>, id: u32, path: String) -> Result<Value<'_>> {
    on_batch!(&ctx, id, |batch| {
        batch.del(&path)?;
        Out::Undefined
    })
}

fn batch_entry(ctx: Ctx<'_>, id: u32, path: String) -> Result<Value<'_>> {
    on_batch!(&ctx, id, |batch| Out::or_null(
        batch.entry(&path).await?,
        entry_out
    ))
}

fn batch_get(ctx: Ctx<'_>, id: u32, path: String) -> Result<Value<'_>> {
    on_batch!(&ctx, id, |batch| Out::or_null(
        batch.get(&path).await?,
        Out::Bytes
    ))
}

fn batch_flush(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let open: Open = held(&ctx, id)?;
    promise(&ctx, async move {
        let batch = open.lock().await.take().ok_or_else(closed)?;
        batch.flush(Durability::Buffered).await?;
        Ok(Out::Undefined)
    })
}

fn batch_close(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let open: Open = held(&ctx, id)?;
    promise(&ctx, async move {
        drop(open.lock().await.take());
        Ok(Out::Undefined)
    })
}
