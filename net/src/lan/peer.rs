//! A connection to a peer that was heard, or that heard us: both sides show which topics they have in common.

use crate::{
    Error,
    driver::{Channel, Connection},
    protomux::{ChannelOptions, Topic},
};
use bytes::Bytes;
use pome_cores::crypto::hash_keyed;
use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

/// The protocol of the channel on which both sides show it. Its handshake is the sender's id; a message of kind 0 has a proof of 16 bytes for each topic.
pub const PROTOCOL: &str = "pome/lan";

const PROOF: usize = 16;
/// Proofs of one message.
const PROOFS_MAX: usize = 1_024;
/// A peer may show so many.
const SHOWN_MAX: usize = 2 * super::beacon::TOPICS_MAX;
/// A peer with which nothing is shared by then is let go.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) type Topics = BTreeSet<[u8; 32]>;

/// A peer on the same network, and what is shared with it.
pub struct LanPeer {
    connection: Connection,
    shared: watch::Receiver<Vec<[u8; 32]>>,
}

impl LanPeer {
    /// The connection. Nothing has been said on it about any topic.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The topics that both sides have, as they become more or fewer. The sender is gone when the connection is.
    pub fn shared(&self) -> watch::Receiver<Vec<[u8; 32]>> {
        self.shared.clone()
    }
}

impl fmt::Debug for LanPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LanPeer")
            .field("connection", &self.connection)
            .field("shared", &self.shared.borrow().len())
            .finish_non_exhaustive()
    }
}

/// One side of a connection that shows what it has, and looks at what the other shows.
pub(super) struct Showing {
    connection: Connection,
    channel: Channel,
    hash: [u8; 64],
    topics: watch::Receiver<Topics>,
    told: Topics,
    theirs: HashSet<[u8; PROOF]>,
}

fn proof(topic: &[u8; 32], hash: &[u8; 64], by_initiator: bool) -> [u8; PROOF] {
    let parts: [&[u8]; 3] = [b"pome lan proof", hash, &[u8::from(by_initiator)]];
    let whole = hash_keyed(topic, &parts);
    let mut proof = [0; PROOF];
    proof.copy_from_slice(&whole[..PROOF]);
    proof
}

impl Showing {
    /// Begins: the peer's id.
    pub(super) async fn begin(
        connection: Connection,
        id: [u8; 16],
        topics: watch::Receiver<Topics>,
    ) -> Result<(Self, [u8; 16]), Error> {
        let until = Instant::now() + PATIENCE;
        let late = |_| Error::TimedOut;
        timeout_at(until, connection.opened())
            .await
            .map_err(late)??;
        let hash = connection.handshake_hash().ok_or(Error::Closed)?;
        let options = ChannelOptions {
            handshake: &id,
            ..ChannelOptions::default()
        };
        let channel = connection.open(&Topic::new(PROTOCOL, b""), options)?;
        let channel = channel.ok_or(Error::Closed)?;
        let opened = timeout_at(until, channel.opened()).await.map_err(late)?;
        let theirs = <[u8; 16]>::try_from(&*opened.ok_or(Error::Closed)?);
        let misbehaved = |_| Error::Misbehaved {
            reason: "an id of another length on the local network",
        };
        let showing = Self {
            connection,
            channel,
            hash,
            topics,
            told: Topics::new(),
            theirs: HashSet::new(),
        };
        Ok((showing, theirs.map_err(misbehaved)?))
    }

    fn is_initiator(&self) -> bool {
        self.connection.role().is_initiator()
    }

    /// Shows what was not shown yet.
    async fn show(&mut self) -> Result<(), Error> {
        let topics = self.topics.borrow_and_update().clone();
        let (hash, role) = (self.hash, self.is_initiator());
        let new: Vec<_> = topics.difference(&self.told).collect();
        for some in new.chunks(PROOFS_MAX) {
            let body: Vec<u8> = some
                .iter()
                .flat_map(|topic| proof(topic, &hash, role))
                .collect();
            self.channel.send(0, body.into()).await?;
        }
        self.told = topics;
        Ok(())
    }

    fn hear(&mut self, body: &Bytes) -> Result<(), Error> {
        let (proofs, []) = body.as_chunks::<PROOF>() else {
            let reason = "a proof of another length on the local network";
            return Err(Error::Misbehaved { reason });
        };
        self.theirs.extend(proofs);
        if self.theirs.len() > SHOWN_MAX {
            let reason = "too many topics on the local network";
            return Err(Error::Misbehaved { reason });
        }
        Ok(())
    }

    fn shared(&self) -> Vec<[u8; 32]> {
        let role = !self.is_initiator();
        let shared = |topic: &&[u8; 32]| self.theirs.contains(&proof(topic, &self.hash, role));
        self.told.iter().filter(shared).copied().collect()
    }

