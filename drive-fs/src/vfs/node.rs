//! What the mount holds in memory: inodes, and the names under which they stand.

use super::{attrs::Attrs, extents::Extents, lower::Content};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

/// Number of an inode; the root is 1.
pub type Ino = u64;
/// The root folder.
pub const ROOT: Ino = 1;

/// One inode.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) parent: Ino,
    pub(crate) name: Arc<str>,
    /// False once its last name is gone.
    pub(crate) linked: bool,
    /// How often the kernel was told of it and has not forgotten.
    pub(crate) lookups: u64,
    /// Open handles.
    pub(crate) handles: u32,
    /// It has a record in the overlay.
    pub(crate) recorded: bool,
    /// Entry and drive differ (a folder's record may be there only to carry what is below).
    pub(crate) changed: bool,
    pub(crate) attrs: Attrs,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Folder(Folder),
    File(File),
    Link(Arc<str>),
}

#[derive(Debug, Default)]
pub(crate) struct Folder {
    /// The drive folder whose children show through where no slot says otherwise. Not the folder's own path after a
    /// rename that is not published yet.
    pub(crate) lower: Option<String>,
    /// The drive has a description of it.
    pub(crate) described: bool,
    pub(crate) slots: HashMap<Arc<str>, Slot>,
    /// A name without a slot does not exist.
    pub(crate) complete: bool,
    /// Names whose slot differs from the drive, or below which something does.
    pub(crate) changed: BTreeSet<Arc<str>>,
}

/// What is known of one name in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Slot {
    /// What stands there.
    pub(crate) ino: Option<Ino>,
    /// The drive folder has this name too: without `ino`, it is deleted here and not yet there.
    pub(crate) lower: bool,
}

/// A file's content: the writes that are not published, over the published content, over zeros.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) base: Option<Content>,
    /// How much of `base` still shows: a truncation hides the rest for good.
    pub(crate) base_shown: u64,
    pub(crate) size: u64,
    pub(crate) extents: Extents,
    /// The content differs from `base`.
    pub(crate) dirty: bool,
    /// Handles that may write.
    pub(crate) writers: u32,
    pub(crate) first_write: Option<Instant>,
    pub(crate) last_write: Option<Instant>,
    /// Smallest size since the copy that is being published was taken.
    pub(crate) cut_since_copy: Option<u64>,
}

impl File {
    pub(crate) fn of_content(base: Option<Content>) -> Self {
        let size = base.map_or(0, |b| b.size);
        Self {
            base,
            base_shown: size,
            size,
            ..Self::default()
        }
    }

    /// Bytes of the overlay, for people to see.
    pub(crate) fn truncate(&mut self, size: u64) {
        self.extents.cut(size);
        self.base_shown = self.base_shown.min(size);
        if let Some(cut) = &mut self.cut_since_copy {
            *cut = (*cut).min(size);
        }
        self.size = size;
        self.touch();
    }

    pub(crate) fn touch(&mut self) {
        let now = Instant::now();
        self.dirty = true;
        self.first_write.get_or_insert(now);
        self.last_write = Some(now);
    }
}

impl Node {
    pub(crate) fn folder(&self) -> Option<&Folder> {
        match &self.kind {
            Kind::Folder(folder) => Some(folder),
            Kind::File(_) | Kind::Link(_) => None,
        }
    }

    pub(crate) fn folder_mut(&mut self) -> Option<&mut Folder> {
        match &mut self.kind {
            Kind::Folder(folder) => Some(folder),
            Kind::File(_) | Kind::Link(_) => None,
        }
    }

    pub(crate) fn file(&self) -> Option<&File> {
        match &self.kind {
            Kind::File(file) => Some(file),
            Kind::Folder(_) | Kind::Link(_) => None,
        }
    }

    pub(crate) fn file_mut(&mut self) -> Option<&mut File> {
        match &mut self.kind {
            Kind::File(file) => Some(file),
            Kind::Folder(_) | Kind::Link(_) => None,
        }
    }

    pub(crate) fn is_folder(&self) -> bool {
        matches!(self.kind, Kind::Folder(_))
    }

    /// Bytes.
    pub(crate) fn size(&self) -> u64 {
        match &self.kind {
            Kind::Folder(_) => 4096,
            Kind::File(file) => file.size,
            Kind::Link(target) => target.len() as u64,
        }
    }
}
