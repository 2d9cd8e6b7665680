//! One open core: what all its sessions share.
//!
//! In memory are the head (lengths, fork, roots, signature) and the keys; everything else is looked up in the store. Opening reads the core's
//! record, its head and its roots, so it costs the logarithm of the core's length.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard, RwLock};
use pome_encoding::{DiscoveryKey, Key};
use pome_storage::{Part, Seq, Space, Store};
use tokio::sync::{Mutex as AsyncMutex, watch};
use zeroize::Zeroizing;

use crate::{
    branch::{Branches, Parent},
    crypto::KeyPair,
    error::Error,
    layout::{self, CoreRecord, HeadRecord, Signed},
    manifest::Manifest,
    merkle::{Node, Tree},
    registry::Registry,
    replication::Shared,
    sizes::Sizes,
    snapshot::Frozen,
    verifier::{Signable, Verifier},
};

/// Length and fork of a core, as [`Hypercore::watch`](crate::Hypercore::watch) shows them.
pub(crate) type Lengths = (u64, u64);

/// What changes when a core does.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// With no signature where the owner makes it: see [`signature`](Self::signature).
    pub(crate) tree: Tree,
    /// The core's owner signs this head when somebody asks for the signature.
    pub(crate) by_owner: bool,
    /// The signature that was made then.
    pub(crate) made: OnceLock<Bytes>,
    /// Blocks that are here from 0 without a gap.
    pub(crate) contiguous: u64,
    /// What seeks in this history know of its nodes. A truncation begins with none (see [`Sizes`]).
    pub(crate) sizes: Arc<Sizes>,
}

/// Who signs.
pub(crate) struct Auth {
    /// With the manifest; none for a reader that has not met a peer yet.
    pub(crate) verifier: Option<Arc<Verifier>>,
    pub(crate) owner: Option<Owner>,
}

/// A seed, of which a key pair is made when something is to be signed: it takes longer than all else of opening a core.
pub(crate) struct Owner {
    seed: Zeroizing<[u8; 32]>,
    pair: OnceLock<KeyPair>,
}

impl Head {
    /// The signature of the tree; `None` where there is none, as in a branch.
    pub(crate) fn signature(&self, core: &Core) -> Option<Bytes> {
        if !self.by_owner {
            return self.tree.signature.clone();
        }
        if let Some(made) = self.made.get() {
            return Some(made.clone());
        }
        let signature = core.owner_signature((&self.tree).into())?;
        Some(self.made.get_or_init(|| signature).clone())
    }
}

impl Owner {
    fn new(seed: &Zeroizing<[u8; 32]>) -> Self {
        Self {
            seed: seed.clone(),
            pair: OnceLock::new(),
        }
    }

    pub(crate) fn key_pair(&self) -> &KeyPair {
        self.pair.get_or_init(|| KeyPair::from_seed(&self.seed))
    }
}

/// See the module.
pub(crate) struct Core {
    pub(crate) store: Store,
    pub(crate) space: Space,
    pub(crate) key: Key,
    pub(crate) discovery_key: DiscoveryKey,
    pub(crate) auth: RwLock<Auth>,
    pub(crate) head: RwLock<Arc<Head>>,
    /// Held by whoever changes the core, from reading the head to having changed it.
    pub(crate) write: Arc<AsyncMutex<()>>,
    /// Held by the exclusive session; made for the first.
    exclusive: OnceLock<Arc<AsyncMutex<()>>>,
    /// Made when somebody watches: a sender takes more memory than all else of an idle core.
    lengths: OnceLock<watch::Sender<Lengths>>,
    /// Grows whenever a waiting reader should look again; made when one waits.
    arrivals: OnceLock<watch::Sender<u64>>,
    snapshots: Mutex<Vec<Weak<Frozen>>>,
    synced: Mutex<Synced>,
    /// What it does with peers.
    pub(crate) replication: Shared,
    purged: AtomicBool,
    registry: Weak<Registry>,
    /// What a branch branches off.
    pub(crate) parent: Option<Box<Parent>>,
    /// Its branches that are open; made for the first.
    pub(crate) branches: OnceLock<Box<Branches>>,
}

