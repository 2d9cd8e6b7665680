//! The bytes of files and frames; no I/O here. All numbers are little-endian, all crcs are crc32 (IEEE), and everything starts at a
//! multiple of 8 bytes.
//!
//! ```text
//! a file (log-<n> or payload-<n>)
//! ┌────────────────────┬─────────┬─────────┬─────┐
//! │ file header, 32 B  │ frame   │ frame   │ …   │   a log segment is zeros, or frames of an earlier use, to its end
//! └────────────────────┴─────────┴─────────┴─────┘
//!
//! file header
//!   0 magic "pomeLog\0" or "pomePay\0"   8 version u16   10 zero u16   12 number u32   16 log id u64   24 zero u32   28 crc u32
//!
//! frame
//! ┌───────────────┬───────────────────┬──────┬─────┬─────────┬─────┬─────────┬─────┐
//! │ header, 56 B  │ table, 8 B each   │ body │ 0…7 │ payload │ 0…7 │ payload │ 0…7 │
//! └───────────────┴───────────────────┴──────┴─────┴─────────┴─────┴─────────┴─────┘
//!                 └──── body crc ────┘              └─ crc in the table
//!
//! frame header
//!   0 magic "pomF"   4 version u8   5 kind u8   6 zero u16   8 seq u64   16 synced u64   24 boot u32   28 epoch u32
//!  32 payload bytes u64 (with padding)   40 body length u32   44 payload count u32   48 body crc u32   52 header crc u32
//!
//! table entry
//!   0 payload length u32   4 payload crc u32
//! ```
//!
//! The header crc is taken over the 52 bytes before it **and over where the frame lies** (log id, kind and number of the file,
//! offset). So a frame is valid in one place only: a log file that was stored as a value in a log, a misdirected write or a file of
//! another store never reads as frames. A frame of an earlier use of a recycled segment is valid, and known by its old seq.
//!
//! *Boot* names the run of the machine (0: unknown), *epoch* counts how often the log was opened: a frame is void when one of a later
//! epoch has its seq or a lower one. So what recovery has cut never counts again, even when cutting it did not reach the disk.
//!
//! Header, body and payloads have separate crcs: the header alone is enough to know how long a frame is and which commit it
//! was, and a bad payload does not take the commit with it.

use crate::{Error, mutation::fits};
use bytes::Bytes;

/// The version that this program writes and the newest that it reads.
pub(crate) const VERSION: u16 = 1;
/// The longest body, in bytes.
pub(crate) const MAX_BODY: u64 = 256 << 20;
/// The longest payload, in bytes: a value of 64 MiB, and what seals it.
pub(crate) const MAX_PAYLOAD: u64 = 65 << 20;
/// The most payloads in a frame.
pub(crate) const MAX_PAYLOADS: u64 = 1 << 20;
/// The longest frame, in bytes.
pub(crate) const MAX_FRAME: u64 = 2 << 30;
/// No log gets so far: a frame with such a number is none.
pub(crate) const SEQ_END: u64 = 1 << 62;
/// What everything is aligned to, in bytes.
pub(crate) const ALIGN: u64 = 8;

/// Length of a file header in bytes.
pub(crate) const FILE_HEADER: usize = 32;
const FILE_VERSION: usize = 8;
const FILE_NUMBER: usize = FILE_VERSION + 4;
const FILE_LOG_ID: usize = FILE_NUMBER + 4;
const FILE_CRC: usize = FILE_LOG_ID + 8 + 4;
const _: () = assert!(FILE_CRC + 4 == FILE_HEADER);

/// Length of a frame header in bytes.
pub(crate) const HEADER: usize = 56;
const MAGIC: [u8; 4] = *b"pomF";
const H_VERSION: usize = 4;
const H_KIND: usize = H_VERSION + 1;
const H_ZERO: usize = H_KIND + 1;
const H_SEQ: usize = H_ZERO + 2;
const H_SYNCED: usize = H_SEQ + 8;
const H_BOOT: usize = H_SYNCED + 8;
const H_EPOCH: usize = H_BOOT + 4;
const H_PAYLOAD_BYTES: usize = H_EPOCH + 4;
const H_BODY_LEN: usize = H_PAYLOAD_BYTES + 8;
const H_PAYLOAD_COUNT: usize = H_BODY_LEN + 4;
const H_BODY_CRC: usize = H_PAYLOAD_COUNT + 4;
const H_CRC: usize = H_BODY_CRC + 4;
const _: () = assert!(H_CRC + 4 == HEADER);
/// Length of a table entry in bytes.
const ENTRY: u64 = 8;
const _: () = assert!(
    (HEADER as u64).is_multiple_of(ALIGN)
        && (FILE_HEADER as u64).is_multiple_of(ALIGN)
        && ENTRY.is_multiple_of(ALIGN)
);
const _: () = assert!(
    HEADER as u64 + MAX_PAYLOADS * ENTRY + MAX_BODY + ALIGN < MAX_FRAME && MAX_PAYLOAD < MAX_FRAME
);

