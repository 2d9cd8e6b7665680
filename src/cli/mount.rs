//! `pome mount`, `pome unmount` and `pome status`, on the owner's side.

use super::{
    args::MountArgs,
    cache::Cache,
    drive,
    failure::Failure,
    held::different,
    io::{Io, path_json, plain},
    keeper,
    limit::Pins,
    names::Kind,
    peers::Peers,
    service::{IfMissing, Service, no_drive},
};
use futures_util::FutureExt;
use parking_lot::Mutex;
use pome_cores::{CoreOptions, Key};
use pome_drive_fs::{
    Hyperdrive,
    fuse::{self, MountError, MountOptions, Mounted, Unmounted},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};

/// One mounted drive.
pub(crate) struct Mount {
    pub(crate) key: Key,
    name: Option<String>,
    version: Option<u64>,
    writable: bool,
    /// One of those of `mount --all`.
    of_all: bool,
    pub(crate) mounted: Mounted,
    /// Bounds what it keeps of somebody else's drive.
    _cache: Option<Cache>,
    /// Why it was ended from elsewhere.
    ended: tokio::sync::watch::Sender<Option<&'static str>>,
}

/// Tells whoever waits for a mount's end, however its unmount went.
struct Told(Arc<Mount>, &'static str);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.ended.send_replace(Some(self.1));
    }
}

const OWNER_ENDS: &str = "the owner ends";

/// What is mounted, by mountpoint.
#[derive(Default)]
pub(crate) struct Mounts {
    all: Mutex<BTreeMap<PathBuf, Arc<Mount>>>,
    /// Those that are being unmounted, which publishes what was written into them.
    ending: Mutex<Vec<Weak<Mount>>>,
}

impl Mounts {
    fn of_drive(&self, key: Key) -> Vec<Arc<Mount>> {
        self.all
            .lock()
            .values()
            .filter(|mount| mount.key == key && mount.version.is_none())
            .cloned()
            .collect()
    }

    /// A mount of the drive at its newest version, the writable one if there is one.
    pub(crate) fn live(&self, key: Key) -> Option<Arc<Mount>> {
        let mut mounts = self.of_drive(key);
        mounts.sort_by_key(|mount| !mount.writable);
        mounts.into_iter().next()
    }

    /// The mount that a path is in, and its path there. Nothing is asked of the mount.
    pub(crate) fn above(&self, path: &Path) -> Option<(Arc<Mount>, String)> {
        let mut path = keeper::straight(path);
        // A link may lead to a link.
        for _ in 0..keeper::LINKS_MAX {
            match self.first_on(&path)? {
                Ok(found) => return Some(found),
                Err(elsewhere) => path = elsewhere,
            }
        }
        None
    }

    /// The first mount on a path, and what is below it; or where the path leads when a symlink comes first.
    fn first_on(&self, path: &Path) -> Option<Result<(Arc<Mount>, String), PathBuf>> {
        // From the root on, so that no folder in a mount is looked at.
        let above: Vec<&Path> = path.ancestors().collect();
        above.into_iter().rev().find_map(|folder| {
            let rest = path.strip_prefix(folder).ok()?;
            if let Some(mount) = self.all.lock().get(folder).cloned() {
                let below = match rest.as_os_str().is_empty() {
                    true => String::new(),
                    false => format!("/{}", rest.to_string_lossy()),
                };
                return Some(Ok((mount, below)));
            }
            let target = keeper::target(folder)?;
            Some(Err(keeper::straight(&target.join(rest))))
        })
    }

    /// The mounts that `mount --all` has made in this folder.
    fn inside(&self, root: &Path) -> Vec<PathBuf> {
        let all = self.all.lock();
        let is_in =
            |(at, mount): &(&PathBuf, &Arc<Mount>)| mount.of_all && at.parent() == Some(root);
        all.iter().filter(is_in).map(|(at, _)| at.clone()).collect()
    }

    /// Publishes what was written into the drive's mounts, so that a command sees it; what is written into one that ends, that end publishes.
    pub(crate) async fn publish(&self, key: Key) -> Result<(), Failure> {
        for mount in self.of_drive(key).iter().filter(|mount| mount.writable) {
            mount.mounted.publish_now().await?;
        }
        let ending: Vec<Arc<Mount>> = self
            .ending
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        for mount in ending.iter().filter(|mount| mount.key == key) {
            // The sender lives in `mount`, which outlives this.
            let _ = mount.ended.subscribe().wait_for(Option::is_some).await;
        }
        Ok(())
    }

    /// Tells the drive's mounts that a command has changed it.
    pub(crate) async fn changed(&self, key: Key) -> Result<(), Failure> {
        for mount in self.of_drive(key) {
            mount.mounted.lower_changed().await?;
        }
        Ok(())
    }

