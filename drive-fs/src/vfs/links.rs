//! Files of several names (hard links): all names are one inode, in the overlay and in memory; in the drive each is an entry of its own, with
//! the same content and the file's number ([`posix`](crate::posix) has the form). What is changed under one name is published under all,
//! so all names are brought into memory before the first change.

use super::{
    attrs::Time,
    error::{Result, VfsError},
    lower::Found,
    name,
    node::{Ino, Kind, Link, Node, ROOT, Slot},
    overlay::NodeRecord,
    state::State,
    vfs::{Stat, Vfs},
};
use pome_cores::Batch;
use std::{
    ffi::OsStr,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
};

/// As many names as a file has elsewhere too.
const NAMES_MAX: usize = 65_000;

impl Vfs {
    /// Gives a file, symlink or special file one more name.
    ///
    /// # Errors
    /// `NotPermitted` for a folder; `Exists`; `NotFound` when the file or the folder is gone; `TooManyLinks`; `ReadOnly`, also below `.pome`; those of names.
    pub async fn link(&self, ino: Ino, parent: Ino, name: &OsStr) -> Result<Stat> {
        let name = name::check(name)?;
        self.must_write()?;
        let stat = {
            let _names = self.names.read().await;
            self.know_names(ino).await?;
            self.with_names(&[(parent, name)], |state| {
                state.insert_link(ino, parent, name)?;
                state.stat_for_kernel(ino)
            })
            .await?
        };
        self.publisher.changed();
        Ok(stat)
    }

    /// Brings all names of a file into memory. Must be called while no version is made, before anything about the file is changed.
    pub(crate) async fn know_names(&self, ino: Ino) -> Result<()> {
        let (tree, id) = {
            let state = self.state.lock();
            match state.node(ino)?.link {
                Some(link) if !link.known => (state.tree.clone(), link.id),
                Some(_) | None => return Ok(()),
            }
        };
        for path in tree.link_names(id).await? {
            let Some(below) = path.strip_prefix('/') else {
                continue;
            };
            if self.walk(ROOT, below).await? {
                continue;
            }
            // A folder above it has moved, or is gone.
            let shown = self.state.lock().nearest_shown(&path);
            if let Some((folder, below)) = shown {
                self.walk(folder, below).await?;
            }
        }
        let mut state = self.state.lock();
        if let Some(link) = &mut state.node_mut(ino)?.link {
            link.known = true;
        }
        Ok(())
    }

    /// Looks at a path of the drive, from a folder that shows the drive's own. False when one on the way does not: then the way leads elsewhere.
    async fn walk(&self, mut folder: Ino, below: &str) -> Result<bool> {
        let (between, last) = below.rsplit_once('/').unwrap_or(("", below));
        for step in between.split('/').filter(|step| !step.is_empty()) {
            let Some(next) = self.child(folder, step).await? else {
                return Ok(false);
            };
            let state = self.state.lock();
            let shows = |ino: Ino| state.nodes.get(&ino)?.folder()?.lower.as_deref();
            let wanted = shows(folder).map(|path| name::join(path, step));
            if wanted.is_none() || shows(next) != wanted.as_deref() {
                return Ok(false);
            }
            folder = next;
        }
        self.child(folder, last).await?;
        Ok(true)
    }

    /// [`know_names`](Self::know_names) of what stands at a name, if anything does.
    pub(crate) async fn know_names_at(&self, parent: Ino, name: &str) -> Result<()> {
        match self.child(parent, name).await? {
            Some(ino) => self.know_names(ino).await,
            None => Ok(()),
        }
    }
}