/// The two kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum FileKind {
    Log,
    Payload,
}

/// One file of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileId {
    pub kind: FileKind,
    pub number: u32,
}

/// Where a frame lies; part of its header crc.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub log_id: u64,
    pub file: FileId,
    pub offset: u64,
}

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A commit.
    Commit,
    /// Says how far the log is synced, and nothing else; its seq is that of the newest commit and not used up by it.
    Mark,
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub kind: Kind,
    /// The number of the commit.
    pub seq: u64,
    /// The newest commit that was known to be on disk when the frame was written.
    pub synced: u64,
    /// The machine's run in which it was written (0: unknown).
    pub boot: u32,
    /// How often the log had been opened.
    pub epoch: u32,
    /// Length of all payloads with their padding.
    pub payload_bytes: u64,
    pub body_len: u32,
    pub payload_count: u32,
    pub body_crc: u32,
}

/// Rounds up to the alignment. Callers pass lengths far below 2^63.
pub(crate) const fn aligned(len: u64) -> u64 {
    len.next_multiple_of(ALIGN)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

impl FileKind {
    const fn magic(self) -> [u8; 8] {
        match self {
            Self::Log => *b"pomeLog\0",
            Self::Payload => *b"pomePay\0",
        }
    }
}

/// What a file header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileHeader {
    /// A header of this kind, with the number of the file and the id of the log for which it was made.
    Valid { number: u32, log_id: u64 },
    /// A header of a newer format version.
    Newer { version: u16 },
    /// No header of this kind.
    Bad,
}

pub(crate) fn encode_file_header(file: FileId, log_id: u64) -> [u8; FILE_HEADER] {
    let mut out = [0; FILE_HEADER];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &file.kind.magic());
    put(FILE_VERSION, &VERSION.to_le_bytes());
    put(FILE_NUMBER, &file.number.to_le_bytes());
    put(FILE_LOG_ID, &log_id.to_le_bytes());
    let crc = crc32fast::hash(&out[..FILE_CRC]);
    out[FILE_CRC..].copy_from_slice(&crc.to_le_bytes());
    out
}

pub(crate) fn decode_file_header(bytes: &[u8], kind: FileKind) -> FileHeader {
    let read = || -> Option<FileHeader> {
        let head = bytes.get(..FILE_CRC)?;
        if !fits(
            crc32fast::hash(head),
            u32::from_le_bytes(array(bytes, FILE_CRC)?),
        ) || !head.starts_with(&kind.magic())
        {
            return None;
        }
        let version = u16::from_le_bytes(array(head, FILE_VERSION)?);
        if version > VERSION {
            return Some(FileHeader::Newer { version });
        }
        Some(FileHeader::Valid {
            number: u32::from_le_bytes(array(head, FILE_NUMBER)?),
            log_id: u64::from_le_bytes(array(head, FILE_LOG_ID)?),
        })
    };
    read().unwrap_or(FileHeader::Bad)
}

impl Place {
    fn crc(&self, header: &[u8]) -> u32 {
        let mut place = [0; 24];
        place[..8].copy_from_slice(&self.log_id.to_le_bytes());
        place[8..12].copy_from_slice(&self.file.number.to_le_bytes());
        place[12] = match self.file.kind {
            FileKind::Log => 1,
            FileKind::Payload => 2,
        };
        place[16..].copy_from_slice(&self.offset.to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(header);
        crc.update(&place);
        crc.finalize()
    }
}

impl Header {
    /// Length of the table in bytes.
    const fn table_len(&self) -> u64 {
        self.payload_count as u64 * ENTRY
    }
    /// Where the body starts in the frame.
    pub(crate) const fn body_at(&self) -> u64 {
        HEADER as u64 + self.table_len()
    }
    /// Where the first payload starts in the frame.
    pub(crate) const fn payloads_at(&self) -> u64 {
        aligned(self.body_at() + self.body_len as u64)
    }
    /// Length of the whole frame in bytes: a multiple of the alignment, at most [`MAX_FRAME`] in a header that was decoded.
    pub(crate) const fn frame_len(&self) -> u64 {
        self.payloads_at() + self.payload_bytes
    }

