//! Walking the rows of one moment.

use bytes::Bytes;
use pome_storage::Range;

use super::{NpmMoment, PAGE_BITS, Space, place, place::Stretch};
use crate::{
    error::Error,
    layout::{self, CoreRecord, REGISTRY},
};

/// A row: key and value.
type Row = (Bytes, Bytes);

/// Rows in the order of their keys, or against it. See [`NpmMoment::rows`].
pub struct NpmRows {
    moment: NpmMoment,
    source: Source,
    reverse: bool,
    left: usize,
    done: bool,
}

enum Source {
    Empty,
    Rows(Box<Range>, Kind),
    /// From this page to before that one.
    Pages(Space, u64, u64),
}

#[derive(Clone, Copy)]
enum Kind {
    Cores,
    Aliases,
    Blocks(Space),
    Nodes(Space),
    UserData(Space),
    Own,
}

impl NpmMoment {
    /// The rows from `start` to before `end`, `limit` of them at most.
    ///
    /// # Errors
    /// `BAD_ARGUMENT` for a range that npm does not walk.
    pub fn rows(
        &self,
        start: &[u8],
        end: &[u8],
        reverse: bool,
        limit: Option<usize>,
    ) -> Result<NpmRows, Error> {
        let stretch = place::stretch(start, end).ok_or(Error::BadArgument {
            what: "a range of rows that npm's store has not",
        })?;
        let source = match start < end {
            true => self.source(stretch, start, end)?,
            false => Source::Empty,
        };
        Ok(NpmRows {
            moment: self.clone(),
            source,
            reverse,
            left: limit.unwrap_or(usize::MAX),
            done: false,
        })
    }

    fn source(&self, stretch: Stretch, start: &[u8], end: &[u8]) -> Result<Source, Error> {
        let range = |space, start: &[u8], end: &[u8], kind| {
            Ok(match start < end {
                true => Source::Rows(Box::new(self.snapshot.range(space, start..end)), kind),
                false => Source::Empty,
            })
        };
        match stretch {
            Stretch::Cores => {
                let (start, end) = layout::cores_range();
                range(REGISTRY, &start, &end, Kind::Cores)
            }
            Stretch::Aliases(namespace) => {
                let prefix = layout::names_prefix(namespace.as_ref());
                range(
                    REGISTRY,
                    &prefix,
                    &layout::prefix_end(&prefix),
                    Kind::Aliases,
                )
            }
            Stretch::Blocks(space, first, end) => {
                let (start, all) = layout::blocks_from(first);
                match end {
                    Some(end) => range(space, &start, &layout::block_key(end), Kind::Blocks(space)),
                    None => range(space, &start, &all, Kind::Blocks(space)),
                }
            }
            Stretch::Nodes(space, first, end) => {
                let (start, all) = layout::nodes_from(first);
                match end {
                    Some(end) => range(space, &start, &layout::node_key(end), Kind::Nodes(space)),
                    None => range(space, &start, &all, Kind::Nodes(space)),
                }
            }
            Stretch::Pages(space, first, end) => {
                let (_, all) = layout::blocks_from(0);
                let blocks = layout::block_key(0);
                let mut keys = self.snapshot.keys(space, &blocks[..]..&all[..]);
                let last = match keys.next_back() {
                    Some(key) => layout::number(&key?)? / PAGE_BITS + 1,
                    None => 0,
                };
                let end = end.map_or(last, |end| end.min(last));
                Ok(Source::Pages(space, first, end))
            }
            Stretch::UserData(space, first, last) => {
                let start = layout::user_data_key(&first)?;
                match last {
                    Some(last) => {
                        let end = layout::user_data_key(&last)?;
                        range(space, &start, &end, Kind::UserData(space))
                    }
                    None => {
                        let (_, end) = layout::user_data_range();
                        range(space, &start, &end, Kind::UserData(space))
                    }
                }
            }
            Stretch::Other => {
                let (start, end) = (self.own_key(start), self.own_key(end));
                range(self.inner.own, &start, &end, Kind::Own)
            }
            Stretch::All | Stretch::OfCore(_) | Stretch::OfData(_) => Err(Error::BadArgument {
                what: "rows of different tables are not walked together",
            }),
        }
    }
}

impl NpmRows {
    fn step(&mut self) -> Option<Result<Row, Error>> {
        loop {
            match &mut self.source {
                Source::Empty => return None,
                Source::Pages(space, first, end) => {
                    if first >= end {
                        return None;
                    }
                    let space = *space;
                    let page = match self.reverse {
                        true => {
                            *end -= 1;
                            *end
                        }
                        false => {
                            *first += 1;
                            *first - 1
                        }
                    };
                    match self.moment.page(space, page) {
                        Ok(None) => {}
                        Ok(Some(bits)) => {
                            return Some(Ok((place::page_key(space, page).into(), bits.into())));
                        }
                        Err(error) => return Some(Err(error)),
                    }
                }
                Source::Rows(range, kind) => {
                    let kind = *kind;
                    let entry = match self.reverse {
                        true => range.next_back(),
                        false => range.next(),
                    }?;
                    let row = match entry {
                        Ok((key, value)) => self.row(kind, &key, value),
                        Err(error) => Err(error.into()),
                    };
                    return Some(row);
                }
            }
        }
    }

    fn row(&self, kind: Kind, key: &Bytes, value: Bytes) -> Result<Row, Error> {
        Ok(match kind {
            Kind::Cores => {
                let record = CoreRecord::decode(&value)?;
                let key = layout::core_key_parse(key)?;
                let row = self.moment.core_row(&key, &record);
                (place::core_key(&key).into(), row.into())
            }
            Kind::Aliases => {
                let (core, name) = layout::name_value_parse(&value)?;
                let namespace = key.get(1..33).ok_or(Error::CorruptRecord {
                    what: "name of a core",
                })?;
                let key = place::alias_key(namespace, &name);
                (key.into(), core.0.to_vec().into())
            }
            Kind::Blocks(space) => {
                let index = layout::number(key)?;
                (place::block_key(space, index).into(), value)
            }
            Kind::Nodes(space) => {
                let node = layout::node_parse(layout::number(key)?, &value)?;
                let key = place::node_key(space, node.index);
                let value = super::value::node(node.index, node.size, &node.hash);
                (key.into(), value.into())
            }
            Kind::UserData(space) => {
                let name = layout::user_data_key_parse(key)?;
                (place::user_data_key(space, name.as_bytes()).into(), value)
            }
            Kind::Own => (key.clone(), value),
        })
    }
}

impl Iterator for NpmRows {
    type Item = Result<(Bytes, Bytes), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done || self.left == 0 {
            return None;
        }
        let row = self.step();
        self.left -= 1;
        self.done = !matches!(row, Some(Ok(_)));
        row
    }
}
