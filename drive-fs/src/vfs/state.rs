//! The inode table and its two rules: a change is committed before it is made here, and what is not known of the drive
//! is asked for without the lock and learnt afterwards.

use super::{
    attrs::{Attrs, Owner, Time},
    error::{Result, VfsError},
    extents::Written,
    folder::Coming,
    hidden,
    links::link_of,
    lower::{Found, LowerEntry, Tree},
    name::join,
    node::{File, Folder, Ino, Kind, Link, Node, ROOT, Slot},
    overlay::{DataRecord, KindRecord, Loaded, NodeRecord, Overlay, Shared, What},
    publish::{Publishing, Unreadable},
};
use pome_cores::Batch;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

/// Inodes kept before those that nobody refers to are dropped.
const NODES_KEPT: usize = 200_000;

/// The names of a folder at one moment.
pub(crate) type Listing = Vec<(Arc<str>, Ino)>;

/// An open file or folder.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) ino: Ino,
    pub(crate) writes: bool,
    /// A folder's listing, taken when it is first read.
    pub(crate) listing: Option<Arc<Listing>>,
    /// One that is still coming from far away.
    pub(crate) coming: Option<Arc<tokio::sync::Mutex<Coming>>>,
}

/// What is known of a name.
pub(crate) enum Known {
    Yes(Option<Ino>),
    /// Ask the drive for this path.
    Ask(String),
}

pub(crate) struct State {
    pub(crate) tree: Arc<dyn Tree>,
    pub(crate) nodes: HashMap<Ino, Node>,
    pub(crate) handles: HashMap<u64, Handle>,
    /// Files whose content may differ from the drive's.
    pub(crate) dirty: BTreeSet<Ino>,
    pub(crate) overlay: Overlay,
    pub(crate) owner: Owner,
    /// A file that was changed elsewhere becomes another inode.
    pub(crate) replaces: bool,
    /// The files of several names, by their number.
    pub(crate) links: HashMap<u64, Ino>,
    next_handle: u64,
    next_ino: Ino,
    /// What the publication that runs builds on.
    pub(crate) publishing: Option<Publishing>,
    /// Files that could not be published when it was tried last.
    pub(crate) unreadable: BTreeMap<Ino, Unreadable>,
    /// So many inodes in memory are too many.
    pub(crate) sweep_at: usize,
}

