//! Puts cores right after a disk has failed them: blocks that are lost become missing, so that peers can bring them back; tree nodes are computed again.
//!
//! A block is given up only when that is proven: its bytes are not what was written, or it does not hash to a leaf that hashes up to the signed roots. A
//! node is written only when it fits what is above it. Everything else stays as it is, and is told.

use std::{collections::BTreeSet, ops::Range};

use bytes::Bytes;
use pome_encoding::{DiscoveryKey, Key};
use pome_storage::{Action, Batch, Damage, Durability, Error as StorageError, Finding, Snapshot};

use crate::{
    audit::{Audit, AuditProgress, Problem},
    change::Change,
    core::Core,
    corestore::Corestore,
    crypto,
    error::Error,
    hypercore::Hypercore,
    layout,
    merkle::{
        Node,
        flat_tree::{full_roots, leaf_count, left_child, parent, right_child, right_span, sibling},
    },
    options::CoreOptions,
    snapshot::node_at,
};

/// A subtree of more blocks than this is not computed again: its nodes would fill the memory.
const SUBTREE_BLOCKS_MAX: u64 = 1 << 20;

/// What a repair did to one core.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct CoreRepair {
    /// Blocks that were lost, and are missing from now on.
    pub lost: Vec<Range<u64>>,
    /// Tree nodes that were computed again.
    pub nodes: u64,
    /// Blocks and tree nodes past the end of the core that were removed.
    pub removed: u64,
    /// What is still wrong.
    pub left: Vec<Problem>,
}

/// Something that a repair could not put right.
#[derive(Debug)]
#[non_exhaustive]
pub enum Left {
    /// In the store below. A lost value is told here only when it is no block of a core.
    Store(Finding),
    /// In a core.
    Core {
        /// Whose.
        key: Key,
        /// What.
        problem: Problem,
    },
    /// A core that cannot be opened, or read to its end.
    Unopened {
        /// Which.
        discovery_key: DiscoveryKey,
        /// Why.
        error: Error,
    },
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(finding) => finding.error.fmt(f),
            Self::Core { key, problem } => write!(f, "core {key}: {problem}"),
            Self::Unopened {
                discovery_key,
                error,
            } => write!(f, "core with discovery key {discovery_key}: {error}"),
        }
    }
}

/// What a repair did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Repaired {
    /// To the store below.
    pub actions: Vec<Action>,
    /// To the cores to which something was done, or could not be.
    pub cores: Vec<(Key, CoreRepair)>,
    /// Damage that was accepted: what is lost is lost. If commits were among it, the store is recovering from now on.
    pub accepted: Vec<Damage>,
    /// What is still wrong.
    pub left: Vec<Left>,
}

fn ranges(blocks: impl IntoIterator<Item = u64>) -> Vec<Range<u64>> {
    let mut all: Vec<Range<u64>> = vec![];
    for index in blocks {
        match all.last_mut() {
            Some(last) if last.end == index => last.end += 1,
            _ => all.push(index..index + 1),
        }
    }
    all
}

impl Corestore {
    /// Checks and repairs the store and every core in it. Blocks that are lost are missing from now on (see [`Hypercore::lost`]); damage is accepted, and
    /// where commits were lost with it the store is [recovering](pome_storage::Store::is_recovering) from then on. Each step is whole on disk or not made;
    /// one that is cut short is made by the next repair. It blocks the thread while it reads. `progress` is told bytes of the store done and in all.
    ///
    /// # Errors
    /// From the store, when the repair itself cannot go on; what cannot be repaired is in the answer.
    pub async fn repair(
        &self,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Repaired, Error> {
        let store = self.store();
        // When the registry cannot be read, nothing is known to be a core.
        let spaces = self.spaces().unwrap_or_default();
        let mut may_lose = |(space, start, end): pome_storage::LostKeys<'_>| {
            spaces.contains(&space.0) && layout::is_refillable(start, end)
        };
        let repair = store.repair(&mut may_lose, progress)?;
        let mut repaired = Repaired {
            actions: repair.actions,
            ..Repaired::default()
        };
        // Lost blocks are found again as such, core by core.
        let is_block = |finding: &Finding| {
            let key = finding.key.as_ref();
            key.is_some_and(|(space, key)| {
                spaces.contains(&space.0) && layout::is_refillable(key, Some(&key[..]))
            })
        };
        let others = repair.left.into_iter().filter(|f| !is_block(f));
        repaired.left.extend(others.map(Left::Store));
        for discovery_key in self.list().unwrap_or_default() {
            let opened = self.get(CoreOptions::discovery_key(discovery_key)).await;
            let core = match opened {
                Ok(core) => core,
                Err(error) => {
                    repaired.left.push(Left::Unopened {
                        discovery_key,
                        error,
                    });
                    continue;
                }
            };
            let mut done = match core.repair(|_| {}).await {
                Ok(done) => done,
                Err(error) if is_corrupt(&error) => {
                    repaired.left.push(Left::Unopened {
                        discovery_key,
                        error,
                    });
                    continue;
                }
                Err(error) => return Err(error),
            };
            let key = core.key();
            for problem in done.left.drain(..) {
                repaired.left.push(Left::Core { key, problem });
            }
            if !done.lost.is_empty() || done.nodes + done.removed > 0 {
                repaired.cores.push((key, done));
            }
        }
        let damage = store.damage();
        let of_the_log = |damage: &Damage| {
            let file = damage.file.as_deref().unwrap_or_default();
            !file.starts_with("table-")
        };
        // Lost commits may have been signed and shown. A table's loss was made good above: no head was in it.
        if damage.iter().any(of_the_log) {
            store.begin_recovering()?;
        }
        if !damage.is_empty() {
            repaired.accepted = store.accept_damage()?;
        }
        Ok(repaired)
    }

