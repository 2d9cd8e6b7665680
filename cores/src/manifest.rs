//! Manifests: who may sign a core. A core's key is the hash of its manifest.
//!
//! Versions 0 to 3 are read and written. Source: hypercore 11.37.1, `lib/messages.js` (`manifest`) and `lib/verifier.js`
//! (`createManifest`). Vectors: `tests/vectors/core.json`, `manifests`, `manifest_refused`, `manifest_bytes`.
//!
//! ```text
//! v1 and up: version · flags · hash 0 · quorum · signers · [prologue] · [linked] · [user data]
//! v0:        0 · hash 0 · type 0 · prologue hash
//!            0 · hash 0 · type 1 · signer
//!            0 · hash 0 · type 2 · flags · quorum · signers
//! signer:    0 (Ed25519) · namespace (32) · public key (32)
//! ```

use pome_encoding::{DecodeError, Key, Reader, put_buffer, put_uint};

use crate::{caps, crypto};

const PATCH: u64 = 1;
const PROLOGUE: u64 = 2;
const LINKED: u64 = 4;
const USER_DATA: u64 = 8;

/// The newest version that is known.
pub const MANIFEST_VERSION_MAX: u8 = 3;

/// One signer of a core: an Ed25519 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signer {
    /// Keeps one use of the key apart from another.
    pub namespace: [u8; 32],
    /// Verifies what it signs.
    pub public_key: [u8; 32],
}

impl Signer {
    /// A signer in the default namespace.
    #[must_use]
    pub fn new(public_key: [u8; 32]) -> Self {
        Self {
            namespace: caps::default_namespace(),
            public_key,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_uint(out, 0);
        out.extend_from_slice(&self.namespace);
        out.extend_from_slice(&self.public_key);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        zero(input, "signature id")?;
        Ok(Self {
            namespace: input.fixed()?,
            public_key: input.fixed()?,
        })
    }
}

/// The start of a core that is fixed by its manifest: valid by its hash, without a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prologue {
    /// Tree hash at that length.
    pub hash: [u8; 32],
    /// In blocks.
    pub length: u64,
}

/// Who may sign a core.
///
/// ```
/// use pome_cores::Manifest;
/// let manifest = Manifest::single([7; 32]);
/// assert_eq!((manifest.version, manifest.quorum), (1, 1));
/// assert_eq!(Manifest::decode(&manifest.encode())?, manifest);
/// assert_ne!(manifest.key().0, [7; 32]); // the key is the hash of the manifest, not the public key
/// # Ok::<_, pome_encoding::DecodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// 0 to 3.
    pub version: u8,
    /// Signers may sign different lengths; the signature then carries the nodes between them.
    pub allow_patch: bool,
    /// How many signers must sign.
    pub quorum: u64,
    /// Who they are; none for a static core, which is all prologue.
    pub signers: Vec<Signer>,
    /// The fixed start, if any. Version 0 keeps only its hash, and only without signers.
    pub prologue: Option<Prologue>,
    /// Keys of cores that belong to this one (version 2 and up).
    pub linked: Option<Vec<Key>>,
    /// Anything (version 2 and up).
    pub user_data: Option<Vec<u8>>,
}

/// What [`Manifest::create`] starts from. Each field that is left out gets npm's default.
#[derive(Debug, Clone, Default)]
pub struct ManifestOptions {
    /// Default: 2 with linked keys or user data, else 1.
    pub version: Option<u8>,
    /// Default: false.
    pub allow_patch: bool,
    /// Default: more than half of the signers; 0 without signers.
    pub quorum: Option<u64>,
    /// Default: none.
    pub signers: Vec<Signer>,
    /// Default: none.
    pub prologue: Option<Prologue>,
    /// Default: none.
    pub linked: Vec<Key>,
    /// Default: none.
    pub user_data: Option<Vec<u8>>,
}

/// Why a manifest was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// More signatures wanted than there are signers.
    #[error("a quorum of {quorum} needs as many signers, the manifest has {signers}")]
    Quorum {
        /// Wanted.
        quorum: u64,
        /// There.
        signers: usize,
    },
    /// A field that this version has no place for.
    #[error("a manifest of version {version} has no {field}")]
    Field {
        /// Of the manifest.
        version: u8,
        /// Which.
        field: &'static str,
    },
    /// A version that is not known.
    #[error("manifest version {version} is not known (0 to 3)")]
    Version {
        /// Given.
        version: u8,
    },
    /// The bytes are no manifest.
    #[error("not a manifest: {0}")]
    Decode(#[from] DecodeError),
    /// The manifest is not the one that the key stands for.
    #[error("the manifest does not hash to key {key}")]
    WrongKey {
        /// Wanted.
        key: Key,
    },
    /// A key pair that is none of the signers.
    #[error("the key pair belongs to no signer of the manifest")]
    NotASigner,
    /// Parts of a signature that cannot be put together.
    #[error("a patch of a multisig part has no nodes")]
    EmptyPatch,
}

