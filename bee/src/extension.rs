//! Hints between peers: who looks something up says what, and who has the bee says which blocks that takes, so that they come at once and
//! not one after another on the way down.
//!
//! Source: hyperbee 2.27.3, `lib/extension.js`, `lib/messages.js` (`Extension`). Vectors: `bee.json`, `extension`.
use crate::{
    hyperbee::Hyperbee,
    node::{Fault, Field, Fields, MAX_DEPTH, put_bytes, put_varint, varint},
    range::{Bounds, Walk},
    view::{Source, View},
};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use pome_cores::replication::{Extension, ExtensionSender, PeerId};
use pome_encoding::{Reader, put_buffer};
use std::{
    collections::HashSet,
    future::pending,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// The name of the extension.
const NAME: &str = "hyperbee";
/// Blocks in one message.
const FLUSH: usize = 128;
/// Blocks that one question is answered with at the most.
const ANSWER: usize = 2048 + FLUSH;
/// Downloads that go on at a time because peers said so.
const DOWNLOADS: usize = 32;

/// Which blocks something takes: an answer.
#[derive(Debug, Default, PartialEq, Eq)]
struct CacheMessage {
    start: u64,
    end: u64,
    blocks: Vec<u64>,
}

/// A key is looked up at a version.
#[derive(Debug, Default, PartialEq, Eq)]
struct GetMessage {
    version: u64,
    key: Bytes,
}

/// A range is walked at a version, from a checkpoint on.
#[derive(Debug, Default, PartialEq, Eq)]
struct IteratorMessage {
    version: u64,
    gte: Option<Bytes>,
    gt: Option<Bytes>,
    lte: Option<Bytes>,
    lt: Option<Bytes>,
    /// 0: none.
    limit: u64,
    reverse: bool,
    /// Block, level and place of each node on the way down.
    checkpoint: Vec<u64>,
}

/// A message; a peer may put several into one.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    cache: Option<CacheMessage>,
    get: Option<GetMessage>,
    iterator: Option<IteratorMessage>,
}

fn packed(bytes: &[u8], max: usize) -> Result<Vec<u64>, Fault> {
    let mut rest = bytes;
    let mut numbers = Vec::new();
    while !rest.is_empty() {
        if numbers.len() >= max {
            return Err("a list is too long");
        }
        numbers.push(varint(&mut rest)?);
    }
    Ok(numbers)
}

fn put_packed(out: &mut BytesMut, tag: u8, numbers: &[u64]) {
    if !numbers.is_empty() {
        let mut list = BytesMut::new();
        numbers.iter().for_each(|n| put_varint(&mut list, *n));
        put_bytes(out, tag, &list);
    }
}

fn put_number(out: &mut BytesMut, tag: u8, n: u64) {
    out.extend_from_slice(&[tag]);
    put_varint(out, n);
}

impl CacheMessage {
    fn encode(&self) -> BytesMut {
        let mut out = BytesMut::new();
        put_number(&mut out, 0x08, self.start);
        put_number(&mut out, 0x10, self.end);
        put_packed(&mut out, 0x1a, &self.blocks);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let mut message = Self::default();
        let mut fields = Fields(bytes);
        while let Some(field) = fields.any()? {
            match field {
                (1, Field::Number(start)) => message.start = start,
                (2, Field::Number(end)) => message.end = end,
                (3, Field::Bytes(blocks)) => message.blocks = packed(blocks, ANSWER)?,
                _ => {}
            }
        }
        Ok(message)
    }
}

impl GetMessage {
    fn encode(&self) -> BytesMut {
        let mut out = BytesMut::new();
        put_number(&mut out, 0x08, self.version);
        put_bytes(&mut out, 0x12, &self.key);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let mut message = Self::default();
        let mut fields = Fields(bytes);
        while let Some(field) = fields.any()? {
            match field {
                (1, Field::Number(version)) => message.version = version,
                (2, Field::Bytes(key)) => message.key = Bytes::copy_from_slice(key),
                _ => {}
            }
        }
        Ok(message)
    }
}

