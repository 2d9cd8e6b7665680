//! How cores are asked for, and what they answer.

use std::{fmt, sync::Arc, time::Duration};

use pome_encoding::{DiscoveryKey, Key};
use zeroize::Zeroizing;

use crate::{crypto::KeyPair, manifest::Manifest};

/// The largest block that can be appended: 15 MiB (npm `MAX_SUGGESTED_BLOCK_SIZE`, enforced in spite of its name).
pub const MAX_BLOCK_SIZE: usize = 15 * 1024 * 1024;

/// How a store of cores is opened. `Default` is what [`Corestore::open`](crate::Corestore::open) takes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CorestoreOptions {
    /// The secret from which names become key pairs. Default: random at the first open, then the stored one. A key that differs from the
    /// stored one is refused. Two stores with one primary key can sign two histories of one core: only for restoring and tests.
    pub primary_key: Option<[u8; 32]>,
    /// The version of the manifests of named cores, 1 to 3. It is part of their keys. Default: 1. As in npm, 0 means the default.
    pub manifest_version: u8,
    /// False: no core opened through this handle can be appended to. Default: true.
    pub writable: bool,
    /// The namespace that names are in. Default: 32 zero bytes, the root.
    pub namespace: [u8; 32],
    /// False: sessions do not keep their cores downloading unless they say so. Default: true.
    pub active: bool,
}

impl Default for CorestoreOptions {
    fn default() -> Self {
        Self {
            primary_key: None,
            manifest_version: 1,
            writable: true,
            namespace: [0; 32],
            active: true,
        }
    }
}

/// The key that encrypts the blocks of a core, as it is given.
#[derive(Clone)]
pub(crate) struct EncryptionKey {
    pub(crate) key: Zeroizing<[u8; 32]>,
    /// True: this is the block key itself.
    pub(crate) is_block_key: bool,
}

/// A way of one's own to encrypt the blocks of a core (npm's encryption provider), in place of Hypercore's: see
/// [`CoreOptions::with_cipher`].
pub trait BlockCipher: Send + Sync {
    /// By how many bytes a stored block is longer than its content. Always the same.
    fn padding(&self) -> usize;

    /// What is stored for block number `index`, appended at `fork`: [`padding`](Self::padding) bytes longer than `block`. On a branch the fork is a random
    /// number, since more than one block may come to stand under the same index and fork.
    fn encrypt(&self, index: u64, fork: u64, block: &[u8]) -> Vec<u8>;

    /// The content of a stored block; `None` when it is no block of this cipher.
    fn decrypt(&self, index: u64, stored: &[u8]) -> Option<Vec<u8>>;
}

/// How a session encrypts.
#[derive(Clone)]
pub(crate) enum Given {
    Key(EncryptionKey),
    Cipher(Arc<dyn BlockCipher>),
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(_) => f.write_str("Key(…)"),
            Self::Cipher(_) => f.write_str("Cipher(…)"),
        }
    }
}

/// Told of each read that waits for a block which is not here (npm `onwait`): the block's index. It must not block.
#[derive(Clone)]
pub struct OnWait(Arc<dyn Fn(u64) + Send + Sync>);

impl OnWait {
    /// Calls `tell`.
    pub fn new(tell: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub(crate) fn tell(&self, index: u64) {
        (self.0)(index);
    }
}

impl fmt::Debug for OnWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnWait(…)")
    }
}

/// Which core to open, and how. Start from a constructor, refine with the `with_` methods.
#[derive(Debug, Clone)]
pub struct CoreOptions {
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) key: Option<Key>,
    pub(crate) discovery_key: Option<DiscoveryKey>,
    pub(crate) key_pair: Option<KeyPair>,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) encryption: Option<Given>,
    pub(crate) create_if_missing: bool,
    pub(crate) session: SessionOptions,
}

impl Default for CoreOptions {
    fn default() -> Self {
        Self {
            name: None,
            key: None,
            discovery_key: None,
            key_pair: None,
            manifest: None,
            encryption: None,
            create_if_missing: true,
            session: SessionOptions::default(),
        }
    }
}

impl CoreOptions {
    /// The writable core that this store derives from its primary key, its namespace and `name`.
    pub fn name(name: impl AsRef<[u8]>) -> Self {
        Self {
            name: Some(name.as_ref().to_vec()),
            ..Self::default()
        }
    }

    /// The core with this key. Without a key pair in the store it is read-only here.
    #[must_use]
    pub fn key(key: Key) -> Self {
        Self {
            key: Some(key),
            ..Self::default()
        }
    }

    /// A core that is in the store already.
    #[must_use]
    pub fn discovery_key(discovery_key: DiscoveryKey) -> Self {
        Self {
            discovery_key: Some(discovery_key),
            ..Self::default()
        }
    }

    /// The core that this key pair alone can write: its manifest has one signer, its key is that manifest's hash.
    #[must_use]
    pub fn key_pair(key_pair: KeyPair) -> Self {
        Self {
            key_pair: Some(key_pair),
            ..Self::default()
        }
    }

    /// The core with this manifest; its key is the manifest's hash.
    #[must_use]
    pub fn manifest(manifest: Manifest) -> Self {
        Self {
            manifest: Some(manifest),
            ..Self::default()
        }
    }

