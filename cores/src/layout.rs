//! Where things lie in the store: every key and every record that this crate writes, encoder beside decoder.
//!
//! Space 0 is the **registry**; the first byte of a key says which table:
//!
//! | key | value |
//! | --- | --- |
//! | `00` | the store record: version 1, primary key (32 bytes) |
//! | `01` | the number of the next free space, `u64` LE |
//! | `02` ‖ discovery key | a core record, see [`CoreRecord`] |
//! | `03` ‖ namespace (32 bytes) ‖ name | discovery key (32 bytes) ‖ name. Of a name over 512 bytes the key holds the first 512 and its hash |
//! | `04` ‖ name (UTF-8) | the space of a local keyspace or journal, `u64` LE |
//! | `05` ‖ discovery key | empty: the core has lost blocks, or had when that was last looked at |
//!
//! Each core has a **space of its own**; the first byte of a key says which column, numbers are `u64` BE so that they sort:
//!
//! | key | value |
//! | --- | --- |
//! | `00` | the head, see [`HeadRecord`]; none for a core that never had a block |
//! | `10` ‖ flat-tree index | a tree node: size in bytes (`u64` LE), hash (32 bytes) |
//! | `20` ‖ block index | a block, as it replicates (encrypted if the core is) |
//! | `30` ‖ name | user data |
//! | `40` ‖ name | a branch of the core: version 1, its space (`u64` LE) |
//! | `40` | in the space of a branch: version 1, how many of its first blocks are the core's (`uint`) |
//! | `40 00` | in the space of a branch: the same, when the core was cut below that since. Only changes to the core write it |
//! | `50` ‖ block index | empty: this block was here and was lost. It counts only as long as the block is missing |
//! | `60` | while the store recovers: which time it is (`u32` LE), once peers were asked about this core |
//! | `70` ‖ block index | the end (excluded, `u64` LE) of a run of blocks from there that a mark and sweep keeps |
//!
//! A **branch** has a space like a core's. Its head has no signature, it has all its roots, and of other nodes and blocks only those from where it
//! left the core.
//!
//! There is **no stored bitfield**: the keys of the blocks are the truth about which blocks are here, and the head's contiguous length answers
//! the common question without a lookup.

use bytes::Bytes;
use pome_encoding::{DiscoveryKey, Key, Reader, put_buffer, put_uint};
use pome_storage::Space;
use zeroize::Zeroizing;

use crate::{crypto, error::Error, merkle::Node, verifier::Signable};

/// The space of the registry.
pub(crate) const REGISTRY: Space = Space(0);
/// The first space that a core or a local keyspace may have.
pub(crate) const FIRST_SPACE: u64 = 1;
/// The longest name of a local keyspace, in bytes.
pub(crate) const LOCAL_NAME_MAX: usize = 512;
/// The longest name of a branch, in bytes.
pub(crate) const BRANCH_NAME_MAX: usize = 512;
/// The longest key of user data, in bytes.
pub(crate) const USER_DATA_KEY_MAX: usize = 900;
/// Above this many bytes the name of a core is kept as prefix and hash.
const NAME_PLAIN_MAX: usize = 512;

const VERSION: u8 = 1;

const CORES: u8 = 2;
const NAMES: u8 = 3;
const LOCALS: u8 = 4;
const LOSSY: u8 = 5;

const HEAD: u8 = 0x00;
const NODES: u8 = 0x10;
const BLOCKS: u8 = 0x20;
const USER_DATA: u8 = 0x30;
const BRANCHES: u8 = 0x40;
const LOST: u8 = 0x50;
const RECOVERED: u8 = 0x60;
const MARKS: u8 = 0x70;

/// Key of the store record.
pub(crate) const STORE_KEY: [u8; 1] = [0];
/// Key of the next free space.
pub(crate) const NEXT_SPACE_KEY: [u8; 1] = [1];
/// Key of the head.
pub(crate) const HEAD_KEY: [u8; 1] = [HEAD];

/// Key of what was found out while the store recovers.
pub(crate) const RECOVERED_KEY: [u8; 1] = [RECOVERED];

/// Start and end (excluded) of a whole space.
pub(crate) const WHOLE_SPACE: ([u8; 0], [u8; 2]) = ([], [0xff, 0xff]);

