//! A network for tests, on loopback alone (npm `createTestnet`).

use super::{Error, HyperDht, HyperDhtOptions};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Lasting nodes on loopback that know each other. They stop when this is dropped.
///
/// ```
/// use pome_net::hyperdht::Testnet;
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let testnet = Testnet::new(4).await?;
/// let (a, b) = (testnet.node().await?, testnet.node().await?);
/// let mut server = a.listen(a.key_pair(), Default::default()).await?;
/// let connection = b.connect(&server.public_key(), Default::default()).await?;
/// assert!(server.accept().await.is_some());
/// # drop(connection);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Testnet {
    nodes: Vec<HyperDht>,
}

impl Testnet {
    /// So many nodes, at least one.
    ///
    /// # Errors
    /// Those of the system: no socket is left.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn new(size: usize) -> Result<Self, Error> {
        let mut options = HyperDhtOptions::bootstrapper(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
        options.dht.host = Ipv4Addr::LOCALHOST;
        let mut testnet = Self {
            nodes: vec![HyperDht::bind(options)?],
        };
        while testnet.nodes.len() < size {
            let mut options = testnet.options();
            options.dht.node.ephemeral = Some(false);
            let node = HyperDht::bind(options)?;
            node.dht().persistent().await?;
            testnet.nodes.push(node);
        }
        Ok(testnet)
    }

    /// Where nodes begin.
    pub fn bootstrap(&self) -> Vec<SocketAddrV4> {
        let first = self.nodes.first();
        first
            .map(|node| node.dht().local_addr())
            .into_iter()
            .collect()
    }

    /// The nodes, the one that the others began with first.
    pub fn nodes(&self) -> &[HyperDht] {
        &self.nodes
    }

    /// The options of one more node, which is reachable.
    pub fn options(&self) -> HyperDhtOptions {
        let mut options = HyperDhtOptions::default();
        options.dht.host = Ipv4Addr::LOCALHOST;
        options.dht.node.bootstrap = self.bootstrap();
        options.dht.node.firewalled = false;
        options
    }

    /// One more node, which is no part of the network: a peer.
    ///
    /// # Errors
    /// As [`Testnet::new`].
    pub async fn node(&self) -> Result<HyperDht, Error> {
        let mut options = self.options();
        options.dht.node.ephemeral = Some(true);
        let node = HyperDht::bind(options)?;
        node.ready().await?;
        Ok(node)
    }
}
