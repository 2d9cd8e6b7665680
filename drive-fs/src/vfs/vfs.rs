use super::{
    ahead::Aheads,
    attrs::{Attrs, Owner},
    error::{Result, VfsError},
    here::Pins,
    hidden,
    kernel::Kernel,
    lower::{Drive, Found, Tree},
    mounted,
    node::{File, Ino, Kind, ROOT},
    overlay::Overlay,
    publish::Publisher,
    refresh::Watcher,
    state::{Known, State},
};
use crate::posix::Special;
use parking_lot::Mutex;
use pome_cores::Corestore;
use std::{path::PathBuf, sync::Arc, time::Duration};

/// How a drive is shown.
#[derive(Debug, Clone)]
pub struct VfsOptions {
    /// Refuse every change with `EROFS` (default false; always true where the drive is not writable here).
    pub read_only: bool,
    /// Owner of what does not name one (default: root).
    pub owner: Owner,
    /// A change is published once nothing has changed for this time (default 200 ms) …
    pub quiet: Duration,
    /// … or this time after the first change, under load (default 3 s).
    pub at_most: Duration,
    /// A file that is open for writing is published once it was not written for this time (default 2 s) …
    pub open_quiet: Duration,
    /// … or this time after its first write (default 30 s).
    pub open_at_most: Duration,
    /// A folder of the filesystem whose free space `statfs` shows (default: the one of `/`).
    pub space_of: PathBuf,
}

impl Default for VfsOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            owner: Owner { uid: 0, gid: 0 },
            quiet: Duration::from_millis(200),
            at_most: Duration::from_secs(3),
            open_quiet: Duration::from_secs(2),
            open_at_most: Duration::from_secs(30),
            space_of: PathBuf::from("/"),
        }
    }
}

/// What kind of thing an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symlink.
    Link,
    /// A pipe, a socket or a device.
    Special(Special),
}

/// What `stat` shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Stat {
    /// Inode number.
    pub ino: Ino,
    /// Kind.
    pub kind: FileKind,
    /// Bytes.
    pub size: u64,
    /// How many names it has; 1 for a folder.
    pub links: u32,
    /// Bytes that are stored: what of a file that is not published yet was never written counts as a hole.
    pub stored: u64,
    /// Mode, owner, times.
    pub attrs: Attrs,
}

/// What waits in the overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pending {
    /// Files whose content is not published.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Names, folders, links and attributes that are not published.
    pub changes: u64,
}

/// A drive as a filesystem. All methods are safe to call from many threads.
pub struct Vfs {
    pub(crate) drive: Arc<dyn Drive>,
    pub(crate) options: VfsOptions,
    pub(crate) read_only: bool,
    pub(crate) state: Mutex<State>,
    /// Held shared by whatever changes names or attributes, exclusively while a version is made.
    pub(crate) names: tokio::sync::RwLock<()>,
    pub(crate) publisher: Publisher,
    pub(crate) watcher: Watcher,
    pub(crate) kernel: Kernel,
    pub(crate) pins: Pins,
    pub(crate) aheads: Aheads,
}

impl Vfs {
    /// Shows the drive at its head, with what the overlay `mount/<name>` still holds.
    ///
    /// # Errors
    /// `Damaged` or `UnknownOverlay` when the overlay cannot be read; what the drive or the store answer.
    pub async fn open(
        drive: Arc<dyn Drive>,
        corestore: &Corestore,
        name: &str,
        options: VfsOptions,
    ) -> Result<Arc<Self>> {
        let tree = drive.head().await?;
        Self::open_at(drive, tree, corestore, name, options).await
    }

