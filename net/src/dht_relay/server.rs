//! Lends a node of the DHT to clients that reach it over one stream each.

use super::{
    link::{Link, Outlet, inlet},
    messages::{Announcement, Announcers, Keys, Message, Proof},
};
use crate::{
    Error,
    driver::{Connection, ConnectionOptions, Messages, tcp},
    hyperdht::{
        AnnounceOptions, ConnectOptions, Found, HyperDht, ServerOptions,
        messages::{NoisePayload, Wire},
    },
};
use bytes::Bytes;
use parking_lot::Mutex;
use pome_cores::KeyPair;
use std::{
    collections::{HashMap, VecDeque},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::ToSocketAddrs,
    sync::{Semaphore, oneshot},
    task::{JoinHandle, JoinSet},
};

/// Streams of one client at a time.
pub const STREAMS_MAX: usize = 256;
/// Servers, questions and peers at the door of one client at a time, each.
pub const ASKED_MAX: usize = 64;
/// How long a client may think about a peer at the door.
const DOOR: Duration = Duration::from_secs(10);
/// The nodes that were told of the servers of a client that is gone have so long to forget them.
const GOOD_BYE: Duration = Duration::from_secs(5);
/// After a failure to accept, as when too many files are open.
const PAUSE: Duration = Duration::from_millis(100);

/// How a relay serves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RelayServerOptions {
    /// The key pair that clients see (default: a new one).
    pub key_pair: Option<KeyPair>,
    /// Clients at a time (default 1,024); more are not let in.
    pub clients_max: usize,
}

impl Default for RelayServerOptions {
    fn default() -> Self {
        Self {
            key_pair: None,
            clients_max: 1_024,
        }
    }
}

/// Serves clients over TCP, until it is dropped.
///
/// ```
/// use pome_net::{dht_relay::{DhtRelay, RelayServer}, hyperdht::{HyperDht, HyperDhtOptions}};
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let mut options = HyperDhtOptions::bootstrapper("127.0.0.1:0".parse()?);
/// options.dht.host = std::net::Ipv4Addr::LOCALHOST;
/// let first = HyperDht::bind(options)?;
/// let mut options = HyperDhtOptions::default();
/// options.dht.host = std::net::Ipv4Addr::LOCALHOST;
/// options.dht.node.bootstrap = vec![first.dht().local_addr()];
/// let lent = HyperDht::bind(options)?;
/// let relay = RelayServer::bind("127.0.0.1:0", lent, Default::default()).await?;
/// let client = DhtRelay::connect(relay.address(), Default::default()).await?;
/// let topic = [7; 32];
/// client.announce(topic, client.key_pair()).await?;
/// // The first node was told, and tells.
/// let peers = client.lookup(topic).await?.peers().await;
/// assert_eq!(peers.len(), 1);
/// assert_eq!(peers[0].public_key, client.key_pair().public);
/// client.unannounce(topic, client.key_pair()).await?;
/// assert!(client.lookup(topic).await?.peers().await.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RelayServer {
    address: SocketAddr,
    public_key: [u8; 32],
    accepting: JoinHandle<()>,
}

