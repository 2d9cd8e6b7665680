//! Listing folders.

use super::{
    error::{Result, VfsError},
    hidden::HIDDEN,
    lower::{Found, LowerError, Tree},
    name::join,
    node::{Ino, ROOT},
    state::{Known, Listing, State},
    vfs::{Stat, Vfs},
};
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use std::{collections::HashMap, sync::Arc};

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

/// A listing that comes from far away, as far as it has come.
pub(crate) struct Coming {
    names: BoxStream<'static, std::result::Result<(String, Found), LowerError>>,
    /// What it is a listing of.
    path: String,
    tree: Arc<dyn Tree>,
    lines: Listing,
    /// Where each name stands in them.
    at: HashMap<Arc<str>, usize>,
    ended: bool,
    /// It broke off, and begins anew when it is asked for again: what has come is known by its name.
    broken: bool,
}

impl std::fmt::Debug for Coming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, ended, .. } = self;
        write!(
            f,
            "Coming({path:?}, {} lines, ended: {ended})",
            self.lines.len()
        )
    }
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
        if let Some(coming) = self.coming(ino, handle, offset)? {
            return self.read_coming(ino, &coming, offset, count).await;
        }
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
        self.lines(ino, &listing, offset, count).await
    }

    /// Up to `count` lines of a listing from `offset`, as they are now.
    async fn lines(
        &self,
        ino: Ino,
        listing: &Listing,
        offset: u64,
        count: usize,
    ) -> Result<Vec<Listed>> {
        let mut at = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut lines = Vec::new();
        loop {
            let forgotten = {
                let state = self.state.lock();
                loop {
                    let Some((name, inode)) = listing.get(at).filter(|_| lines.len() < count)
                    else {
                        return Ok(lines);
                    };
                    let stands = match at {
                        0 | 1 => Some(*inode),
                        _ => match state.known(ino, name)? {
                            Known::Yes(stands) => stands,
                            Known::Ask(_) => break name,
                        },
                    };
                    at += 1;
                    if let Some(stat) = stands.and_then(|inode| state.stat(inode).ok()) {
                        lines.push(Listed {
                            name: name.clone(),
                            stat,
                            next: at as u64,
                        });
                    }
                }
            };
            // Nobody referred to it, and it made room for others.
            self.child(ino, forgotten).await?;
        }
    }

    /// The listing that is coming through this handle; begins one where the folder is not known and may be far away.
    fn coming(
        &self,
        ino: Ino,
        handle: u64,
        offset: u64,
    ) -> Result<Option<Arc<tokio::sync::Mutex<Coming>>>> {
        let mut state = self.state.lock();
        let open = state.handles.get(&handle).ok_or(VfsError::BadHandle)?;
        if offset > 0 {
            return Ok(open.coming.clone());
        }
        let folder = state.folder(ino)?;
        let names = match &folder.lower {
            Some(path) if self.read_only && !folder.complete && folder.changed.is_empty() => {
                state.tree.coming(path).map(|names| (names, path.clone()))
            }
            Some(_) | None => None,
        };
        let parent = state.node(ino)?.parent;
        let coming = names.map(|(names, path)| {
            Arc::new(tokio::sync::Mutex::new(Coming {
                names,
                path,
                tree: state.tree.clone(),
                lines: vec![(".".into(), ino), ("..".into(), parent)],
                at: HashMap::new(),
                ended: false,
                broken: false,
            }))
        });
        if let Some(open) = state.handles.get_mut(&handle) {
            (open.coming, open.listing) = (coming.clone(), None);
        }
        Ok(coming)
    }

    /// What of it has come, from `offset` on; waits until there are `count` lines, or no more.
    async fn read_coming(
        &self,
        ino: Ino,
        coming: &tokio::sync::Mutex<Coming>,
        offset: u64,
        count: usize,
    ) -> Result<Vec<Listed>> {
        let mut coming = coming.lock().await;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        while !coming.ended && coming.lines.len() < start.saturating_add(count) {
            if coming.broken {
                let again = coming.tree.coming(&coming.path);
                coming.names = again.unwrap_or_else(|| futures_util::stream::empty().boxed());
                coming.broken = false;
            }
            let next = coming.names.try_next().await;
            // A listing that broke off is not at its end.
            coming.broken = next.is_err();
            let Some((name, found)) = next? else {
                coming.ended = true;
                let mut state = self.state.lock();
                if Arc::ptr_eq(&state.tree, &coming.tree)
                    && let Ok(folder) = state.folder_mut(ino)
                {
                    // Some may have made room for others since.
                    let mut names = coming.at.keys();
                    folder.complete = names.all(|name| folder.slots.contains_key(name));
                }
                break;
            };
            self.came(ino, &mut coming, name, found).await?;
        }
        self.lines(ino, &coming.lines, offset, count).await
    }

    /// Takes in one name of it.
    async fn came(&self, ino: Ino, coming: &mut Coming, name: String, found: Found) -> Result<()> {
        if ino == ROOT && name == HIDDEN {
            return Ok(());
        }
        let path = join(&coming.path, &name);
        let name: Arc<str> = name.into();
        let there = {
            let mut state = self.state.lock();
            let mut stale = Vec::new();
            let current = Arc::ptr_eq(&state.tree, &coming.tree);
            if let (Some(at), Found::Folder { .. }, true) = (coming.at.get(&name), &found, current)
                && let Some((_, old)) = coming.lines.get(*at)
                && state.node(*old).is_ok_and(|node| !node.is_folder())
            {
                // The folder hides the file that came before.
                state.vanish(ino, &name, *old, true, &mut stale);
            }
            state.learn(&coming.tree, ino, &name, &path, Some(found));
            let there = state.slot(ino, &name)?.ino;
            drop(state);
            self.tell(stale);
            there
        };
        // The drive has changed since: what stands there now counts.
        let there = match there {
            Some(there) => Some(there),
            None => self.child(ino, &name).await?,
        };
        let Some(there) = there else { return Ok(()) };
        match coming.at.get(&name).copied() {
            Some(at) => {
                if let Some(line) = coming.lines.get_mut(at) {
                    line.1 = there;
                }
            }
            None => {
                coming.at.insert(name.clone(), coming.lines.len());
                coming.lines.push((name, there));
            }
        }
        Ok(())
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
            .filter(|(name, _)| ino != ROOT || &***name != HIDDEN)
            .filter_map(|(name, slot)| slot.ino.map(|ino| (name.clone(), ino)))
            .collect();
        names.sort_unstable();
        let mut all = vec![(".".into(), ino), ("..".into(), parent)];
        all.append(&mut names);
        Ok(all)
    }
}
