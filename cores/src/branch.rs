//! Branches: named, local continuations of a core that nobody signs, until they are committed to it.
//!
//! A branch starts with the blocks of its core and goes its own way from there. It is a [`Core`] of its own in a space of its own, which has the
//! blocks from where it left the core, and all its roots; the blocks before are read out of the core. Peers never see it.
//! Source: hypercore 11.37.1, `lib/session-state.js` (named sessions and `commit`).

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use pome_storage::{Batch, Durability, Space};

use crate::{
    change::Change,
    core::Core,
    error::Error,
    hypercore::Hypercore,
    layout::{self, HeadRecord, Signed},
    merkle::{
        Tree, TreeError,
        flat_tree::{contains, parent, right_span},
    },
    options::{Appended, SessionOptions},
    session::Session,
};

/// What a branch branches off.
pub(crate) struct Parent {
    pub(crate) core: Arc<Core>,
    pub(crate) name: String,
    /// Below this the branch's blocks are the core's. A truncation of the core below it lowers it: what was cut is lost to the branch as well.
    shared: AtomicU64,
}

impl Parent {
    pub(crate) fn shared(&self) -> u64 {
        self.shared.load(Ordering::Acquire)
    }

    pub(crate) fn set_shared(&self, shared: u64) {
        self.shared.store(shared, Ordering::Release);
    }

    pub(crate) fn cut(&self, length: u64) {
        self.shared.fetch_min(length, Ordering::AcqRel);
    }

    /// True for tree nodes that cover nothing but shared blocks.
    pub(crate) fn has_node(&self, index: u64) -> bool {
        right_span(index) / 2 < self.shared()
    }
}

/// The branches of a core that are open.
#[derive(Default)]
pub(crate) struct Branches(Mutex<HashMap<String, Weak<Core>>>);

impl Branches {
    pub(crate) fn open(&self) -> Vec<Arc<Core>> {
        let branches = self.0.lock();
        branches.values().filter_map(Weak::upgrade).collect()
    }
}

/// How a branch is opened: see [`Hypercore::branch_with`].
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct BranchOptions {
    /// Starts anew at the core's present length, though there is a branch of that name (default: false).
    pub overwrite: bool,
    /// Cuts the branch to this length when it is longer.
    pub checkout: Option<u64>,
}

/// How a branch is committed: see [`Hypercore::commit`].
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CommitOptions {
    /// How long the core shall be then (default: the branch's length).
    pub length: Option<u64>,
    /// A signature over the tree of that length and the core's fork that was made elsewhere, as several signers need it.
    pub signature: Option<Bytes>,
    /// Default: `Buffered`.
    pub durability: Durability,
}

impl Core {
    fn branches(&self) -> &Branches {
        self.branches.get_or_init(Box::default)
    }

    /// What branches share of this core ends at `length` at the latest: it is about to be cut there.
    pub(crate) fn cut_branches(&self, batch: &mut Batch, length: u64) -> Result<(), Error> {
        let (start, end) = layout::branches_range();
        for entry in (self.store.snapshot()).range(self.space, &start[..]..&end[..]) {
            let space = layout::branch_value_parse(&entry?.1)?;
            if self.shared_of(space)? > length {
                batch.put(space, layout::CUT_KEY, layout::shared_value(length));
            }
        }
        Ok(())
    }

    fn shared_of(&self, space: Space) -> Result<u64, Error> {
        let read = |key: &[u8]| {
            let value = self.store.get(space, key)?;
            value
                .map(|value| layout::shared_value_parse(&value))
                .transpose()
        };
        let shared = read(&layout::SHARED_KEY)?.unwrap_or(0);
        Ok(read(&layout::CUT_KEY)?.map_or(shared, |cut| cut.min(shared)))
    }

    fn branch_space(&self, name: &str) -> Result<Option<Space>, Error> {
        match self.store.get(self.space, &layout::branch_key(name))? {
            Some(value) => layout::branch_value_parse(&value).map(Some),
            None => Ok(None),
        }
    }

