//! Writing rows: one commit, whatever is in it.
//!
//! What npm writes apart and we keep together is put together at the end: a head gets the byte length of its roots, and how many blocks are here without a gap; a branch
//! gets copies of its roots.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use pome_encoding::DiscoveryKey;
use pome_storage::{Batch, Durability, Seq, Space};

use super::{
    NpmMoment, NpmStorage, SINGLE_KEY, place,
    place::{Place, Stretch},
    value,
};
use crate::{
    error::Error,
    layout::{self, CoreRecord, HeadRecord, REGISTRY},
    merkle::{Node, flat_tree::full_roots},
};

/// A change to npm's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NpmChange {
    /// A row gets this value.
    Put(Bytes, Bytes),
    /// A row goes.
    Delete(Bytes),
    /// All rows from the first key to before the second go.
    DeleteRange(Bytes, Bytes),
}

impl NpmStorage {
    /// Makes all of these changes, in order, or none; they can be read when this returns. [`Store::synced`](pome_storage::Store::synced) waits for the disk.
    ///
    /// # Errors
    /// Those of the store; `BAD_ARGUMENT` and `CORRUPT` for rows that npm's store does not write.
    pub fn commit(&self, changes: Vec<NpmChange>) -> Result<Seq, Error> {
        let mut writing = Writing {
            moment: self.moment(),
            batch: Batch::new(),
            spaces: BTreeMap::new(),
            records: HashMap::new(),
            made: HashMap::new(),
            default: None,
            next: None,
        };
        for change in changes {
            match change {
                NpmChange::Put(key, value) => writing.put(&key, value)?,
                NpmChange::Delete(key) => writing.delete(&key)?,
                NpmChange::DeleteRange(start, end) => writing.delete_range(&start, &end)?,
            }
        }
        writing.finish()?;
        Ok(self.0.store.commit(writing.batch, Durability::Buffered)?)
    }
}

struct Writing {
    moment: NpmMoment,
    batch: Batch,
    spaces: BTreeMap<Space, Touched>,
    /// Records as they are after what was written so far; `None`: gone.
    records: HashMap<DiscoveryKey, Option<CoreRecord>>,
    /// Cores that are new, and their spaces.
    made: HashMap<DiscoveryKey, Space>,
    /// The core of this folder.
    default: Option<[u8; 32]>,
    /// The next free space.
    next: Option<u64>,
}

/// What was changed in a space.
#[derive(Default)]
struct Touched {
    /// Nothing of before is there any more.
    wiped: bool,
    head: Option<Option<(HeadRecord, u64)>>,
    dependency: Option<(Space, u64)>,
    nodes: HashMap<u64, Node>,
    nodes_cut: Vec<(u64, u64)>,
    blocks: HashSet<u64>,
    blocks_cut: Vec<(u64, u64)>,
}

fn within(cuts: &[(u64, u64)], index: u64) -> bool {
    cuts.iter()
        .any(|(start, end)| (*start..*end).contains(&index))
}

impl Touched {
    fn cut_blocks(&mut self, start: u64, end: u64) {
        self.blocks.retain(|index| !(start..end).contains(index));
        self.blocks_cut.push((start, end));
    }

    fn cut_nodes(&mut self, start: u64, end: u64) {
        self.nodes.retain(|index, _| !(start..end).contains(index));
        self.nodes_cut.push((start, end));
    }
}

impl Writing {
    fn touched(&mut self, space: Space) -> &mut Touched {
        self.spaces.entry(space).or_default()
    }

    fn own(&self) -> Space {
        self.moment.inner.own
    }

    fn record(&self, key: &DiscoveryKey) -> Result<Option<CoreRecord>, Error> {
        match self.records.get(key) {
            Some(record) => Ok(record.clone()),
            None => self.moment.record(key),
        }
    }

