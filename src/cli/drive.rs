//! `pome drive …`, except the copying between drives and folders, which is in `mirror`.

use super::{
    args::{DriveCommand, DrivePath},
    failure::Failure,
    io::{Io, value_json},
    mirror,
    peers::Peers,
    pin::{self, Want},
    service::Service,
    space,
};
use pome_bee::HistoryOptions;
use pome_cores::{Hypercore, replication::Download};
use pome_drive_fs::{
    BlobId, Entry, EntryValue, Hyperdrive, ListOptions, PutOptions, path::normalize,
};
use pome_runtime::PearLink;
use serde_json::{Value, json};
use std::pin::pin;

pub(crate) async fn execute(
    service: &Service,
    command: DriveCommand,
    io: &mut Io,
) -> Result<(), Failure> {
    match command {
        DriveCommand::Create { name } => {
            let drive = service.make_drive(&name).await?;
            service.sync().await?;
            let value = json!({
                "name": name,
                "key": drive.key().to_string(),
                "discoveryKey": drive.discovery_key().to_string(),
            });
            io.result(value, drive.key()).await
        }
        DriveCommand::Ls { at, shallow } => {
            let (drive, peers, folder) = place(service, &at, "/", io).await?;
            let mut entries = pin!(drive.list(
                &folder,
                ListOptions {
                    recursive: !shallow,
                    ..ListOptions::default()
                }
            ));
            while let Some(entry) = peers.next(&mut entries).await? {
                io.result(entry_json(&entry), &entry.path).await?;
            }
            Ok(())
        }
        DriveCommand::Get(at) => get(service, &at, io).await,
        DriveCommand::Put { at, executable } => put(service, &at, executable, io).await,
        DriveCommand::Rm(at) => {
            let (drive, _peers, path) = place(service, &at.at, "", io).await?;
            let entry = drive.entry(&path).await?;
            let entry = entry.ok_or_else(|| missing(&path))?;
            drive.del(&path).await?;
            finish(service, &drive).await?;
            let value = json!({ "key": entry.path, "version": drive.version() });
            io.result(value, drive.version()).await
        }
        DriveCommand::Entry(at) => {
            let (drive, peers, path) = place(service, &at.at, "", io).await?;
            let entry = peers.within(drive.entry(&path)).await?;
            let entry = entry.ok_or_else(|| missing(&path))?;
            let value = entry_json(&entry);
            io.result(value.clone(), value).await
        }
        DriveCommand::Watch { drive } => watch(service, drive.as_deref(), io).await,
        DriveCommand::Import { at, options } => mirror::import(service, &at, &options, io).await,
        DriveCommand::Export { at, options } => mirror::export(service, &at, &options, io).await,
        DriveCommand::Mirror { a, b, options } => {
            mirror::between(service, &a, &b, &options, io).await
        }
        DriveCommand::Diff { at } => {
            let (target, versions) = split(&at, 2);
            let version = |text: &String| {
                // A drive is empty at version 1, and was nothing before.
                let version = text.parse::<u64>().map(|version| version.max(1));
                version.map_err(|_| {
                    Failure::usage(format!("{text:?} is no version: a number is wanted"))
                })
            };
            let [v1, v2] = versions else {
                return Err(Failure::usage("two versions are wanted"));
            };
            let (v1, v2) = (version(v1)?, version(v2)?);
            let (_, drive, peers) = open(service, target, io).await?;
            changes(&drive, &peers, v1, v2, io).await
        }
        DriveCommand::History { drive } => {
            let (_, drive, peers) = open(service, drive.as_deref(), io).await?;
            let mut changes = pin!(drive.history(HistoryOptions::default()));
            while let Some(change) = peers.next(&mut changes).await? {
                let kind = if change.entry.is_some() { "put" } else { "del" };
                let value = json!({
                    "type": kind,
                    "seq": change.seq,
                    "key": change.path,
                    "value": change.entry.as_ref().map(|entry| value_of(&entry.value)),
                });
                io.result(value, format!("{}\t{kind}\t{}", change.seq, change.path))
                    .await?;
            }
            Ok(())
        }
        DriveCommand::Versions { drive } => {
            let (_, drive, peers) = open(service, drive.as_deref(), io).await?;
            for version in peers.within(drive.whole_versions()).await? {
                io.result(json!({ "version": version }), version).await?;
            }
            Ok(())
        }
        DriveCommand::Set { drive, keep } => space::set(service, drive.as_deref(), &keep, io).await,
        DriveCommand::Gc { drive } => space::gc(service, drive.as_deref(), io).await,
        DriveCommand::Pin(at) => pin::contents(service, &at.at, Want::Pin, io).await,
        DriveCommand::Evict(at) => pin::contents(service, &at.at, Want::Evict, io).await,
        DriveCommand::Prefetch(at) => pin::contents(service, &at.at, Want::Prefetch, io).await,
        DriveCommand::Info { drive } => info(service, drive.as_deref(), io).await,
    }
}

