//! Cores that nobody can write any more: fixed by their manifest, readable by whoever has the key.

use std::sync::Arc;

use bytes::Bytes;
use pome_storage::{Batch, Space};

use crate::{
    core::{Core, Head},
    corestore::Corestore,
    crypto,
    error::Error,
    hypercore::Hypercore,
    layout::{self, CoreRecord, HeadRecord, Signed},
    manifest::{Manifest, ManifestOptions, Prologue},
    options::SessionOptions,
    registry::put_record,
    session::Session,
};

/// Copied in one commit, bytes.
const COMMIT_BYTES: usize = 8 << 20;

impl Corestore {
    /// A copy of `core` as it is now under a key that is the hash of its content: its manifest has no signer and a prologue, so it never
    /// changes and needs no signature. Blocks that are not here are not in the copy either. The blocks are copied on disk.
    ///
    /// # Errors
    /// [`BadArgument`](Error::BadArgument) for an empty core; [`InvalidOperation`](Error::InvalidOperation) for a branch; [`Closed`](Error::Closed), or from the store.
    pub async fn staticify(&self, core: &Hypercore) -> Result<Hypercore, Error> {
        core.refuse_branch()?;
        let source = core.snapshot()?;
        let tree = source.session.head(|head| head.tree.clone());
        if tree.length == 0 {
            return Err(Error::BadArgument {
                what: "an empty core has nothing to make a static core of",
            });
        }
        let manifest = Manifest::create(ManifestOptions {
            version: Some(1),
            prologue: Some(Prologue {
                hash: tree.hash(),
                length: tree.length,
            }),
            ..ManifestOptions::default()
        })?;
        let key = manifest.key();
        let discovery_key = crypto::discovery_key(&key);
        let registry = self.registry();
        if registry.record(&discovery_key)?.is_none() {
            // nothing refers to the new space until the last commit, so a copy that is cut short is not seen
            let space = registry.new_space()?;
            let mut batch = self.copy(&source, space)?;
            let head = source.session.head(Head::clone);
            let head = HeadRecord {
                fork: 0,
                length: tree.length,
                byte_length: tree.byte_length,
                contiguous: head.contiguous,
                tree_hash: tree.hash(),
                signature: Signed::Given(Bytes::new()),
            };
            let record = CoreRecord {
                space,
                key,
                manifest: Some(manifest.encode()),
                seed: None,
                forked: false,
            };
            batch.put(space, layout::HEAD_KEY, head.encode());
            put_record(&mut batch, &discovery_key, &record);
            registry.commit(batch)?;
        }
        let opened: Arc<Core> = registry.core(discovery_key, None, None)?;
        let session = Session::new(
            opened,
            registry.clone(),
            self.scope().clone(),
            None,
            None,
            &SessionOptions::default(),
        );
        Ok(Hypercore::new(session))
    }

    /// Copies nodes and blocks; answers the last batch, not yet committed.
    fn copy(&self, source: &Hypercore, space: Space) -> Result<Batch, Error> {
        let (core, frozen) = (&source.session.core, &source.session.frozen);
        let Some(frozen) = frozen else {
            return Ok(Batch::new());
        };
        let (start, _) = layout::nodes_from(0);
        let (_, end) = layout::blocks_from(0);
        let mut batch = Batch::new();
        let mut bytes = 0;
        for entry in frozen.store(core).range(core.space, &start[..]..&end[..]) {
            let (key, value) = entry?;
            let number = layout::number(&key)?;
            let shows = match layout::is_node(&key) {
                true => frozen.has_node(number),
                false => frozen.has_index(number),
            };
            if !shows {
                continue;
            }
            bytes += key.len() + value.len();
            batch.put(space, &key, value);
            if bytes > COMMIT_BYTES {
                self.registry().commit(std::mem::take(&mut batch))?;
                bytes = 0;
            }
        }
        Ok(batch)
    }
}