    pub(crate) async fn unmount_all(&self) {
        let mountpoints: Vec<_> = self.all.lock().keys().cloned().collect();
        for mountpoint in mountpoints {
            if let Err(failure) = self.unmount(&mountpoint, OWNER_ENDS).await {
                tracing::error!(mountpoint = %mountpoint.display(), "{}", failure.message);
            }
        }
    }

    /// Ends one mount; `None` when there is none.
    async fn unmount(
        &self,
        mountpoint: &Path,
        why: &'static str,
    ) -> Result<Option<Unmounted>, Failure> {
        let mount = {
            let mut all = self.all.lock();
            let Some(mount) = all.remove(mountpoint) else {
                return Ok(None);
            };
            // Whoever finds it in neither comes after all is published.
            let mut ending = self.ending.lock();
            ending.retain(|mount| mount.strong_count() > 0);
            ending.push(Arc::downgrade(&mount));
            mount
        };
        let work = async move {
            let told = Told(mount, why);
            told.0.mounted.unmount().await
        };
        // To its end, also when the command that asked for it breaks off.
        match tokio::spawn(work).await {
            Ok(unmounted) => Ok(Some(unmounted?)),
            Err(error) => Err(Failure::new(
                "PANIC",
                format!("the unmount broke off: {error}"),
            )),
        }
    }
}

pub(crate) async fn mount(service: &Service, args: MountArgs, io: &mut Io) -> Result<(), Failure> {
    let root = io.path(&args.mountpoint);
    let mut mountpoints = Vec::new();
    // Connected for as long as it is mounted.
    let peers = match args.offline {
        true => Peers::offline(service, io),
        false => Peers::serving(service, io),
    };
    let outcome = start(service, &args, &root, &peers, &mut mountpoints, io).await;
    let reason = match outcome {
        Ok(()) => wait(service, &mountpoints, io).await,
        Err(_) => "failed",
    };
    for mountpoint in mountpoints {
        let unmounted = service.mounts.unmount(&mountpoint, reason).await;
        let _ = io.unkeep(mountpoint.clone()).await;
        if args.all {
            // The folder was made for this drive; it stays if somebody put something in it.
            let _ = std::fs::remove_dir(&mountpoint);
        }
        if let Some(unmounted) = unmounted? {
            unmounted.published?;
        }
    }
    outcome?;
    let said = io
        .event(
            json!({ "event": "closed", "reason": reason }),
            &format!("unmounted: {reason}"),
        )
        .await;
    if reason == OWNER_ENDS {
        return Err(Failure::new(
            "OWNER_GONE",
            "the owner of the store was told to end, and has unmounted this",
        ));
    }
    // A client that was killed hears nothing, and nothing failed.
    if reason == "the client has left" {
        Ok(())
    } else {
        said
    }
}

/// Mounts what was asked for, and says so.
async fn start(
    service: &Service,
    args: &MountArgs,
    root: &Path,
    peers: &Peers,
    mountpoints: &mut Vec<PathBuf>,
    io: &mut Io,
) -> Result<(), Failure> {
    if args.all {
        let drives = service.names.of(Kind::Drive)?;
        if drives.is_empty() {
            return Err(no_drive());
        }
        make_folder(root)?;
        let mut remaining = drives.len();
        for (name, _) in drives {
            remaining -= 1;
            let (_, drive) = service.drive(Some(&name), IfMissing::Refuse).await?;
            fetch(&drive, peers, io).await?;
            one(
                service,
                args,
                drive,
                Some(name.clone()),
                &root.join(&name),
                (mountpoints, Some(remaining), peers.are_found()),
                io,
            )
            .await?;
        }
        return Ok(());
    }
    let (name, drive) = match &args.drive {
        None if service.names.of(Kind::Drive)?.is_empty() => {
            (Some("home".into()), service.make_drive("home").await?)
        }
        drive => {
            let if_missing = match peers.is_alone() {
                true => IfMissing::Refuse,
                false => IfMissing::Fetch,
            };
            service.drive(drive.as_deref(), if_missing).await?
        }
    };
    fetch(&drive, peers, io).await?;
    let place = (mountpoints, None, peers.are_found());
    one(service, args, drive, name, root, place, io).await
}

/// Shares the drive, and looks for its newest version where it is not ours. One that was here before is mounted as it is when nobody else has it.
async fn fetch(drive: &Hyperdrive, peers: &Peers, io: &Io) -> Result<(), Failure> {
    if peers.is_alone() {
        return Ok(());
    }
    match peers.newest(drive.core()).await {
        Err(failure) if drive.core().length() > 0 || drive.writable() => {
            let message = failure.message;
            io.note(format!("{message}; it is shown as it is here until then"))
                .await?;
        }
        outcome => outcome?,
    }
    if drive.core().length() == 0 && !drive.writable() {
        return Err(Failure::not_found(
            "the peers have nothing of this drive yet",
        ));
    }
    drive::follow_contents(drive, peers).await
}