impl RelayServer {
    /// Listens.
    ///
    /// # Errors
    /// [`Error::Io`] when the address is taken or not ours.
    pub async fn bind(
        address: impl ToSocketAddrs,
        dht: HyperDht,
        options: RelayServerOptions,
    ) -> Result<Self, Error> {
        let key_pair = options.key_pair.unwrap_or_else(KeyPair::random);
        let public_key = key_pair.public;
        let server = tcp::Server::bind(address, key_pair, ConnectionOptions::default()).await?;
        let address = server.address();
        let free = Arc::new(Semaphore::new(options.clients_max));
        let accepting = tokio::spawn(async move {
            let mut clients = JoinSet::new();
            loop {
                while clients.try_join_next().is_some() {}
                let Ok(connection) = server.accept().await else {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                };
                let Ok(permit) = free.clone().try_acquire_owned() else {
                    connection.abort();
                    continue;
                };
                let dht = dht.clone();
                clients.spawn(async move {
                    if let Err(error) = Self::serve(dht, connection).await {
                        tracing::debug!(code = error.code(), %error, "a client of the relay is gone");
                    }
                    drop(permit);
                });
            }
        });
        Ok(Self {
            address,
            public_key,
            accepting,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The key that clients see.
    pub fn public_key(&self) -> [u8; 32] {
        self.public_key
    }

    /// Serves one client over a connection of any kind, until it is over.
    ///
    /// # Errors
    /// Why the connection failed, or what the client said that nobody can read.
    pub async fn serve(dht: HyperDht, connection: Connection) -> Result<(), Error> {
        let link = Link::new(&connection)?;
        let proxy = Arc::new(Proxy {
            dht,
            link,
            state: Mutex::default(),
        });
        // What works for the client ends with it; its servers take their announcements back before.
        let (mut tasks, mut servers) = (JoinSet::new(), JoinSet::new());
        let served = loop {
            while tasks.try_join_next().is_some() || servers.try_join_next().is_some() {}
            let handled = match proxy.link.recv(true).await {
                Ok(Some(message)) => match proxy.link.carry(message).await {
                    Some(message) => proxy.handle(message, &mut tasks, &mut servers),
                    None => Ok(()),
                },
                Ok(None) => break Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = handled {
                break Err(error);
            }
        };
        connection.abort();
        tasks.shutdown().await;
        proxy.state.lock().servers.clear();
        let closed = async { while servers.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GOOD_BYE, closed).await;
        served
    }
}

impl Drop for RelayServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[derive(Default)]
struct State {
    /// Servers by the client's number: told when the client closes one.
    servers: HashMap<u32, oneshot::Sender<()>>,
    /// Questions on their way.
    questions: usize,
    /// Peers at the door: let in or not.
    door: HashMap<u32, oneshot::Sender<bool>>,
    /// Peers that were let in, until the client has a number for them: by ours.
    arrived: HashMap<u32, Messages>,
}

struct Proxy {
    dht: HyperDht,
    link: Link,
    state: Mutex<State>,
}

/// A peer that was let in and waits to be taken.
struct Waits<'a> {
    proxy: &'a Proxy,
    alias: u32,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let arrived = self.proxy.state.lock().arrived.remove(&self.alias);
        if let Some(messages) = arrived {
            messages.connection().abort();
        }
    }
}

/// The client's key pair, of which it gave us custody.
fn pair(keys: &Keys) -> Result<KeyPair, &'static str> {
    let secret = keys
        .secret
        .as_ref()
        .ok_or("this relay acts for clients only with their secret key")?;
    KeyPair::from_secret_key(secret)
        .filter(|pair| pair.public == keys.public)
        .ok_or("the secret key does not belong to the public key")
}

impl Proxy {
    fn handle(
        self: &Arc<Self>,
        message: Message,
        tasks: &mut JoinSet<()>,
        servers: &mut JoinSet<()>,
    ) -> Result<(), Error> {
        match message {
            Message::Connect {
                alias,
                keys,
                remote_public_key,
            } => {
                let (inlet, outlet) = inlet();
                let pair = match pair(&keys) {
                    _ if self.link.streams() >= STREAMS_MAX => Err("too many streams"),
                    pair => pair,
                };
                let refused = match pair {
                    Ok(pair) if self.link.add(alias, inlet) => {
                        let proxy = self.clone();
                        tasks.spawn(async move {
                            proxy.connect(alias, pair, remote_public_key, outlet).await;
                        });
                        return Ok(());
                    }
                    Ok(_) => "the number of the stream is taken",
                    Err(refused) => refused,
                };
                self.refuse(alias, refused.into())?;
            }
            Message::Connected {
                alias,
                remote_alias,
            } => {
                let arrived = self.state.lock().arrived.remove(&remote_alias);
                let (inlet, outlet) = inlet();
                if let Some(messages) = arrived
                    && self.link.add(alias, inlet)
                {
                    let proxy = self.clone();
                    tasks.spawn(async move {
                        let link = &proxy.link;
                        link.carry_messages(&messages, outlet, remote_alias, alias)
                            .await;
                    });
                }
            }
            Message::Deny(id) | Message::Accept(id) => {
                if let Some(answer) = self.state.lock().door.remove(&id) {
                    let _ = answer.send(matches!(message, Message::Accept(_)));
                }
            }
            Message::Listen { alias, keys } => {
                let (close, closed) = oneshot::channel();
                let mut state = self.state.lock();
                let is_free =
                    state.servers.len() < ASKED_MAX && !state.servers.contains_key(&alias);
                if let (true, Ok(pair)) = (is_free, pair(&keys)) {
                    state.servers.insert(alias, close);
                    drop(state);
                    let proxy = self.clone();
                    servers.spawn(async move {
                        proxy.listen(alias, pair, closed).await;
                        proxy.state.lock().servers.remove(&alias);
                    });
                }
            }
            Message::Close(alias) => {
                if let Some(close) = self.state.lock().servers.remove(&alias) {
                    let _ = close.send(());
                }
            }
            Message::Lookup { id, topic } => {
                self.ask(id, tasks, move |proxy| async move {
                    let mut lookup = proxy.dht.lookup(topic);
                    while let Ok(Some(found)) = lookup.next().await {
                        proxy.tell(id, &found);
                    }
                })?;
            }
            Message::Announce(wanted) => self.announce(wanted, true, tasks)?,
            Message::Unannounce(wanted) => self.announce(wanted, false, tasks)?,
            // Of a client: its first message, which says nothing that is needed; and what only a client is told.
            _ => {}
        }
        Ok(())
    }

