//! The secret stream: an ordered stream of encrypted messages over any reliable byte stream, and sealed datagrams beside it.
//!
//! ```text
//! frame           length u24 LE ‖ bytes
//! handshake       frames with the messages of Noise (XX: three)
//! header          frame of 56: stream id 32 ‖ secretstream header 24, from each side, as soon as its handshake is done
//! message         frame of 17 + n: tag ‖ body ‖ MAC      (cipher.rs); n = 0 keeps the connection alive
//! ```
//!
//! Promised: what comes out was sealed by the owner of [`SecretStream::remote_public_key`], in this order, for this connection. Not
//! promised: that all of it came, as the end is not authenticated; nor that a peer's key is one that the caller trusts.
//!
//! Sans-IO: feed [`SecretStream::handle_input`] (or, without a copy, [`SecretStream::read_buffer`]), then call [`SecretStream::poll`] until it
//! has nothing, then send what [`SecretStream::poll_transmit`] gives. Sealing and opening happen in place.
//!
//! **Bounds.** Before the handshake is over a peer makes us keep 65,535 bytes and one read; after it, one frame (16 MiB) and one read,
//! and only as its bytes arrive: a length alone reserves nothing. A busy stream keeps 4 MiB of buffers to read into, a quiet one none.
//!
//! Source: secret-stream 6.9.2. Vectors: `tests/vectors/stream.json`, `streams`, `refused`, `datagrams`.

mod cipher;
mod datagram;
mod frame;
mod input;

pub use cipher::{HEADER, OVERHEAD, STATE, SecretStreamCipher};
pub use frame::FRAME_MAX;

use crate::{
    Error,
    noise::{self, Handshake, Keys, Pattern, Role},
};
use bytes::{Bytes, BytesMut};
use datagram::Datagrams;
use frame::{Front, LENGTH};
use input::{Input, QUIET};
use pome_cores::{
    KeyPair,
    crypto::{Hash, hash_keyed, namespaces, random_bytes},
};
use std::{
    fmt,
    sync::OnceLock,
    time::{Duration, Instant},
};

/// The longest message that can be written, in bytes.
pub const MESSAGE_MAX: usize = FRAME_MAX - OVERHEAD;

/// A stream id and a header.
const START: usize = 32 + HEADER;

/// The hashes that keep the keys of different uses apart.
struct Names {
    initiator: Hash,
    responder: Hash,
    send: Hash,
}

impl Names {
    fn of(&self, role: Role) -> &Hash {
        match role {
            Role::Initiator => &self.initiator,
            Role::Responder => &self.responder,
        }
    }
}

fn names() -> &'static Names {
    static NAMES: OnceLock<Names> = OnceLock::new();
    NAMES.get_or_init(|| {
        let [initiator, responder, send] = namespaces("hyperswarm/secret-stream");
        Names {
            initiator,
            responder,
            send,
        }
    })
}

/// The id that the side with this role puts in front of its stream (npm `SecretStream.id`).
pub fn stream_id(handshake_hash: &[u8; 64], role: Role) -> [u8; 32] {
    hash_keyed(handshake_hash, &[names().of(role)])
}

/// The randomness of one side of one connection. Never use one twice.
#[derive(Clone)]
pub struct Entropy {
    /// The seed of the ephemeral key.
    pub ephemeral: [u8; 32],
    /// The header of what this side sends.
    pub header: [u8; HEADER],
    /// Where the counter of datagrams starts.
    pub counter: [u8; 8],
}

impl Entropy {
    /// From the operating system.
    pub fn random() -> Self {
        Self {
            ephemeral: random_bytes(),
            header: random_bytes(),
            counter: random_bytes(),
        }
    }
}

/// How a stream behaves.
#[derive(Debug, Clone, Default)]
pub struct StreamOptions {
    /// Which handshake. Default: XX.
    pub pattern: Pattern,
    /// The peer's key. IK needs it in the initiator; with XX (where npm looks at no key) a peer with another key is refused. Default: any.
    pub remote_public_key: Option<[u8; 32]>,
    /// Sends an empty message when nothing was written for so long, and swallows those of the peer. Default: never.
    pub keep_alive: Option<Duration>,
    /// Fails the stream when nothing came for so long. Default: never.
    pub timeout: Option<Duration>,
    /// Swallows empty messages even without a keep-alive of our own. Default: no.
    pub filter_empty: bool,
}

