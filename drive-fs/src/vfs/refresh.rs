//! Taking in what changed in the drive from elsewhere.

use super::{
    error::Result,
    links::link_of,
    lower::{Found, Tree},
    name::join,
    node::{Ino, Kind, Node, ROOT, Slot},
    state::State,
    vfs::Vfs,
};
use parking_lot::Mutex;
use pome_cores::Batch;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
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
        self.take_before_refresh().await?;
        let _one = self.names.write().await;
        self.refresh_frozen().await?;
        Ok(self.version())
    }

    /// Has the kernel hand over what it keeps of files that were changed elsewhere: it was written here, and stays on top. Names must not be frozen.
    pub(crate) async fn take_before_refresh(&self) -> Result<()> {
        if !self.kernel_keeps() {
            return Ok(());
        }
        let (old, new) = {
            // A publication that ends just now is not from elsewhere.
            let _one = self.names.write().await;
            let old = self.state.lock().tree.clone();
            (old, self.drive.head().await?)
        };
        if new.version() == old.version() {
            return Ok(());
        }
        let paths = old.changed_paths(&*new).await?;
        let open: Vec<Ino> = {
            let state = self.state.lock();
            let shown = state.shown_folders();
            let stands = |path: &String| {
                let (folder, name) = path.rsplit_once('/')?;
                state.slot(*shown.get(folder)?, name).ok()?.ino
            };
            paths.iter().filter_map(stands).collect()
        };
        self.take_from_kernel(Some(open)).await;
        Ok(())
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
        self.take_in_at(new, &paths).await
    }

    /// Takes in what the drive has now where the overlay has something: others may have written while nothing was mounted.
    pub(crate) async fn take_in_all(&self) -> Result<()> {
        let (tree, paths) = {
            let state = self.state.lock();
            (state.tree.clone(), state.paths())
        };
        self.take_in_at(&tree, &paths).await
    }

    /// Takes in what version `new` has at these paths.
    async fn take_in_at(&self, new: &Arc<dyn Tree>, paths: &[String]) -> Result<()> {
        // What the new version has of the paths and of the folders above them, as far as they are in memory; deepest last.
        let mut answers: BTreeMap<String, Option<Found>> = BTreeMap::new();
        let mut stale = Vec::new();
        let recorded = loop {
            let (shown, questions) = {
                let mut state = self.state.lock();
                let shown = state.shown_folders();
                // A lookup may have brought more of them into memory, as the old version has them, while others were asked for.
                let mut questions = concerned(paths, &shown);
                questions.retain(|path| !answers.contains_key(path));
                if questions.is_empty() {
                    state.tree = new.clone();
                    for (path, found) in &answers {
                        state.take_in(&shown, path, found.clone(), &mut stale);
                    }
                    for (path, found) in answers.iter().rev() {
                        state.take_away_emptied(&shown, path, found, &mut stale);
                    }
                    break state.rerecord(&stale);
                }
                (shown, questions)
            };
            for path in questions {
                let answer = new.lookup(&path).await?;
                if let Some(Found::Folder { description }) = &answer {
                    let described = description.is_some();
                    self.state.lock().join_folder(&shown, &path, described);
                }
                answers.insert(path, answer);
            }
        };
        // Also when the disk is full: memory has it.
        self.tell(stale);
        recorded
    }

    /// Tells the kernel what is no longer so.
    pub(crate) fn tell(&self, stale: Vec<Stale>) {
        if !stale.is_empty()
            && let Some(tell) = &*self.watcher.tell.lock()
        {
            tell(stale);
        }
    }
}

/// Of these paths and of the folders above them, those that folders in memory show.
fn concerned(paths: &[String], shown: &HashMap<String, Ino>) -> BTreeSet<String> {
    let mut concerned = BTreeSet::new();
    for path in paths {
        let mut at = path.as_str();
        loop {
            let folder = at
                .rfind('/')
                .map_or("", |i| at.get(..i).unwrap_or_default());
            if at.is_empty() || shown.contains_key(folder) {
                concerned.insert(at.to_owned());
            }
            if at.is_empty() {
                break;
            }
            at = folder;
        }
    }
    concerned
}