fn numbered(column: u8, index: u64) -> [u8; 9] {
    let mut key = [column; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

/// Key of a tree node.
pub(crate) fn node_key(index: u64) -> [u8; 9] {
    numbered(NODES, index)
}

/// Key of a block.
pub(crate) fn block_key(index: u64) -> [u8; 9] {
    numbered(BLOCKS, index)
}

/// Start and end (excluded) of all tree nodes from `index` on.
pub(crate) fn nodes_from(index: u64) -> ([u8; 9], [u8; 1]) {
    (node_key(index), [NODES + 1])
}

/// Start and end (excluded) of all blocks from `index` on.
pub(crate) fn blocks_from(index: u64) -> ([u8; 9], [u8; 1]) {
    (block_key(index), [BLOCKS + 1])
}

/// Key of the mark that a block was lost.
pub(crate) fn lost_key(index: u64) -> [u8; 9] {
    numbered(LOST, index)
}

/// Start and end (excluded) of all marks of lost blocks from `index` on.
pub(crate) fn lost_from(index: u64) -> ([u8; 9], [u8; 1]) {
    (lost_key(index), [LOST + 1])
}

/// In the space of a branch: how many blocks it shares with its core.
pub(crate) const SHARED_KEY: [u8; 1] = [BRANCHES];

/// In the space of a branch: where its core was cut below that.
pub(crate) const CUT_KEY: [u8; 2] = [BRANCHES, 0];

/// Key of a branch in its core's space.
pub(crate) fn branch_key(name: &str) -> Vec<u8> {
    [&[BRANCHES], name.as_bytes()].concat()
}

/// Start and end (excluded) of all branches of a core.
pub(crate) fn branches_range() -> ([u8; 2], [u8; 1]) {
    ([BRANCHES, 0], [BRANCHES + 1])
}

/// The name in the key of a branch.
pub(crate) fn branch_key_parse(key: &[u8]) -> Result<&str, Error> {
    key.get(1..)
        .and_then(|name| std::str::from_utf8(name).ok())
        .ok_or_else(|| corrupt("name of a branch"))
}

/// Value of a branch: where it is.
pub(crate) fn branch_value(space: Space) -> Vec<u8> {
    [&[VERSION], &space.0.to_le_bytes()[..]].concat()
}

/// What [`branch_value`] wrote.
pub(crate) fn branch_value_parse(value: &[u8]) -> Result<Space, Error> {
    let what = "record of a branch";
    let mut input = Reader::new(value);
    version(&mut input, what)?;
    let number = input.fixed().map_err(|_| corrupt(what))?;
    Ok(Space(u64::from_le_bytes(number)))
}

/// Value of [`SHARED_KEY`].
pub(crate) fn shared_value(shared: u64) -> Vec<u8> {
    let mut out = vec![VERSION];
    put_uint(&mut out, shared);
    out
}

/// What [`shared_value`] wrote.
pub(crate) fn shared_value_parse(value: &[u8]) -> Result<u64, Error> {
    let what = "length of a branch";
    let mut input = Reader::new(value);
    version(&mut input, what)?;
    input.uint().map_err(|_| corrupt(what))
}

/// Key of a run of marked blocks.
pub(crate) fn mark_key(start: u64) -> [u8; 9] {
    numbered(MARKS, start)
}

/// Start and end (excluded) of all marks.
pub(crate) fn marks_range() -> ([u8; 1], [u8; 1]) {
    ([MARKS], [MARKS + 1])
}

/// The end of a run of marked blocks.
pub(crate) fn mark_end(value: &[u8]) -> Result<u64, Error> {
    let end = value.try_into().map_err(|_| corrupt("marked blocks"))?;
    Ok(u64::from_le_bytes(end))
}

/// The name in the key of a piece of user data.
pub(crate) fn user_data_key_parse(key: &[u8]) -> Result<&str, Error> {
    key.get(1..)
        .and_then(|name| std::str::from_utf8(name).ok())
        .ok_or_else(|| corrupt("key of user data"))
}

/// Start and end (excluded) of all user data.
pub(crate) fn user_data_range() -> ([u8; 1], [u8; 1]) {
    ([USER_DATA], [USER_DATA + 1])
}

/// True when there can be nothing but tree nodes and blocks between these keys of a core's space: what peers and other blocks can bring back.
pub(crate) fn is_refillable(start: &[u8], end: Option<&[u8]>) -> bool {
    start.first().is_some_and(|column| *column >= NODES)
        && end.is_some_and(|end| start <= end && end <= &[USER_DATA][..])
}

/// The number in the key of a node or block.
pub(crate) fn number(key: &[u8]) -> Result<u64, Error> {
    match key {
        [_, rest @ ..] => Ok(u64::from_be_bytes(
            rest.try_into().map_err(|_| corrupt("key"))?,
        )),
        [] => Err(corrupt("key")),
    }
}

/// True for the key of a tree node.
pub(crate) fn is_node(key: &[u8]) -> bool {
    key.first() == Some(&NODES)
}

/// Key of a piece of user data.
pub(crate) fn user_data_key(name: &str) -> Result<Vec<u8>, Error> {
    if name.len() > USER_DATA_KEY_MAX {
        return Err(Error::BadArgument {
            what: "the key of user data is too long",
        });
    }
    Ok([&[USER_DATA], name.as_bytes()].concat())
}

/// Key of a core record.
pub(crate) fn core_key(discovery_key: &DiscoveryKey) -> Vec<u8> {
    [&[CORES], &discovery_key.0[..]].concat()
}

/// Start and end (excluded) of all core records.
pub(crate) fn cores_range() -> ([u8; 1], [u8; 1]) {
    ([CORES], [CORES + 1])
}

/// The discovery key in the key of a core record, or of a mark about a core.
pub(crate) fn core_key_parse(key: &[u8]) -> Result<DiscoveryKey, Error> {
    let rest = key.get(1..).and_then(|k| <[u8; 32]>::try_from(k).ok());
    Ok(DiscoveryKey(
        rest.ok_or_else(|| corrupt("key of a core record"))?,
    ))
}

/// Key of the mark that a core has lost blocks.
pub(crate) fn lossy_key(discovery_key: &DiscoveryKey) -> Vec<u8> {
    [&[LOSSY], &discovery_key.0[..]].concat()
}

/// Start and end (excluded) of all such marks whose discovery key does not sort below `from`.
pub(crate) fn lossy_from(from: &[u8]) -> (Vec<u8>, [u8; 1]) {
    ([&[LOSSY], from].concat(), [LOSSY + 1])
}

/// Key of a name.
pub(crate) fn name_key(namespace: &[u8; 32], name: &[u8]) -> Vec<u8> {
    match name.get(..NAME_PLAIN_MAX) {
        Some(head) if name.len() > NAME_PLAIN_MAX => {
            [&[NAMES], &namespace[..], head, &crypto::hash(&[name])].concat()
        }
        _ => [&[NAMES], &namespace[..], name].concat(),
    }
}

/// What the names of one namespace start with; of all namespaces when none is given.
pub(crate) fn names_prefix(namespace: Option<&[u8; 32]>) -> Vec<u8> {
    let mut prefix = vec![NAMES];
    prefix.extend(namespace.into_iter().flatten());
    prefix
}

/// Value of a name.
pub(crate) fn name_value(discovery_key: &DiscoveryKey, name: &[u8]) -> Vec<u8> {
    [&discovery_key.0, name].concat()
}

/// What [`name_value`] wrote.
pub(crate) fn name_value_parse(value: &Bytes) -> Result<(DiscoveryKey, Bytes), Error> {
    let (key, _) = value
        .split_first_chunk::<32>()
        .ok_or_else(|| corrupt("name of a core"))?;
    Ok((DiscoveryKey(*key), value.slice(32..)))
}

/// Key of a local keyspace.
pub(crate) fn local_key(name: &str) -> Vec<u8> {
    [&[LOCALS], name.as_bytes()].concat()
}

/// The name in the key of a local keyspace.
pub(crate) fn local_key_parse(key: &[u8]) -> Result<&str, Error> {
    key.get(1..)
        .and_then(|name| std::str::from_utf8(name).ok())
        .ok_or_else(|| corrupt("name of a local keyspace"))
}

/// The number of a space.
pub(crate) fn space_parse(value: &[u8]) -> Result<u64, Error> {
    Ok(u64::from_le_bytes(
        value.try_into().map_err(|_| corrupt("number of a space"))?,
    ))
}

/// The end (excluded) of all keys with this prefix. No table ends at `ff`, so there always is one.
pub(crate) fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            break;
        }
    }
    end
}