/// Head changes that may not be on disk yet, oldest first, and what surely is.
#[derive(Debug)]
struct Synced {
    length: u64,
    /// The newest head that is on disk; none while that is not of the present history.
    shown: Option<Arc<Head>>,
    pending: VecDeque<Pending>,
}

#[derive(Debug)]
struct Pending {
    seq: Seq,
    length: u64,
    head: Option<Arc<Head>>,
}

impl Synced {
    /// Takes over what the store has synced by now.
    fn settle(&mut self, synced: Seq) {
        while let Some(done) = self.pending.pop_front_if(|pending| pending.seq <= synced) {
            self.length = done.length;
            if done.head.is_some() {
                self.shown = done.head;
            }
        }
    }

    /// A head change; `cut` is the shortest length on the way to it. What lies above the cut is void at once, also where it is on disk.
    fn push(&mut self, seq: Seq, head: &Arc<Head>, cut: Option<u64>) {
        if let Some(cut) = cut {
            self.length = self.length.min(cut);
            self.shown = None;
            for pending in &mut self.pending {
                pending.length = pending.length.min(cut);
                pending.head = None;
            }
        }
        self.pending.push_back(Pending {
            seq,
            length: head.tree.length,
            head: Some(head.clone()),
        });
    }
}

/// A node of a core in its store.
pub(crate) fn node_in(store: &Store, space: Space, index: u64) -> Result<Option<Node>, Error> {
    match store.get(space, &layout::node_key(index))? {
        Some(value) => Ok(Some(layout::node_parse(index, &value)?)),
        None => Ok(None),
    }
}

/// The head that a head record and the nodes of the core add up to.
pub(crate) fn head_from(
    key: Key,
    manifest: Option<&Manifest>,
    record: Option<&[u8]>,
    nodes: impl Fn(u64) -> Result<Option<Node>, Error>,
) -> Result<Head, Error> {
    let prologue = manifest.and_then(|manifest| manifest.prologue);
    let Some(record) = record else {
        let tree = Tree {
            prologue,
            ..Tree::default()
        };
        return Ok(Head {
            tree,
            by_owner: false,
            made: OnceLock::new(),
            contiguous: 0,
            sizes: Arc::default(),
        });
    };
    let record = HeadRecord::decode(record)?;
    let mut tree = Tree::load(&nodes, record.length, record.fork)?;
    let corrupt = |what| Err(Error::CorruptCore { key, what });
    if tree.hash() != record.tree_hash {
        return corrupt("its roots do not hash to its tree hash");
    }
    if tree.byte_length != record.byte_length || record.contiguous > record.length {
        return corrupt("its lengths contradict each other");
    }
    tree.prologue = prologue;
    let by_owner = match record.signature {
        Signed::ByOwner(_) => true,
        Signed::Given(signature) => {
            tree.signature = Some(signature).filter(|signature| !signature.is_empty());
            false
        }
    };
    Ok(Head {
        tree,
        by_owner,
        made: OnceLock::new(),
        contiguous: record.contiguous,
        sizes: Arc::default(),
    })
}

/// Who may sign a core, if its record says.
fn verifier_of(record: &CoreRecord) -> Result<Option<Verifier>, Error> {
    let key = record.key;
    let corrupt = |what| Error::CorruptCore { key, what };
    let Some(bytes) = &record.manifest else {
        return Ok(None);
    };
    let manifest = Manifest::decode(bytes).map_err(|_| corrupt("its manifest does not decode"))?;
    if !manifest.is_valid_for(&key) && !manifest.is_compat(&key) {
        return Err(corrupt("its manifest does not hash to its key"));
    }
    Ok(Some(Verifier::with_key(key, manifest)))
}

/// The signature that the owner of a core, of which only the record is at hand, makes.
pub(crate) fn owner_signature(record: &CoreRecord, of: Signable) -> Result<Bytes, Error> {
    let verifier = verifier_of(record)?;
    let signature = verifier
        .zip(record.seed.as_ref())
        .and_then(|(verifier, seed)| {
            let pair = KeyPair::from_seed(seed);
            verifier.sign_hash(of, &pair).ok()
        });
    signature.ok_or(Error::CorruptCore {
        key: record.key,
        what: "its head has no signature, and who would sign it is not known",
    })
}

