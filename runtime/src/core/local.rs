//! Folders on disk as drives, and mirrors between drives and folders.

use super::{
    args::{Octets, Options, bad},
    blobs::{Writer, reading, written},
    bridge::{Failure, Out, held, hold, now, promise},
    drive::{drive, ignored, pulled, putting},
};
use crate::{engine::error::os_error, permissions};
use pome_drive_fs::{
    LocalEntry, LocalOptions, Localdrive, MirrorEvent, MirrorOptions, MirrorSide, Mirrordrive,
};
use rquickjs::{Ctx, Object, Result, Value};
use std::path::Path;

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    super::functions!(ctx, native, {
        "localOpen" => local_open,
        "localPath" => local_path,
        "localEntry" => local_entry,
        "localGet" => local_get,
        "localPut" => local_put,
        "localDel" => local_del,
        "localSymlink" => local_symlink,
        "localList" => local_list,
        "localReaddir" => local_readdir,
        "localRead" => local_read,
        "localWrite" => local_write,
        "mirror" => mirror,
    });
    Ok(())
}

fn local(ctx: &Ctx<'_>, id: u32) -> Result<Localdrive> {
    held(ctx, id)
}

fn local_open<'js>(ctx: Ctx<'js>, root: String, options: Options<'js>) -> Result<u32> {
    let place = now(&ctx, permissions::file(&ctx, &root))?;
    let follow_links = options.flag("followLinks")?.unwrap_or(false);
    if follow_links {
        now(&ctx, permissions::link(&ctx, &root))?;
    }
    let options = LocalOptions {
        atomic: options.flag("atomic")?.unwrap_or(false),
        follow_links,
        create: true,
        // A mirror asks nobody.
        no_links: place.is_fenced(),
    };
    let opened = match place.folder(true) {
        // The folder that was allowed, wherever its path leads by now.
        Some(Ok(folder)) => Ok(Localdrive::open_in(folder.open, folder.path, &options)),
        Some(Err(errno)) => {
            let error = std::io::Error::from(errno);
            return Err(os_error(&ctx, &error, "open", Some(Path::new(&root))));
        }
        None => Localdrive::open(root, options),
    };
    Ok(hold(Box::new(now(&ctx, opened.map_err(Failure::from))?)))
}

fn local_path(ctx: Ctx<'_>, id: u32, path: String) -> Result<String> {
    let path = local(&ctx, id)?.to_path(&path).map_err(Failure::from);
    Ok(now(&ctx, path)?.to_string_lossy().into_owned())
}

/// As npm's localdrive has it: the numbers of blocks are those of the disk.
fn local_out(drive: &Localdrive, entry: LocalEntry) -> Out {
    const BLOCK: u64 = 512;
    let mtime = entry.posix.mtime.map(|at| {
        let millis = at.seconds * 1_000 + i64::from(at.nanoseconds / 1_000_000);
        Out::count(u64::try_from(millis).unwrap_or(0))
    });
    let linkname = drive.linkname(&entry);
    let blob = linkname.is_none().then(|| {
        Out::Fields(vec![
            ("byteOffset", Out::count(0)),
            ("blockOffset", Out::count(0)),
            ("blockLength", Out::count(entry.byte_length.div_ceil(BLOCK))),
            ("byteLength", Out::count(entry.byte_length)),
        ])
    });
    Out::Fields(vec![
        ("key", Out::Text(entry.path)),
        (
            "value",
            Out::Fields(vec![
                ("executable", Out::Bool(entry.executable)),
                ("linkname", Out::or_null(linkname, Out::Text)),
                ("blob", blob.unwrap_or(Out::Null)),
                ("metadata", Out::Null),
            ]),
        ),
        ("mtime", mtime.unwrap_or(Out::Null)),
    ])
}

fn local_entry<'js>(
    ctx: Ctx<'js>,
    id: u32,
    path: String,
    options: Options<'js>,
) -> Result<Value<'js>> {
    let drive = local(&ctx, id)?;
    let follow = options.flag("follow")?.unwrap_or(false);
    promise(&ctx, async move {
        let entry = match follow {
            true => drive.entry_following(&path).await?,
            false => drive.entry(&path).await?,
        };
        Ok(Out::or_null(entry, |entry| local_out(&drive, entry)))
    })
}

