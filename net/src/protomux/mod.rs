//! Protomux: many channels over one stream of messages, each with a protocol, an id and a handshake.
//!
//! Both sides open a channel under the same [`Topic`]; it is open when both have. A side that is told of an open by its peer ([`Event::Pair`])
//! may answer with its own; nobody's open is rejected. Ids are small numbers, used again when free.
//!
//! Sans-IO: [`Protomux::handle_frame`] takes one message of the stream below, then [`Protomux::poll`] says what happened, one event at a
//! time, until it has nothing; [`Protomux::poll_transmit`] gives the messages for the stream below.
//!
//! **Bounds.** A peer makes us keep one frame (16 MiB), [`CHANNELS_MAX`] ids of a few bytes, and for channels that nobody here has answered yet
//! [`PAIRINGS_MAX`] opens, [`OPENING_MAX`] bytes of their ids and handshakes, and [`PENDING_MAX`] bytes of messages (each limit may be exceeded
//! by one message); past these `poll` reads no further ([`Protomux::is_paused`]) until the opens are settled. Messages are cut off a frame one by one, so a batch of millions costs
//! nothing but itself.
//!
//! Source: protomux 3.12.1, `index.js`. Vectors: `tests/vectors/stream.json`, `mux`, `mux_raw_input`, `replication`.

mod batch;
mod control;
mod frame;
mod input;
mod topics;

pub use frame::Frame;
pub use topics::Topic;

use crate::{Error, secret_stream::MESSAGE_MAX};
use batch::Batch;
use bytes::Bytes;
use control::Open;
use input::{Input, Message};
use pome_encoding::{put_uint, uint_len};
use std::{
    collections::{HashSet, VecDeque},
    fmt,
};
use topics::{InfoId, Topics};

/// How many ids a peer may use, so how many channels it may have open. npm has no limit.
pub const CHANNELS_MAX: usize = 1 << 17;

/// How many opens of a peer may wait for [`Protomux::settle`] at once.
pub const PAIRINGS_MAX: usize = 1024;

/// How many bytes of ids and handshakes may wait with them.
pub const OPENING_MAX: usize = 1 << 20;

/// How many bytes of messages may wait for channels that the peer has opened and we have not; each counts 512 more than it has.
pub const PENDING_MAX: usize = 32_768;

/// From this many bytes that wait to be transmitted, [`Protomux::is_drained`] says no.
pub const UNSENT_HIGH: usize = 256 << 10;

/// Room that the ids and lengths around a message take at most.
const MESSAGE_ROOM: usize = 32;

/// One of our channels. Never stands for another one, though its number on the wire is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId {
    slot: usize,
    generation: u64,
}

/// The peer opens a channel, and somebody here wanted to hear of it. To be given back to [`Protomux::settle`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "settle it, or the peer waits for ever"]
pub struct Pairing {
    info: InfoId,
    /// What it is about.
    pub topic: Topic,
}

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer opens a channel that was paired. Open the same topic or do not, then call [`Protomux::settle`]: now or later.
    Pair(Pairing),
    /// Both sides have opened: messages may come now.
    Opened {
        /// Which channel.
        channel: ChannelId,
        /// What the peer sent along, to the end of its message.
        handshake: Bytes,
    },
    /// A message.
    Message {
        /// Which channel it is for.
        channel: ChannelId,
        /// Which of the protocol's messages, from 0. An unknown one should be ignored.
        kind: u64,
        /// Its bytes.
        body: Bytes,
    },
    /// The channel is gone.
    Closed {
        /// Which channel.
        channel: ChannelId,
        /// True when the peer closed or rejected it, or the stream ended.
        remote: bool,
    },
    /// What waited was transmitted: there is room to send again.
    Drained,
}

/// How a channel is opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChannelOptions<'a> {
    /// What the peer gets with our open.
    pub handshake: &'a [u8],
    /// Other names of the protocol under which the peer may open it.
    pub aliases: &'a [&'a str],
    /// More than one channel under this topic at a time. Default: no.
    pub shared: bool,
}

/// One of our numbers.
enum Slot {
    Free,
    /// Closed before the peer has answered: the number is free when it does.
    Closing(InfoId),
    Open(Local),
}