    /// Goes on until the connection ends; the peer is handed over when something is shared with it.
    pub(super) async fn run(mut self, found: impl AsyncFnOnce(LanPeer)) -> Result<(), Error> {
        let (sender, receiver) = watch::channel(Vec::new());
        let mut found = Some((found, receiver));
        let until = Instant::now() + PATIENCE;
        self.show().await?;
        loop {
            tokio::select! {
                message = self.channel.recv() => match message? {
                    Some((0, body)) => self.hear(&body)?,
                    Some(_) => {}
                    None => return Ok(()),
                },
                changed = self.topics.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.show().await?;
                }
                () = tokio::time::sleep_until(until), if found.is_some() => return Err(Error::TimedOut),
            }
            let shared = self.shared();
            let some = !shared.is_empty();
            if !some && found.is_none() {
                return Ok(());
            }
            sender.send_if_modified(|before| {
                let is_new = *before != shared;
                *before = shared;
                is_new
            });
            if some && let Some((found, shared)) = found.take() {
                found(LanPeer {
                    connection: self.connection.clone(),
                    shared,
                })
                .await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Role;
    use pome_cores::KeyPair;
    use tokio::sync::oneshot;

    fn topics(of: &[u8]) -> Topics {
        of.iter().map(|n| [*n; 32]).collect()
    }

    fn pair() -> (Connection, Connection) {
        let (a, b) = tokio::io::duplex(1 << 16);
        let over = |socket, role| {
            Connection::over(socket, role, &KeyPair::random(), Default::default())
                .expect("a connection")
        };
        (over(a, Role::Initiator), over(b, Role::Responder))
    }

    /// One side: what it shares, and its end.
    fn side(
        connection: Connection,
        id: u8,
        of: &watch::Sender<Topics>,
    ) -> (
        oneshot::Receiver<LanPeer>,
        tokio::task::JoinHandle<Result<(), Error>>,
    ) {
        let (found, peer) = oneshot::channel();
        let topics = of.subscribe();
        let task = tokio::spawn(async move {
            let (showing, theirs) = Showing::begin(connection, [id; 16], topics).await?;
            assert_ne!(theirs, [id; 16]);
            let found = async |peer| found.send(peer).expect("somebody waits");
            showing.run(found).await
        });
        (peer, task)
    }

    #[tokio::test]
    async fn both_find_what_they_share() {
        let (a, b) = pair();
        let ours = watch::Sender::new(topics(&[1, 2, 4]));
        let theirs = watch::Sender::new(topics(&[2, 3]));
        let (a, a_task) = side(a, 1, &ours);
        let (b, b_task) = side(b, 2, &theirs);
        let (a, b) = (a.await.expect("a peer"), b.await.expect("a peer"));
        for peer in [&a, &b] {
            assert_eq!(*peer.shared().borrow(), [[2; 32]]);
        }
        // One is joined later, another left.
        theirs.send_replace(topics(&[3, 4]));
        for peer in [&a, &b] {
            let mut shared = peer.shared();
            let now = shared.wait_for(|shared| shared.contains(&[4; 32])).await;
            assert!(now.is_ok());
        }
        assert_eq!(*b.shared().borrow(), [[4; 32]], "the other was left here");
        theirs.send_replace(topics(&[3]));
        b_task.await.expect("no panic").expect("ends well");
        a_task.await.expect("no panic").expect("ends well");
    }

    #[tokio::test]
    async fn a_stranger_learns_nothing() {
        let (a, stranger) = pair();
        let ours = watch::Sender::new(topics(&[1, 2]));
        let (_peer, _task) = side(a, 1, &ours);
        let options = ChannelOptions {
            handshake: &[9; 16],
            ..ChannelOptions::default()
        };
        let topic = Topic::new(PROTOCOL, b"");
        let channel = stranger.open(&topic, options).expect("opens").expect("one");
        let Ok(Some((0, body))) = channel.recv().await else {
            panic!("proofs come first");
        };
        assert_eq!(body.len(), 2 * PROOF);
        assert!(!body.windows(4).any(|w| w == [1; 4] || w == [2; 4]));
        // What it was shown proves nothing when it is sent back, nor on another connection.
        let hash = stranger.handshake_hash().expect("open");
        let replayed = [&body[..], &proof(&[1; 32], &[0; 64], false)].concat();
        let seen: HashSet<[u8; PROOF]> = replayed.as_chunks().0.iter().copied().collect();
        assert!(seen.contains(&proof(&[1; 32], &hash, true)));
        assert!(!seen.contains(&proof(&[1; 32], &hash, false)));
        // Nonsense ends it.
        channel
            .send(0, vec![0; PROOF + 1].into())
            .await
            .expect("sent");
        channel.closed().await;
    }

    #[tokio::test]
    async fn too_many_topics_end_it() {
        let (a, stranger) = pair();
        let ours = watch::Sender::new(topics(&[1]));
        let (_peer, task) = side(a, 1, &ours);
        let options = ChannelOptions {
            handshake: &[9; 16],
            ..ChannelOptions::default()
        };
        let topic = Topic::new(PROTOCOL, b"");
        let channel = stranger.open(&topic, options).expect("opens").expect("one");
        let mut sent = 0_u128;
        loop {
            let body: Vec<u8> = (sent..sent + 4096).flat_map(u128::to_le_bytes).collect();
            sent += 4096;
            if channel.send(0, body.into()).await.is_err() || sent > 3 * SHOWN_MAX as u128 {
                break;
            }
        }
        let over = task.await.expect("no panic");
        assert!(matches!(over, Err(Error::Misbehaved { .. })), "{over:?}");
    }
}
