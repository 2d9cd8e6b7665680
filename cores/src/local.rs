//! State that is no core, in the same store and the same commits: never replicated.

use bytes::Bytes;
use pome_storage::{Batch, Durability, Space, Store};

use crate::error::Error;

/// A local keyspace: an ordered map of bytes. Cheap to clone.
///
/// ```
/// use pome_cores::{Corestore, Store};
/// # let dir = tempfile::tempdir()?;
/// let cores = Corestore::open(Store::open(dir.path(), Default::default())?)?;
/// let pins = cores.local("pins")?;
/// pins.put("a", "1")?;
/// assert_eq!(pins.get(b"a")?.as_deref(), Some(&b"1"[..]));
/// assert_eq!(cores.locals("pi")?, ["pins"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Local {
    store: Store,
    space: Space,
}

impl Local {
    pub(crate) fn new(store: Store, space: Space) -> Self {
        Self { store, space }
    }

    /// The space in the store, for a [`Batch`].
    #[must_use]
    pub fn space(&self) -> Space {
        self.space
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// From the store.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.store.get(self.space, key)?)
    }

    /// Sets one key (at most 1 KiB), `Buffered`.
    ///
    /// # Errors
    /// From the store.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<(), Error> {
        let mut batch = Batch::new();
        batch.put(self.space, key, value);
        self.store.commit(batch, Durability::Buffered)?;
        Ok(())
    }

    /// Removes one key, `Buffered`; no error if it is not there.
    ///
    /// # Errors
    /// From the store.
    pub fn delete(&self, key: impl Into<Vec<u8>>) -> Result<(), Error> {
        let mut batch = Batch::new();
        batch.delete(self.space, key);
        self.store.commit(batch, Durability::Buffered)?;
        Ok(())
    }

    /// Entries in key order, as of now.
    pub fn range<'a>(&self, range: impl std::ops::RangeBounds<&'a [u8]>) -> pome_storage::Range {
        self.store.snapshot().range(self.space, range)
    }
}