    fn refuse(&self, alias: u32, error: String) -> Result<(), Error> {
        self.link.send_now(Message::Destroy {
            paired: false,
            alias,
            error: Some(error),
        })
    }

    async fn connect(&self, alias: u32, pair: KeyPair, to: [u8; 32], outlet: Outlet) {
        let options = ConnectOptions {
            key_pair: Some(pair),
            ..ConnectOptions::default()
        };
        let connection = match self.dht.connect(&to, options).await {
            Ok(connection) => connection,
            Err(error) => {
                self.link.remove(alias);
                let _ = self.refuse(alias, format!("{}: {error}", error.code()));
                return;
            }
        };
        let messages = connection.messages();
        let ours = self.link.number();
        let open = Message::Open {
            alias: ours,
            remote_alias: alias,
            proof: Proof::Hash(connection.handshake_hash().unwrap_or([0; 64])),
        };
        if self.link.send(open).await.is_ok() {
            self.link
                .carry_messages(&messages, outlet, ours, alias)
                .await;
        }
    }

    async fn listen(
        self: &Arc<Self>,
        alias: u32,
        pair: KeyPair,
        mut closed: oneshot::Receiver<()>,
    ) {
        /// What peers at the door said about themselves.
        type Said = Mutex<VecDeque<([u8; 32], Bytes)>>;
        let said: Arc<Said> = Arc::default();
        let hears = said.clone();
        let firewall = move |key: &[u8; 32], payload: &NoisePayload, _: SocketAddrV4| {
            let mut said = hears.lock();
            said.retain(|(other, _)| other != key);
            if said.len() >= ASKED_MAX {
                said.pop_front();
            }
            said.push_back((*key, payload.encode().into()));
            false
        };
        let options = ServerOptions {
            firewall: Some(Arc::new(firewall)),
            ..ServerOptions::default()
        };
        let Ok(mut server) = self.dht.listen(&pair, options).await else {
            return;
        };
        let ours = self.link.number();
        let dht = self.dht.dht();
        let nowhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        let address = dht.remote_addr().or(dht.address()).unwrap_or(nowhere);
        let listening = Message::Listening {
            alias: ours,
            remote_alias: alias,
            address,
        };
        if self.link.send(listening).await.is_err() {
            return;
        }
        let mut doors = JoinSet::new();
        loop {
            while doors.try_join_next().is_some() {}
            let connection = tokio::select! {
                connection = server.accept() => connection,
                _ = &mut closed => break,
            };
            let Some(connection) = connection else {
                break;
            };
            let key = connection.remote_public_key().unwrap_or_default();
            let payload = {
                let mut said = said.lock();
                let at = said.iter().position(|(other, _)| *other == key);
                at.and_then(|at| said.remove(at))
                    .map(|(_, payload)| payload)
            };
            let full = self.link.streams() >= STREAMS_MAX || doors.len() >= ASKED_MAX;
            if full {
                connection.abort();
                continue;
            }
            let proxy = self.clone();
            doors.spawn(async move {
                proxy
                    .arrived(ours, connection, key, payload.unwrap_or_default())
                    .await;
            });
        }
        server.close().await;
        let _ = self.link.send(Message::Closed(ours)).await;
    }

