//! Streams that go on elsewhere: nothing is lost with the earlier way, and it is known when that is not needed any more.

use bytes::Bytes;
use pome_net::udx::{Event, Header, Stream, StreamOptions};
use std::{net::SocketAddr, time::Duration};

const ROUND: Duration = Duration::from_millis(20);

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The stream 1, whose other side is the stream 2 behind a relay, and that.
fn pair() -> [Stream; 2] {
    [1, 2].map(|id| {
        let mut stream = Stream::new(id, &StreamOptions::default());
        stream.connect(7, at(7), Duration::ZERO);
        stream
    })
}

/// What the stream sends now.
fn sent(stream: &mut Stream, now: Duration) -> Vec<Bytes> {
    let mut packets = Vec::new();
    let mut out = Vec::new();
    while stream.poll_transmit(now, &mut out).is_some() {
        packets.push(Bytes::from(std::mem::take(&mut out)));
    }
    packets
}

/// They come from where the other side is by now.
fn straight(stream: &mut Stream, packets: Vec<Bytes>, now: Duration) {
    for packet in packets {
        stream.came_from_remote(Header::decode(&packet).unwrap().seq);
        stream.receive(&packet, now);
    }
}

/// They come by the relay.
fn relayed(stream: &mut Stream, packets: &[Bytes], now: Duration) {
    for packet in packets {
        stream.receive(packet, now);
    }
}

fn read(stream: &mut Stream) -> usize {
    let mut bytes = 0;
    while let Some(event) = stream.poll_event() {
        if let Event::Data(data) = event {
            bytes += data.len();
        }
    }
    bytes
}

/// The answer to the first packet by the new way tells what never arrived: no timeout passes.
#[test]
fn what_is_lost_with_the_earlier_way_is_sent_by_the_new_one_at_once() {
    for known in [false, true] {
        let [mut a, mut b] = pair();
        let mut now = Duration::from_millis(1);
        if known {
            // A round trip is known.
            a.write(Bytes::from_static(b"first"));
            let packets = sent(&mut a, now);
            now += ROUND / 2;
            relayed(&mut b, &packets, now);
            let answers = sent(&mut b, now);
            now += ROUND / 2;
            relayed(&mut a, &answers, now);
        }
        a.write(Bytes::from(vec![1; 5_000]));
        let lost = sent(&mut a, now);
        assert!(lost.len() >= 5);
        a.change_remote(2, at(2), now);
        b.change_remote(1, at(1), now);
        read(&mut b);
        let mut got = 0;
        let limit = now + 5 * ROUND;
        while got < 5_000 && now < limit {
            if a.next_timeout().is_some_and(|at| at <= now) {
                a.on_timeout(now);
            }
            let packets = sent(&mut a, now);
            now += ROUND / 2;
            straight(&mut b, packets, now);
            got += read(&mut b);
            let answers = sent(&mut b, now);
            now += ROUND / 2;
            straight(&mut a, answers, now);
        }
        assert_eq!(got, 5_000, "a round trip was known: {known}");
        assert_eq!(a.stats().timeouts, 0);
        assert!(a.is_settled());
    }
}

/// libudx sends to the relay again what it sent there first: as long as that is missing, the relay is needed.
#[test]
fn the_earlier_way_is_needed_until_all_that_went_there_is_here() {
    let [mut ours, mut theirs] = pair();
    let now = Duration::from_millis(1);
    theirs.write(Bytes::from(vec![1; 3_000]));
    let late = sent(&mut theirs, now);
    ours.change_remote(2, at(2), now);
    assert!(!ours.is_settled());
    // What comes by the relay meanwhile says nothing about the straight way.
    relayed(&mut ours, &late[..1], now);
    assert!(!ours.is_heard());
    theirs.change_remote(1, at(1), now);
    assert!(theirs.send(Bytes::new()));
    let hello = sent(&mut theirs, now).swap_remove(0);
    straight(&mut ours, vec![hello], now);
    assert!(ours.is_heard());
    assert!(!ours.is_settled());
    relayed(&mut ours, &late[2..], now);
    assert!(!ours.is_settled());
    relayed(&mut ours, &late[1..2], now);
    assert!(ours.is_settled());
    // Nor is it before what went out there has arrived.
    ours.write(Bytes::from_static(b"on the way"));
    let packets = sent(&mut ours, now);
    ours.change_remote(3, at(3), now);
    theirs.send(Bytes::new());
    let hello = sent(&mut theirs, now);
    straight(&mut ours, hello, now);
    assert!(!ours.is_settled());
    relayed(&mut theirs, &packets, now);
    let answers = sent(&mut theirs, now);
    straight(&mut ours, answers, now);
    assert!(ours.is_settled());
}

/// A relay hands on a greeting like any packet: it says how far the stream is, and takes no number.
#[test]
fn a_greeting_is_an_acknowledgement() {
    let [mut a, mut b] = pair();
    let now = Duration::from_millis(1);
    b.write(Bytes::from_static(b"before"));
    let packets = sent(&mut b, now);
    relayed(&mut a, &packets, now);
    let greeting = Bytes::from(a.greeting(2));
    let header = Header::decode(&greeting).unwrap();
    assert_eq!((header.id, header.seq.0, header.ack.0), (2, 0, 1));
    while b.poll_event().is_some() {}
    b.receive(&greeting, now);
    assert_eq!(b.poll_event(), Some(Event::Flushed));
    a.write(Bytes::from_static(b"after"));
    assert_eq!(
        Header::decode(&sent(&mut a, now).pop().unwrap())
            .unwrap()
            .seq
            .0,
        0
    );
}

/// Who is asked for a sign of life gives it by the way that it goes.
#[test]
fn a_sign_of_life_is_given_at_once() {
    let [mut a, mut b] = pair();
    let now = Duration::from_millis(1);
    assert!(sent(&mut a, now).is_empty());
    a.ask_for_sign();
    let asked = sent(&mut a, now);
    assert_eq!(asked.len(), 1);
    relayed(&mut b, &asked, now);
    assert_eq!(sent(&mut b, now).len(), 1);
}
