//! How far what was written has come.

use super::{
    error::{Result, VfsError},
    name,
    node::{Ino, ROOT},
    state::State,
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
        state.node(at)?;
        Ok(!moved && !state.waits(at))
    }

    /// True when all that this mount has answered is on disk.
    pub fn is_synced(&self) -> bool {
        let (store, seq) = self.state.lock().overlay.last_commit();
        store.synced_seq() >= seq
    }
}

impl State {
    /// True when anything of it, or in it, is not published. What is only open for writing has a record, and is.
    fn waits(&self, top: Ino) -> bool {
        let mut todo = vec![top];
        while let Some(ino) = todo.pop() {
            let Some(node) = self.nodes.get(&ino) else {
                continue;
            };
            if node.changed || self.dirty.contains(&ino) {
                return true;
            }
            let Some(folder) = node.folder() else {
                continue;
            };
            for slot in folder.changed.iter().filter_map(|n| folder.slots.get(n)) {
                match slot.ino {
                    Some(ino) => todo.push(ino),
                    None if slot.lower => return true,
                    None => {}
                }
            }
        }
        false
    }
}
