//! The store as npm's `hypercore-storage` sees its own: rows of a key and a value, read, walked and written in its encodings, kept in our layout.
//!
//! So npm's JavaScript runs on a store of ours, and what it writes is there for everybody else: heads, nodes, blocks, names, keys and branches are translated row by row;
//! a bitfield is made out of the keys of the blocks when it is asked for. Rows that have no counterpart here (marks, local values, hints, groups) lie in a local keyspace
//! of their own, `npm`.
//! Source: hypercore-storage 3.3, `lib/keys.js` and `encoding/spec/hyperschema` (store version 2).
//!
//! In npm's rows a core has a *core pointer* and a *data pointer*; a data pointer is the number of a space of ours. Core pointers of cores that are new are handed out far above these
//! ([`FRESH`]) and mean something to this process only: to the next one both pointers are the space.

mod place;
mod value;
mod walk;
mod write;

#[cfg(test)]
mod tests;

pub use walk::NpmRows;
pub use write::NpmChange;

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use pome_encoding::DiscoveryKey;
use pome_storage::{Batch, Durability, Snapshot, Space, Store};

use crate::{
    core::owner_signature,
    crypto,
    error::Error,
    layout::{self, CoreRecord, HeadRecord, REGISTRY, Signed},
    merkle::Node,
};
use place::Place;

/// From here on core pointers are of cores that this process has made.
const FRESH: u64 = 1 << 40;
/// The local keyspace of rows that are npm's alone.
const OWN: &str = "npm";
/// The local keyspace that says which core a folder of a single Hypercore has.
const SINGLE: &str = "hypercore/single";
/// Stands for a keyspace that could not be made.
const NOWHERE: Space = Space(u64::MAX);
const SINGLE_KEY: &[u8] = b"key";
/// How many blocks a page of npm's bitfield tells about.
const PAGE_BITS: u64 = 32_768;
const PAGE_BYTES: usize = 4096;

/// A store in npm's rows.
///
/// ```
/// use pome_cores::{NpmStorage, Store};
///
/// let folder = tempfile::tempdir()?;
/// let store = Store::open(folder.path(), pome_storage::Options::default())?;
/// let rows = NpmStorage::open(store)?;
/// // Row 0 is the head of the store: version 2, as hypercore-storage 3 writes it.
/// assert_eq!(rows.moment().get(&[0])?.expect("there always is one")[0], 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct NpmStorage(Arc<Inner>);

struct Inner {
    store: Store,
    own: Space,
    single: Space,
    known: Mutex<Known>,
}

/// What has been learnt of pointers.
#[derive(Default)]
struct Known {
    /// Core pointers that are not spaces.
    fresh: HashMap<u64, Space>,
    pointers: HashMap<Space, u64>,
    /// The core of a space.
    cores: HashMap<Space, DiscoveryKey>,
    /// What a branch branches off.
    parents: HashMap<Space, Space>,
    /// No core pointer at or above this was handed out yet.
    next: u64,
}

impl Known {
    fn space(&self, pointer: u64) -> Space {
        self.fresh.get(&pointer).copied().unwrap_or(Space(pointer))
    }

    fn pointer(&self, space: Space) -> u64 {
        self.pointers.get(&space).copied().unwrap_or(space.0)
    }

    fn add(&mut self, pointer: u64, space: Space) {
        if pointer != space.0 {
            self.fresh.insert(pointer, space);
            self.pointers.insert(space, pointer);
        }
    }
}

impl NpmStorage {
    /// Looks at a store in npm's rows.
    ///
    /// # Errors
    /// Those of the store.
    pub fn open(store: Store) -> Result<Self, Error> {
        let own = local_space(&store, OWN)?;
        let single = local_space(&store, SINGLE)?;
        Ok(Self(Arc::new(Inner {
            store,
            own,
            single,
            known: Mutex::default(),
        })))
    }

    /// The store below.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The space of the local keyspace of this name, which is made when there is none.
    ///
    /// # Errors
    /// Those of the store.
    pub fn keyspace(&self, name: &str) -> Result<Space, Error> {
        local_space(&self.0.store, name)
    }

