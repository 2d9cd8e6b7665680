//! What differs between two versions.
use crate::{
    error::{Error, Result},
    hyperbee::{Entry, Hyperbee},
    node::{Block, Fault, MAX_DEPTH},
    range::{Bounds, RangeOptions},
    view::{NodeRef, Source, TOO_DEEP, View},
};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt, stream};
use std::{cmp::Ordering, ops::Bound, sync::Arc};

/// A key that differs: the entry of each side, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffEntry {
    /// In the bee that was asked.
    pub left: Option<Entry>,
    /// In the one it was compared with.
    pub right: Option<Entry>,
}

impl Hyperbee {
    /// The keys of a range that were put by different blocks here and in `other` (mostly a [`checkout`](Hyperbee::checkout) of this bee), in key order.
    ///
    /// A key that was put again with the same value differs too, as upstream. Subtrees that both share are not read. In a bee of another core, or of
    /// another fork of this one, all keys differ that are not equal in key and value. `reverse` is not looked at.
    pub fn diff(
        &self,
        other: &Self,
        options: RangeOptions,
    ) -> impl Stream<Item = Result<DiffEntry>> + Send + Unpin + 'static {
        let walk = Walk::new(self, other, options);
        stream::try_unfold(walk, |mut walk| async move {
            Ok(walk.next().await?.map(|entry| (entry, walk)))
        })
        .boxed()
    }
}

struct Walk {
    left: Side,
    right: Side,
    /// Both are of one history, so equal places mean equal contents.
    related: bool,
    limit: u64,
    started: bool,
}

impl Walk {
    fn new(left: &Hyperbee, right: &Hyperbee, options: RangeOptions) -> Self {
        let limit = options.limit.unwrap_or(u64::MAX);
        let options = RangeOptions {
            reverse: false,
            ..options
        };
        let side = |bee: &Hyperbee| Side::new(bee, options.within(&bee.prefix));
        let (left, right) = (side(left), side(right));
        let history = |side: &Side| (side.view.core.key(), side.view.core.fork());
        Self {
            related: history(&left) == history(&right) && left.bee.prefix == right.bee.prefix,
            left,
            right,
            limit,
            started: false,
        }
    }

    async fn next(&mut self) -> Result<Option<DiffEntry>> {
        if !self.started {
            self.started = true;
            self.left.start().await?;
            self.right.start().await?;
        }
        while self.limit > 0 {
            let order = match (self.left.at, self.right.at) {
                (None, None) => return Ok(None),
                (Some(l), Some(r)) if self.related && l == r => {
                    self.left.skip();
                    self.right.skip();
                    continue;
                }
                (Some(At::Tree(..)), Some(At::Tree(..))) => {
                    // the one that reaches further is entered first: the other may be in it
                    let (left, right) = (self.left.end().await?, self.right.end().await?);
                    let order = match (&left, &right) {
                        (Some(l), Some(r)) => self.left.bare(l).cmp(self.right.bare(r)),
                        (left, right) => left.is_none().cmp(&right.is_none()),
                    };
                    if order.is_le() {
                        self.right.enter().await?;
                    }
                    if order.is_ge() {
                        self.left.enter().await?;
                    }
                    continue;
                }
                (Some(At::Tree(..)), _) => {
                    self.left.enter().await?;
                    continue;
                }
                (_, Some(At::Tree(..))) => {
                    self.right.enter().await?;
                    continue;
                }
                (Some(At::Key(_)), None) => Ordering::Less,
                (None, Some(At::Key(_))) => Ordering::Greater,
                (Some(At::Key(_)), Some(At::Key(_))) => {
                    match (self.left.block().await?, self.right.block().await?) {
                        (Some(l), Some(r)) => self.left.bare(&l.key).cmp(self.right.bare(&r.key)),
                        // one of them came to the end of the range
                        _ => continue,
                    }
                }
            };
            let left = match order.is_le() {
                true => self.left.take().await?,
                false => None,
            };
            let right = match order.is_ge() {
                true => self.right.take().await?,
                false => None,
            };
            match (&left, &right) {
                (None, None) => continue,
                (Some(l), Some(r)) if !self.related && l.value == r.value => continue,
                _ => {}
            }
            self.limit -= 1;
            return Ok(Some(DiffEntry { left, right }));
        }
        Ok(None)
    }
}

/// What a side is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// A subtree that it has not entered: its block and level.
    Tree(u64, u64),
    /// A key: its block.
    Key(u64),
}

/// A walk through one of the trees that stops before each subtree.
struct Side {
    bee: Hyperbee,
    view: View,
    bounds: Bounds,
    stack: Vec<Step>,
    at: Option<At>,
    /// True on the way to the first key of the range.
    seeking: bool,
    /// How many more nodes an honest tree can have.
    budget: u64,
    last: Option<Bytes>,
}

