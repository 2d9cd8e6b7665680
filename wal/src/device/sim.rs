//! A simulated disk: everything that a disk, a kernel and a power cut may do to unsynced data, from one seed.
//!
//! ```text
//! write ──► page cache (what reads see) ──sync──► disk
//!              │ pending, in order                  ▲
//!              └── power cut: any part of it ───────┘
//! ```
//!
//! | event | what happens |
//! | --- | --- |
//! | [`power_cut`](SimDevice::power_cut) | of the unsynced writes any part reaches the disk, 512-byte sector by sector: none, all, up to some moment (another for each sector), or any subset; the file length is that of some moment since the last sync; unsynced creations, renames and removals happen up to some moment, or any subset of them; the boot id changes |
//! | [`kill`](SimDevice::kill) | the process ends: the page cache stays, and the boot id |
//! | a failing sync | any part of the pending writes reaches the disk, and none is pending any more: a second sync answers "fine" and writes nothing, as Linux does. Reads still see the written bytes, until a kill perhaps evicts them |
//! | a failing write | nothing, all, or some first part of the bytes is written |
//!
//! What may fail, and how a disk may break its word, is in [`Faults`]; bits flip by [`flip_bit`](SimDevice::flip_bit) and
//! [`flip_any_bit`](SimDevice::flip_any_bit).
//!
//! Both ends of a process answer the device of the next life; handles of an earlier life refuse every call. Deterministic as long
//! as one thread calls at a time: same seed, same calls, same bytes, same [`trace_hash`](SimDevice::trace_hash).
//!
//! ```
//! use pome_wal::{Device, SimDevice};
//! use std::io::IoSlice;
//!
//! # fn main() -> std::io::Result<()> {
//! let disk = SimDevice::new(1);
//! let file = disk.open("a", true)?;
//! file.write_at(&[IoSlice::new(b"kept")], 0)?;
//! file.sync()?;
//! disk.sync_dir()?;
//! file.write_at(&[IoSlice::new(b"lost?")], 512)?;
//! let disk = disk.power_cut();
//! assert!(file.len().is_err()); // a handle of the process that died
//! assert!(disk.bytes("a").is_some_and(|bytes| bytes.starts_with(b"kept")));
//! # Ok(()) }
//! ```

mod disk;
mod faults;

pub use faults::Faults;

use super::{Device, File, FileStamp};
use bytes::Bytes;
use disk::{DirOp, Fate, Inode, Op, SECTOR};
use parking_lot::{Mutex, MutexGuard};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    ops::Range,
    sync::Arc,
};

/// The simulated disk. Clones share it.
#[derive(Clone)]
pub struct SimDevice {
    world: Arc<Mutex<World>>,
    life: u64,
}

struct SimFile {
    device: SimDevice,
    inode: u64,
}

