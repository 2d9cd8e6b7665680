//! The changes of a bee in the order in which they were made.
use crate::{
    error::Result,
    hyperbee::{Entry, Hyperbee},
    view::{Source, View},
};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt, stream};

/// Which changes. Bounds are seqs; a negative one counts from the version. Default: all, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryOptions {
    /// Only blocks after this one.
    pub gt: Option<i64>,
    /// Only blocks from this one on (npm's `since` too).
    pub gte: Option<i64>,
    /// Only blocks before this one (npm's `end` too).
    pub lt: Option<i64>,
    /// Only blocks up to this one.
    pub lte: Option<i64>,
    /// Newest first (default: false). Not together with `live`.
    pub reverse: bool,
    /// At most so many (default: all).
    pub limit: Option<u64>,
    /// Do not end: wait for what is appended later (default: false). The upper bounds do not count then.
    pub live: bool,
}

/// What a block did to its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Set it. (A `put` without a value in the middle of a batch cannot be told from a `Del`.)
    Put,
    /// Removed it.
    Del,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// What was done.
    pub change: Change,
    /// The block.
    pub seq: u64,
    /// The key, without the prefix of a sub.
    pub key: Bytes,
    /// The value.
    pub value: Option<Bytes>,
}

impl HistoryOptions {
    /// First block, and the one after the last.
    fn seqs(&self, version: u64) -> (u64, u64) {
        let version = i64::try_from(version).unwrap_or(i64::MAX);
        let from_end = |n: i64| if n < 0 { n.saturating_add(version) } else { n };
        // a zero is "not given" upstream, for the lower bounds and for none of the upper ones
        let given = |n: &i64| *n != 0;
        let start = match self.gt.filter(given) {
            Some(gt) => from_end(gt).saturating_add(1),
            None => from_end(self.gte.filter(given).unwrap_or(1)),
        };
        let end = match (self.lte, self.lt) {
            (Some(0), _) | (_, Some(0)) => 0,
            (Some(lte), _) => from_end(lte).saturating_add(1),
            (None, lt) => from_end(lt.unwrap_or(version)),
        };
        (start.max(1) as u64, end.max(0) as u64)
    }
}

impl Hyperbee {
    /// The changes up to this bee's version, each as the block has it. A sub sees its own keys only.
    pub fn history(
        &self,
        options: HistoryOptions,
    ) -> impl Stream<Item = Result<HistoryEntry>> + Send + Unpin + 'static {
        let bee = self.clone();
        let live = options.live && !options.reverse;
        let view = if live { bee.view() } else { bee.lasting_view() };
        let (start, mut end) = options.seqs(view.version);
        if live {
            end = u64::MAX;
        }
        let left = options.limit.unwrap_or(u64::MAX);
        let next = move |(bee, view, mut start, mut end, left): (Self, View, u64, u64, u64)| async move {
            while start < end && left > 0 {
                let seq = if options.reverse {
                    end -= 1;
                    end
                } else {
                    start += 1;
                    start - 1
                };
                let block = view.block(seq).await?;
                if !block.key.starts_with(&bee.prefix) {
                    continue;
                }
                let gone = block.is_deletion().map_err(|w| view.fault(seq, w))?;
                let Entry { seq, key, value } = bee.entry(&view, &block).await?;
                let entry = HistoryEntry {
                    change: if gone { Change::Del } else { Change::Put },
                    seq,
                    key,
                    value,
                };
                return Ok(Some((entry, (bee, view, start, end, left - 1))));
            }
            Ok(None)
        };
        stream::try_unfold((bee, view, start, end, left), next).boxed()
    }
}