    /// A peer has come to a server: it is let in when the client wants that.
    async fn arrived(&self, server: u32, connection: Connection, key: [u8; 32], payload: Bytes) {
        let id = self.link.number();
        let (answer, answered) = oneshot::channel();
        self.state.lock().door.insert(id, answer);
        let incoming = Message::Incoming {
            id,
            server,
            remote_public_key: key,
            payload,
        };
        let sent = self.link.send(incoming).await.is_ok();
        let answer = tokio::time::timeout(DOOR, answered).await;
        self.state.lock().door.remove(&id);
        let is_open = connection.opened().await.is_ok();
        if !sent || !is_open || !matches!(answer, Ok(Ok(true))) {
            connection.abort();
            return;
        }
        let alias = self.link.number();
        let messages = connection.messages();
        let proof = Proof::Hash(connection.handshake_hash().unwrap_or([0; 64]));
        self.state.lock().arrived.insert(alias, messages);
        // A client that does not take it in time lets it go.
        let _waits = Waits { proxy: self, alias };
        let told = Message::Connection {
            alias,
            server,
            remote_public_key: key,
            proof,
        };
        let _ = self.link.send(told).await;
        tokio::time::sleep(DOOR).await;
    }

    /// Runs one more question, unless there are too many.
    fn ask<F>(
        self: &Arc<Self>,
        id: u32,
        tasks: &mut JoinSet<()>,
        question: impl FnOnce(Arc<Self>) -> F + Send + 'static,
    ) -> Result<(), Error>
    where
        F: Future<Output = ()> + Send,
    {
        {
            let mut state = self.state.lock();
            if state.questions >= ASKED_MAX {
                return self.link.send_now(Message::Finished(id));
            }
            state.questions += 1;
        }
        let proxy = self.clone();
        tasks.spawn(async move {
            question(proxy.clone()).await;
            proxy.state.lock().questions -= 1;
            let _ = proxy.link.send(Message::Finished(id)).await;
        });
        Ok(())
    }

    fn announce(
        self: &Arc<Self>,
        wanted: Announcement,
        announce: bool,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), Error> {
        let Announcement { id, topic, keys } = wanted;
        let Ok(pair) = pair(&keys) else {
            return self.link.send_now(Message::Finished(id));
        };
        self.ask(id, tasks, move |proxy| async move {
            let tell = |found: &Found| proxy.tell(id, found);
            let done = if announce {
                let options = AnnounceOptions::default();
                let dht = &proxy.dht;
                let taken = dht.announce_and_look(topic, &pair, &[], options, tell);
                taken.await.map(|_| ())
            } else {
                proxy.dht.unannounce_and_look(topic, &pair, tell).await
            };
            if let Err(error) = done {
                tracing::debug!(code = error.code(), %error, "an announcement for a client failed");
            }
        })
    }

    /// What a node knows about a topic.
    fn tell(&self, id: u32, found: &Found) {
        let reply = &found.reply;
        let Some(token) = reply.response.token else {
            return;
        };
        let node = reply
            .id
            .map_or(Bytes::new(), |id| Bytes::copy_from_slice(&id));
        let peers = &found.peers;
        let data = Announcers {
            token,
            from: (node, reply.from),
            to: (Bytes::new(), reply.response.to),
            peers: peers
                .iter()
                .map(|peer| (peer.public_key, peer.relay_addresses.clone()))
                .collect(),
        };
        let data = data.encode();
        // A few dozen nodes answer each question.
        let _ = self.link.send_now(Message::Result { id, data });
    }
}