fn corrupt(what: &'static str) -> Error {
    Error::CorruptRecord { what }
}

fn version(input: &mut Reader<'_>, what: &'static str) -> Result<(), Error> {
    match input.u8().map_err(|_| corrupt(what))? {
        VERSION => Ok(()),
        found => Err(Error::UnknownVersion { what, found }),
    }
}

/// The store record: version 1, primary key.
pub(crate) fn store_record(primary_key: &[u8; 32]) -> Vec<u8> {
    [&[VERSION], &primary_key[..]].concat()
}

/// What [`store_record`] wrote.
pub(crate) fn store_record_parse(value: &[u8]) -> Result<[u8; 32], Error> {
    let what = "store record";
    let mut input = Reader::new(value);
    version(&mut input, what)?;
    input.fixed().map_err(|_| corrupt(what))
}

/// Value of a tree node.
pub(crate) fn node_value(node: &Node) -> [u8; 40] {
    let mut value = [0; 40];
    value[..8].copy_from_slice(&node.size.to_le_bytes());
    value[8..].copy_from_slice(&node.hash);
    value
}

/// What [`node_value`] wrote.
pub(crate) fn node_parse(index: u64, value: &[u8]) -> Result<Node, Error> {
    let fail = || corrupt("tree node");
    let (size, hash) = value.split_first_chunk::<8>().ok_or_else(fail)?;
    Ok(Node {
        index,
        size: u64::from_le_bytes(*size),
        hash: hash.try_into().map_err(|_| fail())?,
    })
}

