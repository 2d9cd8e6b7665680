//! What belongs to one session: its rights, its patience, its encryption key, and whether it is still open.

use std::{
    future::poll_fn,
    ops::Range,
    pin::pin,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use pome_storage::Part;
use tokio::sync::OwnedMutexGuard;

use crate::{
    block_encryption::{BlockEncryption, PADDING},
    core::{Core, Head},
    crypto::{self, KeyPair},
    error::Error,
    merkle::Node,
    options::{BlockCipher, EncryptionKey, GetOptions, Given, OnWait, SessionOptions},
    registry::Registry,
    replication::Demand,
    snapshot::Frozen,
};

/// What is closed together: the sessions that were opened through one [`Corestore`](crate::Corestore) handle.
#[derive(Default)]
pub(crate) struct Scope {
    closed: AtomicBool,
    /// Of its exclusive sessions.
    exclusive: Mutex<Vec<Weak<Exclusive>>>,
}

/// What an exclusive session holds until it is closed.
type Exclusive = Mutex<Option<OwnedMutexGuard<()>>>;

impl Scope {
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for held in self.exclusive.lock().drain(..) {
            if let Some(held) = held.upgrade() {
                held.lock().take();
            }
        }
    }

    /// To be given up when it closes.
    fn hold(&self, held: &Arc<Exclusive>) {
        let mut all = self.exclusive.lock();
        all.retain(|held| held.strong_count() > 0);
        all.push(Arc::downgrade(held));
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// See the module. Clones of a [`Hypercore`](crate::Hypercore) share one.
pub(crate) struct Session {
    pub(crate) core: Arc<Core>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) scope: Arc<Scope>,
    pub(crate) frozen: Option<Arc<Frozen>>,
    /// Overrides the core's own.
    pub(crate) key_pair: Option<KeyPair>,
    pub(crate) writable: bool,
    pub(crate) wait: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) on_wait: Option<OnWait>,
    /// Reads leave marks for a sweep.
    pub(crate) marking: AtomicBool,
    encryption: RwLock<Option<Arc<Encryption>>>,
    /// Made when it becomes exclusive.
    exclusive: OnceLock<Arc<Exclusive>>,
    closed: AtomicBool,
    /// It counts as one that downloads, until it is closed.
    counted: AtomicBool,
}

/// How a session encrypts. With a key it depends on the manifest, which a reader may learn later.
enum Encryption {
    Key(KeyEncryption),
    Cipher(Arc<dyn BlockCipher>),
}

struct KeyEncryption {
    given: EncryptionKey,
    normal: OnceLock<BlockEncryption>,
    compat: OnceLock<BlockEncryption>,
}

impl Encryption {
    fn new(given: Given) -> Self {
        match given {
            Given::Key(given) => Self::Key(KeyEncryption {
                given,
                normal: OnceLock::new(),
                compat: OnceLock::new(),
            }),
            Given::Cipher(cipher) => Self::Cipher(cipher),
        }
    }

    fn encrypt(&self, core: &Core, index: u64, fork: u64, block: &[u8]) -> Vec<u8> {
        match self {
            Self::Key(key) => key.of(core).encrypt(index, fork, block),
            Self::Cipher(cipher) => cipher.encrypt(index, fork, block),
        }
    }

    fn decrypt(&self, core: &Core, index: u64, block: &[u8]) -> Result<Vec<u8>, Error> {
        match self {
            Self::Key(key) => Ok(key.of(core).decrypt(index, block)?),
            Self::Cipher(cipher) => cipher.decrypt(index, block).ok_or(Error::Undecryptable {
                key: core.key,
                index,
            }),
        }
    }
}

impl KeyEncryption {
    fn of(&self, core: &Core) -> &BlockEncryption {
        let key = &self.given.key;
        let compat = core.is_compat();
        let made = if compat { &self.compat } else { &self.normal };
        made.get_or_init(|| match (self.given.is_block_key, compat) {
            (true, _) => BlockEncryption::from_block_key(key),
            (false, true) => BlockEncryption::compat(key, &core.key),
            (false, false) => BlockEncryption::new(key, &core.key),
        })
    }
}

