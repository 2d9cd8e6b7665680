//! Hashes, signatures and sealed boxes, byte for byte as hypercore-crypto has them.
//!
//! Every hash is BLAKE2b with 32 bytes of output; signatures are Ed25519; sealed boxes are libsodium's `crypto_box_seal`.
//! Source: hypercore-crypto 3.7.0, `index.js`. Vectors: `tests/vectors/crypto.json`.

use blake2b_simd::{
    Params, State,
    many::{HashManyJob, MAX_DEGREE, hash_many, update_many},
};
use crypto_box::aead::OsRng;
use ed25519_dalek::{Digest, Sha512, Signature, Signer, SigningKey, VerifyingKey};
use pome_encoding::{DiscoveryKey, Key};
use std::{fmt, sync::Arc};
use zeroize::{Zeroize, Zeroizing};

/// A hash: BLAKE2b-256.
pub type Hash = [u8; 32];

const LEAF: u8 = 0;
const PARENT: u8 = 1;
const ROOT: u8 = 2;

/// The bytes hashed in front of a leaf: its type and its length, `u64` little-endian.
const LEAF_PREFIX: usize = 9;

/// The bytes hashed for a parent: its type, its size and two hashes.
const PARENT_INPUT: usize = 73;

/// Up to this size (bytes) a leaf is copied next to its prefix, so that several are hashed at once to the end. Above it the copy costs
/// more than the serial last step that the other way has.
const COPY_MAX: usize = 4096;

fn blake2b() -> Params {
    let mut params = Params::new();
    params.hash_length(32);
    params
}

fn done(state: &State) -> Hash {
    let mut out = [0; 32];
    out.copy_from_slice(state.finalize().as_bytes());
    out
}

fn hash_with(params: &Params, parts: &[&[u8]]) -> Hash {
    let mut state = params.to_state();
    for part in parts {
        state.update(part);
    }
    done(&state)
}

/// The hash of the parts, one after the other with nothing in between.
pub fn hash(parts: &[&[u8]]) -> Hash {
    hash_with(&blake2b(), parts)
}

/// The hash of the parts under a key.
///
/// # Panics
/// When `key` is longer than 64 bytes: no caller has such a key.
pub fn hash_keyed(key: &[u8], parts: &[&[u8]]) -> Hash {
    hash_with(blake2b().key(key), parts)
}

/// A node of a Merkle tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Node {
    /// Its place: even numbers are leaves (2 × block), odd ones parents.
    pub index: u64,
    /// How many bytes of data are below it.
    pub size: u64,
    /// Its hash.
    pub hash: Hash,
}

/// The hash of one block (npm `data`): type 0, length in bytes (`u64` LE), the bytes.
pub fn leaf_hash(block: &[u8]) -> Hash {
    hash(&[&leaf_prefix(block), block])
}

fn leaf_prefix(block: &[u8]) -> [u8; LEAF_PREFIX] {
    let mut prefix = [LEAF; LEAF_PREFIX];
    prefix[1..].copy_from_slice(&(block.len() as u64).to_le_bytes());
    prefix
}