/// A node and the place in it: children have even places, keys odd ones.
struct Step {
    node: NodeRef,
    place: usize,
}

impl Side {
    fn new(bee: &Hyperbee, bounds: Bounds) -> Self {
        let view = bee.lasting_view();
        Self {
            bee: bee.clone(),
            budget: view.version.saturating_add(MAX_DEPTH as u64),
            view,
            bounds,
            stack: Vec::new(),
            at: None,
            seeking: true,
            last: None,
        }
    }

    /// A key without the prefix of the sub.
    fn bare<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        key.strip_prefix(&self.bee.prefix[..]).unwrap_or(key)
    }

    async fn start(&mut self) -> Result<()> {
        if let Some(root) = self.view.root().await? {
            // the root as a subtree, so that equal trees are told without a look at them
            self.at = Some(At::Tree(self.view.version - 1, 0));
            self.stack.push(Step {
                node: root,
                place: ROOT,
            });
        }
        Ok(())
    }

    /// Goes into the subtree that it is at.
    async fn enter(&mut self) -> Result<()> {
        if self.stack.len() > MAX_DEPTH || self.budget == 0 {
            return Err(self.fault(self.view.version.saturating_sub(1), TOO_DEEP));
        }
        self.budget -= 1;
        let Some(step) = self.stack.last_mut() else {
            return Ok(());
        };
        let node = if step.place == ROOT {
            let node = step.node.clone();
            self.stack.pop();
            node
        } else {
            let node = self.view.child(&step.node, step.place / 2).await?;
            step.place += 1;
            node
        };
        let mut place = 0;
        if self.seeking
            && let Bound::Included(key) | Bound::Excluded(key) = &self.bounds.lower
        {
            let found = self.view.search(&node, key).await?;
            self.seeking = found.is_err();
            place = match (found, &self.bounds.lower) {
                (Ok(at), Bound::Included(_)) => 2 * at + 1,
                (Ok(at), _) => 2 * at + 2,
                (Err(at), _) => 2 * at,
            };
        }
        self.stack.push(Step { node, place });
        self.settle();
        Ok(())
    }

    /// Goes past what it is at.
    fn skip(&mut self) {
        self.seeking = false;
        match self.stack.last_mut() {
            Some(step) if step.place == ROOT => self.stack.clear(),
            Some(step) => step.place += 1,
            None => {}
        }
        self.settle();
    }

    /// Sets `at` from the top of the stack.
    fn settle(&mut self) {
        self.at = None;
        while let Some(step) = self.stack.last_mut() {
            let index = step.place / 2;
            let keys = self.view.key_count(&step.node);
            if step.place % 2 == 1 && index < keys {
                self.at = Some(At::Key(self.view.key_seq(&step.node, index)));
                return;
            }
            if step.place % 2 == 0 && index <= keys {
                if let Some((seq, offset)) = self.view.child_place(&step.node, index) {
                    self.at = Some(At::Tree(seq, offset));
                    return;
                }
                step.place += 1;
                continue;
            }
            self.stack.pop();
        }
    }

    /// The key after the subtree that it is at; none at the end of the tree.
    async fn end(&self) -> Result<Option<Bytes>> {
        for step in self.stack.iter().rev() {
            if step.place != ROOT && step.place / 2 < self.view.key_count(&step.node) {
                return Ok(Some(self.view.key(&step.node, step.place / 2).await?));
            }
        }
        Ok(None)
    }

    /// The block of the key that it is at; none when that is past the range, and then this side is at its end.
    async fn block(&mut self) -> Result<Option<Arc<Block>>> {
        let Some(At::Key(seq)) = self.at else {
            return Ok(None);
        };
        let block = self.view.block(seq).await?;
        if self.last.as_ref().is_some_and(|last| *last >= block.key) {
            return Err(self.fault(seq, "its key is out of order"));
        }
        if !self.bounds.reaches(&block.key) {
            self.stack.clear();
            self.at = None;
            return Ok(None);
        }
        Ok(Some(block))
    }

    /// The entry that it is at, and goes past it.
    async fn take(&mut self) -> Result<Option<Entry>> {
        let Some(block) = self.block().await? else {
            return Ok(None);
        };
        self.last = Some(block.key.clone());
        self.skip();
        Ok(Some(self.bee.entry(&self.view, &block).await?))
    }

    fn fault(&self, seq: u64, what: Fault) -> Error {
        self.view.fault(seq, what)
    }
}

/// The place of a root that was not entered.
const ROOT: usize = usize::MAX;
