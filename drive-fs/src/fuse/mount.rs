use super::{
    adapter::Adapter,
    connection,
    error::MountError,
    mountpoint::{self, UnmountHow},
};
use crate::{
    Hyperdrive,
    vfs::{
        Drive, LowerError, Owner, Pending, Stale, Vfs, VfsError, VfsOptions,
        drive::{DriveTree, LiveDrive},
    },
};
use fuser::{Config, INodeNo, MountOption, Notifier, Session, SessionACL};
use futures_util::future::{Either, select};
use parking_lot::Mutex;
use pome_cores::Corestore;
use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio::{runtime::Handle, sync::watch};

/// How long a lazily unmounted drive may be held by others before its connection is cut.
const HELD_MAX: Duration = Duration::from_secs(5);

/// How a drive is mounted.
#[derive(Debug, Clone)]
pub struct MountOptions {
    /// Refuse every change with `EROFS` (default false; a drive that is not ours is always read-only).
    pub read_only: bool,
    /// Other users of this machine may use it, as the modes allow (default false: only the one who mounts).
    pub allow_other: bool,
    /// Show this version, or the one before it at which a change was complete, read-only (default: the newest, live).
    pub version: Option<u64>,
    /// Longest wait of one operation before it answers `ETIMEDOUT` (default 30 s).
    pub deadline: Duration,
    /// The kernel may keep what is written to a file for a moment: until the file is closed or synced, or for 30 s (default true; only where this mount writes). Else each
    /// `write` that returned survives the end of the process.
    pub write_back: bool,
    /// The first column of `df` (default `pome`).
    pub fsname: String,
    /// Threads that take requests (default: one per processor, at least 2, at most 8).
    pub threads: usize,
    /// Owner of what does not name one, and how soon changes are published; `read_only` is set from the above.
    pub vfs: VfsOptions,
}

impl Default for MountOptions {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        let me = Owner {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        };
        Self {
            read_only: false,
            allow_other: false,
            version: None,
            deadline: Duration::from_secs(30),
            write_back: true,
            fsname: "pome".to_owned(),
            threads: processors.clamp(2, 8),
            vfs: VfsOptions {
                owner: me,
                ..VfsOptions::default()
            },
        }
    }
}

/// What [`Mounted::unmount`] did.
#[derive(Debug, Clone)]
pub struct Unmounted {
    /// How far it had to go.
    pub how: UnmountHow,
    /// Why it could not be gentler.
    pub why: Option<String>,
    /// The drive's version with all that was written, or why some of it waits in the store for the next mount.
    pub published: Result<u64, MountError>,
}

/// The drives that this process has mounted for writing: two overlays of one drive would overwrite each other.
static WRITERS: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

struct Writer(String);