async fn one(
    service: &Service,
    args: &MountArgs,
    drive: Hyperdrive,
    name: Option<String>,
    at: &Path,
    (mountpoints, remaining, shared): (&mut Vec<PathBuf>, Option<usize>, bool),
    io: &mut Io,
) -> Result<(), Failure> {
    make_folder(at)?;
    let at = keeper::resolve(at);
    let writable = drive.writable() && !args.read_only && args.version.is_none();
    let mut options = MountOptions {
        read_only: !writable,
        allow_other: args.allow_other,
        version: args.version,
        deadline: Duration::from_secs_f64(args.deadline),
        write_back: !args.write_through,
        ..MountOptions::default()
    };
    options.vfs.space_of = service.dir.clone();
    let mut mounted = fuse::mount(&service.corestore, &drive, &at, options.clone()).await;
    if let Err(MountError::DeadMount { .. }) = &mounted {
        let how = keeper::take_down(&at)?;
        io.note(format!(
            "{} was a dead mount; unmounted ({how})",
            at.display()
        ))
        .await?;
        mounted = fuse::mount(&service.corestore, &drive, &at, options).await;
    }
    let mounted = mounted?;
    tell_pins(service, &drive, &mounted);
    let cache = match args.cache_size {
        Some(_) if drive.writable() => {
            io.note("this store writes the drive: all of it is kept, whatever --cache-size says")
                .await?;
            None
        }
        size => size.map(|size| Cache::keep(&service.corestore, &drive, size)),
    };
    let mount = Mount {
        key: drive.key(),
        name: name.clone(),
        version: args.version,
        writable,
        of_all: args.all,
        mounted,
        _cache: cache,
        ended: tokio::sync::watch::channel(None).0,
    };
    service
        .mounts
        .all
        .lock()
        .insert(at.clone(), Arc::new(mount));
    mountpoints.push(at.clone());
    service.sync().await?;
    io.keep(at.clone()).await?;
    let mut event = json!({
        "event": "mounted",
        "key": drive.key().to_string(),
        "name": name,
        "mountpoint": path_json(&at),
        "version": args.version.unwrap_or_else(|| drive.version()),
        "writable": writable,
        "shared": shared,
        "pid": std::process::id(),
    });
    if let Some(remaining) = remaining {
        event["remaining"] = remaining.into();
    }
    if !drive.writable() && !args.read_only {
        io.note("the drive's key is not ours: it is mounted read-only")
            .await?;
    }
    let text = welcome(&event);
    io.event(event, &text).await
}

/// Lets the mount say what is pinned.
fn tell_pins(service: &Service, drive: &Hyperdrive, mounted: &Mounted) {
    let (cores, drive) = (service.corestore.clone(), drive.clone());
    mounted.vfs().on_pinned(move |ranges| {
        let Some(Ok(blobs)) = drive.blobs().now_or_never() else {
            return false;
        };
        match Pins::read(&cores) {
            Ok(pins) => pins.cover(blobs.core().discovery_key(), ranges),
            Err(failure) => {
                tracing::warn!("what is pinned cannot be read: {}", failure.message);
                false
            }
        }
    });
}

/// A missing mountpoint is made.
fn make_folder(at: &Path) -> Result<(), Failure> {
    match std::fs::create_dir_all(at) {
        // What is there already may be a folder, a dead mount or a file: mounting looks closer.
        Err(e)
            if !matches!(
                e.kind(),
                std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotConnected
            ) =>
        {
            Err(Failure::io(
                &format!("cannot make the mountpoint {}", at.display()),
                &e,
            ))
        }
        _ => Ok(()),
    }
}

/// What a person reads when a folder is usable.
pub(crate) fn welcome(event: &Value) -> String {
    let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
    let access = if event["writable"] == true {
        "read-write"
    } else {
        "read-only"
    };
    let (shared, elsewhere) = if event["shared"] == true {
        let line = format!(
            "\non another machine: pome mount FOLDER --drive {}",
            text("key")
        );
        ("shared with whoever has its key", line)
    } else {
        ("not shared", format!("\nkey {}", text("key")))
    };
    format!(
        "{} is the drive {} ({access}); {shared}{elsewhere}",
        plain(&event["mountpoint"]),
        if event["name"].is_string() {
            text("name")
        } else {
            "of another store".into()
        },
    )
}

