//! What is kept for a while: bounded in number, bytes and age.
//!
//! Two generations: new things go into the young one; when that is full, or two thirds of the age have passed, it becomes the old one and what was in the old
//! one is forgotten. So a thing lives for two to four thirds of the age. Source: npm xache, record-cache, as hyperdht 6.34.0 uses them.

use crate::dht_rpc::Id;
use bytes::Bytes;
use rand::{Rng, RngExt};
use std::{collections::HashMap, hash::Hash, time::Duration};

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Things in one of two generations.
    pub count: usize,
    /// Bytes in one of two generations.
    pub bytes: usize,
    /// Forgotten after so long, give or take a third.
    pub age: Duration,
}

/// When the generations change.
#[derive(Debug)]
struct Turns {
    limits: Limits,
    next: Duration,
}

impl Turns {
    fn new(limits: Limits, now: Duration) -> Self {
        let mut turns = Self {
            limits,
            next: Duration::ZERO,
        };
        turns.turned(now);
        turns
    }

    fn turned(&mut self, now: Duration) {
        self.next = now + self.limits.age * 2 / 3;
    }

    /// How many times the age has passed: more than once empties both.
    fn due(&self, now: Duration) -> u32 {
        match now.checked_sub(self.next) {
            None => 0,
            Some(late) if late < self.limits.age * 2 / 3 => 1,
            Some(_) => 2,
        }
    }
}

/// A generation as it is written down, and the one before it.
pub(crate) type Generations<T> = [Vec<T>; 2];

impl Turns {
    /// Since when the young generation is the young one.
    fn since(&self, now: Duration) -> Duration {
        (now + self.limits.age * 2 / 3).saturating_sub(self.next)
    }

    /// What is left of two generations, of which the younger began so long ago.
    fn resume<T>(
        &mut self,
        since: Duration,
        [young, old]: Generations<T>,
        now: Duration,
    ) -> Generations<T> {
        let turn = self.limits.age * 2 / 3;
        let (left, since) = if since < turn {
            ([young, old], since)
        } else if since < turn * 2 {
            ([vec![], young], since - turn)
        } else {
            ([vec![], vec![]], Duration::ZERO)
        };
        self.next = now + turn - since;
        left
    }
}

/// A value for each key.
#[derive(Debug)]
pub(crate) struct Cache<V, K = Id> {
    turns: Turns,
    young: HashMap<K, (V, usize)>,
    young_bytes: usize,
    old: HashMap<K, (V, usize)>,
}

impl<V, K: Copy + Eq + Hash> Cache<V, K> {
    pub(crate) fn new(limits: Limits, now: Duration) -> Self {
        Self {
            turns: Turns::new(limits, now),
            young: HashMap::new(),
            young_bytes: 0,
            old: HashMap::new(),
        }
    }

    fn turn(&mut self, now: Duration) {
        self.old = std::mem::take(&mut self.young);
        self.young_bytes = 0;
        self.turns.turned(now);
    }

    fn catch_up(&mut self, now: Duration) {
        for _ in 0..self.turns.due(now) {
            self.turn(now);
        }
    }

    /// Keeps a value that takes so many bytes.
    pub(crate) fn set(&mut self, key: K, value: V, bytes: usize, now: Duration) {
        self.catch_up(now);
        self.remove(&key);
        let limits = self.turns.limits;
        if self.young.len() >= limits.count || self.young_bytes + bytes > limits.bytes {
            self.turn(now);
        }
        self.young_bytes += bytes;
        self.young.insert(key, (value, bytes));
    }

    /// What is asked for lives on.
    pub(crate) fn get(&mut self, key: &K, now: Duration) -> Option<&V> {
        self.catch_up(now);
        if let Some((value, bytes)) = self.old.remove(key) {
            self.young_bytes += bytes;
            self.young.insert(*key, (value, bytes));
        }
        self.young.get(key).map(|(value, _)| value)
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some((_, bytes)) = self.young.remove(key) {
            self.young_bytes -= bytes;
        }
        self.old.remove(key);
    }
}

/// One generation: values, and the bytes that each takes.
type Half<V, K> = HashMap<K, (V, usize)>;

impl<V, K: Copy + Eq + Hash> Cache<V, K> {
    /// All that is kept, the younger half first, and since when that is the younger one.
    pub(crate) fn saved(&mut self, now: Duration) -> (Duration, [&Half<V, K>; 2]) {
        self.catch_up(now);
        (self.turns.since(now), [&self.young, &self.old])
    }

    /// Takes in what was kept before, as far as there is room: keys, values, and the bytes that they take.
    pub(crate) fn resume(
        &mut self,
        since: Duration,
        generations: Generations<(K, V, usize)>,
        now: Duration,
    ) {
        let [young, old] = self.turns.resume(since, generations, now);
        let limits = self.turns.limits;
        let fill = |list: Vec<(K, V, usize)>| {
            let (mut map, mut sum) = (HashMap::new(), 0);
            for (key, value, bytes) in list {
                if map.len() < limits.count && sum + bytes <= limits.bytes {
                    sum += bytes;
                    map.insert(key, (value, bytes));
                }
            }
            (map, sum)
        };
        (self.old, _) = fill(old);
        (self.young, self.young_bytes) = fill(young);
        self.old.retain(|key, _| !self.young.contains_key(key));
    }
}

type Records = HashMap<Id, Vec<([u8; 32], Bytes)>>;

/// Any number of records for each topic, one of each peer.
#[derive(Debug)]
pub(crate) struct RecordCache {
    turns: Turns,
    young: Records,
    young_count: usize,
    old: Records,
}

