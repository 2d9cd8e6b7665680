//! What may go wrong on a simulated disk.

/// What shall go wrong. Counts begin at 1 with the next call after [`SimDevice::set_faults`](super::SimDevice::set_faults); each
/// fires once, but for the space.
///
/// The first group is what a disk may do that keeps its word: everything that was synced stays. The second is a disk that does not;
/// there nothing wrong may be handed out, and nothing that is undamaged may be lost.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Faults {
    /// The disk is full (ENOSPC) when all files together would have more bytes than this.
    pub space_bytes: Option<u64>,
    /// From the n-th call of any kind on the disk is full, for [`full_calls`](Self::full_calls) calls: no file grows, and half of the
    /// attempts to create one fail. Then space returns.
    pub full_from: Option<u64>,
    /// How many calls a full disk lasts.
    pub full_calls: u64,
    /// The n-th read of any kind (bytes, a length, the names, a stamp) fails with EIO.
    pub fail_read: Option<u64>,
    /// The n-th write fails with EIO.
    pub fail_write: Option<u64>,
    /// The n-th sync, of a file or of the folder, fails with EIO. The next one of the same file answers "fine" and has written
    /// nothing, as on Linux.
    pub fail_sync: Option<u64>,
    /// The n-th call of any kind that may fail fails with EIO.
    pub fail_call: Option<u64>,
    /// The process dies in the n-th call of any kind: a write is done in part, and every later call of this life fails. Follow
    /// with [`SimDevice::kill`](super::SimDevice::kill) or [`SimDevice::power_cut`](super::SimDevice::power_cut).
    pub stop_at: Option<u64>,

    /// The n-th write is misdirected: some of its sectors reach the disk at another place, in any file, over what was there. Reads
    /// see the right bytes in both places until the page cache lets them go: [`SimDevice::evict`](super::SimDevice::evict), a power
    /// cut, perhaps a kill.
    pub misdirect_write: Option<u64>,
    /// Some sectors of the n-th write never reach the disk, though it is synced: they are stale when the page cache has let
    /// them go.
    pub lose_write: Option<u64>,
    /// The n-th sync of a file answers "fine" and syncs nothing; what was written is still pending, so a later sync brings it.
    pub skip_sync: Option<u64>,
    /// The n-th sync of the folder answers "fine" and syncs nothing, as if it had been forgotten.
    pub skip_sync_dir: Option<u64>,
}