    pub(crate) fn encode(&self, place: &Place) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        put(H_VERSION, &[VERSION as u8]);
        put(
            H_KIND,
            &[match self.kind {
                Kind::Commit => 1,
                Kind::Mark => 2,
            }],
        );
        put(H_SEQ, &self.seq.to_le_bytes());
        put(H_SYNCED, &self.synced.to_le_bytes());
        put(H_BOOT, &self.boot.to_le_bytes());
        put(H_EPOCH, &self.epoch.to_le_bytes());
        put(H_PAYLOAD_BYTES, &self.payload_bytes.to_le_bytes());
        put(H_BODY_LEN, &self.body_len.to_le_bytes());
        put(H_PAYLOAD_COUNT, &self.payload_count.to_le_bytes());
        put(H_BODY_CRC, &self.body_crc.to_le_bytes());
        let crc = place.crc(&out[..H_CRC]);
        out[H_CRC..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header that lies at `place`; `None` when there is none.
    pub(crate) fn decode(bytes: &[u8], place: &Place) -> Option<Self> {
        if !bytes.starts_with(&MAGIC) {
            return None;
        }
        let head = bytes.get(..H_CRC)?;
        if !fits(place.crc(head), u32::from_le_bytes(array(bytes, H_CRC)?))
            || *head.get(H_VERSION)? != VERSION as u8
            || array(head, H_ZERO)? != [0u8; 2]
        {
            return None;
        }
        let header = Self {
            kind: match *head.get(H_KIND)? {
                1 => Kind::Commit,
                2 => Kind::Mark,
                _ => return None,
            },
            seq: u64::from_le_bytes(array(head, H_SEQ)?),
            synced: u64::from_le_bytes(array(head, H_SYNCED)?),
            boot: u32::from_le_bytes(array(head, H_BOOT)?),
            epoch: u32::from_le_bytes(array(head, H_EPOCH)?),
            payload_bytes: u64::from_le_bytes(array(head, H_PAYLOAD_BYTES)?),
            body_len: u32::from_le_bytes(array(head, H_BODY_LEN)?),
            payload_count: u32::from_le_bytes(array(head, H_PAYLOAD_COUNT)?),
            body_crc: u32::from_le_bytes(array(head, H_BODY_CRC)?),
        };
        (u64::from(header.body_len) <= MAX_BODY
            && u64::from(header.payload_count) <= MAX_PAYLOADS
            && header.payload_bytes.is_multiple_of(ALIGN)
            && header.payload_bytes <= MAX_FRAME
            && header.frame_len() <= MAX_FRAME)
            .then_some(header)
    }

    /// Checks table and body of the frame that starts with `frame` (the payloads may be missing) and answers the table.
    /// `None` when they are not what was written.
    pub(crate) fn decode_table(&self, frame: &[u8]) -> Option<Vec<Entry>> {
        let end = usize::try_from(self.body_at() + u64::from(self.body_len)).ok()?;
        let checked = frame.get(HEADER..end)?;
        if !fits(crc32fast::hash(checked), self.body_crc) {
            return None;
        }
        let table = checked.get(..usize::try_from(self.table_len()).ok()?)?;
        let (entries, _) = table.as_chunks::<{ ENTRY as usize }>();
        let mut at = self.payloads_at();
        let mut out = Vec::with_capacity(entries.len());
        for [l0, l1, l2, l3, c0, c1, c2, c3] in entries {
            let len = u32::from_le_bytes([*l0, *l1, *l2, *l3]);
            out.push(Entry {
                at,
                len,
                crc: u32::from_le_bytes([*c0, *c1, *c2, *c3]),
            });
            at = at.checked_add(aligned(u64::from(len)))?;
        }
        (at == self.frame_len()).then_some(out)
    }
}

/// A payload of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where it starts in the frame.
    pub at: u64,
    pub len: u32,
    pub crc: u32,
}

/// What a frame says besides its content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub seq: u64,
    pub synced: u64,
    pub boot: u32,
    pub epoch: u32,
}

