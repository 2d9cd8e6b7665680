//! One ordered walk over many layers, newest first: for each key what the newest layer that knows it says.

use super::{Entry, Found, Memtable, Slot, Table, above, below};
use crate::error::Error;
use bytes::Bytes;
use std::{ops::Bound, sync::Arc};

/// A layer of the index.
#[derive(Clone)]
pub(crate) enum Layer {
    Memory(Arc<Memtable>),
    Table(Arc<Table>),
}

impl Layer {
    /// What it knows of a key, which has this [hash](bloom::hash).
    pub(crate) fn get(&self, key: &[u8], hash: u64) -> Result<Found, Error> {
        match self {
            Layer::Memory(memtable) => Ok(memtable.get(key)),
            Layer::Table(table) => table.get(key, hash),
        }
    }

    fn entries(
        &self,
        low: Bound<&[u8]>,
        high: Bound<&[u8]>,
        reverse: bool,
    ) -> Result<Vec<Entry>, Error> {
        match self {
            Layer::Memory(memtable) => Ok(memtable.entries(low, high, reverse)),
            Layer::Table(table) => table.entries(low, high, reverse),
        }
    }

    /// Forward: the first deleted range that ends after `key`. In reverse: the last that starts at or before it.
    fn range_near(&self, key: &[u8], reverse: bool) -> Result<Option<(Bytes, Bytes)>, Error> {
        match self {
            Layer::Memory(memtable) => Ok(memtable.ranges().near(key, reverse)),
            Layer::Table(table) => table.range_near(key, reverse),
        }
    }
}

/// The deleted ranges of one layer, as a walk passes them.
pub(super) enum Shadow {
    /// Ask the layer.
    Unknown,
    /// This range is the next in the direction of the walk.
    Next(Bytes, Bytes),
    /// There are no more.
    None,
}

impl Shadow {
    /// When a deleted range of the layer holds `key`: where the walk may go on behind it. `near` asks the layer, as [`Layer::range_near`] does.
    pub(super) fn over(
        &mut self,
        key: &[u8],
        reverse: bool,
        near: impl Fn(&[u8]) -> Result<Option<(Bytes, Bytes)>, Error>,
    ) -> Result<Option<Bytes>, Error> {
        loop {
            match self {
                Shadow::None => return Ok(None),
                Shadow::Next(start, end) if reverse => {
                    if key >= &end[..] {
                        return Ok(None);
                    }
                    if key >= &start[..] {
                        return Ok(Some(start.clone()));
                    }
                }
                Shadow::Next(start, end) => {
                    if key < &start[..] {
                        return Ok(None);
                    }
                    if key < &end[..] {
                        return Ok(Some(end.clone()));
                    }
                }
                Shadow::Unknown => {}
            }
            *self = match near(key)? {
                Some((start, end)) => Shadow::Next(start, end),
                None => Shadow::None,
            };
        }
    }
}

struct Head {
    layer: Layer,
    /// The entries ahead, in reversed order, so that taking the next is a pop.
    chunk: Vec<Entry>,
    /// Where the next chunk begins.
    edge: Bound<Bytes>,
    exhausted: bool,
    shadow: Shadow,
}

