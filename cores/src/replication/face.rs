//! What a program sees of replication on a [`Hypercore`]: peers, updates, downloads, extensions, events.

use std::{
    ops::{Bound, RangeBounds},
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use futures_util::future::{Either, select};
use tokio::sync::{broadcast, oneshot};

use super::{
    download,
    events::{CoreEvent, PeerId},
    machine::Machine,
    messages::{self, Message},
    stats::ReplicationStats,
    tuning::Updating,
};
use crate::{core::Core, error::Error, hypercore::Hypercore};

/// Extension messages that wait to be sent to one peer.
const EXTENSION_QUEUE: usize = 1024;

/// Something that somebody waits for; dropping it ends that.
pub(crate) struct Demand {
    core: Arc<Core>,
    what: What,
}

enum What {
    Block(u64),
    Seek(u64),
    Download(u64),
}

impl Demand {
    pub(crate) fn block(core: &Arc<Core>, index: u64) -> Self {
        core.replication
            .with(core, |machine| machine.want_block(index));
        Self {
            core: core.clone(),
            what: What::Block(index),
        }
    }

    pub(crate) fn seek(core: &Arc<Core>, bytes: u64, padding: u64) -> Self {
        let id = core.replication.with(core, |machine| {
            let id = machine.next_demand();
            let seek = download::SeekDemand {
                bytes,
                padding,
                asked: false,
            };
            machine.seeks.insert(id, seek);
            machine.replan();
            id
        });
        Self {
            core: core.clone(),
            what: What::Seek(id),
        }
    }
}

impl Drop for Demand {
    fn drop(&mut self) {
        self.core
            .replication
            .with_existing(|machine| match self.what {
                What::Block(index) => machine.unwant_block(index),
                What::Seek(id) => {
                    machine.seeks.remove(&id);
                }
                What::Download(id) => {
                    machine.downloads.remove(&id);
                }
            });
    }
}

/// A range of blocks that is being fetched, as peers have them. Dropping it ends that; what is here stays.
///
/// It is given by [`Hypercore::download`].
#[must_use = "a download ends when its handle is dropped"]
pub struct Download {
    demand: Demand,
    done: oneshot::Receiver<()>,
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").finish_non_exhaustive()
    }
}

impl Download {
    /// Waits until all of it came; a range without an end never does. A block that is cleared after it came is not fetched again, so that not all need be here at
    /// the end. Cancel safe.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed) when the store is closed; [`NoRoom`](Error::NoRoom) when the store's limit leaves no room for it.
    pub async fn done(&mut self) -> Result<(), Error> {
        let core = self.demand.core.clone();
        let mut arrivals = core.arrivals();
        loop {
            arrivals.borrow_and_update();
            let registry = core.registry()?;
            if core.is_purged() || registry.is_closed() {
                return Err(Error::Closed);
            }
            // blocks may also come without any peer
            let held_back = core.replication.with_existing(|machine| {
                machine.check_downloads(&core);
                machine.held_back
            });
            let never = held_back == Some(true) && registry.room.is_never();
            drop(registry);
            if never && self.done.is_empty() {
                return Err(Error::NoRoom);
            }
            let changed = std::pin::pin!(arrivals.changed());
            match select(&mut self.done, changed).await {
                Either::Left((Ok(()), _)) => return Ok(()),
                Either::Left((Err(_), _)) => return Err(Error::Closed),
                Either::Right((changed, _)) => changed.map_err(|_| Error::Closed)?,
            }
        }
    }
}

/// Messages of a program, sent along with a core to peers that use the same name. It is given by [`Hypercore::extension`].
pub struct Extension {
    core: Arc<Core>,
    name: String,
    messages: broadcast::Receiver<(PeerId, Bytes)>,
}

impl std::fmt::Debug for Extension {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extension")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Extension {
    /// The next message, and who sent it. Of more than 256 that wait the oldest are dropped. Cancel safe.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed).
    pub async fn recv(&mut self) -> Result<(PeerId, Bytes), Error> {
        loop {
            match self.messages.recv().await {
                Ok(message) => return Ok(message),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Err(Error::Closed),
            }
        }
    }

    /// Sends to one peer; to one that is gone, or has 1,024 messages waiting, nothing is sent. True when it was.
    pub fn send(&self, peer: PeerId, message: impl Into<Bytes>) -> bool {
        let message = message.into();
        let sent = self
            .core
            .replication
            .with_existing(|machine| machine.send_extension(peer, &self.name, message));
        sent.unwrap_or(false)
    }

    /// What sends only.
    #[must_use]
    pub fn sender(&self) -> ExtensionSender {
        ExtensionSender {
            core: self.core.clone(),
            name: self.name.clone(),
        }
    }