struct Local {
    info: InfoId,
    generation: u64,
    /// The peer's number; 0 as long as it has not opened.
    remote: u64,
}

/// A channel that the peer has opened.
struct Remote {
    info: InfoId,
    /// Our slot, once we have opened too.
    slot: Option<usize>,
    /// What came before we had.
    pending: Vec<(u64, Bytes)>,
    handshake: Bytes,
    /// What its open cost, for [`OPENING_MAX`].
    opening: usize,
}

/// One side of a muxed stream.
///
/// ```
/// use pome_net::protomux::{ChannelOptions, Event, Protomux, Topic};
/// let (mut a, mut b) = (Protomux::new(), Protomux::new());
/// let topic = Topic::new("chat", b"");
/// let chat = a.open(&topic, ChannelOptions { handshake: b"hi", ..Default::default() })?.unwrap();
/// let answer = b.open(&topic, ChannelOptions::default())?.unwrap();
/// a.send(chat, 0, "hello".into())?;
/// while let Some(frame) = a.poll_transmit() {
///     b.handle_frame(frame.to_vec().into());
///     while let Some(event) = b.poll()? {
///         match event {
///             Event::Opened { channel, handshake } => assert_eq!((channel, &handshake[..]), (answer, &b"hi"[..])),
///             Event::Message { kind: 0, body, .. } => assert_eq!(body, "hello"),
///             other => panic!("{other:?}"),
///         }
///     }
/// }
/// # Ok::<(), pome_net::Error>(())
/// ```
pub struct Protomux {
    slots: Vec<Slot>,
    /// The slots to be used again, the last one first.
    free: Vec<usize>,
    /// By the peer's number, from 1.
    remotes: Vec<Option<Remote>>,
    topics: Topics,
    pairs: HashSet<Topic>,
    /// Protocols that are paired for any id.
    pair_all: HashSet<Box<str>>,
    generation: u64,

    input: Input,
    events: VecDeque<Event>,
    pairings: usize,
    opening_bytes: usize,
    pending_bytes: usize,

    corked: usize,
    batch: Option<Batch>,
    output: VecDeque<Frame>,
    unsent: usize,
    rejects_unsent: usize,
    tell_drained: bool,
    failed: Option<Error>,
}

impl Default for Protomux {
    fn default() -> Self {
        Self::new()
    }
}

