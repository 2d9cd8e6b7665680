//! One file of a simulated disk: what reads see, what is on disk, and how the one becomes the other.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// What reaches the disk whole or not at all, in bytes.
pub(super) const SECTOR: usize = 512;

/// A file.
#[derive(Default, Clone)]
pub(super) struct Inode {
    /// What reads see.
    pub(super) now: Vec<u8>,
    /// What is on disk.
    pub(super) durable: Vec<u8>,
    /// What a sync would bring from the one to the other.
    pub(super) pending: Vec<Op>,
    /// A sync failed: the page cache shows bytes that are neither pending nor on disk.
    pub(super) diverged: bool,
    /// When it was made, in steps of a clock of the disk, and what it was given beside its bytes.
    pub(super) birth: u64,
    pub(super) nonce: [u8; 16],
}

/// A change that is not yet on disk.
#[derive(Clone)]
pub(super) enum Op {
    Write(usize, Vec<u8>, Fate),
    SetLen(usize),
}

/// Where written bytes go when they leave the page cache.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Fate {
    Here,
    /// Nowhere.
    Lost,
    /// To a place in another file, or another place in this one.
    Astray(u64, usize),
}

/// Bytes that went to a wrong place: of which inode, where, what.
pub(super) struct Stray(u64, usize, Vec<u8>);

/// A change of the folder that is not yet on disk.
#[derive(Clone)]
pub(super) enum DirOp {
    Create(String, u64),
    Remove(String, u64),
    Rename(String, String, u64),
}

impl DirOp {
    pub(super) fn apply(&self, dir: &mut BTreeMap<String, u64>) {
        let mut remove = |name: &String, inode: &u64| {
            if dir.get(name) == Some(inode) {
                dir.remove(name);
            }
        };
        match self {
            Self::Create(name, inode) => {
                dir.insert(name.clone(), *inode);
            }
            Self::Remove(name, inode) => remove(name, inode),
            Self::Rename(from, to, inode) => {
                remove(from, inode);
                dir.insert(to.clone(), *inode);
            }
        }
    }
}

impl Op {
    /// As reads see it.
    fn apply(&self, bytes: &mut Vec<u8>) {
        bytes.resize(self.len_after(bytes.len()), 0);
        if let Self::Write(at, data, _) = self {
            bytes[*at..at + data.len()].copy_from_slice(data);
        }
    }
    /// The length after it.
    fn len_after(&self, len: usize) -> usize {
        match self {
            Self::Write(at, data, _) => len.max(at + data.len()),
            Self::SetLen(len) => *len,
        }
    }
}

impl Inode {
    pub(super) fn write(&mut self, op: Op) {
        op.apply(&mut self.now);
        self.pending.push(op);
    }

    /// Writes, but some of the sectors have another fate.
    pub(super) fn write_astray(
        &mut self,
        at: usize,
        mut data: Vec<u8>,
        fate: Fate,
        rng: &mut ChaCha8Rng,
    ) {
        // Cut into three at sectors of the file.
        let (first, last) = (at / SECTOR, (at + data.len() - 1) / SECTOR);
        let from = rng.random_range(first..=last);
        let to = rng.random_range(from..=last) + 1;
        let tail = data.split_off((to * SECTOR - at).min(data.len()));
        let middle = data.split_off((from * SECTOR).saturating_sub(at));
        let (middle_at, tail_at) = (at + data.len(), at + data.len() + middle.len());
        for (at, data, fate) in [
            (at, data, Fate::Here),
            (middle_at, middle, fate),
            (tail_at, tail, Fate::Here),
        ] {
            if !data.is_empty() {
                self.write(Op::Write(at, data, fate));
            }
        }
    }

    /// The page cache lets go of all that is not waiting to be written.
    pub(super) fn evict(&mut self) {
        self.now = self.durable.clone();
        for op in &self.pending {
            op.apply(&mut self.now);
        }
        self.diverged = false;
    }

    /// Brings everything that is pending to the disk; answers what went astray.
    pub(super) fn sync(&mut self) -> Vec<Stray> {
        let mut strays = Vec::new();
        for op in std::mem::take(&mut self.pending) {
            match &op {
                Op::Write(_, data, fate) if *fate != Fate::Here => {
                    let len = op.len_after(self.durable.len());
                    self.durable.resize(len, 0);
                    self.diverged = true;
                    strays.extend(Stray::of(*fate, data));
                }
                op => op.apply(&mut self.durable),
            }
        }
        strays
    }

    /// Brings any part of what is pending to the disk, and forgets the rest; answers what went astray.
    pub(super) fn settle(&mut self, rng: &mut ChaCha8Rng) -> Vec<Stray> {
        let pending = std::mem::take(&mut self.pending);
        let mut strays = Vec::new();
        if pending.is_empty() {
            return strays;
        }
        // The length is journaled in order: it is that of one moment.
        let moment = rng.random_range(0..=pending.len());
        let mut lens = vec![self.durable.len()];
        for op in &pending {
            lens.push(op.len_after(lens[lens.len() - 1]));
        }
        let most = lens.iter().copied().max().unwrap_or_default();
        self.durable.resize(most, 0);
        let mode = rng.random_range(0..8);
        let mut upto = BTreeMap::new();
        for (i, op) in pending.iter().enumerate() {
            match op {
                Op::Write(at, data, fate) => {
                    let (mut from, end) = (*at, at + data.len());
                    while from < end {
                        let sector = from / SECTOR;
                        let to = end.min((sector + 1) * SECTOR);
                        let arrives = match mode {
                            0 => false,
                            1 => true,
                            2..=4 => rng.random(),
                            _ => {
                                let n = pending.len();
                                i < *upto
                                    .entry(sector)
                                    .or_insert_with(|| rng.random_range(0..=n))
                            }
                        };
                        if arrives && *fate == Fate::Here {
                            self.durable[from..to].copy_from_slice(&data[from - at..to - at]);
                        } else if arrives {
                            let fate = match *fate {
                                Fate::Astray(inode, there) => {
                                    Fate::Astray(inode, there + from - at)
                                }
                                fate => fate,
                            };
                            strays.extend(Stray::of(fate, &data[from - at..to - at]));
                        }
                        from = to;
                    }
                }
                Op::SetLen(len) if i < moment => self.durable[*len..].fill(0),
                Op::SetLen(_) => {}
            }
        }
        self.durable.truncate(lens[moment]);
        strays
    }
}

impl Stray {
    fn of(fate: Fate, data: &[u8]) -> Option<Self> {
        match fate {
            Fate::Astray(inode, at) => Some(Self(inode, at, data.to_vec())),
            Fate::Here | Fate::Lost => None,
        }
    }

    /// Lies down over what is there, and makes no file longer.
    pub(super) fn land(&self, inodes: &mut BTreeMap<u64, Inode>) {
        let Self(inode, at, data) = self;
        let Some(inode) = inodes.get_mut(inode) else {
            return;
        };
        let end = (at + data.len()).min(inode.durable.len());
        if *at < end {
            inode.durable[*at..end].copy_from_slice(&data[..end - at]);
            inode.diverged = true;
        }
    }
}
