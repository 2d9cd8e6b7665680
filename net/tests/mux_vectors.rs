//! Channels beside the frames and events of protomux.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use bytes::Bytes;
use data_encoding::HEXLOWER;
use pome_encoding::{Codec, OptionalBuffer, Reader, STRING, Uint};
use pome_net::protomux::{ChannelId, ChannelOptions, Event, Protomux, Topic};
use pome_test_support::{hex, load};
use serde_json::{Value, json};
use std::collections::HashMap;

fn vectors() -> Value {
    load(
        "stream",
        &["mux", "mux_raw_input", "replication"],
        // tests/stream_vectors.rs
        &[
            "namespaces",
            "dh",
            "handshakes",
            "streams",
            "refused",
            "datagrams",
        ],
    )
}

/// How a channel of the scenes reads its peer's handshake.
#[derive(Clone, Copy, PartialEq)]
enum Shake {
    Text,
    Number,
    None,
}

struct Side {
    name: &'static str,
    mux: Protomux,
    dead: bool,
    names: HashMap<ChannelId, (&'static str, Shake)>,
    /// What it does when its peer opens something paired.
    answers: Vec<(Topic, &'static str)>,
}

impl Side {
    fn open(
        &mut self,
        name: &'static str,
        topic: &Topic,
        shake: Shake,
        handshake: &[u8],
        aliases: &[&str],
    ) -> Option<ChannelId> {
        let options = ChannelOptions {
            handshake,
            aliases,
            ..ChannelOptions::default()
        };
        let channel = self.mux.open(topic, options).unwrap()?;
        self.names.insert(channel, (name, shake));
        Some(channel)
    }
}

struct Scene {
    sides: [Side; 2],
    quiet: bool,
}

fn text(value: &str) -> Vec<u8> {
    STRING.to_vec(&value.to_owned()).unwrap()
}

fn number(n: u64) -> Vec<u8> {
    Uint.to_vec(&n).unwrap()
}

impl Scene {
    fn new() -> Self {
        let side = |name| Side {
            name,
            mux: Protomux::new(),
            dead: false,
            names: HashMap::new(),
            answers: Vec::new(),
        };
        Self {
            sides: [side("a"), side("b")],
            quiet: false,
        }
    }

    /// Hands all frames over, and notes frames and events as the generator of the vectors did: first what `a` gets, then what `b` gets.
    fn settle(&mut self) -> (Vec<Value>, Vec<Value>) {
        let (mut frames, mut events) = (Vec::new(), Vec::new());
        let mut queues: [Vec<Bytes>; 2] = Default::default();
        for side in 0..2 {
            self.drain(side, &mut frames, &mut queues, &mut events);
        }
        loop {
            let mut quiet = true;
            for to in 0..2 {
                for frame in std::mem::take(&mut queues[1 - to]) {
                    quiet = false;
                    if !self.sides[to].dead {
                        assert!(self.sides[to].mux.wants_frame());
                        self.sides[to].mux.handle_frame(frame);
                        self.drain(to, &mut frames, &mut queues, &mut events);
                    }
                }
            }
            if quiet {
                return (frames, events);
            }
        }
    }

    fn drain(
        &mut self,
        at: usize,
        frames: &mut Vec<Value>,
        queues: &mut [Vec<Bytes>; 2],
        events: &mut Vec<Value>,
    ) {
        let side = &mut self.sides[at];
        loop {
            let event = match side.mux.poll() {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(_) => {
                    if !std::mem::replace(&mut side.dead, true) {
                        frames.push(json!({ "from": side.name, "destroyed": true }));
                    }
                    break;
                }
            };
            let of = |channel, names: &HashMap<_, (&'static str, Shake)>| names[channel];
            match event {
                Event::Pair(pairing) => {
                    let answer = side
                        .answers
                        .iter()
                        .find(|(topic, _)| *topic == pairing.topic);
                    match answer.cloned() {
                        Some((topic, answer)) => {
                            side.open("b", &topic, Shake::Text, &text(answer), &[])
                                .unwrap();
                        }
                        None => events.push(json!({
                            "at": side.name,
                            "notified_for": HEXLOWER.encode(&pairing.topic.id),
                        })),
                    }
                    side.mux.settle(pairing);
                }
                Event::Opened { channel, handshake } => {
                    let (name, shake) = of(&channel, &side.names);
                    let mut input = Reader::new(&handshake);
                    let opened = match shake {
                        Shake::Text => json!(STRING.decode(&mut input).unwrap()),
                        Shake::Number => json!(Uint.decode(&mut input).unwrap()),
                        Shake::None => Value::Null,
                    };
                    events.push(json!({ "at": name, "opened": opened }));
                }
                Event::Message {
                    channel,
                    kind,
                    body,
                } => {
                    let mut input = Reader::new(&body);
                    let value = match kind {
                        0 => json!(STRING.decode(&mut input).unwrap()),
                        1 => json!(Uint.decode(&mut input).unwrap()),
                        2 => json!(
                            HEXLOWER.encode(
                                &OptionalBuffer
                                    .decode(&mut input)
                                    .unwrap()
                                    .unwrap_or_default()
                            )
                        ),
                        other => panic!("no message {other}"),
                    };
                    let at = of(&channel, &side.names).0;
                    events.push(json!({ "at": at, "message": kind, "value": value }));
                }
                Event::Closed { channel, remote } => {
                    let at = of(&channel, &side.names).0;
                    events.push(json!({ "at": at, "closed": true, "is_remote": remote }));
                    events.push(json!({ "at": at, "destroyed": true }));
                }
                Event::Drained => {}
            }
        }
        while let Some(frame) = side.mux.poll_transmit() {
            let bytes = frame.to_vec();
            assert_eq!(bytes.len(), frame.len());
            frames.push(json!({ "from": side.name, "bytes": HEXLOWER.encode(&bytes) }));
            queues[at].push(bytes.into());
        }
    }

    /// Compares one step with what protomux did. The words of an error are each side's own.
    fn check(&mut self, scene: &str, step: &Value) {
        let (frames, events) = self.settle();
        if self.quiet {
            return;
        }
        let what = format!("{scene}: {}", step["what"]);
        let theirs: Vec<Value> = list(step, "frames").iter().map(any_error).collect();
        for from in ["a", "b"] {
            let of = |list: &[Value]| -> Vec<Value> {
                list.iter().filter(|x| x["from"] == from).cloned().collect()
            };
            assert_eq!(of(&frames), of(&theirs), "{what}, frames of {from}");
        }
        // In one side the order is fixed; between the sides it is the scheduler's.
        let their_events = list(step, "events");
        for side in ["a", "b"] {
            let of = |list: &[Value]| -> Vec<Value> {
                list.iter()
                    .filter(|x| x["at"].as_str().unwrap().starts_with(side))
                    .cloned()
                    .collect()
            };
            assert_eq!(of(&events), of(their_events), "{what}, events of {side}");
        }
    }
}

fn any_error(frame: &Value) -> Value {
    match frame.get("destroyed") {
        Some(_) => json!({ "from": frame["from"], "destroyed": true }),
        None => frame.clone(),
    }
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("{name}"))
}

fn send(side: &mut Side, channel: ChannelId, kind: u64, body: Vec<u8>) {
    // Whether a message is handed over in one piece or in three is nobody's business.
    let body = Bytes::from(body);
    let cut = body.len() / 3;
    let parts = [
        body.slice(..cut),
        body.slice(cut..2 * cut),
        body.slice(2 * cut..),
    ];
    side.mux.send_parts(channel, kind, &parts).unwrap();
}

fn id_of(scene: &Value) -> Vec<u8> {
    // The first frame is `0 ‖ 1 ‖ 1 ‖ string ‖ optional buffer …`.
    let open = hex(&scene["steps"][0]["frames"][0]["bytes"]);
    let mut input = Reader::new(&open[3..]);
    STRING.decode(&mut input).unwrap();
    input.buffer().unwrap().to_vec()
}

#[test]
fn scenes() {
    let vectors = vectors();
    let mut played = 0;
    for scene in list(&vectors, "mux") {
        let name = scene["name"].as_str().unwrap();
        let mut steps = list(scene, "steps").iter();
        let mut play = Scene::new();
        let mut next = |play: &mut Scene, what: &str| {
            let step = steps.next().unwrap_or_else(|| panic!("{name}: no {what}"));
            assert_eq!(step["what"], what);
            play.check(name, step);
        };
        match name {
            "open, send, close" => open_send_close(&mut play, &mut next, scene),
            "two channels in one batch, closed in a batch" => two_channels(&mut play, &mut next),
            "nobody wants it: rejected" => {
                let topic = Topic::new("unknown", b"");
                play.sides[0].open("a", &topic, Shake::Text, &text("x"), &[]);
                next(&mut play, "a opens");
            }
            "pair" => pair(&mut play, &mut next, scene),
            "no handshake, alias" => {
                let (old, new) = (Topic::new("old", b""), Topic::new("new", b""));
                play.sides[0].open("a", &old, Shake::None, b"", &[]);
                play.sides[1].open("b", &new, Shake::None, b"", &["old"]);
                next(&mut play, "open");
            }
            "300 channels" => many(&mut play, &mut next),
            other => panic!("no test knows the scene {other:?}"),
        }
        assert!(steps.next().is_none(), "{name}: a step that no test plays");
        played += 1;
    }
    assert_eq!(played, 6);
}

type Next<'a> = dyn FnMut(&mut Scene, &str) + 'a;

fn open_send_close(play: &mut Scene, next: &mut Next<'_>, scene: &Value) {
    let topic = Topic::new("test", &id_of(scene));
    let open = |play: &mut Scene, side: usize, name, hello| {
        play.sides[side].open(name, &topic, Shake::Text, &text(hello), &[])
    };
    open(play, 0, "a", "hello from a").unwrap();
    next(play, "a opens");
    open(play, 1, "b", "hello from b").unwrap();
    next(play, "b opens");
    let x = open(play, 0, "a", "a").unwrap();
    let y = open(play, 1, "b", "b").unwrap();
    next(play, "again on both sides");
    let [a, b] = &mut play.sides;
    send(a, x, 0, text("text"));
    send(a, x, 1, number(300));
    let step = &scene["steps"][3]["events"][3]["value"];
    send(a, x, 2, OptionalBuffer.to_vec(&Some(hex(step))).unwrap());
    send(b, y, 0, text(""));
    next(play, "messages");
    let a = &mut play.sides[0];
    a.mux.cork();
    send(a, x, 0, text("one"));
    send(a, x, 1, number(2));
    send(a, x, 2, OptionalBuffer.to_vec(&Some(vec![5; 300])).unwrap());
    a.mux.uncork();
    next(play, "corked");
    let a = &mut play.sides[0];
    a.mux.cork();
    send(a, x, 1, number(7));
    a.mux.uncork();
    next(play, "corked, one message");
    play.sides[0].mux.cork();
    play.sides[0].mux.uncork();
    next(play, "corked, nothing");
    play.sides[1].mux.close(y);
    next(play, "b closes");
    let late = play.sides[0].mux.send(x, 0, text("late").into());
    assert_eq!(late.unwrap_err().code(), "CONNECTION_CLOSED");
    next(play, "a sends after that");
}

fn two_channels(play: &mut Scene, next: &mut Next<'_>) {
    let open = |side: &mut Side, name, protocol: &str, hello| {
        let topic = Topic::new(protocol, b"");
        side.open(name, &topic, Shake::Number, &number(hello), &[])
            .unwrap()
    };
    let [a, b] = &mut play.sides;
    a.mux.cork();
    let p = open(a, "a1", "one", 1);
    let q = open(a, "a2", "two", 2);
    b.mux.cork();
    open(b, "b2", "two", 20);
    open(b, "b1", "one", 10);
    a.mux.uncork();
    b.mux.uncork();
    next(play, "opened while corked");
    let a = &mut play.sides[0];
    a.mux.cork();
    for (channel, n) in [(p, 1), (q, 2), (q, 3), (p, 4)] {
        send(a, channel, 1, number(n));
    }
    a.mux.uncork();
    next(play, "interleaved");
    let a = &mut play.sides[0];
    a.mux.cork();
    send(a, p, 1, number(9));
    a.mux.close(p);
    send(a, q, 1, number(8));
    a.mux.uncork();
    next(play, "close in a batch with a message");
    let [a, b] = &mut play.sides;
    open(a, "a3", "three", 3);
    open(b, "b3", "three", 30);
    next(play, "id is used again");
}

fn pair(play: &mut Scene, next: &mut Next<'_>, scene: &Value) {
    let topic = Topic::new("test", &id_of(scene));
    let [a, b] = &mut play.sides;
    b.mux.pair(topic.clone());
    b.mux.pair_any("test");
    b.answers.push((topic.clone(), "answer"));
    a.open("a", &topic, Shake::Text, &text("x"), &[]);
    next(play, "a opens the paired id");
    let other = hex(&scene["steps"][1]["events"][0]["notified_for"]);
    let other = Topic::new("test", &other);
    play.sides[0].open("a", &other, Shake::Text, &text("x"), &[]);
    next(play, "a opens another id");
}

fn many(play: &mut Scene, next: &mut Next<'_>) {
    let [a, b] = &mut play.sides;
    a.mux.cork();
    let mut channels = Vec::new();
    for n in 0..300 {
        let topic = Topic::new(&format!("p{n}"), b"");
        channels.push(a.open("a", &topic, Shake::None, b"", &[]).unwrap());
        b.open("b", &topic, Shake::None, b"", &[]).unwrap();
    }
    a.mux.uncork();
    let opened = play.settle().1;
    assert_eq!(opened.len(), 600, "every channel opens on both sides");
    // The vectors have no events of this scene.
    let frame_of = |play: &mut Scene| {
        let frame = play.sides[0].mux.poll_transmit().unwrap();
        let bytes: Bytes = frame.to_vec().into();
        play.sides[1].mux.handle_frame(bytes.clone());
        let event = play.sides[1].mux.poll().unwrap().unwrap();
        (bytes, event)
    };
    send(&mut play.sides[0], channels[252], 1, number(5));
    let (bytes, event) = frame_of(play);
    assert_eq!(HEXLOWER.encode(&bytes), "fdfd000105");
    assert!(matches!(event, Event::Message { kind: 1, .. }));
    play.sides[0].mux.close(channels[299]);
    let (bytes, event) = frame_of(play);
    assert_eq!(HEXLOWER.encode(&bytes), "0003fd2c01");
    assert!(matches!(event, Event::Closed { remote: true, .. }));
    play.quiet = true;
    next(play, "message on channel 253");
    next(play, "close of channel 300");
}

#[test]
fn raw_input() {
    let vectors = vectors();
    for case in list(&vectors, "mux_raw_input") {
        let what = case["what"].as_str().unwrap();
        assert!(case["thrown"].is_null());
        let mut play = Scene::new();
        play.sides[0].mux.handle_frame(hex(&case["bytes"]).into());
        let (mut frames, mut queues, mut events) = (Vec::new(), Default::default(), Vec::new());
        play.drain(0, &mut frames, &mut queues, &mut events);
        // npm's `b` then gets a reject of what it never opened; only what `a` does is of interest.
        let theirs: Vec<Value> = list(case, "reaction")
            .iter()
            .filter(|frame| frame["from"] == "a")
            .map(any_error)
            .collect();
        assert_eq!(frames, theirs, "{what}");
        assert!(events.is_empty());
    }
}

/// What two hypercores say to each other is cut into messages and put together again: the same bytes.
#[test]
fn replication_frames() {
    let vectors = vectors();
    for case in list(&vectors, "replication") {
        // Each side's frames, read by one muxer whose own channel is open, and written by another.
        for from in ["a", "b"] {
            let frames: Vec<Vec<u8>> = list(case, "frames_in_order")
                .iter()
                .filter(|frame| frame["from"] == from)
                .map(|frame| hex(&frame["bytes"]))
                .collect();
            let (mut reader, mut writer) = (Protomux::new(), Protomux::new());
            reader.pair_any("hypercore/alpha");
            let mut channel = None;
            for frame in frames {
                let batch = frame[..2] == [0, 0];
                reader.handle_frame(frame.clone().into());
                if batch {
                    writer.cork();
                }
                while let Some(event) = reader.poll().unwrap() {
                    match event {
                        Event::Pair(pairing) => {
                            reader
                                .open(&pairing.topic, ChannelOptions::default())
                                .unwrap();
                            reader.settle(pairing);
                        }
                        Event::Opened { handshake, .. } => {
                            let topic = Topic::new("hypercore/alpha", &frame[20..52]);
                            let options = ChannelOptions {
                                handshake: &handshake,
                                ..ChannelOptions::default()
                            };
                            channel = writer.open(&topic, options).unwrap();
                        }
                        Event::Message { kind, body, .. } => {
                            assert!(kind < 10, "hypercore has ten messages");
                            writer.send(channel.unwrap(), kind, body).unwrap();
                        }
                        Event::Closed { remote, .. } => {
                            assert!(remote);
                            writer.close(channel.unwrap());
                        }
                        Event::Drained => {}
                    }
                }
                if batch {
                    writer.uncork();
                }
                assert_eq!(
                    HEXLOWER.encode(&writer.poll_transmit().unwrap().to_vec()),
                    HEXLOWER.encode(&frame)
                );
                assert!(writer.poll_transmit().is_none());
            }
        }
    }
}
