//! Taking in what changed in the drive from elsewhere.

use super::{
    error::Result,
    lower::{Found, Tree},
    node::{Ino, Kind, ROOT, Slot},
    state::State,
    vfs::Vfs,
};
use parking_lot::Mutex;
use pome_cores::Batch;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

/// Something that the kernel may have cached and that is no longer so.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Stale {
    /// A name, there or not there.
    Name {
        /// In this folder.
        folder: Ino,
        /// The name.
        name: Arc<str>,
    },
    /// An inode's attributes and content.
    Inode(Ino),
}

type Tell = Box<dyn Fn(Vec<Stale>) + Send + Sync>;

/// Who is told of [`Stale`] things.
#[derive(Default)]
pub(crate) struct Watcher {
    tell: Mutex<Option<Tell>>,
}

impl Vfs {
    /// Has `tell` called with what is stale. It must not call back into this `Vfs`, nor wait for a request that does.
    pub fn on_stale(&self, tell: impl Fn(Vec<Stale>) + Send + Sync + 'static) {
        *self.watcher.tell.lock() = Some(Box::new(tell));
    }

    /// Takes in what was written to the drive elsewhere. What is in the overlay stays over it. Answers the version that shows.
    ///
    /// # Errors
    /// Those of the drive.
    pub async fn lower_changed(&self) -> Result<u64> {
        let _one = self.names.write().await;
        self.refresh_frozen().await?;
        Ok(self.version())
    }

    /// As [`lower_changed`](Self::lower_changed), with names frozen already.
    pub(crate) async fn refresh_frozen(&self) -> Result<()> {
        let old = self.state.lock().tree.clone();
        let new = self.drive.head().await?;
        if new.version() == old.version() {
            return Ok(());
        }
        self.take_in(&old, &new, &HashSet::new()).await
    }

    /// Takes in the difference between two versions, leaving out `ours`.
    pub(crate) async fn take_in(
        &self,
        old: &Arc<dyn Tree>,
        new: &Arc<dyn Tree>,
        ours: &HashSet<String>,
    ) -> Result<()> {
        let mut paths = old.changed_paths(&**new).await?;
        paths.retain(|path| !ours.contains(path));
        let shown = self.state.lock().shown_folders();
        // What is in memory of the changed paths and of the folders above them, deepest last.
        let mut questions: BTreeMap<String, Option<Found>> = BTreeMap::new();
        for path in &paths {
            let mut at = path.as_str();
            loop {
                let folder = at
                    .rfind('/')
                    .map_or("", |i| at.get(..i).unwrap_or_default());
                if at.is_empty() || shown.contains_key(folder) {
                    questions.insert(at.to_owned(), None);
                }
                if at.is_empty() {
                    break;
                }
                at = folder;
            }
        }
        for (path, answer) in &mut questions {
            *answer = new.lookup(path).await?;
        }
        let stale = {
            let mut state = self.state.lock();
            state.tree = new.clone();
            let mut stale = Vec::new();
            for (path, found) in questions {
                state.take_in(&shown, &path, found, &mut stale);
            }
            state.rerecord(&stale)?;
            stale
        };
        if !stale.is_empty()
            && let Some(tell) = &*self.watcher.tell.lock()
        {
            tell(stale);
        }
        Ok(())
    }
}

impl State {
    /// The drive folders that folders in memory show.
    fn shown_folders(&self) -> HashMap<String, Ino> {
        let folders = self.nodes.iter().filter(|(_, n)| n.linked);
        folders
            .filter_map(|(ino, node)| Some((node.folder()?.lower.clone()?, *ino)))
            .collect()
    }

    /// A file that is open for writing has a record also while it is as the drive has it. What it says of the content would else be believed at the next
    /// open, and what is written from now on would be laid over that.
    fn rerecord(&mut self, stale: &[Stale]) -> Result<()> {
        let mut batch = Batch::new();
        for stale in stale {
            if let Stale::Inode(ino) = stale
                && let Some(node) = self.nodes.get(ino)
                && node.recorded
                && node.linked
                && !node.changed
            {
                self.overlay
                    .put_node(&mut batch, *ino, &self.record_of(*ino)?)?;
            }
        }
        self.overlay.commit(batch)
    }