/// A drive as a command sees it: with all that its mounts have written, and as new as the peers that were named have it; or, by a link to a version, as it was.
pub(crate) async fn open(
    service: &Service,
    target: Option<&str>,
    io: &Io,
) -> Result<(Option<String>, Hyperdrive, Peers), Failure> {
    let link: Option<PearLink> = match target.filter(|target| PearLink::is_link(target)) {
        Some(text) => Some(text.parse()?),
        None => None,
    };
    let key = link.as_ref().map(PearLink::origin);
    let (name, drive) = service
        .drive(key.as_deref().or(target), io.if_missing())
        .await?;
    service.mounts.publish(drive.key()).await?;
    let peers = Peers::of(service, io);
    peers.newest(drive.core()).await?;
    follow_contents(&drive, &peers).await?;
    let drive = match link.as_ref().and_then(|link| link.length) {
        None => drive,
        Some(length) => {
            check_fork(&drive, link.as_ref().and_then(|link| link.fork))?;
            drive.checkout(length)?
        }
    };
    Ok((name, drive, peers))
}

/// A link to a version means one history: in another one that length is something else.
pub(crate) fn check_fork(drive: &Hyperdrive, fork: Option<u64>) -> Result<(), Failure> {
    let now = drive.core().fork();
    match fork {
        Some(fork) if fork != now => Err(Failure::not_found(format!(
            "pear://{} is at fork {now}: what it was at fork {fork} is not to be had",
            drive.key()
        ))),
        _ => Ok(()),
    }
}

/// Has the contents of a drive exchanged too. An empty drive may not even say yet which core they are in.
pub(crate) async fn follow_contents(drive: &Hyperdrive, peers: &Peers) -> Result<(), Failure> {
    if !peers.is_empty() && (drive.writable() || drive.core().length() > 0) {
        let blobs = peers.within(drive.blobs()).await?;
        peers.exchange(blobs.core(), drive.core());
    }
    Ok(())
}

/// Makes what a command wrote durable, and shows it to the drive's mounts.
pub(crate) async fn finish(service: &Service, drive: &Hyperdrive) -> Result<(), Failure> {
    service.mounts.changed(drive.key()).await?;
    if drive.note_version()? {
        service.collect_soon(drive);
    }
    service.sync().await
}

/// Splits `[NAME|KEY] REST…`, where REST has `rest` words.
pub(crate) fn split(words: &[String], rest: usize) -> (Option<&str>, &[String]) {
    match words.len().checked_sub(rest) {
        Some(1) => (words.first().map(String::as_str), &words[1..]),
        _ => (None, words),
    }
}

/// `[NAME|KEY] [PATH]`: a word that starts with `/` is a path.
pub(crate) async fn place(
    service: &Service,
    words: &[String],
    default: &str,
    io: &Io,
) -> Result<(Hyperdrive, Peers, String), Failure> {
    let (target, path) = match words {
        [] => (None, default.to_owned()),
        [path] if path.starts_with('/') => (None, path.clone()),
        [target] if !default.is_empty() => (Some(target.as_str()), default.to_owned()),
        [path] => return Err(not_a_path(path)),
        [target, path] if path.starts_with('/') => (Some(target.as_str()), path.clone()),
        [.., path] => return Err(not_a_path(path)),
    };
    let (_, drive, peers) = open(service, target, io).await?;
    Ok((drive, peers, path))
}

fn not_a_path(word: &str) -> Failure {
    Failure::usage(format!(
        "{word:?} is no path in a drive: one starts with `/`"
    ))
}

pub(crate) fn missing(path: &str) -> Failure {
    Failure::not_found(format!("the drive has no file {path:?}"))
}

/// An entry in npm's fields.
fn entry_json(entry: &Entry) -> Value {
    json!({ "seq": entry.seq, "key": entry.path, "value": value_of(&entry.value) })
}