/// What a stream has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The handshake is done: keys and hash are known, what is written goes out.
    Open,
    /// A message, opened.
    Message(Bytes),
    /// The peer will send nothing more (npm `end`).
    End,
}

enum State {
    Handshake(Box<Handshake>),
    /// Our side is keyed; the peer's header is awaited.
    Header,
    Open,
    /// The peer has ended its side.
    Ended,
    Failed(Error),
}

/// One side of an encrypted stream.
///
/// ```
/// use pome_cores::KeyPair;
/// use pome_net::{noise::Role, secret_stream::{Entropy, Event, SecretStream, StreamOptions}};
/// use std::time::Instant;
/// let now = Instant::now();
/// let side = |role| SecretStream::new(now, role, &KeyPair::random(), Entropy::random(), StreamOptions::default());
/// let (mut a, mut b) = (side(Role::Initiator)?, side(Role::Responder)?);
/// a.write(now, &["hello ", "there"])?;
/// let mut got = Vec::new();
/// for _ in 0..3 {
///     while let Some(bytes) = a.poll_transmit() { b.handle_input(now, &bytes) }
///     while let Some(event) = b.poll(now)? { got.push(event) }
///     while let Some(bytes) = b.poll_transmit() { a.handle_input(now, &bytes) }
///     while let Some(event) = a.poll(now)? { assert_eq!(event, Event::Open) }
/// }
/// assert_eq!(got, [Event::Open, Event::Message("hello there".into())]);
/// assert_eq!(a.handshake_hash(), b.handshake_hash());
/// # Ok::<(), pome_net::Error>(())
/// ```
pub struct SecretStream {
    role: Role,
    state: State,
    options: StreamOptions,
    entropy: Entropy,
    public_key: [u8; 32],
    keys: Option<Keys>,
    tx: Option<SecretStreamCipher>,
    rx: Option<SecretStreamCipher>,
    datagrams: Option<Datagrams>,
    /// Written before there was a key.
    early: Vec<Vec<u8>>,
    input: Input,
    input_ended: bool,
    output: BytesMut,
    ended: bool,
    tell_open: bool,
    last_read: Instant,
    last_write: Instant,
    bytes_read: u64,
    bytes_written: u64,
}

impl SecretStream {
    /// Begins a stream with a handshake.
    ///
    /// # Errors
    /// [`Error::Handshake`] when the pattern is IK, we are the initiator, and [`StreamOptions::remote_public_key`] is not given.
    pub fn new(
        now: Instant,
        role: Role,
        key_pair: &KeyPair,
        entropy: Entropy,
        options: StreamOptions,
    ) -> Result<Self, Error> {
        let handshake = Handshake::new(
            options.pattern,
            role,
            key_pair,
            options.remote_public_key.as_ref(),
            b"",
            entropy.ephemeral,
        )?;
        let state = State::Handshake(Box::new(handshake));
        let mut stream = Self::with_state(now, role, state, key_pair.public, entropy, options);
        stream.continue_handshake()?;
        Ok(stream)
    }

    /// Begins a stream whose handshake was made elsewhere (npm option `handshake`), as in HyperDHT.
    pub fn from_keys(
        now: Instant,
        role: Role,
        keys: Keys,
        entropy: Entropy,
        options: StreamOptions,
    ) -> Self {
        let public_key = keys.public_key;
        let mut stream = Self::with_state(now, role, State::Header, public_key, entropy, options);
        stream.set_keys(keys);
        stream
    }

    fn with_state(
        now: Instant,
        role: Role,
        state: State,
        public_key: [u8; 32],
        entropy: Entropy,
        options: StreamOptions,
    ) -> Self {
        Self {
            role,
            state,
            options,
            entropy,
            public_key,
            keys: None,
            tx: None,
            rx: None,
            datagrams: None,
            early: Vec::new(),
            input: Input::default(),
            input_ended: false,
            output: BytesMut::new(),
            ended: false,
            tell_open: false,
            last_read: now,
            last_write: now,
            bytes_read: 0,
            bytes_written: 0,
        }
    }