pub(super) fn as_slices(bound: &Bound<Bytes>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

impl Head {
    fn fill(&mut self, limit: &Bound<Bytes>, reverse: bool) -> Result<(), Error> {
        if !self.chunk.is_empty() || self.exhausted {
            return Ok(());
        }
        let (edge, limit) = (as_slices(&self.edge), as_slices(limit));
        let (low, high) = if reverse {
            (limit, edge)
        } else {
            (edge, limit)
        };
        self.chunk = self.layer.entries(low, high, reverse)?;
        match self.chunk.last() {
            Some((key, _)) => self.edge = Bound::Excluded(key.clone()),
            None => self.exhausted = true,
        }
        self.chunk.reverse();
        Ok(())
    }

    /// Forward: drops all before `to`. In reverse: drops `to` and all after it.
    fn skip(&mut self, to: &Bytes, reverse: bool) {
        let passed = |key: &[u8]| {
            if reverse {
                key >= &to[..]
            } else {
                key < &to[..]
            }
        };
        let keep = self.chunk.partition_point(|(key, _)| !passed(key));
        self.chunk.truncate(keep);
        if self.chunk.is_empty() {
            let further = match &self.edge {
                Bound::Unbounded => true,
                Bound::Included(key) | Bound::Excluded(key) => passed(key),
            };
            if further {
                self.edge = if reverse {
                    Bound::Excluded(to.clone())
                } else {
                    Bound::Included(to.clone())
                };
            }
        }
    }

    fn shadow_over(&mut self, key: &[u8], reverse: bool) -> Result<Option<Bytes>, Error> {
        let layer = &self.layer;
        self.shadow
            .over(key, reverse, |key| layer.range_near(key, reverse))
    }
}

/// See the module. Deletions are handed out too; who wants only values drops them.
pub(crate) struct Merge {
    heads: Vec<Head>,
    limit: Bound<Bytes>,
    reverse: bool,
}

impl Merge {
    /// A walk between two bounds, from the front or (in reverse) from the back. `layers`: newest first.
    pub(crate) fn new(
        layers: &[Layer],
        low: Bound<Bytes>,
        high: Bound<Bytes>,
        reverse: bool,
    ) -> Self {
        let (edge, limit) = if reverse { (high, low) } else { (low, high) };
        let heads = layers
            .iter()
            .map(|layer| Head {
                layer: layer.clone(),
                chunk: vec![],
                edge: edge.clone(),
                exhausted: false,
                shadow: Shadow::Unknown,
            })
            .collect();
        Self {
            heads,
            limit,
            reverse,
        }
    }

    /// The next key and what the newest layer says of it. After an error the walk is over.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Error> {
        let reverse = self.reverse;
        loop {
            let mut best: Option<usize> = None;
            for index in 0..self.heads.len() {
                self.heads[index].fill(&self.limit, reverse)?;
                let Some((key, _)) = self.heads[index].chunk.last() else {
                    continue;
                };
                let better = best
                    .and_then(|b| self.heads[b].chunk.last())
                    .is_none_or(|(other, _)| if reverse { key > other } else { key < other });
                if better {
                    best = Some(index);
                }
            }
            let Some(best) = best else {
                return Ok(None);
            };
            let Some((key, slot)) = self.heads[best].chunk.pop() else {
                return Ok(None);
            };
            for head in &mut self.heads[best + 1..] {
                if head.chunk.last().is_some_and(|(other, _)| *other == key) {
                    head.chunk.pop();
                }
            }
            let mut dead = false;
            for newer in 0..best {
                if let Some(to) = self.heads[newer].shadow_over(&key, reverse)? {
                    for older in &mut self.heads[newer + 1..] {
                        older.skip(&to, reverse);
                    }
                    dead = true;
                    break;
                }
            }
            if !dead {
                return Ok(Some((key, slot)));
            }
        }
    }
}

/// The values between two bounds, from both ends.
pub(crate) struct Cursor {
    layers: Vec<Layer>,
    low: Bound<Bytes>,
    high: Bound<Bytes>,
    front: Option<Merge>,
    back: Option<Merge>,
    done: bool,
}

impl Cursor {
    /// `layers`: newest first.
    pub(crate) fn new(layers: Vec<Layer>, low: Bound<Bytes>, high: Bound<Bytes>) -> Self {
        let done = super::is_empty_range(as_slices(&low), as_slices(&high));
        Self {
            layers,
            low,
            high,
            front: None,
            back: None,
            done,
        }
    }

    fn step(&mut self, reverse: bool) -> Result<Option<Entry>, Error> {
        while !self.done {
            let side = if reverse {
                &mut self.back
            } else {
                &mut self.front
            };
            let merge = side.get_or_insert_with(|| {
                Merge::new(&self.layers, self.low.clone(), self.high.clone(), reverse)
            });
            let Some((key, slot)) = merge.next()? else {
                break;
            };
            // The other end has moved since this walk was begun.
            if !above(as_slices(&self.low), &key) || !below(as_slices(&self.high), &key) {
                break;
            }
            if reverse {
                self.high = Bound::Excluded(key.clone());
            } else {
                self.low = Bound::Excluded(key.clone());
            }
            if slot != Slot::Deleted {
                return Ok(Some((key, slot)));
            }
        }
        self.done = true;
        Ok(None)
    }

    /// The next value from the front (or from the back). After an error or the end there is nothing more.
    pub(crate) fn next(&mut self, reverse: bool) -> Option<Result<Entry, Error>> {
        let step = self.step(reverse);
        if step.is_err() {
            self.done = true;
        }
        step.transpose()
    }
}