    /// Sends to all peers that there are.
    pub fn broadcast(&self, message: impl Into<Bytes>) {
        let message = message.into();
        self.core.replication.with_existing(|machine| {
            let peers: Vec<PeerId> = machine.peers.keys().copied().collect();
            for peer in peers {
                machine.send_extension(peer, &self.name, message.clone());
            }
        });
    }
}

/// The sending half of an [`Extension`]. Cheap to clone.
#[derive(Clone)]
pub struct ExtensionSender {
    core: Arc<Core>,
    name: String,
}

impl std::fmt::Debug for ExtensionSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExtensionSender")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl ExtensionSender {
    /// As [`Extension::send`].
    pub fn send(&self, peer: PeerId, message: impl Into<Bytes>) -> bool {
        let message = message.into();
        let sent = self
            .core
            .replication
            .with_existing(|machine| machine.send_extension(peer, &self.name, message));
        sent.unwrap_or(false)
    }

    /// As [`Extension::broadcast`].
    pub fn broadcast(&self, message: &Bytes) {
        self.core.replication.with_existing(|machine| {
            let peers: Vec<PeerId> = machine.peers.keys().copied().collect();
            for peer in peers {
                machine.send_extension(peer, &self.name, message.clone());
            }
        });
    }
}

/// A peer of a core, as [`Hypercore::peers`] shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Its number.
    pub id: PeerId,
    /// The static key of its end of the connection.
    pub remote_public_key: [u8; 32],
    /// In blocks.
    pub remote_length: u64,
    /// How often the core was truncated there.
    pub remote_fork: u64,
    /// Blocks that it has from 0 without a gap.
    pub remote_contiguous_length: u64,
    /// It answers requests.
    pub remote_uploading: bool,
    /// It makes requests.
    pub remote_downloading: bool,
    /// Requests that it has not answered yet.
    pub inflight: usize,
    /// It sent what does not hold, and is not asked for a while.
    pub paused: bool,
    /// What went between it and us.
    pub stats: ReplicationStats,
}

/// Somebody is looking for peers, until it is dropped: see [`Hypercore::finding_peers`].
#[must_use = "the search ends when this is dropped"]
pub struct FindingPeers(Arc<Core>);

impl std::fmt::Debug for FindingPeers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FindingPeers").finish_non_exhaustive()
    }
}

impl Drop for FindingPeers {
    fn drop(&mut self) {
        self.0.replication.finding().fetch_sub(1, Ordering::AcqRel);
        self.0.wake();
    }
}

impl Machine {
    fn send_extension(&mut self, id: PeerId, name: &str, message: Bytes) -> bool {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.opened) else {
            return false;
        };
        if peer.due.messages.len() >= EXTENSION_QUEUE {
            return false;
        }
        let same = peer.extension_sent == name;
        if !same {
            name.clone_into(&mut peer.extension_sent);
        }
        let name = if same { String::new() } else { name.to_owned() };
        let extension = messages::Extension { name, message };
        peer.due.messages.push_back(Message::Extension(extension));
        peer.mark();
        true
    }

    /// True while a peer may still bring the core beyond this length and fork.
    fn may_grow(&self, core: &Core, (length, fork): (u64, u64)) -> bool {
        if self.peers.is_empty() {
            return core.replication.finding().load(Ordering::Acquire) > 0
                || core.registry().is_ok_and(|registry| registry.is_finding());
        }
        self.forks.is_some()
            || self
                .peers
                .values()
                .filter(|peer| peer.closing.is_none())
                .any(|peer| {
                    let longer = peer.remote.fork == fork && peer.remote.length > length;
                    !peer.opened
                        || !peer.synced
                        || (longer
                            && peer.remote.uploading
                            && peer.aside_until.is_none()
                            && !peer.is_doubted())
                })
    }
}

/// Peers.
impl Hypercore {
    /// Asks the peers that there are whether they have more, and waits for it. True when the core has grown or was cut. False when none has,
    /// or when there is no peer and nobody [looks for one](Self::finding_peers). On a snapshot always false.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed).
    pub async fn update(&self) -> Result<bool, Error> {
        self.session.check_open()?;
        if self.is_snapshot() {
            return Ok(false);
        }
        let core = &self.session.core;
        let now = || {
            let head = core.head.read();
            (head.tree.length, head.tree.fork)
        };
        let before = now();
        let _updating = Updating::new(core);
        let mut arrivals = core.arrivals();
        loop {
            arrivals.borrow_and_update();
            self.session.check_open()?;
            if now() != before {
                return Ok(true);
            }
            let more = core
                .replication
                .with(core, |machine| machine.may_grow(core, before));
            if !more {
                return Ok(now() != before);
            }
            arrivals.changed().await.map_err(|_| Error::Closed)?;
        }
    }

