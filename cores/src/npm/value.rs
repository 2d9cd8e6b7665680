//! npm's values, encoder beside decoder, and the keys of what is kept beside our layout.

use pome_encoding::{DiscoveryKey, Key, Reader, put_buffer, put_uint};
use pome_storage::Space;
use zeroize::Zeroizing;

use crate::{
    Manifest,
    crypto::KeyPair,
    error::Error,
    layout::{CoreRecord, HeadRecord, Signed},
    manifest::{Prologue, Signer},
    merkle::Node,
};

/// The version of the store that npm finds here, and of each core in it.
const VERSION: u64 = 2;

fn corrupt(what: &'static str) -> Error {
    Error::CorruptRecord { what }
}

/// Reads a value to its end, or says which it was.
fn whole<'a, T>(
    bytes: &'a [u8],
    what: &'static str,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, pome_encoding::DecodeError>,
) -> Result<T, Error> {
    read(&mut Reader::new(bytes)).map_err(|_| corrupt(what))
}

fn flags(set: &[bool]) -> u64 {
    (0..)
        .zip(set)
        .map(|(bit, set)| u64::from(*set) << bit)
        .sum()
}

/// How many groups there are.
pub(super) const GROUPS_KEY: &[u8] = &[0, 1];

// Tables that npm has not, by their first byte.
const ENCRYPTION: u8 = 0x80;
const PARENT: u8 = 0x81;
const STAMP: u8 = 0x82;

fn beside(table: u8, space: Space) -> Vec<u8> {
    [&[table], &space.0.to_be_bytes()[..]].concat()
}

/// Key of the encryption key that npm keeps with a core.
pub(super) fn encryption_key(space: Space) -> Vec<u8> {
    beside(ENCRYPTION, space)
}

/// Key of the space that a branch branches off.
pub(super) fn parent_key(space: Space) -> Vec<u8> {
    beside(PARENT, space)
}

/// Key of the time in a head.
pub(super) fn stamp_key(space: Space) -> Vec<u8> {
    beside(STAMP, space)
}

/// Start and end (excluded) of each of the tables above, for one space.
pub(super) fn beside_of(space: Space) -> [Vec<u8>; 3] {
    [ENCRYPTION, PARENT, STAMP].map(|table| beside(table, space))
}

/// A number for itself.
pub(super) fn uint(bytes: &[u8]) -> Result<u64, Error> {
    whole(bytes, "number in a row of npm's", |input| input.uint())
}

pub(super) fn uint_value(number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_uint(&mut out, number);
    out
}

/// `@corestore/head`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoreHead {
    pub(super) cores: u64,
    pub(super) datas: u64,
    pub(super) groups: u64,
    pub(super) seed: Option<[u8; 32]>,
    pub(super) default: Option<[u8; 32]>,
}

pub(super) fn store_head(head: &StoreHead) -> Vec<u8> {
    let mut out = Vec::new();
    let set = flags(&[head.seed.is_some(), head.default.is_some()]);
    for number in [VERSION, head.cores, head.datas, head.groups, set] {
        put_uint(&mut out, number);
    }
    for key in [&head.seed, &head.default].into_iter().flatten() {
        out.extend_from_slice(key);
    }
    out
}

pub(super) fn store_head_parse(value: &[u8]) -> Result<StoreHead, Error> {
    let what = "head of npm's store";
    let (version, head) = whole(value, what, |input| {
        let version = input.uint()?;
        if version != VERSION {
            return Ok((version, None));
        }
        let (cores, datas, groups) = (input.uint()?, input.uint()?, input.uint()?);
        let flags = input.uint()?;
        let mut key = |bit: u64| -> Result<_, pome_encoding::DecodeError> {
            (flags & bit != 0).then(|| input.fixed()).transpose()
        };
        let head = StoreHead {
            cores,
            datas,
            groups,
            seed: key(1)?,
            default: key(2)?,
        };
        Ok((version, Some(head)))
    })?;
    head.ok_or(Error::UnknownVersion {
        what,
        found: u8::try_from(version).unwrap_or(u8::MAX),
    })
}

/// `@corestore/core`, without its name: that is a row of its own.
pub(super) fn core(pointer: u64, space: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for number in [VERSION, pointer, space, 0] {
        put_uint(&mut out, number);
    }
    out
}

/// Core pointer and data pointer.
pub(super) fn core_parse(value: &[u8]) -> Result<(u64, u64), Error> {
    whole(value, "core in npm's store", |input| {
        input.uint()?;
        Ok((input.uint()?, input.uint()?))
    })
}