    /// The rows as they are now.
    pub fn moment(&self) -> NpmMoment {
        NpmMoment {
            inner: self.0.clone(),
            snapshot: self.0.store.snapshot(),
        }
    }
}

/// The space of a local keyspace, which is made when there is none.
fn local_space(store: &Store, name: &str) -> Result<Space, Error> {
    let key = layout::local_key(name);
    if let Some(value) = store.get(REGISTRY, &key)? {
        return Ok(Space(layout::space_parse(&value)?));
    }
    let next = next_space(&store.snapshot())?;
    let mut batch = Batch::new();
    batch.put(REGISTRY, &key, next.to_le_bytes().to_vec());
    batch.put(
        REGISTRY,
        layout::NEXT_SPACE_KEY,
        (next + 1).to_le_bytes().to_vec(),
    );
    match store.commit(batch, Durability::Buffered) {
        Ok(_) => Ok(Space(next)),
        // Nothing is in it, and nothing will be.
        Err(pome_storage::Error::ReadOnly { .. }) => Ok(NOWHERE),
        Err(error) => Err(error.into()),
    }
}

fn next_space(snapshot: &Snapshot) -> Result<u64, Error> {
    match snapshot.get(REGISTRY, &layout::NEXT_SPACE_KEY)? {
        Some(value) => layout::space_parse(&value),
        None => Ok(layout::FIRST_SPACE),
    }
}

/// The rows of one moment.
#[derive(Clone)]
pub struct NpmMoment {
    inner: Arc<Inner>,
    snapshot: Snapshot,
}

