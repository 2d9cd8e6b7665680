//! Watching what peers send of a drive and are sent, for who shows how far it is.

use crate::{BlobId, Blobs, Error, Hyperdrive};
use futures_util::future::{Either, select};
use parking_lot::Mutex;
use pome_cores::{
    Hypercore,
    replication::{Tally, Transferred},
};
use std::{
    collections::VecDeque,
    iter::once,
    pin::pin,
    time::{Duration, Instant},
};

/// Speeds are of so long a time.
const WINDOW: Duration = Duration::from_secs(5);
/// Readings that are kept for them.
const READINGS_MAX: usize = 64;

/// One direction of what a [`Monitor`] has seen.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Transfer {
    /// When the monitor first saw some of it.
    pub started: Option<Instant>,
    /// Blocks since the monitor was made.
    pub blocks: u64,
    /// Their bytes, as they are stored and sent.
    pub bytes: u64,
    /// Bytes a second over the last five seconds, or since the last reading when that is longer ago.
    pub speed: f64,
    /// Of how many blocks, for the content of one file.
    pub target_blocks: Option<u64>,
    /// How many bytes that content has.
    pub target_bytes: Option<u64>,
}

impl Transfer {
    /// How much of the target has come or gone, in percent; what was there before does not count. `None` without a target, or with an empty one.
    #[must_use]
    pub fn percentage(&self) -> Option<f64> {
        let target = self.target_blocks.filter(|target| *target > 0)?;
        Some(self.blocks as f64 * 100.0 / target as f64)
    }
}

/// Readings of one direction.
#[derive(Debug, Default)]
struct Meter {
    started: Option<Instant>,
    readings: VecDeque<(Instant, u64)>,
}

impl Meter {
    /// Takes a reading; answers bytes a second.
    fn read(&mut self, now: Instant, seen: Transferred) -> f64 {
        if seen.blocks > 0 {
            self.started.get_or_insert(now);
        }
        // the last one before the window is where it begins
        while (self.readings.get(1)).is_some_and(|(at, _)| *at + WINDOW <= now)
            || self.readings.len() >= READINGS_MAX
        {
            self.readings.pop_front();
        }
        let (since, before) = *self.readings.front().unwrap_or(&(now, seen.bytes));
        self.readings.push_back((now, seen.bytes));
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        match seconds > 0.0 {
            true => seen.bytes.saturating_sub(before) as f64 / seconds,
            false => 0.0,
        }
    }
}

/// Counts what peers send of a drive and are sent, from when it was made until it is dropped. [`Hyperdrive::monitor`] and [`Blobs::monitor`] make it.
#[derive(Debug)]
pub struct Monitor {
    contents: Hypercore,
    /// Of the contents, and of the database where it is the whole drive.
    tallies: (Tally, Option<Tally>),
    target: Option<(u64, u64)>,
    meters: Mutex<(Meter, Meter)>,
}

impl Monitor {
    fn new(
        contents: &Hypercore,
        tallies: (Tally, Option<Tally>),
        target: Option<(u64, u64)>,
    ) -> Self {
        let now = Instant::now();
        let meter = || Meter {
            started: None,
            readings: VecDeque::from([(now, 0)]),
        };
        Self {
            contents: contents.clone(),
            tallies,
            target,
            meters: Mutex::new((meter(), meter())),
        }
    }

    fn seen(&self, of: impl Fn(&Tally) -> Transferred) -> Transferred {
        let contents = of(&self.tallies.0);
        let database = self.tallies.1.as_ref().map(of).unwrap_or_default();
        Transferred {
            blocks: contents.blocks + database.blocks,
            bytes: contents.bytes + database.bytes,
        }
    }

    fn transfer(&self, meter: &mut Meter, seen: Transferred) -> Transfer {
        let speed = meter.read(Instant::now(), seen);
        Transfer {
            started: meter.started,
            blocks: seen.blocks,
            bytes: seen.bytes,
            speed,
            target_blocks: self.target.map(|(blocks, _)| blocks),
            target_bytes: self.target.map(|(_, bytes)| bytes),
        }
    }

