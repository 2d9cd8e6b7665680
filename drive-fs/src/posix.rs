//! What a POSIX file has and a drive entry has not, kept in the entry's `metadata` under the name `posix`.
//!
//! ```json
//! {"posix": {"mode": 416, "uid": 1000, "gid": 1000, "mtime": [1700000000, 5], "xattrs": {"user.a": "6869"}, "dir": true}}
//! ```
//! Every field may be missing; a missing one means the default (below). JavaScript peers show `metadata` to their caller and
//! otherwise ignore it. Other names in `metadata` are left as they are.
//!
//! - `mode`: the twelve permission bits, set-uid, set-gid and sticky included. Default: 0755 where the entry is `executable`
//!   or a folder, else 0644. The owner's execute bit is the entry's own `executable`, which wins.
//! - `uid`, `gid`: owner and group. Default: whoever mounts or exports.
//! - `mtime`: seconds (may be negative) and nanoseconds since 1970.
//! - `xattrs`: extended attributes, values in hexadecimal.
//! - `dir`: the entry describes a folder. Such entries stand under the database key `folders`, NUL, path, `/`, beside the
//!   files' `files`, NUL, path, and have the same form: so they replicate with the drive, and a JavaScript peer, which knows files
//!   only, never sees them. A folder has one only if it is empty or if something about it differs from the defaults.
//! - `type`: `"fifo"`, `"socket"`, `"char"` or `"block"`: the entry has no content and is such a thing; devices have `rdev`, `[major, minor]`.
//! - `link`: `["0123456789abcdef", 2]`: the file has that many names (hard links), and all entries with this number are the same file: each has the
//!   same content and metadata, so that a JavaScript peer sees ordinary files that share one blob. For each name the database also has a row
//!   `links`, NUL, number, NUL, path, with the value `{}`, where JavaScript peers do not look: by these rows all names are found when the file
//!   changes. An entry without its row (one that was copied with its metadata) counts as a file of its own.
//!
//! A symlink entry that has a `posix` object was made on a POSIX file system: its `linkname` is the target as `readlink` gives it.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Seconds and nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Timestamp {
    /// Whole seconds; negative before 1970.
    pub seconds: i64,
    /// 0 … 999,999,999.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// The time of the system's clock as a timestamp.
    pub fn from_system(time: std::time::SystemTime) -> Self {
        match time.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => Self {
                seconds: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
                nanoseconds: after.subsec_nanos(),
            },
            Err(before) => {
                let before = before.duration();
                let seconds = -i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
                match before.subsec_nanos() {
                    0 => Self {
                        seconds,
                        nanoseconds: 0,
                    },
                    nanoseconds => Self {
                        seconds: seconds.saturating_sub(1),
                        nanoseconds: 1_000_000_000 - nanoseconds,
                    },
                }
            }
        }
    }

    /// As a time of the system's clock; `None` when that cannot hold it.
    pub fn to_system(self) -> Option<std::time::SystemTime> {
        use std::time::{Duration, UNIX_EPOCH};
        let whole = Duration::from_secs(self.seconds.unsigned_abs());
        let second = if self.seconds < 0 {
            UNIX_EPOCH.checked_sub(whole)?
        } else {
            UNIX_EPOCH.checked_add(whole)?
        };
        second.checked_add(Duration::from_nanos(u64::from(self.nanoseconds)))
    }
}

/// What an entry without content can be besides an empty file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Special {
    /// A named pipe.
    Fifo,
    /// A socket of the local machine.
    Socket,
    /// A character device.
    Char {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

/// Which file of several names an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HardLink {
    /// The file's number in this drive.
    pub id: u64,
    /// How many names it had when the entry was written.
    pub count: u32,
}

/// The `posix` object of an entry's metadata. See the [module](self) for the form and the defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PosixMetadata {
    /// Permission bits, 0 … 0o7777.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// When the content last changed.
    pub mtime: Option<Timestamp>,
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// True in the entry of a folder.
    pub dir: bool,
    /// What it is, if no file, folder or symlink.
    pub special: Option<Special>,
    /// Set where it has several names.
    pub link: Option<HardLink>,
}

/// The name under which [`PosixMetadata`] stands in an entry's metadata.
pub const POSIX: &str = "posix";

impl PosixMetadata {
    /// The permission bits that an entry without `mode` has.
    pub fn default_mode(executable: bool) -> u32 {
        if executable { 0o755 } else { 0o644 }
    }

    /// Sets `mode`, or leaves it out where it is the default for such an entry.
    #[must_use]
    pub fn with_mode(mut self, mode: u32, executable: bool) -> Self {
        let mode = mode & 0o7777;
        self.mode = (mode != Self::default_mode(executable)).then_some(mode);
        self
    }

