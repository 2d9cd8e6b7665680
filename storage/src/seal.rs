//! Encryption at rest: what a store is opened with, the key that its bytes are sealed with, and how each part is sealed.
//!
//! XChaCha20-Poly1305, and AES-256-GCM for large values, under one random *data key* for each store. The data key is wrapped by what the caller has,
//! a key file or a passphrase, and lies wrapped in the superblock; so a new passphrase changes one sector and no data. What a part is and where it
//! belongs is authenticated with it (see `aad`): a part that was moved, or swapped for another, does not open.
//!
//! ```text
//! body of a commit     nonce 24 │ ciphertext │ tag 16          for: "body" seq u64
//! value of a payload   nonce 24 │ pieces (see `pieces`)        for: "piece" whole key
//!   in older stores    nonce 24 │ ciphertext │ tag 16          for: "value" whole key
//! manifest             nonce 24 │ ciphertext │ tag 16          for: "manifest" generation u64
//! part of a table      ciphertext │ tag 16                     for: "table" number u64; nonce: that of the table 16 ‖ offset u64
//! footer of a table    as it is; a tag over it                 for: "footer" number u64 ‖ the bytes; nonce: as a part
//! data key             ciphertext 32 │ tag 16                  for: "key" first 28 bytes of the key slot
//! ```

use crate::{
    aead::{KEY_BYTES, Message, NONCE_BYTES, TAG_BYTES},
    error::{Error, Op},
    format::{KeyKind, KeySlot, SUPERBLOCK},
    pieces,
};
use argon2::{Algorithm, Argon2, Params, Version};
use bytes::Bytes;
use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305};
use quick_cache::{Weighter, sync::Cache};
use rand::TryRng;
use std::{
    fmt,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};
use zeroize::Zeroizing;

/// How much longer a sealed body or manifest is.
pub(crate) const SEAL_BYTES: usize = NONCE_BYTES + TAG_BYTES;
/// The random part of the nonces of a table.
pub(crate) const TABLE_NONCE_BYTES: usize = 16;

/// Argon2id as RFC 9106 recommends it where memory is not plenty: 64 MiB, three passes, four lanes; about a fifth of a second.
const NEW_PASSPHRASE: KeyKind = KeyKind::Passphrase {
    lanes: 4,
    memory_kib: 64 << 10,
    passes: 3,
};
/// A superblock that asks for more was not written by this program, and would take the machine's memory or its day.
const MEMORY_KIB_MAX: u32 = 4 << 20;
const PASSES_MAX: u32 = 1000;

/// Values are sealed on another core too when they have so many bytes together: below, starting a thread costs more than it saves.
const PARALLEL_BYTES: usize = 1 << 20;

type DataKey = Zeroizing<[u8; KEY_BYTES]>;

#[derive(Clone)]
enum Material {
    File(DataKey),
    Passphrase(Zeroizing<Vec<u8>>),
}

/// What opens an encrypted store: a key file or a passphrase. Wiped from memory when it is dropped, and never printed.
///
/// ```
/// use pome_storage::{Key, Options, Store};
///
/// let dir = tempfile::tempdir()?;
/// let mut options = Options::default();
/// options.key = Some(Key::generate()?);
/// Store::open(dir.path(), options)?.close()?;
/// let refused = Store::open(dir.path(), Options::default()).unwrap_err();
/// assert_eq!(refused.code(), "KEY_NEEDED");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Key(Material);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.kind())
    }
}

impl Key {
    /// What a key file holds: 32 bytes, or 64 hexadecimal digits and at most white space around them.
    ///
    /// # Errors
    /// `BadKey` when it is neither.
    pub fn from_key_file(content: &[u8]) -> Result<Self, Error> {
        let mut key = DataKey::default();
        if content.len() == KEY_BYTES {
            key.copy_from_slice(content);
            return Ok(Self(Material::File(key)));
        }
        let bad = || Error::BadKey {
            why: format!(
                "a key file has {KEY_BYTES} bytes or {} hexadecimal digits; this one has {} bytes",
                2 * KEY_BYTES,
                content.len()
            ),
        };
        let digits = content.trim_ascii();
        if digits.len() != 2 * KEY_BYTES {
            return Err(bad());
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (digit(pair[0]), digit(pair[1]));
            *byte = match (high, low) {
                (Some(high), Some(low)) => (high << 4 | low) as u8,
                _ => return Err(bad()),
            };
        }
        Ok(Self(Material::File(key)))
    }

