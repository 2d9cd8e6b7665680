//! The writing end of a mirror.

use super::{
    BATCH_BYTES, BATCH_CHANGES, Mirrordrive,
    side::{MirrorSide, Node},
    transform::{Content, MirrorContent},
};
use crate::{
    BlobId, DriveBatch, EntryValue, Error, Hyperdrive, Localdrive, PosixMetadata, PutOptions,
    cut::Cutter,
};
use futures_util::TryStreamExt;
use pome_cores::Durability;
use serde_json::Value;

/// Where a mirror writes.
#[expect(clippy::large_enum_variant, reason = "there is one in a mirror")]
pub(super) enum Sink {
    /// Nowhere: a dry run.
    Nothing,
    Hyper {
        drive: Hyperdrive,
        batch: DriveBatch,
        dedup: bool,
        posix: bool,
        whole: bool,
    },
    Local {
        folder: Localdrive,
        posix: bool,
    },
}

fn metadata_of(node: Option<&Node>) -> Option<&Value> {
    match node {
        Some(Node::Hyper(entry)) => entry.value.metadata.as_ref(),
        _ => None,
    }
}

/// Stores what a file has not had before.
async fn deduplicated(
    drive: &Hyperdrive,
    path: &str,
    mut pieces: MirrorContent,
) -> Result<BlobId, Error> {
    let mut writer = drive.dedup_writer(path).await?;
    let mut cutter = Cutter::default();
    while let Some(content) = pieces.try_next().await? {
        for piece in cutter.push(content) {
            writer.write(piece).await?;
        }
    }
    if let Some(rest) = cutter.finish() {
        writer.write(rest).await?;
    }
    writer.finish().await
}

impl Sink {
    pub(super) fn open(mirror: &Mirrordrive) -> Result<Self, Error> {
        Ok(match &mirror.target {
            MirrorSide::Hyper(drive) => {
                let mut batch = drive.batch()?;
                for (key, value) in &mirror.options.rows {
                    batch.put_row(key, value.clone());
                }
                for path in &mirror.options.remove {
                    batch.del(path)?;
                }
                match mirror.options.dry_run {
                    true => Self::Nothing,
                    false => Self::Hyper {
                        drive: drive.clone(),
                        batch,
                        dedup: mirror.options.dedup,
                        posix: mirror.options.posix,
                        whole: mirror.options.whole,
                    },
                }
            }
            MirrorSide::Local(_) if mirror.options.dry_run => Self::Nothing,
            MirrorSide::Local(folder) => Self::Local {
                folder: folder.clone(),
                posix: mirror.options.posix,
            },
        })
    }

    async fn flush(&mut self) -> Result<(), Error> {
        if let Self::Hyper { drive, batch, .. } = self {
            let full = std::mem::replace(batch, drive.batch()?);
            full.flush(Durability::Buffered).await?;
        }
        Ok(())
    }