impl Session {
    /// The first session on a core.
    pub(crate) fn new(
        core: Arc<Core>,
        registry: Arc<Registry>,
        scope: Arc<Scope>,
        key_pair: Option<KeyPair>,
        encryption: Option<Given>,
        options: &SessionOptions,
    ) -> Self {
        let active = options.active.unwrap_or(true);
        if active && core.replication.session_opened() {
            registry.offer(&core);
        }
        Self {
            counted: AtomicBool::new(active),
            on_wait: options.on_wait.clone(),
            marking: AtomicBool::new(false),
            core,
            registry,
            scope,
            frozen: None,
            key_pair,
            writable: options.writable.unwrap_or(true),
            wait: options.wait.unwrap_or(true),
            timeout: options.timeout,
            encryption: RwLock::new(encryption.map(|given| Arc::new(Encryption::new(given)))),
            exclusive: OnceLock::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// Another session like this one.
    pub(crate) fn derive(&self, options: &SessionOptions, frozen: Option<Arc<Frozen>>) -> Self {
        self.derive_on(self.core.clone(), options, frozen)
    }

    /// As [`derive`](Self::derive), on the same core or a branch of it.
    pub(crate) fn derive_on(
        &self,
        core: Arc<Core>,
        options: &SessionOptions,
        frozen: Option<Arc<Frozen>>,
    ) -> Self {
        let active = (options.active).unwrap_or_else(|| self.counted.load(Ordering::Acquire));
        // A branch keeps its core downloading.
        if active && core.root().replication.session_opened() {
            self.registry.offer(core.root());
        }
        Self {
            counted: AtomicBool::new(active),
            on_wait: options.on_wait.clone().or_else(|| self.on_wait.clone()),
            marking: AtomicBool::new(self.marking.load(Ordering::Acquire)),
            core,
            registry: self.registry.clone(),
            scope: self.scope.clone(),
            frozen: frozen.or_else(|| self.frozen.clone()),
            key_pair: self.key_pair.clone(),
            writable: options.writable.unwrap_or(self.writable),
            wait: options.wait.unwrap_or(self.wait),
            timeout: options.timeout.or(self.timeout),
            encryption: RwLock::new(self.encryption.read().clone()),
            exclusive: OnceLock::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// Waits until no other exclusive session has the core.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), also while it waits.
    pub(crate) async fn lock_exclusive(&self) -> Result<(), Error> {
        let mut lock = pin!(self.core.exclusive().lock_owned());
        let mut arrivals = self.core.arrivals();
        let guard = loop {
            arrivals.borrow_and_update();
            self.check_open()?;
            let mut changed = pin!(arrivals.changed());
            let guard = poll_fn(|context| match lock.as_mut().poll(context) {
                Poll::Ready(guard) => Poll::Ready(Ok(Some(guard))),
                Poll::Pending => changed.as_mut().poll(context).map_ok(|()| None),
            });
            if let Some(guard) = guard.await.map_err(|_| Error::Closed)? {
                break guard;
            }
        };
        let held = self.exclusive.get_or_init(Arc::default);
        *held.lock() = Some(guard);
        self.scope.hold(held);
        if let Err(closed) = self.check_open() {
            held.lock().take();
            return Err(closed);
        }
        Ok(())
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        if let Some(held) = self.exclusive.get() {
            held.lock().take();
        }
        self.core.wake();
        self.uncount();
    }

    fn uncount(&self) {
        if self.counted.swap(false, Ordering::AcqRel) {
            self.core.root().replication.session_closed();
        }
    }

    /// Whether it keeps the core downloading.
    pub(crate) fn set_active(&self, active: bool) {
        if !active {
            self.uncount();
        } else if !self.counted.swap(true, Ordering::AcqRel) {
            if self.core.root().replication.session_opened() {
                self.registry.offer(self.core.root());
            }
            // closed meanwhile
            if self.closed.load(Ordering::Acquire) {
                self.uncount();
            }
        }
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire)
            || self.scope.is_closed()
            || self.registry.is_closed()
            || self.core.is_purged()
        {
            return Err(Error::Closed);
        }
        Ok(())
    }

    /// Reads something of the head, a snapshot's own if this is one.
    pub(crate) fn head<T>(&self, read: impl FnOnce(&Head) -> T) -> T {
        match &self.frozen {
            Some(frozen) => read(&frozen.head),
            None => read(&self.core.head.read()),
        }
    }

    /// As [`head`](Self::head), for what takes a while: commits wait for who looks at the head itself.
    pub(crate) fn head_held<T>(&self, read: impl FnOnce(&Head) -> T) -> T {
        match &self.frozen {
            Some(frozen) => read(&frozen.head),
            None => {
                let head = self.core.head.read().clone();
                read(&head)
            }
        }
    }

    /// The key pair that signs here.
    pub(crate) fn signer(&self) -> Option<KeyPair> {
        let own = self.key_pair.clone();
        own.or_else(|| Some(self.core.auth.read().owner.as_ref()?.key_pair().clone()))
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.writable
            && (self.core.is_branch()
                || self.key_pair.is_some()
                || self.core.auth.read().owner.is_some())
    }

    /// Refuses a change that this session must not make.
    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        self.check_open()?;
        let key = self.core.key;
        if self.frozen.is_some() {
            let what = "a snapshot does not change";
            return Err(Error::InvalidOperation { key, what });
        }
        if !self.is_writable() {
            return Err(Error::NotWritable { key });
        }
        Ok(())
    }

    pub(crate) fn block(&self, index: u64) -> Result<Option<Bytes>, Error> {
        let whole = self.block_part(index, 0..usize::MAX)?;
        Ok(whole.map(|part| part.bytes))
    }

    /// What of a block as it is stored lies in `wanted`.
    fn block_part(&self, index: u64, wanted: Range<usize>) -> Result<Option<Part>, Error> {
        let part = match &self.frozen {
            Some(frozen) => frozen.block_part(&self.core, index, wanted),
            None => self.core.block_part(index, wanted),
        };
        if let Ok(Some(_)) = &part {
            self.registry.room.used(&self.core.discovery_key, index);
        }
        part
    }

    /// What of a block as people see it lies in `wanted`. One that the core's own encryption made is read as a whole.
    pub(crate) fn plain_part(
        &self,
        index: u64,
        wanted: Range<usize>,
    ) -> Result<Option<Part>, Error> {
        let Some(encryption) = self.encryption.read().clone() else {
            return self.block_part(index, wanted);
        };
        let Some(block) = self.block(index)? else {
            return Ok(None);
        };
        let plain = encryption.decrypt(&self.core, index, &block)?;
        Ok(Some(Part::of(plain.into(), wanted)))
    }

    pub(crate) fn node(&self, index: u64) -> Result<Option<Node>, Error> {
        match &self.frozen {
            Some(frozen) => frozen.node(&self.core, index),
            None => self.core.node(index),
        }
    }

    pub(crate) fn set_encryption(&self, given: Option<Given>) {
        *self.encryption.write() = given.map(|given| Arc::new(Encryption::new(given)));
    }

    /// Bytes of encryption padding per block. As npm has it, 0 as long as the manifest is not known.
    pub(crate) fn padding(&self) -> u64 {
        match self.encryption.read().as_deref() {
            Some(Encryption::Cipher(cipher)) => cipher.padding() as u64,
            Some(Encryption::Key(_)) if self.core.verifier().is_some() => PADDING as u64,
            _ => 0,
        }
    }

    /// Blocks as they are stored, the first of them at `start`.
    pub(crate) fn encrypt(&self, start: u64, fork: u64, blocks: Vec<Bytes>) -> Vec<Bytes> {
        let Some(encryption) = self.encryption.read().clone() else {
            return blocks;
        };
        // A keystream is used once: a branch does not know what else stands, or will stand, under its index and fork.
        let fork = match self.core.is_branch() {
            true => u64::from_le_bytes(crypto::random_bytes()),
            false => fork,
        };
        (start..)
            .zip(blocks)
            .map(|(index, block)| {
                let stored = encryption.encrypt(&self.core, index, fork, &block);
                stored.into()
            })
            .collect()
    }

    /// Asks `look` again whenever something changes, until it has an answer; `demand` makes peers look for it meanwhile. `None` when there is
    /// no answer and the caller does not wait.
    pub(crate) async fn wait_for<T>(
        &self,
        at: u64,
        options: &GetOptions,
        look: impl Fn() -> Result<Option<T>, Error>,
        demand: impl FnOnce(&Arc<Core>) -> Demand,
    ) -> Result<Option<T>, Error> {
        self.check_open()?;
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        if options.no_wait || !self.wait {
            return Ok(None);
        }
        let mut arrivals = self.core.arrivals();
        let wait = async {
            // Peers are asked for nothing that there is no room for.
            self.registry.room.wait().await?;
            let _demand = demand(self.core.root());
            loop {
                arrivals.borrow_and_update();
                self.check_open()?;
                if let Some(found) = look()? {
                    return Ok::<T, Error>(found);
                }
                arrivals.changed().await.map_err(|_| Error::Closed)?;
            }
        };
        let found = match options.timeout.or(self.timeout) {
            None => wait.await?,
            Some(limit) => {
                let late = |_| Error::Timeout {
                    key: self.core.key,
                    index: at,
                };
                tokio::time::timeout(limit, wait).await.map_err(late)??
            }
        };
        Ok(Some(found))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.uncount();
    }
}