    /// A passphrase: any bytes, as they are.
    ///
    /// # Errors
    /// `BadKey` when it is empty.
    pub fn from_passphrase(passphrase: &[u8]) -> Result<Self, Error> {
        if passphrase.is_empty() {
            return Err(Error::BadKey {
                why: "the passphrase is empty".to_owned(),
            });
        }
        Ok(Self(Material::Passphrase(Zeroizing::new(
            passphrase.to_vec(),
        ))))
    }

    /// A new key for a key file, from the system's randomness.
    ///
    /// # Errors
    /// `Io` when the system has none.
    pub fn generate() -> Result<Self, Error> {
        let mut key = DataKey::default();
        Nonces::System.fill(&mut *key)?;
        Ok(Self(Material::File(key)))
    }

    /// The content of the key file that this key is read from: 64 digits and a line end. `None` for a passphrase.
    pub fn to_key_file(&self) -> Option<Zeroizing<String>> {
        let Material::File(key) = &self.0 else {
            return None;
        };
        // Of its full size from the start: growing would leave copies behind.
        let mut content = Zeroizing::new(String::with_capacity(2 * KEY_BYTES + 1));
        for byte in key.iter() {
            for digit in [byte >> 4, byte & 15] {
                content.push(char::from_digit(digit.into(), 16).unwrap_or_default());
            }
        }
        content.push('\n');
        Some(content)
    }

    /// The key as one process hands it to another that it trusts; never for a disk.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let (kind, secret) = match &self.0 {
            Material::File(key) => (1, &key[..]),
            Material::Passphrase(passphrase) => (2, &passphrase[..]),
        };
        let mut out = Zeroizing::new(Vec::with_capacity(1 + secret.len()));
        out.push(kind);
        out.extend_from_slice(secret);
        out
    }

    /// What [`to_bytes`](Self::to_bytes) made.
    ///
    /// # Errors
    /// `BadKey` when it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        match bytes.split_first() {
            Some((1, secret)) if secret.len() == KEY_BYTES => Self::from_key_file(secret),
            Some((2, secret)) => Self::from_passphrase(secret),
            _ => Err(Error::BadKey {
                why: "it was handed over in a way that is not known".to_owned(),
            }),
        }
    }

    fn kind(&self) -> &'static str {
        match &self.0 {
            Material::File(_) => KEY_FILE,
            Material::Passphrase(_) => PASSPHRASE,
        }
    }

    /// The key that wraps the data key; `None` when this is a key of another kind.
    fn wrapping(&self, kind: KeyKind, salt: &[u8; 16]) -> Result<Option<DataKey>, Error> {
        match (&self.0, kind) {
            (Material::File(key), KeyKind::File) => Ok(Some(key.clone())),
            (
                Material::Passphrase(passphrase),
                KeyKind::Passphrase {
                    lanes,
                    memory_kib,
                    passes,
                },
            ) => {
                let bad = || Error::Corrupt {
                    what: "key slot (cost of the passphrase)",
                    file: SUPERBLOCK.to_owned(),
                    offset: 88,
                    expected: 0,
                    found: 0,
                };
                if memory_kib > MEMORY_KIB_MAX || passes > PASSES_MAX {
                    return Err(bad());
                }
                let params = Params::new(memory_kib, passes, lanes.into(), Some(KEY_BYTES))
                    .map_err(|_| bad())?;
                let mut key = DataKey::default();
                Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                    .hash_password_into(passphrase, salt, &mut *key)
                    .map_err(|_| bad())?;
                Ok(Some(key))
            }
            _ => Ok(None),
        }
    }
}

const KEY_FILE: &str = "key file";
const PASSPHRASE: &str = "passphrase";