    /// The branch of this name, opened or made. The write lock is held, so that the core is not cut meanwhile.
    async fn branch(self: &Arc<Self>, name: &str, overwrite: bool) -> Result<Arc<Self>, Error> {
        if name.is_empty() || name.len() > layout::BRANCH_NAME_MAX {
            let what = "the name of a branch has 1 to 512 bytes";
            return Err(Error::BadArgument { what });
        }
        let _lock = self.write.lock().await;
        if self.is_purged() {
            return Err(Error::Closed);
        }
        let mut open = self.branches().0.lock();
        let there = open.get(name).and_then(Weak::upgrade);
        let space = match (self.branch_space(name)?, there) {
            (Some(_), Some(branch)) if !overwrite => return Ok(branch),
            (Some(space), None) if !overwrite => space,
            (old, branch) => {
                let space = self.start_branch(name, old)?;
                if let Some(branch) = branch {
                    branch.set_purged();
                }
                space
            }
        };
        let parent = Parent {
            core: self.clone(),
            name: name.to_owned(),
            shared: AtomicU64::new(self.shared_of(space)?),
        };
        let branch = Arc::new(Self::open_branch(parent, space)?);
        open.retain(|_, branch| branch.strong_count() > 0);
        open.insert(name.to_owned(), Arc::downgrade(&branch));
        Ok(branch)
    }

    /// Writes a branch at the present length, in place of an old one.
    fn start_branch(&self, name: &str, old: Option<Space>) -> Result<Space, Error> {
        let registry = self.registry()?;
        // nothing refers to the new space until the commit below, so what is cut short is not seen
        let space = registry.new_space()?;
        let mut batch = Batch::new();
        if let Some(old) = old {
            let (start, end) = layout::WHOLE_SPACE;
            batch.delete_range(old, start, end);
        }
        let head = self.head.read().clone();
        let tree = &head.tree;
        batch.put(
            self.space,
            layout::branch_key(name),
            layout::branch_value(space),
        );
        batch.put(space, layout::SHARED_KEY, layout::shared_value(tree.length));
        put_roots(&mut batch, space, tree);
        let head = HeadRecord {
            fork: tree.fork,
            length: tree.length,
            byte_length: tree.byte_length,
            contiguous: head.contiguous,
            tree_hash: tree.hash(),
            signature: Signed::Given(Bytes::new()),
        };
        batch.put(space, layout::HEAD_KEY, head.encode());
        registry.commit(batch)?;
        Ok(space)
    }

    /// Removes this branch with all that is in it.
    pub(crate) fn purge_branch(&self, parent: &Parent) -> Result<(), Error> {
        let mut open = parent.core.branches().0.lock();
        let mut batch = Batch::new();
        let (start, end) = layout::WHOLE_SPACE;
        batch.delete_range(self.space, start, end);
        if parent.core.branch_space(&parent.name)? == Some(self.space) {
            batch.delete(parent.core.space, layout::branch_key(&parent.name));
            open.remove(&parent.name);
        }
        self.registry()?.commit(batch)?;
        self.set_purged();
        Ok(())
    }

    /// Stages the removal of all branches, which goes with that of the core.
    pub(crate) fn drop_branches(&self, batch: &mut Batch) -> Result<(), Error> {
        let (first, last) = layout::branches_range();
        for entry in (self.store.snapshot()).range(self.space, &first[..]..&last[..]) {
            let space = layout::branch_value_parse(&entry?.1)?;
            let (start, end) = layout::WHOLE_SPACE;
            batch.delete_range(space, start, end);
        }
        Ok(())
    }
}

/// A branch reads no root out of its core, so that it can be opened whatever became of that.
fn put_roots(batch: &mut Batch, space: Space, tree: &Tree) {
    for root in &tree.roots {
        batch.put_slice(
            space,
            layout::node_key(root.index),
            &layout::node_value(root),
        );
    }
}