fn take(records: &mut Records, topic: &Id, peer: &[u8; 32]) -> bool {
    let Some(list) = records.get_mut(topic) else {
        return false;
    };
    let at = list.iter().position(|(other, _)| other == peer);
    if let Some(at) = at {
        list.swap_remove(at);
    }
    if list.is_empty() {
        records.remove(topic);
    }
    at.is_some()
}

impl RecordCache {
    pub(crate) fn new(limits: Limits, now: Duration) -> Self {
        Self {
            turns: Turns::new(limits, now),
            young: Records::new(),
            young_count: 0,
            old: Records::new(),
        }
    }

    fn turn(&mut self, now: Duration) {
        self.old = std::mem::take(&mut self.young);
        self.young_count = 0;
        self.turns.turned(now);
    }

    fn catch_up(&mut self, now: Duration) {
        for _ in 0..self.turns.due(now) {
            self.turn(now);
        }
    }

    pub(crate) fn add(&mut self, topic: Id, peer: [u8; 32], record: Bytes, now: Duration) {
        self.catch_up(now);
        self.remove(&topic, &peer);
        if self.young_count >= self.turns.limits.count {
            self.turn(now);
        }
        self.young_count += 1;
        self.young.entry(topic).or_default().push((peer, record));
    }

    pub(crate) fn remove(&mut self, topic: &Id, peer: &[u8; 32]) {
        self.young_count -= usize::from(take(&mut self.young, topic, peer));
        take(&mut self.old, topic, peer);
    }

    /// Up to `count` of them, drawn at random.
    pub(crate) fn get(
        &mut self,
        topic: &Id,
        count: usize,
        rng: &mut impl Rng,
        now: Duration,
    ) -> Vec<Bytes> {
        self.catch_up(now);
        let lists = [self.young.get(topic), self.old.get(topic)];
        let mut all: Vec<&Bytes> = lists
            .into_iter()
            .flatten()
            .flatten()
            .map(|(_, record)| record)
            .collect();
        for at in 0..count.min(all.len()) {
            let other = rng.random_range(at..all.len());
            all.swap(at, other);
        }
        all.into_iter().take(count).cloned().collect()
    }
}

impl RecordCache {
    /// As [`Cache::saved`].
    pub(crate) fn saved(&mut self, now: Duration) -> (Duration, [&Records; 2]) {
        self.catch_up(now);
        (self.turns.since(now), [&self.young, &self.old])
    }

    /// As [`Cache::resume`]: topics, peers and records.
    pub(crate) fn resume(
        &mut self,
        since: Duration,
        generations: Generations<(Id, [u8; 32], Bytes)>,
        now: Duration,
    ) {
        let [young, old] = self.turns.resume(since, generations, now);
        let count = self.turns.limits.count;
        for (topic, peer, record) in old.into_iter().take(count) {
            self.old.entry(topic).or_default().push((peer, record));
        }
        for (topic, peer, record) in young.into_iter().take(count) {
            self.remove(&topic, &peer);
            self.young.entry(topic).or_default().push((peer, record));
            self.young_count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    const LIMITS: Limits = Limits {
        count: 10,
        bytes: 100,
        age: Duration::from_secs(30),
    };

    fn key(n: u8) -> Id {
        [n; 32]
    }

    #[test]
    fn what_is_asked_for_lives_on_and_the_rest_is_forgotten() {
        let at = Duration::from_secs;
        let mut cache = Cache::new(LIMITS, at(0));
        cache.set(key(1), "asked", 1, at(1));
        cache.set(key(2), "not", 1, at(1));
        assert_eq!(cache.get(&key(1), at(21)), Some(&"asked"));
        assert_eq!(cache.get(&key(2), at(41)), None);
        assert_eq!(cache.get(&key(1), at(41)), Some(&"asked"));
        // After a long time without a question nothing is left.
        assert_eq!(cache.get(&key(1), at(200)), None);
    }

    #[test]
    fn a_cache_is_bounded_in_number_and_bytes() {
        let now = Duration::from_secs(1);
        let mut cache = Cache::new(LIMITS, now);
        for n in 0..100 {
            cache.set(key(n), n, 1, now);
        }
        assert!(cache.young.len() + cache.old.len() <= 20);
        assert_eq!(cache.get(&key(99), now), Some(&99));
        for n in 0..100 {
            cache.set(key(n), n, 60, now);
            let kept = |map: &HashMap<_, (u8, usize)>| map.values().map(|v| v.1).sum::<usize>();
            assert!(kept(&cache.young) <= 100 && kept(&cache.old) <= 100);
        }
    }

    #[test]
    fn records_are_drawn_at_random_and_expire() {
        let at = Duration::from_secs;
        let mut rng = StdRng::seed_from_u64(1);
        let mut cache = RecordCache::new(LIMITS, at(0));
        for n in 0..8 {
            cache.add(key(0), key(n), Bytes::from(vec![n]), at(1));
        }
        // The newer record of a peer takes the place of the older one.
        cache.add(key(0), key(3), Bytes::from_static(b"new"), at(25));
        let all = cache.get(&key(0), 20, &mut rng, at(25));
        assert_eq!(all.len(), 8);
        assert!(all.contains(&Bytes::from_static(b"new")));
        assert_eq!(cache.get(&key(0), 3, &mut rng, at(25)).len(), 3);
        cache.remove(&key(0), &key(3));
        assert_eq!(cache.get(&key(0), 20, &mut rng, at(25)).len(), 7);
        assert_eq!(cache.get(&key(0), 20, &mut rng, at(45)).len(), 0);
        for n in 0..100 {
            cache.add(key(n), key(n), Bytes::new(), at(46));
        }
        assert!(cache.young.len() + cache.old.len() <= 20);
    }
}
