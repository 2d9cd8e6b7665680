//! Entries in key order.
use crate::{
    ahead::{Ahead, Coming},
    error::Result,
    hyperbee::{Entry, Hyperbee},
    node::{Block, LevelKey, MAX_DEPTH},
    view::{NodeRef, Source, TOO_DEEP},
};
use bytes::Bytes;
use futures_core::{Stream, stream::BoxStream};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::{ops::Bound, sync::Arc};

/// Which keys, in which direction, and how many. Default: all, ascending. `gt` wins over `gte`, `lt` over `lte`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeOptions {
    /// Only keys above this.
    pub gt: Option<Bytes>,
    /// Only keys from this on.
    pub gte: Option<Bytes>,
    /// Only keys below this.
    pub lt: Option<Bytes>,
    /// Only keys up to this.
    pub lte: Option<Bytes>,
    /// From the last key to the first (default: false). [`Hyperbee::diff`] has no such order.
    pub reverse: bool,
    /// At most so many entries (default: all).
    pub limit: Option<u64>,
}

impl RangeOptions {
    /// All keys, ascending.
    pub fn new() -> Self {
        Self::default()
    }
    /// Only keys above `key`.
    #[must_use]
    pub fn with_gt(mut self, key: impl AsRef<[u8]>) -> Self {
        self.gt = Some(Bytes::copy_from_slice(key.as_ref()));
        self
    }
    /// Only keys from `key` on.
    #[must_use]
    pub fn with_gte(mut self, key: impl AsRef<[u8]>) -> Self {
        self.gte = Some(Bytes::copy_from_slice(key.as_ref()));
        self
    }
    /// Only keys below `key`.
    #[must_use]
    pub fn with_lt(mut self, key: impl AsRef<[u8]>) -> Self {
        self.lt = Some(Bytes::copy_from_slice(key.as_ref()));
        self
    }
    /// Only keys up to `key`.
    #[must_use]
    pub fn with_lte(mut self, key: impl AsRef<[u8]>) -> Self {
        self.lte = Some(Bytes::copy_from_slice(key.as_ref()));
        self
    }
    /// From the last key to the first.
    #[must_use]
    pub fn with_reverse(mut self, reverse: bool) -> Self {
        self.reverse = reverse;
        self
    }
    /// At most `limit` entries.
    #[must_use]
    pub fn with_limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The bounds as keys of the whole bee, for a bee whose keys all start with `prefix`.
    ///
    /// The default lower bound of a sub is above `prefix ‖ 00`, so that its empty key and its key `00` are not listed, as upstream.
    pub(crate) fn within(&self, prefix: &[u8]) -> Bounds {
        let key = |key: &Bytes| Bytes::from([prefix, key].concat());
        let lower = match (&self.gt, &self.gte) {
            (Some(gt), _) => Bound::Excluded(key(gt)),
            (None, Some(gte)) => Bound::Included(key(gte)),
            (None, None) if prefix.is_empty() => Bound::Unbounded,
            (None, None) => Bound::Excluded([prefix, &[0]].concat().into()),
        };
        let upper = match (&self.lt, &self.lte) {
            (Some(lt), _) => Bound::Excluded(key(lt)),
            (None, Some(lte)) => Bound::Included(key(lte)),
            (None, None) => after_prefix(prefix).map_or(Bound::Unbounded, Bound::Excluded),
        };
        Bounds {
            lower,
            upper,
            reverse: self.reverse,
            limit: self.limit,
        }
    }
}

/// The first key after all that start with `prefix`.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut key = prefix[..=last].to_vec();
    key[last] += 1;
    Some(key.into())
}

/// A range of keys of the whole bee.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    pub(crate) lower: Bound<Bytes>,
    pub(crate) upper: Bound<Bytes>,
    pub(crate) reverse: bool,
    pub(crate) limit: Option<u64>,
}

impl Bounds {
    /// False for a key past the end of the walk.
    pub(crate) fn reaches(&self, key: &[u8]) -> bool {
        match (
            if self.reverse {
                &self.lower
            } else {
                &self.upper
            },
            self.reverse,
        ) {
            (Bound::Unbounded, _) => true,
            (Bound::Included(end), false) => key <= &end[..],
            (Bound::Excluded(end), false) => key < &end[..],
            (Bound::Included(end), true) => key >= &end[..],
            (Bound::Excluded(end), true) => key > &end[..],
        }
    }
}

impl Hyperbee {
    /// The entries of a range, as of now, in key order. The first error ends it.
    pub fn range(
        &self,
        options: RangeOptions,
    ) -> impl Stream<Item = Result<Entry>> + Send + Unpin + 'static {
        range_of_view(self, options.within(&self.prefix))
    }

    /// The first entry of a range.
    ///
    /// # Errors
    /// As [`Hyperbee::get`].
    pub async fn peek(&self, options: RangeOptions) -> Result<Option<Entry>> {
        let bounds = options.with_limit(1).within(&self.prefix);
        range_of(self.view(), self.clone(), bounds).try_next().await
    }
}

