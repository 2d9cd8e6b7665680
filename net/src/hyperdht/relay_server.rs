//! A peer that hands packets on for others which trust it.

use super::{Error, HyperDht, Server, ServerFirewall, ServerOptions};
use crate::{
    blind_relay::{self, Limits, Stats},
    driver::Connection,
};
use pome_cores::KeyPair;
use std::fmt;
use tokio::task::JoinHandle;

/// How a relay serves.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct RelayOptions {
    /// Which peers are refused (default: none; so everybody who knows the key may use it).
    pub firewall: Option<ServerFirewall>,
    /// How much it does for them.
    pub limits: Limits,
}

impl fmt::Debug for RelayOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayOptions")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// A blind relay under a key of its own: peers that are told the key ([`ConnectOptions::relay_through`](super::ConnectOptions::relay_through),
/// [`ServerOptions::relay_through`]) reach each other through this node where no straight way leads from one to the other. It cannot read what they say. It ends
/// when it is closed or dropped, and with it all that goes through it.
///
/// ```
/// use pome_cores::KeyPair;
/// use pome_net::hyperdht::{BlindRelay, ConnectOptions, HyperDht, HyperDhtOptions, ServerOptions};
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// # let mut options = HyperDhtOptions::bootstrapper("127.0.0.1:0".parse()?);
/// # options.dht.host = std::net::Ipv4Addr::LOCALHOST;
/// # let first = HyperDht::bind(options)?;
/// # let node = || {
/// #     let mut options = HyperDhtOptions::default();
/// #     options.dht.host = std::net::Ipv4Addr::LOCALHOST;
/// #     options.dht.node.bootstrap = vec![first.dht().local_addr()];
/// #     HyperDht::bind(options)
/// # };
/// let relay = BlindRelay::serve(&node()?, &KeyPair::random(), Default::default()).await?;
///
/// let mut options = ServerOptions::default();
/// options.relay_through = relay.public_key().into();
/// let mut server = node()?.listen(&KeyPair::random(), options).await?;
///
/// let mut options = ConnectOptions::default();
/// options.relay_through = relay.public_key().into();
/// let connection = node()?.connect(&server.public_key(), options).await?;
/// assert!(server.accept().await.is_some());
/// # drop(connection);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BlindRelay {
    public_key: [u8; 32],
    relay: blind_relay::Relay,
    serving: JoinHandle<Server>,
    stop: tokio::sync::watch::Sender<bool>,
}

impl BlindRelay {
    /// Listens under the key, and announces it.
    ///
    /// # Errors
    /// As [`HyperDht::listen`].
    pub async fn serve(
        dht: &HyperDht,
        key_pair: &KeyPair,
        options: RelayOptions,
    ) -> Result<Self, Error> {
        let relay = dht.relay(options.limits);
        let server = ServerOptions {
            firewall: options.firewall,
            ..ServerOptions::default()
        };
        let mut server = dht.listen(key_pair, server).await?;
        let (stop, mut stopped) = tokio::sync::watch::channel(false);
        let accepts = relay.clone();
        let serving = tokio::spawn(async move {
            loop {
                let connection = tokio::select! {
                    connection = server.accept() => connection,
                    _ = stopped.changed() => None,
                };
                let Some(connection) = connection else {
                    return server;
                };
                accept(&accepts, &connection);
            }
        });
        Ok(Self {
            public_key: key_pair.public,
            relay,
            serving,
            stop,
        })
    }

    /// The key that peers are told.
    pub fn public_key(&self) -> [u8; 32] {
        self.public_key
    }

    /// What it has done so far, and does now.
    pub fn stats(&self) -> Stats {
        self.relay.stats()
    }

    /// Stops listening, takes the announcement back, and ends all that goes through it.
    pub async fn close(mut self) {
        self.stop.send_replace(true);
        if let Ok(server) = (&mut self.serving).await {
            server.close().await;
        }
    }
}

impl Drop for BlindRelay {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The connection lives as long as the relay's channel on it.
fn accept(relay: &blind_relay::Relay, connection: &Connection) {
    if let Err(error) = relay.accept(connection) {
        tracing::debug!(code = error.code(), "a peer of the relay is gone already");
    }
}

impl HyperDht {
    /// A relay that is given connections by hand, as by a server that does other things on them, too: [`blind_relay::Relay::accept`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn relay(&self, limits: Limits) -> blind_relay::Relay {
        blind_relay::Relay::new(self.dht().udx(), limits)
    }
}