    fn put(&mut self, key: &[u8], value: Bytes) -> Result<(), Error> {
        match place::parse(key) {
            Place::StoreHead => self.put_store_head(&value)?,
            Place::Core(key) => {
                let (pointer, space) = value::core_parse(&value)?;
                let space = Space(space);
                let mut known = self.moment.inner.known.lock();
                known.add(pointer, space);
                known.cores.insert(space, key);
                drop(known);
                if self.record(&key)?.is_none() {
                    self.made.insert(key, space);
                }
            }
            Place::Alias(namespace, name) => {
                let core = <[u8; 32]>::try_from(&value[..]).map_err(|_| Error::CorruptRecord {
                    what: "name of a core",
                })?;
                let key = layout::name_key(&namespace, &name);
                let value = layout::name_value(&DiscoveryKey(core), &name);
                self.batch.put(REGISTRY, key, value);
            }
            Place::Auth(pointer) => self.put_auth(pointer, &value)?,
            Place::Sessions(pointer) => self.put_sessions(self.moment.space(pointer), &value)?,
            Place::Head(space) => {
                let head = value::head_parse(&value)?;
                self.touched(space).head = Some(Some(head));
            }
            Place::Dependency(space) => {
                let (parent, shared) = value::dependency_parse(&value)?;
                self.touched(space).dependency = Some((parent, shared));
                self.moment.inner.known.lock().parents.insert(space, parent);
                let own = self.own();
                self.batch
                    .put(own, value::parent_key(space), value::uint_value(parent.0));
                self.batch
                    .put(space, layout::SHARED_KEY, layout::shared_value(shared));
                self.batch.delete(space, layout::CUT_KEY);
            }
            Place::Block(space, index) => {
                self.touched(space).blocks.insert(index);
                self.batch.put(space, layout::block_key(index), value);
            }
            Place::Node(space, index) => {
                let node = value::node_parse(&value)?;
                self.batch
                    .put_slice(space, layout::node_key(index), &layout::node_value(&node));
                self.touched(space).nodes.insert(index, node);
            }
            // The keys of the blocks say it.
            Place::Bitfield(..) => {}
            Place::UserData(space, name) => {
                self.batch.put(space, layout::user_data_key(&name)?, value);
            }
            Place::Hints(space) => {
                let (_, recovering) = value::hints_parse(&value)?;
                if let Some(time) = self.moment.inner.store.recovering()
                    && recovering == 0
                {
                    let time = time.to_le_bytes().to_vec();
                    self.batch.put(space, layout::RECOVERED_KEY, time);
                }
                let (own, key) = (self.own(), self.moment.own_key(key));
                self.batch.put(own, key, value);
            }
            Place::Other => {
                let (own, key) = (self.own(), self.moment.own_key(key));
                self.batch.put(own, key, value);
            }
        }
        Ok(())
    }

    fn put_store_head(&mut self, value: &[u8]) -> Result<(), Error> {
        let head = value::store_head_parse(value)?;
        if let Some(seed) = head.seed {
            self.batch
                .put(REGISTRY, layout::STORE_KEY, layout::store_record(&seed));
        }
        if head.groups > 0 {
            let own = self.own();
            let groups = value::uint_value(head.groups);
            self.batch.put(own, value::GROUPS_KEY, groups);
        }
        self.default = head.default;
        let next = match self.next {
            Some(next) => next,
            None => super::next_space(&self.moment.snapshot)?,
        };
        if head.datas > next {
            let datas = head.datas.to_le_bytes().to_vec();
            self.batch.put(REGISTRY, layout::NEXT_SPACE_KEY, datas);
        }
        self.next = Some(next.max(head.datas));
        let mut known = self.moment.inner.known.lock();
        known.next = known.next.max(head.cores);
        Ok(())
    }

    fn put_auth(&mut self, pointer: u64, value: &[u8]) -> Result<(), Error> {
        let auth = value::auth_parse(value)?;
        let before = self.record(&auth.discovery_key)?;
        let space = match (&before, self.made.remove(&auth.discovery_key)) {
            (Some(record), _) => record.space,
            (None, Some(space)) => space,
            (None, None) => self.moment.space(pointer),
        };
        let record = CoreRecord {
            space,
            key: auth.key,
            manifest: auth.manifest,
            seed: auth.seed.or_else(|| {
                // It was not shown.
                let before = before.as_ref().filter(|record| record.forked)?;
                before.seed.clone()
            }),
            forked: before.as_ref().is_some_and(|record| record.forked),
        };
        let key = layout::core_key(&auth.discovery_key);
        self.batch.put(REGISTRY, key, record.encode());
        let own = self.own();
        match auth.encryption {
            Some(encryption) => self
                .batch
                .put(own, value::encryption_key(space), encryption),
            None => self.batch.delete(own, value::encryption_key(space)),
        }
        self.records.insert(auth.discovery_key, Some(record));
        Ok(())
    }

