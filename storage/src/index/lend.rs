//! A walk over many layers as [`Merge`](super::Merge) makes one, forward only, that lends what it finds: nothing is allocated for an entry, none is kept when the
//! next is asked for, and what lies in memory that many share is not counted up and down for each.

use super::{
    Memtable, SlotRef, Table, is_empty_range,
    leaf::{Leaf, Taken},
    memtable::Points,
    merge::{Shadow, as_slices},
};
use crate::error::Error;
use bytes::Bytes;
use std::ops::Bound;

/// What one layer has ahead.
enum Source<'a> {
    Memory {
        memtable: &'a Memtable,
        /// `None` when there is nothing.
        points: Option<Points<'a>>,
        entry: (&'a [u8], SlotRef<'a>),
    },
    Table {
        table: &'a Table,
        leaf: Option<Leaf<'a>>,
        /// Where to look for the next leaf; `None`: behind `key`.
        from: Option<Bound<Bytes>>,
        key: Vec<u8>,
        taken: Taken,
    },
}

impl Source<'_> {
    fn key(&self) -> &[u8] {
        match self {
            Source::Memory { entry, .. } => entry.0,
            Source::Table { key, .. } => key,
        }
    }

    fn slot(&self) -> SlotRef<'_> {
        match self {
            Source::Memory { entry, .. } => entry.1,
            Source::Table { leaf, taken, .. } => match leaf {
                Some(leaf) => leaf.slot(taken),
                None => SlotRef::Deleted,
            },
        }
    }

    /// Goes to the next entry. False: there is none.
    fn advance(&mut self, high: Bound<&[u8]>) -> Result<bool, Error> {
        match self {
            Source::Memory { points, entry, .. } => {
                let next = points.as_mut().and_then(Points::next);
                if let Some(next) = next {
                    *entry = next;
                }
                Ok(next.is_some())
            }
            Source::Table {
                table,
                leaf,
                from,
                key,
                taken,
            } => loop {
                if let Some(leaf) = leaf
                    && let Some(next) = leaf.take(key)?
                {
                    *taken = next;
                    return Ok(true);
                }
                let low = match from {
                    Some(from) => as_slices(from),
                    None => Bound::Excluded(&key[..]),
                };
                *leaf = table.leaf(low, high)?;
                *from = None;
                if leaf.is_none() {
                    return Ok(false);
                }
            },
        }
    }

    /// Whatever comes next is not before `to`, which is further on.
    fn seek(&mut self, to: &Bytes, high: Bound<&[u8]>) {
        match self {
            Source::Memory {
                memtable, points, ..
            } => *points = points_of(memtable, Bound::Included(to), high),
            Source::Table { leaf, from, .. } => {
                if !leaf.as_mut().is_some_and(|leaf| leaf.skip_to(to)) {
                    *leaf = None;
                    *from = Some(Bound::Included(to.clone()));
                }
            }
        }
    }
}

fn points_of<'a>(
    memtable: &'a Memtable,
    low: Bound<&[u8]>,
    high: Bound<&[u8]>,
) -> Option<Points<'a>> {
    (!is_empty_range(low, high)).then(|| memtable.points(low, high))
}

/// Where a layer is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// On an entry that is still to come.
    Entry,
    /// Before the next one: its entry was lent, or is hidden.
    Before,
    End,
}

struct Head<'a> {
    source: Source<'a>,
    at: At,
    shadow: Shadow,
}

impl<'a> Head<'a> {
    fn new(source: Source<'a>) -> Self {
        Self {
            source,
            at: At::Before,
            shadow: Shadow::Unknown,
        }
    }

    fn shadow_over(&mut self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let source = &self.source;
        self.shadow.over(key, false, |key| match source {
            Source::Memory { memtable, .. } => Ok(memtable.ranges().near(key, false)),
            Source::Table { table, .. } => table.range_near(key, false),
        })
    }
}

/// See the module.
pub(crate) struct Lender<'a> {
    /// Newest first.
    heads: Vec<Head<'a>>,
    high: Bound<Bytes>,
    best: usize,
}

impl<'a> Lender<'a> {
    /// A walk between two bounds over memtables and, below them, tables: each newest first.
    pub(crate) fn new(
        memtables: impl Iterator<Item = &'a Memtable>,
        tables: impl Iterator<Item = &'a Table>,
        low: &Bound<Bytes>,
        high: Bound<Bytes>,
    ) -> Self {
        let mut heads = vec![];
        if !is_empty_range(as_slices(low), as_slices(&high)) {
            let memory = memtables.map(|memtable| Source::Memory {
                memtable,
                points: points_of(memtable, as_slices(low), as_slices(&high)),
                entry: (&[], SlotRef::Deleted),
            });
            let tables = tables.map(|table| Source::Table {
                table,
                leaf: None,
                from: Some(low.clone()),
                key: vec![],
                taken: Taken::Bare(SlotRef::Deleted),
            });
            heads.extend(memory.chain(tables).map(Head::new));
        }
        Self {
            heads,
            high,
            best: 0,
        }
    }

    /// Goes to the next key that has a value. False: there is none. After an error the walk is over.
    pub(crate) fn step(&mut self) -> Result<bool, Error> {
        let found = self.find();
        if found.is_err() {
            self.heads.clear();
        }
        found
    }

    fn find(&mut self) -> Result<bool, Error> {
        loop {
            let mut best: Option<(usize, &[u8])> = None;
            for (index, head) in self.heads.iter_mut().enumerate() {
                if head.at == At::Before {
                    let more = head.source.advance(as_slices(&self.high))?;
                    head.at = if more { At::Entry } else { At::End };
                }
                if head.at == At::Entry {
                    let key = head.source.key();
                    if best.is_none_or(|(_, other)| key < other) {
                        best = Some((index, key));
                    }
                }
            }
            let Some((best, _)) = best else {
                return Ok(false);
            };
            let (newer, rest) = self.heads.split_at_mut(best);
            let Some((found, older)) = rest.split_first_mut() else {
                return Ok(false);
            };
            let key = found.source.key();
            found.at = At::Before;
            for head in &mut *older {
                if head.at == At::Entry && head.source.key() == key {
                    head.at = At::Before;
                }
            }
            let mut hidden = None;
            for (index, head) in newer.iter_mut().enumerate() {
                if let Some(to) = head.shadow_over(key)? {
                    hidden = Some((index, to));
                    break;
                }
            }
            if let Some((by, to)) = hidden {
                for head in &mut self.heads[by + 1..] {
                    if head.at != At::End && head.source.key() < &to[..] {
                        head.source.seek(&to, as_slices(&self.high));
                        head.at = At::Before;
                    }
                }
                continue;
            }
            if found.source.slot() != SlotRef::Deleted {
                self.best = best;
                return Ok(true);
            }
        }
    }

    /// The entry that was gone to: the whole key, and what it has.
    pub(crate) fn entry(&self) -> (&[u8], SlotRef<'_>) {
        match self.heads.get(self.best) {
            Some(head) => (head.source.key(), head.source.slot()),
            None => (&[], SlotRef::Deleted),
        }
    }
}
