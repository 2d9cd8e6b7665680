//! One writer: a store whose folder was copied is noticed before it can sign.
//!
//! The superblock carries the inode, the birth time and a nonce (an extended attribute) of its own file. A folder that was moved, or a machine that was
//! started again, has all three as they were; a copy, a restored backup and a move to another filesystem have not. Such a store opens *recovering*: it reads
//! and writes, but whoever signs asks [`Store::is_recovering`] first. Which of two copies is the one that goes on cannot be seen from the disk.
//!
//! What is compared: the nonce, where the stamp has one; the birth time, where the filesystem knows it, else the inode (some filesystems give out inodes
//! anew at each mount, none a birth time). A filesystem or disk that was copied as a whole, or put back to an earlier state, is not noticed: everything is as
//! it was. That is for the peers to notice, who have a longer history.

use crate::{
    Options, Store,
    error::{Error, Op},
    format::{SUPERBLOCK, Stamp, Superblock},
    superblock::Switch,
};
use pome_wal::{Device, FileStamp};
use std::sync::atomic::Ordering;

/// True when `now` is what the file has that was stamped so.
fn is_same(stamp: &Stamp, now: &FileStamp) -> bool {
    let birth_known = stamp.born_ns != 0 && now.birth_ns != 0;
    stamp.nonce == now.nonce
        && match birth_known {
            true => stamp.born_ns == now.birth_ns,
            false => stamp.inode == now.inode,
        }
}

/// Stamps the superblock's file. `None` where nothing tells a file from its copy.
pub(crate) fn make_stamp(device: &dyn Device, options: &Options) -> Result<Option<Stamp>, Error> {
    let io = |e| Error::io(Op::Write, SUPERBLOCK, e);
    let now = device.stamp(SUPERBLOCK).map_err(io)?;
    if now == FileStamp::default() {
        return Ok(None);
    }
    let nonce = options.new_nonce(now.inode).map_err(io)?;
    let kept = device.set_nonce(SUPERBLOCK, nonce).map_err(io)?;
    Ok(Some(Stamp {
        inode: now.inode,
        born_ns: now.birth_ns,
        nonce: if kept { nonce } else { [0; 16] },
    }))
}

impl Superblock {
    /// The stamp as it lies in the slot.
    pub(crate) fn stamp_bytes(&self) -> [u8; 32] {
        let mut out = [0; 32];
        if let Some(stamp) = &self.stamp {
            out[..8].copy_from_slice(&stamp.inode.to_le_bytes());
            out[8..16].copy_from_slice(&stamp.born_ns.to_le_bytes());
            out[16..].copy_from_slice(&stamp.nonce);
        }
        out
    }

    /// That of a store which is made from this one elsewhere.
    pub(crate) fn for_a_copy(&self) -> Self {
        let mut copy = *self;
        copy.stamp = None;
        copy.begin_recovering();
        copy
    }

    fn begin_recovering(&mut self) {
        self.recovering = true;
        self.recoveries = self.recoveries.saturating_add(1);
    }
}

impl Switch {
    /// Compares the stamp with the file that carries it. One that is missing is set; where another is found the store is recovering from now on. Nothing
    /// is written when `read_only`.
    pub(crate) fn check_stamp(
        &mut self,
        device: &dyn Device,
        options: &Options,
    ) -> Result<(), Error> {
        let now = device
            .stamp(SUPERBLOCK)
            .map_err(|e| Error::io(Op::Read, SUPERBLOCK, e))?;
        let stamp = self.superblock().stamp;
        let is_copy = match &stamp {
            // The device cannot say.
            _ if now == FileStamp::default() => return Ok(()),
            Some(stamp) if is_same(stamp, &now) => return Ok(()),
            stamp => stamp.is_some(),
        };
        if is_copy {
            tracing::warn!("the folder of the store is a copy: it is recovering");
        }
        let change = |stamp: Option<Stamp>| {
            move |superblock: &mut Superblock| {
                superblock.stamp = stamp;
                if is_copy {
                    superblock.begin_recovering();
                }
            }
        };
        if options.read_only {
            self.change_in_memory(change(stamp));
            return Ok(());
        }
        // The file first: a crash in between leaves a stamp that does not fit, and all of this is done again.
        let new = make_stamp(device, options)?;
        let before = *self.superblock();
        let written = self.change(|superblock| {
            superblock.recovering = before.recovering;
            superblock.recoveries = before.recoveries;
            change(new)(superblock);
        });
        match written {
            // A store on a full disk opens all the same, and is stamped when there is room.
            Err(Error::Full { .. }) => {
                self.change_in_memory(change(new));
                Ok(())
            }
            written => written,
        }
    }
}