    /// Signs with this key pair. With the [`key`](Self::key) of a public key (a core of version 10) it must be that key's pair.
    #[must_use]
    pub fn with_key_pair(mut self, key_pair: KeyPair) -> Self {
        self.key_pair = Some(key_pair);
        self
    }

    /// States the manifest, so that a reader can verify before it met a peer. It must hash to the key.
    #[must_use]
    pub fn with_manifest(mut self, manifest: Manifest) -> Self {
        self.manifest = Some(manifest);
        self
    }

    /// Encrypts blocks with this key (npm `encryption: {key}`).
    #[must_use]
    pub fn with_encryption_key(mut self, key: [u8; 32]) -> Self {
        self.encryption = Some(Given::Key(EncryptionKey {
            key: Zeroizing::new(key),
            is_block_key: false,
        }));
        self
    }

    /// Encrypts blocks in a way of the caller's own.
    #[must_use]
    pub fn with_cipher(mut self, cipher: Arc<dyn BlockCipher>) -> Self {
        self.encryption = Some(Given::Cipher(cipher));
        self
    }

    /// False: this session does not keep the core downloading (see [`Hypercore::set_active`](crate::Hypercore::set_active)). Default: as the
    /// store's, which by default is true.
    #[must_use]
    pub fn with_active(mut self, active: bool) -> Self {
        self.session.active = Some(active);
        self
    }

    /// Told of each read that waits. Default: nobody.
    #[must_use]
    pub fn with_on_wait(mut self, on_wait: OnWait) -> Self {
        self.session.on_wait = Some(on_wait);
        self
    }

    /// Encrypts blocks with this key as it is, without deriving one from it (npm `encryption: {key, block: true}`).
    #[must_use]
    pub fn with_block_key(mut self, key: [u8; 32]) -> Self {
        self.encryption = Some(Given::Key(EncryptionKey {
            key: Zeroizing::new(key),
            is_block_key: true,
        }));
        self
    }

    /// False: a core that is not in the store is an error, [`StorageEmpty`](crate::Error::StorageEmpty). Default: true.
    #[must_use]
    pub fn with_create_if_missing(mut self, create: bool) -> Self {
        self.create_if_missing = create;
        self
    }

    /// False: this session cannot append or truncate. Default: true where there is a key pair.
    #[must_use]
    pub fn with_writable(mut self, writable: bool) -> Self {
        self.session.writable = Some(writable);
        self
    }

    /// True: opening waits until no other exclusive session has the core; this one is exclusive until it is closed or dropped.
    /// Default: false. Has no effect on a session that is not to write.
    #[must_use]
    pub fn with_exclusive(mut self, exclusive: bool) -> Self {
        self.session.exclusive = exclusive;
        self
    }

    /// False: reads answer at once when a block is not here. Default: true.
    #[must_use]
    pub fn with_wait(mut self, wait: bool) -> Self {
        self.session.wait = Some(wait);
        self
    }

    /// How long a read waits unless it says otherwise. Default: for ever.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.session.timeout = Some(timeout);
        self
    }
}

/// What [`Hypercore::session_with`](crate::Hypercore::session_with) changes; what is `None` is as in the session that it comes from.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SessionOptions {
    /// False: cannot append or truncate.
    pub writable: Option<bool>,
    /// False: reads answer at once when a block is not here.
    pub wait: Option<bool>,
    /// How long a read waits.
    pub timeout: Option<Duration>,
    /// Waits until no other exclusive session has the core.
    pub exclusive: bool,
    /// False: does not keep the core downloading.
    pub active: Option<bool>,
    /// Told of each read that waits.
    pub on_wait: Option<OnWait>,
}

/// How long a read may wait for a block that is not here.
#[derive(Debug, Clone, Default)]
pub struct GetOptions {
    /// Do not wait: answer `Ok(None)` for a block that is not here. Default: as the session, which by default waits.
    pub no_wait: bool,
    /// Give up after this time with [`Error::Timeout`](crate::Error::Timeout). Default: as the session, which by default never does.
    /// Needs a tokio runtime with its clock on.
    pub timeout: Option<Duration>,
}

/// What `append` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The core's length after it, in blocks.
    pub length: u64,
    /// The core's length after it, in bytes (with encryption padding, as npm has it).
    pub byte_length: u64,
}

/// What `info` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreInfo {
    /// Public name.
    pub key: Key,
    /// Its hash.
    pub discovery_key: DiscoveryKey,
    /// In blocks.
    pub length: u64,
    /// Blocks from 0 without a gap.
    pub contiguous_length: u64,
    /// In bytes, without encryption padding.
    pub byte_length: u64,
    /// How often it was truncated.
    pub fork: u64,
    /// Bytes of encryption padding per block.
    pub padding: u64,
}

/// What a store knows about who may read and write a core.
#[derive(Debug, Clone)]
pub struct CoreAuth {
    /// Public name.
    pub key: Key,
    /// Who may sign it; a reader learns it from the first proof.
    pub manifest: Option<Manifest>,
    /// Signs for it, when it is ours.
    pub key_pair: Option<KeyPair>,
}
