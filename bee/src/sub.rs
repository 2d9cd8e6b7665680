//! Keys under a prefix, without a bee of their own.
use crate::range::{RangeOptions, after_prefix};
use bytes::Bytes;

/// Puts keys under `prefix ‖ 00`, as npm's sub-encoder does.
///
/// Unlike a [`sub`](crate::Hyperbee::sub), its default range starts with the prefix itself, so the empty key is listed.
/// Source: sub-encoder 2.1, `index.js`. Vectors: `bee.json`, `key encoders`.
///
/// ```
/// let files = pome_bee::SubEncoder::new("files");
/// assert_eq!(files.encode(b"/a"), "files\0/a");
/// assert_eq!(files.decode(b"files\0/a"), Some(&b"/a"[..]));
/// assert_eq!(files.sub("x").prefix(), "files\0x\0");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubEncoder {
    prefix: Bytes,
}

impl SubEncoder {
    /// Keys under `prefix` and a zero byte.
    pub fn new(prefix: impl AsRef<[u8]>) -> Self {
        Self {
            prefix: [prefix.as_ref(), &[0]].concat().into(),
        }
    }

    /// Keys under this prefix, then `prefix` and a zero byte.
    #[must_use]
    pub fn sub(&self, prefix: impl AsRef<[u8]>) -> Self {
        Self {
            prefix: [&self.prefix[..], prefix.as_ref(), &[0]].concat().into(),
        }
    }

    /// The prefix, with its zero bytes.
    pub fn prefix(&self) -> &Bytes {
        &self.prefix
    }

    /// The key as the bee has it.
    pub fn encode(&self, key: impl AsRef<[u8]>) -> Bytes {
        [&self.prefix[..], key.as_ref()].concat().into()
    }

    /// The key without the prefix; `None` for a key that is not under it.
    pub fn decode<'a>(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        key.strip_prefix(&self.prefix[..])
    }

    /// A range of keys under this prefix, as the bee has it.
    pub fn range(&self, range: RangeOptions) -> RangeOptions {
        let RangeOptions {
            gt, gte, lt, lte, ..
        } = &range;
        let key = |key: &Option<Bytes>| key.as_ref().map(|key| self.encode(key));
        let no_lower = gt.is_none() && gte.is_none();
        let no_upper = lt.is_none() && lte.is_none();
        RangeOptions {
            gt: key(gt),
            gte: key(gte).or_else(|| no_lower.then(|| self.prefix.clone())),
            lt: key(lt).or_else(|| no_upper.then(|| after_prefix(&self.prefix)).flatten()),
            lte: key(lte),
            ..range
        }
    }
}