impl State {
    /// The table with what the overlay held. Answers also the open files' leftovers that were removed.
    pub(crate) fn load(
        tree: Arc<dyn Tree>,
        overlay: Overlay,
        loaded: Loaded,
        root: Attrs,
        described: bool,
        owner: Owner,
    ) -> Result<Self> {
        let mut state = Self {
            tree,
            nodes: HashMap::new(),
            handles: HashMap::new(),
            dirty: BTreeSet::new(),
            overlay,
            owner,
            replaces: false,
            links: HashMap::new(),
            next_handle: 1,
            publishing: None,
            unreadable: BTreeMap::new(),
            next_ino: 2,
            sweep_at: NODES_KEPT,
        };
        state.nodes.insert(
            ROOT,
            Node {
                parent: ROOT,
                name: "".into(),
                others: Vec::new(),
                link: None,
                linked: true,
                lookups: 1,
                handles: 0,
                recorded: false,
                changed: false,
                attrs: root,
                kind: Kind::Folder(Folder {
                    lower: Some(String::new()),
                    described,
                    ..Folder::default()
                }),
            },
        );
        let mut seqs = HashMap::new();
        let mut places = Vec::new();
        let mut left = Batch::new();
        let recorded: HashSet<Ino> = loaded.nodes.iter().map(|(ino, _)| *ino).collect();
        if loaded.names.iter().any(|name| !recorded.contains(&name.2)) {
            return Err(VfsError::Damaged {
                what: "name without its node",
            });
        }
        let mut named: HashMap<Ino, Vec<(Ino, String, bool, bool)>> = HashMap::new();
        for (folder, name, ino, lower, put) in loaded.names {
            let names = named.entry(ino).or_default();
            names.push((folder, name, lower, put));
        }
        let written: HashSet<Ino> = loaded.data.iter().map(|(record, _)| record.ino).collect();
        for (ino, record) in loaded.nodes {
            let further = named.remove(&ino).unwrap_or_default();
            if !record.changed
                && !written.contains(&ino)
                && matches!(record.kind, KindRecord::File { base: Some(_) })
            {
                // It was open for writing when the last mount ended, and nothing was written: the drive knows it better, since others may have changed it.
                state.overlay.delete_node(&mut left, ino);
                for (folder, name, ..) in further {
                    state.overlay.delete_name(&mut left, folder, &name);
                }
                continue;
            }
            let mut others = Vec::with_capacity(further.len());
            let mut new = record.put && record.changed;
            for (folder, name, lower, put) in further {
                let name: Arc<str> = name.into();
                let put = put && record.changed;
                new |= put;
                others.push((folder, name.clone()));
                let ino = Some(ino);
                places.push((folder, name, Slot { ino, lower, put }));
            }
            seqs.insert(ino, record.seq);
            let name: Arc<str> = record.name.as_str().into();
            if ino != ROOT {
                let slot = Slot {
                    ino: Some(ino),
                    lower: record.lower,
                    put: record.put && record.changed,
                };
                places.push((record.parent, name.clone(), slot));
            }
            let kind = match record.kind {
                KindRecord::Folder { lower, described } => Kind::Folder(Folder {
                    complete: lower.is_none(),
                    lower,
                    described,
                    ..Folder::default()
                }),
                KindRecord::File { base } => {
                    // Made here, and nothing was written.
                    let dirty = base.is_none() && new;
                    if dirty {
                        state.dirty.insert(ino);
                    }
                    Kind::File(File {
                        dirty,
                        ..File::of_content(base)
                    })
                }
                KindRecord::Link { target } => Kind::Link(target.into()),
                KindRecord::Special(special) => Kind::Special(special),
            };
            if let Some(id) = record.link {
                state.links.insert(id, ino);
            }
            let node = Node {
                parent: record.parent,
                name,
                others,
                link: record.link.map(|id| Link {
                    id,
                    count: 0,
                    known: true,
                }),
                linked: true,
                lookups: u64::from(ino == ROOT),
                handles: 0,
                recorded: true,
                changed: record.changed,
                attrs: record.attrs,
                kind,
            };
            state.nodes.insert(ino, node);
        }
        let gone = loaded.gone.into_iter();
        places.extend(gone.map(|(folder, name)| (folder, name.into(), Slot::gone(true))));
        for (folder, name, slot) in places {
            let folder = state.nodes.get_mut(&folder).and_then(Node::folder_mut);
            let folder = folder.ok_or(VfsError::Damaged {
                what: "node without its folder",
            })?;
            folder.changed.insert(name.clone());
            folder.slots.insert(name, slot);
        }
        for (record, shared) in loaded.data {
            let Some(node) = state.nodes.get_mut(&record.ino) else {
                state.overlay.delete_data(&mut left, record.ino, u64::MAX);
                continue;
            };
            if seqs.get(&record.ino).is_some_and(|seq| record.seq > *seq) {
                node.attrs.mtime = record.time;
                node.attrs.ctime = record.time;
            }
            node.changed = true;
            if let Some(file) = node.file_mut() {
                apply(file, &record, shared);
                state.dirty.insert(record.ino);
            }
        }
        state.overlay.commit(left)?;
        Ok(state)
    }

    pub(crate) fn node(&self, ino: Ino) -> Result<&Node> {
        self.nodes.get(&ino).ok_or(VfsError::NotFound)
    }

    pub(crate) fn node_mut(&mut self, ino: Ino) -> Result<&mut Node> {
        self.nodes.get_mut(&ino).ok_or(VfsError::NotFound)
    }

    pub(crate) fn folder(&self, ino: Ino) -> Result<&Folder> {
        self.node(ino)?.folder().ok_or(VfsError::NotFolder)
    }

