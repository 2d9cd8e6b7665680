//! A set of block numbers, made for long runs: which blocks a peer has, which are here or on their way.

use std::collections::BTreeMap;

/// Blocks per page.
pub(crate) const PAGE: u64 = 32_768;
const WORDS: usize = (PAGE / 64) as usize;

type Page = Box<[u64; WORDS]>;

/// Whole pages that are set are kept as runs; only pages that are mixed take memory (4 KiB each).
#[derive(Debug, Default)]
pub(crate) struct Bits {
    /// First page of a run of full pages → one past its last.
    runs: BTreeMap<u64, u64>,
    pages: BTreeMap<u64, Page>,
}

impl Bits {
    /// How many mixed pages and runs are held: the memory is 4 KiB for each of the first and 64 bytes for each of the second, about.
    pub(crate) fn weight(&self) -> (usize, usize) {
        (self.pages.len(), self.runs.len())
    }

    fn run_of(&self, page: u64) -> Option<(u64, u64)> {
        let (start, end) = self.runs.range(..=page).next_back()?;
        (page < *end).then_some((*start, *end))
    }

    pub(crate) fn get(&self, index: u64) -> bool {
        let (page, bit) = (index / PAGE, index % PAGE);
        match self.pages.get(&page) {
            Some(words) => words[(bit / 64) as usize] >> (bit % 64) & 1 != 0,
            None => self.run_of(page).is_some(),
        }
    }

    /// Takes a page out of the run that it is in.
    fn split_run(&mut self, page: u64) {
        if let Some((start, end)) = self.run_of(page) {
            self.runs.remove(&start);
            if start < page {
                self.runs.insert(start, page);
            }
            if page + 1 < end {
                self.runs.insert(page + 1, end);
            }
        }
    }

    fn add_run(&mut self, mut start: u64, mut end: u64) {
        if let Some((before, before_end)) =
            self.runs.range(..=start).next_back().map(|r| (*r.0, *r.1))
            && before_end >= start
        {
            start = before;
            end = end.max(before_end);
        }
        while let Some((next, next_end)) = self.runs.range(start..=end).next().map(|r| (*r.0, *r.1))
        {
            self.runs.remove(&next);
            end = end.max(next_end);
        }
        self.runs.insert(start, end);
    }

    fn page_mut(&mut self, page: u64) -> &mut Page {
        let full = self.run_of(page).is_some();
        if full {
            self.split_run(page);
        }
        let fill = if full { u64::MAX } else { 0 };
        self.pages
            .entry(page)
            .or_insert_with(|| Box::new([fill; WORDS]))
    }

    /// A mixed page that has become all set or all clear takes no memory.
    fn tidy(&mut self, page: u64) {
        let Some(words) = self.pages.get(&page) else {
            return;
        };
        let first = words[0];
        if (first == 0 || first == u64::MAX) && words.iter().all(|word| *word == first) {
            self.pages.remove(&page);
            if first != 0 {
                self.add_run(page, page + 1);
            }
        }
    }

    pub(crate) fn set(&mut self, index: u64, value: bool) {
        if self.get(index) == value {
            return;
        }
        let (page, bit) = (index / PAGE, index % PAGE);
        let word = &mut self.page_mut(page)[(bit / 64) as usize];
        let mask = 1 << (bit % 64);
        *word = if value { *word | mask } else { *word & !mask };
        let word = *word;
        if word == 0 || word == u64::MAX {
            self.tidy(page);
        }
    }

    /// Sets or clears `start..end`.
    pub(crate) fn set_range(&mut self, start: u64, end: u64, value: bool) {
        if start >= end {
            return;
        }
        let (first, last) = (start / PAGE, (end - 1) / PAGE);
        let whole_start = first + u64::from(!start.is_multiple_of(PAGE));
        let whole_end = if end.is_multiple_of(PAGE) {
            last + 1
        } else {
            last
        };
        if whole_start < whole_end {
            let inside: Vec<u64> = (self.pages.range(whole_start..whole_end))
                .map(|page| *page.0)
                .collect();
            for page in inside {
                self.pages.remove(&page);
            }
            if value {
                self.add_run(whole_start, whole_end);
            } else {
                self.cut_runs(whole_start, whole_end);
            }
        }
        if !start.is_multiple_of(PAGE) {
            self.set_in_page(
                first,
                start % PAGE,
                end.min((first + 1) * PAGE) - first * PAGE,
                value,
            );
        }
        if !end.is_multiple_of(PAGE) && (last != first || start.is_multiple_of(PAGE)) {
            self.set_in_page(last, 0, end - last * PAGE, value);
        }
    }

    fn cut_runs(&mut self, start: u64, end: u64) {
        let mut keep = Vec::new();
        let from = self.run_of(start).map_or(start, |run| run.0);
        let hit: Vec<(u64, u64)> = (self.runs.range(from..end)).map(|r| (*r.0, *r.1)).collect();
        for (a, b) in hit {
            self.runs.remove(&a);
            if a < start {
                keep.push((a, start));
            }
            if b > end {
                keep.push((end, b));
            }
        }
        self.runs.extend(keep);
    }