fn local_get(ctx: Ctx<'_>, id: u32, path: String) -> Result<Value<'_>> {
    let drive = local(&ctx, id)?;
    promise(&ctx, async move {
        Ok(Out::or_null(drive.get(&path).await?, Out::Bytes))
    })
}

fn local_put<'js>(
    ctx: Ctx<'js>,
    id: u32,
    path: String,
    content: Octets,
    options: Options<'js>,
) -> Result<Value<'js>> {
    let drive = local(&ctx, id)?;
    let how = putting(&ctx, &options)?;
    promise(&ctx, async move {
        drive.put(&path, content.0, how).await?;
        Ok(Out::Undefined)
    })
}

fn local_del(ctx: Ctx<'_>, id: u32, path: String) -> Result<Value<'_>> {
    let drive = local(&ctx, id)?;
    promise(&ctx, async move {
        drive.del(&path).await?;
        Ok(Out::Undefined)
    })
}

fn local_symlink(ctx: Ctx<'_>, id: u32, path: String, target: String) -> Result<Value<'_>> {
    let drive = local(&ctx, id)?;
    now(&ctx, permissions::link(&ctx, &path))?;
    promise(&ctx, async move {
        drive.symlink(&path, &target).await?;
        Ok(Out::Undefined)
    })
}

fn local_list<'js>(ctx: Ctx<'js>, id: u32, folder: String, options: Options<'js>) -> Result<u32> {
    let drive = local(&ctx, id)?;
    let entries = drive.list(&folder, ignored(&ctx, &options)?);
    Ok(pulled(entries, move |entry| local_out(&drive, entry)))
}

fn local_readdir(ctx: Ctx<'_>, id: u32, folder: String) -> Result<Value<'_>> {
    let drive = local(&ctx, id)?;
    promise(&ctx, async move {
        let names = drive.readdir(&folder).await?;
        Ok(Out::List(names.into_iter().map(Out::Text).collect()))
    })
}

fn local_read<'js>(ctx: Ctx<'js>, id: u32, path: String, options: Options<'js>) -> Result<u32> {
    let pieces = local(&ctx, id)?.read_stream(&path, reading(&options)?);
    Ok(pulled(pieces, Out::Bytes))
}

fn local_write<'js>(
    ctx: Ctx<'js>,
    id: u32,
    path: String,
    options: Options<'js>,
) -> Result<Value<'js>> {
    let drive = local(&ctx, id)?;
    let how = putting(&ctx, &options)?;
    promise(&ctx, async move {
        Ok(written(Writer::Local(
            drive.write_stream(&path, how).await?,
        )))
    })
}

fn side<'js>(ctx: &Ctx<'js>, options: &Options<'js>, name: &str) -> Result<MirrorSide> {
    let Some(side) = options.options(name)? else {
        return Err(bad(ctx, "a mirror needs a Hyperdrive or a Localdrive"));
    };
    let id = u32::try_from(side.count("handle")?.unwrap_or(0)).unwrap_or(0);
    match side.flag("local")?.unwrap_or(false) {
        true => Ok(local(ctx, id)?.into()),
        false => Ok(drive(ctx, id)?.into()),
    }
}

fn mirrored(event: MirrorEvent) -> Out {
    Out::Fields(vec![
        ("op", Out::Text(event.op.as_str().to_owned())),
        ("key", Out::Text(event.path)),
        ("bytesAdded", Out::count(event.bytes_added)),
        ("bytesRemoved", Out::count(event.bytes_removed)),
    ])
}

/// What has to be done, one after the other, and is.
fn mirror<'js>(ctx: Ctx<'js>, options: Options<'js>) -> Result<u32> {
    let source = side(&ctx, &options, "source")?;
    let target = side(&ctx, &options, "target")?;
    let mut how = MirrorOptions {
        prune: options.flag("prune")?.unwrap_or(true),
        dry_run: options.flag("dryRun")?.unwrap_or(false),
        include_equals: true,
        ignore: ignored(&ctx, &options)?,
        dedup: options.flag("dedup")?.unwrap_or(false),
        entries: options.list("entries")?,
        posix: false,
        ..MirrorOptions::default()
    };
    if let Some(prefixes) = options.list("prefixes")? {
        how.prefixes = prefixes;
    }
    let events = Mirrordrive::new(source, target, how).events();
    Ok(pulled(events, mirrored))
}