/// What the registry knows about a core: `01` ‖ space (`u64` LE) ‖ key (32 bytes) ‖ flags (1 manifest, 2 key pair, 4 signed twice) ‖ the encoded manifest
/// (length first) ‖ the seed of the key pair (32 bytes).
#[derive(Debug, Clone)]
pub(crate) struct CoreRecord {
    /// Its keyspace.
    pub(crate) space: Space,
    /// Its public name.
    pub(crate) key: Key,
    /// The manifest, encoded; a reader has none until the first proof.
    pub(crate) manifest: Option<Vec<u8>>,
    /// The seed of the key pair that signs for it.
    pub(crate) seed: Option<Zeroizing<[u8; 32]>>,
    /// Two histories of one length were signed: it is never signed nor replicated again.
    pub(crate) forked: bool,
}

impl CoreRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.space.0.to_le_bytes());
        out.extend_from_slice(&self.key.0);
        let flags = [self.manifest.is_some(), self.seed.is_some(), self.forked];
        out.push(
            (0..)
                .zip(flags)
                .map(|(bit, set)| u8::from(set) << bit)
                .sum(),
        );
        if let Some(manifest) = &self.manifest {
            put_buffer(&mut out, manifest);
        }
        if let Some(seed) = &self.seed {
            out.extend_from_slice(&seed[..]);
        }
        out
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self, Error> {
        let what = "core record";
        let mut input = Reader::new(value);
        version(&mut input, what)?;
        Self::fields(&mut input).map_err(|_| corrupt(what))
    }

    fn fields(input: &mut Reader<'_>) -> Result<Self, pome_encoding::DecodeError> {
        let space = Space(u64::from_le_bytes(input.fixed()?));
        let key = Key(input.fixed()?);
        let flags = input.u8()?;
        let manifest = match flags & 1 {
            0 => None,
            _ => Some(input.buffer()?.to_vec()),
        };
        let seed = match flags & 2 {
            0 => None,
            _ => Some(Zeroizing::new(input.fixed()?)),
        };
        Ok(Self {
            space,
            key,
            manifest,
            seed,
            forked: flags & 4 != 0,
        })
    }
}

/// What follows the tree hash of a head is the core whose owner signs it.
const SIGNED_BY_OWNER: u8 = 2;

/// The signature of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signed {
    /// As the manifest demands it; empty for none, as in a branch or a core that nobody can sign for.
    Given(Bytes),
    /// Nobody has asked for it yet, or it was not kept: the key pair that is stored with this core makes the same one each time.
    ByOwner(DiscoveryKey),
}

/// The head of a core: `01` ‖ fork, length, byte length, contiguous length (each a `uint`) ‖ tree hash (32 bytes) ‖ signature (length
/// first); or `02` ‖ the same, with the discovery key of the core (32 bytes) in the place of the signature, which its owner makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeadRecord {
    /// How often it was truncated.
    pub(crate) fork: u64,
    /// In blocks.
    pub(crate) length: u64,
    /// In bytes, with encryption padding.
    pub(crate) byte_length: u64,
    /// Blocks that are here from 0 without a gap.
    pub(crate) contiguous: u64,
    /// The hash over the roots.
    pub(crate) tree_hash: [u8; 32],
    pub(crate) signature: Signed,
}

