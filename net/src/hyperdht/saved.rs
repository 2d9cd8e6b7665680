//! What a node keeps for others, as bytes: so that it is there again after a restart, as old as it would be had the node not stopped.
//!
//! ```text
//! 16 "pome dht records" │ version uint │ saved at u64, ms since 1970 │ six caches │ BLAKE2b-256 of all before it
//! cache     age of the younger half in ms, uint │ younger half │ older half
//! half      count uint │ entries
//! entries   who announced himself here   target 32 │ address 6 │ record buffer
//!           peers of a topic             topic 32 │ key 32 │ record buffer
//!           bumps                        topic 32 │ uint
//!           secrets of announcements     hash 32 │ target 32 │ key 32 │ own bool │ record buffer
//!           mutable values               target 32 │ record buffer
//!           immutable values             target 32 │ value buffer
//! ```
//! npm hyperdht 6.34.0 keeps its records in memory alone: these bytes are ours.

use super::{
    messages::{MutableRecord, Wire},
    records::{Now, RecordLimits, Records, Refresh},
    router::{Forward, Router},
};
use crate::{
    cache::Generations,
    dht_rpc::{address, encode_address},
};
use bytes::{Bytes, BytesMut};
use pome_cores::{Local, crypto::hash};
use pome_encoding::{DecodeError, Reader, put_buffer, put_uint};
use std::{collections::HashMap, fmt, time::Duration};

const MAGIC: &[u8; 16] = b"pome dht records";
const VERSION: u64 = 1;