    /// Its path in the mount.
    pub(crate) fn path_of(&self, ino: Ino) -> String {
        let (mut at, mut path) = (ino, String::new());
        while at != ROOT
            && let Some(node) = self.nodes.get(&at)
        {
            path = format!("/{}{path}", node.name);
            at = node.parent;
        }
        path
    }

    pub(crate) fn folder_mut(&mut self, ino: Ino) -> Result<&mut Folder> {
        self.node_mut(ino)?.folder_mut().ok_or(VfsError::NotFolder)
    }

    pub(crate) fn file(&self, ino: Ino) -> Result<&File> {
        let node = self.node(ino)?;
        node.file().ok_or(if node.is_folder() {
            VfsError::IsFolder
        } else {
            VfsError::InvalidArgument
        })
    }

    /// A number for a new inode: from its place, so that it is the same after a remount, unless that is taken.
    pub(crate) fn new_ino(&mut self, parent: Ino, name: &str) -> Ino {
        let mut hash = 0xcbf2_9ce4_8422_2325u64 ^ parent.rotate_left(31);
        for byte in name.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        hash ^= hash >> 32;
        hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2;
        hash = hidden::number(hash, parent, name);
        if hash > ROOT && !self.nodes.contains_key(&hash) {
            return hash;
        }
        while self.nodes.contains_key(&self.next_ino) {
            self.next_ino += 1;
        }
        let ino = self.next_ino;
        self.next_ino += 1;
        hidden::number(ino, parent, name)
    }

    /// What is known of `name` in `parent`.
    pub(crate) fn known(&self, parent: Ino, name: &str) -> Result<Known> {
        let folder = self.folder(parent)?;
        Ok(match (folder.slots.get(name), &folder.lower) {
            (Some(slot), _) => Known::Yes(slot.ino),
            (None, Some(lower)) if !folder.complete || hidden::is_hidden_name(parent, name) => {
                Known::Ask(join(lower, name))
            }
            (None, _) => Known::Yes(None),
        })
    }

    /// What stands at a name of which all is known.
    pub(crate) fn slot(&self, parent: Ino, name: &str) -> Result<Slot> {
        Ok(self
            .folder(parent)?
            .slots
            .get(name)
            .copied()
            .unwrap_or_default())
    }

    /// True when the answer of `tree` for `path` still says what `name` in `parent` is.
    fn still_asked(&self, tree: &Arc<dyn Tree>, parent: Ino, name: &str, path: &str) -> bool {
        Arc::ptr_eq(tree, &self.tree)
            && matches!(self.known(parent, name), Ok(Known::Ask(asked)) if asked == path)
    }

    /// Takes in what `tree` says of `path`, if the question is still open.
    pub(crate) fn learn(
        &mut self,
        tree: &Arc<dyn Tree>,
        parent: Ino,
        name: &str,
        path: &str,
        found: Option<Found>,
    ) {
        if !self.still_asked(tree, parent, name, path) {
            return;
        }
        self.sweep();
        let slot = match found {
            None => Slot::default(),
            Some(found) => Slot::of_drive(self.add_clean(parent, name, path, found)),
        };
        if let Ok(folder) = self.folder_mut(parent) {
            folder.slots.insert(name.into(), slot);
        }
    }

    /// Takes in the whole listing of the drive folder `path`, shown by `parent`.
    pub(crate) fn learn_all(
        &mut self,
        tree: &Arc<dyn Tree>,
        parent: Ino,
        path: &str,
        listing: Vec<(String, Found)>,
    ) {
        let current = self
            .folder(parent)
            .is_ok_and(|f| !f.complete && f.lower.as_deref() == Some(path));
        if !current || !Arc::ptr_eq(tree, &self.tree) {
            return;
        }
        self.sweep();
        for (name, found) in listing {
            if self
                .folder(parent)
                .is_ok_and(|f| !f.slots.contains_key(name.as_str()))
            {
                let at = join(path, &name);
                let slot = Slot::of_drive(self.add_clean(parent, &name, &at, found));
                if let Ok(folder) = self.folder_mut(parent) {
                    folder.slots.insert(name.into(), slot);
                }
            }
        }
        if let Ok(folder) = self.folder_mut(parent) {
            folder.complete = !hidden::grows(path);
        }
    }