impl KeyKind {
    fn name(self) -> &'static str {
        match self {
            Self::File => KEY_FILE,
            Self::Passphrase { .. } => PASSPHRASE,
        }
    }
}

/// Where random bytes come from.
pub(crate) enum Nonces {
    System,
    /// The same each time: for simulations, where nothing is secret.
    Seeded(AtomicU64),
}

impl Nonces {
    pub(crate) fn of(seed: Option<u64>) -> Self {
        seed.map_or(Self::System, |seed| Self::Seeded(AtomicU64::new(seed)))
    }

    pub(crate) fn fill(&self, out: &mut [u8]) -> Result<(), Error> {
        match self {
            Self::System => rand::rngs::SysRng.try_fill_bytes(out).map_err(|e| {
                let e = std::io::Error::other(e);
                Error::io(Op::Read, "the system's random numbers", e)
            }),
            Self::Seeded(state) => {
                // SplitMix64.
                const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
                for part in out.chunks_mut(8) {
                    let mut z = state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
                    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                    z ^= z >> 31;
                    part.copy_from_slice(&z.to_le_bytes()[..part.len()]);
                }
                Ok(())
            }
        }
    }

    fn array<const N: usize>(&self) -> Result<[u8; N], Error> {
        let mut out = [0; N];
        self.fill(&mut out)?;
        Ok(out)
    }
}

/// What is authenticated with a part: the store, which kind of part, and where it belongs.
fn aad(store_id: &[u8; 16], label: &str, place: &[&[u8]]) -> Vec<u8> {
    let len = place.iter().map(|p| p.len()).sum::<usize>();
    let mut out = Vec::with_capacity(store_id.len() + label.len() + len);
    out.extend_from_slice(store_id);
    out.extend_from_slice(label.as_bytes());
    place.iter().for_each(|p| out.extend_from_slice(p));
    out
}

/// Encrypts in place; answers the tag.
fn seal_in_place(
    key: &DataKey,
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    buf: &mut [u8],
) -> [u8; TAG_BYTES] {
    Message::chacha(key, nonce).seal(0, aad, buf)
}

/// Decrypts into a buffer of its own; `None` when the tag does not fit.
fn open(key: &DataKey, nonce: &[u8; NONCE_BYTES], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (ciphertext, tag) = sealed.split_last_chunk()?;
    let mut plain = ciphertext.to_vec();
    let fits = Message::chacha(key, nonce).open(0, aad, &mut plain, tag);
    fits.then_some(plain)
}

// What unlocks the data key is wiped with whatever is made of it, which ring does not do.

/// Seals a data key into its slot.
fn wrap_key(wrapping: &DataKey, store_id: &[u8; 16], data: &DataKey, slot: &mut KeySlot) {
    let aad = aad(store_id, "key", &[&slot.head()]);
    let (sealed, tag) = slot.wrapped.split_at_mut(KEY_BYTES);
    sealed.copy_from_slice(&**data);
    let made = XChaCha20Poly1305::new((&**wrapping).into())
        .encrypt_inout_detached((&slot.nonce).into(), &aad, sealed.into())
        .expect("a key is short");
    tag.copy_from_slice(&made);
}

/// The data key in a slot; `None` when the tag does not fit.
fn unwrap_key(wrapping: &DataKey, store_id: &[u8; 16], slot: &KeySlot) -> Option<DataKey> {
    let aad = aad(store_id, "key", &[&slot.head()]);
    let (sealed, tag) = slot.wrapped.split_last_chunk::<TAG_BYTES>()?;
    let mut data = DataKey::default();
    data.copy_from_slice(sealed);
    XChaCha20Poly1305::new((&**wrapping).into())
        .decrypt_inout_detached(
            (&slot.nonce).into(),
            &aad,
            (&mut data[..]).into(),
            &(*tag).into(),
        )
        .ok()?;
    Some(data)
}

fn table_nonce(table: &[u8; TABLE_NONCE_BYTES], offset: u64) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce[..TABLE_NONCE_BYTES].copy_from_slice(table);
    nonce[TABLE_NONCE_BYTES..].copy_from_slice(&offset.to_le_bytes());
    nonce
}