impl IteratorMessage {
    fn encode(&self) -> BytesMut {
        let mut out = BytesMut::new();
        put_number(&mut out, 0x08, self.version);
        let bounds = [
            (0x12, &self.gte),
            (0x1a, &self.gt),
            (0x22, &self.lte),
            (0x2a, &self.lt),
        ];
        for (tag, bound) in bounds {
            if let Some(key) = bound {
                put_bytes(&mut out, tag, key);
            }
        }
        put_number(&mut out, 0x30, self.limit);
        put_number(&mut out, 0x38, u64::from(self.reverse));
        put_packed(&mut out, 0x42, &self.checkpoint);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let mut message = Self::default();
        let mut fields = Fields(bytes);
        while let Some(field) = fields.any()? {
            let key = |bytes: &[u8]| Some(Bytes::copy_from_slice(bytes));
            match field {
                (1, Field::Number(version)) => message.version = version,
                (2, Field::Bytes(bytes)) => message.gte = key(bytes),
                (3, Field::Bytes(bytes)) => message.gt = key(bytes),
                (4, Field::Bytes(bytes)) => message.lte = key(bytes),
                (5, Field::Bytes(bytes)) => message.lt = key(bytes),
                (6, Field::Number(limit)) => message.limit = limit,
                (7, Field::Number(reverse)) => message.reverse = reverse != 0,
                (8, Field::Bytes(list)) => message.checkpoint = packed(list, 3 * MAX_DEPTH)?,
                _ => {}
            }
        }
        Ok(message)
    }

    fn bounds(self) -> Bounds {
        let lower = match (self.gt, self.gte) {
            (Some(gt), _) => Bound::Excluded(gt),
            (None, Some(gte)) => Bound::Included(gte),
            (None, None) => Bound::Unbounded,
        };
        let upper = match (self.lt, self.lte) {
            (Some(lt), _) => Bound::Excluded(lt),
            (None, Some(lte)) => Bound::Included(lte),
            (None, None) => Bound::Unbounded,
        };
        Bounds {
            lower,
            upper,
            reverse: self.reverse,
            limit: (self.limit > 0).then_some(self.limit),
        }
    }
}

impl Message {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        let parts = [
            (0x0a, self.cache.as_ref().map(CacheMessage::encode)),
            (0x12, self.get.as_ref().map(GetMessage::encode)),
            (0x1a, self.iterator.as_ref().map(IteratorMessage::encode)),
        ];
        for (tag, part) in parts {
            if let Some(part) = part {
                put_bytes(&mut out, tag, &part);
            }
        }
        out.freeze()
    }

    /// As it goes to a peer: npm's extensions put the length in front.
    fn framed(&self) -> Bytes {
        let message = self.encode();
        let mut out = Vec::with_capacity(message.len() + 5);
        put_buffer(&mut out, &message);
        out.into()
    }

    /// What [`framed`](Self::framed) made.
    fn unframed(bytes: &[u8]) -> Result<Self, Fault> {
        let message = Reader::new(bytes).buffer();
        Self::decode(message.map_err(|_| "it is shorter than it says")?)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let mut message = Self::default();
        let mut fields = Fields(bytes);
        while let Some(field) = fields.any()? {
            match field {
                (1, Field::Bytes(part)) => message.cache = Some(CacheMessage::decode(part)?),
                (2, Field::Bytes(part)) => message.get = Some(GetMessage::decode(part)?),
                (3, Field::Bytes(part)) => message.iterator = Some(IteratorMessage::decode(part)?),
                _ => {}
            }
        }
        Ok(message)
    }
}

/// What a lookup says to peers when it meets the first block that is not here.
pub(crate) struct Hint {
    sender: ExtensionSender,
    message: Message,
    said: AtomicBool,
}

impl Hint {
    pub(crate) fn is_said(&self) -> bool {
        self.said.load(Ordering::Relaxed)
    }

    pub(crate) fn say(&self) {
        if !self.said.swap(true, Ordering::Relaxed) {
            self.sender.broadcast(&self.message.framed());
        }
    }
}

impl Hyperbee {
    /// A bee whose lookups say to peers what they look for, and what answers the lookups of peers (npm's `extension: true`): the blocks
    /// of a lookup come at once then, not one after another on the way down. It works as long as the answer is [run](CacheExtension::run), mostly in a task of
    /// its own; peers that have none lose nothing.
    pub fn with_extension(mut self) -> (Self, CacheExtension) {
        let extension = self.core().extension(NAME);
        self.outgoing = Some(extension.sender());
        let bee = self.clone();
        (self, CacheExtension { bee, extension })
    }