    async fn flush_if_full(&mut self) -> Result<(), Error> {
        match self {
            Self::Hyper {
                batch, whole: true, ..
            } => match batch.staged_bytes() >= BATCH_BYTES {
                true => batch.store_contents(Durability::Buffered).await,
                false => Ok(()),
            },
            Self::Hyper { batch, .. }
                if batch.staged_bytes() >= BATCH_BYTES || batch.len() >= BATCH_CHANGES =>
            {
                self.flush().await
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn remove(&mut self, path: &str) -> Result<(), Error> {
        match self {
            Self::Nothing => Ok(()),
            Self::Hyper { batch, .. } => {
                batch.del(path)?;
                self.flush_if_full().await
            }
            Self::Local { folder, .. } => folder.del(path).await,
        }
    }

    /// Gives what is there the attributes of `from`.
    pub(super) async fn attributes(&mut self, from: &Node, to: Option<&Node>) -> Result<(), Error> {
        match self {
            Self::Nothing => Ok(()),
            Self::Hyper { batch, posix, .. } => {
                let mut value = match to {
                    Some(Node::Hyper(entry)) => entry.value.clone(),
                    _ => EntryValue::default(),
                };
                value.executable = from.executable();
                value.metadata = from.metadata(metadata_of(to), *posix);
                batch.put_entry(from.path(), value)?;
                self.flush_if_full().await
            }
            Self::Local { folder, posix } => {
                let attributes = from.posix_on_disk(*posix);
                folder
                    .set_attributes(from.path(), attributes, from.executable())
                    .await
            }
        }
    }

    pub(super) async fn link(
        &mut self,
        from: &Node,
        to: Option<&Node>,
        target: &str,
    ) -> Result<(), Error> {
        match self {
            Self::Nothing => Ok(()),
            Self::Hyper { batch, posix, .. } => {
                let metadata = from.metadata(metadata_of(to), *posix);
                batch.symlink(from.path(), target, metadata)?;
                self.flush_if_full().await
            }
            Self::Local {
                folder,
                posix: true,
            } => {
                folder
                    .symlink_verbatim(from.path(), target, from.posix().mtime)
                    .await
            }
            Self::Local { folder, .. } => folder.symlink(from.path(), target).await,
        }
    }

    /// Writes a file. Its content is made only where it is needed.
    pub(super) async fn file<F: Future<Output = Result<Content, Error>>>(
        &mut self,
        from: &Node,
        to: Option<&Node>,
        content: impl FnOnce() -> F,
    ) -> Result<(), Error> {
        let path = from.path();
        match self {
            Self::Nothing => Ok(()),
            Self::Hyper { batch, posix, .. } => {
                let metadata = from.metadata(metadata_of(to), *posix);
                let executable = from.executable();
                if matches!(from, Node::Hyper(entry) if entry.value.blob.is_none()) {
                    let value = EntryValue {
                        executable,
                        metadata,
                        ..EntryValue::default()
                    };
                    batch.put_entry(path, value)?;
                    return self.flush_if_full().await;
                }
                let mut pieces = match content().await? {
                    Content::Whole(content) => {
                        let options = PutOptions {
                            executable,
                            metadata,
                            ..PutOptions::default()
                        };
                        batch.put(path, content, options)?;
                        return self.flush_if_full().await;
                    }
                    Content::Pieces(pieces) => pieces,
                };
                // First what came before, so that the contents stand in the order of the paths.
                match self {
                    Self::Hyper {
                        batch, whole: true, ..
                    } => batch.store_contents(Durability::Buffered).await?,
                    _ => self.flush().await?,
                }
                let Self::Hyper {
                    drive,
                    batch,
                    dedup,
                    ..
                } = self
                else {
                    return Ok(());
                };
                let blob = match *dedup {
                    true => deduplicated(drive, path, pieces).await?,
                    false => {
                        let mut writer = drive.blob_writer().await?;
                        while let Some(piece) = pieces.try_next().await? {
                            writer.write(piece).await?;
                        }
                        writer.finish().await?
                    }
                };
                let value = EntryValue {
                    executable,
                    metadata,
                    ..EntryValue::file(blob)
                };
                batch.put_entry(path, value)?;
                self.flush_if_full().await
            }
            Self::Local { folder, posix } => {
                let options = PutOptions {
                    executable: from.executable(),
                    metadata: from.posix_on_disk(*posix).encode_into(None),
                    ..PutOptions::default()
                };
                let mut pieces = match content().await? {
                    Content::Whole(content) => return folder.put(path, content, options).await,
                    Content::Pieces(pieces) => pieces,
                };
                let mut writer = folder.write_stream(path, options).await?;
                while let Some(piece) = pieces.try_next().await? {
                    writer.write(piece).await?;
                }
                writer.finish().await
            }
        }
    }

    /// Empty folders, and the attributes of the others.
    pub(super) async fn folders(&mut self, mirror: &Mirrordrive) -> Result<(), Error> {
        if mirror.options.entries.is_some() || !mirror.options.posix {
            return Ok(());
        }
        for prefix in &mirror.options.prefixes {
            self.folders_below(mirror, prefix).await?;
        }
        Ok(())
    }

    async fn folders_below(&mut self, mirror: &Mirrordrive, prefix: &str) -> Result<(), Error> {
        let options = &mirror.options;
        let wanted = || mirror.source.folders(prefix, &options.ignore);
        match self {
            Self::Nothing => Ok(()),
            Self::Hyper { drive, .. } => {
                let drive = drive.clone();
                if options.prune {
                    self.prune_folders(&drive, mirror, prefix).await?;
                }
                let mut folders = wanted();
                while let Some((path, posix)) = folders.try_next().await? {
                    let there = drive.folder(&path).await?;
                    let posix = match &mirror.source {
                        MirrorSide::Hyper(_) => posix,
                        MirrorSide::Local(_) => PosixMetadata {
                            mode: posix.mode,
                            mtime: posix.mtime,
                            ..there.clone().unwrap_or_default()
                        },
                    };
                    let posix = PosixMetadata { dir: true, ..posix };
                    if there.as_ref() != Some(&posix) {
                        if let Self::Hyper { batch, .. } = self {
                            batch.put_folder(&path, &posix)?;
                        }
                        self.flush_if_full().await?;
                    }
                }
                Ok(())
            }
            Self::Local { folder, .. } => {
                let folder = folder.clone();
                let mut all = Vec::new();
                let mut folders = wanted();
                while let Some((path, posix)) = folders.try_next().await? {
                    match folder.make_folder(&path).await {
                        Err(error) if super::skip_reason(&error).is_some() => {}
                        made => {
                            made?;
                            all.push((path, posix));
                        }
                    }
                }
                // The innermost first: setting attributes inside changes the time of the folder around it.
                for (path, mut posix) in all.into_iter().rev() {
                    posix.mode = Some(posix.mode_of(true));
                    folder.set_attributes(&path, posix, true).await?;
                }
                Ok(())
            }
        }
    }

    /// Removes the descriptions that the source does not have. Both come sorted.
    async fn prune_folders(
        &mut self,
        drive: &Hyperdrive,
        mirror: &Mirrordrive,
        prefix: &str,
    ) -> Result<(), Error> {
        let options = &mirror.options;
        let mut wanted = mirror.source.folders(prefix, &options.ignore);
        let target = MirrorSide::Hyper(drive.clone());
        let mut there = target.folders(prefix, &options.ignore);
        let order = |path: &str| format!("{path}/");
        let mut next = wanted.try_next().await?;
        while let Some((path, _)) = there.try_next().await? {
            while next.as_ref().is_some_and(|n| order(&n.0) < order(&path)) {
                next = wanted.try_next().await?;
            }
            let keep = path.is_empty() || next.as_ref().is_some_and(|n| n.0 == path);
            if let (false, Self::Hyper { batch, .. }) = (keep, &mut *self) {
                batch.del_folder(&path)?;
                self.flush_if_full().await?;
            }
        }
        Ok(())
    }

    /// Commits what is left; with `Synced`, all is on disk when this answers.
    pub(super) async fn finish(&mut self, mirror: &Mirrordrive) -> Result<(), Error> {
        self.flush().await?;
        match self {
            Self::Hyper { drive, .. } if mirror.options.durability == Durability::Synced => {
                let store = drive.corestore().store().clone();
                let synced = tokio::task::spawn_blocking(move || store.sync()).await;
                match synced {
                    Ok(synced) => Ok(synced.map_err(pome_cores::Error::from)?),
                    Err(_) => Err(Error::Closed),
                }
            }
            _ => Ok(()),
        }
    }
}