#[derive(Clone)]
struct ByBytes;

/// What an entry of the cache takes beside its bytes, about.
const CACHE_ENTRY_BYTES: u64 = 128;

impl Weighter<(u64, u64), Bytes> for ByBytes {
    fn weight(&self, _: &(u64, u64), opened: &Bytes) -> u64 {
        opened.len() as u64 + CACHE_ENTRY_BYTES
    }
}

/// Seals and opens the parts of one encrypted store.
pub(crate) struct Seal {
    store_id: [u8; 16],
    key: DataKey,
    /// Large values are sealed in pieces; in stores that were made before that was so, whole.
    in_pieces: bool,
    nonces: Nonces,
    /// Parts of tables, by (table, offset).
    cache: Cache<(u64, u64), Bytes, ByBytes>,
}

impl Seal {
    fn with(
        store_id: [u8; 16],
        key: DataKey,
        in_pieces: bool,
        nonces: Nonces,
        cache_bytes: u64,
    ) -> Self {
        let parts = usize::try_from(cache_bytes / 4096).unwrap_or(usize::MAX);
        Self {
            store_id,
            key,
            in_pieces,
            nonces,
            cache: Cache::with_weighter(parts, cache_bytes, ByBytes),
        }
    }

    /// A new data key, and the slot in which it is wrapped.
    pub(crate) fn create(
        store_id: [u8; 16],
        key: &Key,
        nonces: Nonces,
        cache_bytes: u64,
    ) -> Result<(Self, KeySlot), Error> {
        let mut data = DataKey::default();
        nonces.fill(&mut *data)?;
        let seal = Self::with(store_id, data, true, nonces, cache_bytes);
        let slot = seal.wrap(key)?;
        Ok((seal, slot))
    }

    /// Unwraps the data key.
    ///
    /// # Errors
    /// `WrongKey`, `KeyNeeded`.
    pub(crate) fn unlock(
        store: &str,
        store_id: [u8; 16],
        slot: &KeySlot,
        key: Option<&Key>,
        nonces: Nonces,
        cache_bytes: u64,
    ) -> Result<Self, Error> {
        let wants = slot.kind.name();
        let store = store.to_owned();
        let Some(key) = key else {
            return Err(Error::KeyNeeded { store, wants });
        };
        let data = key
            .wrapping(slot.kind, &slot.salt)?
            .and_then(|wrapping| unwrap_key(&wrapping, &store_id, slot));
        let Some(data) = data else {
            let given = key.kind();
            return Err(Error::WrongKey {
                store,
                wants,
                given,
            });
        };
        Ok(Self::with(
            store_id,
            data,
            slot.in_pieces,
            nonces,
            cache_bytes,
        ))
    }

    /// The data key, wrapped by `key`.
    pub(crate) fn wrap(&self, key: &Key) -> Result<KeySlot, Error> {
        let (kind, salt) = match &key.0 {
            Material::File(_) => (KeyKind::File, [0; 16]),
            Material::Passphrase(_) => (NEW_PASSPHRASE, self.nonces.array()?),
        };
        let wrapping = key.wrapping(kind, &salt)?.unwrap_or_default();
        let mut slot = KeySlot {
            kind,
            in_pieces: self.in_pieces,
            salt,
            nonce: self.nonces.array()?,
            wrapped: [0; 48],
        };
        wrap_key(&wrapping, &self.store_id, &self.key, &mut slot);
        Ok(slot)
    }

    fn seal_with(&self, nonce: &[u8; NONCE_BYTES], aad: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(plain.len() + SEAL_BYTES);
        out.extend_from_slice(nonce);
        out.extend_from_slice(plain);
        let tag = seal_in_place(&self.key, nonce, aad, &mut out[NONCE_BYTES..]);
        out.extend_from_slice(&tag);
        out
    }

