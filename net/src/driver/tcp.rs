//! Connections over TCP, as with node's `net` around npm's secret stream. Nothing on the wire but the stream itself.

use super::{Connection, ConnectionOptions};
use crate::{Error, noise::Role};
use pome_cores::KeyPair;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};

fn over(
    socket: TcpStream,
    role: Role,
    key_pair: &KeyPair,
    options: &ConnectionOptions,
) -> Result<Connection, Error> {
    // A request must not wait for the next one to fill a packet.
    socket.set_nodelay(true)?;
    Connection::over(socket, role, key_pair, options.clone())
}

/// Dials. The connection is there when TCP's is; [`Connection::opened`] waits for the handshake. There is no deadline but the system's; wrap it into
/// a timeout.
///
/// # Errors
/// [`Error::Io`] when nobody answers.
pub async fn connect(
    address: impl ToSocketAddrs,
    key_pair: &KeyPair,
    options: &ConnectionOptions,
) -> Result<Connection, Error> {
    let socket = TcpStream::connect(address).await?;
    over(socket, Role::Initiator, key_pair, options)
}

/// Takes connections that peers dial.
///
/// ```
/// use pome_cores::KeyPair;
/// use pome_net::driver::{ConnectionOptions, tcp};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let options = ConnectionOptions::default();
/// let server = tcp::Server::bind("127.0.0.1:0", KeyPair::random(), options.clone()).await?;
/// let dialled = tcp::connect(server.address(), &KeyPair::random(), &options).await?;
/// let taken = server.accept().await?;
/// dialled.opened().await?;
/// assert_eq!(dialled.remote_public_key(), Some(taken.public_key()));
/// # Ok::<(), pome_net::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    key_pair: KeyPair,
    options: ConnectionOptions,
}

impl Server {
    /// Listens; port 0 takes any free one.
    ///
    /// # Errors
    /// [`Error::Io`] when the address is taken or not ours.
    pub async fn bind(
        address: impl ToSocketAddrs,
        key_pair: KeyPair,
        options: ConnectionOptions,
    ) -> Result<Self, Error> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self {
            listener,
            address,
            key_pair,
            options,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection; its handshake goes on by itself. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Io`], which may pass, as when too many files are open.
    pub async fn accept(&self) -> Result<Connection, Error> {
        let (socket, _) = self.listener.accept().await?;
        over(socket, Role::Responder, &self.key_pair, &self.options)
    }
}