/// Branches.
impl Hypercore {
    /// The branch called `name` (1 to 512 bytes), made at the present length when there is none (npm `session({name})`): a local continuation
    /// of the core that can be appended to and truncated without a key pair, that peers never see, and that stays until it is
    /// [purged](Self::purge). [`commit`](Self::commit) takes it over into the core. What the core loses by a truncation the branch loses too.
    ///
    /// ```
    /// use pome_cores::{CommitOptions, CoreOptions, Corestore, Store};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// # let dir = tempfile::tempdir()?;
    /// let cores = Corestore::open(Store::open(dir.path(), Default::default())?)?;
    /// let core = cores.get(CoreOptions::name("log")).await?;
    /// core.append("signed").await?;
    /// let draft = core.branch("draft").await?;
    /// draft.append("not yet").await?;
    /// assert_eq!((core.length(), draft.length(), draft.signed_length()), (1, 2, 1));
    ///
    /// core.commit(&draft, CommitOptions::default()).await?;
    /// assert_eq!(core.get(1).await?, "not yet");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`branch_with`](Self::branch_with).
    pub async fn branch(&self, name: &str) -> Result<Self, Error> {
        self.branch_with(name, BranchOptions::default()).await
    }

    /// As [`branch`](Self::branch), with options.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed); [`InvalidOperation`](Error::InvalidOperation) on a branch or a snapshot;
    /// [`BadArgument`](Error::BadArgument) for a bad name, or a checkout beyond the branch's length; else as
    /// [`truncate`](Self::truncate), or from the store.
    pub async fn branch_with(&self, name: &str, options: BranchOptions) -> Result<Self, Error> {
        let session = &self.session;
        session.check_open()?;
        if self.is_snapshot() || session.core.is_branch() {
            let (key, what) = (self.key(), "only the core itself has branches");
            return Err(Error::InvalidOperation { key, what });
        }
        let core = session.core.branch(name, options.overwrite).await?;
        let branch = Self::new(session.on_branch(core, &SessionOptions::default()));
        if let Some(length) = options.checkout {
            if length > branch.length() {
                let what = "the branch is shorter than that checkout";
                return Err(Error::BadArgument { what });
            }
            if length < branch.length() {
                branch.truncate(length).await?;
            }
        }
        Ok(branch)
    }

    /// Refuses what only a whole core can do.
    pub(crate) fn refuse_branch(&self) -> Result<(), Error> {
        let (key, what) = (self.key(), "a branch is only a part of a core");
        match self.session.core.is_branch() {
            true => Err(Error::InvalidOperation { key, what }),
            false => Ok(()),
        }
    }

    /// The names of the core's branches, in order.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), or from the store.
    pub fn branches(&self) -> Result<Vec<String>, Error> {
        self.session.check_open()?;
        let core = self.session.core.root();
        let (start, end) = layout::branches_range();
        let keys = (core.store.snapshot()).keys(core.space, &start[..]..&end[..]);
        keys.map(|key| Ok(layout::branch_key_parse(&key?)?.to_owned()))
            .collect()
    }

    /// The name of this branch; `None` for the core itself.
    #[must_use]
    pub fn branch_name(&self) -> Option<&str> {
        let parent = self.session.core.parent.as_ref()?;
        Some(&parent.name)
    }

    /// How many of the blocks are signed: on a branch those that are the core's.
    #[must_use]
    pub fn signed_length(&self) -> u64 {
        let length = self.length();
        match &self.session.core.parent {
            Some(parent) => {
                let signed = parent.core.head.read().tree.length;
                length.min(parent.shared()).min(signed)
            }
            None => length,
        }
    }

