//! Which entries a publication puts and removes: the difference between the overlay's names and the drive's tree.

use super::{
    attrs::Time,
    error::Result,
    lower::{Change, Content, Found, LowerEntry, Tree},
    name::join,
    node::{Ino, Kind, ROOT},
    state::State,
    vfs::Vfs,
};
use crate::posix::{HardLink, PosixMetadata};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

/// A content that lies in the blobs core already and the newest record that it holds.
pub(crate) type Uploads = HashMap<Ino, (Content, u64)>;

/// What a publication does, and what holds after it.
#[derive(Default)]
pub(crate) struct Plan {
    entries: BTreeMap<String, Option<LowerEntry>>,
    descriptions: BTreeMap<String, Option<PosixMetadata>>,
    /// Folders that were looked at, with their path in the new version, and whether it describes them.
    pub(crate) folders: HashMap<Ino, (String, bool)>,
    /// Of these, those that showed another drive folder than their own path.
    pub(crate) moved: Vec<Ino>,
    /// Files and links that stand in the new version as they are.
    pub(crate) leaves: HashSet<Ino>,
    /// Files that have a record and need none.
    pub(crate) settled: Vec<Ino>,
    /// Folders whose times no description has, and their times.
    pub(crate) times: Vec<(String, Time)>,
    /// Drive paths that are gone, with all below.
    pub(crate) gone: Vec<String>,
    /// Drive folders that were copied whole, from and to.
    pub(crate) copied: Vec<(String, String)>,
    /// Names of files of several names that come (true) or go.
    names: BTreeMap<(u64, String), bool>,
    /// Files of several names whose names were all looked at, and these names.
    groups: BTreeMap<u64, BTreeSet<String>>,
}

enum Work {
    /// A folder that shows the drive folder of its own path: only what changed counts.
    InPlace(Ino, String),
    /// A folder that is new at this path: all in it counts.
    Emit(Ino, String),
    /// A drive path that goes away, with all below.
    Delete(String),
    /// A drive folder that goes elsewhere unchanged.
    Copy(String, String),
}

enum Child {
    Gone,
    Folder {
        ino: Ino,
        lower: Option<String>,
        recorded: bool,
    },
    /// What to put; `None` when there is nothing to publish yet.
    Leaf {
        ino: Ino,
        entry: Option<LowerEntry>,
        changed: bool,
        waits: bool,
        /// The number of a file that has, or had, several names, and whether it has them now.
        link: Option<(u64, bool)>,
    },
}

impl Plan {
    /// Must be called while names are frozen.
    pub(crate) async fn make(vfs: &Vfs, tree: &Arc<dyn Tree>, uploads: &Uploads) -> Result<Self> {
        let mut plan = Self::default();
        let mut work = vec![Work::InPlace(ROOT, String::new())];
        while let Some(item) = work.pop() {
            match item {
                Work::Delete(path) => {
                    let below = tree.below(&path).await?;
                    for (path, entry) in below.entries {
                        if let Some(link) = entry.link() {
                            let name = (link.id, path.clone());
                            plan.names.entry(name).or_insert(false);
                        }
                        plan.entries.entry(path).or_insert(None);
                    }
                    for (path, _) in below.folders {
                        plan.descriptions.entry(path).or_insert(None);
                    }
                    plan.gone.push(path);
                }
                Work::Copy(from, to) => {
                    let moved =
                        |path: &str| format!("{to}{}", path.get(from.len()..).unwrap_or_default());
                    let below = tree.below(&from).await?;
                    for (path, entry) in below.entries {
                        plan.copy(moved(&path), entry);
                    }
                    for (path, description) in below.folders {
                        plan.descriptions.insert(moved(&path), Some(description));
                    }
                    plan.copied.push((from, to));
                }
                Work::InPlace(ino, path) => {
                    plan.folder(vfs, tree, uploads, ino, path, true, &mut work)
                        .await?
                }
                Work::Emit(ino, path) => {
                    plan.folder(vfs, tree, uploads, ino, path, false, &mut work)
                        .await?
                }
            }
        }
        // Of these all names are known: what else the drive has noted is of the past.
        for (id, names) in std::mem::take(&mut plan.groups) {
            let noted: BTreeSet<String> = tree.link_names(id).await?.into_iter().collect();
            for gone in noted.difference(&names) {
                plan.names.insert((id, gone.clone()), false);
            }
            for name in names {
                if noted.contains(&name) {
                    plan.names.remove(&(id, name));
                } else {
                    plan.names.insert((id, name), true);
                }
            }
        }
        Ok(plan)
    }

