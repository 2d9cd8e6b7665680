//! What is said on the network, and what is understood.

use pome_cores::crypto::{hash_keyed, random_bytes};
use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

const MAGIC: &[u8; 5] = b"pome\x01";
const HEAD: usize = 5 + 16 + 16 + 2;
const TAG: usize = 8;
/// Tags of one beacon: it fits into one datagram.
const TAGS_MAX: usize = 128;
/// Beacons at a time.
const BEACONS: usize = 8;
/// Topics that are told of, and looked for.
pub(super) const TOPICS_MAX: usize = 4_096;
/// After a change: at once, then after these; then every [`EVERY`].
const SOON: [Duration; 3] = [
    Duration::from_millis(250),
    Duration::from_millis(750),
    Duration::from_secs(3),
];
const EVERY: Duration = Duration::from_secs(10);
/// Between two times.
const GAP: Duration = Duration::from_millis(100);
/// Datagrams that are looked at in a second.
const LOOKS: u32 = 32;
const SECOND: Duration = Duration::from_secs(1);
/// So long the peer with the smaller id waits for the other to come.
const YIELD: Duration = Duration::from_millis(300);

/// What a beacon wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BeaconOutput {
    /// Send this to everybody on the network.
    Send(Vec<u8>),
    /// A peer has a topic of ours.
    Found {
        /// Made anew each time that the peer starts.
        id: [u8; 16],
        /// Where it takes connections.
        address: SocketAddrV4,
        /// Wait so long for it to come by itself: one of both sides is enough.
        patience: Duration,
    },
}

/// The state machine of one peer. Times are durations since any fixed moment.
///
/// ```
/// use pome_net::lan::{Beacon, BeaconOutput};
/// use std::{net::Ipv4Addr, time::Duration};
/// let now = Duration::ZERO;
/// let (mut ours, mut theirs) = (Beacon::new(4000, now), Beacon::new(4001, now));
/// ours.join([7; 32], now);
/// theirs.join([7; 32], now);
/// ours.handle_timeout(now);
/// let Some(BeaconOutput::Send(bytes)) = ours.poll() else { panic!() };
/// theirs.handle_datagram(Ipv4Addr::new(10, 0, 0, 1), &bytes, now);
/// assert!(matches!(theirs.poll(), Some(BeaconOutput::Found { address, .. }) if address.port() == 4000));
/// ```
#[derive(Debug)]
pub struct Beacon {
    id: [u8; 16],
    port: u16,
    topics: BTreeSet<[u8; 32]>,
    /// The last topic that was told.
    told: Option<[u8; 32]>,
    /// How often it was told since the last change.
    times: usize,
    due: Option<Duration>,
    last: Option<Duration>,
    /// Datagrams that were looked at in the second that began then.
    looks: (Duration, u32),
    out: VecDeque<BeaconOutput>,
}

fn tag(topic: &[u8; 32], sender: &[u8; 16], nonce: &[u8; 16], port: u16) -> [u8; TAG] {
    let parts: [&[u8]; 4] = [b"pome lan beacon", sender, nonce, &port.to_le_bytes()];
    let hash = hash_keyed(topic, &parts);
    let mut tag = [0; TAG];
    tag.copy_from_slice(&hash[..TAG]);
    tag
}

impl Beacon {
    /// One that says that connections are taken at this TCP port.
    pub fn new(port: u16, now: Duration) -> Self {
        Self {
            id: random_bytes(),
            port,
            topics: BTreeSet::new(),
            told: None,
            times: 0,
            due: None,
            last: None,
            looks: (now, 0),
            out: VecDeque::new(),
        }
    }

    /// How others know it.
    pub fn id(&self) -> [u8; 16] {
        self.id
    }

    /// Tells of a topic from now on, and looks for others who have it. False when it has it already, or as many as it can have.
    pub fn join(&mut self, topic: [u8; 32], now: Duration) -> bool {
        let joined = self.topics.len() < TOPICS_MAX && self.topics.insert(topic);
        if joined {
            self.changed(now);
        }
        joined
    }

    /// Tells of it no more.
    pub fn leave(&mut self, topic: &[u8; 32]) {
        self.topics.remove(topic);
        if self.topics.is_empty() {
            self.due = None;
        }
    }