/// The measures of a frame to be written; made before anything is written.
pub(crate) struct Plan {
    pub entries: Vec<Entry>,
    header: Header,
}

impl Plan {
    /// Measures and hashes. [`Error::TooLarge`] when a bound is passed.
    pub(crate) fn new(kind: Kind, body: &[u8], payloads: &[Bytes]) -> Result<Self, Error> {
        let within = |what, len: u64, max| match len <= max {
            true => Ok(()),
            false => Err(Error::TooLarge { what, len, max }),
        };
        within("body", body.len() as u64, MAX_BODY)?;
        within("payloads", payloads.len() as u64, MAX_PAYLOADS)?;
        let mut header = Header {
            kind,
            seq: 0,
            synced: 0,
            boot: 0,
            epoch: 0,
            payload_bytes: 0,
            body_len: body.len() as u32,
            payload_count: payloads.len() as u32,
            body_crc: 0,
        };
        let mut entries = Vec::with_capacity(payloads.len());
        for payload in payloads {
            let len = payload.len() as u64;
            within("payload", len, MAX_PAYLOAD)?;
            entries.push(Entry {
                at: header.frame_len(),
                len: len as u32,
                crc: 0,
            });
            header.payload_bytes += aligned(len);
            within("frame", header.frame_len(), MAX_FRAME)?;
        }
        let mut crc = crc32fast::Hasher::new();
        for (entry, payload) in entries.iter_mut().zip(payloads) {
            entry.crc = crc32fast::hash(payload);
            crc.update(&entry.len.to_le_bytes());
            crc.update(&entry.crc.to_le_bytes());
        }
        crc.update(body);
        header.body_crc = crc.finalize();
        Ok(Self { entries, header })
    }
    /// Length of the frame in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.header.frame_len()
    }
    /// Appends header, table, body and padding to `out`, whose length is a multiple of the alignment: all but the payloads.
    pub(crate) fn encode(&mut self, place: &Place, stamp: Stamp, body: &[u8], out: &mut Vec<u8>) {
        self.header.seq = stamp.seq;
        self.header.synced = stamp.synced;
        self.header.boot = stamp.boot;
        self.header.epoch = stamp.epoch;
        out.extend_from_slice(&self.header.encode(place));
        for entry in &self.entries {
            out.extend_from_slice(&entry.len.to_le_bytes());
            out.extend_from_slice(&entry.crc.to_le_bytes());
        }
        out.extend_from_slice(body);
        out.resize(aligned(out.len() as u64) as usize, 0);
    }
}