pub(crate) fn range_of_view(bee: &Hyperbee, bounds: Bounds) -> BoxStream<'static, Result<Entry>> {
    let mut view = bee.lasting_view();
    view.hint = bee.hint_of_range(&view, &bounds);
    range_of(view, bee.clone(), bounds)
}

/// The stream over a walk of `source`, which must be of `bee`.
pub(crate) fn range_of<'a, S: Source + 'a>(
    source: S,
    bee: Hyperbee,
    bounds: Bounds,
) -> BoxStream<'a, Result<Entry>> {
    let walk = Walk::new(source, bounds);
    stream::try_unfold((walk, bee), |(mut walk, bee)| async move {
        match walk.next().await? {
            Some(block) => {
                let entry = bee.entry(&walk.source, &block).await?;
                Ok(Some((entry, (walk, bee))))
            }
            None => Ok(None),
        }
    })
    .boxed()
}

/// So many places are looked at for what can be asked for ahead.
const LOOKED_AT_MAX: usize = 32_768;

/// A walk through the keys of a tree.
pub(crate) struct Walk<S> {
    source: S,
    bounds: Bounds,
    stack: Vec<Step>,
    started: bool,
    left: u64,
    /// How many more nodes an honest tree can have.
    budget: u64,
    last: Option<Arc<Block>>,
    /// Made when a block is not here.
    ahead: Option<Ahead>,
}

/// A node and what is next in it: children have even places, keys odd ones.
#[derive(Clone)]
struct Step {
    node: NodeRef,
    place: usize,
    end: bool,
}

impl Step {
    /// At the first place of a node.
    fn first<S: Source>(source: &S, node: NodeRef, reverse: bool) -> Self {
        Self {
            place: match reverse {
                true => 2 * source.key_count(&node),
                false => 0,
            },
            node,
            end: false,
        }
    }

    /// Goes to the next place; the one that it was at.
    fn advance(&mut self, last: usize, reverse: bool) -> usize {
        let place = self.place;
        self.end = place == if reverse { 0 } else { last };
        self.place = match reverse {
            true => place.saturating_sub(1),
            false => place + 1,
        };
        place
    }
}

impl<S: Source> Walk<S> {
    pub(crate) fn new(source: S, bounds: Bounds) -> Self {
        Self {
            budget: source.version().saturating_add(MAX_DEPTH as u64),
            left: bounds.limit.unwrap_or(u64::MAX),
            source,
            bounds,
            stack: Vec::new(),
            started: false,
            last: None,
            ahead: None,
        }
    }

