//! What a store tells of its cores: which are there, which are opened, whether they are sound; and who looks for peers for all of them.

use std::sync::{Arc, atomic::Ordering};

use futures_core::Stream;
use futures_util::{StreamExt, stream};
use pome_encoding::DiscoveryKey;
use tokio::sync::broadcast;

use crate::{
    audit::Audit, corestore::Corestore, error::Error, layout, options::CoreOptions,
    registry::Registry,
};

/// How many opened cores wait for a slow listener.
const OPENED: usize = 1024;

/// Somebody is looking for peers for all cores of a store, until it is dropped: see [`Corestore::finding_peers`].
#[must_use = "the search ends when this is dropped"]
pub struct StoreFindingPeers(Arc<Registry>);

impl std::fmt::Debug for StoreFindingPeers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreFindingPeers").finish_non_exhaustive()
    }
}

impl Drop for StoreFindingPeers {
    fn drop(&mut self) {
        self.0.finding.fetch_sub(1, Ordering::AcqRel);
        for core in self.0.open_cores() {
            core.wake();
        }
    }
}

impl Corestore {
    /// The discovery keys of all cores in the store as of now, in order, read as they are asked for. (npm `list()`; see
    /// [`names`](Self::names) for those of a namespace.)
    ///
    /// # Errors
    /// [`Closed`](Error::Closed).
    pub fn stream(
        &self,
    ) -> Result<
        impl Stream<Item = Result<DiscoveryKey, Error>> + Send + Unpin + 'static + use<>,
        Error,
    > {
        self.check_open()?;
        let (start, end) = layout::cores_range();
        let snapshot = self.store().snapshot();
        let cores = snapshot.range(layout::REGISTRY, &start[..]..&end[..]);
        let keys = cores.map(|entry| layout::core_key_parse(&entry?.0));
        Ok(stream::iter(keys))
    }

    /// Reads and verifies every core of the store, one after another (npm `audit()`). What is wrong with a core is in its [`Audit`]; a core that
    /// cannot be opened, or read at all, is an error in its place, and the stream goes on.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed).
    pub fn audit(
        &self,
    ) -> Result<
        impl Stream<Item = (DiscoveryKey, Result<Audit, Error>)> + Send + 'static + use<>,
        Error,
    > {
        let cores = self.list()?;
        let store = self.clone();
        Ok(stream::iter(cores).then(move |discovery_key| {
            let store = store.clone();
            async move {
                let options = CoreOptions::discovery_key(discovery_key).with_active(false);
                let audit = match store.get(options).await {
                    Ok(core) => core.audit(|_| ()).await,
                    Err(error) => Err(error),
                };
                (discovery_key, audit)
            }
        }))
    }

    /// Tells of each core that is opened from now on and was not open before, here or because a peer asked for it (npm `watch`). It holds no core:
    /// who wants it opens it by this discovery key. Of more than 1,024 that wait the oldest are dropped.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<DiscoveryKey> {
        let opened = &self.registry().opened;
        opened
            .get_or_init(|| broadcast::Sender::new(OPENED))
            .subscribe()
    }

    /// The discovery keys of the cores that are open now, in no order.
    #[must_use]
    pub fn open_cores(&self) -> Vec<DiscoveryKey> {
        let open = self.registry().open_cores();
        open.iter().map(|core| core.discovery_key).collect()
    }

    /// Says that peers are being looked for, for all cores of the store, those too that are opened later:
    /// [`update`](crate::Hypercore::update) waits for the first one until what is returned is dropped.
    pub fn finding_peers(&self) -> StoreFindingPeers {
        let registry = self.registry();
        registry.finding.fetch_add(1, Ordering::AcqRel);
        StoreFindingPeers(registry.clone())
    }
}