    fn open_with(&self, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_BYTES)?;
        open(&self.key, nonce.try_into().ok()?, aad, rest)
    }

    pub(crate) fn seal_body(&self, seq: u64, body: &[u8]) -> Result<Vec<u8>, Error> {
        let aad = aad(&self.store_id, "body", &[&seq.to_le_bytes()]);
        Ok(self.seal_with(&self.nonces.array()?, &aad, body))
    }

    pub(crate) fn open_body(&self, seq: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        let aad = aad(&self.store_id, "body", &[&seq.to_le_bytes()]);
        self.open_with(&aad, sealed)
    }

    /// Seals values for their keys; many at a time are shared between two cores.
    pub(crate) fn seal_values(&self, values: &[(Bytes, Bytes)]) -> Result<Vec<Bytes>, Error> {
        let mut nonces = vec![[0; NONCE_BYTES]; values.len()];
        self.nonces.fill(nonces.as_flattened_mut())?;
        let seal = |values: &[(Bytes, Bytes)], nonces: &[[u8; NONCE_BYTES]]| {
            let one = |((key, value), nonce): (&(Bytes, Bytes), &[u8; NONCE_BYTES])| {
                Bytes::from(self.seal_value(nonce, key, value))
            };
            values.iter().zip(nonces).map(one).collect::<Vec<_>>()
        };
        let total: usize = values.iter().map(|(_, value)| value.len()).sum();
        if values.len() < 2 || total < PARALLEL_BYTES {
            return Ok(seal(values, &nonces));
        }
        let mut first = 0;
        let half = values
            .iter()
            .position(|(_, value)| {
                first += value.len();
                first >= total / 2
            })
            .map_or(0, |at| at + 1);
        let (one, two) = values.split_at(half);
        let (one_nonces, two_nonces) = nonces.split_at(half);
        Ok(std::thread::scope(|scope| {
            let second = scope.spawn(|| seal(two, two_nonces));
            let mut sealed = seal(one, one_nonces);
            match second.join() {
                Ok(rest) => sealed.extend(rest),
                Err(panic) => std::panic::resume_unwind(panic),
            }
            sealed
        }))
    }

    fn seal_value(&self, nonce: &[u8; NONCE_BYTES], key: &[u8], value: &[u8]) -> Vec<u8> {
        if !self.in_pieces {
            let aad = aad(&self.store_id, "value", &[key]);
            return self.seal_with(nonce, &aad, value);
        }
        let aad = aad(&self.store_id, "piece", &[key]);
        pieces::seal(|nonce| Message::aes(&self.key, nonce), nonce, &aad, value)
    }

    /// Opens what of a value lies in `wanted`; the whole key may come in parts.
    pub(crate) fn open_value(
        &self,
        key: [&[u8]; 2],
        sealed: &[u8],
        wanted: Range<usize>,
    ) -> Option<Vec<u8>> {
        if self.in_pieces {
            let aad = aad(&self.store_id, "piece", &key);
            return pieces::open(|nonce| Message::aes(&self.key, nonce), &aad, sealed, wanted);
        }
        let mut value = self.open_with(&aad(&self.store_id, "value", &key), sealed)?;
        value.truncate(wanted.end);
        value.drain(..wanted.start.min(value.len()));
        Some(value)
    }

    /// How long a value of `plain` bytes is when it is sealed; `None` where no number is so large.
    pub(crate) fn sealed_bytes(&self, plain: u64) -> Option<u64> {
        match self.in_pieces {
            true => pieces::sealed_bytes(plain),
            false => plain.checked_add(SEAL_BYTES as u64),
        }
    }

    /// The reverse of [`sealed_bytes`](Self::sealed_bytes); `None` when no value has this length.
    pub(crate) fn plain_bytes(&self, sealed: u64) -> Option<u64> {
        match self.in_pieces {
            true => pieces::plain_bytes(sealed),
            false => sealed.checked_sub(SEAL_BYTES as u64),
        }
    }

    pub(crate) fn seal_manifest(&self, generation: u64, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let aad = aad(&self.store_id, "manifest", &[&generation.to_le_bytes()]);
        Ok(self.seal_with(&self.nonces.array()?, &aad, plain))
    }

    pub(crate) fn open_manifest(&self, generation: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        let aad = aad(&self.store_id, "manifest", &[&generation.to_le_bytes()]);
        self.open_with(&aad, sealed)
    }

    /// The random part of the nonces of a new table.
    pub(crate) fn new_table(&self) -> Result<[u8; TABLE_NONCE_BYTES], Error> {
        self.nonces.array()
    }

    /// Encrypts a part of a table in place; answers the tag.
    pub(crate) fn seal_part(
        &self,
        table: u64,
        nonce: &[u8; TABLE_NONCE_BYTES],
        offset: u64,
        part: &mut [u8],
    ) -> [u8; TAG_BYTES] {
        let aad = aad(&self.store_id, "table", &[&table.to_le_bytes()]);
        seal_in_place(&self.key, &table_nonce(nonce, offset), &aad, part)
    }

    /// Opens a part of a table, or answers it from memory.
    pub(crate) fn open_part(
        &self,
        table: u64,
        nonce: &[u8; TABLE_NONCE_BYTES],
        offset: u64,
        sealed: &[u8],
    ) -> Option<Bytes> {
        let aad = aad(&self.store_id, "table", &[&table.to_le_bytes()]);
        let plain = open(&self.key, &table_nonce(nonce, offset), &aad, sealed)?;
        let part = Bytes::from(plain);
        self.cache.insert((table, offset), part.clone());
        Some(part)
    }

    /// A part of a table that was opened before, and is still in memory.
    pub(crate) fn opened_part(&self, table: u64, offset: u64) -> Option<Bytes> {
        self.cache.get(&(table, offset))
    }

    /// The tag of a footer, which is not encrypted.
    pub(crate) fn footer_tag(
        &self,
        table: u64,
        nonce: &[u8; TABLE_NONCE_BYTES],
        offset: u64,
        footer: &[u8],
    ) -> [u8; TAG_BYTES] {
        let aad = aad(&self.store_id, "footer", &[&table.to_le_bytes(), footer]);
        seal_in_place(&self.key, &table_nonce(nonce, offset), &aad, &mut [])
    }

    /// True when this is the footer that was written.
    pub(crate) fn footer_holds(
        &self,
        table: u64,
        nonce: &[u8; TABLE_NONCE_BYTES],
        offset: u64,
        footer: &[u8],
        tag: &[u8; TAG_BYTES],
    ) -> bool {
        let aad = aad(&self.store_id, "footer", &[&table.to_le_bytes(), footer]);
        open(&self.key, &table_nonce(nonce, offset), &aad, tag).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal_of(key: &Key) -> (Seal, KeySlot) {
        Seal::create([1; 16], key, Nonces::of(Some(7)), 1 << 20).unwrap()
    }

    fn unlock(slot: &KeySlot, key: Option<&Key>) -> Result<Seal, Error> {
        Seal::unlock("s", [1; 16], slot, key, Nonces::of(Some(9)), 1 << 20)
    }

    #[test]
    fn a_key_file_reads_as_written() {
        let key = Key::generate().unwrap();
        let text = key.to_key_file().unwrap();
        assert_eq!(text.len(), 65);
        let again = Key::from_key_file(text.as_bytes()).unwrap();
        assert_eq!(again.to_key_file(), Some(text));
        let raw = Key::from_key_file(&[0xab; 32]).unwrap();
        let hex = Key::from_key_file(" ABab".repeat(16).replace(' ', "").as_bytes()).unwrap();
        assert_eq!(raw.to_key_file(), hex.to_key_file());
        for bad in [&b""[..], &[1; 31], &[1; 33], &[b'g'; 64], &[b'a'; 63]] {
            let error = Key::from_key_file(bad).unwrap_err();
            assert_eq!(error.code(), "BAD_KEY");
        }
        assert_eq!(Key::from_passphrase(b"").unwrap_err().code(), "BAD_KEY");
        assert_eq!(format!("{raw:?}"), "Key(key file)");
        for key in [raw, Key::from_passphrase(b"correct horse").unwrap()] {
            let again = Key::from_bytes(&key.to_bytes()).unwrap();
            assert_eq!(again.to_bytes(), key.to_bytes());
        }
        for bad in [&b""[..], &[0], &[1, 2], &[2], &[3, 1]] {
            assert_eq!(Key::from_bytes(bad).unwrap_err().code(), "BAD_KEY");
        }
    }

    #[test]
    fn only_the_key_that_wrapped_opens() {
        let file = Key::generate().unwrap();
        let passphrase = Key::from_passphrase(b"correct horse").unwrap();
        let (seal, by_file) = seal_of(&file);
        let by_passphrase = seal.wrap(&passphrase).unwrap();
        let sealed = seal.seal_body(5, b"text").unwrap();
        for (slot, key) in [(&by_file, &file), (&by_passphrase, &passphrase)] {
            let opened = unlock(slot, Some(key)).unwrap();
            assert_eq!(opened.open_body(5, &sealed).unwrap(), b"text");
            assert_eq!(unlock(slot, None).err().unwrap().code(), "KEY_NEEDED");
        }
        let other = Key::generate().unwrap();
        let near = Key::from_passphrase(b"correct hors").unwrap();
        for (slot, key) in [
            (&by_file, &other),
            (&by_file, &passphrase),
            (&by_passphrase, &near),
            (&by_passphrase, &file),
        ] {
            assert_eq!(unlock(slot, Some(key)).err().unwrap().code(), "WRONG_KEY");
        }
        let mut costly = by_passphrase;
        costly.kind = KeyKind::Passphrase {
            lanes: 1,
            memory_kib: u32::MAX,
            passes: 1,
        };
        let error = unlock(&costly, Some(&passphrase)).err().unwrap();
        assert_eq!(error.code(), "CORRUPT");
    }

    #[test]
    fn a_part_opens_in_its_place_only() {
        let (seal, _) = seal_of(&Key::generate().unwrap());
        let body = seal.seal_body(5, b"text").unwrap();
        assert_eq!(seal.open_body(6, &body), None);
        let plain = (Bytes::from_static(b"key"), Bytes::from_static(b"value"));
        let value = seal.seal_values(&[plain]).unwrap().remove(0);
        let open = |rest| seal.open_value([b"k", rest], &value, 0..usize::MAX);
        assert_eq!(open(&b"ey"[..]).unwrap(), b"value");
        assert_eq!(open(&b"ez"[..]), None);
        assert_eq!(seal.open_body(5, &value), None);
        let manifest = seal.seal_manifest(3, b"m").unwrap();
        assert_eq!(seal.open_manifest(3, &manifest).unwrap(), b"m");
        assert_eq!(seal.open_manifest(4, &manifest), None);
        let mut part = b"block".to_vec();
        let tag = seal.seal_part(2, &[9; 16], 4096, &mut part);
        part.extend_from_slice(&tag);
        let opened = |table, offset| seal.open_part(table, &[9; 16], offset, &part);
        assert_eq!(opened(2, 4096).unwrap(), "block");
        assert_eq!(opened(3, 4096), None);
        assert_eq!(opened(2, 0), None);
        let tag = seal.footer_tag(2, &[9; 16], 8192, b"footer");
        let holds = |footer: &[u8]| seal.footer_holds(2, &[9; 16], 8192, footer, &tag);
        assert!(holds(b"footer") && !holds(b"footes"));
        for at in 0..body.len() {
            let mut bad = body.clone();
            bad[at] ^= 1;
            assert_eq!(seal.open_body(5, &bad), None, "byte {at}");
            assert_eq!(seal.open_body(5, &body[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn many_values_are_sealed_as_one_by_one() {
        let (seal, _) = seal_of(&Key::generate().unwrap());
        for count in [1, 2, 3, 9] {
            let values: Vec<_> = (0..count as u8)
                .map(|n| (Bytes::from(vec![n]), Bytes::from(vec![n; 200_000])))
                .collect();
            let sealed = seal.seal_values(&values).unwrap();
            assert_eq!(sealed.len(), count);
            for ((key, value), sealed) in values.iter().zip(&sealed) {
                let opened = seal.open_value([key, b""], sealed, 0..usize::MAX);
                assert_eq!(opened.unwrap(), &value[..]);
            }
        }
    }
}
