//! Pausing a store, for a machine that sends its programs to sleep.

use crate::{corestore::Corestore, error::Error, registry::Registry};

impl Registry {
    pub(crate) fn is_suspended(&self) -> bool {
        *self.suspended.borrow()
    }

    /// Waits until changes may be made.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed).
    pub(crate) async fn running(&self) -> Result<(), Error> {
        if self.is_suspended() {
            let mut suspended = self.suspended.subscribe();
            let running = suspended.wait_for(|suspended| !suspended).await;
            running.map_err(|_| Error::Closed)?;
        }
        match self.is_closed() {
            true => Err(Error::Closed),
            false => Ok(()),
        }
    }
}

impl Corestore {
    /// Puts everything on disk, and lets nothing change until [`resume`](Self::resume): appends, truncations and clears wait, of all cores and
    /// whoever asks for them; what peers send is taken later. Reads go on. The files stay open and the lock held, so that nobody else can take the
    /// store meanwhile. For the whole store, through whichever handle.
    ///
    /// Local keyspaces, journals and user data of branches that are written past this handle are not held up.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), or from the sync; the store is suspended all the same.
    pub async fn suspend(&self) -> Result<(), Error> {
        self.check_open()?;
        let registry = self.registry();
        registry.suspended.send_replace(true);
        // Who had begun a change ends it first.
        for core in registry.open_cores() {
            drop(core.write.clone().lock_owned().await);
        }
        let store = self.store();
        Ok(store.synced(store.committed_seq()).await?)
    }

    /// Ends [`suspend`](Self::suspend).
    ///
    /// # Errors
    /// [`Closed`](Error::Closed).
    pub async fn resume(&self) -> Result<(), Error> {
        self.check_open()?;
        self.registry().suspended.send_replace(false);
        for core in self.registry().open_cores() {
            core.wake();
            core.replication.wake();
        }
        Ok(())
    }

    /// True between [`suspend`](Self::suspend) and [`resume`](Self::resume).
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.registry().is_suspended()
    }
}