    /// The network has changed, or what there is to tell: it is told at once, and again soon.
    pub fn changed(&mut self, now: Duration) {
        self.times = 0;
        let earliest = self.last.map_or(now, |last| now.max(last + GAP));
        self.due = (!self.topics.is_empty()).then_some(earliest);
    }

    /// A datagram came from this address.
    pub fn handle_datagram(&mut self, from: Ipv4Addr, bytes: &[u8], now: Duration) {
        let (since, count) = &mut self.looks;
        if now.saturating_sub(*since) >= SECOND {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        if *count > LOOKS {
            return;
        }
        let Some((id, nonce, port, tags)) = parse(bytes) else {
            return;
        };
        let known = |topic| tags.contains(&tag(topic, &id, &nonce, port));
        if id == self.id || !self.topics.iter().any(known) {
            return;
        }
        self.out.push_back(BeaconOutput::Found {
            id,
            address: SocketAddrV4::new(from, port),
            patience: if self.id > id { Duration::ZERO } else { YIELD },
        });
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.due
    }

    /// The time has come, or may have.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        for _ in 0..self.topics.len().div_ceil(TAGS_MAX).min(BEACONS) {
            let bytes = self.next();
            self.out.push_back(BeaconOutput::Send(bytes));
        }
        self.last = Some(now);
        let wait = SOON.get(self.times).copied().unwrap_or(EVERY);
        self.times += 1;
        self.due = Some(now + wait);
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<BeaconOutput> {
        self.out.pop_front()
    }

    /// A beacon with the next topics.
    fn next(&mut self) -> Vec<u8> {
        use std::ops::Bound::{Excluded, Unbounded};
        let nonce = random_bytes();
        let mut tags = BTreeSet::new();
        let after = self.told.map_or(Unbounded, Excluded);
        let (behind, before) = (
            self.topics.range((after, Unbounded)),
            self.topics.iter().take(TAGS_MAX),
        );
        for topic in behind.chain(before).take(TAGS_MAX.min(self.topics.len())) {
            tags.insert(tag(topic, &self.id, &nonce, self.port));
            self.told = Some(*topic);
        }
        // Nobody is to count them.
        while !tags.len().is_power_of_two() {
            tags.insert(random_bytes());
        }
        let mut bytes = Vec::with_capacity(HEAD + tags.len() * TAG);
        bytes.extend(MAGIC);
        bytes.extend(self.id);
        bytes.extend(nonce);
        bytes.extend(self.port.to_le_bytes());
        // Sorted, which tells nothing of their order here.
        tags.iter().for_each(|tag| bytes.extend(tag));
        bytes
    }
}

type Parsed = ([u8; 16], [u8; 16], u16, HashSet<[u8; TAG]>);

