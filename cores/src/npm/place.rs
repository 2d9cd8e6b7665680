//! npm's keys: what row they name. Numbers in them are index-encoder's: they sort as bytes.

use pome_encoding::DiscoveryKey;
use pome_storage::Space;

const STORE_HEAD: u8 = 0;
const CORE_BY_KEY: u8 = 1;
const CORE_BY_ALIAS: u8 = 2;
const CORE: u8 = 3;
const DATA: u8 = 4;
const GROUP: u8 = 6;
/// One above the last table.
const END: u8 = 7;

const AUTH: u8 = 0;
const SESSIONS: u8 = 1;

const HEAD: u8 = 0;
const DEPENDENCY: u8 = 1;
const HINTS: u8 = 2;
const BLOCK: u8 = 3;
const TREE: u8 = 4;
const BITFIELD: u8 = 5;
const USER_DATA: u8 = 6;

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    StoreHead,
    Core(DiscoveryKey),
    Alias([u8; 32], Vec<u8>),
    /// By core pointer.
    Auth(u64),
    /// By core pointer.
    Sessions(u64),
    Head(Space),
    Dependency(Space),
    Hints(Space),
    Block(Space, u64),
    Node(Space, u64),
    Bitfield(Space, u64),
    UserData(Space, String),
    /// One that is npm's alone.
    Other,
}

/// Where a range of rows lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stretch {
    /// Everything.
    All,
    /// All cores, from one on.
    Cores,
    /// The names of all namespaces, or of one.
    Aliases(Option<[u8; 32]>),
    /// All rows of a core pointer.
    OfCore(u64),
    /// All rows of a data pointer.
    OfData(Space),
    /// From an index to before another, or to the end.
    Blocks(Space, u64, Option<u64>),
    Nodes(Space, u64, Option<u64>),
    Pages(Space, u64, Option<u64>),
    UserData(Space, String, Option<String>),
    /// Rows that are npm's alone.
    Other,
}

/// A reader of a key.
#[derive(Clone, Copy)]
struct Input<'a>(&'a [u8]);