impl Core {
    /// Opens what the registry knows.
    pub(crate) fn open(
        store: &Store,
        registry: &Arc<Registry>,
        discovery_key: DiscoveryKey,
        record: &CoreRecord,
    ) -> Result<Self, Error> {
        let key = record.key;
        let verifier = verifier_of(record)?.map(Arc::new);
        let space = record.space;
        let head = store.get(space, &layout::HEAD_KEY)?;
        let manifest = verifier.as_ref().map(|verifier| verifier.manifest());
        let head = head_from(key, manifest, head.as_deref(), |index| {
            node_in(store, space, index)
        })?;
        let head = Arc::new(head);
        let mut synced = Synced {
            length: 0,
            shown: None,
            pending: VecDeque::new(),
        };
        let seq = store.committed_seq();
        if store.synced_seq() >= seq {
            synced.length = head.tree.length;
            synced.shown = Some(head.clone());
        } else {
            // a core that was closed a moment ago may have a head that is not on disk yet
            synced.push(seq, &head, None);
        }
        let replication = Shared::default();
        if record.forked {
            replication.set_forked();
        }
        Ok(Self {
            store: store.clone(),
            space,
            key,
            discovery_key,
            auth: RwLock::new(Auth {
                verifier,
                owner: record.seed.as_ref().map(Owner::new),
            }),
            write: Arc::default(),
            exclusive: OnceLock::new(),
            lengths: OnceLock::new(),
            arrivals: OnceLock::new(),
            snapshots: Mutex::default(),
            synced: Mutex::new(synced),
            replication,
            head: RwLock::new(head),
            purged: AtomicBool::new(false),
            registry: Arc::downgrade(registry),
            parent: None,
            branches: OnceLock::new(),
        })
    }

    /// A branch of `parent` in a space of its own.
    pub(crate) fn open_branch(parent: Parent, space: Space) -> Result<Self, Error> {
        let core = parent.core.clone();
        let store = &core.store;
        let head = store.get(space, &layout::HEAD_KEY)?;
        let verifier = core.verifier();
        let manifest = verifier.as_ref().map(|verifier| verifier.manifest());
        let head = head_from(core.key, manifest, head.as_deref(), |index| {
            node_in(store, space, index)
        })?;
        Ok(Self {
            store: store.clone(),
            space,
            key: core.key,
            discovery_key: core.discovery_key,
            auth: RwLock::new(Auth {
                verifier: None,
                owner: None,
            }),
            write: Arc::default(),
            exclusive: OnceLock::new(),
            lengths: OnceLock::new(),
            arrivals: OnceLock::new(),
            snapshots: Mutex::default(),
            synced: Mutex::new(Synced {
                length: 0,
                shown: None,
                pending: VecDeque::new(),
            }),
            replication: Shared::default(),
            head: RwLock::new(Arc::new(head)),
            purged: AtomicBool::new(false),
            registry: core.registry.clone(),
            parent: Some(Box::new(parent)),
            branches: OnceLock::new(),
        })
    }

    /// Who may sign, if that is known.
    pub(crate) fn verifier(&self) -> Option<Arc<Verifier>> {
        match &self.parent {
            Some(parent) => parent.core.verifier(),
            None => self.auth.read().verifier.clone(),
        }
    }

    /// The signature that its owner makes, when that is known here.
    pub(crate) fn owner_signature(&self, of: Signable) -> Option<Bytes> {
        let auth = self.auth.read();
        let (verifier, owner) = (auth.verifier.as_ref()?, auth.owner.as_ref()?);
        verifier.sign_hash(of, owner.key_pair()).ok()
    }

    pub(crate) fn is_branch(&self) -> bool {
        self.parent.is_some()
    }

    /// The core itself: of a branch what it branches off.
    pub(crate) fn root(self: &Arc<Self>) -> &Arc<Self> {
        match &self.parent {
            Some(parent) => &parent.core,
            None => self,
        }
    }

