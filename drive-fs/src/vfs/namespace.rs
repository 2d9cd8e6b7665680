//! Names: looking them up, making, removing and moving them.

use super::{
    attrs::{Attrs, Owner, Time},
    error::{Result, VfsError},
    name::{self, NAME_BYTES_MAX},
    node::{File, Folder, Ino, Kind, Node, ROOT, Slot},
    overlay::KindRecord,
    overlay::NodeRecord,
    state::State,
    vfs::{Stat, Vfs},
};
use crate::posix::Special;
use pome_cores::Batch;
use std::{ffi::OsStr, os::unix::ffi::OsStrExt, sync::Arc};

/// How [`Vfs::rename`] treats what stands at the new name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RenameMode {
    /// It is replaced, if the kinds fit.
    #[default]
    Replace,
    /// `EEXIST`.
    NoReplace,
    /// The two change places.
    Exchange,
}

impl Vfs {
    /// A name's inode. Every answer counts as one reference of the kernel, until [`forget`](Self::forget).
    ///
    /// # Errors
    /// `NotFound`, also for names that a drive cannot hold; `NameTooLong`; `NotFolder`.
    pub async fn lookup(&self, parent: Ino, name: &OsStr) -> Result<Stat> {
        if name.as_bytes().len() > NAME_BYTES_MAX {
            return Err(VfsError::NameTooLong);
        }
        let Ok(name) = name::check(name) else {
            self.state.lock().folder(parent)?;
            return Err(VfsError::NotFound);
        };
        if super::hidden::is_hidden(parent) {
            self.state.lock().forget_absence(parent, name);
        }
        self.with_names(&[(parent, name)], |state| {
            let ino = state.slot(parent, name)?.ino.ok_or(VfsError::NotFound)?;
            state.stat_for_kernel(ino)
        })
        .await
    }

    /// The kernel drops `count` references.
    pub fn forget(&self, ino: Ino, count: u64) {
        let mut state = self.state.lock();
        if ino != ROOT
            && let Ok(node) = state.node_mut(ino)
        {
            node.lookups = node.lookups.saturating_sub(count);
            state.drop_if_gone(ino);
        }
    }

    /// Makes an empty file.
    ///
    /// # Errors
    /// `Exists`, `NotFound` when the folder is gone, `ReadOnly`, and those of names.
    pub async fn make_file(
        &self,
        parent: Ino,
        name: &OsStr,
        mode: u32,
        owner: Owner,
    ) -> Result<Stat> {
        self.make(parent, name, mode, owner, || {
            Kind::File(File {
                dirty: true,
                ..File::default()
            })
        })
        .await
    }

    /// Makes a folder.
    ///
    /// # Errors
    /// As [`make_file`](Self::make_file).
    pub async fn make_folder(
        &self,
        parent: Ino,
        name: &OsStr,
        mode: u32,
        owner: Owner,
    ) -> Result<Stat> {
        self.make(parent, name, mode, owner, || {
            Kind::Folder(Folder {
                complete: true,
                ..Folder::default()
            })
        })
        .await
    }

    /// Makes a pipe, a socket or a device.
    ///
    /// # Errors
    /// As [`make_file`](Self::make_file).
    pub async fn make_special(
        &self,
        parent: Ino,
        name: &OsStr,
        mode: u32,
        owner: Owner,
        special: Special,
    ) -> Result<Stat> {
        self.make(parent, name, mode, owner, || Kind::Special(special))
            .await
    }

    /// Makes a symlink. `target` is kept as it is and `readlink` answers exactly it.
    ///
    /// # Errors
    /// As [`make_file`](Self::make_file); `NameNotText` for a target that is not UTF-8.
    pub async fn make_link(
        &self,
        parent: Ino,
        name: &OsStr,
        target: &OsStr,
        owner: Owner,
    ) -> Result<Stat> {
        let target: Arc<str> = std::str::from_utf8(target.as_bytes())
            .map_err(|_| VfsError::NameNotText)?
            .into();
        self.make(parent, name, 0o777, owner, || Kind::Link(target.clone()))
            .await
    }

    /// A symlink's target.
    ///
    /// # Errors
    /// `NotFound`; `InvalidArgument` for what is no symlink.
    pub fn read_link(&self, ino: Ino) -> Result<Arc<str>> {
        match &self.state.lock().node(ino)?.kind {
            Kind::Link(target) => Ok(target.clone()),
            Kind::File(_) | Kind::Folder(_) | Kind::Special(_) => Err(VfsError::InvalidArgument),
        }
    }