#[derive(Clone)]
struct World {
    rng: ChaCha8Rng,
    life: u64,
    stopped: bool,
    boot: [u8; 16],
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    /// The birth of the next file.
    born: u64,
    dir: BTreeMap<String, u64>,
    durable_dir: BTreeMap<String, u64>,
    dir_ops: Vec<DirOp>,
    faults: Faults,
    fired: u64,
    /// The disk is full for so many calls.
    full: u64,
    /// The sync that was entered does nothing.
    skip: bool,
    locked: bool,
    calls: u64,
    hash: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Call {
    Read,
    Write,
    Sync,
    SyncDir,
    Change,
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

impl SimDevice {
    /// An empty disk whose misfortunes come from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut boot = [0; 16];
        rng.fill_bytes(&mut boot);
        Self {
            world: Arc::new(Mutex::new(World {
                rng,
                life: 0,
                stopped: false,
                boot,
                inodes: BTreeMap::new(),
                next_inode: 1,
                born: 1,
                dir: BTreeMap::new(),
                durable_dir: BTreeMap::new(),
                dir_ops: Vec::new(),
                faults: Faults::default(),
                fired: 0,
                full: 0,
                skip: false,
                locked: false,
                calls: 0,
                hash: 0xcbf2_9ce4_8422_2325,
            })),
            life: 0,
        }
    }

    /// Cuts the power and starts the machine again. Answers the device of the next life. The plan of faults is dropped.
    pub fn power_cut(&self) -> Self {
        let mut world = self.world.lock();
        let World {
            rng,
            inodes,
            dir_ops,
            durable_dir,
            boot,
            ..
        } = &mut *world;
        let mut strays = Vec::new();
        for inode in inodes.values_mut() {
            strays.extend(inode.settle(rng));
        }
        for stray in strays {
            stray.land(inodes);
        }
        inodes.values_mut().for_each(Inode::evict);
        let ops = std::mem::take(dir_ops);
        let upto = rng.random_range(0..=ops.len());
        let in_order = rng.random_bool(0.5);
        for (i, op) in ops.into_iter().enumerate() {
            if if in_order { i < upto } else { rng.random() } {
                op.apply(durable_dir);
            }
        }
        rng.fill_bytes(boot);
        world.dir = world.durable_dir.clone();
        let life = world.begin_life(b"cut");
        self.at(life)
    }

    /// Ends the process, as `kill -9` does. Answers the device of the next life. The plan of faults is dropped.
    pub fn kill(&self) -> Self {
        let mut world = self.world.lock();
        let World { rng, inodes, .. } = &mut *world;
        for inode in inodes.values_mut().filter(|i| i.diverged) {
            if rng.random() {
                // The kernel had no reason to keep the pages, and reads them from disk.
                inode.evict();
            }
        }
        let life = world.begin_life(b"kill");
        self.at(life)
    }

    /// A copy of the folder onto another disk, as `cp -r` makes one of what reads see now: same names and bytes, other inodes and
    /// births, and no nonces unless `attributes` (`cp -a`). Everything in it is on disk. Its misfortunes come from `seed`.
    pub fn copy(&self, seed: u64, attributes: bool) -> Self {
        let copy = Self::new(seed);
        let (from, mut to) = (self.world.lock(), copy.world.lock());
        to.next_inode = from.next_inode + 1000;
        to.born = from.born + 1000;
        for (name, inode) in &from.dir {
            let Some(original) = from.inodes.get(inode) else {
                continue;
            };
            let (inode, birth) = (to.next_inode, to.born);
            let copied = Inode {
                now: original.now.clone(),
                durable: original.now.clone(),
                birth,
                nonce: if attributes { original.nonce } else { [0; 16] },
                ..Inode::default()
            };
            to.inodes.insert(inode, copied);
            to.dir.insert(name.clone(), inode);
            to.next_inode += 1;
            to.born += 1;
        }
        to.durable_dir = to.dir.clone();
        drop((from, to));
        copy
    }

    /// A second disk that is as this one is now, with misfortunes of its own from `seed`; it is not locked.
    pub fn fork(&self, seed: u64) -> Self {
        let mut world = self.world.lock().clone();
        world.rng = ChaCha8Rng::seed_from_u64(seed);
        world.locked = false;
        Self {
            world: Arc::new(Mutex::new(world)),
            life: self.life,
        }
    }

    fn at(&self, life: u64) -> Self {
        Self {
            world: self.world.clone(),
            life,
        }
    }

    /// Sets what shall go wrong from now on, in place of what was set before.
    pub fn set_faults(&self, faults: Faults) {
        let mut world = self.world.lock();
        world.faults = faults;
        world.full = 0;
    }

    /// What shall still go wrong, with the counts that are left.
    pub fn faults(&self) -> Faults {
        self.world.lock().faults.clone()
    }

    /// How many faults happened.
    pub fn faults_fired(&self) -> u64 {
        self.world.lock().fired
    }

    /// How many calls were made, on the device and on its files.
    pub fn calls(&self) -> u64 {
        self.world.lock().calls
    }

    /// A hash of all calls so far, their bytes and their outcomes.
    pub fn trace_hash(&self) -> u64 {
        self.world.lock().hash
    }

    /// The page cache lets go of everything that is not waiting to be written, so that reads see what is on disk: what a failed sync,
    /// a write that went astray or one that was lost has left there.
    pub fn evict(&self) {
        let mut world = self.world.lock();
        world.trace(&[b"evict"]);
        world.inodes.values_mut().for_each(Inode::evict);
    }

    /// Flips one bit of any file, as [`flip_bit`](Self::flip_bit); every byte of the folder is as likely. Answers where; `None` when
    /// all files are empty.
    pub fn flip_any_bit(&self) -> Option<(String, u64)> {
        let (name, bit) = {
            let mut world = self.world.lock();
            let total = world.used();
            let mut at = (total > 0).then(|| world.rng.random_range(0..total * 8))?;
            world.trace(&[b"flip", &at.to_le_bytes()]);
            world.dir.iter().find_map(|(name, inode)| {
                let bits = world.inodes.get(inode)?.now.len() as u64 * 8;
                if at < bits {
                    return Some((name.clone(), at));
                }
                at -= bits;
                None
            })?
        };
        self.flip_bit(&name, bit).then_some((name, bit))
    }

    /// Flips one bit of a file, in the page cache and on disk. False when there is no such bit.
    pub fn flip_bit(&self, name: &str, bit: u64) -> bool {
        let mut world = self.world.lock();
        let Some(inode) = world.dir.get(name).copied() else {
            return false;
        };
        let (byte, mask) = ((bit / 8) as usize, 1u8 << (bit % 8));
        let Some(inode) = world.inodes.get_mut(&inode) else {
            return false;
        };
        if let Some(b) = inode.durable.get_mut(byte) {
            *b ^= mask;
        }
        inode.now.get_mut(byte).map(|b| *b ^= mask).is_some()
    }

    /// What reads of a file see now.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let world = self.world.lock();
        let inode = world.inodes.get(world.dir.get(name)?)?;
        Some(inode.now.clone())
    }