    fn add_clean(&mut self, parent: Ino, name: &str, path: &str, found: Found) -> Ino {
        // What was is not what is, though it may have the same number.
        let mut link = match hidden::is_hidden_name(parent, name) {
            true => None,
            false => link_of(&found),
        };
        let (attrs, kind) = self.view_of(path, found);
        if let Some(Link { id, .. }) = link {
            if let Some(ino) = self.linked_to(id, &attrs, &kind) {
                if let Some(node) = self.nodes.get_mut(&ino)
                    && !node.names().any(|(f, n)| (f, &**n) == (parent, name))
                {
                    node.others.push((parent, name.into()));
                }
                return ino;
            }
            let taken = self.links.get(&id).and_then(|ino| self.nodes.get(ino));
            if taken.is_some_and(|node| node.linked) {
                // Two contents with one number: somebody else has written one of them.
                link = None;
            }
        }
        let ino = match link {
            // The same under each of its names.
            Some(link) => self.new_ino(0, &crate::posix::link_text(link.id)),
            None => self.new_ino(parent, name),
        };
        if let Some(link) = link {
            self.links.insert(link.id, ino);
        }
        let node = Node {
            parent,
            name: name.into(),
            others: Vec::new(),
            link,
            linked: true,
            lookups: 0,
            handles: 0,
            recorded: false,
            changed: false,
            attrs,
            kind,
        };
        self.nodes.insert(ino, node);
        ino
    }

    /// How an entry of the drive looks in the mount.
    pub(crate) fn view_of(&self, path: &str, found: Found) -> (Attrs, Kind) {
        match found {
            Found::Folder { description } => {
                let mut attrs = Attrs::of_folder(description.as_ref(), self.owner);
                if !attrs.mtime_set
                    && let Some(time) = self.overlay.folder_time(path)
                {
                    (attrs.mtime, attrs.ctime, attrs.atime) = (time, time, time);
                }
                (
                    attrs,
                    Kind::Folder(Folder {
                        lower: Some(path.to_owned()),
                        described: description.is_some(),
                        ..Folder::default()
                    }),
                )
            }
            Found::Leaf(LowerEntry {
                linkname: Some(ref target),
                ..
            }) => {
                let target: Arc<str> = target.as_str().into();
                let Found::Leaf(entry) = found else {
                    unreachable!("matched as a leaf above")
                };
                (Attrs::of_entry(&entry, self.owner), Kind::Link(target))
            }
            Found::Leaf(entry) => (
                Attrs::of_entry(&entry, self.owner),
                match entry.special() {
                    Some(special) if entry.content.is_none_or(|c| c.size == 0) => {
                        Kind::Special(special)
                    }
                    Some(_) | None => Kind::File(File::of_content(entry.content)),
                },
            ),
        }
    }

