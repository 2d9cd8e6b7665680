//! `pome drive import`, `export` and `mirror`.

use super::{
    args::MirrorOptions as Asked,
    drive::{finish, open, split},
    failure::Failure,
    io::Io,
    peers::Peers,
    service::Service,
};
use futures_util::StreamExt;
use pome_drive_fs::{
    Error, Hyperdrive, Ignore, ListOptions, LocalOptions, Localdrive, MirrorCount, MirrorOptions,
    MirrorSide, Mirrordrive,
};
use serde_json::json;
use std::{io::ErrorKind, pin::pin};

pub(crate) async fn import(
    service: &Service,
    at: &[String],
    asked: &Asked,
    io: &mut Io,
) -> Result<(), Failure> {
    let (target, rest) = split(at, 1);
    let folder = local(rest.first().map_or("", String::as_str), false, io)?;
    let (_, drive, peers) = open(service, target, io).await?;
    run(service, folder.into(), drive.into(), (asked, &[peers]), io).await
}

pub(crate) async fn export(
    service: &Service,
    at: &[String],
    asked: &Asked,
    io: &mut Io,
) -> Result<(), Failure> {
    let (target, rest) = split(at, 1);
    let (_, drive, peers) = open(service, target, io).await?;
    let folder = rest.first().map_or("", String::as_str);
    let folder = local(folder, !asked.dry_run, io)?;
    run(service, drive.into(), folder.into(), (asked, &[peers]), io).await
}

pub(crate) async fn between(
    service: &Service,
    a: &str,
    b: &str,
    asked: &Asked,
    io: &mut Io,
) -> Result<(), Failure> {
    let (a, a_peers) = side(service, a, false, io).await?;
    let (b, b_peers) = side(service, b, !asked.dry_run, io).await?;
    let peers: Vec<Peers> = a_peers.into_iter().chain(b_peers).collect();
    run(service, a, b, (asked, &peers), io).await
}

/// A word with a `/` in it is a folder (a link to a key has one too), else a drive.
async fn side(
    service: &Service,
    word: &str,
    create: bool,
    io: &Io,
) -> Result<(MirrorSide, Option<Peers>), Failure> {
    if word.contains('/') && !word.contains("://") {
        return Ok((local(word, create, io)?.into(), None));
    }
    let (_, drive, peers) = open(service, Some(word), io).await?;
    Ok((drive.into(), Some(peers)))
}

fn local(folder: &str, create: bool, io: &Io) -> Result<Localdrive, Failure> {
    if folder.is_empty() {
        // The caller's own folder, as a path goes: nobody who means that writes nothing.
        return Err(Failure::usage("an empty word names no folder"));
    }
    let options = LocalOptions {
        create,
        ..LocalOptions::default()
    };
    Localdrive::open(io.path(folder), options).map_err(|error| match &error {
        Error::Io { path, source } if source.kind() == ErrorKind::NotFound => {
            Failure::io(&path.display().to_string(), source)
        }
        _ => error.into(),
    })
}

/// How many files the source has, for the progress bar.
async fn count_files(source: &MirrorSide, ignore: &Ignore) -> Result<u64, Failure> {
    let count = match source {
        MirrorSide::Local(local) => local.list("/", ignore.clone()).count().await,
        MirrorSide::Hyper(drive) => {
            let options = ListOptions {
                ignore: ignore.clone(),
                ..ListOptions::default()
            };
            drive.list("/", options).count().await
        }
    };
    Ok(count as u64)
}

async fn run(
    service: &Service,
    from: MirrorSide,
    to: MirrorSide,
    (asked, peers): (&Asked, &[Peers]),
    io: &mut Io,
) -> Result<(), Failure> {
    // What is only on this machine may take its time; what comes from peers is waited for as long as some of it comes.
    let peers = peers.iter().find(|peers| !peers.is_empty());
    let ignore = if asked.ignore.is_empty() {
        Ignore::none()
    } else {
        Ignore::globs(&asked.ignore)?
    };
    let total = if io.progress_wanted() {
        count_files(&from, &ignore).await?
    } else {
        0
    };
    let written: Option<Hyperdrive> = match &to {
        MirrorSide::Hyper(drive) => Some(drive.clone()),
        MirrorSide::Local(_) => None,
    };
    let options = MirrorOptions {
        prune: asked.prune,
        dry_run: asked.dry_run,
        include_equals: true,
        ignore,
        ..MirrorOptions::default()
    };
    let mirror = Mirrordrive::new(from, to, options);
    let mut count = MirrorCount::default();
    let mut events = pin!(mirror.events());
    while let Some(event) = match peers {
        Some(peers) => peers.next(&mut events).await?,
        None => events.next().await.transpose()?,
    } {
        count.add(&event);
        io.progress(count.files, total.max(count.files), "files");
        let op = event.op.as_str();
        match (op, event.why) {
            ("equal", _) => {}
            ("skip", why) => {
                let why = why.map_or("", |why| why.as_str());
                let value = json!({ "op": op, "key": event.path, "why": why });
                io.result(value, format!("skipped {}: {why}", event.path))
                    .await?;
            }
            _ => {
                let value = json!({
                    "op": op,
                    "key": event.path,
                    "bytesAdded": event.bytes_added,
                    "bytesRemoved": event.bytes_removed,
                });
                io.result(value, format!("{op} {}", event.path)).await?;
            }
        }
    }
    let version = written.as_ref().map(Hyperdrive::version);
    match written {
        Some(drive) if !asked.dry_run => finish(service, &drive).await?,
        Some(_) | None => {}
    }
    let value = json!({
        "count": {
            "files": count.files,
            "add": count.add,
            "change": count.change,
            "remove": count.remove,
            "skip": count.skip,
        },
        "bytesAdded": count.bytes_added,
        "bytesRemoved": count.bytes_removed,
        "version": version,
    });
    let text = format!(
        "{} files: {} added, {} changed, {} removed, {} skipped; {} bytes came, {} went",
        count.files,
        count.add,
        count.change,
        count.remove,
        count.skip,
        count.bytes_added,
        count.bytes_removed,
    );
    io.result(value, text).await
}
