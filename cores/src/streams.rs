//! Cores as streams: of blocks, of bytes, and blocks from a stream.
//!
//! Source: hypercore 11.37.1, `lib/streams.js`.

use bytes::Bytes;
use futures_core::{Stream, stream::BoxStream};
use futures_util::{FutureExt, StreamExt, stream};
use pome_storage::Durability;

use crate::{
    error::Error,
    hypercore::Hypercore,
    options::{Appended, GetOptions},
    replication::Download,
};

/// How many blocks are fetched ahead of a reader, where there are peers.
const PREFETCH: u64 = 32;
/// What an append from a stream takes together: blocks, and bytes.
const APPEND: (usize, usize) = (1024, 4 << 20);

/// Which blocks to read: see [`Hypercore::read_stream`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReadStreamOptions {
    /// The first block (default: 0).
    pub start: u64,
    /// The block after the last (default: the core's length). Beyond the core's length it is waited for.
    pub end: Option<u64>,
    /// Does not end: waits for what is appended later (default: false). Not together with `end` or `reverse`. A truncation does not turn it back: it goes
    /// on at the next index, as npm.
    pub live: bool,
    /// Without an end, and not live: ends at the length that the core has when it starts (default: true), not at the one that it has then.
    pub snapshot: bool,
    /// From the last block to the first (default: false).
    pub reverse: bool,
    /// How long each block may be waited for. One that is not here and not waited for is an error.
    pub get: GetOptions,
}

impl Default for ReadStreamOptions {
    fn default() -> Self {
        Self {
            start: 0,
            end: None,
            live: false,
            snapshot: true,
            reverse: false,
            get: GetOptions::default(),
        }
    }
}

/// Which bytes to read: see [`Hypercore::byte_stream`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ByteStreamOptions {
    /// The first byte (default: 0).
    pub byte_offset: u64,
    /// How many (default: all that the core has when it starts). What lies beyond the end of the core is waited for.
    pub byte_length: Option<u64>,
    /// How many blocks are fetched ahead, where there are peers (default: 32).
    pub prefetch: u64,
}

impl Default for ByteStreamOptions {
    fn default() -> Self {
        Self {
            byte_offset: 0,
            byte_length: None,
            prefetch: PREFETCH,
        }
    }
}

/// Fetches blocks ahead of a reader.
struct Ahead {
    blocks: u64,
    until: u64,
    download: Option<Download>,
}

impl Ahead {
    fn new(blocks: u64) -> Self {
        Self {
            blocks,
            until: 0,
            download: None,
        }
    }

    /// The reader is at `index`, and reads on to `end` at the most.
    fn at(&mut self, core: &Hypercore, index: u64, end: u64) -> Result<(), Error> {
        let until = index.saturating_add(self.blocks).min(end);
        // Only now and then, and only where there is somebody to ask.
        let due = self.until.saturating_sub(index) <= self.blocks / 2 && until > self.until;
        if due && core.session.core.root().replication.has_peers() {
            self.download = Some(core.download_linear(index..until)?);
            self.until = until;
        }
        Ok(())
    }
}

struct Reader {
    core: Hypercore,
    options: ReadStreamOptions,
    /// Set when it starts: the next block, and the end.
    place: Option<(u64, Option<u64>)>,
    ahead: Ahead,
}

impl Reader {
    async fn start(&self) -> Result<(u64, Option<u64>), Error> {
        let options = &self.options;
        let waits = !options.get.no_wait;
        let end = match options.end {
            Some(end) => Some(end),
            None => {
                if waits {
                    self.core.update().await?;
                }
                let fixed = options.reverse || (options.snapshot && !options.live);
                fixed.then(|| self.core.length())
            }
        };
        Ok((options.start, end))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let (start, end) = match self.place {
            Some(place) => place,
            None => self.start().await?,
        };
        self.place = Some((start, end));
        let live = self.options.live && self.options.end.is_none() && !self.options.reverse;
        let limit = match end {
            _ if live => u64::MAX,
            Some(end) => end,
            None => self.core.length(),
        };
        if start >= limit {
            return Ok(None);
        }
        let index = match self.options.reverse {
            true => limit - 1,
            false => start,
        };
        if !self.options.reverse {
            let known = limit.min(self.core.length());
            self.ahead.at(&self.core, index, known)?;
        }
        let block = self.core.get_with(index, self.options.get.clone()).await?;
        let key = self.core.key();
        let block = block.ok_or(Error::BlockNotAvailable { key, index })?;
        self.place = Some(match self.options.reverse {
            true => (start, Some(index)),
            false => (start + 1, end),
        });
        Ok(Some(block))
    }
}