impl HeadRecord {
    /// What a signature of it is of.
    pub(crate) fn signable(&self) -> Signable {
        Signable {
            hash: self.tree_hash,
            length: self.length,
            fork: self.fork,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        out.push(match self.signature {
            Signed::Given(_) => VERSION,
            Signed::ByOwner(_) => SIGNED_BY_OWNER,
        });
        put_uint(&mut out, self.fork);
        put_uint(&mut out, self.length);
        put_uint(&mut out, self.byte_length);
        put_uint(&mut out, self.contiguous);
        out.extend_from_slice(&self.tree_hash);
        match &self.signature {
            Signed::Given(signature) => put_buffer(&mut out, signature),
            Signed::ByOwner(core) => out.extend_from_slice(&core.0),
        }
        out
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self, Error> {
        let what = "head of a core";
        let mut input = Reader::new(value);
        let by_owner = match input.u8().map_err(|_| corrupt(what))? {
            VERSION => false,
            SIGNED_BY_OWNER => true,
            found => return Err(Error::UnknownVersion { what, found }),
        };
        Self::fields(&mut input, by_owner).map_err(|_| corrupt(what))
    }

    fn fields(input: &mut Reader<'_>, by_owner: bool) -> Result<Self, pome_encoding::DecodeError> {
        Ok(Self {
            fork: input.uint()?,
            length: input.uint()?,
            byte_length: input.uint()?,
            contiguous: input.uint()?,
            tree_hash: input.fixed()?,
            signature: match by_owner {
                true => Signed::ByOwner(DiscoveryKey(input.fixed()?)),
                false => Signed::Given(Bytes::copy_from_slice(input.buffer()?)),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back() {
        let head = HeadRecord {
            fork: 3,
            length: 70_000,
            byte_length: 1 << 40,
            contiguous: 1,
            tree_hash: [7; 32],
            signature: Signed::Given(Bytes::from_static(&[1; 68])),
        };
        assert_eq!(HeadRecord::decode(&head.encode()).unwrap(), head);
        let head = HeadRecord {
            signature: Signed::ByOwner(DiscoveryKey([2; 32])),
            ..head
        };
        assert_eq!(HeadRecord::decode(&head.encode()).unwrap(), head);
        let record = CoreRecord {
            space: Space(9),
            key: Key([5; 32]),
            manifest: Some(vec![1, 2, 3]),
            seed: Some(Zeroizing::new([6; 32])),
            forked: true,
        };
        let back = CoreRecord::decode(&record.encode()).unwrap();
        assert_eq!((back.space, back.key), (record.space, record.key));
        assert_eq!((back.manifest, back.seed), (record.manifest, record.seed));
        assert!(back.forked);
        let node = Node {
            index: 4,
            size: 9,
            hash: [8; 32],
        };
        assert_eq!(node_parse(4, &node_value(&node)).unwrap(), node);
    }

    #[test]
    fn cut_and_foreign_records_are_errors() {
        let mut head = HeadRecord {
            fork: 0,
            length: 1,
            byte_length: 1,
            contiguous: 1,
            tree_hash: [0; 32],
            signature: Signed::ByOwner(DiscoveryKey([1; 32])),
        };
        for _ in 0..2 {
            let full = head.encode();
            for cut in 0..full.len() {
                assert!(HeadRecord::decode(&full[..cut]).is_err());
            }
            head.signature = Signed::Given(Bytes::from_static(&[1; 64]));
        }
        let mut other = head.encode();
        other[0] = 9;
        assert!(matches!(
            HeadRecord::decode(&other),
            Err(Error::UnknownVersion { found: 9, .. })
        ));
        assert!(node_parse(0, &[0; 39]).is_err());
        assert!(number(&[0x20, 1]).is_err());
        assert!(number(&[]).is_err());
    }

    #[test]
    fn only_nodes_and_blocks_can_be_spared() {
        let (node, block) = (node_key(9), block_key(9));
        assert!(is_refillable(&node, Some(&node_key(20))));
        assert!(is_refillable(&node, Some(&block)));
        assert!(is_refillable(&block, Some(&[USER_DATA])));
        assert!(!is_refillable(&HEAD_KEY, Some(&node)), "the head");
        assert!(
            !is_refillable(&block, Some(&[USER_DATA, b'a'])),
            "user data"
        );
        assert!(!is_refillable(&block, None), "user data");
        assert!(!is_refillable(&[], Some(&node)));
        assert!(!is_refillable(&[USER_DATA, 1], Some(&[USER_DATA, 2])));
    }

    #[test]
    fn long_names_do_not_meet() {
        let namespace = [0; 32];
        let (a, b) = ([b'n'; 600], [b'n'; 601]);
        assert_ne!(name_key(&namespace, &a), name_key(&namespace, &b));
        assert!(name_key(&namespace, &b).len() < 1024);
        assert_eq!(prefix_end(&[3, 0xff, 0xff]), [4]);
    }
}