impl State {
    /// What stands at a path of the drive: the folder in memory, the name, and the slot.
    fn stands_at<'p>(
        &self,
        shown: &HashMap<String, Ino>,
        path: &'p str,
    ) -> Option<(Ino, &'p str, Slot)> {
        let (folder, name) = path.rsplit_once('/')?;
        let parent = *shown.get(folder)?;
        let slot = *self.folder(parent).ok()?.slots.get(name)?;
        Some((parent, name, slot))
    }

    /// The drive's paths of all names in memory, and those that names in folders would have that were made here.
    fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        let mut seen = HashSet::new();
        let mut todo = vec![(ROOT, String::new())];
        while let Some((ino, path)) = todo.pop() {
            let Some(folder) = self.nodes.get(&ino).and_then(|node| node.folder()) else {
                continue;
            };
            if !seen.insert(ino) {
                continue;
            }
            let path = folder.lower.clone().unwrap_or(path);
            for (name, slot) in &folder.slots {
                let at = join(&path, name);
                todo.extend(slot.ino.map(|ino| (ino, at.clone())));
                paths.push(at);
            }
        }
        paths
    }

    /// A folder that was made here where the drive had nothing, and that somebody else has made too, is one: it has what both put into it.
    fn join_folder(&mut self, shown: &HashMap<String, Ino>, path: &str, described: bool) {
        let Some((parent, name, slot)) = self.stands_at(shown, path) else {
            return;
        };
        if let Some(ino) = slot.ino
            && !slot.lower
            && let Ok(folder) = self.folder_mut(ino)
            && folder.lower.is_none()
        {
            (folder.lower, folder.described) = (Some(path.to_owned()), described);
            folder.complete = false;
            if let Ok(above) = self.folder_mut(parent)
                && let Some(slot) = above.slots.get_mut(name)
            {
                slot.lower = true;
            }
        }
    }

    /// True where what was done here stays over what the drive has at its name: it was put there here, or written to. Attributes alone stay over the content
    /// (or the target) that they belong to, and give way to anything else: a kernel that keeps writes sets a file's times long after its content was
    /// published. Whether a folder stays is seen once all that is in it was looked at.
    fn stays(&self, slot: Slot, ino: Ino, path: &str, found: Option<&Found>) -> bool {
        let Some(node) = self.nodes.get(&ino) else {
            return true;
        };
        if slot.put || node.is_folder() && node.changed {
            return true;
        }
        if !node.changed {
            return false;
        }
        let written = node.file().is_some_and(|file| file.dirty);
        written || found.is_some_and(|found| self.view_of(path, found.clone()).1.is(&node.kind))
    }

    /// A folder goes that the drive has no more, if nothing is in it that stays, and if it was not put there here.
    fn take_away_emptied(
        &mut self,
        shown: &HashMap<String, Ino>,
        path: &str,
        found: &Option<Found>,
        stale: &mut Vec<Stale>,
    ) {
        if matches!(found, Some(Found::Folder { .. })) {
            return;
        }
        let Some((parent, name, slot)) = self.stands_at(shown, path) else {
            return;
        };
        if let Some(ino) = slot.ino
            && !slot.put
            && let Ok(folder) = self.folder(ino)
            && folder.slots.values().all(|slot| slot.ino.is_none())
        {
            self.take_away(parent, &name.into(), ino, found.is_some(), stale);
        }
    }

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
            if let Stale::Name { folder, name } = stale {
                self.overlay.delete_name(&mut batch, *folder, name);
                self.overlay.delete_gone(&mut batch, *folder, name);
            }
        }
        for stale in stale {
            let Stale::Inode(ino) = stale else { continue };
            let Some(node) = self.nodes.get(ino).filter(|node| node.linked) else {
                // Gone, or another inode stands in its place.
                self.overlay.delete_node(&mut batch, *ino);
                self.overlay.delete_gone_below(&mut batch, *ino);
                continue;
            };
            if node.recorded {
                let record = self.record_of(*ino)?;
                self.overlay.put_node(&mut batch, *ino, &record)?;
                // It may have been a further name until now.
                self.overlay
                    .delete_name(&mut batch, node.parent, &node.name);
                for (folder, name) in &node.others {
                    let slot = self.slot(*folder, name)?;
                    self.overlay.put_name(&mut batch, *folder, name, slot);
                }
            }
        }
        self.overlay.commit(batch)?;
        for stale in stale {
            if let Stale::Inode(ino) = stale
                && let Some(node) = self.nodes.get_mut(ino)
            {
                node.recorded &= node.linked;
            }
        }
        Ok(())
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
                // Deleted here: it stays so, over whatever the drive has, until it is deleted there too. What was a folder and has moved is shown at its new place.
                let moved = slot.lower && shown.contains_key(path);
                if slot.lower != there && !moved {
                    folder.complete &= slot.lower;
                    folder.slots.remove(&name);
                    stale.push(Stale::Name {
                        folder: parent,
                        name,
                    });
                }
            }
            Some(slot) => {
                let was = *slot;
                slot.lower = there;
                if let Some(ino) = was.ino {
                    self.take_in_slot(parent, &name, was, ino, path, found, stale);
                }
            }
        }
    }

    /// Takes in what the drive has where an inode stands in `slot`.
    #[expect(
        clippy::too_many_arguments,
        reason = "a name, what stands there, and what comes"
    )]
    fn take_in_slot(
        &mut self,
        parent: Ino,
        name: &Arc<str>,
        slot: Slot,
        ino: Ino,
        path: &str,
        found: Option<Found>,
        stale: &mut Vec<Stale>,
    ) {
        if self.stays(slot, ino, path, found.as_ref()) {
            // A folder that was moved there takes nothing away of what comes.
            if !slot.lower
                && matches!(found, Some(Found::Folder { .. }))
                && self
                    .folder(ino)
                    .is_ok_and(|moved| moved.lower.as_deref() != Some(path))
                && let Ok(above) = self.folder_mut(parent)
                && let Some(slot) = above.slots.get_mut(name)
            {
                slot.lower = false;
            }
            return;
        }
        let there = found.is_some();
        if let Some(node) = self.nodes.get_mut(&ino) {
            if node.changed && !node.others.is_empty() {
                // What was done here stays under its other names.
                self.take_away(parent, name, ino, there, stale);
                return;
            }
            node.changed = false;
        }
        let same = found.is_some_and(|found| self.take_in_node(ino, path, found, stale));
        if !same {
            self.vanish(parent, name, ino, there, stale);
        }
    }

    /// True when the inode goes on standing for what the drive has; false when that is another kind of thing.
    fn take_in_node(&mut self, ino: Ino, path: &str, found: Found, stale: &mut Vec<Stale>) -> bool {
        let link = link_of(&found);
        let (attrs, kind) = self.view_of(path, found.clone());
        let Some(node) = self.nodes.get_mut(&ino) else {
            return true;
        };
        if node.changed {
            return true;
        }
        if link.map(|link| link.id) != node.link.map(|link| link.id)
            && !(node.recorded && node.others.is_empty())
        {
            // One name of several became a file of its own, or the other way round.
            return false;
        }
        if !node.recorded {
            node.link = link;
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
                if self.replaces && node.lookups > 0 {
                    return false;
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
            (Kind::Special(special), Kind::Special(new)) => {
                *special = new;
                node.attrs = attrs;
            }
            (Kind::Folder(_) | Kind::File(_) | Kind::Link(_) | Kind::Special(_), _) => {
                return node.recorded && node.is_folder();
            }
        }
        stale.push(Stale::Inode(ino));
        true
    }

    /// A name of the drive is gone, or is another thing now. What the overlay changed stays, and folders that have a record, for what is in them. A file that is
    /// open for writing has a record too; it goes as if it had been unlinked here.
    pub(crate) fn vanish(
        &mut self,
        parent: Ino,
        name: &Arc<str>,
        ino: Ino,
        there: bool,
        stale: &mut Vec<Stale>,
    ) {
        let goes = |node: &Node| !(node.changed || node.recorded && node.is_folder());
        if self.nodes.get(&ino).is_some_and(goes) {
            self.take_away(parent, name, ino, there, stale);
        }
    }

    /// Takes a name away, with what is in it if it is a folder's.
    fn take_away(
        &mut self,
        parent: Ino,
        name: &Arc<str>,
        ino: Ino,
        there: bool,
        stale: &mut Vec<Stale>,
    ) {
        if let Ok(folder) = self.folder_mut(parent) {
            folder.slots.remove(name);
            folder.complete &= !there;
        }
        let mut todo = vec![(ino, parent, name.clone())];
        while let Some((ino, folder, name)) = todo.pop() {
            stale.push(Stale::Inode(ino));
            let Some(node) = self.nodes.get_mut(&ino) else {
                continue;
            };
            if !node.others.is_empty() {
                // It has names elsewhere.
                self.without_name(ino, (folder, &name));
                continue;
            }
            (node.linked, node.changed) = (false, false);
            if let Kind::Folder(inside) = &mut node.kind {
                // What is in it must not be found again by its own path.
                let slots = std::mem::take(&mut inside.slots);
                let below = slots.into_iter();
                todo.extend(below.filter_map(|(name, slot)| Some((slot.ino?, ino, name))));
            }
            self.drop_if_gone(ino);
        }
        stale.push(Stale::Name {
            folder: parent,
            name: name.clone(),
        });
    }
}