    /// An entry of the drive at its new path.
    fn copy(&mut self, path: String, entry: LowerEntry) {
        if let Some(link) = entry.link() {
            self.names.insert((link.id, path.clone()), true);
        }
        self.entries.insert(path, Some(entry));
    }

    #[expect(clippy::too_many_arguments, reason = "one walk's context")]
    async fn folder(
        &mut self,
        vfs: &Vfs,
        tree: &Arc<dyn Tree>,
        uploads: &Uploads,
        ino: Ino,
        path: String,
        in_place: bool,
        work: &mut Vec<Work>,
    ) -> Result<()> {
        let (source, changed, changed_attrs, described, complete) = {
            let state = vfs.state.lock();
            let folder = state.folder(ino)?;
            let names: Vec<(Arc<str>, bool, Child)> = folder
                .changed
                .iter()
                .filter_map(|name| {
                    let slot = folder.slots.get(name).copied().unwrap_or_default();
                    Some((name.clone(), slot.lower, state.child_of(slot.ino, uploads)?))
                })
                .collect();
            (
                folder.lower.clone(),
                names,
                state.node(ino)?.changed,
                folder.described,
                folder.complete,
            )
        };
        let overridden: HashSet<Arc<str>> = changed
            .iter()
            .filter(|(_, lower, child)| match child {
                // A name that came and went says nothing of what was put there elsewhere.
                Child::Gone => *lower,
                Child::Folder { recorded, .. } => *recorded,
                Child::Leaf { changed, .. } => *changed,
            })
            .map(|(name, ..)| name.clone())
            .collect();
        let (mut filled, mut names_changed) = (false, false);
        for (name, lower, child) in changed {
            let at = join(&path, &name);
            match child {
                Child::Gone => {
                    if in_place && lower {
                        work.push(Work::Delete(at));
                        names_changed = true;
                    }
                }
                Child::Folder {
                    ino,
                    lower: source,
                    recorded,
                } => {
                    if !recorded {
                        filled |= in_place;
                        continue;
                    }
                    filled = true;
                    if in_place && source.as_deref() == Some(&at) {
                        work.push(Work::InPlace(ino, at));
                    } else {
                        names_changed = true;
                        if in_place && lower {
                            work.push(Work::Delete(at.clone()));
                        }
                        work.push(Work::Emit(ino, at));
                    }
                }
                Child::Leaf {
                    ino,
                    changed: false,
                    ..
                } => {
                    filled |= in_place;
                    self.settled.push(ino);
                }
                Child::Leaf { entry: None, .. } => filled |= in_place && lower,
                Child::Leaf {
                    ino,
                    entry: Some(entry),
                    waits,
                    link,
                    ..
                } => {
                    filled = true;
                    if let Some((id, several)) = link {
                        let names = self.groups.entry(id).or_default();
                        if several {
                            names.insert(at.clone());
                        }
                    }
                    if waits && in_place && lower {
                        let there = tree.lookup(&at).await?;
                        if matches!(there, Some(Found::Leaf(there)) if there.content == entry.content)
                        {
                            continue;
                        }
                    }
                    names_changed |= !lower;
                    if in_place
                        && lower
                        && matches!(tree.lookup(&at).await?, Some(Found::Folder { .. }))
                    {
                        work.push(Work::Delete(at.clone()));
                    }
                    self.entries.insert(at, Some(entry));
                    self.leaves.insert(ino);
                }
            }
        }
        if !in_place && let Some(source) = &source {
            for (name, found) in tree.children(source).await? {
                if overridden.contains(name.as_str()) {
                    continue;
                }
                filled = true;
                let at = join(&path, &name);
                match found {
                    Found::Leaf(entry) => self.copy(at, entry),
                    Found::Folder { .. } => work.push(Work::Copy(join(source, &name), at)),
                }
            }
            self.moved.push(ino);
        }
        if in_place && !filled {
            filled = vfs.state.lock().filled_below(ino, &overridden)?;
            if !filled && !complete {
                let there = tree.children(&path).await?;
                filled = there
                    .iter()
                    .any(|(name, _)| !overridden.contains(name.as_str()));
            }
        }
        self.describe(
            &vfs.state.lock(),
            ino,
            path,
            filled,
            in_place && described,
            changed_attrs || names_changed,
        )
    }