    /// As [`open`](Self::open), at one version. Unless that is the head, make the options `read_only` and give a name of its own.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_at(
        drive: Arc<dyn Drive>,
        tree: Arc<dyn Tree>,
        corestore: &Corestore,
        name: &str,
        options: VfsOptions,
    ) -> Result<Arc<Self>> {
        Self::open_over(drive, tree, corestore, (name, name), options).await
    }

    /// Shows one version as it is, read-only, whatever the overlay holds.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_version(
        drive: Arc<dyn Drive>,
        tree: Arc<dyn Tree>,
        corestore: &Corestore,
        name: &str,
        options: VfsOptions,
    ) -> Result<Arc<Self>> {
        let options = VfsOptions {
            read_only: true,
            ..options
        };
        let nothing = format!("{name} as it was");
        Self::open_over(drive, tree, corestore, (name, &nothing), options).await
    }

    async fn open_over(
        drive: Arc<dyn Drive>,
        tree: Arc<dyn Tree>,
        corestore: &Corestore,
        (name, over): (&str, &str),
        options: VfsOptions,
    ) -> Result<Arc<Self>> {
        let read_only = options.read_only || !drive.writable();
        let (mut overlay, loaded) = Overlay::open(corestore, &mounted::overlay_name(over))?;
        if read_only {
            overlay.only_read();
        }
        let description = match tree.lookup("").await? {
            Some(Found::Folder { description }) => description,
            Some(Found::Leaf(_)) | None => None,
        };
        let mut root = Attrs::of_folder(description.as_ref(), options.owner);
        if !root.mtime_set
            && let Some(time) = overlay.folder_time("")
        {
            (root.mtime, root.ctime, root.atime) = (time, time, time);
        }
        let state = State::load(
            tree,
            overlay,
            loaded,
            root,
            description.is_some(),
            options.owner,
        )?;
        let vfs = Arc::new(Self {
            drive,
            options,
            read_only,
            state: Mutex::new(state),
            names: tokio::sync::RwLock::new(()),
            publisher: Publisher::default(),
            watcher: Watcher::default(),
            kernel: Kernel::default(),
            pins: Pins::default(),
            aheads: Aheads::default(),
        });
        mounted::add(name, &vfs);
        vfs.take_in_all().await?;
        Ok(vfs)
    }

    /// True when every change is refused with `EROFS`.
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// The version of the drive that shows below the overlay.
    pub fn version(&self) -> u64 {
        self.state.lock().tree.version()
    }

    pub(crate) fn must_write(&self) -> Result<()> {
        if self.read_only {
            Err(VfsError::ReadOnly)
        } else {
            Ok(())
        }
    }

    /// What stands at a name, from memory or from the drive.
    pub(crate) async fn child(&self, parent: Ino, name: &str) -> Result<Option<Ino>> {
        loop {
            let (tree, path) = {
                let state = self.state.lock();
                match state.known(parent, name)? {
                    Known::Yes(ino) => return Ok(ino),
                    Known::Ask(path) => (state.tree.clone(), path),
                }
            };
            let found = tree.lookup(&path).await?;
            self.state.lock().learn(&tree, parent, name, &path, found);
        }
    }

    /// Makes a folder's listing complete in memory.
    pub(crate) async fn load_folder(&self, ino: Ino) -> Result<()> {
        loop {
            let (tree, path) = {
                let state = self.state.lock();
                let folder = state.folder(ino)?;
                match &folder.lower {
                    Some(path) if !folder.complete => (state.tree.clone(), path.clone()),
                    Some(_) | None => return Ok(()),
                }
            };
            let listing = tree.children(&path).await?;
            self.state.lock().learn_all(&tree, ino, &path, listing);
            if hidden::grows(&path) {
                return Ok(());
            }
        }
    }

    /// Runs `change` under the lock once all is known of these names.
    pub(crate) async fn with_names<T>(
        &self,
        names: &[(Ino, &str)],
        mut change: impl FnMut(&mut State) -> Result<T>,
    ) -> Result<T> {
        loop {
            for (parent, name) in names {
                self.child(*parent, name).await?;
            }
            let mut state = self.state.lock();
            let mut all = true;
            for (parent, name) in names {
                all &= matches!(state.known(*parent, name)?, Known::Yes(_));
            }
            if all {
                return change(&mut state);
            }
        }
    }

    /// What is in the overlay now.
    pub fn pending(&self) -> Pending {
        let state = self.state.lock();
        let mut pending = Pending::default();
        for node in state.nodes.values().filter(|n| n.linked && n.changed) {
            match node.file() {
                Some(file) if file.dirty => {
                    pending.files += 1;
                    pending.bytes += file.size;
                }
                Some(_) | None => pending.changes += 1,
            }
        }
        let folders = state.nodes.values().filter_map(|n| n.folder());
        pending.changes += folders
            .map(|f| {
                f.changed
                    .iter()
                    .filter(|n| f.slots.get(*n).is_some_and(|s| s.ino.is_none() && s.lower))
                    .count() as u64
            })
            .sum::<u64>();
        pending
    }
}

impl State {
    pub(crate) fn stat(&self, ino: Ino) -> Result<Stat> {
        let node = self.node(ino)?;
        Ok(Stat {
            ino,
            kind: match node.kind {
                Kind::Folder(_) => FileKind::Folder,
                Kind::File(_) => FileKind::File,
                Kind::Link(_) => FileKind::Link,
                Kind::Special(special) => FileKind::Special(special),
            },
            size: node.size(),
            links: node.link_count(),
            stored: node.file().map_or(0, File::stored_bytes),
            attrs: node.attrs.clone(),
        })
    }

    /// [`stat`](Self::stat), and the kernel now knows this inode once more.
    pub(crate) fn stat_for_kernel(&mut self, ino: Ino) -> Result<Stat> {
        let stat = self.stat(ino)?;
        if ino != ROOT {
            self.node_mut(ino)?.lookups += 1;
        }
        Ok(stat)
    }
}