    /// The record of a node as it stands; callers change fields to say what is about to be.
    pub(crate) fn record_of(&self, ino: Ino) -> Result<NodeRecord> {
        let node = self.node(ino)?;
        let slot = match ino {
            ROOT => Slot::default(),
            _ => self.slot(node.parent, &node.name)?,
        };
        Ok(NodeRecord {
            parent: node.parent,
            name: node.name.to_string(),
            lower: slot.lower,
            put: slot.put,
            changed: node.changed,
            seq: self.overlay.seq(),
            attrs: node.attrs.clone(),
            kind: match &node.kind {
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
            link: node.link.map(|link| link.id),
        })
    }

    /// Adds to `batch` the records of `ino`, of its names, and of the folders above them, as far as they have none.
    pub(crate) fn record_path(&self, batch: &mut Batch, ino: Ino) -> Result<()> {
        let mut todo = vec![ino];
        while let Some(at) = todo.pop() {
            let node = self.node(at)?;
            if node.recorded {
                continue;
            }
            self.overlay.put_node(batch, at, &self.record_of(at)?)?;
            for (folder, name) in &node.others {
                let slot = self.slot(*folder, name)?;
                self.overlay.put_name(batch, *folder, name, slot);
                todo.push(*folder);
            }
            if at != ROOT {
                todo.push(node.parent);
            }
        }
        Ok(())
    }

    /// After the commit of [`record_path`](Self::record_path).
    pub(crate) fn recorded_path(&mut self, ino: Ino) {
        let mut todo = vec![ino];
        while let Some(at) = todo.pop() {
            let Some(node) = self.nodes.get_mut(&at).filter(|node| !node.recorded) else {
                continue;
            };
            node.recorded = true;
            if at == ROOT {
                continue;
            }
            let names: Vec<(Ino, Arc<str>)> = node.names().map(|(f, n)| (f, n.clone())).collect();
            for (parent, name) in names {
                if let Ok(folder) = self.folder_mut(parent) {
                    folder.changed.insert(name);
                }
                todo.push(parent);
            }
        }
    }

    /// Commits a change of one node's own fields: `change` makes it in the record, `apply` in memory.
    pub(crate) fn change_node(&mut self, ino: Ino, change: impl Fn(&mut Attrs)) -> Result<()> {
        self.may_change(ino)?;
        let mut batch = Batch::new();
        let node = self.node(ino)?;
        if node.linked {
            self.record_path(&mut batch, ino)?;
            let mut record = self.record_of(ino)?;
            record.changed = true;
            change(&mut record.attrs);
            self.overlay.put_node(&mut batch, ino, &record)?;
        }
        self.overlay.commit(batch)?;
        if self.node(ino)?.linked {
            self.recorded_path(ino);
        }
        let node = self.node_mut(ino)?;
        node.changed = true;
        change(&mut node.attrs);
        Ok(())
    }

    /// Commits one data record of a file, with its bytes, and takes it in.
    pub(crate) fn change_content(
        &mut self,
        ino: Ino,
        what: What,
        bytes: bytes::Bytes,
    ) -> Result<()> {
        self.may_change(ino)?;
        let node = self.node(ino)?;
        node.file().ok_or(VfsError::InvalidArgument)?;
        let mut batch = Batch::new();
        if node.linked {
            self.record_path(&mut batch, ino)?;
        }
        let record = DataRecord {
            ino,
            seq: self.overlay.next_seq(),
            what,
            time: Time::now(),
        };
        let shared = match what {
            What::Share { .. } => Some(Shared::decode(&bytes)?),
            What::Write { .. } | What::Truncate { .. } | What::Zero { .. } => None,
        };
        self.overlay.put_data(&mut batch, record.key(), bytes);
        self.overlay.commit(batch)?;
        if self.node(ino)?.linked {
            self.recorded_path(ino);
        }
        let node = self.node_mut(ino)?;
        node.attrs.mtime = record.time;
        node.attrs.ctime = record.time;
        node.changed = true;
        if let Some(file) = node.file_mut() {
            apply(file, &record, shared);
        }
        self.dirty.insert(ino);
        Ok(())
    }

    pub(crate) fn open_handle(&mut self, ino: Ino, writes: bool) -> Result<u64> {
        let node = self.node_mut(ino)?;
        node.handles += 1;
        if let Some(file) = node.file_mut()
            && writes
        {
            file.writers += 1;
        }
        let number = self.next_handle;
        self.next_handle += 1;
        self.handles.insert(
            number,
            Handle {
                ino,
                writes,
                listing: None,
                coming: None,
            },
        );
        Ok(number)
    }

    /// Answers the inode, and true when this was its last writer.
    pub(crate) fn close_handle(&mut self, number: u64) -> Result<(Ino, bool)> {
        let handle = self.handles.remove(&number).ok_or(VfsError::BadHandle)?;
        let mut last = false;
        if let Some(node) = self.nodes.get_mut(&handle.ino) {
            node.handles = node.handles.saturating_sub(1);
            if let Some(file) = node.file_mut()
                && handle.writes
            {
                file.writers = file.writers.saturating_sub(1);
                last = file.writers == 0;
            }
        }
        self.drop_if_gone(handle.ino);
        Ok((handle.ino, last))
    }

    /// Drops an inode that has neither name nor user. The bytes of one without a name go with its last handle.
    pub(crate) fn drop_if_gone(&mut self, ino: Ino) {
        let Some(node) = self.nodes.get_mut(&ino) else {
            return;
        };
        if node.linked || node.handles > 0 {
            return;
        }
        let unused = node.lookups == 0;
        if unused {
            self.dirty.remove(&ino);
        }
        if node.file().is_some_and(|f| f.dirty) {
            if let Some(file) = node.file_mut() {
                *file = File::default();
            }
            self.dirty.remove(&ino);
            let mut batch = Batch::new();
            self.overlay.delete_data(&mut batch, ino, u64::MAX);
            if let Err(error) = self.overlay.commit(batch) {
                // What stays is removed when the overlay is loaded again.
                tracing::warn!(ino, %error, "bytes of a deleted file stay in the overlay");
            }
        }
        if unused {
            let gone = self.nodes.remove(&ino);
            if let Some(link) = gone.and_then(|node| node.link)
                && self.links.get(&link.id) == Some(&ino)
            {
                self.links.remove(&link.id);
            }
        }
    }

    /// Touches a folder's times because a name in it came or went. Kept in memory: they go into the store when published.
    pub(crate) fn touch_folder(&mut self, ino: Ino) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            let now = Time::now();
            node.attrs.mtime = now;
            node.attrs.ctime = now;
        }
    }

    /// Drops what nobody refers to and the drive can tell again, once there is a lot of it.
    fn sweep(&mut self) {
        if self.nodes.len() < self.sweep_at {
            return;
        }
        let mut used: HashSet<Ino> = HashSet::from([ROOT]);
        for (&ino, node) in &self.nodes {
            let keep = node.lookups > 0 || node.handles > 0 || node.recorded || node.changed;
            let mut todo = if keep { vec![ino] } else { Vec::new() };
            while let Some(at) = todo.pop() {
                if used.insert(at)
                    && let Some(node) = self.nodes.get(&at)
                {
                    todo.extend(node.names().map(|(folder, _)| folder));
                }
            }
        }
        self.nodes.retain(|ino, _| used.contains(ino));
        self.links.retain(|_, ino| used.contains(ino));
        let nodes: HashSet<Ino> = self.nodes.keys().copied().collect();
        for node in self.nodes.values_mut() {
            if let Some(folder) = node.folder_mut() {
                let before = folder.slots.len();
                folder.slots.retain(|_, slot| match slot.ino {
                    Some(ino) => nodes.contains(&ino),
                    None => slot.lower,
                });
                if folder.slots.len() < before && folder.lower.is_some() {
                    folder.complete = false;
                }
            }
        }
        self.sweep_at = (self.nodes.len() * 2).max(NODES_KEPT);
    }
}

fn apply(file: &mut File, record: &DataRecord, shared: Option<Shared>) {
    match record.what {
        What::Write { offset, len } | What::Share { offset, len } => {
            let written = Arc::new(Written {
                seq: record.seq,
                key: record.key().into(),
                shared: shared.map(|shared| shared.content),
            });
            let skip = shared.map_or(0, |shared| shared.start);
            file.extents
                .insert(offset, len, record.seq, Some((written, skip)));
            file.size = file.size.max(offset + len);
            file.touch();
        }
        What::Truncate { size } => file.truncate(size),
        What::Zero { offset, len } => {
            let end = (offset + len).min(file.size);
            file.extents
                .insert(offset, end.saturating_sub(offset), record.seq, None);
            file.touch();
        }
    }
}