    fn set_in_page(&mut self, page: u64, from: u64, to: u64, value: bool) {
        if !value && !self.pages.contains_key(&page) && self.run_of(page).is_none() {
            return;
        }
        if value && self.run_of(page).is_some() {
            return;
        }
        let words = self.page_mut(page);
        for at in from / 64..to.div_ceil(64) {
            let low = from.max(at * 64) - at * 64;
            let high = to.min(at * 64 + 64) - at * 64;
            let mask = (u64::MAX >> (64 - (high - low))) << low;
            let word = &mut words[at as usize];
            *word = if value { *word | mask } else { *word & !mask };
        }
        self.tidy(page);
    }

    /// Takes over what a peer says about the blocks from `start` (a multiple of 32), up to `end`.
    pub(crate) fn insert(&mut self, start: u64, words: &[u32], end: u64) {
        let mut at = start;
        let mut rest = words;
        while !rest.is_empty() && at < end {
            let page = at / PAGE;
            let offset = (at % PAGE) as usize / 32;
            let count = rest.len().min(2 * WORDS - offset);
            let (now, later) = rest.split_at(count);
            let target = self.page_mut(page);
            for (place, word) in (offset..).zip(now) {
                let (slot, shift) = (&mut target[place / 2], 32 * (place % 2));
                *slot = *slot & !(0xffff_ffff << shift) | u64::from(*word) << shift;
            }
            self.tidy(page);
            at += 32 * count as u64;
            rest = later;
        }
        let covered = start.saturating_add(32 * words.len() as u64);
        if covered > end {
            self.set_range(end.max(start), covered, false);
        }
    }

    /// The first number of `from..end` that is in the set.
    pub(crate) fn next_set(&self, from: u64, end: u64) -> Option<u64> {
        let mut at = from;
        while at < end {
            let page = at / PAGE;
            if let Some(words) = self.pages.get(&page) {
                if let Some(bit) = find(words, at % PAGE, |word| word) {
                    return Some(page * PAGE + bit).filter(|index| *index < end);
                }
                at = (page + 1) * PAGE;
                continue;
            }
            if self.run_of(page).is_some() {
                return Some(at);
            }
            let run = self.runs.range(page..).next().map(|run| *run.0);
            let mixed = self.pages.range(page..).next().map(|page| *page.0);
            let next = run.into_iter().chain(mixed).min()?;
            at = next * PAGE;
        }
        None
    }

    /// The first number of `from..end` that is not in the set.
    pub(crate) fn next_unset(&self, from: u64, end: u64) -> Option<u64> {
        let mut at = from;
        while at < end {
            let page = at / PAGE;
            if let Some(words) = self.pages.get(&page) {
                if let Some(bit) = find(words, at % PAGE, |word| !word) {
                    return Some(page * PAGE + bit).filter(|index| *index < end);
                }
                at = (page + 1) * PAGE;
                continue;
            }
            match self.run_of(page) {
                Some((_, run_end)) => at = run_end.saturating_mul(PAGE),
                None => return Some(at),
            }
        }
        None
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn find(words: &[u64; WORDS], from: u64, view: impl Fn(u64) -> u64) -> Option<u64> {
    let first = (from / 64) as usize;
    let mut mask = u64::MAX << (from % 64);
    for (at, word) in words.iter().enumerate().skip(first) {
        let bits = view(*word) & mask;
        if bits != 0 {
            return Some(64 * at as u64 + u64::from(bits.trailing_zeros()));
        }
        mask = u64::MAX;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    const TOP: u64 = 5 * PAGE;

    #[derive(Debug, Clone)]
    enum Op {
        Set(u64, bool),
        Range(u64, u64, bool),
        Insert(u64, Vec<u32>),
    }

    fn place() -> impl Strategy<Value = u64> {
        prop_oneof![
            0..TOP,
            (0..5u64, -3..3i64).prop_map(|(page, by)| (page * PAGE).saturating_add_signed(by)),
        ]
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (place(), any::<bool>()).prop_map(|(at, value)| Op::Set(at, value)),
            (place(), place(), any::<bool>()).prop_map(|(a, b, value)| Op::Range(a, b, value)),
            (place(), prop::collection::vec(any::<u32>(), 0..5))
                .prop_map(|(at, words)| Op::Insert(at / 32 * 32, words)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_is_a_set(ops in prop::collection::vec(op(), 1..30), probes in prop::collection::vec(place(), 20)) {
            let (mut bits, mut model) = (Bits::default(), BTreeSet::new());
            for op in ops {
                match op {
                    Op::Set(at, value) => {
                        bits.set(at, value);
                        if value { model.insert(at); } else { model.remove(&at); }
                    }
                    Op::Range(a, b, value) => {
                        bits.set_range(a, b, value);
                        for at in a..b {
                            if value { model.insert(at); } else { model.remove(&at); }
                        }
                    }
                    Op::Insert(start, words) => {
                        bits.insert(start, &words, TOP);
                        for (at, word) in words.iter().enumerate() {
                            for bit in 0..32 {
                                let index = start + 32 * at as u64 + bit;
                                if word >> bit & 1 != 0 && index < TOP { model.insert(index); } else { model.remove(&index); }
                            }
                        }
                    }
                }
                for probe in &probes {
                    prop_assert_eq!(bits.get(*probe), model.contains(probe), "{}", probe);
                    prop_assert_eq!(bits.next_set(*probe, TOP), model.range(*probe..TOP.max(*probe)).next().copied());
                    let unset = (*probe..TOP).find(|at| !model.contains(at));
                    prop_assert_eq!(bits.next_unset(*probe, TOP), unset);
                }
            }
            let (pages, runs) = bits.weight();
            prop_assert!(pages <= 6 && runs <= 6);
        }
    }
}