    /// Blocks from 0 without a gap. The first ones of a branch are its core's.
    pub(crate) fn contiguous(&self, head: &Head) -> u64 {
        let Some(parent) = &self.parent else {
            return head.contiguous;
        };
        let (below, shared) = (parent.core.head.read().contiguous, parent.shared());
        if below < shared {
            return below.min(head.tree.length);
        }
        // The core was cut below where the branch left it: what lies between is lost.
        let key = layout::block_key(shared);
        let is_own = || self.store.contains(self.space, &key).unwrap_or(false);
        match shared < head.contiguous && !is_own() {
            true => shared,
            false => head.contiguous,
        }
    }

    /// True for a core made the way of version 10, whose key is its signer's public key.
    pub(crate) fn is_compat(&self) -> bool {
        self.verifier().is_some_and(|verifier| verifier.is_compat())
    }

    pub(crate) fn node(&self, index: u64) -> Result<Option<Node>, Error> {
        match (node_in(&self.store, self.space, index)?, &self.parent) {
            (None, Some(parent)) if parent.has_node(index) => {
                let node = parent.core.node(index)?;
                // Of a history that began meanwhile it would be: what is shared no longer is said before that is committed.
                Ok(node.filter(|_| parent.has_node(index)))
            }
            (node, _) => Ok(node),
        }
    }

    pub(crate) fn block(&self, index: u64) -> Result<Option<Bytes>, Error> {
        let whole = self.block_part(index, 0..usize::MAX)?;
        Ok(whole.map(|part| part.bytes))
    }

    /// What of a block lies in `wanted`.
    pub(crate) fn block_part(
        &self,
        index: u64,
        wanted: Range<usize>,
    ) -> Result<Option<Part>, Error> {
        // A branch's own blocks first: a commit moves them to the core, and then they are there.
        let key = layout::block_key(index);
        let part = self.store.get_part(self.space, &key, wanted.clone())?;
        match (part, &self.parent) {
            (None, Some(parent)) if index < parent.shared() => {
                let part = parent.core.block_part(index, wanted)?;
                Ok(part.filter(|_| index < parent.shared()))
            }
            (part, _) => Ok(part),
        }
    }

    pub(crate) fn has_block(&self, index: u64) -> Result<bool, Error> {
        let here = (self.store).contains(self.space, &layout::block_key(index))?;
        match &self.parent {
            Some(parent) if !here && index < parent.shared() => parent.core.has_block(index),
            _ => Ok(here),
        }
    }

    /// The blocks that the disk has lost and that have not come back, in order: the first `limit` of them.
    pub(crate) fn lost(&self, limit: usize) -> Result<Vec<u64>, Error> {
        let snapshot = self.store.snapshot();
        let (start, end) = layout::lost_from(0);
        let length = self.head.read().tree.length;
        let mut lost = vec![];
        for key in snapshot.keys(self.space, &start[..]..&end[..]) {
            let index = layout::number(&key?)?;
            if lost.len() >= limit || index >= length {
                break;
            }
            if !snapshot.contains(self.space, &layout::block_key(index))? {
                lost.push(index);
            }
        }
        Ok(lost)
    }

    /// Which time the store recovers, when it does.
    pub(crate) fn recovering(&self) -> Option<u32> {
        match self.store.is_recovering() {
            true => self.store.recovering(),
            false => None,
        }
    }

    /// True when peers were asked about this core, the store's present time of recovering.
    pub(crate) fn is_recovered(&self, time: u32) -> Result<bool, Error> {
        let told = self.store.get(self.space, &layout::RECOVERED_KEY)?;
        Ok(told.as_deref() == Some(&time.to_le_bytes()[..]))
    }

    /// Makes a committed change visible: to `head`, to snapshots (`cut` is the shortest length in between), to those who watch and wait.
    pub(crate) fn committed(&self, head: Head, seq: Seq, cut: Option<u64>) {
        let head = Arc::new(head);
        if let Some(cut) = cut {
            self.snapshots.lock().retain(|snapshot| {
                let alive = snapshot.upgrade();
                alive.inspect(|frozen| frozen.cut(cut)).is_some()
            });
        }
        {
            let mut synced = self.synced.lock();
            synced.settle(self.store.synced_seq());
            synced.push(seq, &head, cut);
        }
        *self.head.write() = head;
        if let Some(lengths) = self.lengths.get() {
            self.tell(lengths);
        }
        self.wake();
        self.replication.wake();
    }

