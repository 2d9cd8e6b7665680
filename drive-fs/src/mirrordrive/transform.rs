//! The content of a file on its way from one side of a mirror to the other.

use super::{
    Mirrordrive, WHOLE_BYTES,
    side::{MirrorSide, Node},
};
use crate::Error;
use bytes::{Bytes, BytesMut};
use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use std::sync::Arc;

/// A content, in pieces of any size.
pub type MirrorContent = BoxStream<'static, Result<Bytes, Error>>;

/// Makes another content of that of the file at a path, or gives it back as it is: see [`MirrorOptions::transformers`](super::MirrorOptions::transformers).
///
/// ```
/// use futures_util::{StreamExt, TryStreamExt};
/// use pome_drive_fs::{MirrorContent, MirrorOptions, MirrorTransformer};
/// use std::sync::Arc;
///
/// let shout: MirrorTransformer = Arc::new(|path: &str, content: MirrorContent| match path.ends_with(".txt") {
///     true => content.map_ok(|piece| piece.to_ascii_uppercase().into()).boxed(),
///     false => content,
/// });
/// let options = MirrorOptions { transformers: vec![shout], ..MirrorOptions::default() };
/// ```
pub type MirrorTransformer = Arc<dyn Fn(&str, MirrorContent) -> MirrorContent + Send + Sync>;

/// A content that is to be written.
pub(super) enum Content {
    /// A small one.
    Whole(Bytes),
    /// A large one.
    Pieces(MirrorContent),
}

impl Content {
    /// Of a node of the source that has so many bytes there.
    pub(super) async fn of(mirror: &Mirrordrive, from: &Node, size: u64) -> Result<Self, Error> {
        let source: &MirrorSide = &mirror.source;
        let transformers = &mirror.options.transformers;
        if transformers.is_empty() && size <= WHOLE_BYTES {
            let path = from.path();
            let gone = || Error::NotFound { path: path.into() };
            return Ok(Self::Whole(source.whole(from).await?.ok_or_else(gone)?));
        }
        let pieces = source.content(from);
        if transformers.is_empty() {
            return Ok(Self::Pieces(pieces));
        }
        let transformed = |content, transform: &MirrorTransformer| transform(from.path(), content);
        Self::measured(transformers.iter().fold(pieces, transformed)).await
    }

    /// Of a size that is not known yet.
    async fn measured(mut pieces: MirrorContent) -> Result<Self, Error> {
        let mut start: Vec<Bytes> = Vec::new();
        let mut size = 0;
        while size <= WHOLE_BYTES {
            let Some(piece) = pieces.try_next().await? else {
                let mut whole = BytesMut::with_capacity(usize::try_from(size).unwrap_or(0));
                start
                    .iter()
                    .for_each(|piece| whole.extend_from_slice(piece));
                return Ok(Self::Whole(whole.freeze()));
            };
            size += piece.len() as u64;
            start.push(piece);
        }
        let start = stream::iter(start.into_iter().map(Ok));
        Ok(Self::Pieces(start.chain(pieces).boxed()))
    }
}