    /// The permission bits of an entry: `mode` or the default, with the owner's execute bit as the entry's `executable` says.
    /// For a folder, pass `executable: true`.
    pub fn mode_of(&self, executable: bool) -> u32 {
        match self.mode {
            None => Self::default_mode(executable),
            Some(mode) if executable => mode | 0o100,
            Some(mode) => mode & !0o100,
        }
    }

    /// True when every field has its default: then nothing is written.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The `posix` part of an entry's metadata. A field of the wrong kind counts as missing: metadata is anybody's, so it is no error.
    pub fn decode(metadata: Option<&Value>) -> Self {
        let Some(posix) = metadata
            .and_then(|m| m.get(POSIX))
            .and_then(Value::as_object)
        else {
            return Self::default();
        };
        let number = |name: &str| {
            posix
                .get(name)
                .and_then(Value::as_u64)
                .and_then(|n| u32::try_from(n).ok())
        };
        let mtime = posix.get("mtime").and_then(Value::as_array).and_then(|t| {
            let nanoseconds = u32::try_from(t.get(1)?.as_u64()?).ok()?;
            (nanoseconds < 1_000_000_000).then_some(Timestamp {
                seconds: t.first()?.as_i64()?,
                nanoseconds,
            })
        });
        let xattrs = posix.get("xattrs").and_then(Value::as_object).map(|all| {
            all.iter()
                .filter_map(|(name, value)| Some((name.clone(), from_hex(value.as_str()?)?)))
                .collect()
        });
        Self {
            mode: number("mode").map(|mode| mode & 0o7777),
            uid: number("uid"),
            gid: number("gid"),
            mtime,
            xattrs: xattrs.unwrap_or_default(),
            dir: posix.get("dir").and_then(Value::as_bool).unwrap_or(false),
            special: special_of(posix),
            link: posix.get("link").and_then(link_of),
        }
    }

    /// True when the metadata has a `posix` object, even an empty one.
    pub fn is_in(metadata: Option<&Value>) -> bool {
        metadata
            .and_then(|m| m.get(POSIX))
            .is_some_and(Value::is_object)
    }

    /// `metadata` with this as its `posix` part. With every field at its default the part is left out, and metadata that
    /// would then be an empty object becomes `None`. Metadata that is no object is kept in `value` beside it.
    pub fn encode_into(&self, metadata: Option<Value>) -> Option<Value> {
        let mut all = match metadata {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(all)) => all,
            Some(other) if self.is_default() => return Some(other),
            Some(other) => Map::from_iter([("value".to_owned(), other)]),
        };
        all.shift_remove(POSIX);
        if !self.is_default() {
            all.insert(POSIX.to_owned(), self.to_value());
        }
        (!all.is_empty()).then_some(Value::Object(all))
    }

    fn to_value(&self) -> Value {
        let mut posix = Map::new();
        for (name, number) in [("mode", self.mode), ("uid", self.uid), ("gid", self.gid)] {
            if let Some(number) = number {
                posix.insert(name.to_owned(), number.into());
            }
        }
        if let Some(mtime) = self.mtime {
            posix.insert(
                "mtime".to_owned(),
                json!([mtime.seconds, mtime.nanoseconds]),
            );
        }
        if !self.xattrs.is_empty() {
            let xattrs = self.xattrs.iter();
            let xattrs = xattrs.map(|(name, value)| (name.clone(), to_hex(value).into()));
            posix.insert("xattrs".to_owned(), Value::Object(xattrs.collect()));
        }
        if self.dir {
            posix.insert("dir".to_owned(), true.into());
        }
        if let Some(special) = self.special {
            let (kind, rdev) = match special {
                Special::Fifo => ("fifo", None),
                Special::Socket => ("socket", None),
                Special::Char { major, minor } => ("char", Some((major, minor))),
                Special::Block { major, minor } => ("block", Some((major, minor))),
            };
            posix.insert("type".to_owned(), kind.into());
            if let Some((major, minor)) = rdev {
                posix.insert("rdev".to_owned(), json!([major, minor]));
            }
        }
        if let Some(link) = self.link {
            let id = link_text(link.id);
            posix.insert("link".to_owned(), json!([id, link.count]));
        }
        Value::Object(posix)
    }
}