    async fn make(
        &self,
        parent: Ino,
        name: &OsStr,
        mode: u32,
        owner: Owner,
        kind: impl Fn() -> Kind,
    ) -> Result<Stat> {
        let name = name::check(name)?;
        self.must_write()?;
        let stat = {
            let _names = self.names.read().await;
            self.with_names(&[(parent, name)], |state| {
                let ino = state.insert_new(parent, name, mode, owner, kind())?;
                state.stat_for_kernel(ino)
            })
            .await?
        };
        self.publisher.changed();
        Ok(stat)
    }

    /// Removes a file or symlink. An open file keeps its content until its last handle is closed.
    ///
    /// # Errors
    /// `NotFound`, `IsFolder`, `ReadOnly`.
    pub async fn unlink(&self, parent: Ino, name: &OsStr) -> Result<()> {
        let name = name::check(name).map_err(not_found)?;
        self.must_write()?;
        {
            let _names = self.names.read().await;
            self.know_names_at(parent, name).await?;
            self.with_names(&[(parent, name)], |state| {
                let ino = state.slot(parent, name)?.ino.ok_or(VfsError::NotFound)?;
                if state.node(ino)?.is_folder() {
                    return Err(VfsError::IsFolder);
                }
                state.remove_name(parent, name)
            })
            .await?;
        }
        self.publisher.changed();
        Ok(())
    }

    /// Removes an empty folder.
    ///
    /// # Errors
    /// `NotFound`, `NotFolder`, `NotEmpty`, `ReadOnly`.
    pub async fn remove_folder(&self, parent: Ino, name: &OsStr) -> Result<()> {
        let name = name::check(name).map_err(not_found)?;
        self.must_write()?;
        {
            let _names = self.names.read().await;
            loop {
                let ino = self.child(parent, name).await?.ok_or(VfsError::NotFound)?;
                self.know_emptiness(ino).await?;
                let done = self
                    .with_names(&[(parent, name)], |state| {
                        let found = state.slot(parent, name)?.ino.ok_or(VfsError::NotFound)?;
                        match state.empty(found)? {
                            Some(true) => state.remove_name(parent, name).map(|()| true),
                            Some(false) => Err(VfsError::NotEmpty),
                            None => Ok(false),
                        }
                    })
                    .await?;
                if done {
                    break;
                }
            }
        }
        self.publisher.changed();
        Ok(())
    }

    /// Moves a name, over an existing one if `mode` allows. A folder moves with all below it, at a cost that does not grow with it.
    ///
    /// # Errors
    /// `NotFound`; `Exists`; `NotFolder`, `IsFolder`, `NotEmpty` when what stands there does not fit; `InvalidArgument` for a folder
    /// moved below itself; `ReadOnly`; those of names.
    pub async fn rename(
        &self,
        from: (Ino, &OsStr),
        to: (Ino, &OsStr),
        mode: RenameMode,
    ) -> Result<()> {
        let from = (from.0, name::check(from.1).map_err(not_found)?);
        let to = (to.0, name::check(to.1)?);
        self.must_write()?;
        {
            let _names = self.names.read().await;
            loop {
                self.know_names_at(from.0, from.1).await?;
                self.know_names_at(to.0, to.1).await?;
                if mode == RenameMode::Replace
                    && let Some(target) = self.child(to.0, to.1).await?
                    && self.state.lock().node(target)?.is_folder()
                {
                    self.know_emptiness(target).await?;
                }
                if self
                    .with_names(&[from, to], |state| state.rename(from, to, mode))
                    .await?
                {
                    break;
                }
            }
        }
        self.publisher.changed();
        Ok(())
    }

    /// Loads a folder's listing unless something is known to be in it.
    async fn know_emptiness(&self, ino: Ino) -> Result<()> {
        if self.state.lock().empty(ino)?.is_none() {
            self.load_folder(ino).await?;
        }
        Ok(())
    }
}

/// Removing or moving a name that cannot exist.
fn not_found(error: VfsError) -> VfsError {
    match error {
        VfsError::NameNotText | VfsError::NameNotAllowed => VfsError::NotFound,
        other => other,
    }
}

impl State {
    /// Whether a folder is empty; `None` when its listing is not known.
    fn empty(&self, ino: Ino) -> Result<Option<bool>> {
        let folder = self.folder(ino)?;
        if folder.slots.values().any(|s| s.ino.is_some()) {
            return Ok(Some(false));
        }
        Ok(folder.complete.then_some(true))
    }

