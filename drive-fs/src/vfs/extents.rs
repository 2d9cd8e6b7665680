//! Which bytes of a file come from which write: an interval map over the journal's records.

use super::lower::Content;
use std::{collections::BTreeMap, sync::Arc};

/// One write in the journal, as its key says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Number of the record; later ones win.
    pub(crate) seq: u64,
    /// The record's key in the overlay; its value is the bytes.
    pub(crate) key: Box<[u8]>,
    /// The bytes are this content's instead, which the drive has.
    pub(crate) shared: Option<Content>,
}

#[derive(Debug, Clone)]
struct Extent {
    len: u64,
    seq: u64,
    /// `None` is a hole that was punched: zeros.
    from: Option<(Arc<Written>, u64)>,
}

/// A run of bytes of a file and where it comes from.
#[derive(Debug, Clone)]
pub(crate) enum Run {
    /// `skip` bytes into the value of this record, or into the content that it shares.
    Journal {
        written: Arc<Written>,
        skip: u64,
        len: u64,
    },
    /// Zeros that were punched.
    Zero { len: u64 },
    /// Not covered by any write.
    Below { offset: u64, len: u64 },
}

/// The writes that cover a file, by offset, without overlap.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extents {
    map: BTreeMap<u64, Extent>,
}

impl Extents {
    pub(crate) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// How many stretches there are.
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// The contents that are shared.
    pub(crate) fn shared(&self) -> impl Iterator<Item = Content> {
        let written = self.map.values().filter_map(|e| e.from.as_ref());
        written.filter_map(|(written, _)| written.shared)
    }

    /// Lays `len` bytes at `offset` over what was there: those of a record from its byte `skip` on, or zeros.
    pub(crate) fn insert(
        &mut self,
        offset: u64,
        len: u64,
        seq: u64,
        from: Option<(Arc<Written>, u64)>,
    ) {
        if len == 0 {
            return;
        }
        self.carve(offset, offset + len);
        self.map.insert(offset, Extent { len, seq, from });
    }

    /// Forgets all at and after `size`.
    pub(crate) fn cut(&mut self, size: u64) {
        self.carve(size, u64::MAX);
    }

    /// True when something came with a record after `seq`.
    pub(crate) fn is_past(&self, seq: u64) -> bool {
        self.map.values().any(|e| e.seq > seq)
    }

    /// Forgets all that came with a record up to and with `seq`.
    pub(crate) fn forget_until(&mut self, seq: u64) {
        self.map.retain(|_, e| e.seq > seq);
    }

    fn carve(&mut self, start: u64, end: u64) {
        if let Some((&at, extent)) = self.map.range_mut(..start).next_back() {
            let tail_from = start - at;
            if extent.len > tail_from {
                let mut tail = extent.clone();
                extent.len = tail_from;
                let cut = end.saturating_sub(at);
                if tail.len > cut {
                    tail.len -= cut;
                    if let Some((_, skip)) = &mut tail.from {
                        *skip += cut;
                    }
                    self.map.insert(end, tail);
                    return;
                }
            }
        }
        let inside: Vec<u64> = self.map.range(start..end).map(|(&at, _)| at).collect();
        for at in inside {
            if let Some(mut extent) = self.map.remove(&at) {
                let cut = end.saturating_sub(at);
                if extent.len > cut {
                    extent.len -= cut;
                    if let Some((_, skip)) = &mut extent.from {
                        *skip += cut;
                    }
                    self.map.insert(end, extent);
                }
            }
        }
    }

    /// The runs that make up `offset..end`, in order.
    pub(crate) fn runs(&self, offset: u64, end: u64) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut at = offset;
        let first = self
            .map
            .range(..=offset)
            .next_back()
            .filter(|(start, e)| **start + e.len > offset)
            .map_or(offset, |(start, _)| *start);
        for (&start, extent) in self.map.range(first..end) {
            if start > at {
                runs.push(Run::Below {
                    offset: at,
                    len: start - at,
                });
                at = start;
            }
            let inner = at - start;
            let len = (extent.len - inner).min(end - at);
            runs.push(match &extent.from {
                Some((written, skip)) => Run::Journal {
                    written: written.clone(),
                    skip: skip + inner,
                    len,
                },
                None => Run::Zero { len },
            });
            at += len;
        }
        if at < end {
            runs.push(Run::Below {
                offset: at,
                len: end - at,
            });
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a plain array of "which record wrote this byte, at which of its bytes".
        #[test]
        fn extents_equal_a_plain_array(ops in proptest::collection::vec((0u64..64, 0u64..24, 0u8..6), 1..60)) {
            let mut extents = Extents::default();
            let mut plain: Vec<Option<(u64, u64)>> = vec![None; 128];
            for (i, (offset, len, kind)) in ops.into_iter().enumerate() {
                let seq = i as u64 + 1;
                match kind {
                    0 => {
                        extents.cut(offset);
                        plain[offset as usize..].fill(None);
                    }
                    1 => {
                        extents.insert(offset, len, seq, None);
                        plain[offset as usize..(offset + len) as usize].fill(Some((seq, u64::MAX)));
                    }
                    2 => {
                        extents.forget_until(offset);
                        for p in &mut plain {
                            if p.is_some_and(|(s, _)| s <= offset) {
                                *p = None;
                            }
                        }
                    }
                    _ => {
                        extents.insert(offset, len, seq, Some((Arc::new(Written { seq, key: Box::default(), shared: None }), 0)));
                        for n in 0..len {
                            plain[(offset + n) as usize] = Some((seq, n));
                        }
                    }
                }
                let mut seen = vec![None; 128];
                let mut at = 0usize;
                for run in extents.runs(0, 128) {
                    match run {
                        Run::Journal { written, skip, len } => {
                            for n in 0..len {
                                seen[at] = Some((written.seq, skip + n));
                                at += 1;
                            }
                        }
                        Run::Zero { len } => {
                            for _ in 0..len {
                                seen[at] = Some((0, u64::MAX));
                                at += 1;
                            }
                        }
                        Run::Below { offset, len } => {
                            prop_assert_eq!(offset as usize, at);
                            at += len as usize;
                        }
                    }
                }
                prop_assert_eq!(at, 128);
                for (s, p) in seen.iter().zip(&plain) {
                    match (s, p) {
                        (Some((0, _)), Some((_, u64::MAX))) => {}
                        (s, p) => prop_assert_eq!(s, p),
                    }
                }
            }
        }
    }
}
