//! How far what was written has come.

use super::{
    error::{Result, VfsError},
    name,
    node::ROOT,
    vfs::Vfs,
};
use std::ffi::OsStr;

impl Vfs {
    /// True when what stands at `path` is in the drive at this path as it shows; false while changes of it, in the folder that it is, or a move of what it is in
    /// wait in the overlay. The root's path is empty or `/`.
    ///
    /// # Errors
    /// `NotFound`, and those of the drive.
    pub async fn is_published(&self, path: &str) -> Result<bool> {
        let mut at = ROOT;
        let (mut stands, mut moved) = (String::new(), false);
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let part = name::check(OsStr::new(part)).map_err(|_| VfsError::NotFound)?;
            let folder = at;
            at = self.child(folder, part).await?.ok_or(VfsError::NotFound)?;
            let state = self.state.lock();
            moved |= state.folder(folder)?.lower.as_deref() != Some(&*stands);
            stands = name::join(&stands, part);
        }
        let state = self.state.lock();
        let node = state.node(at)?;
        let below = node.folder().is_some_and(|f| !f.changed.is_empty());
        Ok(!moved && !node.changed && !below && !state.dirty.contains(&at))
    }

    /// True when all that this mount has answered is on disk.
    pub fn is_synced(&self) -> bool {
        let (store, seq) = self.state.lock().overlay.last_commit();
        store.synced_seq() >= seq
    }
}
