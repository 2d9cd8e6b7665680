//! Blobs in a core, and files that are written piece by piece.

use super::{
    args::{Octets, Options},
    bridge::{Failure, Out, coded, held, hold, promise, take},
    drive::pulled,
    hypercore::core,
};
use pome_drive_fs::{BlobId, BlobWriter, Blobs, LocalWriter, ReadOptions, WriteStream};
use rquickjs::{Ctx, Object, Result, Value};
use std::sync::Arc;
use tokio::sync::Mutex;

/// A file that is being written; `None` once it was finished or given up.
type Writing = Arc<Mutex<Option<Writer>>>;

/// What writes it.
pub(super) enum Writer {
    Drive(Box<WriteStream>),
    Local(LocalWriter),
    Blob(BlobWriter),
}

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    super::functions!(ctx, native, {
        "writerWrite" => writer_write,
        "writerFinish" => writer_finish,
        "writerAbort" => writer_abort,
        "blobsOpen" => blobs_open,
        "blobsPut" => blobs_put,
        "blobsRead" => blobs_read,
        "blobsClear" => blobs_clear,
        "blobsLength" => blob_length,
        "blobsWrite" => blobs_write,
    });
    Ok(())
}

pub(super) fn written(writer: Writer) -> Out {
    let writing: Writing = Arc::new(Mutex::new(Some(writer)));
    Out::held(writing)
}

fn closed() -> Failure {
    coded("SESSION_CLOSED", "the file was finished or given up")
}

pub(super) fn blob_out(blob: BlobId) -> Out {
    let mut fields = vec![
        ("byteOffset", Out::count(blob.byte_offset)),
        ("blockOffset", Out::count(blob.block_offset)),
        ("blockLength", Out::count(blob.block_length)),
        ("byteLength", Out::count(blob.byte_length)),
    ];
    if blob.block_map {
        fields.push(("blockMap", Out::Bool(true)));
    }
    Out::Fields(fields)
}

pub(super) fn blob_of(options: &Options<'_>) -> Result<BlobId> {
    Ok(BlobId {
        block_offset: options.count("blockOffset")?.unwrap_or(0),
        byte_offset: options.count("byteOffset")?.unwrap_or(0),
        block_length: options.count("blockLength")?.unwrap_or(0),
        byte_length: options.count("byteLength")?.unwrap_or(0),
        block_map: options.flag("blockMap")?.unwrap_or(false),
    })
}

pub(super) fn reading(options: &Options<'_>) -> Result<ReadOptions> {
    Ok(ReadOptions {
        start: options.count("start")?.unwrap_or(0),
        end: options
            .whole("end")?
            .and_then(|end| u64::try_from(end).ok()),
        length: options
            .whole("length")?
            .and_then(|length| u64::try_from(length).ok()),
    })
}

fn writer_write(ctx: Ctx<'_>, id: u32, pieces: Vec<Octets>) -> Result<Value<'_>> {
    let writing: Writing = held(&ctx, id)?;
    promise(&ctx, async move {
        let mut writing = writing.lock().await;
        let writer = writing.as_mut().ok_or_else(closed)?;
        for piece in pieces {
            match writer {
                Writer::Drive(writer) => writer.write(piece.0).await?,
                Writer::Local(writer) => writer.write(piece.0).await?,
                Writer::Blob(writer) => writer.write(piece.0).await?,
            }
        }
        Ok(Out::Undefined)
    })
}

/// Ends a file. Of a blob its id comes back.
fn writer_finish(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let writing: Writing = held(&ctx, id)?;
    promise(&ctx, async move {
        let writer = writing.lock().await.take().ok_or_else(closed)?;
        match writer {
            Writer::Drive(writer) => writer.finish().await?,
            Writer::Local(writer) => writer.finish().await?,
            Writer::Blob(writer) => return Ok(blob_out(writer.finish().await?)),
        }
        Ok(Out::Undefined)
    })
}

fn writer_abort(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let writing: Option<Writing> = take(id);
    promise(&ctx, async move {
        if let Some(writing) = writing {
            drop(writing.lock().await.take());
        }
        Ok(Out::Undefined)
    })
}

fn blobs(ctx: &Ctx<'_>, id: u32) -> Result<Blobs> {
    held(ctx, id)
}

fn blobs_open<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<u32> {
    let core = core(&ctx, id)?;
    let blobs = match options.count("blockSize")? {
        Some(size) => Blobs::with_block_size(core, usize::try_from(size).unwrap_or(usize::MAX)),
        None => Blobs::new(core),
    };
    Ok(hold(Box::new(blobs)))
}

fn blobs_put(ctx: Ctx<'_>, id: u32, content: Octets) -> Result<Value<'_>> {
    let blobs = blobs(&ctx, id)?;
    promise(
        &ctx,
        async move { Ok(blob_out(blobs.put(content.0).await?)) },
    )
}

fn blobs_read<'js>(
    ctx: Ctx<'js>,
    id: u32,
    blob: Options<'js>,
    options: Options<'js>,
) -> Result<u32> {
    let range = reading(&options)?;
    let length = match (range.length, range.end) {
        (Some(length), _) => length,
        (None, Some(end)) => end.saturating_add(1).saturating_sub(range.start),
        (None, None) => u64::MAX,
    };
    let pieces = blobs(&ctx, id)?.stream(blob_of(&blob)?, range.start, length);
    Ok(pulled(pieces, Out::Bytes))
}

fn blobs_clear<'js>(ctx: Ctx<'js>, id: u32, blob: Options<'js>) -> Result<Value<'js>> {
    let blobs = blobs(&ctx, id)?;
    let blob = blob_of(&blob)?;
    promise(
        &ctx,
        async move { Ok(Out::count(blobs.clear(&blob).await?)) },
    )
}

fn blob_length<'js>(ctx: Ctx<'js>, id: u32, blob: Options<'js>) -> Result<Value<'js>> {
    let blobs = blobs(&ctx, id)?;
    let blob = blob_of(&blob)?;
    promise(&ctx, async move { Ok(Out::count(blobs.len(&blob).await?)) })
}

fn blobs_write(ctx: Ctx<'_>, id: u32) -> Result<u32> {
    let writing: Writing = Arc::new(Mutex::new(Some(Writer::Blob(
        blobs(&ctx, id)?.block_writer(),
    ))));
    Ok(hold(Box::new(writing)))
}