/// `@core/auth`.
pub(super) fn auth(
    key: &DiscoveryKey,
    record: &CoreRecord,
    encryption: Option<&[u8]>,
) -> Result<Vec<u8>, Error> {
    let mut out = [record.key.0, key.0].concat();
    // Nobody signs a core of two histories any more.
    let seed = record.seed.as_ref().filter(|_| !record.forked);
    let set = [
        record.manifest.is_some(),
        seed.is_some(),
        encryption.is_some(),
    ];
    put_uint(&mut out, flags(&set));
    if let Some(bytes) = &record.manifest {
        put_buffer(&mut out, &manifest(bytes)?);
    }
    if let Some(seed) = seed {
        let pair = KeyPair::from_seed(seed);
        put_buffer(&mut out, &pair.public);
        put_buffer(&mut out, &*pair.secret_key());
    }
    if let Some(encryption) = encryption {
        put_buffer(&mut out, encryption);
    }
    Ok(out)
}

/// What of `@core/auth` is kept.
pub(super) struct Auth {
    pub(super) key: Key,
    pub(super) discovery_key: DiscoveryKey,
    pub(super) manifest: Option<Vec<u8>>,
    pub(super) seed: Option<Zeroizing<[u8; 32]>>,
    pub(super) encryption: Option<Vec<u8>>,
}

pub(super) fn auth_parse(value: &[u8]) -> Result<Auth, Error> {
    let what = "keys of a core in npm's store";
    let (key, discovery_key, stored, secret, encryption) = whole(value, what, |input| {
        let key = Key(input.fixed()?);
        let discovery_key = DiscoveryKey(input.fixed()?);
        let flags = input.uint()?;
        let mut buffer = |bit: u64| -> Result<_, pome_encoding::DecodeError> {
            (flags & bit != 0).then(|| input.buffer()).transpose()
        };
        let stored = buffer(1)?;
        // Its public half is in the secret one.
        buffer(2)?;
        let secret = buffer(2)?;
        Ok((key, discovery_key, stored, secret, buffer(4)?))
    })?;
    let manifest = match stored {
        Some(bytes) => Some(manifest_parse(bytes)?.encode()),
        None => None,
    };
    let seed = match secret.filter(|secret| !secret.is_empty()) {
        Some(secret) => {
            let secret: &[u8; 64] = secret.try_into().map_err(|_| corrupt(what))?;
            let pair = KeyPair::from_secret_key(secret).ok_or_else(|| corrupt(what))?;
            Some(pair.seed())
        }
        None => None,
    };
    Ok(Auth {
        key,
        discovery_key,
        manifest,
        seed,
        encryption: encryption.map(<[u8]>::to_vec),
    })
}

/// `@core/manifest` of a manifest as peers send it: from version 1 on the two are the same bytes.
fn manifest(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    if bytes.first() != Some(&0) {
        return Ok(bytes.to_vec());
    }
    let manifest = Manifest::decode(bytes).map_err(|_| corrupt("manifest"))?;
    let mut out = vec![0];
    let set = [manifest.allow_patch, manifest.prologue.is_some()];
    for number in [
        flags(&set),
        0,
        manifest.quorum,
        manifest.signers.len() as u64,
    ] {
        put_uint(&mut out, number);
    }
    for signer in &manifest.signers {
        put_uint(&mut out, 0);
        out.extend_from_slice(&signer.namespace);
        out.extend_from_slice(&signer.public_key);
    }
    if let Some(prologue) = &manifest.prologue {
        out.extend_from_slice(&prologue.hash);
        put_uint(&mut out, prologue.length);
    }
    Ok(out)
}

fn manifest_parse(bytes: &[u8]) -> Result<Manifest, Error> {
    let what = "manifest";
    if bytes.first() != Some(&0) {
        return Manifest::decode(bytes).map_err(|_| corrupt(what));
    }
    whole(&bytes[1..], what, |input| {
        let (flags, hash) = (input.uint()?, input.uint()?);
        let wrong = pome_encoding::DecodeError::Invalid { what };
        let (quorum, count) = (input.uint()?, input.uint()?);
        if hash != 0 || count > input.rest().len() as u64 {
            return Err(wrong);
        }
        let mut signers = Vec::new();
        for _ in 0..count {
            input.uint()?;
            signers.push(Signer {
                namespace: input.fixed()?,
                public_key: input.fixed()?,
            });
        }
        let prologue = match flags & 2 {
            0 => None,
            _ => Some(Prologue {
                hash: input.fixed()?,
                length: input.uint()?,
            }),
        };
        Ok(Manifest {
            version: 0,
            allow_patch: flags & 1 != 0,
            quorum,
            signers,
            prologue,
            linked: None,
            user_data: None,
        })
    })
}