    pub(crate) fn insert_new(
        &mut self,
        parent: Ino,
        name: &str,
        mode: u32,
        owner: Owner,
        kind: Kind,
    ) -> Result<Ino> {
        let slot = self.slot(parent, name)?;
        if slot.ino.is_some() {
            return Err(VfsError::Exists);
        }
        self.may_change_name(parent, name)?;
        let folder = self.node(parent)?;
        if !folder.linked {
            return Err(VfsError::NotFound);
        }
        let mut attrs = Attrs::new(mode, owner);
        if folder.attrs.mode & 0o2000 != 0 {
            attrs.gid = folder.attrs.gid;
            if matches!(kind, Kind::Folder(_)) {
                attrs.mode |= 0o2000;
            }
        }
        let ino = self.new_ino(parent, name);
        let mut batch = Batch::new();
        self.record_path(&mut batch, parent)?;
        let record = NodeRecord {
            parent,
            name: name.to_owned(),
            lower: slot.lower,
            put: true,
            changed: true,
            seq: self.overlay.seq(),
            attrs: attrs.clone(),
            kind: match &kind {
                Kind::Folder(f) => KindRecord::Folder {
                    lower: f.lower.clone(),
                    described: f.described,
                },
                Kind::File(f) => KindRecord::File { base: f.base },
                Kind::Link(target) => KindRecord::Link {
                    target: target.to_string(),
                },
                Kind::Special(special) => KindRecord::Special(*special),
            },
            link: None,
        };
        self.overlay.put_node(&mut batch, ino, &record)?;
        if slot.lower {
            self.overlay.delete_gone(&mut batch, parent, name);
        }
        self.overlay.commit(batch)?;
        self.recorded_path(parent);
        let name: Arc<str> = name.into();
        let node = Node {
            parent,
            name: name.clone(),
            others: Vec::new(),
            link: None,
            linked: true,
            lookups: 0,
            handles: 0,
            recorded: true,
            changed: true,
            attrs,
            kind,
        };
        if node.file().is_some() {
            self.dirty.insert(ino);
        }
        self.nodes.insert(ino, node);
        self.set_slot(parent, &name, Slot::put(ino, slot.lower))?;
        self.touch_folder(parent);
        Ok(ino)
    }

    pub(crate) fn set_slot(&mut self, parent: Ino, name: &Arc<str>, slot: Slot) -> Result<()> {
        let folder = self.folder_mut(parent)?;
        folder.changed.insert(name.clone());
        if slot == Slot::default() && folder.complete {
            folder.slots.remove(name);
        } else {
            folder.slots.insert(name.clone(), slot);
        }
        Ok(())
    }

    /// What makes room for a name that goes away: its records, and its bytes unless somebody has it open.
    pub(crate) fn forget_node(&self, batch: &mut Batch, ino: Ino) -> Result<()> {
        let node = self.node(ino)?;
        if node.recorded {
            self.overlay.delete_node(batch, ino);
            if node.is_folder() {
                self.overlay.delete_gone_below(batch, ino);
            }
        }
        if node.handles == 0 && node.file().is_some_and(|f| f.dirty) {
            self.overlay.delete_data(batch, ino, u64::MAX);
        }
        Ok(())
    }