impl Protomux {
    /// Without any channel.
    pub fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            remotes: Vec::new(),
            topics: Topics::default(),
            pairs: HashSet::new(),
            pair_all: HashSet::new(),
            generation: 0,
            input: Input::default(),
            events: VecDeque::new(),
            pairings: 0,
            opening_bytes: 0,
            pending_bytes: 0,
            corked: 0,
            batch: None,
            output: VecDeque::new(),
            unsent: 0,
            rejects_unsent: 0,
            tell_drained: false,
            failed: None,
        }
    }

    /// Wants to hear when the peer opens this topic ([`Event::Pair`]).
    pub fn pair(&mut self, topic: Topic) {
        self.pairs.insert(topic);
    }

    /// Wants to hear of every open under this protocol, whatever its id (npm `pair` with an id of null).
    pub fn pair_any(&mut self, protocol: &str) {
        self.pair_all.insert(protocol.into());
    }

    /// Undoes [`Protomux::pair`].
    pub fn unpair(&mut self, topic: &Topic) {
        self.pairs.remove(topic);
    }

    /// Undoes [`Protomux::pair_any`].
    pub fn unpair_any(&mut self, protocol: &str) {
        self.pair_all.remove(protocol);
    }

    /// True when we have a channel under this topic, whether or not the peer has answered (npm `opened`).
    pub fn is_opened(&self, topic: &Topic) -> bool {
        self.topics.find(topic).is_some_and(|info| info.opened > 0)
    }

    /// True when we have no channel.
    pub fn is_idle(&self) -> bool {
        self.slots.len() == self.free.len()
    }

    /// Opens a channel (npm `createChannel` and `open`). `None` when there is one under this topic and it is not [`ChannelOptions::shared`].
    /// Where the peer has opened it before, [`Event::Opened`] follows at once.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when id and handshake fit into no frame, [`Error::Limit`] when we have [`CHANNELS_MAX`] channels, the error of a muxer that failed.
    pub fn open(
        &mut self,
        topic: &Topic,
        options: ChannelOptions<'_>,
    ) -> Result<Option<ChannelId>, Error> {
        self.check()?;
        check_size(topic.protocol.len() + topic.id.len() + options.handshake.len())?;
        if self.free.is_empty() && self.slots.len() >= CHANNELS_MAX {
            let (what, max) = ("channels of ours", CHANNELS_MAX);
            return Err(Error::Limit { what, max });
        }
        let info_id = self.topics.enter(topic, options.aliases);
        let Some(info) = self.topics.get(info_id) else {
            return Ok(None);
        };
        if info.opened > 0 && !options.shared {
            return Ok(None);
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::Free);
            self.slots.len() - 1
        });
        info.opened += 1;
        let remote = info.incoming.pop_front().unwrap_or(0);
        if remote == 0 {
            info.outgoing.push_back(slot as u64 + 1);
        }
        self.generation += 1;
        let generation = self.generation;
        self.slots[slot] = Slot::Open(Local {
            info: info_id,
            generation,
            remote,
        });
        let open = Open::encode(slot as u64 + 1, topic, options.handshake);
        self.put_control(&open);
        if remote != 0 {
            self.fully_open(slot, remote);
        }
        Ok(Some(ChannelId { slot, generation }))
    }

    /// The listener has opened its side, or never will: what nobody took is rejected.
    pub fn settle(&mut self, pairing: Pairing) {
        self.pairings = self.pairings.saturating_sub(1);
        let Some(info) = self.topics.get(pairing.info) else {
            return;
        };
        info.pairing = info.pairing.saturating_sub(1);
        if info.pairing == 0 {
            self.reject_incoming(pairing.info);
        }
    }

    /// Sends one message; `kind` is its number within the protocol. It may be sent before the peer has opened. False when there is enough to
    /// transmit for now ([`Protomux::is_drained`]).
    ///
    /// # Errors
    /// [`Error::Closed`] when the channel is, [`Error::TooLarge`] when it fits into no frame; the error of a muxer that failed.
    pub fn send(&mut self, channel: ChannelId, kind: u64, body: Bytes) -> Result<bool, Error> {
        self.send_parts(channel, kind, &[body])
    }

    /// [`Protomux::send`] of a message in pieces. Large pieces are not copied.
    ///
    /// # Errors
    /// As [`Protomux::send`].
    pub fn send_parts(
        &mut self,
        channel: ChannelId,
        kind: u64,
        body: &[Bytes],
    ) -> Result<bool, Error> {
        self.check()?;
        if self.local(channel).is_none() {
            return Err(Error::Closed);
        }
        check_size(body.iter().map(Bytes::len).sum())?;
        let mut head = Vec::with_capacity(uint_len(kind));
        put_uint(&mut head, kind);
        self.put(channel.slot as u64 + 1, &head, body);
        Ok(self.is_drained())
    }

    /// Closes a channel. Closing it twice does nothing. The peer does not answer.
    pub fn close(&mut self, channel: ChannelId) {
        if self.local(channel).is_some() {
            let close = control::about(control::CLOSE, channel.slot as u64 + 1);
            self.close_slot(channel.slot, false);
            self.put_control(&close);
        }
    }

    /// From now on messages are collected, to go out as one; as often as it is called, [`Protomux::uncork`] must be.
    pub fn cork(&mut self) {
        self.corked += 1;
    }

    /// What was collected goes out.
    pub fn uncork(&mut self) {
        self.corked = self.corked.saturating_sub(1);
        if self.corked == 0 {
            self.flush_batch();
        }
    }

    /// How many bytes were collected since the muxer was corked.
    pub fn corked_bytes(&self) -> usize {
        self.batch.as_ref().map_or(0, Batch::len)
    }

    /// What was collected goes out, and collecting goes on.
    pub fn flush(&mut self) {
        self.flush_batch();
    }

    /// The stream below has ended or failed: every channel closes, nothing can be opened.
    pub fn shutdown(&mut self) {
        self.fail(Error::Closed);
    }

    /// True when less than [`UNSENT_HIGH`] bytes wait to be transmitted.
    pub fn is_drained(&self) -> bool {
        self.unsent < UNSENT_HIGH
    }

    /// How many bytes wait to be transmitted, without those of a batch that is still open.
    pub fn unsent_bytes(&self) -> usize {
        self.unsent
    }

    /// The next message for the stream below. To be called after every other call that takes `&mut self`.
    pub fn poll_transmit(&mut self) -> Option<Frame> {
        let frame = self.output.pop_front()?;
        let was_drained = self.is_drained();
        self.unsent -= frame.len();
        if self.output.is_empty() {
            self.rejects_unsent = 0;
        }
        self.tell_drained |= !was_drained && self.is_drained();
        Some(frame)
    }

    /// True when the last frame was read to its end: the next one may come.
    pub fn wants_frame(&self) -> bool {
        self.input.is_empty() && self.failed.is_none() && !self.is_paused()
    }

    /// True when opens of the peer must be settled, or answered, before more of what it says is read.
    pub fn is_paused(&self) -> bool {
        self.pending_bytes > PENDING_MAX
            || self.pairings >= PAIRINGS_MAX
            || self.opening_bytes > OPENING_MAX
    }

    /// Takes a message of the stream below. Only when [`Protomux::wants_frame`]; then call [`Protomux::poll`] until it has nothing.
    pub fn handle_frame(&mut self, frame: Bytes) {
        if self.failed.is_none() {
            self.input.set(frame);
        }
    }

    /// What happened next. To be called after every other call that takes `&mut self`, until it has nothing.
    ///
    /// # Errors
    /// [`Error::Decode`], [`Error::InvalidOpen`], [`Error::InvalidReject`], [`Error::Limit`]: the peer does not follow the protocol. Every channel
    /// has been closed; what was told about them before comes first.
    pub fn poll(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            match &self.failed {
                None | Some(Error::Closed) => {}
                Some(error) => return Err(error.clone()),
            }
            if std::mem::take(&mut self.tell_drained) {
                return Ok(Some(Event::Drained));
            }
            if self.is_paused() {
                return Ok(None);
            }
            let outcome = match self.input.next() {
                Ok(None) => return Ok(None),
                Ok(Some(message)) => self.handle_message(message),
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                self.fail(error);
            }
        }
    }

    fn check(&self) -> Result<(), Error> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn fail(&mut self, error: Error) {
        if self.failed.is_some() {
            return;
        }
        for slot in 0..self.slots.len() {
            self.close_slot(slot, true);
        }
        self.failed = Some(error);
        self.input.clear();
        self.remotes = Vec::new();
        (self.pending_bytes, self.opening_bytes) = (0, 0);
    }

    fn local(&mut self, channel: ChannelId) -> Option<&mut Local> {
        match self.slots.get_mut(channel.slot)? {
            Slot::Open(local) if local.generation == channel.generation => Some(local),
            _ => None,
        }
    }

    fn channel_in(&self, slot: usize) -> Option<ChannelId> {
        match self.slots.get(slot)? {
            Slot::Open(local) => Some(ChannelId {
                slot,
                generation: local.generation,
            }),
            _ => None,
        }
    }

    /// The peer's channel with this number, if it is open.
    fn remote(&mut self, id: u64) -> Option<&mut Remote> {
        let index = usize::try_from(id.checked_sub(1)?).ok()?;
        self.remotes.get_mut(index)?.as_mut()
    }

    fn take_remote(&mut self, id: u64) -> Option<Remote> {
        let index = usize::try_from(id.checked_sub(1)?).ok()?;
        let remote = self.remotes.get_mut(index)?.take()?;
        self.forget_waiting(&remote);
        Some(remote)
    }

    fn forget_waiting(&mut self, remote: &Remote) {
        self.opening_bytes -= remote.opening;
        self.pending_bytes -= remote.pending.iter().map(pending_size).sum::<usize>();
    }

    /// Both sides have opened: tells so, and all that came before.
    fn fully_open(&mut self, slot: usize, id: u64) {
        let Some(channel) = self.channel_in(slot) else {
            return;
        };
        let Some(remote) = self.remote(id) else {
            return;
        };
        remote.slot = Some(slot);
        let handshake = std::mem::take(&mut remote.handshake);
        let pending = std::mem::take(&mut remote.pending);
        let opening = std::mem::take(&mut remote.opening);
        self.opening_bytes -= opening;
        self.pending_bytes -= pending.iter().map(pending_size).sum::<usize>();
        self.events.push_back(Event::Opened { channel, handshake });
        for (kind, body) in pending {
            self.events.push_back(Event::Message {
                channel,
                kind,
                body,
            });
        }
    }

    fn close_slot(&mut self, slot: usize, remote: bool) {
        let Some(channel) = self.channel_in(slot) else {
            return;
        };
        let Slot::Open(local) = std::mem::replace(&mut self.slots[slot], Slot::Free) else {
            return;
        };
        if local.remote > 0 {
            self.take_remote(local.remote);
            self.free.push(slot);
        } else {
            // The peer's answer is on its way, or a reject: until then the number is not free.
            self.slots[slot] = Slot::Closing(local.info);
        }
        if let Some(info) = self.topics.get(local.info) {
            info.opened -= 1;
        }
        self.topics.leave(local.info);
        self.events.push_back(Event::Closed { channel, remote });
    }

    fn handle_message(&mut self, message: Message) -> Result<(), Error> {
        let Message {
            channel,
            kind,
            body,
        } = message;
        if channel == 0 {
            return self.handle_control(kind, body);
        }
        // A channel that was closed meanwhile: the peer may not know yet.
        let Some(remote) = self.remote(channel) else {
            return Ok(());
        };
        if let Some(slot) = remote.slot {
            if let Some(channel) = self.channel_in(slot) {
                self.events.push_back(Event::Message {
                    channel,
                    kind,
                    body,
                });
            }
            return Ok(());
        }
        // It may wait for long: it must not hold on to a whole frame.
        let pending = (kind, Bytes::copy_from_slice(&body));
        let size = pending_size(&pending);
        remote.pending.push(pending);
        self.pending_bytes += size;
        Ok(())
    }

    fn handle_control(&mut self, kind: u64, mut body: Bytes) -> Result<(), Error> {
        match kind {
            control::OPEN => self.handle_open(Open::decode(body)?),
            control::REJECT => self.handle_reject(input::take_uint(&mut body)?),
            control::CLOSE => {
                let id = input::take_uint(&mut body)?;
                match self.remote(id).map(|remote| remote.slot) {
                    Some(Some(slot)) => self.close_slot(slot, true),
                    Some(None) => self.take_back(id),
                    None => {}
                }
                Ok(())
            }
            // A control message of a later version.
            _ => Ok(()),
        }
    }

    fn handle_open(&mut self, open: Open) -> Result<(), Error> {
        let id = open.id;
        let invalid = Error::InvalidOpen { id };
        let index = id
            .checked_sub(1)
            .and_then(|index| usize::try_from(index).ok())
            .ok_or(invalid.clone())?;
        if index == self.remotes.len() {
            if index >= CHANNELS_MAX {
                let (what, max) = ("channels", CHANNELS_MAX);
                return Err(Error::Limit { what, max });
            }
            self.remotes.push(None);
        }
        if !self.remotes.get(index).is_some_and(Option::is_none) {
            return Err(invalid);
        }
        let info_id = self.topics.enter(&open.topic, &[]);
        let Some(info) = self.topics.get(info_id) else {
            return Ok(());
        };
        let mut remote = Remote {
            info: info_id,
            slot: None,
            pending: Vec::new(),
            handshake: open.handshake,
            opening: 0,
        };
        if let Some(ours) = info.outgoing.pop_front() {
            let slot = ours as usize - 1;
            let Slot::Open(local) = &mut self.slots[slot] else {
                // Closed before this answer came. npm's muxer does not mind a close that comes before its own open; so it is told again,
                // else its side would stay open for ever.
                self.slots[slot] = Slot::Free;
                self.free.push(slot);
                self.topics.leave(info_id);
                self.put_control(&control::about(control::CLOSE, ours));
                return Ok(());
            };
            local.remote = id;
            self.remotes[index] = Some(remote);
            self.fully_open(slot, id);
            return Ok(());
        }
        info.incoming.push_back(id);
        let wanted =
            self.pairs.contains(&open.topic) || self.pair_all.contains(&open.topic.protocol);
        // While somebody is still thinking about this topic, this one waits with the others.
        let waits = wanted || info.pairing > 0;
        info.pairing += usize::from(wanted);
        if waits {
            remote.opening =
                open.topic.protocol.len() + open.topic.id.len() + remote.handshake.len();
            self.opening_bytes += remote.opening;
        }
        self.remotes[index] = Some(remote);
        if wanted {
            self.pairings += 1;
            self.events.push_back(Event::Pair(Pairing {
                info: info_id,
                topic: open.topic,
            }));
        }
        if !waits {
            self.reject_incoming(info_id);
        }
        if self.rejects_unsent > CHANNELS_MAX {
            let (what, max) = ("rejected channels", CHANNELS_MAX);
            return Err(Error::Limit { what, max });
        }
        Ok(())
    }

    fn reject(&mut self, id: u64) {
        if self.take_remote(id).is_some() {
            self.rejects_unsent += 1;
            self.put_control(&control::about(control::REJECT, id));
        }
    }

    fn reject_incoming(&mut self, info_id: InfoId) {
        if let Some(info) = self.topics.get(info_id) {
            for id in std::mem::take(&mut info.incoming) {
                self.reject(id);
            }
        }
        self.topics.leave(info_id);
    }

    /// The peer closes what we have not answered yet. It wants an answer all the same, or its number would never be free again.
    fn take_back(&mut self, id: u64) {
        let Some(info_id) = self.remote(id).map(|remote| remote.info) else {
            return;
        };
        if let Some(info) = self.topics.get(info_id) {
            info.incoming.retain(|incoming| *incoming != id);
        }
        self.reject(id);
        self.topics.leave(info_id);
    }

    fn handle_reject(&mut self, id: u64) -> Result<(), Error> {
        let invalid = Error::InvalidReject { id };
        let slot = id
            .checked_sub(1)
            .and_then(|slot| usize::try_from(slot).ok())
            .ok_or(invalid.clone())?;
        let info_id = match self.slots.get(slot) {
            Some(Slot::Open(local)) if local.remote == 0 => local.info,
            Some(Slot::Closing(info)) => *info,
            _ => return Err(invalid),
        };
        self.close_slot(slot, true);
        self.slots[slot] = Slot::Free;
        self.free.push(slot);
        if let Some(info) = self.topics.get(info_id) {
            info.outgoing.retain(|ours| *ours != id);
        }
        self.topics.leave(info_id);
        Ok(())
    }

    /// A message of the control channel, without its leading 0.
    fn put_control(&mut self, message: &[u8]) {
        if self.failed.is_none() {
            self.put(0, message, &[]);
        }
    }

    fn put(&mut self, channel: u64, head: &[u8], body: &[Bytes]) {
        if self.corked > 0 {
            let bytes = head.len() + body.iter().map(Bytes::len).sum::<usize>();
            if self
                .batch
                .as_ref()
                .is_some_and(|batch| batch.is_full(bytes, MESSAGE_MAX))
            {
                self.flush_batch();
            }
            let batch = self.batch.get_or_insert_with(Batch::new);
            return batch.push(channel, head, body);
        }
        let mut frame = Frame::new();
        frame.put_uint(channel);
        frame.put_slice(head);
        for part in body {
            frame.put(part);
        }
        frame.close();
        self.put_frame(frame);
    }

    fn flush_batch(&mut self) {
        if let Some(frame) = self.batch.take().and_then(Batch::finish) {
            self.put_frame(frame);
        }
    }

    fn put_frame(&mut self, frame: Frame) {
        self.unsent += frame.len();
        self.output.push_back(frame);
    }
}

fn pending_size((_, body): &(u64, Bytes)) -> usize {
    512 + body.len()
}

fn check_size(bytes: usize) -> Result<(), Error> {
    let max = MESSAGE_MAX - MESSAGE_ROOM;
    if bytes > max {
        return Err(Error::TooLarge { bytes, max });
    }
    Ok(())
}

impl fmt::Debug for Protomux {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protomux")
            .field("channels", &(self.slots.len() - self.free.len()))
            .field("unsent", &self.unsent)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