    /// Which end we are.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Our public key.
    pub fn public_key(&self) -> [u8; 32] {
        self.public_key
    }

    /// The peer's public key, once the handshake is done.
    pub fn remote_public_key(&self) -> Option<[u8; 32]> {
        self.keys.as_ref().map(|keys| keys.remote_public_key)
    }

    /// The hash of this connection, once the handshake is done: the same on both sides, and on no other connection.
    pub fn handshake_hash(&self) -> Option<&[u8; 64]> {
        self.keys.as_ref().map(|keys| &keys.hash)
    }

    /// True once the handshake is done and as long as neither side failed (npm `connected`).
    pub fn is_open(&self) -> bool {
        self.keys.is_some() && !matches!(self.state, State::Failed(_))
    }

    /// What came over the wire so far, in bytes, with framing and handshake.
    pub fn raw_bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// What was put on the wire so far, in bytes, with framing and handshake.
    pub fn raw_bytes_written(&self) -> u64 {
        self.bytes_written
    }

    /// Changes [`StreamOptions::timeout`]; the time starts anew.
    pub fn set_timeout(&mut self, now: Instant, timeout: Option<Duration>) {
        self.options.timeout = timeout.filter(|timeout| !timeout.is_zero());
        self.last_read = now;
    }

    /// Changes [`StreamOptions::keep_alive`]; the time starts anew. Once there was one, empty messages of the peer stay swallowed.
    pub fn set_keep_alive(&mut self, now: Instant, keep_alive: Option<Duration>) {
        self.options.filter_empty |= self.options.keep_alive.is_some();
        self.options.keep_alive = keep_alive.filter(|every| !every.is_zero());
        self.last_write = now;
    }

    /// Takes bytes of the peer. Then call [`SecretStream::poll`] until it has nothing.
    pub fn handle_input(&mut self, now: Instant, bytes: &[u8]) {
        self.read_buffer().extend_from_slice(bytes);
        self.handle_read(now, bytes.len());
    }

    /// Where a driver reads the peer's bytes to, behind what is there already, without a copy. It has room for a useful amount. Say how
    /// much was read with [`SecretStream::handle_read`].
    pub fn read_buffer(&mut self) -> &mut BytesMut {
        let missing = match frame::front(self.input.bytes()) {
            Front::Missing(missing) if self.keys.is_some() => missing,
            _ => 0,
        };
        self.input.with_room(missing)
    }

    /// `count` bytes were appended to the [`SecretStream::read_buffer`]. Then call [`SecretStream::poll`] until it has nothing.
    pub fn handle_read(&mut self, now: Instant, count: usize) {
        self.last_read = now;
        self.bytes_read += count as u64;
        self.input.was_read();
    }

    /// The byte stream below has ended. Then call [`SecretStream::poll`].
    pub fn handle_end(&mut self) {
        self.input_ended = true;
    }

    /// What happened next. To be called after everything that starts with `handle_`, until it has nothing.
    ///
    /// # Errors
    /// [`Error::Handshake`], [`Error::OtherPeer`], [`Error::StreamHeader`], [`Error::Message`], [`Error::Limit`], [`Error::EndedEarly`]: the stream is of no more use,
    /// and each later call says the same.
    pub fn poll(&mut self, now: Instant) -> Result<Option<Event>, Error> {
        loop {
            if let State::Failed(error) = &self.state {
                return Err(error.clone());
            }
            if std::mem::take(&mut self.tell_open) {
                self.send_early(now)?;
                return Ok(Some(Event::Open));
            }
            if matches!(self.state, State::Ended) {
                return Ok(None);
            }
            match frame::front(self.input.bytes()) {
                Front::Whole(length) => {
                    let message = self.check_length(length).and_then(|()| {
                        let message = frame::take(self.input.bytes(), length);
                        self.handle_frame(message)
                    });
                    match message {
                        Ok(None) => {}
                        Ok(Some(body))
                            if body.is_empty()
                                && (self.options.filter_empty
                                    || self.options.keep_alive.is_some()) => {}
                        Ok(Some(body)) => return Ok(Some(Event::Message(body))),
                        Err(error) => return Err(self.fail(error)),
                    }
                }
                Front::Missing(missing) => {
                    // A length that this state cannot take is refused before its bytes are waited for.
                    if let Some(length) = frame::announced(self.input.bytes())
                        && let Err(error) = self.check_length(length)
                    {
                        return Err(self.fail(error));
                    }
                    if !self.input_ended {
                        return Ok(None);
                    }
                    if !self.input.bytes().is_empty() || !matches!(self.state, State::Open) {
                        return Err(self.fail(Error::EndedEarly { missing }));
                    }
                    self.state = State::Ended;
                    return Ok(Some(Event::End));
                }
            }
        }
    }