    fn take_in(
        &mut self,
        shown: &HashMap<String, Ino>,
        path: &str,
        found: Option<Found>,
        stale: &mut Vec<Stale>,
    ) {
        let Some((folder_path, name)) = path.rsplit_once('/') else {
            self.take_in_node(
                ROOT,
                path,
                found.unwrap_or(Found::Folder { description: None }),
                stale,
            );
            return;
        };
        let Some(&parent) = shown.get(folder_path) else {
            return;
        };
        let Ok(folder) = self.folder_mut(parent) else {
            return;
        };
        let name: Arc<str> = name.into();
        let there = found.is_some();
        match folder.slots.get_mut(&name) {
            None => {
                if there {
                    folder.complete = false;
                    stale.push(Stale::Name {
                        folder: parent,
                        name,
                    });
                }
            }
            Some(slot @ Slot { ino: None, .. }) => {
                if slot.lower {
                    // Deleted here: it stays so, over whatever the drive has.
                } else if there {
                    folder.slots.remove(&name);
                    folder.complete = false;
                    stale.push(Stale::Name {
                        folder: parent,
                        name,
                    });
                }
            }
            Some(Slot {
                ino: Some(ino),
                lower,
            }) => {
                let ino = *ino;
                *lower = there;
                let same = found.is_some_and(|found| self.take_in_node(ino, path, found, stale));
                if !same {
                    self.vanish(parent, &name, ino, there, stale);
                }
            }
        }
    }

    /// True when the inode goes on standing for what the drive has; false when that is another kind of thing.
    fn take_in_node(&mut self, ino: Ino, path: &str, found: Found, stale: &mut Vec<Stale>) -> bool {
        let (attrs, kind) = self.view_of(path, found.clone());
        let Some(node) = self.nodes.get_mut(&ino) else {
            return true;
        };
        if node.changed {
            return true;
        }
        match (&mut node.kind, kind) {
            (Kind::Folder(folder), Kind::Folder(_)) => {
                if let Found::Folder { description } = &found {
                    folder.described = description.is_some();
                }
                node.attrs = attrs;
            }
            (Kind::File(file), Kind::File(new)) => {
                if node.attrs == attrs && file.base == new.base {
                    return true;
                }
                let writers = file.writers;
                *file = new;
                file.writers = writers;
                node.attrs = attrs;
            }
            (Kind::Link(target), Kind::Link(new)) => {
                *target = new;
                node.attrs = attrs;
            }
            (Kind::Folder(_) | Kind::File(_) | Kind::Link(_), _) => return node.recorded,
        }
        stale.push(Stale::Inode(ino));
        true
    }

    /// A name of the drive is gone, or is another thing now. What the overlay changed stays.
    fn vanish(
        &mut self,
        parent: Ino,
        name: &Arc<str>,
        ino: Ino,
        there: bool,
        stale: &mut Vec<Stale>,
    ) {
        if self.nodes.get(&ino).is_none_or(|n| n.recorded || n.changed) {
            return;
        }
        if let Ok(folder) = self.folder_mut(parent) {
            folder.slots.remove(name);
            folder.complete &= !there;
        }
        let mut todo = vec![ino];
        while let Some(ino) = todo.pop() {
            if let Some(node) = self.nodes.get_mut(&ino) {
                node.linked = false;
                if let Kind::Folder(folder) = &mut node.kind {
                    todo.extend(folder.slots.values().filter_map(|s| s.ino));
                }
                stale.push(Stale::Inode(ino));
            }
            self.drop_if_gone(ino);
        }
        stale.push(Stale::Name {
            folder: parent,
            name: name.clone(),
        });
    }
}