/// [`leaf_hash`] of each block, several at once: about twice as fast as one by one where the processor has AVX2.
pub fn leaf_hashes(blocks: &[&[u8]]) -> Vec<Hash> {
    let params = blake2b();
    let mut out = Vec::with_capacity(blocks.len());
    let mut input: [Vec<u8>; MAX_DEGREE] = Default::default();
    for group in blocks.chunks(MAX_DEGREE) {
        if group.len() == 1 {
            out.push(leaf_hash(group[0]));
        } else if group.iter().all(|block| block.len() <= COPY_MAX) {
            for (input, block) in input.iter_mut().zip(group) {
                input.clear();
                input.extend_from_slice(&leaf_prefix(block));
                input.extend_from_slice(block);
            }
            let mut jobs: [HashManyJob<'_>; MAX_DEGREE] =
                std::array::from_fn(|i| HashManyJob::new(&params, &input[i]));
            let jobs = &mut jobs[..group.len()];
            hash_many(jobs.iter_mut());
            out.extend(jobs.iter().map(|job| {
                let mut hash = [0; 32];
                hash.copy_from_slice(job.to_hash().as_bytes());
                hash
            }));
        } else {
            let mut states: [State; MAX_DEGREE] = std::array::from_fn(|_| params.to_state());
            let states = &mut states[..group.len()];
            for (state, block) in states.iter_mut().zip(group) {
                state.update(&leaf_prefix(block));
            }
            update_many(states.iter_mut().zip(group));
            out.extend(states.iter().map(done));
        }
    }
    out
}

/// The hash of the parent of two nodes, in either order: type 1, both sizes added (`u64` LE), the hashes from left to right.
///
/// Sizes that a peer sent must be checked before: here a sum past 2⁶⁴ stops at the largest number.
pub fn parent_hash(a: &Node, b: &Node) -> Hash {
    let (left, right) = if a.index > b.index { (b, a) } else { (a, b) };
    let size = left.size.saturating_add(right.size).to_le_bytes();
    hash(&[&[PARENT], &size, &left.hash, &right.hash])
}

/// [`parent_hash`] of the first and second node, the third and fourth …, several at once; a last one without a partner is left out.
/// Each pair must be in order, left node first. The hashes are added to `out`.
pub fn parent_hashes(nodes: &[Node], out: &mut Vec<Hash>) {
    let params = blake2b();
    let mut input = [[0; PARENT_INPUT]; MAX_DEGREE];
    for group in nodes.chunks(2 * MAX_DEGREE) {
        let mut count = 0;
        for (pair, input) in group.chunks_exact(2).zip(&mut input) {
            let (left, right) = (&pair[0], &pair[1]);
            input[0] = PARENT;
            input[1..9].copy_from_slice(&left.size.saturating_add(right.size).to_le_bytes());
            input[9..41].copy_from_slice(&left.hash);
            input[41..].copy_from_slice(&right.hash);
            count += 1;
        }
        let mut jobs: [HashManyJob<'_>; MAX_DEGREE] =
            std::array::from_fn(|i| HashManyJob::new(&params, &input[i]));
        let jobs = &mut jobs[..count];
        hash_many(jobs.iter_mut());
        out.extend(jobs.iter().map(|job| {
            let mut hash = [0; 32];
            hash.copy_from_slice(job.to_hash().as_bytes());
            hash
        }));
    }
}

/// The tree hash (npm `tree`): type 2, then each root's hash, index and size (`u64` LE), from left to right.
pub fn tree_hash(roots: &[Node]) -> Hash {
    let mut state = blake2b().to_state();
    state.update(&[ROOT]);
    for root in roots {
        state
            .update(&root.hash)
            .update(&root.index.to_le_bytes())
            .update(&root.size.to_le_bytes());
    }
    done(&state)
}

/// Under which id peers look for the core `key`: the hash of `"hypercore"` keyed with it.
pub fn discovery_key(key: &Key) -> DiscoveryKey {
    DiscoveryKey(hash_keyed(&key.0, &[b"hypercore"]))
}

/// Number `id` of the namespaces of `name`: the hash of `hash(name)` and the id byte.
pub fn namespace(name: impl AsRef<[u8]>, id: u8) -> Hash {
    hash(&[&hash(&[name.as_ref()]), &[id]])
}

/// The first `N` namespaces of `name` (npm `namespace(name, N)`).
///
/// ```
/// use pome_cores::crypto::{namespace, namespaces};
/// let [tree, initiator] = namespaces("hypercore");
/// assert_eq!(tree, namespace("hypercore", 0));
/// assert_eq!(initiator, namespace("hypercore", 1));
/// ```
pub fn namespaces<const N: usize>(name: impl AsRef<[u8]>) -> [Hash; N] {
    const { assert!(N <= 256, "an id is one byte") };
    let base = hash(&[name.as_ref()]);
    std::array::from_fn(|id| hash(&[&base, &[id as u8]]))
}

/// Fills `out` with random bytes from the operating system.
///
/// # Panics
/// When the operating system has no random bytes to give: no key could be made then.
pub fn fill_random(out: &mut [u8]) {
    getrandom::fill(out).expect("the operating system gives random bytes");
}

/// `N` random bytes, as [`fill_random`].
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    fill_random(&mut out);
    out
}

/// An Ed25519 key pair. The secret half is wiped from memory when it is dropped, and never printed.
///
/// ```
/// use pome_cores::crypto::{KeyPair, verify};
/// let pair = KeyPair::from_seed(&[1; 32]);
/// let signature = pair.sign(b"message");
/// assert!(verify(b"message", &signature, &pair.public));
/// assert!(!verify(b"another", &signature, &pair.public));
/// ```
#[derive(Clone)]
pub struct KeyPair {
    /// The public half.
    pub public: [u8; 32],
    /// Shared by the clones: it is large, with the point that belongs to it.
    signing: Arc<SigningKey>,
}

impl KeyPair {
    /// The pair that belongs to a seed. The same seed gives the same pair.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let signing = SigningKey::from_bytes(seed);
        Self {
            public: signing.verifying_key().to_bytes(),
            signing: Arc::new(signing),
        }
    }

    /// A new pair from random bytes.
    pub fn random() -> Self {
        Self::from_seed(&Zeroizing::new(random_bytes()))
    }

    /// The pair of a libsodium secret key: the seed, then the public key. `None` when the two do not belong together.
    pub fn from_secret_key(secret: &[u8; 64]) -> Option<Self> {
        let (seed, public) = secret.split_first_chunk::<32>()?;
        let pair = Self::from_seed(seed);
        (pair.public == *public).then_some(pair)
    }

    /// The 32 bytes that the pair is made from: as secret as the secret key.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.signing.to_bytes())
    }

    /// The secret key as libsodium keeps it: the seed, then the public key.
    pub fn secret_key(&self) -> Zeroizing<[u8; 64]> {
        Zeroizing::new(self.signing.to_keypair_bytes())
    }

    /// Signs a message. Ed25519 draws nothing at random: one message has one signature.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signing.sign(message).to_bytes()
    }
}

