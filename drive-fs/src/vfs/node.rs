//! What the mount holds in memory: inodes, and the names under which they stand.

use super::{attrs::Attrs, extents::Extents, lower::Content};
use crate::posix::Special;
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
    /// Its other names (hard links); only of what is no folder.
    pub(crate) others: Vec<(Ino, Arc<str>)>,
    /// Set once it has, or had, several names.
    pub(crate) link: Option<Link>,
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

/// What a file of several names has besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its number in the drive.
    pub(crate) id: u64,
    /// How many names the drive says that it has.
    pub(crate) count: u32,
    /// Every name is in memory. Must hold before anything about the file is changed, since the entries of all names change with it.
    pub(crate) known: bool,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Folder(Folder),
    File(File),
    Link(Arc<str>),
    Special(Special),
}

impl Kind {
    /// True where both are the same thing but for attributes: the same published content, the same target.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Folder(_), Self::Folder(_)) => true,
            (Self::File(one), Self::File(other)) => one.base == other.base,
            (Self::Link(one), Self::Link(other)) => one == other,
            (Self::Special(one), Self::Special(other)) => one == other,
            (Self::Folder(_) | Self::File(_) | Self::Link(_) | Self::Special(_), _) => false,
        }
    }
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
    /// It was put there here (made, renamed, linked) and is not published: it stays, whatever is put there or deleted elsewhere.
    pub(crate) put: bool,
}

impl Slot {
    /// Of what the drive folder has too.
    pub(crate) fn of_drive(ino: Ino) -> Self {
        Self {
            ino: Some(ino),
            lower: true,
            put: false,
        }
    }

    /// Of what is put there here.
    pub(crate) fn put(ino: Ino, lower: bool) -> Self {
        Self {
            ino: Some(ino),
            lower,
            put: true,
        }
    }

    /// Of what goes away here.
    pub(crate) fn gone(lower: bool) -> Self {
        Self {
            ino: None,
            lower,
            put: false,
        }
    }
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

    /// Bytes of it that are no hole. With many writes nobody counts them, and all of it counts as stored.
    pub(crate) fn stored_bytes(&self) -> u64 {
        const COUNTED_MAX: usize = 64;
        if !self.dirty || self.extents.len() > COUNTED_MAX {
            return self.size;
        }
        let pieces = super::file::pieces(&self.extents, self.base, self.base_shown, 0, self.size);
        let stored = pieces.iter().map(|piece| match piece {
            super::file::Piece::Journal { len, .. } | super::file::Piece::Base { len, .. } => *len,
            super::file::Piece::Zero { .. } => 0,
        });
        stored.sum()
    }

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
            Kind::File(_) | Kind::Link(_) | Kind::Special(_) => None,
        }
    }

    pub(crate) fn folder_mut(&mut self) -> Option<&mut Folder> {
        match &mut self.kind {
            Kind::Folder(folder) => Some(folder),
            Kind::File(_) | Kind::Link(_) | Kind::Special(_) => None,
        }
    }

    pub(crate) fn file(&self) -> Option<&File> {
        match &self.kind {
            Kind::File(file) => Some(file),
            Kind::Folder(_) | Kind::Link(_) | Kind::Special(_) => None,
        }
    }

    pub(crate) fn file_mut(&mut self) -> Option<&mut File> {
        match &mut self.kind {
            Kind::File(file) => Some(file),
            Kind::Folder(_) | Kind::Link(_) | Kind::Special(_) => None,
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
            Kind::Special(_) => 0,
        }
    }

    /// All its names, the one in its record first.
    pub(crate) fn names(&self) -> impl Iterator<Item = (Ino, &Arc<str>)> {
        let others = self.others.iter().map(|(folder, name)| (*folder, name));
        std::iter::once((self.parent, &self.name)).chain(others)
    }

    /// `st_nlink`. Of folders 1, which says that it does not count what is in it.
    pub(crate) fn link_count(&self) -> u32 {
        if !self.linked {
            return 0;
        }
        let here = u32::try_from(self.others.len()).map_or(u32::MAX, |n| n.saturating_add(1));
        match self.link {
            Some(link) if !link.known => here.max(link.count),
            Some(_) | None => here,
        }
    }
}