    /// What came from peers.
    #[must_use]
    pub fn download(&self) -> Transfer {
        let seen = self.seen(Tally::downloaded);
        self.transfer(&mut self.meters.lock().0, seen)
    }

    /// What went to peers.
    #[must_use]
    pub fn upload(&self) -> Transfer {
        let seen = self.seen(Tally::uploaded);
        self.transfer(&mut self.meters.lock().1, seen)
    }

    /// How many peers have the contents open.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.contents.peers().len()
    }

    /// Waits until a block has come or gone since the last call. Cancel safe.
    pub async fn changed(&mut self) {
        let contents = pin!(self.tallies.0.changed());
        match &mut self.tallies.1 {
            None => contents.await,
            Some(database) => match select(contents, pin!(database.changed())).await {
                Either::Left(_) | Either::Right(_) => {}
            },
        }
    }
}

impl Blobs {
    /// Watches what comes and goes of a blob. Reads the map of a block-map blob, for which it may have to wait.
    ///
    /// # Errors
    /// [`Error::BadBlockMap`]; [`Error::Core`].
    pub async fn monitor(&self, id: &BlobId) -> Result<Monitor, Error> {
        let (tally, target) = match id.block_map {
            true => {
                let map = self.map(id).await?;
                let mut blocks: Vec<u64> = map.blocks().iter().map(|block| block.index).collect();
                blocks.sort_unstable();
                blocks.dedup();
                let target = (blocks.len() as u64, map.byte_length());
                let each = blocks.into_iter().map(|at| at..at.saturating_add(1));
                (self.core().tally(each), target)
            }
            false => {
                let end = id.block_offset.saturating_add(id.block_length);
                let tally = self.core().tally(once(id.block_offset..end));
                (tally, (id.block_length, id.byte_length))
            }
        };
        Ok(Monitor::new(self.core(), (tally, None), Some(target)))
    }
}

impl Hyperdrive {
    /// Watches what comes and goes of the content of the file at `path` or, without one, of the whole drive, database and contents. Without a path, or where
    /// there is no file with content, there is no target.
    ///
    /// # Errors
    /// As [`entry`](Self::entry) and [`blobs`](Self::blobs); [`Error::BadBlockMap`].
    pub async fn monitor(&self, path: Option<&str>) -> Result<Monitor, Error> {
        let entry = match path {
            None => None,
            Some(path) => self.entry(path).await?,
        };
        let blobs = self.blobs().await?;
        if let Some(blob) = entry.and_then(|entry| entry.value.blob) {
            return blobs.monitor(&blob).await;
        }
        let contents = blobs.core().tally(once(0..u64::MAX));
        let database = self.core().tally(once(0..u64::MAX));
        let tallies = (contents, Some(database));
        Ok(Monitor::new(blobs.core(), tallies, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_of_the_last_seconds() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let seen = |bytes| Transferred { blocks: 1, bytes };
        let mut meter = Meter::default();
        assert_eq!(meter.read(at(0), Transferred::default()), 0.0);
        assert_eq!(meter.started, None);
        assert_eq!(meter.read(at(1000), seen(500)), 500.0);
        assert_eq!(meter.started, Some(at(1000)));
        for second in 2..=10 {
            meter.read(at(1000 * second), seen(500));
        }
        assert_eq!(
            meter.read(at(10_500), seen(500)),
            0.0,
            "nothing came lately"
        );
        assert_eq!(
            meter.read(at(100_000), seen(90_000)),
            1000.0,
            "since the last reading"
        );
        for step in 0..10_000 {
            meter.read(at(100_000 + step), seen(90_000));
        }
        assert!(meter.readings.len() <= READINGS_MAX);
    }
}