/// `@core/sessions`.
pub(super) fn sessions(branches: &[(String, Space)]) -> Vec<u8> {
    let mut out = Vec::new();
    put_uint(&mut out, branches.len() as u64);
    for (name, space) in branches {
        put_buffer(&mut out, name.as_bytes());
        put_uint(&mut out, space.0);
    }
    out
}

pub(super) fn sessions_parse(value: &[u8]) -> Result<Vec<(String, Space)>, Error> {
    whole(value, "sessions of a core in npm's store", |input| {
        let mut found = Vec::new();
        for _ in 0..input.uint()? {
            let name = input.buffer()?;
            let name = String::from_utf8(name.to_vec());
            let name = name.map_err(|_| pome_encoding::DecodeError::Invalid { what: "name" })?;
            found.push((name, Space(input.uint()?)));
        }
        Ok(found)
    })
}

/// `@core/dependency`.
pub(super) fn dependency(pointer: u64, length: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_uint(&mut out, pointer);
    put_uint(&mut out, length);
    out
}

pub(super) fn dependency_parse(value: &[u8]) -> Result<(Space, u64), Error> {
    whole(value, "dependency of a core in npm's store", |input| {
        Ok((Space(input.uint()?), input.uint()?))
    })
}

/// `@core/head`; `stamp` 0 is none.
pub(super) fn head(head: &HeadRecord, signature: &[u8], stamp: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(120);
    put_uint(&mut out, head.fork);
    put_uint(&mut out, head.length);
    out.extend_from_slice(&head.tree_hash);
    put_buffer(&mut out, signature);
    put_uint(&mut out, u64::from(stamp != 0));
    if stamp != 0 {
        out.extend_from_slice(&stamp.to_le_bytes());
    }
    out
}

/// A head without what npm does not say, and its time.
pub(super) fn head_parse(value: &[u8]) -> Result<(HeadRecord, u64), Error> {
    whole(value, "head of a core in npm's store", |input| {
        let head = HeadRecord {
            fork: input.uint()?,
            length: input.uint()?,
            byte_length: 0,
            contiguous: 0,
            tree_hash: input.fixed()?,
            signature: Signed::Given(input.buffer()?.to_vec().into()),
        };
        let has_stamp = !input.is_empty() && input.uint()? & 1 != 0;
        let stamp = match has_stamp {
            true => u64::from_le_bytes(input.fixed()?),
            false => 0,
        };
        Ok((head, stamp))
    })
}

/// `@core/tree-node`.
pub(super) fn node(index: u64, size: u64, hash: &[u8; 32]) -> Vec<u8> {
    let mut out = Vec::with_capacity(50);
    put_uint(&mut out, index);
    put_uint(&mut out, size);
    out.extend_from_slice(hash);
    out
}

pub(super) fn node_parse(value: &[u8]) -> Result<Node, Error> {
    whole(value, "tree node in npm's store", Node::decode)
}

/// Of `@core/hints`: how much the peers have, and since when the core is recovering.
pub(super) fn hints_parse(value: &[u8]) -> Result<(u64, u64), Error> {
    whole(value, "hints of a core in npm's store", |input| {
        let flags = input.uint()?;
        let mut number = |bit: u64| match flags & bit {
            0 => Ok(0),
            _ => input.uint(),
        };
        number(1)?;
        Ok((number(2)?, number(4)?))
    })
}

/// `@core/hints`: those that were kept, with this contiguous length; `since` when the store says that the core is recovering, else 0.
pub(super) fn hints(kept: Option<&[u8]>, contiguous: u64, since: u64) -> Result<Vec<u8>, Error> {
    let (remote, recovering) = kept.map_or(Ok((0, 0)), hints_parse)?;
    let numbers = [contiguous, remote, recovering.max(since)];
    let mut out = Vec::new();
    put_uint(&mut out, flags(&numbers.map(|number| number != 0)));
    for number in numbers.into_iter().filter(|number| *number != 0) {
        put_uint(&mut out, number);
    }
    Ok(out)
}