impl ManifestError {
    /// The code that npm's error has.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Decode(_) => "DECODING_ERROR",
            Self::WrongKey { .. } => "INVALID_CHECKSUM",
            Self::Quorum { .. }
            | Self::Field { .. }
            | Self::Version { .. }
            | Self::NotASigner
            | Self::EmptyPatch => "BAD_ARGUMENT",
        }
    }
}

impl Manifest {
    /// The default manifest of a public key: version 1, one signer, default namespace.
    #[must_use]
    pub fn single(public_key: [u8; 32]) -> Self {
        Self::single_signer(1, Signer::new(public_key))
    }

    /// A manifest with one signer.
    #[must_use]
    pub fn single_signer(version: u8, signer: Signer) -> Self {
        Self {
            version,
            allow_patch: false,
            quorum: 1,
            signers: vec![signer],
            prologue: None,
            linked: None,
            user_data: None,
        }
    }

    /// A manifest from options, checked.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn create(options: ManifestOptions) -> Result<Self, ManifestError> {
        let newest = !options.linked.is_empty() || options.user_data.is_some();
        let signers = options.signers.len() as u64;
        let default_quorum = if signers == 0 { 0 } else { signers / 2 + 1 };
        let manifest = Self {
            version: options.version.unwrap_or(if newest { 2 } else { 1 }),
            allow_patch: options.allow_patch,
            quorum: options.quorum.unwrap_or(default_quorum),
            signers: options.signers,
            prologue: options.prologue,
            linked: (!options.linked.is_empty()).then_some(options.linked),
            user_data: options.user_data,
        };
        manifest.validate()?;
        Ok(manifest)
    }

    /// Checks what decoding accepts but npm refuses when such a core is opened.
    ///
    /// # Errors
    /// A quorum above the number of signers, an unknown version, linked keys or user data before version 2.
    pub fn validate(&self) -> Result<(), ManifestError> {
        let version = self.version;
        if version > MANIFEST_VERSION_MAX {
            return Err(ManifestError::Version { version });
        }
        if self.quorum > self.signers.len() as u64 {
            return Err(ManifestError::Quorum {
                quorum: self.quorum,
                signers: self.signers.len(),
            });
        }
        let fields = [
            ("user data", self.user_data.is_some()),
            (
                "linked keys",
                self.linked.as_ref().is_some_and(|keys| !keys.is_empty()),
            ),
        ];
        match fields.iter().find(|(_, there)| *there && version < 2) {
            Some((field, _)) => Err(ManifestError::Field { version, field }),
            None => Ok(()),
        }
    }

    /// The key of the core: BLAKE2b of the manifest namespace and the encoded manifest.
    #[must_use]
    pub fn key(&self) -> Key {
        Key(crypto::hash(&[
            &caps::namespaces().manifest,
            &self.encode(),
        ]))
    }

    /// True when this is the manifest that `key` stands for.
    #[must_use]
    pub fn is_valid_for(&self, key: &Key) -> bool {
        self.key() == *key
    }

    /// True when `key` is the public key of the only signer: a core made the way of version 10 (`compat`).
    #[must_use]
    pub fn is_compat(&self, key: &Key) -> bool {
        matches!(self.signers.as_slice(), [signer] if signer.public_key == key.0)
    }

    /// The manifest as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + 65 * self.signers.len());
        self.encode_to(&mut out);
        out
    }

    /// Appends the manifest as bytes.
    pub fn encode_to(&self, out: &mut Vec<u8>) {
        put_uint(out, u64::from(self.version));
        if self.version == 0 {
            return self.encode_v0(out);
        }
        let flag = |there: bool, flag: u64| if there { flag } else { 0 };
        let flags = flag(self.allow_patch, PATCH)
            | flag(self.prologue.is_some(), PROLOGUE)
            | flag(self.linked.is_some(), LINKED)
            | flag(self.user_data.is_some(), USER_DATA);
        put_uint(out, flags);
        put_uint(out, 0);
        put_uint(out, self.quorum);
        self.encode_signers(out);
        if let Some(prologue) = &self.prologue {
            out.extend_from_slice(&prologue.hash);
            put_uint(out, prologue.length);
        }
        if let Some(linked) = &self.linked {
            put_uint(out, linked.len() as u64);
            for key in linked {
                out.extend_from_slice(&key.0);
            }
        }
        if let Some(user_data) = &self.user_data {
            put_buffer(out, user_data);
        }
    }

    fn encode_signers(&self, out: &mut Vec<u8>) {
        put_uint(out, self.signers.len() as u64);
        for signer in &self.signers {
            signer.encode(out);
        }
    }

    fn encode_v0(&self, out: &mut Vec<u8>) {
        put_uint(out, 0);
        match (&self.signers[..], &self.prologue) {
            ([], Some(prologue)) => {
                put_uint(out, 0);
                out.extend_from_slice(&prologue.hash);
            }
            ([signer], _) if self.quorum == 1 && !self.allow_patch => {
                put_uint(out, 1);
                signer.encode(out);
            }
            _ => {
                put_uint(out, 2);
                put_uint(out, u64::from(self.allow_patch));
                put_uint(out, self.quorum);
                self.encode_signers(out);
            }
        }
    }

    /// Reads a manifest. Unknown flags and trailing bytes are dropped, as npm does; the manifest is not [validated](Self::validate).
    ///
    /// # Errors
    /// Input too short, an unknown version, type, hash or signature id.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_from(&mut Reader::new(bytes))
    }

    /// Reads a manifest out of something larger; as [`decode`](Self::decode).
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_from(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = input.uint()?;
        if version == 0 {
            return Self::decode_v0(input);
        }
        let version = u8::try_from(version)
            .ok()
            .filter(|version| *version <= MANIFEST_VERSION_MAX)
            .ok_or(DecodeError::Invalid {
                what: "manifest version",
            })?;
        let flags = input.uint()?;
        zero(input, "manifest hash id")?;
        let quorum = input.uint()?;
        let signers = decode_list(input, 65, Signer::decode)?;
        let has = |flag| flags & flag != 0;
        let prologue = match has(PROLOGUE) {
            true => Some(Prologue {
                hash: input.fixed()?,
                length: input.uint()?,
            }),
            false => None,
        };
        let linked = match has(LINKED) {
            true => Some(decode_list(input, 32, |input| Ok(Key(input.fixed()?)))?),
            false => None,
        };
        let user_data = match has(USER_DATA) {
            true => Some(input.buffer()?.to_vec()),
            false => None,
        };
        Ok(Self {
            version,
            allow_patch: has(PATCH),
            quorum,
            signers,
            prologue,
            linked,
            user_data,
        })
    }

    fn decode_v0(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        zero(input, "manifest hash id")?;
        let mut manifest = Self {
            version: 0,
            allow_patch: false,
            quorum: 0,
            signers: Vec::new(),
            prologue: None,
            linked: None,
            user_data: None,
        };
        match input.uint()? {
            0 => {
                let hash = input.fixed()?;
                manifest.prologue = Some(Prologue { hash, length: 0 });
            }
            1 => {
                manifest.quorum = 1;
                manifest.signers.push(Signer::decode(input)?);
            }
            2 => {
                manifest.allow_patch = input.uint()? & PATCH != 0;
                manifest.quorum = input.uint()?;
                manifest.signers = decode_list(input, 65, Signer::decode)?;
            }
            _ => {
                return Err(DecodeError::Invalid {
                    what: "manifest type",
                });
            }
        }
        Ok(manifest)
    }
}

/// Reads an id that has only one known value, 0.
fn zero(input: &mut Reader<'_>, what: &'static str) -> Result<(), DecodeError> {
    match input.uint()? {
        0 => Ok(()),
        _ => Err(DecodeError::Invalid { what }),
    }
}

/// Reads a count and as many items of at least `size` bytes each; allocates only for what the input has room for.
pub(crate) fn decode_list<T>(
    input: &mut Reader<'_>,
    size: usize,
    mut item: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = input.uint()?;
    let left = input.rest().len();
    if count > (left / size) as u64 {
        return Err(DecodeError::OutOfBounds {
            wanted: count.saturating_mul(size as u64),
            left,
        });
    }
    (0..count).map(|_| item(input)).collect()
}