    /// Enters a call: refuses it, when it is of an earlier life or shall fail. `Ok(true)`: the process dies in it.
    fn enter(&self, call: Call, what: &[&[u8]]) -> (MutexGuard<'_, World>, io::Result<bool>) {
        let mut world = self.world.lock();
        if world.life != self.life || world.stopped {
            return (
                world,
                Err(io::Error::other("the process that opened this is gone")),
            );
        }
        world.calls += 1;
        world.trace(&[&[call as u8]]);
        world.trace(what);
        let mut due = |fault: fn(&mut Faults) -> &mut Option<u64>, counts: bool| {
            let plan = fault(&mut world.faults);
            let Some(n) = plan.as_mut().filter(|_| counts) else {
                return false;
            };
            *n = n.saturating_sub(1);
            let fires = *n == 0;
            if fires {
                *plan = None;
                world.fired += 1;
            }
            fires
        };
        let stop = due(|f| &mut f.stop_at, true);
        let fail = due(|f| &mut f.fail_call, true)
            | due(|f| &mut f.fail_read, call == Call::Read)
            | due(|f| &mut f.fail_write, call == Call::Write)
            | due(
                |f| &mut f.fail_sync,
                matches!(call, Call::Sync | Call::SyncDir),
            );
        let skip = due(|f| &mut f.skip_sync, call == Call::Sync)
            | due(|f| &mut f.skip_sync_dir, call == Call::SyncDir);
        if due(|f| &mut f.full_from, true) {
            world.full = world.faults.full_calls;
        } else {
            world.full = world.full.saturating_sub(1);
        }
        if stop {
            world.stopped = true;
            world.trace(&[b"stop"]);
        }
        world.skip = skip;
        let answer = match fail {
            true => {
                world.trace(&[b"eio"]);
                Err(eio())
            }
            false => Ok(stop),
        };
        (world, answer)
    }

    /// Enters a call that has no half: when the process dies in it, it was never made.
    fn enter_whole(&self, call: Call, what: &[&[u8]]) -> io::Result<MutexGuard<'_, World>> {
        match self.enter(call, what) {
            (world, Ok(false)) => Ok(world),
            (_, Ok(true)) => Err(eio()),
            (_, Err(e)) => Err(e),
        }
    }
}