    /// Takes the blocks of a branch over into the core, signed, in one commit; from then on both share them. `None`, and nothing happens, when the core
    /// has blocks that the branch does not have: it was appended to or truncated otherwise.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), [`NotWritable`](Error::NotWritable); [`BadArgument`](Error::BadArgument) for a branch of another core, or a
    /// length beyond its own; [`BlockNotAvailable`](Error::BlockNotAvailable) when a block of the branch is not here;
    /// [`Tree`](Error::Tree) with INVALID_SIGNATURE; else from the store.
    pub async fn commit(
        &self,
        branch: &Self,
        options: CommitOptions,
    ) -> Result<Option<Appended>, Error> {
        match options.signature {
            None => self.session.check_writable()?,
            Some(_) => self.check_appendable()?,
        }
        branch.session.check_open()?;
        let from = &branch.session.core;
        let core = &self.session.core;
        let given = from.parent.as_ref();
        let Some(given) = given.filter(|given| Arc::ptr_eq(&given.core, core)) else {
            let what = "that is no branch of this core";
            return Err(Error::BadArgument { what });
        };
        let mut change = Change::begin(core).await?;
        let source = Change::begin(from).await?;
        self.session.check_open()?;
        let ahead = source.merkle.tree();
        let length = options.length.unwrap_or(ahead.length);
        if length > ahead.length {
            let what = "the branch is shorter than what shall be committed";
            return Err(Error::BadArgument { what });
        }
        let now = change.merkle.tree().clone();
        if now.length > length || !is_common(from, &now)? {
            return Ok(None);
        }
        let unchanged = Appended {
            length: now.length,
            byte_length: now.byte_length,
        };
        if length == now.length {
            return Ok(Some(unchanged));
        }
        let blocks = (now.length..length).map(|index| {
            let key = core.key;
            let block = from.block(index)?;
            block.ok_or(Error::BlockNotAvailable { key, index })
        });
        let blocks = blocks.collect::<Result<Vec<_>, Error>>()?;
        let mut batch = Batch::new();
        let appended = change.append(&mut batch, blocks)?;
        match options.signature {
            Some(signature) => change.accept(signature)?,
            None => change.sign(&mut batch, self.session.signer().as_ref())?,
        }
        let shared = given.shared();
        share(&mut batch, from, ahead, (shared, length))?;
        given.set_shared(length);
        let committed = self.commit_change(change, batch, options.durability);
        match committed.await {
            Err(error) if core.head.read().tree.length < length => {
                given.set_shared(shared);
                Err(error)
            }
            Err(error) => Err(error),
            Ok(()) => Ok(Some(appended)),
        }
    }
}

/// True when a branch has all blocks of the core.
fn is_common(branch: &Core, core: &Tree) -> Result<bool, Error> {
    let nodes = |index| branch.node(index);
    match Tree::load(&nodes, core.length, core.fork) {
        Ok(tree) => Ok(tree.hash() == core.hash() && tree.byte_length == core.byte_length),
        Err(Error::Tree(TreeError::MissingNode { .. })) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The blocks of a branch from `shared` to `length` are the core's from now on.
fn share(
    batch: &mut Batch,
    branch: &Core,
    tree: &Tree,
    (shared, length): (u64, u64),
) -> Result<(), Error> {
    let space = branch.space;
    // Nodes that cover blocks on both sides of the new border stay.
    let mut across = Vec::new();
    let (last, next) = (2 * length.saturating_sub(1), 2 * length);
    if length < tree.length {
        let mut index = last;
        while !tree.roots.iter().any(|root| root.index == index) {
            index = parent(index);
            if index < next && contains(index, next) {
                across.extend(branch.node(index)?);
            }
        }
    }
    let (start, end) = (layout::block_key(shared), layout::block_key(length));
    batch.delete_range(space, start, end);
    let (start, end) = (layout::node_key(0), layout::node_key(next));
    batch.delete_range(space, start, end);
    for node in &across {
        batch.put_slice(
            space,
            layout::node_key(node.index),
            &layout::node_value(node),
        );
    }
    put_roots(batch, space, tree);
    batch.put(space, layout::SHARED_KEY, layout::shared_value(length));
    batch.delete(space, layout::CUT_KEY);
    Ok(())
}

impl Session {
    /// A session like this one on a branch of its core.
    fn on_branch(&self, core: Arc<Core>, options: &SessionOptions) -> Self {
        self.derive_on(core, options, None)
    }
}