impl NpmMoment {
    /// The value of a row.
    ///
    /// # Errors
    /// Those of the store; `CORRUPT` when what is stored does not decode.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let made = |made: Option<Vec<u8>>| Ok(made.map(Bytes::from));
        match place::parse(key) {
            Place::StoreHead => made(Some(self.store_head()?)),
            Place::Core(key) => {
                let record = self.record(&key)?;
                made(record.map(|record| self.core_row(&key, &record)))
            }
            Place::Alias(namespace, name) => {
                let value = self
                    .snapshot
                    .get(REGISTRY, &layout::name_key(&namespace, &name))?;
                Ok(match value {
                    Some(value) => Some(layout::name_value_parse(&value)?.0.0.to_vec().into()),
                    None => None,
                })
            }
            Place::Auth(pointer) => made(self.auth(self.space(pointer))?),
            Place::Sessions(pointer) => made(self.sessions(self.space(pointer))?),
            Place::Head(space) => made(self.head_row(space)?),
            Place::Dependency(space) => made(self.dependency_row(space)?),
            Place::Hints(space) => made(self.hints(space, key)?),
            Place::Block(space, index) => {
                Ok(self.snapshot.get(space, &layout::block_key(index))?)
            }
            Place::Node(space, index) => made(
                self.node(space, index)?
                    .map(|node| value::node(node.index, node.size, &node.hash)),
            ),
            Place::Bitfield(space, page) => made(self.page(space, page)?),
            Place::UserData(space, name) => {
                Ok(self.snapshot.get(space, &layout::user_data_key(&name)?)?)
            }
            Place::Other => Ok(self.snapshot.get(self.inner.own, &self.own_key(key))?),
        }
    }

    fn space(&self, pointer: u64) -> Space {
        self.inner.known.lock().space(pointer)
    }

    /// The key of a row that is npm's alone: pointers of this process have no place in it.
    fn own_key(&self, key: &[u8]) -> Vec<u8> {
        let known = self.inner.known.lock();
        place::with_spaces(key, |pointer| known.space(pointer).0)
    }

    fn own(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.snapshot.get(self.inner.own, &self.own_key(key))?)
    }

    fn record(&self, key: &DiscoveryKey) -> Result<Option<CoreRecord>, Error> {
        match self.snapshot.get(REGISTRY, &layout::core_key(key))? {
            Some(value) => CoreRecord::decode(&value).map(Some),
            None => Ok(None),
        }
    }

    fn head(&self, space: Space) -> Result<Option<HeadRecord>, Error> {
        match self.snapshot.get(space, &layout::HEAD_KEY)? {
            Some(value) => HeadRecord::decode(&value).map(Some),
            None => Ok(None),
        }
    }

    fn node(&self, space: Space, index: u64) -> Result<Option<Node>, Error> {
        match self.snapshot.get(space, &layout::node_key(index))? {
            Some(value) => layout::node_parse(index, &value).map(Some),
            None => Ok(None),
        }
    }

    fn store_head(&self) -> Result<Vec<u8>, Error> {
        let seed = match self.snapshot.get(REGISTRY, &layout::STORE_KEY)? {
            Some(record) => Some(layout::store_record_parse(&record)?),
            None => None,
        };
        let single = self.snapshot.get(self.inner.single, SINGLE_KEY)?;
        let single = single.and_then(|key| <[u8; 32]>::try_from(&key[..]).ok());
        let default = single.map(|key| crypto::discovery_key(&pome_encoding::Key(key)).0);
        let groups = match self.own(value::GROUPS_KEY)? {
            Some(groups) => value::uint(&groups)?,
            None => 0,
        };
        let datas = next_space(&self.snapshot)?;
        let mut known = self.inner.known.lock();
        known.next = known.next.max(FRESH + datas);
        Ok(value::store_head(&value::StoreHead {
            cores: known.next,
            datas,
            groups,
            seed,
            default,
        }))
    }

    fn core_row(&self, key: &DiscoveryKey, record: &CoreRecord) -> Vec<u8> {
        let mut known = self.inner.known.lock();
        known.cores.insert(record.space, *key);
        value::core(known.pointer(record.space), record.space.0)
    }

    fn core_of(&self, space: Space) -> Result<Option<DiscoveryKey>, Error> {
        if let Some(key) = self.inner.known.lock().cores.get(&space) {
            return Ok(Some(*key));
        }
        let (start, end) = layout::cores_range();
        let mut records = self.snapshot.scan(REGISTRY, &start[..]..&end[..]);
        while let Some((key, value)) = records.next_entry()? {
            if CoreRecord::decode(value)?.space == space {
                return layout::core_key_parse(key).map(Some);
            }
        }
        Ok(None)
    }

    fn auth(&self, space: Space) -> Result<Option<Vec<u8>>, Error> {
        let Some(key) = self.core_of(space)? else {
            return Ok(None);
        };
        let Some(record) = self.record(&key)? else {
            return Ok(None);
        };
        let encryption = self.own(&value::encryption_key(space))?;
        value::auth(&key, &record, encryption.as_deref()).map(Some)
    }

    /// The branches of a core, by name.
    fn branches(&self, space: Space) -> Result<Vec<(String, Space)>, Error> {
        let (start, end) = layout::branches_range();
        let mut found = Vec::new();
        for entry in self.snapshot.range(space, &start[..]..&end[..]) {
            let (key, value) = entry?;
            // In a branch's own space the columns mean something else; only cores have branches.
            if key.len() > 1 && key[1] != 0 {
                let branch = layout::branch_value_parse(&value)?;
                found.push((layout::branch_key_parse(&key)?.to_owned(), branch));
            }
        }
        let mut known = self.inner.known.lock();
        for (_, branch) in &found {
            known.parents.entry(*branch).or_insert(space);
        }
        Ok(found)
    }

    fn sessions(&self, space: Space) -> Result<Option<Vec<u8>>, Error> {
        let branches = self.branches(space)?;
        Ok((!branches.is_empty()).then(|| value::sessions(&branches)))
    }

    /// What a branch shares with what it branches off: that one's space, and how many blocks.
    fn dependency(&self, space: Space) -> Result<Option<(Space, u64)>, Error> {
        let read = |key: &[u8]| -> Result<Option<u64>, Error> {
            let value = self.snapshot.get(space, key)?;
            value
                .map(|value| layout::shared_value_parse(&value))
                .transpose()
        };
        let Some(shared) = read(&layout::SHARED_KEY)? else {
            return Ok(None);
        };
        let shared = read(&layout::CUT_KEY)?.map_or(shared, |cut| cut.min(shared));
        let parent = match self.own(&value::parent_key(space))? {
            Some(parent) => Some(Space(value::uint(&parent)?)),
            None => self.inner.known.lock().parents.get(&space).copied(),
        };
        Ok(parent.map(|parent| (parent, shared)))
    }

    fn dependency_row(&self, space: Space) -> Result<Option<Vec<u8>>, Error> {
        let found = self.dependency(space)?;
        Ok(found.map(|(parent, shared)| value::dependency(parent.0, shared)))
    }

    fn head_row(&self, space: Space) -> Result<Option<Vec<u8>>, Error> {
        let Some(head) = self.head(space)? else {
            return Ok(None);
        };
        let stamp = match self.own(&value::stamp_key(space))? {
            Some(stamp) => value::uint(&stamp)?,
            None => 0,
        };
        let signature = self.signature(space, &head)?;
        Ok(Some(value::head(&head, &signature, stamp)))
    }

    /// The signature of a head, which is made now where the core's owner was not asked for it yet: of what the head says, whatever became of its nodes.
    fn signature(&self, space: Space, head: &HeadRecord) -> Result<Bytes, Error> {
        let key = match &head.signature {
            Signed::Given(signature) => return Ok(signature.clone()),
            Signed::ByOwner(key) => key,
        };
        match self.record(key)? {
            Some(record) if record.space == space => owner_signature(&record, head.signable()),
            _ => Err(Error::StorageEmpty {
                discovery_key: *key,
            }),
        }
    }

    /// npm's own hints, but how many blocks are here without a gap is what is so; and a core that may have been signed further in another copy of the store is recovering: npm's
    /// asks peers before it signs such a one.
    fn hints(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let contiguous = self.head(space)?.map_or(0, |head| head.contiguous);
        let since = match self.inner.store.recovering() {
            Some(time) if !self.is_recovered(space, time)? => now(),
            _ => 0,
        };
        let kept = self.own(key)?;
        match (&kept, contiguous, since) {
            (None, 0, 0) => Ok(None),
            _ => value::hints(kept.as_deref(), contiguous, since).map(Some),
        }
    }

    /// True when peers were asked about the core in this recovery of the store.
    fn is_recovered(&self, space: Space, time: u32) -> Result<bool, Error> {
        let asked = self.snapshot.get(space, &layout::RECOVERED_KEY)?;
        Ok(asked.is_some_and(|asked| asked[..] == time.to_le_bytes()))
    }

    /// A page of the bitfield; `None` when no block of it is here.
    fn page(&self, space: Space, page: u64) -> Result<Option<Vec<u8>>, Error> {
        let (Some(first), Some(end)) = (
            page.checked_mul(PAGE_BITS),
            page.checked_add(1)
                .and_then(|next| next.checked_mul(PAGE_BITS)),
        ) else {
            return Ok(None);
        };
        let contiguous = match self.dependency(space)? {
            // Of a branch only what is its own has bits.
            Some(_) => 0,
            None => self.head(space)?.map_or(0, |head| head.contiguous),
        };
        let mut bits = vec![0_u8; PAGE_BYTES];
        let whole = contiguous.clamp(first, end) - first;
        for bit in 0..whole {
            set(&mut bits, bit);
        }
        let mut any = whole > 0;
        let (start, stop) = (layout::block_key(first + whole), layout::block_key(end));
        for key in self.snapshot.keys(space, &start[..]..&stop[..]) {
            set(&mut bits, layout::number(&key?)? - first);
            any = true;
        }
        Ok(any.then_some(bits))
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |now| u64::try_from(now.as_millis()).unwrap_or(1))
}

/// Sets one of the bits of a page, the lowest of a byte first.
fn set(bits: &mut [u8], bit: u64) {
    #[expect(clippy::cast_possible_truncation, reason = "below a page's bits")]
    let at = bit as usize;
    if let Some(byte) = bits.get_mut(at / 8) {
        *byte |= 1 << (at % 8);
    }
}