impl State {
    /// The folder in memory that shows the deepest drive folder above `path`, and the rest of the path.
    fn nearest_shown<'p>(&self, path: &'p str) -> Option<(Ino, &'p str)> {
        let mut above = path;
        loop {
            above = above.get(..above.rfind('/')?)?;
            let shows = |node: &Node| {
                node.linked
                    && node
                        .folder()
                        .is_some_and(|f| f.lower.as_deref() == Some(above))
            };
            if let Some((ino, _)) = self.nodes.iter().find(|(_, node)| shows(node)) {
                return Some((*ino, path.get(above.len() + 1..)?));
            }
        }
    }

    /// The inode in memory that an entry with a file's number is a name of.
    pub(crate) fn linked_to(&self, id: u64, attrs: &super::Attrs, kind: &Kind) -> Option<Ino> {
        let ino = *self.links.get(&id)?;
        let node = self.nodes.get(&ino).filter(|node| node.linked)?;
        // A record has all names already: what comes later is what somebody else has made of it.
        (node.kind.is(kind) && !node.recorded && node.attrs == *attrs).then_some(ino)
    }

    fn insert_link(&mut self, ino: Ino, parent: Ino, name: &str) -> Result<()> {
        self.may_change(ino)?;
        self.may_change_name(parent, name)?;
        let slot = self.slot(parent, name)?;
        if slot.ino.is_some() {
            return Err(VfsError::Exists);
        }
        let node = self.node(ino)?;
        if node.is_folder() {
            return Err(VfsError::NotPermitted);
        }
        if !node.linked || !self.node(parent)?.linked {
            return Err(VfsError::NotFound);
        }
        if node.others.len() + 1 >= NAMES_MAX {
            return Err(VfsError::TooManyLinks);
        }
        let id = node.link.map_or_else(|| self.new_link(), |link| link.id);
        let now = Time::now();
        let mut batch = Batch::new();
        self.record_path(&mut batch, ino)?;
        self.record_path(&mut batch, parent)?;
        let mut record = self.record_of(ino)?;
        record.changed = true;
        record.attrs.ctime = now;
        record.link = Some(id);
        self.overlay.put_node(&mut batch, ino, &record)?;
        self.overlay
            .put_name(&mut batch, parent, name, Slot::put(ino, slot.lower));
        if slot.lower {
            self.overlay.delete_gone(&mut batch, parent, name);
        }
        self.overlay.commit(batch)?;
        self.recorded_path(ino);
        self.recorded_path(parent);
        let name: Arc<str> = name.into();
        let node = self.node_mut(ino)?;
        node.others.push((parent, name.clone()));
        node.link = Some(Link {
            id,
            count: 0,
            known: true,
        });
        node.changed = true;
        node.attrs.ctime = now;
        self.links.insert(id, ino);
        self.set_slot(parent, &name, Slot::put(ino, slot.lower))?;
        self.touch_folder(parent);
        Ok(())
    }

    /// A number that no other file of the drive has: numbers are never given twice, so it is one that nobody guesses.
    fn new_link(&self) -> u64 {
        loop {
            let id = RandomState::new().build_hasher().finish();
            if id != 0 && !self.links.contains_key(&id) {
                return id;
            }
        }
    }

    /// The record of a node of several names after one of them went, and which of the others became the one in the record.
    fn record_without(&self, ino: Ino, at: (Ino, &str)) -> Result<(NodeRecord, Option<usize>)> {
        let node = self.node(ino)?;
        let mut record = self.record_of(ino)?;
        record.changed = true;
        record.attrs.ctime = Time::now();
        if (node.parent, &*node.name) != at {
            return Ok((record, None));
        }
        let (folder, name) = node.others.last().ok_or(VfsError::NotFound)?;
        record.parent = *folder;
        record.name = name.to_string();
        let slot = self.slot(*folder, name)?;
        (record.lower, record.put) = (slot.lower, slot.put);
        Ok((record, Some(node.others.len() - 1)))
    }

    /// What makes room for a name that goes away: of a file's last name its records and bytes, else only the name.
    pub(crate) fn forget_name(&self, batch: &mut Batch, ino: Ino, at: (Ino, &str)) -> Result<()> {
        let node = self.node(ino)?;
        if node.others.is_empty() {
            return self.forget_node(batch, ino);
        }
        self.record_path(batch, ino)?;
        let (record, moved) = self.record_without(ino, at)?;
        match moved.and_then(|moved| node.others.get(moved)) {
            Some((folder, name)) => self.overlay.delete_name(batch, *folder, name),
            None => self.overlay.delete_name(batch, at.0, at.1),
        }
        self.overlay.put_node(batch, ino, &record)
    }

    /// After the commit of [`forget_name`](Self::forget_name).
    pub(crate) fn forgot_name(&mut self, ino: Ino, at: (Ino, &str)) {
        if self.nodes.get(&ino).is_none_or(|n| n.others.is_empty()) {
            self.forgot_node(ino);
            return;
        }
        self.recorded_path(ino);
        self.without_name(ino, at);
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.changed = true;
            node.attrs.ctime = Time::now();
        }
    }

    /// Takes one of several names from a node.
    pub(crate) fn without_name(&mut self, ino: Ino, at: (Ino, &str)) {
        let Some(node) = self.nodes.get_mut(&ino) else {
            return;
        };
        if (node.parent, &*node.name) == at {
            if let Some((folder, name)) = node.others.pop() {
                (node.parent, node.name) = (folder, name);
            }
        } else {
            node.others
                .retain(|(folder, name)| (*folder, &**name) != at);
        }
    }

    /// Takes away the record of a name that a node moves from, where it is one of several. In an exchange this comes before either is put at its new name.
    pub(crate) fn leave_name(&self, batch: &mut Batch, ino: Ino, from: (Ino, &str)) -> Result<()> {
        if !self.node(ino)?.others.is_empty() {
            self.record_path(batch, ino)?;
            self.overlay.delete_name(batch, from.0, from.1);
        }
        Ok(())
    }

    /// The records of a node that moves from one name to another. Those of the names that anything moves from must be gone from the batch before: see
    /// [`leave_name`](Self::leave_name).
    pub(crate) fn put_moved(
        &self,
        batch: &mut Batch,
        ino: Ino,
        from: (Ino, &str),
        to: (Ino, &str),
        lower: bool,
        now: Time,
    ) -> Result<()> {
        let node = self.node(ino)?;
        let mut record = self.record_of(ino)?;
        if (node.parent, &*node.name) == from {
            record.parent = to.0;
            to.1.clone_into(&mut record.name);
            (record.lower, record.put) = (lower, true);
        } else {
            self.overlay
                .put_name(batch, to.0, to.1, Slot::put(ino, lower));
        }
        record.changed = true;
        record.attrs.ctime = now;
        self.overlay.put_node(batch, ino, &record)
    }

    /// After the commit of [`put_moved`](Self::put_moved), once the slots are as they shall be.
    pub(crate) fn moved(&mut self, ino: Ino, from: (Ino, &str), to: (Ino, &str), now: Time) {
        let Some(node) = self.nodes.get_mut(&ino) else {
            return;
        };
        if (node.parent, &*node.name) == from {
            (node.parent, node.name) = (to.0, to.1.into());
        } else if let Some(name) = node
            .others
            .iter_mut()
            .find(|(folder, name)| (*folder, &**name) == from)
        {
            *name = (to.0, to.1.into());
        }
        node.changed = true;
        node.attrs.ctime = now;
        if node.others.is_empty() {
            node.recorded = true;
        } else {
            self.recorded_path(ino);
        }
    }
}

/// The number under which an entry is one of several names.
pub(crate) fn link_of(found: &Found) -> Option<Link> {
    match found {
        Found::Folder { .. } => None,
        Found::Leaf(entry) => entry.link().map(|link| Link {
            id: link.id,
            count: link.count,
            known: false,
        }),
    }
}