impl Writer {
    fn claim(drive: String) -> Result<Self, MountError> {
        if WRITERS.lock().insert(drive.clone()) {
            Ok(Self(drive))
        } else {
            Err(MountError::DriveMounted { drive })
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        WRITERS.lock().remove(&self.0);
    }
}

/// A mounted drive. When the last clone is dropped without [`unmount`](Self::unmount), the mount stays until the process ends.
#[derive(Clone)]
pub struct Mounted {
    inner: Arc<Inner>,
}

struct Inner {
    vfs: Arc<Vfs>,
    mountpoint: PathBuf,
    connection: Option<u32>,
    ended: watch::Receiver<bool>,
    _writer: Option<Arc<Writer>>,
}

/// Mounts `drive` on `mountpoint`, an empty folder. Requests that wait, and publishing, run on the tokio runtime that this is called on.
///
/// # Errors
/// [`MountError`] says what is wrong with the mountpoint, the kernel, the drive or the overlay.
pub async fn mount(
    corestore: &Corestore,
    drive: &Hyperdrive,
    mountpoint: &Path,
    options: MountOptions,
) -> Result<Mounted, MountError> {
    let mountpoint = mountpoint::check(mountpoint)?;
    if let Err(source) = std::fs::metadata("/dev/fuse") {
        return Err(MountError::NoFuse {
            source: Arc::new(source),
        });
    }
    let live = LiveDrive::new(drive.clone());
    let read_only = options.read_only || options.version.is_some() || !live.writable();
    let key = drive.key().to_string();
    let writer = (!read_only)
        .then(|| Writer::claim(key.clone()).map(Arc::new))
        .transpose()?;
    let vfs_options = VfsOptions {
        read_only,
        ..options.vfs.clone()
    };
    let version = match options.version {
        Some(version) => Some(drive.whole_version(version).await?),
        None => None,
    };
    let vfs = match version {
        None => Vfs::open(live, corestore, &key, vfs_options).await?,
        Some(version) => {
            // What was written since and is not published yet is no part of it.
            let tree = DriveTree::of(drive.checkout(version)?);
            Vfs::open_version(live, tree, corestore, &key, vfs_options).await?
        }
    };
    let runtime = Handle::current();
    let write_back = options.write_back && !read_only;
    let adapter = Adapter::new(vfs.clone(), runtime.clone(), &options, write_back);
    let at = mountpoint.clone();
    let config = config(&options, read_only);
    let session = tokio::task::spawn_blocking(move || Session::new(adapter, &at, &config)?.spawn());
    let session = session
        .await
        .map_err(io::Error::other)
        .and_then(|session| session);
    let session = session.map_err(|source| MountError::Kernel {
        path: mountpoint.clone(),
        what: "mount",
        source: Arc::new(source),
    })?;
    let connection = connection::number(&mountpoint).ok().flatten();
    if let Some(number) = connection
        && drive.writable()
    {
        connection::read_ahead(number);
    }
    tell_kernel(&vfs, session.notifier());
    let notifier = session.notifier();
    vfs.on_take(move |ino| {
        // Forgetting what it knows of a file, it hands over what it keeps of it first.
        if let Err(error) = notifier.inval_inode(INodeNo(ino), 0, 0) {
            tracing::debug!(ino, %error, "the kernel keeps nothing of it");
        }
    });
    let (end, ended) = watch::channel(false);
    let claim = writer.clone();
    std::thread::Builder::new()
        .name("pome-mount".to_owned())
        .spawn(move || {
            if let Err(error) = session.join() {
                tracing::warn!(%error, "the mount ended with an error");
            }
            // Before anybody hears of the end, and mounts the drive again.
            drop(claim);
            let _ = end.send(true);
        })
        .map_err(|source| MountError::Kernel {
            path: mountpoint.clone(),
            what: "start a thread",
            source: Arc::new(source),
        })?;
    if !read_only {
        runtime.spawn(Vfs::keep_publishing(Arc::downgrade(&vfs)));
    }
    if options.version.is_none() {
        follow(&runtime, drive, &vfs, ended.clone());
    }
    Ok(Mounted {
        inner: Arc::new(Inner {
            vfs,
            mountpoint,
            connection,
            ended,
            _writer: writer,
        }),
    })
}

fn config(options: &MountOptions, read_only: bool) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(options.fsname.replace(',', "_")),
        MountOption::Subtype("pome".to_owned()),
        MountOption::DefaultPermissions,
        MountOption::NoDev,
        MountOption::NoSuid,
        MountOption::NoAtime,
    ];
    if read_only {
        config.mount_options.push(MountOption::RO);
    }
    config.acl = if options.allow_other {
        SessionACL::All
    } else {
        SessionACL::Owner
    };
    config.n_threads = Some(options.threads.max(1));
    config.clone_fd = true;
    config
}

/// What changed elsewhere goes out of the kernel's caches, on a thread of its own: the kernel may hold a lock that it only
/// lets go when a request is answered.
fn tell_kernel(vfs: &Arc<Vfs>, notifier: Notifier) {
    let (send, receive) = std::sync::mpsc::channel::<Vec<Stale>>();
    vfs.on_stale(move |stale| drop(send.send(stale)));
    let thread = std::thread::Builder::new().name("pome-notify".to_owned());
    let started = thread.spawn(move || {
        for stale in receive {
            for stale in stale {
                let told = match &stale {
                    Stale::Name { folder, name } => {
                        notifier.inval_entry(INodeNo(*folder), name.as_ref().as_ref())
                    }
                    Stale::Inode(ino) => notifier.inval_inode(INodeNo(*ino), 0, 0),
                };
                if let Err(error) = told {
                    tracing::debug!(?stale, %error, "the kernel did not take it");
                }
            }
        }
    });
    if let Err(error) = started {
        tracing::error!(%error, "no thread for invalidations: changes from elsewhere show after a minute");
    }
}