struct ByteReader {
    core: Hypercore,
    options: ByteStreamOptions,
    /// Set when it starts: the next block, bytes to leave out of it, bytes still wanted.
    place: Option<(u64, u64, u64)>,
    ahead: Ahead,
}

impl ByteReader {
    async fn start(&self) -> Result<(u64, u64, u64), Error> {
        let offset = self.options.byte_offset;
        let wanted = match self.options.byte_length {
            Some(length) => length,
            None => {
                self.core.update().await?;
                self.core.byte_length().saturating_sub(offset)
            }
        };
        let (index, skip) = match (wanted, offset) {
            (0, _) | (_, 0) => (0, 0),
            _ => self.core.seek(offset).await?,
        };
        Ok((index, skip, wanted))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let mut place = match self.place {
            Some(place) => place,
            None => self.start().await?,
        };
        self.place = Some(place);
        // Empty blocks are passed over.
        while place.2 > 0 {
            let (index, skip, wanted) = place;
            self.ahead.at(&self.core, index, self.core.length())?;
            let mut block = self.core.get(index).await?;
            // It is at most the length of the block.
            let piece = block.split_off(skip.min(block.len() as u64) as usize);
            let taken = wanted.min(piece.len() as u64);
            place = (index + 1, 0, wanted - taken);
            self.place = Some(place);
            if taken > 0 {
                return Ok(Some(piece.slice(..taken as usize)));
            }
        }
        Ok(None)
    }
}

/// Streams.
impl Hypercore {
    /// The blocks of a range, in order. The first error ends it. Dropping it ends what it waits for.
    ///
    /// ```
    /// use futures_util::TryStreamExt;
    /// use pome_cores::{CoreOptions, Corestore, ReadStreamOptions, Store};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// # let dir = tempfile::tempdir()?;
    /// let cores = Corestore::open(Store::open(dir.path(), Default::default())?)?;
    /// let core = cores.get(CoreOptions::name("log")).await?;
    /// core.append_batch(vec!["a".into(), "b".into(), "c".into()]).await?;
    /// let mut options = ReadStreamOptions::default();
    /// options.reverse = true;
    /// let blocks: Vec<_> = core.read_stream(options).try_collect().await?;
    /// assert_eq!(blocks, ["c", "b", "a"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_stream(
        &self,
        options: ReadStreamOptions,
    ) -> BoxStream<'static, Result<Bytes, Error>> {
        let reader = Reader {
            core: self.clone(),
            options,
            place: None,
            ahead: Ahead::new(PREFETCH),
        };
        stream::try_unfold(reader, |mut reader| async move {
            Ok(reader.next().await?.map(|block| (block, reader)))
        })
        .boxed()
    }

    /// A range of bytes, in pieces no larger than a block. The first error ends it.
    pub fn byte_stream(
        &self,
        options: ByteStreamOptions,
    ) -> BoxStream<'static, Result<Bytes, Error>> {
        let reader = ByteReader {
            core: self.clone(),
            ahead: Ahead::new(options.prefetch),
            options,
            place: None,
        };
        stream::try_unfold(reader, |mut reader| async move {
            Ok(reader.next().await?.map(|piece| (piece, reader)))
        })
        .boxed()
    }

    /// Appends what a stream gives, a block per item, until it ends (npm `createWriteStream`). Items that are ready together are one atomic batch, up to
    /// 1,024 blocks or 4 MiB. Answers the length then. Dropping the future stops after the batch that was appended last; items that were taken from the
    /// stream for the next one are lost.
    ///
    /// # Errors
    /// As [`append_with`](Self::append_with); what was appended until then stays.
    pub async fn append_stream<S>(
        &self,
        blocks: S,
        durability: Durability,
    ) -> Result<Appended, Error>
    where
        S: Stream,
        S::Item: Into<Bytes>,
    {
        let mut blocks = std::pin::pin!(blocks);
        let mut appended = self.append_with(Vec::new(), durability).await?;
        while let Some(first) = blocks.next().await {
            let mut batch = vec![first.into()];
            let mut bytes = batch[0].len();
            while batch.len() < APPEND.0 && bytes < APPEND.1 {
                let Some(Some(block)) = blocks.next().now_or_never() else {
                    break;
                };
                let block: Bytes = block.into();
                bytes += block.len();
                batch.push(block);
            }
            appended = self.append_with(batch, durability).await?;
        }
        Ok(appended)
    }
}