    /// Fetches the blocks of a range that are not here, from all peers that have them, in any order. Without an end it goes on with what is
    /// appended later.
    ///
    /// ```
    /// use pome_cores::{CoreOptions, Corestore, Store};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// # let dir = tempfile::tempdir()?;
    /// let cores = Corestore::open(Store::open(dir.path(), Default::default())?)?;
    /// let core = cores.get(CoreOptions::name("log")).await?;
    /// core.append("first").await?;
    /// let mut download = core.download(0..1)?;
    /// download.done().await?; // it is here
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Closed`](Error::Closed).
    pub fn download(&self, range: impl RangeBounds<u64>) -> Result<Download, Error> {
        self.start_download(range, false, None)
    }

    /// As [`download`](Self::download), in order from the start.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed).
    pub fn download_linear(&self, range: impl RangeBounds<u64>) -> Result<Download, Error> {
        self.start_download(range, true, None)
    }

    /// As [`download`](Self::download), for single blocks.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed).
    pub fn download_blocks(&self, blocks: Vec<u64>) -> Result<Download, Error> {
        self.start_download(.., false, Some(blocks))
    }

    fn start_download(
        &self,
        range: impl RangeBounds<u64>,
        linear: bool,
        blocks: Option<Vec<u64>>,
    ) -> Result<Download, Error> {
        self.session.check_open()?;
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => Some(end.saturating_add(1)),
            Bound::Excluded(end) => Some(*end),
            Bound::Unbounded => None,
        };
        let core = self.session.core.clone();
        let (sender, done) = oneshot::channel();
        let id = core.replication.with(&core, |machine| {
            let id = machine.next_demand();
            let download = download::Download {
                first: start,
                start,
                end,
                linear,
                blocks: blocks.map(Into::into),
                done: Some(sender),
            };
            machine.downloads.insert(id, download);
            // What was cleared a moment ago is not here any more.
            machine.take_notes(&core);
            machine.check_downloads(&core);
            machine.replan();
            id
        });
        let what = What::Download(id);
        Ok(Download {
            demand: Demand { core, what },
            done,
        })
    }

    /// The peers that have this core open.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerInfo> {
        let peers = self.session.core.replication.with_existing(|machine| {
            let peers = machine.peers.values().filter(|peer| peer.opened);
            peers
                .map(|peer| PeerInfo {
                    id: peer.id,
                    remote_public_key: peer.remote_key,
                    remote_length: peer.remote.length,
                    remote_fork: peer.remote.fork,
                    remote_contiguous_length: peer.contiguous,
                    remote_uploading: peer.remote.uploading,
                    remote_downloading: peer.remote.downloading,
                    inflight: peer.requests.len(),
                    paused: peer.aside_until.is_some(),
                    stats: peer.stats,
                })
                .collect()
        });
        peers.unwrap_or_default()
    }

    /// The longest run of blocks from 0 that some peer has.
    #[must_use]
    pub fn remote_contiguous_length(&self) -> u64 {
        let peers = self.peers();
        let lengths = peers.iter().map(|peer| peer.remote_contiguous_length);
        lengths.max().unwrap_or(0)
    }

    /// Says that peers are being looked for: [`update`](Self::update) waits for the first one until what is returned is dropped.
    pub fn finding_peers(&self) -> FindingPeers {
        let core = &self.session.core;
        core.replication.finding().fetch_add(1, Ordering::AcqRel);
        FindingPeers(core.clone())
    }

    /// What happens to the core, from now on. Of more than 1,024 events that wait the oldest are dropped.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<CoreEvent> {
        let core = &self.session.core;
        let events = core.replication.subscribe();
        // appends are told by the state machine
        core.replication.with(core, |_| {});
        events
    }

    /// Messages under this name, to and from peers that use the same.
    #[must_use]
    pub fn extension(&self, name: &str) -> Extension {
        let core = self.session.core.clone();
        Extension {
            messages: core.replication.on_extension(name),
            name: name.to_owned(),
            core,
        }
    }

    /// Takes blocks that peers send without being asked, or not (the default).
    pub fn set_allow_push(&self, allow: bool) {
        let core = &self.session.core;
        core.replication.with(core, |machine| {
            machine.allow_push = allow;
            for peer in machine.peers.values_mut() {
                peer.due.sync = true;
            }
            machine.replan();
        });
    }

    /// Sends a block to the peers that take such blocks and do not have it, as soon as it is on disk here.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), or from the store.
    pub async fn push(&self, index: u64) -> Result<(), Error> {
        self.session.check_open()?;
        let core = &self.session.core;
        core.store.synced(core.store.committed_seq()).await?;
        core.replication
            .with_existing(|machine| machine.push(core, index));
        Ok(())
    }
}