/// Waits until the client wants the end, or somebody else has unmounted.
async fn wait(service: &Service, mountpoints: &[PathBuf], io: &mut Io) -> &'static str {
    let mounts: Vec<_> = {
        let all = service.mounts.all.lock();
        mountpoints
            .iter()
            .filter_map(|mountpoint| Some((mountpoint, all.get(mountpoint).cloned()?)))
            .collect()
    };
    let ended =
        futures_util::future::join_all(mounts.iter().map(|(mountpoint, mount)| async move {
            let mut ended = mount.ended.subscribe();
            let told = async {
                // The sender lives in `mount`, which outlives this.
                let reason = ended.wait_for(Option::is_some).await;
                reason
                    .ok()
                    .and_then(|reason| *reason)
                    .unwrap_or("unmounted")
            };
            let gone = async {
                mount.mounted.ended().await;
                // Whoever took it out of the table says why, once all is published.
                if !service.mounts.all.lock().contains_key(*mountpoint) {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                reason = told => reason,
                () = gone => "unmounted from outside",
            }
        }));
    tokio::select! {
        reasons = ended => reasons.first().copied().unwrap_or("unmounted"),
        listening = io.stopped() => if listening { "asked to stop" } else { "the client has left" },
    }
}

/// Ends one mount; for the folder of `mount --all`, all that are in it.
pub(crate) async fn unmount(
    service: &Service,
    mountpoint: &Path,
    io: &mut Io,
) -> Result<(), Failure> {
    let at = keeper::resolve(&io.path(mountpoint));
    let is_mounted = service.mounts.all.lock().contains_key(&at);
    let inside = service.mounts.inside(&at);
    if is_mounted || inside.is_empty() {
        return unmount_one(service, &at, io).await;
    }
    for mountpoint in inside {
        unmount_one(service, &mountpoint, io).await?;
    }
    Ok(())
}

async fn unmount_one(service: &Service, mountpoint: &Path, io: &mut Io) -> Result<(), Failure> {
    let Some(unmounted) = service.mounts.unmount(mountpoint, "pome unmount").await? else {
        return Err(Failure {
            code: "NOT_MOUNTED".into(),
            ..Failure::not_found(format!(
                "{} is not a mount of this store",
                mountpoint.display()
            ))
        });
    };
    let how = keeper::how_word(unmounted.how);
    let value = json!({ "mountpoint": path_json(mountpoint), "how": how, "why": unmounted.why });
    let why = unmounted
        .why
        .map(|why| format!(": {why}"))
        .unwrap_or_default();
    io.result(
        value,
        format!("{} unmounted ({how}{why})", mountpoint.display()),
    )
    .await?;
    unmounted.published?;
    Ok(())
}

/// The mounts as `status` shows them, and the key of the drive of each.
fn shown(service: &Service) -> Vec<(Key, Value)> {
    let all = service.mounts.all.lock();
    let mounts = all.iter().map(|(mountpoint, mount)| {
        let pending = mount.mounted.pending();
        let value = json!({
            "mountpoint": path_json(mountpoint),
            "key": mount.key.to_string(),
            "name": mount.name,
            "version": mount.version,
            "writable": mount.writable,
            "pending": { "files": pending.files, "bytes": pending.bytes },
        });
        (mount.key, value)
    });
    mounts.collect()
}

/// How many peers are connected about anything that is open.
async fn peers_of_all(service: &Service) -> Result<usize, Failure> {
    let mut peers = Vec::new();
    for key in service.corestore.open_cores() {
        // It may have been closed since.
        if let Ok(core) = service.corestore.get(CoreOptions::discovery_key(key)).await {
            peers.extend(core.peers());
        }
    }
    Ok(different(&peers))
}

pub(crate) async fn status(service: &Service, io: &mut Io) -> Result<(), Failure> {
    let mut mounts = Vec::new();
    for (key, mut mount) in shown(service) {
        let (_, drive) = service
            .drive(Some(&key.to_string()), IfMissing::Refuse)
            .await?;
        mount["peers"] = different(&drive.core().peers()).into();
        mounts.push(mount);
    }
    let peers = peers_of_all(service).await?;
    let mut text = format!(
        "the owner is process {}; {} mounted; {peers} peers",
        std::process::id(),
        mounts.len()
    );
    for mount in &mounts {
        text.push_str(&format!(
            "\n{} {} {}, {} peers",
            plain(&mount["mountpoint"]),
            mount["name"].as_str().unwrap_or("-"),
            plain(&mount["key"]),
            mount["peers"],
        ));
    }
    let value = json!({
        "store": path_json(&service.dir),
        "owner": std::process::id(),
        "peers": peers,
        "mounts": mounts,
    });
    io.result(value, text).await
}