    /// Goes on where a walk of somebody else stood: block, level and place of each node on its way down.
    pub(crate) async fn resume(&mut self, way: &[u64]) -> Result<()> {
        self.started = true;
        for [seq, offset, place] in way.as_chunks::<3>().0 {
            let node = self.source.node(*seq, *offset).await?;
            let last = 2 * self.source.key_count(&node);
            self.push(node)?;
            if let Some(step) = self.stack.last_mut() {
                step.place = usize::try_from(*place).unwrap_or(usize::MAX).min(last);
                step.end = *place > last as u64;
            }
        }
        Ok(())
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Arc<Block>>> {
        if self.left == 0 {
            return Ok(None);
        }
        if !self.started {
            self.started = true;
            self.seek().await?;
        }
        while let Some(step) = self.stack.last_mut() {
            if step.end {
                self.stack.pop();
                continue;
            }
            let last = 2 * self.source.key_count(&step.node);
            let place = step.advance(last, self.bounds.reverse);
            let node = step.node.clone();
            if place % 2 == 0 {
                if !self.source.is_leaf(&node) {
                    if let Some(seq) = self.source.child_seq(&node, place / 2) {
                        self.reach(seq).await;
                    }
                    let child = self.source.child(&node, place / 2).await?;
                    self.push(child)?;
                }
                continue;
            }
            let seq = self.source.key_seq(&node, place / 2);
            self.reach(seq).await;
            let block = self.source.block(seq).await?;
            if !self.bounds.reaches(&block.key) {
                break;
            }
            let in_order = self
                .last
                .as_ref()
                .is_none_or(|last| match self.bounds.reverse {
                    true => block.key < last.key,
                    false => block.key > last.key,
                });
            if !in_order {
                return Err(self.source.fault(block.seq, "its key is out of order"));
            }
            self.left -= 1;
            self.last = Some(block.clone());
            return Ok(Some(block));
        }
        self.stack.clear();
        self.left = 0;
        Ok(None)
    }

    /// Waits for a block that is not here, and has those asked for that the walk comes to after it.
    async fn reach(&mut self, seq: u64) {
        if self.source.is_whole() || self.source.is_here(seq).await {
            return;
        }
        let mut ahead = self.ahead.take().unwrap_or_else(Ahead::new);
        if ahead.grow() {
            ahead.ask(seq, || self.source.fetch(seq));
            let stack = self.stack.clone();
            look(&self.source, &self.bounds, stack, self.left, &mut ahead).await;
        }
        // What is wrong with it is told to who reads it.
        let _ = ahead.until(self.source.block(seq)).await;
        self.ahead = Some(ahead);
    }

    fn push(&mut self, node: NodeRef) -> Result<()> {
        if self.stack.len() >= MAX_DEPTH || self.budget == 0 {
            let seq = self.source.version().saturating_sub(1);
            return Err(self.source.fault(seq, TOO_DEEP));
        }
        self.budget -= 1;
        let step = Step::first(&self.source, node, self.bounds.reverse);
        self.stack.push(step);
        Ok(())
    }

    /// Fills the stack with the way to the first key of the range.
    async fn seek(&mut self) -> Result<()> {
        let Some(mut node) = self.source.root().await? else {
            return Ok(());
        };
        let reverse = self.bounds.reverse;
        let start = if reverse {
            self.bounds.upper.clone()
        } else {
            self.bounds.lower.clone()
        };
        let (key, included) = match &start {
            Bound::Unbounded => return self.push(node),
            Bound::Included(key) => (key, true),
            Bound::Excluded(key) => (key, false),
        };
        loop {
            let found = self.source.search(&node, key).await?;
            self.push(node.clone())?;
            let last = 2 * self.source.key_count(&node);
            let step = self.stack.last_mut().expect("just pushed");
            match found {
                Ok(at) => {
                    step.place = match (included, reverse) {
                        (true, _) => 2 * at + 1,
                        (false, false) => 2 * at + 2,
                        (false, true) => 2 * at,
                    };
                    return Ok(());
                }
                // the child at this place is walked by the next round, its neighbour key comes after it
                Err(at) => match reverse {
                    false if 2 * at == last => step.end = true,
                    true if at == 0 => step.end = true,
                    false => step.place = 2 * at + 1,
                    true => step.place = 2 * at - 1,
                },
            }
            let Err(at) = found else { return Ok(()) };
            if self.source.is_leaf(&node) {
                return Ok(());
            }
            node = self.source.child(&node, at).await?;
        }
    }
}

/// Asks for what comes next on a walk, as far as what is here tells.
async fn look<S: Source>(
    source: &S,
    bounds: &Bounds,
    mut stack: Vec<Step>,
    mut left: u64,
    ahead: &mut Ahead,
) {
    for _ in 0..LOOKED_AT_MAX {
        if !ahead.has_room() || left == 0 {
            return;
        }
        let Some(step) = stack.last_mut() else {
            return;
        };
        if step.end {
            stack.pop();
            continue;
        }
        let last = 2 * source.key_count(&step.node);
        let place = step.advance(last, bounds.reverse);
        let node = step.node.clone();
        if place % 2 == 1 {
            left -= 1;
            let seq = source.key_seq(&node, place / 2);
            if !source.is_here(seq).await {
                ahead.ask(seq, || source.fetch(seq));
                continue;
            }
            match source.block(seq).await {
                Ok(block) if bounds.reaches(&block.key) => {}
                _ => return,
            }
        } else if !source.is_leaf(&node) {
            if let Some(seq) = source.child_seq(&node, place / 2)
                && !source.is_here(seq).await
            {
                ahead.ask(seq, || source.fetch(seq));
                continue;
            }
            let Ok(child) = source.child(&node, place / 2).await else {
                return;
            };
            if stack.len() >= MAX_DEPTH {
                return;
            }
            stack.push(Step::first(source, child, bounds.reverse));
        }
    }
}

impl<S: Source> Source for &S {
    fn version(&self) -> u64 {
        (**self).version()
    }
    fn root(&self) -> impl Future<Output = Result<Option<NodeRef>>> + Send {
        (**self).root()
    }
    fn node(&self, seq: u64, offset: u64) -> impl Future<Output = Result<NodeRef>> + Send {
        (**self).node(seq, offset)
    }
    fn block(&self, seq: u64) -> impl Future<Output = Result<Arc<Block>>> + Send {
        (**self).block(seq)
    }
    fn value(&self, block: &Block) -> impl Future<Output = Result<Option<Bytes>>> + Send {
        (**self).value(block)
    }
    fn child(&self, node: &NodeRef, index: usize) -> impl Future<Output = Result<NodeRef>> + Send {
        (**self).child(node, index)
    }
    fn key(&self, node: &NodeRef, index: usize) -> impl Future<Output = Result<Bytes>> + Send {
        (**self).key(node, index)
    }
    fn keys<'a>(&'a self, node: &'a NodeRef) -> &'a [LevelKey] {
        (**self).keys(node)
    }
    fn is_leaf(&self, node: &NodeRef) -> bool {
        (**self).is_leaf(node)
    }
    fn fault(&self, seq: u64, what: crate::node::Fault) -> crate::Error {
        (**self).fault(seq, what)
    }
    fn is_whole(&self) -> bool {
        (**self).is_whole()
    }
    fn child_seq(&self, node: &NodeRef, index: usize) -> Option<u64> {
        (**self).child_seq(node, index)
    }
    fn is_here(&self, seq: u64) -> impl Future<Output = bool> + Send {
        (**self).is_here(seq)
    }
    fn fetch(&self, seq: u64) -> Coming {
        (**self).fetch(seq)
    }
    fn fetch_keys(&self, node: &NodeRef) -> impl Future<Output = Option<Ahead>> + Send {
        (**self).fetch_keys(node)
    }
}