impl Store {
    /// True when this may not be the only copy of the store: its folder was copied or moved to another filesystem, it was restored from a backup, or a
    /// repair gave up commits that were there. Whoever signs with keys that lie in it must not, until it is known that nobody has signed more with them:
    /// see [`adopt`](Self::adopt). Reading, and writing what others have signed, is fine. Costs nothing.
    pub fn is_recovering(&self) -> bool {
        self.inner().recovering.load(Ordering::Acquire)
    }

    /// How often the store began to recover, the present time included; `None` when it is not [recovering](Self::is_recovering). What was found out about
    /// a core while it recovered holds for that time alone.
    pub fn recovering(&self) -> Option<u32> {
        let switch = self.inner().switch.lock();
        let superblock = switch.superblock();
        superblock.recovering.then_some(superblock.recoveries)
    }

    /// The word of a person that no other copy of this store is in use, or ever will be; or of the program, after it has asked the peers. From now on, and
    /// after every later open, the store is not [recovering](Self::is_recovering). On disk when this returns. False when it was not.
    ///
    /// # Errors
    /// `ReadOnly`; `Full`, `Io`: it is recovering still. `Poisoned`, `Closed`.
    pub fn adopt(&self) -> Result<bool, Error> {
        self.set_recovering(false)
    }

    /// Begins or ends the recovering; false when that changes nothing.
    pub(crate) fn set_recovering(&self, recovering: bool) -> Result<bool, Error> {
        let inner = self.inner();
        inner.alive()?;
        if inner.options.read_only {
            return Err(Error::ReadOnly {
                store: inner.name.clone(),
            });
        }
        let mut switch = inner.switch.lock();
        if switch.superblock().recovering == recovering {
            return Ok(false);
        }
        let begun = switch.superblock().recoveries.saturating_add(1);
        if recovering {
            // Before it is on disk: nobody may sign meanwhile.
            inner.recovering.store(true, Ordering::Release);
        }
        // The file first: a crash in between leaves a stamp that does not fit, and the store recovering as it was.
        let stamp = match recovering {
            true => switch.superblock().stamp,
            false => make_stamp(&*inner.device, &inner.options)?,
        };
        let changed = switch.change(|superblock| {
            superblock.stamp = stamp;
            superblock.recovering = recovering;
            if recovering {
                superblock.recoveries = begun;
            }
        });
        changed.map_err(|e| inner.poison(e))?;
        inner.recovering.store(recovering, Ordering::Release);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_on_both_sides_is_compared() {
        let stamp = Stamp {
            inode: 1,
            born_ns: 2,
            nonce: [3; 16],
        };
        let now = |inode, birth_ns, nonce| FileStamp {
            inode,
            birth_ns,
            nonce: [nonce; 16],
        };
        assert!(is_same(&stamp, &now(1, 2, 3)));
        assert!(!is_same(&stamp, &now(1, 2, 4)));
        assert!(
            !is_same(&stamp, &now(1, 2, 0)),
            "the attribute was not copied"
        );
        assert!(!is_same(&stamp, &now(1, 9, 3)));
        assert!(
            is_same(&stamp, &now(9, 2, 3)),
            "inodes that change at a mount"
        );
        assert!(
            !is_same(&stamp, &now(9, 0, 3)),
            "no birth times: the inode tells"
        );
        let bare = Stamp {
            born_ns: 0,
            nonce: [0; 16],
            ..stamp
        };
        assert!(is_same(&bare, &now(1, 2, 0)));
        assert!(!is_same(&bare, &now(9, 2, 0)));
    }
}