    /// After the commit of [`forget_node`](Self::forget_node).
    pub(crate) fn forgot_node(&mut self, ino: Ino) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.linked = false;
            node.recorded = false;
            node.attrs.ctime = Time::now();
            let unused = node.handles == 0;
            if let Some(file) = node.file_mut()
                && unused
            {
                *file = File::default();
                self.dirty.remove(&ino);
            }
            if let Some(folder) = node.folder_mut() {
                *folder = Folder {
                    complete: true,
                    ..Folder::default()
                };
            }
        }
        self.drop_if_gone(ino);
    }

    /// Removes a name whose inode is a file, a link or an empty folder.
    fn remove_name(&mut self, parent: Ino, name: &str) -> Result<()> {
        let slot = self.slot(parent, name)?;
        let ino = slot.ino.ok_or(VfsError::NotFound)?;
        self.may_change_name(parent, name)?;
        let mut batch = Batch::new();
        self.forget_name(&mut batch, ino, (parent, name))?;
        if slot.lower {
            self.record_path(&mut batch, parent)?;
            self.overlay.put_gone(&mut batch, parent, name);
        }
        self.overlay.commit(batch)?;
        if slot.lower {
            self.recorded_path(parent);
        }
        self.set_slot(parent, &name.into(), Slot::gone(slot.lower))?;
        self.forgot_name(ino, (parent, name));
        self.touch_folder(parent);
        Ok(())
    }

    fn is_below(&self, mut ino: Ino, top: Ino) -> bool {
        loop {
            if ino == top {
                return true;
            }
            match self.nodes.get(&ino) {
                Some(node) if ino != ROOT => ino = node.parent,
                Some(_) | None => return false,
            }
        }
    }

    /// Answers false when the target's listing must be loaded first.
    fn rename(&mut self, from: (Ino, &str), to: (Ino, &str), mode: RenameMode) -> Result<bool> {
        let from_slot = self.slot(from.0, from.1)?;
        let to_slot = self.slot(to.0, to.1)?;
        let ino = from_slot.ino.ok_or(VfsError::NotFound)?;
        self.may_change_name(from.0, from.1)?;
        self.may_change_name(to.0, to.1)?;
        if !self.node(to.0)?.linked {
            return Err(VfsError::NotFound);
        }
        let folder = self.node(ino)?.is_folder();
        if folder && self.is_below(to.0, ino) {
            return Err(VfsError::InvalidArgument);
        }
        match (mode, to_slot.ino) {
            (RenameMode::NoReplace, Some(_)) => return Err(VfsError::Exists),
            (RenameMode::Exchange, None) => return Err(VfsError::NotFound),
            (RenameMode::Exchange, Some(other)) => {
                if self.is_below(from.0, other) && self.node(other)?.is_folder() {
                    return Err(VfsError::InvalidArgument);
                }
                if ino == other {
                    return Ok(true);
                }
                self.exchange(from, to, ino, other)?;
                return Ok(true);
            }
            (RenameMode::Replace, Some(other)) => {
                if ino == other {
                    return Ok(true);
                }
                match (folder, self.node(other)?.is_folder()) {
                    (true, false) => return Err(VfsError::NotFolder),
                    (false, true) => return Err(VfsError::IsFolder),
                    (true, true) => match self.empty(other)? {
                        Some(true) => {}
                        Some(false) => return Err(VfsError::NotEmpty),
                        None => return Ok(false),
                    },
                    (false, false) => {}
                }
            }
            (RenameMode::Replace | RenameMode::NoReplace, None) => {}
        }
        let now = Time::now();
        let mut batch = Batch::new();
        self.record_path(&mut batch, from.0)?;
        self.record_path(&mut batch, to.0)?;
        if let Some(other) = to_slot.ino {
            self.forget_name(&mut batch, other, to)?;
        } else if to_slot.lower {
            self.overlay.delete_gone(&mut batch, to.0, to.1);
        }
        if from_slot.lower {
            self.overlay.put_gone(&mut batch, from.0, from.1);
        }
        self.leave_name(&mut batch, ino, from)?;
        self.put_moved(&mut batch, ino, from, to, to_slot.lower, now)?;
        self.overlay.commit(batch)?;
        self.recorded_path(from.0);
        self.recorded_path(to.0);
        if let Some(other) = to_slot.ino {
            self.forgot_name(other, to);
        }
        self.set_slot(from.0, &from.1.into(), Slot::gone(from_slot.lower))?;
        self.set_slot(to.0, &to.1.into(), Slot::put(ino, to_slot.lower))?;
        self.moved(ino, from, to, now);
        self.touch_folder(from.0);
        self.touch_folder(to.0);
        Ok(true)
    }

    fn exchange(&mut self, from: (Ino, &str), to: (Ino, &str), ino: Ino, other: Ino) -> Result<()> {
        let (from_slot, to_slot) = (self.slot(from.0, from.1)?, self.slot(to.0, to.1)?);
        let now = Time::now();
        let mut batch = Batch::new();
        self.record_path(&mut batch, from.0)?;
        self.record_path(&mut batch, to.0)?;
        self.leave_name(&mut batch, ino, from)?;
        self.leave_name(&mut batch, other, to)?;
        self.put_moved(&mut batch, ino, from, to, to_slot.lower, now)?;
        self.put_moved(&mut batch, other, to, from, from_slot.lower, now)?;
        self.overlay.commit(batch)?;
        self.recorded_path(from.0);
        self.recorded_path(to.0);
        self.set_slot(from.0, &from.1.into(), Slot::put(other, from_slot.lower))?;
        self.set_slot(to.0, &to.1.into(), Slot::put(ino, to_slot.lower))?;
        self.moved(ino, from, to, now);
        self.moved(other, to, from, now);
        self.touch_folder(from.0);
        self.touch_folder(to.0);
        Ok(())
    }
}
