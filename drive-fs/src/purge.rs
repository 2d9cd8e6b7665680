//! Removes a drive from the store.

use crate::{
    Error, Hyperdrive,
    content::derived_key,
    vfs::mounted::{self, overlay_name},
};
use pome_cores::{Batch, Hypercore};

impl Hyperdrive {
    /// Removes the drive from the store: both cores with all that is in them, its names, the rule by which its versions are kept, and what a mount has not
    /// published. All sessions on it close. It is one commit: a crash leaves all or nothing of it. A drive that this store can sign for must not be made
    /// again by the same name and shared: its peers have the old history.
    ///
    /// # Errors
    /// [`Error::Core`] with `BAD_ARGUMENT` while it is mounted in this process; from the store.
    pub async fn purge(&self) -> Result<(), Error> {
        let name = self.key().to_string();
        if mounted::is_mounted(&name) {
            let what = "the drive is mounted: take the mount down first";
            return Err(pome_cores::Error::BadArgument { what }.into());
        }
        let corestore = self.corestore();
        let mut batch = Batch::new();
        if let Some(rows) = self.retention_rows()? {
            rows.forget(&mut batch);
        }
        let overlay = overlay_name(&name);
        if corestore.locals(&overlay)?.contains(&overlay) {
            let space = corestore.local(&overlay)?.space();
            // All its keys begin with a letter.
            batch.delete_range(space, [], [0xff]);
        }
        let content = self.content_here().await?;
        let cores: Vec<&Hypercore> = [self.core()].into_iter().chain(&content).collect();
        corestore.purge(&cores, batch).await?;
        // An empty keyspace is left, whose name nobody needs.
        corestore.remove_local(&overlay)?;
        Ok(())
    }

    /// The content core, unless nobody here knows which it is: then nothing of it is here.
    async fn content_here(&self) -> Result<Option<Hypercore>, Error> {
        let core = self.core();
        let known = core.writable() || derived_key(core).is_some() || core.has(0..1).await?;
        match known {
            true => Ok(Some(self.blobs().await?.core().clone())),
            false => Ok(None),
        }
    }
}