fn put_half<K, V>(
    out: &mut Vec<u8>,
    half: &HashMap<K, V>,
    mut put: impl FnMut(&mut Vec<u8>, &K, &V),
) {
    put_uint(out, half.len() as u64);
    for (key, value) in half {
        put(out, key, value);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Writes down what there is.
pub(super) fn save(router: &mut Router, records: &mut Records, now: Now) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    put_uint(&mut out, VERSION);
    out.extend_from_slice(&now.unix_ms.to_le_bytes());
    macro_rules! put_cache {
        ($cache:expr, $put:expr) => {
            let (since, halves) = $cache.saved(now.at);
            put_uint(&mut out, millis(since));
            for half in halves {
                put_half(&mut out, half, $put);
            }
        };
    }
    put_cache!(router.forwards(), |out, target, (forward, _)| {
        out.extend_from_slice(target);
        out.extend_from_slice(&encode_address(forward.relay));
        put_buffer(out, &forward.record);
    });
    let (since, halves) = records.peers.saved(now.at);
    put_uint(&mut out, millis(since));
    for half in halves {
        put_uint(&mut out, half.values().map(Vec::len).sum::<usize>() as u64);
        for (topic, peers) in half {
            for (key, record) in peers {
                out.extend_from_slice(topic);
                out.extend_from_slice(key);
                put_buffer(&mut out, record);
            }
        }
    }
    put_cache!(records.bumps, |out, topic, (bump, _)| {
        out.extend_from_slice(topic);
        put_uint(out, *bump);
    });
    put_cache!(records.refreshes, |out, secret, (refresh, _)| {
        out.extend_from_slice(secret);
        out.extend_from_slice(&refresh.target);
        out.extend_from_slice(&refresh.public_key);
        out.push(refresh.own.into());
        put_buffer(out, &refresh.record);
    });
    for cache in [&mut records.mutables, &mut records.immutables] {
        put_cache!(cache, |out, target, (value, _)| {
            out.extend_from_slice(target);
            put_buffer(out, value);
        });
    }
    let sum = hash(&[&out]);
    out.extend_from_slice(&sum);
    out
}

/// Reads one cache: how old its younger half is by now, and the entries.
fn halves<T>(
    input: &mut Reader<'_>,
    stopped: Duration,
    mut entry: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<(Duration, Generations<T>), DecodeError> {
    let since = Duration::from_millis(input.uint()?).saturating_add(stopped);
    let mut half = || {
        let count = input.uint()?;
        // Each entry takes more than 32 bytes: there is no memory taken on the word of the count.
        (0..count).map(|_| entry(input)).collect::<Result<_, _>>()
    };
    Ok((since, [half()?, half()?]))
}

/// Takes in what [`save`] wrote. What is too old by now, or does not fit, is left out; `None` when the bytes are not those of [`save`].
pub(super) fn load(
    bytes: &[u8],
    limits: &RecordLimits,
    seed: [u8; 32],
    router: &mut Router,
    now: Now,
) -> Option<Records> {
    let (body, sum) = bytes.split_last_chunk::<32>()?;
    let body_of = body.strip_prefix(MAGIC)?;
    if hash(&[body]) != *sum {
        return None;
    }
    let mut records = Records::new(limits, seed, now.at);
    read(&mut Reader::new(body_of), &mut records, router, now).ok()??;
    Some(records)
}

fn read(
    input: &mut Reader<'_>,
    records: &mut Records,
    router: &mut Router,
    now: Now,
) -> Result<Option<()>, DecodeError> {
    if input.uint()? != VERSION {
        return Ok(None);
    }
    let saved_at = u64::from_le_bytes(input.fixed()?);
    // A clock that was set back since then does not make anything younger.
    let stopped = Duration::from_millis(now.unix_ms.saturating_sub(saved_at));
    let (since, forwards) = halves(input, stopped, |input| {
        let target = input.fixed()?;
        let forward = Forward {
            relay: address(input)?,
            record: Bytes::copy_from_slice(input.buffer()?),
        };
        let bytes = Router::bytes(&forward);
        Ok((target, forward, bytes))
    })?;
    router.forwards().resume(since, forwards, now.at);
    let (since, peers) = halves(input, stopped, |input| {
        let (topic, key) = (input.fixed()?, input.fixed()?);
        Ok((topic, key, Bytes::copy_from_slice(input.buffer()?)))
    })?;
    records.peers.resume(since, peers, now.at);
    let (since, bumps) = halves(input, stopped, |input| {
        Ok((input.fixed()?, input.uint()?, 8))
    })?;
    records.bumps.resume(since, bumps, now.at);
    let (since, refreshes) = halves(input, stopped, |input| {
        let secret = input.fixed()?;
        let refresh = Refresh {
            target: input.fixed()?,
            public_key: input.fixed()?,
            own: input.fixed::<1>()? != [0],
            record: Bytes::copy_from_slice(input.buffer()?),
        };
        let bytes = refresh.bytes();
        Ok((secret, refresh, bytes))
    })?;
    records.refreshes.resume(since, refreshes, now.at);
    let value = |input: &mut Reader<'_>| {
        let target: [u8; 32] = input.fixed()?;
        let value = Bytes::copy_from_slice(input.buffer()?);
        let bytes = value.len();
        Ok((target, value, bytes))
    };
    let (since, mut mutables) = halves(input, stopped, value)?;
    for half in &mut mutables {
        half.retain(|(_, record, _)| MutableRecord::decode(record).is_ok());
    }
    records.mutables.resume(since, mutables, now.at);
    let (since, mut immutables) = halves(input, stopped, value)?;
    for half in &mut immutables {
        half.retain(|(target, value, _)| hash(&[value]) == *target);
    }
    records.immutables.resume(since, immutables, now.at);
    Ok(Some(()))
}

/// Where a node's records outlive it: a local keyspace of a store, see [`HyperDht::keep_records`](super::HyperDht::keep_records).
///
/// What is there is replaced as a whole: it is written beside what was written before, and counts when all of it is there.
#[derive(Clone)]
pub struct RecordStore {
    local: Local,
}

const HEAD: &[u8] = b"head";
/// Bytes under one key.
const PART: usize = 1 << 20;

fn part(slot: u8, index: u32) -> Vec<u8> {
    [&[slot][..], &index.to_be_bytes()].concat()
}

impl RecordStore {
    /// In this keyspace, which has nothing else in it.
    pub fn new(local: Local) -> Self {
        Self { local }
    }

    fn head(&self) -> Result<Option<(u8, u32)>, pome_cores::Error> {
        let head = self.local.get(HEAD)?;
        Ok(head.and_then(|head| {
            let (slot, count) = head.split_first()?;
            Some((*slot, u32::from_le_bytes(count.try_into().ok()?)))
        }))
    }

    /// What was saved last.
    ///
    /// # Errors
    /// From the store.
    pub fn load(&self) -> Result<Option<Bytes>, pome_cores::Error> {
        let Some((slot, count)) = self.head()? else {
            return Ok(None);
        };
        let mut all = BytesMut::new();
        for index in 0..count {
            let Some(bytes) = self.local.get(&part(slot, index))? else {
                return Ok(None);
            };
            all.extend_from_slice(&bytes);
        }
        Ok(Some(all.freeze()))
    }

    /// Takes the place of what was saved before.
    ///
    /// # Errors
    /// From the store.
    pub fn save(&self, records: &Bytes) -> Result<(), pome_cores::Error> {
        let before = self.head()?;
        let slot = before.map_or(0, |(slot, _)| 1 - slot.min(1));
        let mut count = 0;
        for at in (0..records.len()).step_by(PART) {
            let end = records.len().min(at + PART);
            self.local.put(part(slot, count), records.slice(at..end))?;
            count += 1;
        }
        let head = [&[slot][..], &count.to_le_bytes()].concat();
        self.local.put(HEAD, head)?;
        if let Some((slot, count)) = before {
            for index in 0..count {
                self.local.delete(part(slot, index))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for RecordStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordStore").finish_non_exhaustive()
    }
}