    /// The spaces of all cores.
    fn spaces(&self) -> Result<BTreeSet<u64>, Error> {
        let mut spaces = BTreeSet::new();
        for discovery_key in self.list()? {
            if let Some(record) = self.registry().record(&discovery_key)? {
                spaces.insert(record.space.0);
            }
        }
        Ok(spaces)
    }
}

impl Hypercore {
    /// The blocks that were here, were lost by the disk, and have not come back since.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), or from the store.
    pub fn lost(&self) -> Result<Vec<Range<u64>>, Error> {
        self.session.check_open()?;
        let lost = self.session.core.lost(usize::MAX)?;
        Ok(ranges(lost))
    }

    /// Tells a core of a [recovering](pome_storage::Store::is_recovering) store that its peers were asked, and that `length` is the longest that they know
    /// to be signed by it. True: it is here, and the core signs again, as long as the store recovers this time. False: the rest must be downloaded first.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), or from the store.
    pub async fn recovered(&self, length: u64) -> Result<bool, Error> {
        self.session.check_open()?;
        let core = &self.session.core;
        let Some(time) = core.recovering() else {
            return Ok(true);
        };
        let _lock = core.write.lock().await;
        if core.head.read().tree.length < length {
            return Ok(false);
        }
        let mut batch = Batch::new();
        batch.put(
            core.space,
            layout::RECOVERED_KEY,
            time.to_le_bytes().to_vec(),
        );
        self.session.registry.commit(batch)?;
        Ok(true)
    }

    /// Audits the core, and puts right what can be: see [`Corestore::repair`], which does it for all.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), or when the store fails altogether; what is wrong with the core is in the answer.
    pub async fn repair(
        &self,
        mut progress: impl FnMut(AuditProgress) + Send,
    ) -> Result<CoreRepair, Error> {
        let mut repair = CoreRepair::default();
        let mut audit = self.audit(&mut progress).await?;
        // What was put right may show more: a node that was missing is now compared with its children.
        for _ in 0..3 {
            if audit.problems.is_empty() || !self.mend(&audit, &mut repair).await? {
                break;
            }
            audit = self.audit(&mut progress).await?;
        }
        repair.left = audit.problems;
        Ok(repair)
    }