fn special_of(posix: &Map<String, Value>) -> Option<Special> {
    let rdev = |at: usize| {
        let numbers = posix.get("rdev").and_then(Value::as_array)?;
        u32::try_from(numbers.get(at)?.as_u64()?).ok()
    };
    match posix.get("type")?.as_str()? {
        "fifo" => Some(Special::Fifo),
        "socket" => Some(Special::Socket),
        "char" => Some(Special::Char {
            major: rdev(0)?,
            minor: rdev(1)?,
        }),
        "block" => Some(Special::Block {
            major: rdev(0)?,
            minor: rdev(1)?,
        }),
        _ => None,
    }
}

/// The number of a file of several names as it stands in the database.
pub(crate) fn link_text(id: u64) -> String {
    format!("{id:016x}")
}

fn link_of(value: &Value) -> Option<HardLink> {
    let parts = value.as_array()?;
    let text = parts.first()?.as_str()?;
    let id = u64::from_str_radix(text, 16).ok()?;
    // One form only: the rows of the names are found by it.
    if link_text(id) != text {
        return None;
    }
    let count = u32::try_from(parts.get(1)?.as_u64()?).ok()?;
    Some(HardLink { id, count })
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or('0');
    bytes
        .iter()
        .flat_map(|b| [digit(b >> 4), digit(b & 15)])
        .collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect();
    let digits = digits?;
    if digits.len() % 2 == 1 {
        return None;
    }
    Some(digits.chunks_exact(2).map(|d| d[0] << 4 | d[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn other_metadata_stays() {
        let posix = PosixMetadata {
            uid: Some(7),
            ..PosixMetadata::default()
        };
        let with = posix.encode_into(Some(json!({"a": 1, "posix": {"gid": 3}})));
        assert_eq!(with, Some(json!({"a": 1, "posix": {"uid": 7}})));
        let without = PosixMetadata::default().encode_into(with);
        assert_eq!(without, Some(json!({"a": 1})));
        assert_eq!(PosixMetadata::default().encode_into(Some(json!({}))), None);
        let text = posix.encode_into(Some(json!("text")));
        assert_eq!(text, Some(json!({"value": "text", "posix": {"uid": 7}})));
    }

    #[test]
    fn wrong_kinds_count_as_missing() {
        let metadata = json!({"posix": {"mode": -1, "uid": "x", "gid": 1u64 << 40, "mtime": [1, 1_000_000_000],
            "xattrs": {"a": "0", "b": 1, "c": "zz"}, "dir": 1, "type": "char", "rdev": [1], "link": ["0x1", 2]}});
        assert!(PosixMetadata::decode(Some(&metadata)).is_default());
        assert!(PosixMetadata::decode(Some(&json!([1]))).is_default());
        assert!(PosixMetadata::decode(None).is_default());
    }

    #[test]
    fn executable_wins_over_mode() {
        let posix = PosixMetadata::default().with_mode(0o644, true);
        assert_eq!(posix.mode, Some(0o644));
        assert_eq!(posix.mode_of(true), 0o744);
        assert_eq!(posix.mode_of(false), 0o644);
        assert_eq!(PosixMetadata::default().with_mode(0o755, true).mode, None);
    }

    proptest! {
        #[test]
        fn encode_then_decode(mode in proptest::option::of(0u32..0o10000), uid: Option<u32>, gid: Option<u32>, dir: bool,
            mtime in proptest::option::of((any::<i64>(), 0u32..1_000_000_000)),
            xattrs in proptest::collection::btree_map("[a-z.]{1,8}", any::<Vec<u8>>(), 0..3),
            special in proptest::option::of((0u8..4, any::<u32>(), any::<u32>())), link in proptest::option::of(any::<(u64, u32)>())) {
            let link = link.map(|(id, count)| HardLink { id, count });
            let special = special.map(|(kind, major, minor)| match kind {
                0 => Special::Fifo,
                1 => Special::Socket,
                2 => Special::Char { major, minor },
                _ => Special::Block { major, minor },
            });
            let mtime = mtime.map(|(seconds, nanoseconds)| Timestamp { seconds, nanoseconds });
            let posix = PosixMetadata { mode, uid, gid, mtime, xattrs, dir, special, link };
            let metadata = posix.encode_into(None);
            prop_assert_eq!(metadata.is_none(), posix.is_default());
            let text = serde_json::to_string(&metadata).unwrap();
            let back: Option<Value> = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(PosixMetadata::decode(back.as_ref()), posix);
        }

        #[test]
        fn times_of_the_system(seconds in -4_000_000_000i64..4_000_000_000, nanoseconds in 0u32..1_000_000_000) {
            let time = Timestamp { seconds, nanoseconds };
            prop_assert_eq!(time.to_system().map(Timestamp::from_system), Some(time));
        }
    }
}