impl World {
    /// FNV-1a over crcs: enough to tell two runs apart.
    fn trace(&mut self, what: &[&[u8]]) {
        for part in what {
            let word = (part.len() as u64) << 32 | u64::from(crc32fast::hash(part));
            self.hash = (self.hash ^ word).wrapping_mul(0x100_0000_01b3);
        }
    }
    fn begin_life(&mut self, how: &[u8]) -> u64 {
        self.trace(&[how]);
        self.life += 1;
        self.stopped = false;
        self.locked = false;
        self.faults = Faults::default();
        self.full = 0;
        let linked: Vec<u64> = self
            .dir
            .values()
            .chain(self.durable_dir.values())
            .copied()
            .collect();
        self.inodes.retain(|inode, _| linked.contains(inode));
        self.life
    }
    fn used(&self) -> u64 {
        self.dir
            .values()
            .filter_map(|i| self.inodes.get(i))
            .map(|i| i.now.len() as u64)
            .sum()
    }
    /// By how many bytes files may grow.
    fn free(&self) -> u64 {
        match self.faults.space_bytes {
            _ if self.full > 0 => 0,
            Some(space) => space.saturating_sub(self.used()),
            None => u64::MAX,
        }
    }
    fn full(&mut self) -> io::Error {
        self.fired += 1;
        self.trace(&[b"full"]);
        io::Error::from_raw_os_error(libc::ENOSPC)
    }
    /// What becomes of the write that is being made.
    fn fate(&mut self) -> Fate {
        let mut due = |fault: fn(&mut Faults) -> &mut Option<u64>| {
            let plan = fault(&mut self.faults);
            *plan = plan.map(|n| n.saturating_sub(1));
            plan.take_if(|n| *n == 0).is_some()
        };
        let (astray, lost) = (due(|f| &mut f.misdirect_write), due(|f| &mut f.lose_write));
        if !astray && !lost {
            return Fate::Here;
        }
        self.fired += 1;
        self.trace(&[b"fate", &[astray.into()]]);
        if !astray {
            return Fate::Lost;
        }
        let files: Vec<(u64, usize)> = self
            .dir
            .values()
            .filter_map(|inode| Some((*inode, self.inodes.get(inode)?.now.len())))
            .filter(|(_, len)| *len > 0)
            .collect();
        if files.is_empty() {
            return Fate::Lost;
        }
        let (inode, len) = files[self.rng.random_range(0..files.len())];
        let sectors = len.div_ceil(SECTOR);
        Fate::Astray(inode, self.rng.random_range(0..sectors) * SECTOR)
    }
    fn lookup(&self, name: &str) -> io::Result<u64> {
        let found = self.dir.get(name).copied();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
    fn change(&mut self, op: DirOp) {
        op.apply(&mut self.dir);
        self.dir_ops.push(op);
    }
}

impl Device for SimDevice {
    fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn File>> {
        let mut world =
            self.enter_whole(Call::Change, &[b"open", name.as_bytes(), &[create.into()]])?;
        let inode = match world.lookup(name) {
            Ok(inode) => inode,
            Err(e) if !create => return Err(e),
            Err(_) => {
                if world.full > 0 && world.rng.random() {
                    return Err(world.full());
                }
                let inode = world.next_inode;
                world.next_inode += 1;
                let born = Inode {
                    birth: world.born,
                    ..Inode::default()
                };
                world.born += 1;
                world.inodes.insert(inode, born);
                world.change(DirOp::Create(name.to_owned(), inode));
                inode
            }
        };
        Ok(Arc::new(SimFile {
            device: self.clone(),
            inode,
        }))
    }
    fn list(&self) -> io::Result<Vec<String>> {
        let world = self.enter_whole(Call::Read, &[b"list"])?;
        Ok(world.dir.keys().cloned().collect())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.enter_whole(Call::Change, &[b"remove", name.as_bytes()])?;
        let inode = world.lookup(name)?;
        world.change(DirOp::Remove(name.to_owned(), inode));
        Ok(())
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world =
            self.enter_whole(Call::Change, &[b"rename", from.as_bytes(), to.as_bytes()])?;
        let inode = world.lookup(from)?;
        world.change(DirOp::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }
    fn sync_dir(&self) -> io::Result<()> {
        let mut world = match self.enter(Call::SyncDir, &[b"sync dir"]) {
            (world, Ok(false)) => world,
            (_, Ok(true)) => return Err(eio()),
            (mut world, Err(e)) => {
                // As with a file: any part arrives, and nothing is pending any more.
                let world = &mut *world;
                if world.life == self.life && !world.stopped {
                    for op in std::mem::take(&mut world.dir_ops) {
                        if world.rng.random() {
                            op.apply(&mut world.durable_dir);
                        }
                    }
                }
                return Err(e);
            }
        };
        if !world.skip {
            world.dir_ops.clear();
            world.durable_dir = world.dir.clone();
        }
        Ok(())
    }
    fn boot_id(&self) -> [u8; 16] {
        self.world.lock().boot
    }
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        struct Guard(SimDevice);
        impl Drop for Guard {
            fn drop(&mut self) {
                let mut world = self.0.world.lock();
                if world.life == self.0.life {
                    world.locked = false;
                }
            }
        }
        let mut world = self.enter_whole(Call::Change, &[b"lock"])?;
        if world.locked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        world.locked = true;
        Ok(Box::new(Guard(self.clone())))
    }
    fn stamp(&self, name: &str) -> io::Result<FileStamp> {
        let world = self.enter_whole(Call::Read, &[b"stamp", name.as_bytes()])?;
        let inode = world.lookup(name)?;
        let found = world.inodes.get(&inode);
        Ok(found.map_or_else(FileStamp::default, |found| FileStamp {
            inode,
            birth_ns: found.birth,
            nonce: found.nonce,
        }))
    }
    fn set_nonce(&self, name: &str, nonce: [u8; 16]) -> io::Result<bool> {
        let mut world = self.enter_whole(Call::Change, &[b"nonce", name.as_bytes(), &nonce])?;
        let inode = world.lookup(name)?;
        if let Some(found) = world.inodes.get_mut(&inode) {
            found.nonce = nonce;
        }
        Ok(true)
    }
}

impl SimFile {
    fn of<'a>(&self, world: &'a mut World) -> &'a mut Inode {
        world.inodes.entry(self.inode).or_default()
    }
    fn what(&self) -> [u8; 8] {
        self.inode.to_le_bytes()
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        let mut world = self
            .device
            .enter_whole(Call::Read, &[b"len", &self.what()])?;
        Ok(self.of(&mut world).now.len() as u64)
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let at = offset.to_le_bytes();
        let mut world = self
            .device
            .enter_whole(Call::Read, &[b"read", &self.what(), &at])?;
        let now = &self.of(&mut world).now;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(now.len());
        let n = buf.len().min(now.len() - from);
        buf[..n].copy_from_slice(&now[from..from + n]);
        Ok(n)
    }
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut data: Vec<u8> = parts.iter().flat_map(|p| p.iter().copied()).collect();
        let at = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let (mut world, mut answer) = self.device.enter(
            Call::Write,
            &[b"write", &self.what(), &offset.to_le_bytes(), &data],
        );
        if world.life != self.device.life || (world.stopped && answer.is_err()) {
            return answer.map(drop);
        }
        let len = self.of(&mut world).now.len();
        let growth = (at + data.len()).saturating_sub(len) as u64;
        let free = world.free();
        if answer.is_ok() && growth > free {
            // What the disk has room for is written.
            data.truncate((len + free as usize).saturating_sub(at));
            answer = Err(world.full());
        } else if !matches!(answer, Ok(false)) {
            let n = match world.rng.random_range(0..4) {
                0 => 0,
                1 => data.len(),
                _ => world.rng.random_range(0..=data.len()),
            };
            data.truncate(n);
        }
        if !data.is_empty() {
            let fate = world.fate();
            let World { rng, inodes, .. } = &mut *world;
            let inode = inodes.entry(self.inode).or_default();
            match fate {
                Fate::Here => inode.write(Op::Write(at, data, fate)),
                fate => inode.write_astray(at, data, fate, rng),
            }
        }
        match answer {
            Ok(false) => Ok(()),
            Ok(true) => Err(eio()),
            Err(e) => Err(e),
        }
    }
    fn sync(&self) -> io::Result<()> {
        let (mut world, answer) = self.device.enter(Call::Sync, &[b"sync", &self.what()]);
        match answer {
            Ok(false) => {
                if !world.skip {
                    let strays = self.of(&mut world).sync();
                    for stray in strays {
                        stray.land(&mut world.inodes);
                    }
                }
                Ok(())
            }
            Ok(true) => Err(eio()),
            Err(e) => {
                if world.life == self.device.life && !world.stopped {
                    let World { rng, inodes, .. } = &mut *world;
                    let inode = inodes.entry(self.inode).or_default();
                    let strays = inode.settle(rng);
                    inode.diverged = true;
                    for stray in strays {
                        stray.land(inodes);
                    }
                }
                Err(e)
            }
        }
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        let to = len.to_le_bytes();
        let mut world = self
            .device
            .enter_whole(Call::Change, &[b"set_len", &self.what(), &to])?;
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let free = world.free();
        let growth = len.saturating_sub(self.of(&mut world).now.len()) as u64;
        if growth > free {
            return Err(world.full());
        }
        self.of(&mut world).write(Op::SetLen(len));
        Ok(())
    }
    fn view(&self, range: Range<u64>) -> io::Result<Bytes> {
        let at = range.start.to_le_bytes();
        let mut world = self
            .device
            .enter_whole(Call::Read, &[b"view", &self.what(), &at])?;
        let now = &self.of(&mut world).now;
        let bytes = usize::try_from(range.start)
            .ok()
            .zip(usize::try_from(range.end).ok())
            .and_then(|(from, to)| now.get(from..to));
        bytes
            .map(Bytes::copy_from_slice)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}
