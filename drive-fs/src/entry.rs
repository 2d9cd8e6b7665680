//! What the database holds for a path: one JSON text under the key `files`, NUL, path.
//!
//! ```json
//! {"executable":false,"linkname":null,"blob":{"blockOffset":0,"byteOffset":0,"blockLength":1,"byteLength":11},"metadata":null}
//! ```
//! The order is npm's and part of the bytes. Reading takes the fields in any order, ignores those it does not know and takes
//! a missing one for its default.
//! Source: hyperdrive 13.3.4, `index.js`, `putEntry`; hyperblobs 2.12.1, `lib/streams.js`. Vectors: `drive.json`, `scenarios`.

use crate::{Error, json, path, posix::PosixMetadata};
use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;
use std::{fmt, io::Write as _};

/// The key prefix of all entries in the database.
pub(crate) const FILES: &[u8] = b"files\0";

/// The key prefix of the descriptions of folders (see [`posix`](crate::posix)).
pub(crate) const FOLDERS: &[u8] = b"folders\0";

/// The database key of a stored path (or of the beginning of one) in one of the two spaces.
pub(crate) fn key_of(space: &[u8], path: &str) -> Vec<u8> {
    [space, path.as_bytes()].concat()
}

/// The database key of a file's stored path.
pub(crate) fn database_key(path: &str) -> Vec<u8> {
    key_of(FILES, path)
}

/// The database key of a folder's description. The `/` at the end gives the folder the place that its content has.
pub(crate) fn folder_key(folder: &str) -> Vec<u8> {
    key_of(FOLDERS, &format!("{folder}/"))
}

/// The key prefix of the names of files of several names (see [`posix`](crate::posix)).
const LINKS: &str = "links\0";

/// The database key that notes that a stored path is a name of the file of several names with this number.
pub(crate) fn link_key(id: u64, path: &str) -> Vec<u8> {
    format!("{LINKS}{}\0{path}", crate::posix::link_text(id)).into_bytes()
}

/// The end (exclusive) of all such keys of one file.
pub(crate) fn link_key_end(id: u64) -> Vec<u8> {
    format!("{LINKS}{}\x01", crate::posix::link_text(id)).into_bytes()
}

/// Where a file's content lies in the content core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct BlobId {
    /// First block.
    pub block_offset: u64,
    /// Byte at which the first block starts.
    pub byte_offset: u64,
    /// How many blocks. 0 for an empty file.
    pub block_length: u64,
    /// How many bytes. Where `block_map` is set, of the map, not of the file.
    pub byte_length: u64,
    /// The blocks hold a list of blocks instead of the content (deduplicated files, as `pear stage` writes them).
    pub block_map: bool,
}

/// What an entry says about its path.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EntryValue {
    /// The owner may execute it.
    pub executable: bool,
    /// The target, for a symlink.
    pub linkname: Option<String>,
    /// The content, for a file.
    pub blob: Option<BlobId>,
    /// What the writer added; any JSON.
    pub metadata: Option<Value>,
}

/// One path of a drive.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The block of the database core that wrote it: the version before it, counted from 0.
    pub seq: u64,
    /// The stored path, with a leading `/` (npm's `key`).
    pub path: String,
    /// What it is.
    pub value: EntryValue,
}

impl Entry {
    /// Size in bytes as the entry tells it: 0 for a link, the map's size for a block-map blob.
    pub fn byte_length(&self) -> u64 {
        self.value.blob.map_or(0, |blob| blob.byte_length)
    }

    /// True for a symlink.
    pub fn is_symlink(&self) -> bool {
        self.value.linkname.is_some()
    }

    /// The POSIX part of the metadata.
    pub fn posix(&self) -> PosixMetadata {
        self.value.posix()
    }

