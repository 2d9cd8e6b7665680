//! What changes under a stream: a path becomes narrower, a machine sleeps, a clock jumps.

use crate::world::{LAN, Path, World};
use bytes::Bytes;
use pome_net::udx::{Event, StreamError};
use std::time::Duration;

const LEN: usize = 20_000_000;

/// 100 Mbit/s, a round trip of 20 ms.
const PATH: Path = Path {
    rate: 12.5e6,
    delay: Duration::from_millis(10),
    queue: 300_000,
    ..LAN
};

const HOUR: Duration = Duration::from_secs(3600);

/// Does something once, when half has arrived.
fn halfway(mut act: impl FnMut(&mut World)) -> impl FnMut(&mut World, usize) {
    let mut done = false;
    move |world, got| {
        if got > LEN / 2 && !done {
            done = true;
            act(world);
        }
    }
}

#[test]
fn a_path_that_becomes_narrower_is_noticed() {
    let undisturbed = World::new(1, PATH).transfer(LEN);
    for mtu in [1400, 1280, 1200] {
        let mut world = World::new(1, PATH);
        let took = world.transfer_with(
            LEN,
            halfway(|world| {
                assert_eq!(world.sides[0].mtu(), 1500);
                world.path.mtu = mtu;
            }),
        );
        let found = usize::from(world.sides[0].mtu());
        assert!(found <= mtu && found + 32 > mtu, "{mtu}: {found}");
        let lost = took - undisturbed;
        println!("to {mtu} bytes: {lost:?} lost");
        assert!(lost < Duration::from_secs(5), "{mtu}: {lost:?}");
    }
}

/// The same while small packets get through all the time, so that nothing ever times out.
#[test]
fn a_narrow_path_is_noticed_beside_small_packets() {
    let mut world = World::new(2, PATH);
    let mut got = 0;
    let mut sent = 0;
    for round in 0..2_000 {
        if round == 500 {
            assert_eq!(world.sides[0].mtu(), 1500);
            world.path.mtu = 1280;
        }
        let len = if round % 10 == 0 { 20_000 } else { 100 };
        world.sides[0].write(Bytes::from(vec![1; len]));
        sent += len;
        let until = world.now + Duration::from_millis(10);
        while world.now < until && world.step() {}
        world.now = until;
        for event in world.events[1].drain(..) {
            if let Event::Data(bytes) = event {
                got += bytes.len();
                world.sides[1].consumed(bytes.len());
            }
        }
        assert!(sent - got < 500_000, "{} bytes are late", sent - got);
    }
    assert!(world.sides[0].mtu() <= 1280);
}

/// Where nobody cuts packets, what was made for the wide path cannot arrive: an error, soon.
#[test]
fn a_narrow_path_that_cuts_nothing_is_an_error_in_bounded_time() {
    let mut world = World::new(1, PATH);
    world.fragments = false;
    world.sides[0].write(Bytes::from(vec![1; LEN]));
    while world.now < Duration::from_secs(1) {
        world.step();
    }
    world.path.mtu = 1280;
    while world.step() && world.now < Duration::from_secs(30) {
        for event in world.events[1].drain(..) {
            if let Event::Data(bytes) = event {
                world.sides[1].consumed(bytes.len());
            }
        }
    }
    let end = Event::Closed(Some(StreamError::TimedOut));
    assert!(world.events[0].contains(&end), "{:?}", world.events[0]);
}

#[test]
fn a_clock_that_jumps_costs_at_most_seconds() {
    let undisturbed = World::new(4, PATH).transfer(LEN);
    for jump in [Duration::from_secs(3), Duration::from_secs(60), HOUR] {
        for side in 0..2 {
            for early in [false, true] {
                let mut world = World::new(4, PATH);
                let mut jumped = false;
                let took = world.transfer_with(LEN, |world, got| {
                    let now = if early { got > 0 } else { got > LEN / 2 };
                    if now && !jumped {
                        jumped = true;
                        world.ahead[side] = jump;
                    }
                });
                assert!(jumped);
                let lost = took.saturating_sub(undisturbed);
                println!("{jump:?} at side {side}, early {early}: {lost:?} lost");
                assert!(
                    lost < Duration::from_secs(2),
                    "{jump:?} at side {side}, early {early}: {lost:?}"
                );
            }
        }
    }
}

/// Shorter than the timeouts of the other side: it goes on where it stopped.
#[test]
fn a_short_sleep_is_survived() {
    let undisturbed = World::new(6, PATH).transfer(LEN);
    for side in 0..2 {
        for clock_goes_on in [false, true] {
            for long in [1, 5, 9].map(Duration::from_secs) {
                let mut world = World::new(6, PATH);
                let took = world
                    .transfer_with(LEN, halfway(|world| world.sleep(side, long, clock_goes_on)));
                let lost = took - undisturbed - long;
                println!("{long:?} of side {side}, clock {clock_goes_on}: {lost:?} lost");
                assert!(
                    lost < Duration::from_secs(5),
                    "{long:?} of side {side}, clock {clock_goes_on}: {lost:?}"
                );
            }
        }
    }
}

/// Longer: the side that is awake gives up; the other one learns of it when it sends.
#[test]
fn a_long_sleep_ends_a_stream_that_was_sending_on_both_sides() {
    for side in 0..2 {
        for clock_goes_on in [false, true] {
            let mut world = World::new(6, PATH);
            for from in 0..2 {
                world.sides[from].write(Bytes::from(vec![1; LEN]));
            }
            while world.now < Duration::from_millis(300) {
                world.step();
            }
            world.sleep(side, HOUR, clock_goes_on);
            let asleep_at = world.now;
            while world.step() {}
            for side in 0..2 {
                let closed = Event::Closed(Some(StreamError::TimedOut));
                assert!(world.events[side].contains(&closed));
            }
            let [awake, slept] = [1 - side, side].map(|side| world.gone[side].unwrap());
            let limit = Duration::from_secs(20);
            assert!(awake < asleep_at + limit, "{awake:?}");
            assert!(slept < asleep_at + HOUR + limit, "{slept:?}");
        }
    }
}

/// Nothing waits to arrive: a stream with keep-alives that slept for an hour goes on.
#[test]
fn an_idle_stream_sleeps_as_long_as_it_likes() {
    for clock_goes_on in [false, true] {
        let mut world = World::new(6, PATH);
        for side in 0..2 {
            world.sides[side].set_keep_alive(Some(Duration::from_secs(5)), Duration::ZERO);
            world.sides[side].write(Bytes::from_static(b"before"));
        }
        while world.now < Duration::from_secs(20) {
            world.step();
        }
        world.sleep(1, HOUR, clock_goes_on);
        let wakes = world.asleep[1];
        while world.now < wakes {
            world.step();
        }
        for side in 0..2 {
            world.events[side].clear();
            world.sides[side].write(Bytes::from_static(b"after"));
        }
        while world.now < wakes + Duration::from_secs(1) {
            world.step();
        }
        for side in 0..2 {
            let after = Event::Data(Bytes::from_static(b"after"));
            assert_eq!(world.events[side], [after, Event::Flushed]);
        }
    }
}
