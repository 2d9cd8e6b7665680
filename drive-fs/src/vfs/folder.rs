//! Listing folders.

use super::{
    error::{Result, VfsError},
    node::{Ino, ROOT},
    state::{Listing, State},
    vfs::{Stat, Vfs},
};
use std::sync::Arc;

/// One line of a listing.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The name; `.` and `..` come first.
    pub name: Arc<str>,
    /// What it is.
    pub stat: Stat,
    /// Where to go on after it.
    pub next: u64,
}

impl Vfs {
    /// Opens a folder and answers its handle.
    ///
    /// # Errors
    /// `NotFound`, `NotFolder`.
    pub fn open_folder(&self, ino: Ino) -> Result<u64> {
        let mut state = self.state.lock();
        state.folder(ino)?;
        state.open_handle(ino, false)
    }

    /// Up to `count` lines of a folder's listing from `offset`, a line's `next` or 0. The names are those of the moment at which
    /// offset 0 was read; one that went away since is left out.
    ///
    /// # Errors
    /// `BadHandle`, and those of the drive.
    pub async fn read_folder(
        &self,
        ino: Ino,
        handle: u64,
        offset: u64,
        count: usize,
    ) -> Result<Vec<Listed>> {
        let listing = self
            .state
            .lock()
            .handles
            .get(&handle)
            .ok_or(VfsError::BadHandle)?
            .listing
            .clone();
        let listing = match listing {
            Some(listing) if offset > 0 => listing,
            Some(_) | None => {
                self.load_folder(ino).await?;
                let mut state = self.state.lock();
                let listing = Arc::new(state.list(ino)?);
                state
                    .handles
                    .get_mut(&handle)
                    .ok_or(VfsError::BadHandle)?
                    .listing = Some(listing.clone());
                listing
            }
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let state = self.state.lock();
        let lines = listing.iter().enumerate().skip(start);
        Ok(lines
            .filter_map(|(i, (name, ino))| {
                let stat = state.stat(*ino).ok()?;
                Some(Listed {
                    name: name.clone(),
                    stat,
                    next: i as u64 + 1,
                })
            })
            .take(count)
            .collect())
    }

    /// The kernel took this line's inode from a listing: one more reference.
    pub fn listed(&self, ino: Ino) {
        if let Ok(node) = self.state.lock().node_mut(ino) {
            node.lookups += 1;
        }
    }
}

impl State {
    fn list(&self, ino: Ino) -> Result<Listing> {
        let parent = if ino == ROOT {
            ROOT
        } else {
            self.node(ino)?.parent
        };
        let mut names: Listing = self
            .folder(ino)?
            .slots
            .iter()
            .filter_map(|(name, slot)| slot.ino.map(|ino| (name.clone(), ino)))
            .collect();
        names.sort_unstable();
        let mut all = vec![(".".into(), ino), ("..".into(), parent)];
        all.append(&mut names);
        Ok(all)
    }
}