/// False when no frame starts with these bytes (at least 4 of them).
pub(crate) fn may_start(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// The padding behind a payload of `len` bytes.
pub(crate) fn padding(len: usize) -> &'static [u8] {
    let zeros: &'static [u8; ALIGN as usize] = &[0; ALIGN as usize];
    &zeros[..(aligned(len as u64) as usize) - len]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn place(log_id: u64, number: u32, offset: u64) -> Place {
        Place {
            log_id,
            file: FileId::log(number),
            offset,
        }
    }

    fn stamp() -> impl Strategy<Value = Stamp> {
        any::<(u64, u64, u32, u32)>().prop_map(|(seq, synced, boot, epoch)| Stamp {
            seq,
            synced,
            boot,
            epoch,
        })
    }

    fn whole(
        plan: &mut Plan,
        at: &Place,
        stamp: Stamp,
        body: &[u8],
        payloads: &[Bytes],
    ) -> Vec<u8> {
        let mut out = Vec::new();
        plan.encode(at, stamp, body, &mut out);
        for payload in payloads {
            out.extend_from_slice(payload);
            out.extend_from_slice(padding(payload.len()));
        }
        out
    }

    proptest! {
        #[test]
        fn a_frame_reads_back_in_its_place_and_nowhere_else(
            stamp in stamp(),
            body in vec(any::<u8>(), 0..300),
            payloads in vec(vec(any::<u8>(), 0..100), 0..5),
            id: u64, number: u32, offset: u64, other: u64,
        ) {
            let payloads: Vec<Bytes> = payloads.into_iter().map(Bytes::from).collect();
            let mut plan = Plan::new(Kind::Commit, &body, &payloads)?;
            let at = place(id, number, offset);
            let bytes = whole(&mut plan, &at, stamp, &body, &payloads);
            prop_assert_eq!(bytes.len() as u64, plan.len());
            let header = Header::decode(&bytes, &at).unwrap();
            prop_assert_eq!((header.seq, header.synced), (stamp.seq, stamp.synced));
            prop_assert_eq!((header.boot, header.epoch), (stamp.boot, stamp.epoch));
            prop_assert_eq!(header.frame_len(), plan.len());
            let from = header.body_at() as usize;
            prop_assert_eq!(&bytes[from..from + body.len()], &body[..]);
            let entries = header.decode_table(&bytes).unwrap();
            prop_assert_eq!(&entries, &plan.entries);
            for (entry, payload) in entries.iter().zip(&payloads) {
                let from = entry.at as usize;
                prop_assert!(from.is_multiple_of(ALIGN as usize));
                prop_assert_eq!(&bytes[from..from + entry.len as usize], &payload[..]);
                prop_assert_eq!(crc32fast::hash(payload), entry.crc);
            }
            if other != offset {
                prop_assert_eq!(Header::decode(&bytes, &place(id, number, other)), None);
            }
            if other != id {
                prop_assert_eq!(Header::decode(&bytes, &place(other, number, offset)), None);
            }
            let file = FileId::payload(number);
            prop_assert_eq!(Header::decode(&bytes, &Place { file, ..at }), None);
        }

        #[test]
        fn no_cut_and_no_flip_of_header_table_or_body_is_believed(
            stamp in stamp(),
            body in vec(any::<u8>(), 0..100),
            payload in vec(any::<u8>(), 0..20),
            at: prop::sample::Index, bit in 0u8..8,
        ) {
            let payloads = [Bytes::from(payload)];
            let mut plan = Plan::new(Kind::Commit, &body, &payloads)?;
            let place = place(1, 2, 3);
            let bytes = whole(&mut plan, &place, stamp, &body, &payloads);
            let checked = HEADER + ENTRY as usize + body.len();
            let believed = |bytes: &[u8]| {
                Header::decode(bytes, &place).and_then(|h| h.decode_table(bytes)).is_some()
            };
            let at = at.index(checked);
            prop_assert!(!believed(&bytes[..at]));
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            prop_assert!(!believed(&flipped));
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(mut bytes in vec(any::<u8>(), 0..200), valid_crc: bool) {
            let at = place(1, 2, 3);
            if valid_crc && bytes.len() >= HEADER {
                // Past the crc the fields are still anything.
                bytes[..4].copy_from_slice(&MAGIC);
                bytes[H_VERSION] = 1;
                bytes[H_KIND] = 1 + bytes[H_KIND] % 2;
                bytes[H_ZERO..H_SEQ].fill(0);
                let crc = at.crc(&bytes[..H_CRC]);
                bytes[H_CRC..HEADER].copy_from_slice(&crc.to_le_bytes());
            }
            if let Some(header) = Header::decode(&bytes, &at) {
                prop_assert!(header.frame_len() <= MAX_FRAME);
                header.decode_table(&bytes);
            }
            decode_file_header(&bytes, FileKind::Payload);
        }

        #[test]
        fn file_headers_read_back(number in 1u32.., log_id: u64, at in 0..FILE_HEADER * 8) {
            let file = FileId::payload(number);
            let mut bytes = encode_file_header(file, log_id);
            prop_assert_eq!(decode_file_header(&bytes, FileKind::Payload), FileHeader::Valid { number, log_id });
            prop_assert_eq!(decode_file_header(&bytes, FileKind::Log), FileHeader::Bad);
            bytes[at / 8] ^= 1 << (at % 8);
            prop_assert_eq!(decode_file_header(&bytes, FileKind::Payload), FileHeader::Bad);
        }
    }

    #[test]
    fn bounds_are_refused_by_name() {
        let too_many = vec![Bytes::new(); MAX_PAYLOADS as usize + 1];
        let what = |e: Option<Error>| match e {
            Some(Error::TooLarge { what, .. }) => what,
            e => panic!("{e:?}"),
        };
        assert_eq!(
            what(Plan::new(Kind::Commit, &[], &too_many).err()),
            "payloads"
        );
        let long = Bytes::from(vec![0; MAX_PAYLOAD as usize + 1]);
        assert_eq!(what(Plan::new(Kind::Commit, &[], &[long]).err()), "payload");
    }
}