fn parse(bytes: &[u8]) -> Option<Parsed> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (nonce, rest) = rest.split_first_chunk::<16>()?;
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let (tags, odd) = rest.as_chunks::<TAG>();
    let port = u16::from_le_bytes(*port);
    if !odd.is_empty() || tags.is_empty() || tags.len() > TAGS_MAX || port == 0 {
        return None;
    }
    Some((*id, *nonce, port, tags.iter().copied().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn sent(beacon: &mut Beacon, now: Duration) -> Vec<Vec<u8>> {
        beacon.handle_timeout(now);
        let mut all = Vec::new();
        while let Some(output) = beacon.poll() {
            match output {
                BeaconOutput::Send(bytes) => all.push(bytes),
                other => panic!("{other:?}"),
            }
        }
        all
    }

    fn topic(n: usize) -> [u8; 32] {
        hash_keyed(b"topic", &[&n.to_le_bytes()])
    }

    #[test]
    fn it_tells_soon_then_seldom() {
        let mut beacon = Beacon::new(1, at(0));
        assert_eq!(beacon.poll_timeout(), None);
        assert!(beacon.join(topic(0), at(0)));
        assert!(!beacon.join(topic(0), at(0)));
        let mut times = Vec::new();
        while let Some(due) = beacon.poll_timeout().filter(|due| *due < at(30_000)) {
            assert_eq!(sent(&mut beacon, due).len(), 1);
            assert!(sent(&mut beacon, due).is_empty(), "once each time");
            times.push(due.as_millis());
        }
        assert_eq!(times, [0, 250, 1_000, 4_000, 14_000, 24_000]);
        // A change is told at once, but not again and again.
        beacon.join(topic(1), at(30_000));
        assert_eq!(beacon.poll_timeout(), Some(at(30_000)));
        sent(&mut beacon, at(30_000));
        beacon.join(topic(2), at(30_001));
        assert_eq!(beacon.poll_timeout(), Some(at(30_100)));
        for n in 0..3 {
            beacon.leave(&topic(n));
        }
        assert_eq!(beacon.poll_timeout(), None);
    }

    #[test]
    fn all_topics_are_told_in_turn() {
        let mut ours = Beacon::new(1, at(0));
        for n in 0..TOPICS_MAX {
            assert!(ours.join(topic(n), at(0)));
        }
        assert!(!ours.join(topic(TOPICS_MAX), at(0)));
        let mut heard = 0;
        let mut theirs: Vec<_> = (0..TOPICS_MAX)
            .step_by(97)
            .map(|n| {
                let mut beacon = Beacon::new(2, at(0));
                beacon.join(topic(n), at(0));
                beacon
            })
            .collect();
        for second in 0..4 {
            ours.changed(at(second * 1000));
            let all = sent(&mut ours, at(second * 1000));
            assert_eq!(all.len(), BEACONS);
            for bytes in &all {
                assert_eq!(bytes.len(), HEAD + TAGS_MAX * TAG);
                for beacon in &mut theirs {
                    beacon.handle_datagram(HOST, bytes, at(second * 1000));
                    heard += usize::from(beacon.poll().is_some());
                }
            }
        }
        assert_eq!(heard, theirs.len(), "each once");
    }

    #[test]
    fn strangers_understand_nothing() {
        let mut ours = Beacon::new(7, at(0));
        for n in 0..5 {
            ours.join(topic(n), at(0));
        }
        let first = sent(&mut ours, at(0)).remove(0);
        let second = sent(&mut ours, at(250)).remove(0);
        // Five topics look like eight; no tag is told twice, and no topic at all.
        let (.., tags) = parse(&first).expect("ours");
        let (.., others) = parse(&second).expect("ours");
        assert_eq!((tags.len(), others.len()), (8, 8));
        assert!(tags.is_disjoint(&others));
        for n in 0..5 {
            assert!(!first.windows(8).any(|window| topic(n).starts_with(window)));
        }
        let mut stranger = Beacon::new(8, at(0));
        stranger.join(topic(9), at(0));
        stranger.handle_datagram(HOST, &first, at(0));
        assert_eq!(stranger.poll(), None);
        // Nor does it hear itself.
        ours.handle_datagram(HOST, &first, at(0));
        assert_eq!(ours.poll(), None);
        let mut friend = Beacon::new(8, at(0));
        friend.join(topic(3), at(0));
        // The same tags in another's name, or for another port.
        for byte in [5, 21, 37] {
            let mut changed = first.clone();
            changed[byte] ^= 1;
            friend.handle_datagram(HOST, &changed, at(0));
            assert_eq!(friend.poll(), None, "byte {byte}");
        }
        friend.handle_datagram(HOST, &first, at(0));
        let found = BeaconOutput::Found {
            id: ours.id(),
            address: SocketAddrV4::new(HOST, 7),
            patience: if friend.id() > ours.id() {
                Duration::ZERO
            } else {
                YIELD
            },
        };
        assert_eq!(friend.poll(), Some(found));
    }

    #[test]
    fn what_is_no_beacon_is_nothing() {
        let mut ours = Beacon::new(7, at(0));
        ours.join(topic(0), at(0));
        let good = sent(&mut ours, at(0)).remove(0);
        let fresh = || {
            let mut friend = Beacon::new(8, at(0));
            friend.join(topic(0), at(0));
            friend
        };
        for len in 0..good.len() {
            let mut friend = fresh();
            friend.handle_datagram(HOST, &good[..len], at(0));
            assert_eq!(friend.poll(), None, "{len} bytes");
        }
        let long = [&good[..], &[0; TAG * TAGS_MAX]].concat();
        let mut friend = fresh();
        friend.handle_datagram(HOST, &long, at(0));
        assert_eq!(friend.poll(), None);
        // Of a flood only so many are looked at, until the next second.
        let mut friend = fresh();
        for _ in 0..1_000 {
            friend.handle_datagram(HOST, &good, at(999));
        }
        assert_eq!(std::iter::from_fn(|| friend.poll()).count(), LOOKS as usize);
        friend.handle_datagram(HOST, &good, at(1_999));
        assert!(friend.poll().is_some());
    }
}