    /// Shows the lengths that the head has now to those who watch. The head is held, so that a later one is not overtaken.
    fn tell(&self, lengths: &watch::Sender<Lengths>) {
        let head = self.head.read();
        let new = (head.tree.length, head.tree.fork);
        lengths.send_if_modified(|now| {
            let changed = *now != new;
            *now = new;
            changed
        });
    }

    /// How many blocks of the present history are on disk for sure.
    pub(crate) fn synced_length(&self) -> u64 {
        let mut synced = self.synced.lock();
        synced.settle(self.store.synced_seq());
        synced.length
    }

    /// The head that may be shown to peers, if there is one, and the commit that must be on disk before the present one may be.
    pub(crate) fn shown(&self) -> (Option<Arc<Head>>, Option<Seq>) {
        let mut synced = self.synced.lock();
        synced.settle(self.store.synced_seq());
        let lag = synced.pending.back().map(|pending| pending.seq);
        (synced.shown.clone(), lag)
    }

    /// Makes all who wait look again.
    pub(crate) fn wake(&self) {
        // Who is about to make it looks at the state after that, and needs no waking.
        if let Some(arrivals) = self.arrivals.get() {
            arrivals.send_modify(|n| *n = n.wrapping_add(1));
        }
        if let Some(branches) = self.branches.get() {
            for branch in branches.open() {
                branch.wake();
            }
        }
    }

    pub(crate) fn exclusive(&self) -> Arc<AsyncMutex<()>> {
        self.exclusive.get_or_init(Arc::default).clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Lengths> {
        let lengths = self.lengths.get_or_init(|| {
            let head = self.head.read();
            watch::Sender::new((head.tree.length, head.tree.fork))
        });
        // A change between the look at the head and the making of the sender told nobody.
        self.tell(lengths);
        lengths.subscribe()
    }

    pub(crate) fn arrivals(&self) -> watch::Receiver<u64> {
        let arrivals = self.arrivals.get_or_init(|| watch::Sender::new(0));
        arrivals.subscribe()
    }

    /// True when somebody holds a snapshot of it.
    pub(crate) fn has_snapshots(&self) -> bool {
        let snapshots = self.snapshots.lock();
        snapshots.iter().any(|snapshot| snapshot.strong_count() > 0)
    }

    /// Has all snapshots keep what they show, since the caller removes something of it. To be held until that is committed: who takes a snapshot waits.
    pub(crate) fn keep_snapshots(&self) -> MutexGuard<'_, Vec<Weak<Frozen>>> {
        let mut snapshots = self.snapshots.lock();
        snapshots.retain(|snapshot| {
            let alive = snapshot.upgrade();
            alive.inspect(|frozen| frozen.keep(self)).is_some()
        });
        snapshots
    }

    /// The core as it is now. The lock is held throughout, so that a truncation is either in the snapshot or tells it.
    pub(crate) fn freeze(&self) -> Result<Arc<Frozen>, Error> {
        let mut snapshots = self.snapshots.lock();
        let frozen = Arc::new(Frozen::new(self)?);
        if snapshots.len() == snapshots.capacity() {
            snapshots.retain(|snapshot| snapshot.strong_count() > 0);
        }
        snapshots.push(Arc::downgrade(&frozen));
        Ok(frozen)
    }

    pub(crate) fn is_purged(&self) -> bool {
        self.purged.load(Ordering::Acquire)
    }

    /// Ends every session of it, and its channels with peers.
    pub(crate) fn set_purged(&self) {
        self.purged.store(true, Ordering::Release);
        self.wake();
        self.replication.wake();
    }

    pub(crate) fn registry(&self) -> Result<Arc<Registry>, Error> {
        self.registry.upgrade().ok_or(Error::Closed)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if self.is_branch() {
            return;
        }
        if let Some(registry) = self.registry.upgrade() {
            registry.forget(self);
        }
    }
}