impl PartialEq for KeyPair {
    fn eq(&self, other: &Self) -> bool {
        self.public == other.public
    }
}
impl Eq for KeyPair {}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair")
            .field("public", &Key(self.public).to_hex())
            .finish_non_exhaustive()
    }
}

/// True when `signature` is the one that the owner of `public` made for `message`. Any wrong length is simply false.
///
/// As strict as libsodium: a signature with another spelling (S not reduced), keys and points of small order, and public keys that are
/// not in canonical form are refused.
pub fn verify(message: &[u8], signature: &[u8], public: &[u8]) -> bool {
    let (Ok(public), Ok(signature)) = (
        <&[u8; 32]>::try_from(public),
        <&[u8; 64]>::try_from(signature),
    ) else {
        return false;
    };
    is_canonical(public)
        && VerifyingKey::from_bytes(public).is_ok_and(|key| {
            key.verify_strict(message, &Signature::from_bytes(signature))
                .is_ok()
        })
}

/// False when the y coordinate is 2²⁵⁵ − 19 or more: such a point has a second, smaller spelling.
fn is_canonical(point: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = point;
    *first < 0xed || last & 0x7f != 0x7f || middle.iter().any(|b| *b != 0xff)
}

/// An X25519 key pair, to which boxes are sealed. The secret half is wiped from memory when it is dropped, and never printed.
///
/// ```
/// use pome_cores::crypto::{EncryptionKeyPair, encrypt};
/// let pair = EncryptionKeyPair::from_seed(&[1; 32]);
/// let sealed = encrypt(b"for your eyes", &pair.public);
/// assert_eq!(pair.decrypt(&sealed).as_deref(), Some(&b"for your eyes"[..]));
/// ```
#[derive(Clone)]
pub struct EncryptionKeyPair {
    /// The public half.
    pub public: [u8; 32],
    secret: crypto_box::SecretKey,
}

impl EncryptionKeyPair {
    /// The pair that belongs to a seed (npm `encryptionKeyPair(seed)`): the secret key is the first half of the seed's SHA-512.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let mut digest: [u8; 64] = Sha512::digest(seed).into();
        let mut secret = [0; 32];
        secret.copy_from_slice(&digest[..32]);
        let pair = Self::from_secret_key(&secret);
        digest.zeroize();
        secret.zeroize();
        pair
    }

    /// A new pair from random bytes.
    pub fn random() -> Self {
        Self::from_secret_key(&Zeroizing::new(random_bytes()))
    }

    /// The pair of a secret key.
    pub fn from_secret_key(secret: &[u8; 32]) -> Self {
        let secret = crypto_box::SecretKey::from_bytes(*secret);
        Self {
            public: *secret.public_key().as_bytes(),
            secret,
        }
    }

    /// The secret key.
    pub fn secret_key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.secret.to_bytes())
    }

    /// Opens a box that was sealed to this pair with [`encrypt`]. `None` when it was not, or was changed.
    pub fn decrypt(&self, ciphertext: &[u8]) -> Option<Vec<u8>> {
        self.secret.unseal(ciphertext).ok()
    }
}

impl fmt::Debug for EncryptionKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptionKeyPair")
            .field("public", &Key(self.public).to_hex())
            .finish_non_exhaustive()
    }
}

/// Seals a message to a public key of an [`EncryptionKeyPair`]: 48 bytes longer than the message, other bytes each time, and nothing in
/// it tells who sealed it.
pub fn encrypt(message: &[u8], public: &[u8; 32]) -> Vec<u8> {
    crypto_box::PublicKey::from_bytes(*public)
        .seal(&mut OsRng, message)
        .expect("a message that is in memory is short enough for one box")
}