    fn hint(&self, message: impl FnOnce() -> Message) -> Option<Arc<Hint>> {
        let sender = self.outgoing.clone()?;
        self.core().has_peers().then(|| {
            Arc::new(Hint {
                sender,
                message: message(),
                said: AtomicBool::new(false),
            })
        })
    }

    pub(crate) fn hint_of_get(&self, view: &View, key: &Bytes) -> Option<Arc<Hint>> {
        self.hint(|| Message {
            get: Some(GetMessage {
                version: view.version,
                key: key.clone(),
            }),
            ..Message::default()
        })
    }

    pub(crate) fn hint_of_range(&self, view: &View, bounds: &Bounds) -> Option<Arc<Hint>> {
        let (mut gt, mut gte, mut lt, mut lte) = (None, None, None, None);
        match &bounds.lower {
            Bound::Unbounded => {}
            Bound::Included(key) => gte = Some(key.clone()),
            Bound::Excluded(key) => gt = Some(key.clone()),
        }
        match &bounds.upper {
            Bound::Unbounded => {}
            Bound::Included(key) => lte = Some(key.clone()),
            Bound::Excluded(key) => lt = Some(key.clone()),
        }
        self.hint(|| Message {
            iterator: Some(IteratorMessage {
                version: view.version,
                gte,
                gt,
                lte,
                lt,
                limit: bounds.limit.unwrap_or(0),
                reverse: bounds.reverse,
                checkpoint: Vec::new(),
            }),
            ..Message::default()
        })
    }
}

/// Answers the lookups of peers, and fetches what they say this side's lookups take. It is given by [`Hyperbee::with_extension`].
#[must_use = "it does nothing unless it is run"]
pub struct CacheExtension {
    bee: Hyperbee,
    extension: Extension,
}

impl std::fmt::Debug for CacheExtension {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("CacheExtension").field(&self.bee).finish()
    }
}

impl CacheExtension {
    /// Runs until the core is closed. Bounded: a question is answered with 2,176 blocks at the most, and 32 answers are fetched at a time. Cancel safe.
    pub async fn run(mut self) {
        let mut downloads = FuturesUnordered::new();
        loop {
            let event = {
                let extension = &mut self.extension;
                let message = async { Some(extension.recv().await) };
                let done = async {
                    match downloads.next().await {
                        Some(()) => None,
                        None => pending().await,
                    }
                };
                futures_util::pin_mut!(message, done);
                let event = futures_util::future::select(message, done).await;
                event.factor_first().0
            };
            let (from, bytes) = match event {
                Some(Ok(message)) => message,
                Some(Err(_)) => return,
                None => continue,
            };
            if self.bee.core().is_closed() {
                return;
            }
            let Ok(message) = Message::unframed(&bytes) else {
                continue;
            };
            if let Some(get) = message.get {
                self.answer_get(get, from).await;
            }
            if let Some(iterator) = message.iterator {
                self.answer_iterator(iterator, from).await;
            }
            let core = self.bee.core();
            if let Some(cache) = message.cache
                && downloads.len() < DOWNLOADS
            {
                let end = cache.end.min(core.length());
                let blocks = cache.blocks.into_iter();
                let blocks = blocks
                    .filter(|seq| (cache.start..end).contains(seq))
                    .collect();
                if let Ok(mut download) = core.download_blocks(blocks) {
                    downloads.push(async move { download.done().await }.map(|_| ()));
                }
            }
        }
    }

    /// The tree at a version that a peer names, as far as it is here, and what is looked at in it.
    fn traced(&self, version: u64) -> Option<(View, Arc<Mutex<Vec<u64>>>)> {
        if version == 0 || version > self.bee.version() {
            return None;
        }
        let trace = Arc::<Mutex<Vec<u64>>>::default();
        let bee = self.bee.checkout(version).with_wait(false);
        let mut view = bee.view();
        view.trace = Some(trace.clone());
        Some((view, trace))
    }

