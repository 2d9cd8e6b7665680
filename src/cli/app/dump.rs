//! `pome dump`: the files of an app into a folder.

use super::{args::DumpArgs, args::Version, refuse_full, stage::difference, tell};
use crate::cli::{
    drive::{check_fork, missing, open},
    failure::Failure,
    io::{Io, value_json},
    peers::Peers,
    service::Service,
};
use pome_drive_fs::{
    Entry, Hyperdrive, ListOptions, LocalOptions, Localdrive, MirrorCount, MirrorOp, MirrorOptions,
    Mirrordrive,
};
use pome_runtime::PearLink;
use serde_json::json;
use std::pin::pin;

const CMD: &str = "dump";

pub(crate) async fn dump(service: &Service, args: DumpArgs, io: &mut Io) -> Result<(), Failure> {
    let link: PearLink = args.link.parse()?;
    let folder = (args.dir != "-").then(|| io.path(&args.dir));
    if let Some(folder) = folder.as_deref().filter(|_| !args.force && !args.list) {
        refuse_full(folder)?;
    }
    let (_, drive, peers) = open(service, Some(&link.key.to_string()), io).await?;
    let drive = at(&drive, &peers, &link, args.checkout).await?;
    let data = json!({ "link": args.link, "dir": args.dir });
    let heading = match args.list || folder.is_none() {
        true => String::new(),
        false => format!("dumping {} into {}", args.link, args.dir),
    };
    tell(io, (CMD, "dumping"), data, heading).await?;
    if args.dry_run {
        tell(
            io,
            (CMD, "dry"),
            json!({}),
            "nothing is written: this is a dry run",
        )
        .await?;
    }
    let path = link.path.trim_end_matches('/').to_owned();
    let only: Vec<String> = args
        .only
        .iter()
        .map(|one| format!("/{}", one.trim().trim_matches('/')))
        .collect();
    let is_file = !path.is_empty() && peers.within(drive.entry(&path)).await?.is_some();
    let below = |entry: &str, of: &str| {
        let rest = entry.strip_prefix(of.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let wanted = |entry: &str| {
        below(entry, &path) && (only.is_empty() || only.iter().any(|one| below(entry, one)))
    };
    let Some(folder) = folder.filter(|_| !args.list) else {
        return print(&drive, &peers, wanted, args.list, io).await;
    };
    let options = MirrorOptions {
        dry_run: args.dry_run,
        prune: !args.no_prune && !is_file,
        entries: is_file.then(|| vec![path.clone()]),
        prefixes: match (only.is_empty(), path.is_empty()) {
            (true, true) => vec!["/".into()],
            (true, false) => vec![path.clone()],
            (false, _) => {
                let narrower = |one: &String| match below(one, &path) {
                    true => Some(one.clone()),
                    false => below(&path, one).then(|| path.clone()),
                };
                only.iter().filter_map(narrower).collect()
            }
        },
        ..MirrorOptions::default()
    };
    let target = LocalOptions {
        create: !args.dry_run,
        ..LocalOptions::default()
    };
    let mirror = Mirrordrive::new(drive, Localdrive::open(folder, target)?, options);
    let mut count = MirrorCount::default();
    let mut events = pin!(mirror.events());
    while let Some(event) = peers.next(&mut events).await? {
        count.add(&event);
        if !matches!(event.op, MirrorOp::Equal | MirrorOp::Skip) {
            let sizes = (event.bytes_added, event.bytes_removed);
            difference((CMD, event.op), &event.path, sizes, io).await?;
        }
    }
    let data = json!({ "files": count.files, "add": count.add, "change": count.change, "remove": count.remove });
    let text = format!(
        "{} added, {} changed, {} removed",
        count.add, count.change, count.remove
    );
    tell(io, (CMD, "complete"), data, text).await
}

/// The drive at the version that is wanted.
async fn at(
    drive: &Hyperdrive,
    peers: &Peers,
    link: &PearLink,
    wanted: Option<Version>,
) -> Result<Hyperdrive, Failure> {
    let length = match (wanted, link.length) {
        (Some(Version::Length(length)), _) => length,
        (None, Some(length)) => {
            check_fork(drive, link.fork)?;
            length
        }
        (Some(Version::Staged), _) => drive.version(),
        (Some(Version::Release) | None, _) => {
            let entry = peers.within(drive.db().get(b"release")).await?;
            let text = entry.and_then(|entry| entry.value).unwrap_or_default();
            let release = serde_json::from_slice(&text).unwrap_or(drive.version());
            release.min(drive.version())
        }
    };
    Ok(drive.checkout(length)?)
}

/// The files to stdout, or their names.
async fn print(
    drive: &Hyperdrive,
    peers: &Peers,
    wanted: impl Fn(&str) -> bool,
    names: bool,
    io: &Io,
) -> Result<(), Failure> {
    let mut entries = pin!(drive.list("/", ListOptions::default()));
    let mut found = false;
    while let Some(Entry { path, .. }) = peers.next(&mut entries).await? {
        if !wanted(&path) {
            continue;
        }
        found = true;
        if names {
            tell(io, (CMD, "file"), json!({ "key": path }), &path).await?;
            continue;
        }
        let value = peers.within(drive.get(&path)).await?.unwrap_or_default();
        if io.json() {
            let data = json!({ "key": path, "value": value_json(&value) });
            tell(io, (CMD, "file"), data, "").await?;
        } else {
            io.raw(value).await?;
        }
    }
    match found {
        true => Ok(()),
        false => Err(missing("/")),
    }
}