/// Takes in what others write to the drive, as it comes.
fn follow(runtime: &Handle, drive: &Hyperdrive, vfs: &Arc<Vfs>, mut ended: watch::Receiver<bool>) {
    let mut head = drive.core().watch();
    let vfs = Arc::downgrade(vfs);
    runtime.spawn(async move {
        loop {
            let end = pin!(async { ended.wait_for(|ended| *ended).await.is_ok() });
            match select(pin!(head.changed()), end).await {
                Either::Left((Ok(()), _)) => {}
                Either::Left((Err(_), _)) | Either::Right(_) => return,
            }
            let Some(vfs) = vfs.upgrade() else { return };
            if let Err(error) = vfs.lower_changed().await {
                tracing::warn!(%error, "what changed in the drive does not show yet");
            }
        }
    });
}

/// Runs work that must not be left in the middle, also when nobody waits for it any more.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, MountError>> + Send + 'static,
) -> Result<T, MountError> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => {
            Err(VfsError::Lower(LowerError::Other(format!("it broke off: {error}"))).into())
        }
    }
}

impl Mounted {
    /// Where.
    pub fn mountpoint(&self) -> &Path {
        &self.inner.mountpoint
    }

    /// False when every change is refused.
    pub fn writable(&self) -> bool {
        !self.inner.vfs.read_only()
    }

    /// The filesystem that it shows, for whoever wants to write through it.
    pub fn vfs(&self) -> &Arc<Vfs> {
        &self.inner.vfs
    }

    /// Number of the kernel's connection, under `/sys/fs/fuse/connections`, for whoever has to cut it.
    pub fn connection(&self) -> Option<u32> {
        self.inner.connection
    }

    /// Makes a version of all that was written, files that are open too, and answers it.
    ///
    /// # Errors
    /// As [`Vfs::publish_now`].
    pub async fn publish_now(&self) -> Result<u64, MountError> {
        let vfs = self.inner.vfs.clone();
        to_its_end(async move { Ok(vfs.publish_now().await?) }).await
    }

    /// Takes in what was written to the drive elsewhere. Happens by itself too, a moment later.
    ///
    /// # Errors
    /// As [`Vfs::lower_changed`].
    pub async fn lower_changed(&self) -> Result<u64, MountError> {
        let vfs = self.inner.vfs.clone();
        to_its_end(async move { Ok(vfs.lower_changed().await?) }).await
    }

    /// What is written and not published yet.
    pub fn pending(&self) -> Pending {
        self.inner.vfs.pending()
    }

    /// Returns once the mount is gone, whoever took it down.
    /// The folder can be mounted on again then; the drive can be written by another mount once the last clone of this is dropped.
    pub async fn ended(&self) {
        // An error means that the thread is gone, and the mount with it.
        let _ = self.inner.ended.clone().wait_for(|ended| *ended).await;
    }

    /// Takes the mount down: normally; if it is in use, lazily; if it is still held after 5 s, by cutting the connection. Then publishes.
    /// What cannot be published waits in the store for the next mount.
    ///
    /// # Errors
    /// `Kernel` when it cannot even be unmounted lazily.
    pub async fn unmount(&self) -> Result<Unmounted, MountError> {
        let inner = &self.inner;
        let mut how = UnmountHow::Normal;
        let mut why = None;
        if !*inner.ended.borrow()
            && let Err(error) = self.unmount_at(false).await
        {
            how = UnmountHow::Lazy;
            why = Some(error.to_string());
            if let Err(source) = self.unmount_at(true).await
                && !*inner.ended.borrow()
            {
                return Err(MountError::Kernel {
                    path: inner.mountpoint.clone(),
                    what: "unmount",
                    source: Arc::new(source),
                });
            }
        }
        if tokio::time::timeout(HELD_MAX, self.ended()).await.is_err()
            && let Some(number) = inner.connection
        {
            let held = format!("still in use after {} s", HELD_MAX.as_secs());
            match connection::abort(number) {
                Ok(()) => {
                    (how, why) = (UnmountHow::Aborted, Some(held));
                    let _ = tokio::time::timeout(HELD_MAX, self.ended()).await;
                }
                Err(error) => {
                    why = Some(format!(
                        "{held}, and the connection could not be cut: {error}"
                    ))
                }
            }
        }
        let published = self.publish_now().await;
        // A later mount of the drive is the only one that may touch the overlay now.
        inner.vfs.close_publishing().await;
        Ok(Unmounted {
            how,
            why,
            published,
        })
    }

    async fn unmount_at(&self, lazy: bool) -> io::Result<()> {
        let path = self.inner.mountpoint.clone();
        tokio::task::spawn_blocking(move || mountpoint::unmount(&path, lazy))
            .await
            .map_err(io::Error::other)?
    }
}