    async fn answer_get(&self, get: GetMessage, from: PeerId) {
        if let Some((view, trace)) = self.traced(get.version) {
            // A block that is not here ends it: what was found until then is an answer, too.
            let _ = view.find(&get.key).await;
            let seqs = std::mem::take(&mut *trace.lock());
            self.send(&seqs, from);
        }
    }

    async fn answer_iterator(&self, iterator: IteratorMessage, from: PeerId) {
        let Some((view, trace)) = self.traced(iterator.version) else {
            return;
        };
        let checkpoint = iterator.checkpoint.clone();
        let mut walk = Walk::new(&view, iterator.bounds());
        if !checkpoint.is_empty() {
            if walk.resume(&checkpoint).await.is_err() {
                return;
            }
            trace.lock().clear();
        }
        let (mut seen, mut answer) = (HashSet::new(), Vec::new());
        while answer.len() < ANSWER {
            let more = walk.next().await;
            let seqs = std::mem::take(&mut *trace.lock());
            answer.extend(seqs.into_iter().filter(|seq| seen.insert(*seq)));
            if !matches!(more, Ok(Some(_))) {
                break;
            }
        }
        answer.truncate(ANSWER);
        self.send(&answer, from);
    }

    fn send(&self, seqs: &[u64], to: PeerId) {
        for part in seqs.chunks(FLUSH) {
            let cache = CacheMessage {
                start: part.iter().copied().min().unwrap_or(0),
                end: part.iter().copied().max().map_or(0, |seq| seq + 1),
                blocks: part.to_vec(),
            };
            let message = Message {
                cache: Some(cache),
                ..Message::default()
            };
            self.extension.send(to, message.framed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pome_test_support::{hex, load};
    use proptest::prelude::*;

    #[test]
    fn vectors_of_messages() {
        let vectors = load("bee", &["extension"], &["scenarios", "headers"]);
        let cases = vectors["extension"].as_array().expect("a list");
        for case in cases {
            let bytes = hex(&case["bytes"]);
            let value = case["value"].as_object().expect("an object");
            let (kind, fields) = value.iter().next().expect("one kind");
            assert_eq!(value.len(), 1);
            let number = |name: &str| fields[name].as_u64().unwrap_or_else(|| panic!("{name}"));
            let expected = match kind.as_str() {
                "cache" => Message {
                    cache: Some(CacheMessage {
                        start: number("start"),
                        end: number("end"),
                        blocks: fields["blocks"]
                            .as_array()
                            .expect("a list")
                            .iter()
                            .map(|n| n.as_u64().expect("a number"))
                            .collect(),
                    }),
                    ..Message::default()
                },
                "get" => Message {
                    get: Some(GetMessage {
                        version: number("version"),
                        key: hex(&fields["key"]).into(),
                    }),
                    ..Message::default()
                },
                // npm has no bytes for a limit below 0 and writes a part of them; it never sends one
                "iterator" if fields["limit"] == -1 => {
                    assert!(Message::decode(&bytes).is_err());
                    continue;
                }
                other => panic!("no test knows {other}"),
            };
            assert_eq!(expected.encode(), bytes, "{kind}");
            assert_eq!(
                Message::unframed(&expected.framed()).as_ref(),
                Ok(&expected)
            );
            assert_eq!(Message::decode(&bytes), Ok(expected), "{kind}");
        }
    }

    #[test]
    fn a_range_comes_back() {
        let message = Message {
            iterator: Some(IteratorMessage {
                version: 300,
                gte: Some("a".into()),
                lt: Some("z".into()),
                limit: 7,
                reverse: true,
                checkpoint: vec![1, 2, 300],
                ..IteratorMessage::default()
            }),
            ..Message::default()
        };
        let bytes = message.encode();
        assert_eq!(
            bytes[..],
            hex(&"1a13 08ac02 120161 2a017a 3007 3801 4204 0102ac02"
                .replace(' ', "")
                .into())
        );
        assert_eq!(Message::decode(&bytes), Ok(message));
        let long = CacheMessage {
            blocks: vec![1; ANSWER + 1],
            ..CacheMessage::default()
        };
        assert!(CacheMessage::decode(&long.encode()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Message::decode(&bytes);
            let _ = Message::unframed(&bytes);
        }
    }
}