    fn put_sessions(&mut self, space: Space, value: &[u8]) -> Result<(), Error> {
        let sessions = value::sessions_parse(value)?;
        for (name, _) in self.moment.branches(space)? {
            if !sessions.iter().any(|(other, _)| *other == name) {
                self.batch.delete(space, layout::branch_key(&name));
            }
        }
        for (name, branch) in sessions {
            if name.is_empty() || name.len() > layout::BRANCH_NAME_MAX || name.starts_with('\0') {
                return Err(Error::BadArgument {
                    what: "the name of a session has 1 to 512 bytes",
                });
            }
            self.moment
                .inner
                .known
                .lock()
                .parents
                .entry(branch)
                .or_insert(space);
            let value = layout::branch_value(branch);
            self.batch.put(space, layout::branch_key(&name), value);
        }
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        match place::parse(key) {
            Place::Core(key) => {
                if let Some(record) = self.record(&key)? {
                    self.wipe(record.space);
                    self.records.insert(key, None);
                }
                self.batch.delete(REGISTRY, layout::core_key(&key));
            }
            Place::Alias(namespace, name) => {
                self.batch
                    .delete(REGISTRY, layout::name_key(&namespace, &name));
            }
            Place::Sessions(pointer) => {
                let none = value::sessions(&[]);
                self.put_sessions(self.moment.space(pointer), &none)?;
            }
            Place::Head(space) => self.touched(space).head = Some(None),
            Place::Dependency(space) => {
                self.batch.delete(space, layout::SHARED_KEY);
                self.batch.delete(space, layout::CUT_KEY);
            }
            Place::Block(space, index) => {
                self.touched(space)
                    .cut_blocks(index, index.saturating_add(1));
                self.batch.delete(space, layout::block_key(index));
            }
            Place::Node(space, index) => {
                self.touched(space)
                    .cut_nodes(index, index.saturating_add(1));
                self.batch.delete(space, layout::node_key(index));
            }
            Place::Bitfield(..) => {}
            Place::UserData(space, name) => {
                self.batch.delete(space, layout::user_data_key(&name)?);
            }
            Place::Hints(_) | Place::Other => {
                let (own, key) = (self.own(), self.moment.own_key(key));
                self.batch.delete(own, key);
            }
            Place::StoreHead | Place::Auth(_) => {
                return Err(Error::BadArgument {
                    what: "a row that npm's store does not delete",
                });
            }
        }
        Ok(())
    }

    /// Removes all that is in a space, and what is kept beside it.
    fn wipe(&mut self, space: Space) {
        let (start, end) = layout::WHOLE_SPACE;
        self.batch.delete_range(space, start, end);
        let own = self.own();
        for is_core in [false, true] {
            let (start, end) = place::all_of(space, is_core);
            self.batch.delete_range(own, start, end);
        }
        for key in value::beside_of(space) {
            self.batch.delete(own, key);
        }
        *self.touched(space) = Touched {
            wiped: true,
            ..Touched::default()
        };
    }