    /// A folder has a description if it is empty or if something about it differs from the defaults.
    fn describe(
        &mut self,
        state: &State,
        ino: Ino,
        path: String,
        filled: bool,
        described: bool,
        touched: bool,
    ) -> Result<()> {
        let attrs = &state.node(ino)?.attrs;
        let wanted = (!filled && ino != ROOT) || attrs.needs_description(state.owner);
        if wanted && (touched || !described) {
            self.descriptions
                .insert(path.clone(), Some(attrs.description(state.owner)));
        } else if described && !wanted {
            self.descriptions.entry(path.clone()).or_insert(None);
        }
        if !attrs.mtime_set {
            self.times.push((path.clone(), attrs.mtime));
        }
        self.folders.insert(ino, (path, wanted));
        Ok(())
    }

    /// The changes as the drive takes them.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        let entries = std::mem::take(&mut self.entries).into_iter();
        let folders = std::mem::take(&mut self.descriptions).into_iter();
        let names = std::mem::take(&mut self.names).into_iter();
        let entries = entries.map(|(path, entry)| Change::Entry(path, entry));
        entries
            .chain(folders.map(|(path, description)| Change::Folder(path, description)))
            .chain(names.map(|((id, path), there)| Change::Name(id, path, there)))
            .collect()
    }
}

impl State {
    fn child_of(&self, ino: Option<Ino>, uploads: &Uploads) -> Option<Child> {
        let Some(ino) = ino else {
            return Some(Child::Gone);
        };
        let node = self.nodes.get(&ino)?;
        let several = !node.others.is_empty();
        let link = node.link.map(|link| (link.id, several));
        let posix_link = node.link.filter(|_| several).map(|link| HardLink {
            id: link.id,
            count: node.link_count(),
        });
        Some(match &node.kind {
            Kind::Folder(folder) => Child::Folder {
                ino,
                lower: folder.lower.clone(),
                recorded: node.recorded,
            },
            Kind::Link(target) => Child::Leaf {
                ino,
                changed: node.changed,
                waits: false,
                link,
                entry: Some(LowerEntry {
                    executable: false,
                    linkname: Some(target.to_string()),
                    content: None,
                    metadata: node.attrs.link_metadata(self.owner, posix_link),
                }),
            },
            Kind::Special(special) => {
                let (executable, metadata) =
                    node.attrs
                        .file_metadata(self.owner, Some(*special), posix_link);
                Child::Leaf {
                    ino,
                    changed: node.changed,
                    waits: false,
                    link,
                    entry: Some(LowerEntry {
                        executable,
                        linkname: None,
                        content: None,
                        metadata,
                    }),
                }
            }
            Kind::File(file) => {
                let uploaded = uploads.get(&ino).map(|(content, _)| *content);
                let (executable, metadata) = node.attrs.file_metadata(self.owner, None, posix_link);
                let content = uploaded.or(file.base);
                Child::Leaf {
                    ino,
                    changed: node.changed,
                    waits: file.dirty && uploaded.is_none(),
                    link,
                    // What was made here has nothing to publish before its content is stored; an entry of the drive may have none.
                    entry: (content.is_some() || !file.dirty).then_some(LowerEntry {
                        executable,
                        linkname: None,
                        content,
                        metadata,
                    }),
                }
            }
        })
    }

    /// True when something that is in the drive already, and stays, is known to be in the folder.
    fn filled_below(&self, ino: Ino, overridden: &HashSet<Arc<str>>) -> Result<bool> {
        let slots = &self.folder(ino)?.slots;
        Ok(slots
            .iter()
            .any(|(name, slot)| slot.ino.is_some() && slot.lower && !overridden.contains(name)))
    }
}