/// A number; `None` is one above all.
type Bound = Option<u64>;

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn big_endian(&mut self, bytes: usize) -> Option<u64> {
        let (number, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(
            number
                .iter()
                .fold(0, |all, byte| all << 8 | u64::from(*byte)),
        )
    }

    fn bound(&mut self) -> Option<Bound> {
        match self.byte()? {
            0xfc => self.big_endian(2).map(Some),
            0xfd => self.big_endian(4).map(Some),
            0xfe => self.big_endian(8).map(Some),
            0xff => Some(None),
            small => Some(Some(small.into())),
        }
    }

    fn number(&mut self) -> Option<u64> {
        self.bound()?
    }

    fn fixed(&mut self) -> Option<[u8; 32]> {
        let (fixed, rest) = self.0.split_first_chunk::<32>()?;
        self.0 = rest;
        Some(*fixed)
    }

    /// Bytes between `00` and `00 01`; a zero in them is `00 02`.
    fn text(&mut self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        if self.byte()? != 0 {
            return None;
        }
        loop {
            match self.byte()? {
                0 => match self.byte()? {
                    1 => return Some(text),
                    2 => text.push(0),
                    _ => return None,
                },
                other => text.push(other),
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        String::from_utf8(self.text()?).ok()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What row a key names.
pub(super) fn parse(key: &[u8]) -> Place {
    known(key).unwrap_or(Place::Other)
}

fn known(key: &[u8]) -> Option<Place> {
    let mut input = Input(key);
    let place = match input.byte()? {
        STORE_HEAD => Place::StoreHead,
        CORE_BY_KEY => Place::Core(DiscoveryKey(input.fixed()?)),
        CORE_BY_ALIAS => Place::Alias(input.fixed()?, input.text()?),
        CORE => {
            let pointer = input.number()?;
            match input.byte()? {
                AUTH => Place::Auth(pointer),
                SESSIONS => Place::Sessions(pointer),
                _ => return None,
            }
        }
        DATA => {
            let space = Space(input.number()?);
            match input.byte()? {
                HEAD => Place::Head(space),
                DEPENDENCY => Place::Dependency(space),
                HINTS => Place::Hints(space),
                BLOCK => Place::Block(space, input.number()?),
                TREE => Place::Node(space, input.number()?),
                BITFIELD => {
                    let page = input.number()?;
                    // Pages of another kind are not kept by anyone.
                    (input.byte()? == 0).then_some(())?;
                    Place::Bitfield(space, page)
                }
                USER_DATA => Place::UserData(space, input.string()?),
                _ => return None,
            }
        }
        _ => return None,
    };
    input.is_empty().then_some(place)
}

/// Where the rows from `start` to before `end` lie; `None` when that is no range that npm has.
pub(super) fn stretch(start: &[u8], end: &[u8]) -> Option<Stretch> {
    let mut from = Input(start);
    let table = from.byte()?;
    if table == STORE_HEAD && from.is_empty() && end == [END] {
        return Some(Stretch::All);
    }
    match table {
        CORE_BY_KEY if from.is_empty() && end == [CORE_BY_KEY + 1] => Some(Stretch::Cores),
        CORE_BY_ALIAS if from.is_empty() => Some(Stretch::Aliases(None)),
        CORE_BY_ALIAS => Some(Stretch::Aliases(Some(from.fixed()?))),
        CORE => {
            let pointer = from.number()?;
            Some(match from.is_empty() {
                true => Stretch::OfCore(pointer),
                false => Stretch::Other,
            })
        }
        DATA => {
            let space = Space(from.number()?);
            if from.is_empty() {
                return Some(Stretch::OfData(space));
            }
            let column = from.byte()?;
            // The end is in the same column, or it is the column's own.
            let mut to = Input(end);
            (to.byte()? == DATA && to.number()? == space.0).then_some(())?;
            let same = to.byte()? == column;
            let numbers = |mut to: Input<'_>| -> Option<(u64, Option<u64>)> {
                let first = match from.is_empty() {
                    true => 0,
                    false => Input(from.0).bound()?.unwrap_or(u64::MAX),
                };
                let end = match same {
                    true => to.bound()?,
                    false => None,
                };
                Some((first, end))
            };
            Some(match column {
                BLOCK => {
                    let (first, end) = numbers(to)?;
                    Stretch::Blocks(space, first, end)
                }
                TREE => {
                    let (first, end) = numbers(to)?;
                    Stretch::Nodes(space, first, end)
                }
                BITFIELD => {
                    let (first, end) = numbers(to)?;
                    Stretch::Pages(space, first, end)
                }
                USER_DATA => {
                    let first = from.string()?;
                    let last = match same {
                        true => Some(to.string()?),
                        false => None,
                    };
                    Stretch::UserData(space, first, last)
                }
                _ => Stretch::Other,
            })
        }
        _ => Some(Stretch::Other),
    }
}

/// The key with each core pointer in it replaced.
pub(super) fn with_spaces(key: &[u8], space: impl Fn(u64) -> u64) -> Vec<u8> {
    let replace = || -> Option<Vec<u8>> {
        let mut input = Input(key);
        let mut out = vec![input.byte()?];
        match out[0] {
            CORE => put(&mut out, space(input.number()?)),
            GROUP => {
                put(&mut out, input.number()?);
                let (time, rest) = input.0.split_at_checked(8)?;
                out.extend_from_slice(time);
                input = Input(rest);
                put(&mut out, space(input.number()?));
            }
            _ => {}
        }
        out.extend_from_slice(input.0);
        Some(out)
    };
    replace().unwrap_or_else(|| key.to_vec())
}

/// Appends a number that sorts as bytes.
#[expect(clippy::cast_possible_truncation, reason = "each is below its limit")]
pub(super) fn put(out: &mut Vec<u8>, number: u64) {
    match number {
        0..=0xfb => out.push(number as u8),
        0xfc..=0xffff => {
            out.push(0xfc);
            out.extend_from_slice(&(number as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xfd);
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
        _ => {
            out.push(0xfe);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

fn numbered(space: Space, column: u8) -> Vec<u8> {
    let mut key = vec![DATA];
    put(&mut key, space.0);
    key.push(column);
    key
}

pub(super) fn core_key(key: &DiscoveryKey) -> Vec<u8> {
    [&[CORE_BY_KEY], &key.0[..]].concat()
}

pub(super) fn alias_key(namespace: &[u8], name: &[u8]) -> Vec<u8> {
    let mut key = [&[CORE_BY_ALIAS], namespace].concat();
    put_text(&mut key, name);
    key
}

pub(super) fn block_key(space: Space, index: u64) -> Vec<u8> {
    let mut key = numbered(space, BLOCK);
    put(&mut key, index);
    key
}

pub(super) fn node_key(space: Space, index: u64) -> Vec<u8> {
    let mut key = numbered(space, TREE);
    put(&mut key, index);
    key
}

pub(super) fn page_key(space: Space, index: u64) -> Vec<u8> {
    let mut key = numbered(space, BITFIELD);
    put(&mut key, index);
    key.push(0);
    key
}

pub(super) fn user_data_key(space: Space, name: &[u8]) -> Vec<u8> {
    let mut key = numbered(space, USER_DATA);
    put_text(&mut key, name);
    key
}

/// Start and end (excluded) of all rows of a data pointer, or of a core pointer.
pub(super) fn all_of(space: Space, is_core: bool) -> (Vec<u8>, Vec<u8>) {
    let bound = |number| {
        let mut key = vec![if is_core { CORE } else { DATA }];
        put(&mut key, number);
        key
    };
    (bound(space.0), bound(space.0.saturating_add(1)))
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(0);
    for byte in text {
        out.push(*byte);
        if *byte == 0 {
            out.push(2);
        }
    }
    out.extend_from_slice(&[0, 1]);
}
