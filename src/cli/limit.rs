//! `pome store limit`: the store takes no more of the disk than that, as the filesystem counts it, as long as what is its own fits.
//!
//! What peers can give again goes first, the least recently used of it; what this store signs for, what has a name here and what is pinned stays. The space is measured often, and
//! what peers may send until the next time is bounded by what is left; whoever wants more waits until room was made.

use super::{failure::Failure, io::Io, service::Service};
use parking_lot::Mutex;
use pome_cores::{
    CoreOptions, Corestore, DiscoveryKey, Local, Store,
    room::{Held, Space},
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{runtime::Handle, sync::watch, task::AbortHandle};

/// The least that a store can do with, in bytes.
pub(crate) const LIMIT_MIN: u64 = 16 << 20;
/// The keyspace with the limit, and when cores were last used.
const KEYSPACE: &str = "limit";
const LIMIT: &[u8] = b"bytes";
/// Before a core's discovery key: the second in which it was last used.
const USED: u8 = b'u';
/// How often the disk is measured while something is committed.
const EVERY: Duration = Duration::from_millis(50);
/// How often one looks whether something is.
const IDLE: Duration = Duration::from_secs(1);
/// So much of the limit, in percent, is left free at the most: what is cleared is copied together before it is given back, and others write meanwhile …
const RESERVE: u64 = 16;
/// … and never more bytes than this.
const RESERVE_MAX: u64 = 512 << 20;
/// This part of the limit may come, or stand in the log, between two measurements.
const STEP_PART: u64 = 24;
/// So often in a row room is looked for before it is said that there is none.
const TRIES: u32 = 3;
/// Payload segments have at most this part of the limit, so that whole ones go.
const SEGMENT_PART: u64 = 48;

/// The limit of an open store.
pub(crate) struct Limit {
    kept: Local,
    bytes: watch::Sender<Option<u64>>,
    keeper: Mutex<Option<AbortHandle>>,
}

impl Limit {
    /// Reads it, and keeps it if there is one.
    pub(crate) fn open(cores: &Corestore) -> Result<Self, Failure> {
        let kept = cores.local(KEYSPACE)?;
        let bytes = match kept.get(LIMIT)? {
            Some(value) => value.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)),
            None => None,
        };
        let limit = Self {
            kept,
            bytes: watch::Sender::new(None),
            keeper: Mutex::new(None),
        };
        if bytes.is_some() {
            limit.keep(cores, bytes);
        }
        Ok(limit)
    }

    pub(crate) fn bytes(&self) -> Option<u64> {
        *self.bytes.borrow()
    }

    fn keep(&self, cores: &Corestore, bytes: Option<u64>) {
        // At once: nothing comes before the disk was measured.
        cores.set_room(bytes.map_or(Space::Unlimited, |_| Space::Bytes(0)));
        self.bytes.send_replace(bytes);
        let mut keeper = self.keeper.lock();
        if keeper.is_none()
            && let Ok(runtime) = Handle::try_current()
        {
            let task = keep(cores.clone(), self.kept.clone(), self.bytes.subscribe());
            *keeper = Some(runtime.spawn(task).abort_handle());
        }
    }

    /// Before the store is closed: remembers which cores were used.
    pub(crate) fn close(&self, cores: &Corestore) -> Result<(), Failure> {
        if let Some(keeper) = self.keeper.lock().take() {
            keeper.abort();
        }
        if self.bytes().is_some() {
            remember(cores, &self.kept)?;
        }
        Ok(())
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Notes when the cores that were used lately were.
fn remember(cores: &Corestore, kept: &Local) -> Result<(), Failure> {
    let second = now().to_le_bytes();
    for key in cores.take_used() {
        kept.put([&[USED], &key.0[..]].concat(), second.to_vec())?;
    }
    Ok(())
}

/// When each core was last used, by what is remembered.
fn remembered(kept: &Local) -> Result<HashMap<DiscoveryKey, u64>, Failure> {
    let mut all = HashMap::new();
    for row in kept.range(&[USED][..]..&[USED + 1][..]) {
        let (key, value) = row?;
        if let (Some(key), Some(second)) = (
            key.get(1..).and_then(<[u8]>::first_chunk),
            value.first_chunk(),
        ) {
            all.insert(DiscoveryKey(*key), u64::from_le_bytes(*second));
        }
    }
    Ok(all)
}

/// Measures and makes room, for as long as the store is open.
async fn keep(cores: Corestore, kept: Local, mut limit: watch::Receiver<Option<u64>>) {
    let mut turn = Turn {
        cores: cores.clone(),
        kept,
        measured: None,
        hopeless: None,
    };
    loop {
        let bytes = *limit.borrow_and_update();
        let Some(bytes) = bytes else {
            cores.set_room(Space::Unlimited);
            if limit.changed().await.is_err() {
                return;
            }
            continue;
        };
        let before = turn.measured;
        let done = tokio::task::spawn_blocking(move || {
            let done = turn.take(bytes);
            (turn, done)
        });
        match done.await {
            Ok((back, done)) => {
                turn = back;
                if let Err(failure) = done {
                    tracing::warn!("the store's limit: {}", failure.message);
                }
            }
            Err(error) => {
                tracing::error!(%error, "the store's limit is not kept any more");
                return;
            }
        }
        let wait = match turn.measured == before {
            true => IDLE,
            false => EVERY,
        };
        tokio::select! {
            changed = limit.changed() => if changed.is_err() { return },
            () = cores.room_wanted() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// What is known from one turn to the next.
struct Turn {
    cores: Corestore,
    kept: Local,
    /// The newest commit that was there when the disk was measured.
    measured: Option<u64>,
    /// All that may be cleared was, and the store took so much still: when that was, and how often in a row.
    hopeless: Option<(u64, Instant, u32)>,
}

impl Turn {
    fn take(&mut self, limit: u64) -> Result<(), Failure> {
        let store = self.cores.store().clone();
        self.measured = Some(store.committed_seq().0);
        store.end_segment(limit / SEGMENT_PART)?;
        if store.info()?.log_bytes > limit / STEP_PART {
            store.checkpoint()?;
        }
        let reserve = RESERVE_MAX.min(limit / 100 * RESERVE);
        let full = limit - reserve;
        let (high, low) = (full - reserve / 4, full - reserve / 4 * 3);
        let mut taken = takes(&store)?;
        let again = self.hopeless.is_none_or(|(then, when, times)| {
            let soon = times < TRIES && when.elapsed() >= IDLE;
            soon || taken.abs_diff(then) > limit / 64
        });
        if taken <= high {
            self.hopeless = None;
        } else if again {
            // Nothing comes while what is left of segments is copied together.
            self.cores.set_room(Space::Bytes(0));
            taken = self.make_room(low, taken)?;
            let times = self
                .hopeless
                .map_or(1, |(_, _, times)| times.saturating_add(1));
            self.hopeless = (taken > high).then(|| (taken, Instant::now(), times));
            let all = store.allocated()?;
            if all > limit && times == 1 {
                tracing::warn!(
                    "what is the store's own, named or pinned takes {all} bytes, more than the limit of {limit}: none of it is removed"
                );
            }
        }
        self.cores.set_room(match full.saturating_sub(taken) {
            // Once or twice may be: what was cleared is given back when its last reader has gone.
            0 if self.hopeless.is_some_and(|(_, _, times)| times >= TRIES) => Space::Nothing,
            left => Space::Bytes(left.min(limit / STEP_PART)),
        });
        Ok(())
    }

    /// Clears until the store takes no more than `target` bytes, or nothing is left that may be cleared; how much it takes then.
    fn make_room(&mut self, target: u64, mut taken: u64) -> Result<u64, Failure> {
        let (cores, store) = (self.cores.clone(), self.cores.store().clone());
        remember(&cores, &self.kept)?;
        // A length that was told is on disk before anything goes that it needs.
        store.sync()?;
        let used = remembered(&self.kept)?;
        let pins = Pins::read(&cores)?;
        let mut held = cores.held()?;
        held.sort_by_key(|held| {
            let core = match held.last_used {
                0 => used.get(&held.discovery_key).copied().unwrap_or(0),
                _ => 0,
            };
            (held.last_used, core)
        });
        held.retain(|held| !pins.hold(held));
        let mut held = held.into_iter();
        while taken > target {
            let (mut round, mut bytes) = (Vec::new(), 0);
            while bytes < taken - target
                && let Some(run) = held.next()
            {
                bytes += run.bytes;
                round.push(run);
            }
            let nothing = round.is_empty();
            clear(&cores, round)?;
            // Whole segments go with the checkpoint; what is left of others is moved together.
            store.checkpoint()?;
            taken = takes(&store)?;
            while taken > target && store.compact_step()? {
                taken = takes(&store)?;
            }
            if nothing {
                break;
            }
        }
        Ok(taken)
    }
}

/// What the store takes, and what it may take for a moment besides: tables are merged into new ones.
fn takes(store: &Store) -> Result<u64, Failure> {
    let info = store.info()?;
    Ok(info.allocated_bytes + info.table_bytes)
}

/// Clears these runs.
fn clear(cores: &Corestore, mut runs: Vec<Held>) -> Result<(), Failure> {
    runs.sort_by_key(|run| (run.discovery_key.0, run.range.start));
    // What lies side by side goes at once.
    runs.dedup_by(|next, run| {
        let joined = next.discovery_key == run.discovery_key && next.range.start == run.range.end;
        if joined {
            run.range.end = next.range.end;
        }
        joined
    });
    Handle::current().block_on(async {
        for run in runs {
            let options = CoreOptions::discovery_key(run.discovery_key);
            let core = cores.get(options).await?;
            core.clear(run.range).await?;
        }
        Ok(())
    })
}

/// What is never cleared.
pub(crate) struct Pins(HashMap<DiscoveryKey, Vec<std::ops::Range<u64>>>);

impl Pins {
    pub(crate) fn read(cores: &Corestore) -> Result<Self, Failure> {
        let mut pins = Self(HashMap::new());
        for row in cores.local(PINS)?.range(..) {
            let (key, value) = row?;
            if let (Some(core), Some(start), Some(end)) = (
                key.first_chunk::<32>(),
                key.get(32..).and_then(<[u8]>::first_chunk),
                value.first_chunk(),
            ) {
                let range = u64::from_be_bytes(*start)..u64::from_le_bytes(*end);
                pins.0.entry(DiscoveryKey(*core)).or_default().push(range);
            }
        }
        Ok(pins)
    }

    /// True when all of these blocks of a core are pinned.
    pub(crate) fn cover(&self, core: DiscoveryKey, ranges: &[std::ops::Range<u64>]) -> bool {
        let mut pinned = self.0.get(&core).cloned().unwrap_or_default();
        pinned.sort_unstable_by_key(|range| range.start);
        ranges.iter().all(|range| {
            let mut at = range.start;
            for pin in &pinned {
                if pin.start <= at {
                    at = at.max(pin.end);
                }
            }
            at >= range.end
        })
    }

    pub(crate) fn hold(&self, held: &Held) -> bool {
        let Some(ranges) = self.0.get(&held.discovery_key) else {
            return false;
        };
        ranges
            .iter()
            .any(|range| range.start < held.range.end && held.range.start < range.end)
    }
}

/// The keyspace with what is pinned: discovery key and first block, then one past the last.
pub(crate) const PINS: &str = "pins";

/// Has blocks kept whatever the limit is.
pub(crate) fn pin(
    cores: &Corestore,
    core: DiscoveryKey,
    range: std::ops::Range<u64>,
) -> Result<(), Failure> {
    let key = [&core.0[..], &range.start.to_be_bytes()].concat();
    let pins = cores.local(PINS)?;
    let before = pins
        .get(&key)?
        .and_then(|end| end.first_chunk().map(|end| u64::from_le_bytes(*end)));
    let end = range.end.max(before.unwrap_or(0));
    Ok(pins.put(key, end.to_le_bytes().to_vec())?)
}

/// Has blocks kept no longer than others.
pub(crate) fn unpin(
    cores: &Corestore,
    core: DiscoveryKey,
    range: std::ops::Range<u64>,
) -> Result<(), Failure> {
    let key = [&core.0[..], &range.start.to_be_bytes()].concat();
    Ok(cores.local(PINS)?.delete(key)?)
}

/// `pome store limit`
pub(crate) async fn limit(
    service: &Service,
    wanted: Option<super::args::Size>,
    io: &mut Io,
) -> Result<(), Failure> {
    let limit = &service.limit;
    if let Some(wanted) = wanted {
        match wanted.0 {
            Some(bytes) => limit.kept.put(LIMIT, bytes.to_le_bytes().to_vec())?,
            None => limit.kept.delete(LIMIT)?,
        }
        service.sync().await?;
        limit.keep(&service.corestore, wanted.0);
    }
    let (cores, kept, bytes) = (service.corestore.clone(), limit.kept.clone(), limit.bytes());
    let taken = tokio::task::spawn_blocking(move || {
        if let Some(bytes) = bytes {
            let mut turn = Turn {
                cores: cores.clone(),
                kept,
                measured: None,
                hopeless: None,
            };
            turn.take(bytes)?;
        }
        Ok::<_, Failure>(cores.store().allocated()?)
    });
    let taken = taken
        .await
        .map_err(|error| Failure::new("PANIC", format!("the measurement broke off: {error}")))??;
    let over = bytes.is_some_and(|bytes| taken > bytes);
    if over {
        io.note("what is the store's own, named or pinned takes more than that, and none of it is removed")
            .await?;
    }
    let text = match bytes {
        Some(bytes) => format!("at most {bytes} bytes; the store takes {taken}"),
        None => format!("no limit; the store takes {taken} bytes"),
    };
    let limit: Value = bytes.map_or(Value::Null, Value::from);
    io.result(
        json!({ "limit": limit, "bytes": taken, "over": over }),
        text,
    )
    .await
}