    pub(crate) fn decode(seq: u64, key: &[u8], value: Option<&[u8]>) -> Result<Self, Error> {
        let prefixes = [FILES, FOLDERS];
        let path = prefixes.iter().find_map(|p| key.strip_prefix(*p));
        let path = path.unwrap_or(key);
        let path = String::from_utf8_lossy(path).into_owned();
        match EntryValue::decode(value.unwrap_or_default()) {
            Ok(value) => Ok(Self { seq, path, value }),
            Err(field) => Err(Error::BadEntry { path, seq, field }),
        }
    }
}

impl EntryValue {
    /// A file with this content.
    pub fn file(blob: BlobId) -> Self {
        Self {
            blob: Some(blob),
            ..Self::default()
        }
    }

    /// A symlink to `target`, stored as given.
    pub fn symlink(target: impl Into<String>) -> Self {
        Self {
            linkname: Some(target.into()),
            ..Self::default()
        }
    }

    /// The POSIX part of the metadata.
    pub fn posix(&self) -> PosixMetadata {
        PosixMetadata::decode(self.metadata.as_ref())
    }

    /// The JSON text that stands in the database.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(160);
        self.write(&mut out)
            .expect("writing to memory does not fail");
        out.into()
    }

    fn write(&self, out: &mut Vec<u8>) -> std::io::Result<()> {
        write!(out, "{{\"executable\":{},\"linkname\":", self.executable)?;
        out.extend(json::to_vec(&self.linkname));
        match &self.blob {
            None => write!(out, ",\"blob\":null")?,
            Some(blob) => {
                write!(
                    out,
                    ",\"blob\":{{\"blockOffset\":{},\"byteOffset\":{},\"blockLength\":{},\"byteLength\":{}",
                    blob.block_offset, blob.byte_offset, blob.block_length, blob.byte_length
                )?;
                if blob.block_map {
                    write!(out, ",\"blockMap\":true")?;
                }
                out.push(b'}');
            }
        }
        write!(out, ",\"metadata\":")?;
        out.extend(json::to_vec(&self.metadata));
        out.push(b'}');
        Ok(())
    }

    /// Reads the JSON text of the database. The error names the field that is wrong.
    pub(crate) fn decode(text: &[u8]) -> Result<Self, &'static str> {
        match serde_json::from_slice::<Usual>(text) {
            Ok(usual) => usual.into_value(),
            Err(_) => Self::decode_leniently(text),
        }
    }

    /// Whatever the fields are that nobody needs; of those that come twice the last counts.
    fn decode_leniently(text: &[u8]) -> Result<Self, &'static str> {
        let value: Value = serde_json::from_slice(text).map_err(|_| "JSON")?;
        let Value::Object(mut fields) = value else {
            return Err("JSON");
        };
        let linkname = match fields.shift_remove("linkname") {
            None | Some(Value::Null) => None,
            // npm takes an empty target for no link
            Some(Value::String(target)) => (!target.is_empty()).then_some(target),
            Some(_) => return Err("linkname"),
        };
        let blob = match fields.get("blob") {
            None | Some(Value::Null) => None,
            Some(blob) => Some(BlobId::decode(blob)?),
        };
        Ok(Self {
            executable: fields.get("executable").and_then(Value::as_bool) == Some(true),
            linkname,
            blob,
            metadata: fields.shift_remove("metadata").filter(|m| !m.is_null()),
        })
    }
}

/// An entry, or where its content lies, whose fields are what they should be: it is read without a list of all of them.
#[derive(Default)]
struct Usual {
    entry: EntryValue,
    numbers: [Option<u64>; 4],
    block_map: bool,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Field {
    Executable,
    Linkname,
    Blob,
    Metadata,
    BlockOffset,
    ByteOffset,
    BlockLength,
    ByteLength,
    BlockMap,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Usual {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self::default())
    }
}

