//! A drive as a filesystem: inodes, handles, folders, errors, and the overlay. No type of FUSE is in here, so that it is tested
//! without a kernel; [`fuse`](crate::fuse) unpacks, calls and replies.
//!
//! What it promises: a change that was answered is in the store (it survives the end of the process), `sync` puts it on disk,
//! and a moment later it is a version of the drive. What not: file locks across mounts.
//! `docs/mount-semantics.md` is the whole of it.

mod ahead;
mod attributes;
mod attrs;
pub(crate) mod drive;
mod errno;
mod error;
mod extents;
mod file;
mod folder;
mod here;
mod hidden;
mod kernel;
mod links;
mod lower;
pub(crate) mod mounted;
mod name;
mod namespace;
mod node;
mod overlay;
mod patch;
mod plan;
mod publish;
mod refresh;
mod standing;
mod state;
#[cfg(test)]
mod tests;
#[allow(clippy::module_inception)]
mod vfs;

pub use attributes::{SetAttrs, Space, XATTR_BYTES_MAX, XattrMode};
pub use attrs::{Attrs, Owner, Time};
pub use drive::lower;
pub use errno::errno;
pub use error::VfsError;
pub use file::{Allocate, COPIED_AT_ONCE, FILE_BYTES_MAX, OpenMode, SeekFor};
pub use folder::Listed;
pub use lower::{
    Below, Block, Change, Content, ContentWriter, Drive, Found, LowerEntry, LowerError, MapWriter,
    Tree,
};
pub use name::NAME_BYTES_MAX;
pub use namespace::RenameMode;
pub use node::{Ino, ROOT};
pub use refresh::Stale;
pub use vfs::{FileKind, Pending, Stat, Vfs, VfsOptions};
