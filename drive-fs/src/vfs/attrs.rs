//! A file's mode, owner, times and extended attributes, and how they come from and go into a drive entry.

use super::lower::LowerEntry;
use crate::posix::{HardLink, PosixMetadata, Special, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A moment, in seconds and nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Time(
    /// Whole seconds; negative before 1970.
    pub i64,
    /// 0 … 999,999,999.
    pub u32,
);

impl Time {
    /// The clock's time.
    pub fn now() -> Self {
        std::time::SystemTime::now().into()
    }
}

impl From<std::time::SystemTime> for Time {
    fn from(time: std::time::SystemTime) -> Self {
        Timestamp::from_system(time).into()
    }
}

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        Self(time.seconds, time.nanoseconds)
    }
}

impl From<Time> for Timestamp {
    fn from(time: Time) -> Self {
        Self {
            seconds: time.0,
            nanoseconds: time.1,
        }
    }
}

impl From<Time> for std::time::SystemTime {
    fn from(time: Time) -> Self {
        Timestamp::from(time)
            .to_system()
            .unwrap_or(Self::UNIX_EPOCH)
    }
}

/// What `stat` shows of an inode besides its kind and size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attrs {
    /// The twelve permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Content changed.
    pub mtime: Time,
    /// Inode changed. Not in the drive: after a remount it is the mtime.
    pub ctime: Time,
    /// Read. Only what was set, else the mtime; not in the drive.
    pub atime: Time,
    /// A folder's times count as its own (and go into its description) only when they were set on purpose.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mtime_set: bool,
    /// Extended attributes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// Metadata that others have put beside ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign: Option<serde_json::Value>,
}

/// Whose files are they that do not say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Permission bits of a folder that says nothing.
pub(crate) const FOLDER_MODE: u32 = 0o755;
const LINK_MODE: u32 = 0o777;

impl Attrs {
    /// Of something made now.
    pub(crate) fn new(mode: u32, owner: Owner) -> Self {
        let now = Time::now();
        Self {
            mode: mode & 0o7777,
            uid: owner.uid,
            gid: owner.gid,
            mtime: now,
            ctime: now,
            atime: now,
            mtime_set: false,
            xattrs: BTreeMap::new(),
            foreign: None,
        }
    }

    fn from_posix(
        posix: PosixMetadata,
        mode: u32,
        owner: Owner,
        metadata: Option<&serde_json::Value>,
    ) -> Self {
        let mtime = posix.mtime.map(Time::from).unwrap_or_default();
        Self {
            mode,
            uid: posix.uid.unwrap_or(owner.uid),
            gid: posix.gid.unwrap_or(owner.gid),
            mtime,
            ctime: mtime,
            atime: mtime,
            mtime_set: posix.mtime.is_some(),
            xattrs: posix.xattrs,
            foreign: PosixMetadata::default().encode_into(metadata.cloned()),
        }
    }

    /// Of an entry of the drive.
    pub(crate) fn of_entry(entry: &LowerEntry, owner: Owner) -> Self {
        let posix = PosixMetadata::decode(entry.metadata.as_ref());
        let mode = if entry.linkname.is_some() {
            LINK_MODE
        } else {
            posix.mode_of(entry.executable)
        };
        Self::from_posix(posix, mode, owner, entry.metadata.as_ref())
    }

    /// Of a folder with this description, or with none.
    pub(crate) fn of_folder(description: Option<&PosixMetadata>, owner: Owner) -> Self {
        let posix = description.cloned().unwrap_or_default();
        let mode = posix.mode.unwrap_or(FOLDER_MODE);
        Self::from_posix(posix, mode, owner, None)
    }

    fn posix(&self, owner: Owner) -> PosixMetadata {
        PosixMetadata {
            mode: None,
            uid: (self.uid != owner.uid).then_some(self.uid),
            gid: (self.gid != owner.gid).then_some(self.gid),
            mtime: Some(self.mtime.into()),
            xattrs: self.xattrs.clone(),
            ..PosixMetadata::default()
        }
    }

    /// The executable flag and the metadata of the entry of a file, or of something special.
    pub(crate) fn file_metadata(
        &self,
        owner: Owner,
        special: Option<Special>,
        link: Option<HardLink>,
    ) -> (bool, Option<serde_json::Value>) {
        let executable = self.mode & 0o100 != 0;
        let posix = PosixMetadata {
            special,
            link,
            ..self.posix(owner).with_mode(self.mode, executable)
        };
        (executable, posix.encode_into(self.foreign.clone()))
    }

    /// The metadata of a symlink's entry.
    pub(crate) fn link_metadata(
        &self,
        owner: Owner,
        link: Option<HardLink>,
    ) -> Option<serde_json::Value> {
        let posix = PosixMetadata {
            link,
            ..self.posix(owner)
        };
        posix.encode_into(self.foreign.clone())
    }

    /// The description of a folder.
    pub(crate) fn description(&self, owner: Owner) -> PosixMetadata {
        PosixMetadata {
            mode: (self.mode != FOLDER_MODE).then_some(self.mode),
            mtime: self.mtime_set.then_some(self.mtime.into()),
            ..self.posix(owner)
        }
    }

    /// True when a folder with something in it needs a description for these.
    pub(crate) fn needs_description(&self, owner: Owner) -> bool {
        !self.description(owner).is_default()
    }
}