    fn fail(&mut self, error: Error) -> Error {
        self.state = State::Failed(error.clone());
        self.input = Input::default();
        self.early.clear();
        error
    }

    fn check_length(&self, bytes: usize) -> Result<(), Error> {
        match self.state {
            State::Handshake(_) if bytes > noise::MESSAGE_MAX => Err(Error::Handshake),
            State::Header if bytes != START => Err(Error::StreamHeader { bytes }),
            State::Open if bytes < OVERHEAD => Err(Error::Message { bytes }),
            _ => Ok(()),
        }
    }

    /// The body of a message, if it was one.
    fn handle_frame(&mut self, mut frame: BytesMut) -> Result<Option<Bytes>, Error> {
        let bytes = frame.len();
        match &mut self.state {
            State::Handshake(handshake) => {
                handshake.receive(&frame)?;
                self.continue_handshake()?;
                Ok(None)
            }
            State::Header => {
                let keys = self.keys.as_ref().ok_or(Error::Handshake)?;
                let header = frame
                    .strip_prefix(&stream_id(&keys.hash, self.role.other()))
                    .and_then(|header| header.first_chunk())
                    .ok_or(Error::StreamHeader { bytes })?;
                self.rx = Some(SecretStreamCipher::new(&keys.rx, header));
                self.state = State::Open;
                Ok(None)
            }
            State::Open => {
                let rx = self.rx.as_mut().ok_or(Error::Handshake)?;
                if !rx.open(&mut frame) {
                    return Err(Error::Message { bytes });
                }
                let frame = frame.freeze();
                Ok(Some(frame.slice(1..bytes - (OVERHEAD - 1))))
            }
            State::Ended | State::Failed(_) => Ok(None),
        }
    }

    /// Says what is ours to say, and takes the keys when that was all.
    fn continue_handshake(&mut self) -> Result<(), Error> {
        let State::Handshake(handshake) = &mut self.state else {
            return Ok(());
        };
        if handshake.is_our_turn() {
            let message = handshake.send(b"")?;
            self.put(&[&frame::length_bytes(message.len()), &message]);
        }
        if matches!(&self.state, State::Handshake(handshake) if handshake.is_complete())
            && let State::Handshake(handshake) = std::mem::replace(&mut self.state, State::Header)
        {
            let keys = handshake.finish()?;
            let wanted = self.options.remote_public_key;
            if wanted.is_some_and(|wanted| wanted != keys.remote_public_key) {
                return Err(Error::OtherPeer);
            }
            self.set_keys(keys);
        }
        Ok(())
    }

    fn set_keys(&mut self, keys: Keys) {
        let id = stream_id(&keys.hash, self.role);
        let header = self.entropy.header;
        self.put(&[&frame::length_bytes(START), &id, &header]);
        self.tx = Some(SecretStreamCipher::new(&keys.tx, &header));
        self.datagrams = Some(Datagrams::new(self.role, &keys.hash, self.entropy.counter));
        self.keys = Some(keys);
        self.tell_open = true;
    }