    fn delete_range(&mut self, start: &[u8], end: &[u8]) -> Result<(), Error> {
        let stretch = place::stretch(start, end).ok_or(Error::BadArgument {
            what: "a range of rows that npm's store does not delete",
        })?;
        if start >= end {
            return Ok(());
        }
        match stretch {
            Stretch::OfData(space) => self.wipe(space),
            Stretch::OfCore(pointer) => {
                let (start, end) = place::all_of(self.moment.space(pointer), true);
                let own = self.own();
                self.batch.delete_range(own, start, end);
            }
            Stretch::Blocks(space, first, end) => {
                let (start, all) = layout::blocks_from(first);
                match end {
                    Some(end) => self
                        .batch
                        .delete_range(space, start, layout::block_key(end)),
                    None => self.batch.delete_range(space, start, all),
                }
                let end = end.unwrap_or(u64::MAX);
                self.touched(space).cut_blocks(first, end);
            }
            Stretch::Nodes(space, first, end) => {
                let (start, all) = layout::nodes_from(first);
                match end {
                    Some(end) => self.batch.delete_range(space, start, layout::node_key(end)),
                    None => self.batch.delete_range(space, start, all),
                }
                let end = end.unwrap_or(u64::MAX);
                self.touched(space).cut_nodes(first, end);
            }
            Stretch::Pages(..) => {}
            Stretch::UserData(space, first, last) => {
                let start = layout::user_data_key(&first)?;
                let end = match last {
                    Some(last) => layout::user_data_key(&last)?,
                    None => layout::user_data_range().1.to_vec(),
                };
                self.batch.delete_range(space, start, end);
            }
            Stretch::Other => {
                let (start, end) = (self.moment.own_key(start), self.moment.own_key(end));
                let own = self.own();
                self.batch.delete_range(own, start, end);
            }
            Stretch::All => self.clear()?,
            Stretch::Cores | Stretch::Aliases(_) => {
                return Err(Error::BadArgument {
                    what: "a range of rows that npm's store does not delete",
                });
            }
        }
        Ok(())
    }

    /// Removes every core, with all names.
    fn clear(&mut self) -> Result<(), Error> {
        let (start, end) = layout::cores_range();
        let cores = self.moment.snapshot.range(REGISTRY, &start[..]..&end[..]);
        for entry in cores {
            let (key, value) = entry?;
            let record = CoreRecord::decode(&value)?;
            for (_, branch) in self.moment.branches(record.space)? {
                self.wipe(branch);
            }
            self.wipe(record.space);
            self.records.insert(layout::core_key_parse(&key)?, None);
        }
        self.batch.delete_range(REGISTRY, start, end);
        let names = layout::names_prefix(None);
        let names_end = layout::prefix_end(&names);
        self.batch.delete_range(REGISTRY, names, names_end);
        self.batch.delete(REGISTRY, layout::STORE_KEY);
        let (start, end) = layout::WHOLE_SPACE;
        let (own, single) = (self.own(), self.moment.inner.single);
        self.batch.delete_range(own, start, end);
        self.batch.delete(single, SINGLE_KEY);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        if !self.made.is_empty() {
            return Err(Error::BadArgument {
                what: "a core without its keys",
            });
        }
        if let Some(default) = self.default
            && let Some(record) = self.record(&DiscoveryKey(default))?
        {
            let single = self.moment.inner.single;
            self.batch.put(single, SINGLE_KEY, record.key.0.to_vec());
        }
        let touched: Vec<Space> = self.spaces.keys().copied().collect();
        for space in touched {
            self.cut_branches(space)?;
            self.finish_head(space)?;
        }
        Ok(())
    }

