//! A relay that comes back: dialled when somebody needs it, and again when it was lost.

use super::{DhtRelay, DhtRelayOptions, RelayError};
use crate::Error;
use std::{fmt, sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, timeout},
};

/// How long a relay may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Whoever asks so soon after a failure gets the same.
const SAME: Duration = Duration::from_secs(1);

struct Inner {
    /// `HOST:PORT`; without it nobody is dialled.
    address: Option<String>,
    options: DhtRelayOptions,
    current: watch::Sender<Option<DhtRelay>>,
    /// Held while it is dialled: the last failure.
    failed: Mutex<Option<(Instant, RelayError)>>,
}

/// Dials a relay when it is needed, and anew when it is gone. Cheap to clone: all clones share one stream to the relay.
///
/// ```
/// use pome_net::{
///     dht_relay::{RelayDialer, RelayServer},
///     hyperdht::{HyperDht, HyperDhtOptions},
/// };
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let mut options = HyperDhtOptions::bootstrapper("127.0.0.1:0".parse()?);
/// options.dht.host = std::net::Ipv4Addr::LOCALHOST;
/// let node = HyperDht::bind(options)?;
/// let server = RelayServer::bind("127.0.0.1:0", node, Default::default()).await?;
/// let dialer = RelayDialer::new(server.address().to_string(), Default::default());
/// let first = dialer.relay().await?;
/// first.close();
/// first.closed().await;
/// assert!(!dialer.relay().await?.is_closed());
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RelayDialer {
    inner: Arc<Inner>,
}

impl fmt::Debug for RelayDialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayDialer")
            .field("address", &self.inner.address)
            .finish_non_exhaustive()
    }
}

impl From<DhtRelay> for RelayDialer {
    /// A relay that is not dialled again.
    fn from(relay: DhtRelay) -> Self {
        Self::with(None, DhtRelayOptions::default(), Some(relay))
    }
}

impl RelayDialer {
    /// The relay at `HOST:PORT`. Nobody is dialled yet.
    pub fn new(address: impl Into<String>, options: DhtRelayOptions) -> Self {
        Self::with(Some(address.into()), options, None)
    }

    fn with(address: Option<String>, options: DhtRelayOptions, relay: Option<DhtRelay>) -> Self {
        Self {
            inner: Arc::new(Inner {
                address,
                options,
                current: watch::Sender::new(relay),
                failed: Mutex::new(None),
            }),
        }
    }

    fn current(&self) -> Option<DhtRelay> {
        let current = self.inner.current.borrow();
        current.clone().filter(|relay| !relay.is_closed())
    }

    /// The relay, which is dialled unless it is there. Gives up after ten seconds.
    ///
    /// # Errors
    /// As [`DhtRelay::connect`]; [`RelayError::Gone`] when it cannot be dialled again.
    pub async fn relay(&self) -> Result<DhtRelay, RelayError> {
        let inner = &*self.inner;
        let mut failed = inner.failed.lock().await;
        if let Some(relay) = self.current() {
            return Ok(relay);
        }
        let address = inner.address.as_deref().ok_or(RelayError::Gone)?;
        if let Some((at, error)) = &*failed
            && at.elapsed() < SAME
        {
            return Err(error.clone());
        }
        let dialling = DhtRelay::connect(address, inner.options.clone());
        let dialled = timeout(ANSWER, dialling).await;
        match dialled.unwrap_or(Err(RelayError::Stream(Error::TimedOut))) {
            Ok(relay) => {
                *failed = None;
                inner.current.send_replace(Some(relay.clone()));
                Ok(relay)
            }
            Err(error) => {
                *failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// The relay that was dialled last, as that changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<DhtRelay>> {
        self.inner.current.subscribe()
    }

    /// Ends the stream to the relay, and with it all that goes through it, until somebody needs it again. A relay that cannot be dialled again stays.
    pub fn hang_up(&self) {
        if self.inner.address.is_some()
            && let Some(relay) = self.inner.current.send_replace(None)
        {
            relay.close();
        }
    }
}
