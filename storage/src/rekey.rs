//! Another key for an encrypted store: its data key is wrapped anew, and no data is written again.

use crate::{Key, Store, error::Error};

impl Store {
    /// Gives an encrypted store another key. When this returns `new` opens it and the old one does not; after a crash or an error it is one of the two.
    /// The data key stays what it was: whoever had the old key and keeps a copy of the old superblock can read the store.
    ///
    /// # Errors
    /// `NotEncrypted`; `ReadOnly`, `Full`, `Io`, `Poisoned`, `Closed`.
    pub fn rekey(&self, new: &Key) -> Result<(), Error> {
        let inner = self.inner();
        inner.alive()?;
        let store = inner.name.clone();
        if inner.options.read_only {
            return Err(Error::ReadOnly { store });
        }
        let Some(seal) = &inner.seal else {
            return Err(Error::NotEncrypted { store });
        };
        // Before the lock: a passphrase takes its time.
        let wrapped = seal.wrap(new)?;
        let mut switch = inner.switch.lock();
        inner.alive()?;
        let changed = switch.change(|superblock| superblock.key = Some(wrapped));
        changed.map_err(|e| inner.poison(e))
    }
}