impl<'de> Visitor<'de> for Usual {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(field) = map.next_key()? {
            match field {
                Field::Executable => self.entry.executable = map.next_value()?,
                Field::Linkname => self.entry.linkname = map.next_value()?,
                Field::Blob => {
                    let blob: Option<Self> = map.next_value()?;
                    self.entry.blob = blob.map(Self::into_blob).transpose()?;
                }
                Field::Metadata => self.entry.metadata = map.next_value()?,
                Field::BlockOffset => self.numbers[0] = map.next_value()?,
                Field::ByteOffset => self.numbers[1] = map.next_value()?,
                Field::BlockLength => self.numbers[2] = map.next_value()?,
                Field::ByteLength => self.numbers[3] = map.next_value()?,
                Field::BlockMap => self.block_map = map.next_value()?,
                Field::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(self)
    }
}

impl Usual {
    fn into_blob<E: de::Error>(self) -> Result<BlobId, E> {
        let [
            Some(block_offset),
            Some(byte_offset),
            Some(block_length),
            Some(byte_length),
        ] = self.numbers
        else {
            return Err(E::custom("a number is missing"));
        };
        Ok(BlobId {
            block_offset,
            byte_offset,
            block_length,
            byte_length,
            block_map: self.block_map,
        })
    }

    fn into_value(self) -> Result<EntryValue, &'static str> {
        let mut value = self.entry;
        value.blob = value.blob.map(BlobId::checked).transpose()?;
        // npm takes an empty target for no link
        value.linkname = value.linkname.filter(|target| !target.is_empty());
        value.metadata = value.metadata.filter(|metadata| !metadata.is_null());
        Ok(value)
    }
}

impl BlobId {
    /// About how many bytes each of its blocks has: 64 KiB where it looks like a blob given whole, else the average.
    pub(crate) fn usual_block_size(&self) -> u64 {
        let block_size = crate::blobs::BLOCK_SIZE as u64;
        if self.byte_length.div_ceil(block_size) == self.block_length {
            return block_size;
        }
        self.byte_length.div_ceil(self.block_length.max(1)).max(1)
    }

    fn decode(value: &Value) -> Result<Self, &'static str> {
        let number = |name: &'static str| value.get(name).and_then(Value::as_u64).ok_or(name);
        let id = Self {
            block_offset: number("blockOffset")?,
            byte_offset: number("byteOffset")?,
            block_length: number("blockLength")?,
            byte_length: number("byteLength")?,
            block_map: value.get("blockMap").and_then(Value::as_bool) == Some(true),
        };
        id.checked()
    }

    fn checked(self) -> Result<Self, &'static str> {
        let fits = |start: u64, len: u64| start.checked_add(len).is_some_and(|end| end < 1 << 53);
        if !fits(self.block_offset, self.block_length) {
            return Err("blockLength");
        }
        if !fits(self.byte_offset, self.byte_length) {
            return Err("byteLength");
        }
        if self.block_length == 0 && self.byte_length > 0 {
            return Err("byteLength");
        }
        Ok(self)
    }
}