    /// One round; true when something was done.
    async fn mend(&self, audit: &Audit, repair: &mut CoreRepair) -> Result<bool, Error> {
        let core = &self.session.core;
        // Nothing changes from here to the commit.
        let mut change = Change::begin(core).await?;
        let snapshot = core.store.snapshot();
        let length = change.length();
        let sound = !audit.problems.iter().any(|problem| {
            matches!(
                problem,
                Problem::BadHead | Problem::BadSignature { .. } | Problem::MissingRoot { .. }
            )
        });
        let mut batch = Batch::new();
        let mut lost = BTreeSet::new();
        let mut tops = BTreeSet::new();
        let mut removed = 0;
        for problem in &audit.problems {
            match problem {
                Problem::MissingBlock { index } => {
                    lost.insert(*index);
                }
                Problem::Unreadable {
                    what: "block",
                    index,
                    error,
                } if is_corrupt(error) => {
                    let key = layout::block_key(*index);
                    // The disk may hand it out another time: then it stays.
                    if core.store.is_lost(core.space, &key).unwrap_or(false) {
                        lost.insert(*index);
                    }
                }
                Problem::BadBlock { index }
                    if sound && is_proven(core, &snapshot, 2 * index, length)? =>
                {
                    lost.insert(*index);
                }
                Problem::NoLeaf { index } => {
                    tops.extend(first_above(core, &snapshot, 2 * index, length)?);
                }
                Problem::BadNode { index } => {
                    tops.insert(*index);
                }
                Problem::PastEnd { what, index } if sound && *index >= length => {
                    let key = match *what {
                        "block" => layout::block_key(*index),
                        _ if *index >= 2 * length => layout::node_key(*index),
                        _ => continue,
                    };
                    batch.delete(core.space, key);
                    removed += 1;
                }
                _ => {}
            }
        }
        let mut nodes = 0;
        for top in tops {
            let Some(node) = node_at(core, &snapshot, top).unwrap_or(None) else {
                continue;
            };
            for node in computed(core, &snapshot, &node) {
                batch.put_slice(
                    core.space,
                    layout::node_key(node.index),
                    &layout::node_value(&node),
                );
                nodes += 1;
            }
        }
        if nodes > 0 {
            change.mend();
        }
        if lost.is_empty() && nodes + removed == 0 {
            return Ok(false);
        }
        change.lose(&mut batch, lost.iter().copied());
        repair.nodes += nodes;
        repair.removed += removed;
        let before = repair.lost.drain(..).flatten();
        repair.lost = ranges(before.chain(lost).collect::<BTreeSet<_>>());
        self.commit_change(change, batch, Durability::Synced)
            .await?;
        Ok(true)
    }
}

fn is_corrupt(error: &Error) -> bool {
    matches!(error, Error::Storage(StorageError::Corrupt { .. }))
}

/// The node above, unless `index` is a root of a tree of `length` blocks.
fn above(index: u64, length: u64) -> Option<u64> {
    let up = parent(index);
    (right_span(up) < 2 * length).then_some(up)
}

/// True when a leaf hashes up to a root. (That the roots are signed is known.)
fn is_proven(core: &Core, snapshot: &Snapshot, leaf: u64, length: u64) -> Result<bool, Error> {
    let mut at = leaf;
    while let Some(up) = above(at, length) {
        let other = sibling(at);
        let (left, right) = (at.min(other), at.max(other));
        let read = |index| node_at(core, snapshot, index);
        let (Some(left), Some(right), Some(node)) = (read(left)?, read(right)?, read(up)?) else {
            return Ok(false);
        };
        if crypto::parent_hash(&left, &right) != node.hash {
            return Ok(false);
        }
        at = up;
    }
    Ok(full_roots(length).any(|root| root == at))
}

/// The lowest node above `index` that is here.
fn first_above(
    core: &Core,
    snapshot: &Snapshot,
    index: u64,
    length: u64,
) -> Result<Option<u64>, Error> {
    let mut at = index;
    while let Some(up) = above(at, length) {
        if node_at(core, snapshot, up)?.is_some() {
            return Ok(Some(up));
        }
        at = up;
    }
    Ok(None)
}

/// The nodes below `top` that can be computed: from blocks, and where one is missing, from the node above it that is here; none when they do not add up to
/// `top`.
fn computed(core: &Core, snapshot: &Snapshot, top: &Node) -> Vec<Node> {
    if leaf_count(top.index) > SUBTREE_BLOCKS_MAX {
        return vec![];
    }
    let mut nodes = vec![];
    match subtree(core, snapshot, top.index, &mut nodes) {
        Some(node) if node.hash == top.hash && node.size == top.size => {
            nodes.retain(|node| node.index != top.index);
            nodes
        }
        _ => vec![],
    }
}

/// The node at `index`, and those below it that were computed for it. What is below a node that was not computed proves nothing, and is left out.
fn subtree(core: &Core, snapshot: &Snapshot, index: u64, nodes: &mut Vec<Node>) -> Option<Node> {
    let before = nodes.len();
    let computed = from_below(core, snapshot, index, nodes);
    if computed.is_none() {
        nodes.truncate(before);
        return node_at(core, snapshot, index).unwrap_or(None);
    }
    nodes.extend(computed);
    computed
}

fn from_below(core: &Core, snapshot: &Snapshot, index: u64, nodes: &mut Vec<Node>) -> Option<Node> {
    Some(match left_child(index).zip(right_child(index)) {
        Some((left, right)) => {
            let left = subtree(core, snapshot, left, nodes)?;
            let right = subtree(core, snapshot, right, nodes)?;
            Node {
                index,
                size: left.size.checked_add(right.size)?,
                hash: crypto::parent_hash(&left, &right),
            }
        }
        None => {
            let key = layout::block_key(index / 2);
            let block: Bytes = snapshot.get(core.space, &key).ok()??;
            Node {
                index,
                size: block.len() as u64,
                hash: crypto::leaf_hash(&block),
            }
        }
    })
}