    /// What branches share of a core that was truncated ends where it was cut: what is appended there later is not theirs.
    fn cut_branches(&mut self, space: Space) -> Result<(), Error> {
        let touched = &self.spaces[&space];
        let Some(Some((head, _))) = &touched.head else {
            return Ok(());
        };
        // What was taken out of a branch, branches of it have in blocks of their own.
        if touched.wiped || self.moment.dependency(space)?.is_some() {
            return Ok(());
        }
        let Some(before) = self.moment.head(space)? else {
            return Ok(());
        };
        if head.fork == before.fork && head.length >= before.length {
            return Ok(());
        }
        // Of another history the same blocks are those that were not deleted.
        let gone = touched.blocks_cut.iter().map(|(start, _)| *start).min();
        let kept = head.length.min(gone.unwrap_or(head.length));
        for (_, branch) in self.moment.branches(space)? {
            let is_written = |touched: &Touched| touched.wiped || touched.dependency.is_some();
            if self.spaces.get(&branch).is_some_and(is_written) {
                continue;
            }
            match self.moment.dependency(branch)? {
                Some((parent, shared)) if parent == space && shared > kept => {
                    let value = layout::shared_value(kept);
                    self.batch.put(branch, layout::CUT_KEY, value);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn finish_head(&mut self, space: Space) -> Result<(), Error> {
        let touched = &self.spaces[&space];
        let before = match touched.wiped {
            true => None,
            false => self.moment.head(space)?,
        };
        let own = self.own();
        let mut copies = Vec::new();
        let mut head = match &touched.head {
            Some(None) => {
                self.batch.delete(space, layout::HEAD_KEY);
                self.batch.delete(own, value::stamp_key(space));
                return Ok(());
            }
            Some(Some((head, _))) => {
                let mut head = head.clone();
                for root in full_roots(head.length) {
                    let own_node = self.own_node(space, root)?;
                    let node = match &own_node {
                        Some(node) => *node,
                        None => self.node(space, root, 0)?.ok_or(Error::CorruptRecord {
                            what: "roots of a core in npm's store",
                        })?,
                    };
                    head.byte_length += node.size;
                    if own_node.is_none() {
                        copies.push(node);
                    }
                }
                head
            }
            None => match &before {
                Some(head) => head.clone(),
                None => return Ok(()),
            },
        };
        head.contiguous = before.as_ref().map_or(0, |head| head.contiguous);
        for (start, _) in &touched.blocks_cut {
            head.contiguous = head.contiguous.min(*start);
        }
        head.contiguous = self.contiguous(space, head.contiguous, head.length)?;
        if let Some(Some((_, stamp))) = touched.head {
            match stamp {
                0 => self.batch.delete(own, value::stamp_key(space)),
                _ => self
                    .batch
                    .put(own, value::stamp_key(space), value::uint_value(stamp)),
            }
        }
        for node in copies {
            let key = layout::node_key(node.index);
            self.batch.put_slice(space, key, &layout::node_value(&node));
        }
        if before.as_ref() != Some(&head) {
            self.batch.put(space, layout::HEAD_KEY, head.encode());
        }
        Ok(())
    }

    fn own_node(&self, space: Space, index: u64) -> Result<Option<Node>, Error> {
        match self.spaces.get(&space) {
            Some(touched) => match touched.nodes.get(&index) {
                Some(node) => Ok(Some(*node)),
                None if touched.wiped || within(&touched.nodes_cut, index) => Ok(None),
                None => self.moment.node(space, index),
            },
            None => self.moment.node(space, index),
        }
    }

    /// What a space branches off, after this commit.
    fn dependency(&self, space: Space) -> Result<Option<(Space, u64)>, Error> {
        match self.spaces.get(&space) {
            Some(touched) if touched.dependency.is_some() => Ok(touched.dependency),
            Some(touched) if touched.wiped => Ok(None),
            _ => self.moment.dependency(space),
        }
    }

    fn node(&self, space: Space, index: u64, depth: u32) -> Result<Option<Node>, Error> {
        if let Some(node) = self.own_node(space, index)? {
            return Ok(Some(node));
        }
        match self.dependency(space)? {
            Some((parent, _)) if depth < BRANCHES_MAX => self.node(parent, index, depth + 1),
            _ => Ok(None),
        }
    }

    fn has_block(&self, space: Space, index: u64, depth: u32) -> Result<bool, Error> {
        let key = layout::block_key(index);
        let own = match self.spaces.get(&space) {
            Some(touched) => {
                touched.blocks.contains(&index)
                    || (!touched.wiped
                        && !within(&touched.blocks_cut, index)
                        && self.moment.snapshot.contains(space, &key)?)
            }
            None => self.moment.snapshot.contains(space, &key)?,
        };
        if own {
            return Ok(true);
        }
        match self.dependency(space)? {
            Some((parent, shared)) if index < shared && depth < BRANCHES_MAX => {
                self.has_block(parent, index, depth + 1)
            }
            _ => Ok(false),
        }
    }

    /// How many blocks are here without a gap, `from` of which are known to be.
    fn contiguous(&self, space: Space, from: u64, length: u64) -> Result<u64, Error> {
        let mut count = from.min(length);
        if let Some((parent, shared)) = self.dependency(space)?
            && let Some(head) = self.moment.head(parent)?
            && self
                .spaces
                .get(&parent)
                .is_none_or(|parent| !parent.wiped && parent.blocks_cut.is_empty())
        {
            count = count.max(head.contiguous.min(shared).min(length));
        }
        while count < length && self.has_block(space, count, 0)? {
            count += 1;
        }
        Ok(count)
    }
}

/// Branches of branches go no deeper than this.
const BRANCHES_MAX: u32 = 64;