/// Which blob a link leads to, as npm sees it: the target resolved against the link's own path, as if that were a folder.
pub(crate) fn link_target(entry: &Entry) -> Result<Option<String>, Error> {
    match &entry.value.linkname {
        None => Ok(None),
        Some(target) => Ok(Some(path::resolve(&entry.path, target)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn the_text_is_npms() {
        let mut value = EntryValue::file(BlobId {
            block_offset: 3,
            byte_offset: 600,
            block_length: 1,
            byte_length: 12,
            block_map: true,
        });
        assert_eq!(
            value.encode(),
            r#"{"executable":false,"linkname":null,"blob":{"blockOffset":3,"byteOffset":600,"blockLength":1,"byteLength":12,"blockMap":true},"metadata":null}"#
        );
        value.metadata = Some(json!({"mtime": 1, "n": null, "f": 1.0}));
        value.blob = None;
        value.linkname = Some("../é".into());
        assert_eq!(
            value.encode(),
            r#"{"executable":false,"linkname":"../é","blob":null,"metadata":{"mtime":1,"n":null,"f":1}}"#
        );
    }

    #[test]
    fn reading_is_lenient_where_npm_is() {
        assert_eq!(EntryValue::decode(b"{}"), Ok(EntryValue::default()));
        let extra = br#"{"metadata":7,"x":[1],"blob":{"byteLength":0,"byteOffset":5,"blockLength":0,"blockOffset":1,"y":2}}"#;
        let value = EntryValue::decode(extra).unwrap();
        assert_eq!(value.metadata, Some(json!(7)));
        assert_eq!(value.blob.unwrap().byte_offset, 5);
    }

    #[test]
    fn bad_entries_have_names() {
        for (text, field) in [
            (&b""[..], "JSON"),
            (b"[]", "JSON"),
            (b"{", "JSON"),
            (br#"{"linkname":5}"#, "linkname"),
            (br#"{"blob":{}}"#, "blockOffset"),
            (
                br#"{"blob":{"blockOffset":18446744073709551615,"byteOffset":0,"blockLength":1,"byteLength":1}}"#,
                "blockLength",
            ),
            (
                br#"{"blob":{"blockOffset":0,"byteOffset":0,"blockLength":0,"byteLength":1}}"#,
                "byteLength",
            ),
            (
                br#"{"blob":{"blockOffset":-1,"byteOffset":0,"blockLength":0,"byteLength":1}}"#,
                "blockOffset",
            ),
        ] {
            assert_eq!(EntryValue::decode(text), Err(field));
        }
    }

    /// A field of an entry or of its blob, of any kind.
    fn field() -> impl Strategy<Value = String> {
        const NAMES: &[&str] = &[
            "executable",
            "linkname",
            "metadata",
            "blockMap",
            "blockOffset",
            "byteOffset",
            "x",
        ];
        const VALUES: &[&str] = &[
            "null",
            "true",
            "false",
            "0",
            "7",
            "-1",
            "1.0",
            "1e400",
            "18446744073709551615",
            "18446744073709551616",
            "\"\"",
            "\"a\"",
            "\"\\ud800\"",
            "[]",
            "[1,2,1,4]",
            "{}",
            r#"{"a":1,"a":2}"#,
        ];
        let blob = r#""blockOffset":1,"byteOffset":2,"blockLength":1,"byteLength":4"#;
        let value = proptest::sample::select(VALUES);
        prop_oneof![
            5 => (proptest::sample::select(NAMES), value.clone()).prop_map(|(name, value)| format!("\"{name}\":{value}")),
            1 => value.clone().prop_map(|value| format!("\"blob\":{value}")),
            2 => (proptest::sample::select(NAMES), value).prop_map(move |(name, value)| format!("\"blob\":{{{blob},\"{name}\":{value}}}")),
            2 => Just(format!("\"blob\":{{{blob}}}")),
        ]
    }

    proptest! {
        #[test]
        fn no_input_panics(text: Vec<u8>) {
            let _ = EntryValue::decode(&text);
        }

        #[test]
        fn the_quick_way_reads_as_the_lenient_one_does(fields in proptest::collection::vec(field(), 0..5)) {
            let text = format!("{{{}}}", fields.join(","));
            let (quick, lenient) = (EntryValue::decode(text.as_bytes()), EntryValue::decode_leniently(text.as_bytes()));
            // A value that nobody looks at may be one that JavaScript takes and Rust does not.
            if lenient != Err("JSON") {
                prop_assert_eq!(quick, lenient, "{}", text);
            }
        }

        #[test]
        fn encode_then_decode(executable: bool, linkname in proptest::option::of(".{1,20}"), block_map: bool,
            numbers in proptest::option::of((0u64..1 << 50, 0u64..1 << 50, 1u64..1 << 50, 0u64..1 << 50))) {
            let blob = numbers.map(|(block_offset, byte_offset, block_length, byte_length)|
                BlobId { block_offset, byte_offset, block_length, byte_length, block_map });
            let value = EntryValue { executable, linkname, blob, metadata: None };
            prop_assert_eq!(EntryValue::decode(&value.encode()), Ok(value));
        }
    }
}