/// What stands in the database is what is shown.
fn value_of(value: &EntryValue) -> Value {
    serde_json::from_slice(&value.encode()).unwrap_or_default()
}

async fn get(service: &Service, at: &DrivePath, io: &mut Io) -> Result<(), Failure> {
    let (drive, peers, path) = place(service, &at.at, "", io).await?;
    let entry = peers.within(drive.entry(&path)).await?;
    let entry = entry.ok_or_else(|| missing(&path))?;
    let Some(blob) = &entry.value.blob else {
        return Err(match &entry.value.linkname {
            Some(target) => Failure::new(
                "IS_A_LINK",
                format!("{path:?} is a symlink to {target:?}, and has no bytes"),
            ),
            None => missing(&path),
        });
    };
    if io.json() {
        let bytes = peers.within(drive.get(&path)).await?;
        let bytes = bytes.ok_or_else(|| missing(&path))?;
        return io
            .result(
                json!({ "key": entry.path, "seq": entry.seq, "value": value_json(&bytes) }),
                "",
            )
            .await;
    }
    let mut pieces = pin!(drive.read_entry(&entry, pome_drive_fs::ReadOptions::default()));
    let mut ahead = Ahead::new(&drive, blob, &peers).await?;
    while let Some(piece) = peers.next(&mut pieces).await? {
        ahead.go_on()?;
        io.raw(piece).await?;
    }
    Ok(())
}

/// The next blocks of a file, on their way while those before are written. Dropped, what has not come is asked for no more.
struct Ahead {
    blobs: Option<Hypercore>,
    blocks: std::ops::Range<u64>,
    asked: u64,
    _coming: Option<Download>,
}

impl Ahead {
    /// So many blocks, and what is left of as many.
    const BLOCKS: u64 = 32;

    async fn new(drive: &Hyperdrive, blob: &BlobId, peers: &Peers) -> Result<Self, Failure> {
        let blobs = match peers.is_empty() || blob.block_map {
            true => None,
            false => Some(peers.within(drive.blobs()).await?.core().clone()),
        };
        let mut ahead = Self {
            blobs,
            blocks: blob.block_offset..blob.block_offset.saturating_add(blob.block_length),
            asked: blob.block_offset,
            _coming: None,
        };
        ahead.ask()?;
        Ok(ahead)
    }

    fn ask(&mut self) -> Result<(), Failure> {
        if let Some(blobs) = &self.blobs {
            self.asked = (self.blocks.start + 2 * Self::BLOCKS).min(self.blocks.end);
            self._coming = Some(blobs.download_linear(self.blocks.start..self.asked)?);
        }
        Ok(())
    }

    /// One block was read.
    fn go_on(&mut self) -> Result<(), Failure> {
        self.blocks.start = self.blocks.end.min(self.blocks.start + 1);
        if self.asked < self.blocks.end && self.blocks.start + Self::BLOCKS >= self.asked {
            self.ask()?;
        }
        Ok(())
    }
}

async fn put(
    service: &Service,
    words: &[String],
    executable: bool,
    io: &mut Io,
) -> Result<(), Failure> {
    let (target, path, file) = match words {
        [path] if path.starts_with('/') => (None, path, None),
        // `/path FILE` and `NAME /path` differ by what starts with `/`; with both, the first is the path.
        [path, file] if path.starts_with('/') => (None, path, Some(file)),
        [target, path] if path.starts_with('/') => (Some(target.as_str()), path, None),
        [target, path, file] if path.starts_with('/') => (Some(target.as_str()), path, Some(file)),
        [.., word] => return Err(not_a_path(word)),
        [] => return Err(Failure::usage("a path is wanted")),
    };
    let (_, drive, _peers) = open(service, target, io).await?;
    let options = PutOptions {
        executable,
        ..PutOptions::default()
    };
    let mut to = drive.put_stream(path, options).await?;
    match file {
        Some(file) => {
            let local = io.path(file);
            let error = |e: std::io::Error| Failure::io(&local.display().to_string(), &e);
            let mut from = tokio::fs::File::open(&local).await.map_err(error)?;
            let total = from.metadata().await.map_err(error)?.len();
            let mut done = 0;
            loop {
                let mut piece = bytes::BytesMut::with_capacity(1 << 20);
                while piece.len() < 1 << 20 {
                    if tokio::io::AsyncReadExt::read_buf(&mut from, &mut piece)
                        .await
                        .map_err(error)?
                        == 0
                    {
                        break;
                    }
                }
                if piece.is_empty() {
                    break;
                }
                done += piece.len() as u64;
                to.write(piece.freeze()).await?;
                io.progress(done, total, "bytes");
            }
        }
        None => {
            while let Some(piece) = io.stdin().await? {
                to.write(piece).await?;
            }
        }
    }
    to.finish().await?;
    finish(service, &drive).await?;
    let key = normalize(path).map_err(pome_drive_fs::Error::from)?;
    let value = json!({ "key": key, "version": drive.version() });
    io.result(value, drive.version()).await
}

