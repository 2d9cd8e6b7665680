//! What a commit does to the index, when it is made and when recovery finds it again.

use crate::{
    batch::{Change, changes},
    error::Error,
    index::{Found, Slot},
    seal::Seal,
    view::{self, State},
};
use bytes::Bytes;
use pome_wal::{
    PayloadRef, Replayed,
    mutation::{Mutation, is_on},
};

/// Applies the changes of a commit to the memtable, but for those that take one of the payloads `without`. False when they make no sense; then some may
/// have been applied.
pub(crate) fn apply(
    state: &mut State,
    body: &Bytes,
    payloads: &[PayloadRef],
    seal: Option<&Seal>,
    without: &[usize],
    deletes: &mut bool,
) -> bool {
    let stored = |len| seal.map_or(Some(len), |seal| seal.sealed_bytes(len));
    let mut payloads = payloads.iter().enumerate();
    for change in changes(body) {
        *deletes |= matches!(change, Some(Change::Delete(..) | Change::DeleteRange(..)));
        match change {
            Some(Change::Put(key, value)) => state.memtable.set(key, Slot::Inline(value)),
            Some(Change::PutPayload(key, len) | Change::Move(key, len, _)) => {
                match payloads.next() {
                    Some((index, at)) if Some(u64::from(at.len)) == stored(len) => {
                        if !without.contains(&index) {
                            state.memtable.set(key, Slot::Payload(*at));
                        }
                    }
                    _ => return false,
                }
            }
            Some(Change::Delete(key)) => state.memtable.set(key, Slot::Deleted),
            Some(Change::DeleteRange(start, end)) => {
                if !state.memtable.delete_range(&start, &end) {
                    state.freeze();
                    let done = state.memtable.delete_range(&start, &end);
                    debug_assert!(done, "a new memtable has no points in the way");
                }
            }
            None => return false,
        }
    }
    payloads.next().is_none()
}

/// The payloads of a commit in a damaged log that are copies of values which the index must go on to look for elsewhere: the copy is bad, or the value
/// that was copied is not there any more, since the commit that wrote it is lost. What a key had before a move is on disk as long as no checkpoint has
/// seen the move.
pub(crate) fn moved_in_vain(
    state: &State,
    body: &Bytes,
    commit: &Replayed<'_>,
) -> Result<Vec<usize>, Error> {
    let mut all = vec![];
    if is_on(Mutation::BlindMove) {
        return Ok(all);
    }
    let takes_payload = |change: &Change| change.payload_key().is_some();
    let takers = changes(body).flatten().filter(takes_payload).enumerate();
    for (index, change) in takers {
        if let Change::Move(key, _, from) = change
            && !(commit.is_whole(index) && lies_at(state, &key, from)?)
        {
            all.push(index);
        }
    }
    Ok(all)
}

/// True when the value of a key lies in this segment, at this offset; also when that cannot be read.
fn lies_at(state: &State, key: &[u8], from: (u32, u64)) -> Result<bool, Error> {
    let slot = match state.memtable.get(key) {
        Found::Here(slot) => slot,
        Found::Unknown => match view::get(state.lower.layers(), key) {
            Ok(slot) => slot,
            Err(Error::Corrupt { .. }) => return Ok(true),
            Err(e) => return Err(e),
        },
    };
    Ok(matches!(slot, Slot::Payload(at) if (at.segment, at.offset) == from))
}
