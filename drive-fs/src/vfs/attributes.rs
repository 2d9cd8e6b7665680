//! `stat`, mode, owner, times, extended attributes, free space.

use super::{
    attrs::Time,
    error::{Result, VfsError},
    here,
    kernel::unprivileged,
    node::Ino,
    vfs::{Stat, Vfs},
};

/// Largest value of one extended attribute and of all of an inode's together, in bytes.
pub const XATTR_BYTES_MAX: usize = 64 * 1024;

/// What [`Vfs::set_attrs`] changes; `None` leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetAttrs {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Last read.
    pub atime: Option<Time>,
    /// Last write.
    pub mtime: Option<Time>,
}

/// What must or must not be there for [`Vfs::set_xattr`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XattrMode {
    /// Either.
    Any,
    /// It must be new.
    Create,
    /// It must exist.
    Replace,
}

/// Free space, in bytes, and counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// All of the disk that the store is on.
    pub total: u64,
    /// Free.
    pub free: u64,
    /// Free for whoever runs the store.
    pub available: u64,
    /// Files that the disk can hold.
    pub files: u64,
    /// Of these not used.
    pub files_free: u64,
}

impl Vfs {
    /// Kind, size, mode, owner, times.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn stat(&self, ino: Ino) -> Result<Stat> {
        self.state.lock().stat(ino)
    }

    /// Changes mode, owner or times.
    ///
    /// # Errors
    /// `NotFound`, `ReadOnly`.
    pub async fn set_attrs(&self, ino: Ino, set: SetAttrs) -> Result<Stat> {
        if set == SetAttrs::default() {
            return self.stat(ino);
        }
        self.must_write()?;
        let stat = {
            let _names = self.names.read().await;
            self.know_names(ino).await?;
            let now = Time::now();
            let mut state = self.state.lock();
            let given_away =
                (set.uid.is_some() || set.gid.is_some()) && !state.node(ino)?.is_folder();
            state.change_node(ino, |attrs| {
                if given_away {
                    attrs.mode = unprivileged(attrs.mode);
                }
                attrs.mode = set.mode.map_or(attrs.mode, |m| m & 0o7777);
                attrs.uid = set.uid.unwrap_or(attrs.uid);
                attrs.gid = set.gid.unwrap_or(attrs.gid);
                attrs.atime = set.atime.unwrap_or(attrs.atime);
                attrs.mtime = set.mtime.unwrap_or(attrs.mtime);
                attrs.mtime_set |= set.mtime.is_some();
                attrs.ctime = now;
            })?;
            state.stat(ino)?
        };
        self.publisher.changed();
        Ok(stat)
    }

    /// The value of an extended attribute.
    ///
    /// # Errors
    /// `NoAttribute`, `NotSupported` for POSIX ACLs and for names of no namespace that is kept.
    pub fn xattr(&self, ino: Ino, name: &str) -> Result<Vec<u8>> {
        supported(name)?;
        self.state
            .lock()
            .node(ino)?
            .attrs
            .xattrs
            .get(name)
            .cloned()
            .ok_or(VfsError::NoAttribute)
    }

    /// The names of all extended attributes.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn xattrs(&self, ino: Ino) -> Result<Vec<String>> {
        Ok(self
            .state
            .lock()
            .node(ino)?
            .attrs
            .xattrs
            .keys()
            .cloned()
            .collect())
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// `Exists` or `NoAttribute` as `mode` says, `AttributeTooLarge`, `NotSupported`, `ReadOnly`; `NotPermitted` for what the mount [makes](Self::made_xattr).
    pub async fn set_xattr(
        &self,
        ino: Ino,
        name: &str,
        value: &[u8],
        mode: XattrMode,
    ) -> Result<()> {
        supported(name)?;
        if here::is_made(name) {
            return Err(VfsError::NotPermitted);
        }
        self.must_write()?;
        {
            let _names = self.names.read().await;
            self.know_names(ino).await?;
            let mut state = self.state.lock();
            let xattrs = &state.node(ino)?.attrs.xattrs;
            match (mode, xattrs.contains_key(name)) {
                (XattrMode::Create, true) => return Err(VfsError::Exists),
                (XattrMode::Replace, false) => return Err(VfsError::NoAttribute),
                (XattrMode::Any | XattrMode::Create | XattrMode::Replace, _) => {}
            }
            let others: usize = xattrs
                .iter()
                .filter(|(n, _)| *n != name)
                .map(|(n, v)| n.len() + v.len())
                .sum();
            if others + name.len() + value.len() > XATTR_BYTES_MAX {
                return Err(VfsError::AttributeTooLarge);
            }
            let now = Time::now();
            state.change_node(ino, |attrs| {
                attrs.xattrs.insert(name.to_owned(), value.to_vec());
                attrs.ctime = now;
            })?;
        }
        self.publisher.changed();
        Ok(())
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// `NoAttribute`, `NotSupported`, `ReadOnly`, `NotPermitted`.
    pub async fn remove_xattr(&self, ino: Ino, name: &str) -> Result<()> {
        supported(name)?;
        if here::is_made(name) {
            return Err(VfsError::NotPermitted);
        }
        self.must_write()?;
        {
            let _names = self.names.read().await;
            self.know_names(ino).await?;
            let mut state = self.state.lock();
            if !state.node(ino)?.attrs.xattrs.contains_key(name) {
                return Err(VfsError::NoAttribute);
            }
            let now = Time::now();
            state.change_node(ino, |attrs| {
                attrs.xattrs.remove(name);
                attrs.ctime = now;
            })?;
        }
        self.publisher.changed();
        Ok(())
    }

    /// The space on the disk that the store is on.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn space(&self) -> Result<Space> {
        let stat = rustix::fs::statvfs(&self.options.space_of)
            .map_err(|e| VfsError::Lower(super::lower::LowerError::Other(e.to_string())))?;
        Ok(Space {
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            free: stat.f_bfree.saturating_mul(stat.f_frsize),
            available: stat.f_bavail.saturating_mul(stat.f_frsize),
            files: stat.f_files,
            files_free: stat.f_ffree,
        })
    }
}

/// `system.` has the ACLs, which would have to be obeyed, not only kept.
fn supported(name: &str) -> Result<()> {
    let kept = ["user.", "trusted.", "security."];
    if kept.iter().any(|space| name.starts_with(space)) {
        Ok(())
    } else {
        Err(VfsError::NotSupported)
    }
}