/// Prints what differs between two versions, in npm's words: `left` is the newer side.
async fn changes(
    drive: &Hyperdrive,
    peers: &Peers,
    v1: u64,
    v2: u64,
    io: &Io,
) -> Result<(), Failure> {
    let (old, new) = (v1.min(v2), v1.max(v2));
    let newer = drive.checkout(new)?;
    let mut differences = pin!(newer.diff(old, "/"));
    while let Some(difference) = peers.next(&mut differences).await? {
        let (left, right) = if v1 <= v2 {
            (difference.left, difference.right)
        } else {
            (difference.right, difference.left)
        };
        let sign = match (&left, &right) {
            (Some(_), Some(_)) => '~',
            (Some(_), None) => '+',
            _ => '-',
        };
        let path = left
            .as_ref()
            .or(right.as_ref())
            .map(|entry| entry.path.clone())
            .unwrap_or_default();
        let side = |entry: Option<Entry>| entry.as_ref().map(entry_json);
        io.result(
            json!({ "left": side(left), "right": side(right) }),
            format!("{sign} {path}"),
        )
        .await?;
    }
    Ok(())
}

/// Prints each change as it is published, until the client wants the end.
async fn watch(service: &Service, target: Option<&str>, io: &mut Io) -> Result<(), Failure> {
    let (_, drive, peers) = open(service, target, io).await?;
    let mut lengths = drive.db().core().watch();
    let mut seen = drive.version();
    io.event(
        json!({ "event": "watching", "key": drive.key().to_string(), "version": seen }),
        "",
    )
    .await?;
    loop {
        tokio::select! {
            changed = lengths.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
            }
            _ = io.stopped() => return Ok(()),
        }
        let now = drive.version();
        if now == seen {
            continue;
        }
        let (old, new) = (seen.min(now), seen.max(now));
        let newer = drive.checkout(new)?;
        let mut differences = pin!(newer.diff(old, "/"));
        while let Some(difference) = peers.next(&mut differences).await? {
            let (left, right) = if now >= seen {
                (difference.left, difference.right)
            } else {
                (difference.right, difference.left)
            };
            let Some(entry) = left.as_ref().or(right.as_ref()) else {
                continue;
            };
            let kind = if left.is_some() { "put" } else { "del" };
            let event =
                json!({ "event": "change", "type": kind, "key": entry.path, "version": now });
            io.event(event, &format!("{now}\t{kind}\t{}", entry.path))
                .await?;
        }
        seen = now;
    }
}

async fn info(service: &Service, target: Option<&str>, io: &mut Io) -> Result<(), Failure> {
    let (name, drive, peers) = open(service, target, io).await?;
    let (mut files, mut bytes) = (0u64, 0u64);
    let mut entries = pin!(drive.list("/", ListOptions::default()));
    while let Some(entry) = peers.next(&mut entries).await? {
        files += 1;
        bytes += peers.within(drive.content_length(&entry)).await?;
    }
    let db = drive.db().core().info().await?;
    let content = drive.content_key();
    let blobs = peers.within(drive.blobs()).await?.core();
    let value = json!({
        "name": name,
        "key": drive.key().to_string(),
        "discoveryKey": drive.discovery_key().to_string(),
        "contentKey": content.map(|key| key.to_string()),
        "version": drive.version(),
        "writable": drive.writable(),
        "files": files,
        "byteLength": bytes,
        "db": { "length": db.length, "byteLength": db.byte_length, "fork": db.fork },
        "blobs": { "length": blobs.length(), "byteLength": blobs.byte_length() },
    });
    let text = format!(
        "name      {}\nkey       {}\nversion   {}\nfiles     {files} ({bytes} bytes)\nwritable  {}",
        name.as_deref().unwrap_or("-"),
        drive.key(),
        drive.version(),
        if drive.writable() { "yes" } else { "no" },
    );
    io.result(value, text).await
}