    fn put(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.output.extend_from_slice(part);
            self.bytes_written += part.len() as u64;
        }
    }

    /// Sends one message, made of the parts one after the other. Before the handshake is done it is kept. Afterwards there is something to
    /// transmit.
    ///
    /// # Errors
    /// [`Error::TooLarge`] over [`MESSAGE_MAX`] bytes; [`Error::Closed`] after [`SecretStream::end`]; the error of a stream that failed.
    pub fn write(&mut self, now: Instant, parts: &[impl AsRef<[u8]>]) -> Result<(), Error> {
        if let State::Failed(error) = &self.state {
            return Err(error.clone());
        }
        if self.ended {
            return Err(Error::Closed);
        }
        self.enqueue(now, parts)
    }

    /// As [`SecretStream::write`], after the end too: what was written before the handshake was done is sealed after it, and the end may have come between.
    fn enqueue(&mut self, now: Instant, parts: &[impl AsRef<[u8]>]) -> Result<(), Error> {
        self.last_write = now;
        let bytes = parts.iter().map(|part| part.as_ref().len()).sum();
        if bytes > MESSAGE_MAX {
            return Err(Error::TooLarge {
                bytes,
                max: MESSAGE_MAX,
            });
        }
        // What was written before `poll` told of the keys goes first.
        let Some(tx) = self.tx.as_mut().filter(|_| self.early.is_empty()) else {
            let mut message = Vec::with_capacity(bytes);
            parts
                .iter()
                .for_each(|part| message.extend_from_slice(part.as_ref()));
            self.early.push(message);
            return Ok(());
        };
        let sealed = bytes + OVERHEAD;
        let start = self.output.len();
        self.output.reserve(LENGTH + sealed);
        self.output.extend_from_slice(&frame::length_bytes(sealed));
        self.output.extend_from_slice(&[0]);
        for part in parts {
            self.output.extend_from_slice(part.as_ref());
        }
        self.output.extend_from_slice(&[0; OVERHEAD - 1]);
        tx.seal(&mut self.output[start + LENGTH..]);
        self.bytes_written += (LENGTH + sealed) as u64;
        Ok(())
    }

    fn send_early(&mut self, now: Instant) -> Result<(), Error> {
        for message in std::mem::take(&mut self.early) {
            self.enqueue(now, &[&message])?;
        }
        Ok(())
    }

    /// Nothing more is written (npm `end`): once all is transmitted, the driver closes its writing side. The end is not sealed: a peer
    /// cannot tell it from a connection that was cut.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// True when nothing more will be written, and all that was is transmitted.
    pub fn is_write_done(&self) -> bool {
        self.ended && self.output.is_empty() && self.early.is_empty()
    }

    /// How much waits for [`SecretStream::poll_transmit`], in bytes.
    pub fn unsent_bytes(&self) -> usize {
        self.output.len()
    }

    /// Bytes for the peer, in order. To be called after every other call that takes `&mut self`, until it has nothing.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        (!self.output.is_empty()).then(|| self.output.split().freeze())
    }

    /// When [`SecretStream::handle_timeout`] wants to be called. To be asked again after any other call.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if matches!(self.state, State::Failed(_)) {
            return None;
        }
        let dead = self.options.timeout.map(|after| self.last_read + after);
        let quiet = self
            .options
            .keep_alive
            .filter(|_| !self.ended && self.tx.is_some())
            .map(|after| self.last_write + after);
        let keeping = (self.input.is_keeping()).then(|| self.last_read + QUIET);
        [dead, quiet, keeping].into_iter().flatten().min()
    }

    /// The time of [`SecretStream::poll_timeout`] has come; too early a call does nothing.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when nothing came for too long: the stream has failed then.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        let since = |then: Instant, limit: Duration| now.saturating_duration_since(then) >= limit;
        if self
            .options
            .timeout
            .is_some_and(|limit| since(self.last_read, limit))
        {
            return Err(self.fail(Error::TimedOut));
        }
        if self.input.is_keeping() && since(self.last_read, QUIET) {
            self.input.let_go();
        }
        if self.tx.is_some()
            && !self.ended
            && self
                .options
                .keep_alive
                .is_some_and(|limit| since(self.last_write, limit))
        {
            self.write(now, &[b""])?;
        }
        Ok(())
    }

    /// Seals an unordered message (npm `send`), to be carried beside the stream. `None` before the handshake is done.
    pub fn seal_datagram(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        self.datagrams.as_mut()?.seal(plain)
    }

    /// Opens an unordered message of the peer (npm event `message`). `None` before the handshake is done, and for what the peer did not seal. One
    /// that comes twice opens twice.
    pub fn open_datagram(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        self.datagrams.as_ref()?.open(datagram)
    }
}

impl fmt::Debug for SecretStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Handshake(_) => "handshake",
            State::Header => "header",
            State::Open => "open",
            State::Ended => "ended",
            State::Failed(_) => "failed",
        };
        f.debug_struct("SecretStream")
            .field("role", &self.role)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
