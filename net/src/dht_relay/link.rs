//! The channel between a client and its relay, and the streams that are carried in it.

use super::messages::{Message, PROTOCOL};
use crate::{
    Error,
    driver::{Channel, Connection, Messages},
    protomux::{ChannelOptions, Topic},
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};

/// Between two signs of life of a relay.
const BEAT: Duration = Duration::from_secs(15);
/// After so long without a word the other side is gone.
const GONE: Duration = Duration::from_secs(45);
/// Bytes that were received for streams and not handed on yet; more are not read from the other side.
const UNREAD: usize = 4 << 20;
/// Pieces that wait for one stream.
const PIECES: usize = 16;
/// Read from a stream at a time.
const CHUNK: usize = 64 << 10;

/// What comes for a stream.
pub(super) enum Piece {
    Data(Bytes, OwnedSemaphorePermit),
    End,
    Destroy,
}

/// Where what comes for a stream goes.
pub(super) type Inlet = mpsc::Sender<Piece>;
/// Where a stream takes it from.
pub(super) type Outlet = mpsc::Receiver<Piece>;

pub(super) fn inlet() -> (Inlet, Outlet) {
    mpsc::channel(PIECES)
}

pub(super) struct Link {
    channel: Channel,
    connection: Connection,
    unread: Arc<Semaphore>,
    next: Mutex<u32>,
    /// By the number that the other side calls a stream.
    streams: Mutex<HashMap<u32, Inlet>>,
}

impl Link {
    /// # Errors
    /// As [`Connection::open`].
    pub(super) fn new(connection: &Connection) -> Result<Self, Error> {
        let topic = Topic::new(PROTOCOL, b"");
        let channel = connection
            .open(&topic, ChannelOptions::default())?
            .ok_or(Error::Closed)?;
        Ok(Self {
            channel,
            connection: connection.clone(),
            unread: Arc::new(Semaphore::new(UNREAD)),
            next: Mutex::new(0),
            streams: Mutex::default(),
        })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// A number for something new.
    pub(super) fn number(&self) -> u32 {
        let mut next = self.next.lock();
        // Never 0, which npm takes for none in places.
        *next = next.checked_add(1).unwrap_or(1);
        *next
    }

    pub(super) async fn send(&self, message: Message) -> Result<(), Error> {
        let (kind, body) = message.encode();
        self.channel.send(kind, body).await
    }

    /// Sends it whether or not there is room: for small answers.
    pub(super) fn send_now(&self, message: Message) -> Result<(), Error> {
        let (kind, body) = message.encode();
        self.channel.send_now(kind, body).map(|_| ())
    }

    /// The next message but signs of life, which a relay sends by itself; `None` at the end.
    pub(super) async fn recv(&self, is_relay: bool) -> Result<Option<Message>, Error> {
        let mut silent = Duration::ZERO;
        loop {
            let (kind, body) = match tokio::time::timeout(BEAT, self.channel.recv()).await {
                Ok(message) => match message? {
                    Some(message) => message,
                    None => return Ok(None),
                },
                Err(_) => {
                    silent += BEAT;
                    if silent >= GONE {
                        return Err(Error::TimedOut);
                    }
                    if is_relay {
                        self.send_now(Message::Ping)?;
                    }
                    continue;
                }
            };
            match Message::decode(kind, &body)? {
                Some(Message::Ping) => self.send_now(Message::Pong)?,
                Some(Message::Pong) | None => {}
                Some(message) => return Ok(Some(message)),
            }
            silent = Duration::ZERO;
        }
    }

    /// What the other side calls `alias` goes there. False when it calls another stream so.
    pub(super) fn add(&self, alias: u32, inlet: Inlet) -> bool {
        let mut streams = self.streams.lock();
        let free = !streams.contains_key(&alias);
        if free {
            streams.insert(alias, inlet);
        }
        free
    }

    /// Nothing comes any more: all streams end.
    pub(super) fn over(&self) {
        // Each hears that nobody can send to it.
        let streams = std::mem::take(&mut *self.streams.lock());
        drop(streams);
    }

    pub(super) fn remove(&self, alias: u32) {
        self.streams.lock().remove(&alias);
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.lock().len()
    }

    /// Hands on what came for a stream; waits while too much of that waits. Messages that are about something else come back.
    pub(super) async fn carry(&self, message: Message) -> Option<Message> {
        let inlet = |alias: &u32| self.streams.lock().get(alias).cloned();
        match message {
            Message::Data { alias, chunks } => {
                let inlet = inlet(&alias)?;
                for chunk in chunks {
                    let bytes = u32::try_from(chunk.len().min(UNREAD)).unwrap_or(u32::MAX);
                    let room = self.unread.clone().acquire_many_owned(bytes).await.ok()?;
                    // A stream that is over takes nothing more.
                    let _ = inlet.send(Piece::Data(chunk, room)).await;
                }
            }
            Message::End(alias) => {
                let _ = inlet(&alias)?.send(Piece::End).await;
            }
            Message::Destroy {
                paired: true,
                alias,
                ..
            } => {
                let inlet = self.streams.lock().remove(&alias)?;
                let _ = inlet.send(Piece::Destroy).await;
            }
            other => return Some(other),
        }
        None
    }

    /// Carries a connection's messages, until both sides have ended or one is gone: `ours` is what we call the stream, `theirs` the other side.
    pub(super) async fn carry_messages(
        &self,
        messages: &Messages,
        mut outlet: Outlet,
        ours: u32,
        theirs: u32,
    ) {
        let up = async {
            while let Some(chunk) = messages.recv().await? {
                let chunks = vec![chunk];
                self.send(Message::Data {
                    alias: ours,
                    chunks,
                })
                .await?;
            }
            self.send(Message::End(ours)).await
        };
        let down = async {
            loop {
                match outlet.recv().await {
                    Some(Piece::Data(chunk, room)) => {
                        messages.send(chunk).await?;
                        drop(room);
                    }
                    Some(Piece::End) => {
                        messages.end();
                        return Ok(());
                    }
                    Some(Piece::Destroy) | None => return Err(Error::Closed),
                }
            }
        };
        let ended = tokio::try_join!(up, down);
        if let Err(error) = &ended {
            messages.connection().abort();
            self.destroy(ours, error);
        }
        self.remove(theirs);
    }

    /// Carries bytes, until both sides have ended or one is gone.
    pub(super) async fn carry_bytes(
        &self,
        bytes: DuplexStream,
        mut outlet: Outlet,
        ours: u32,
        theirs: u32,
    ) {
        let (mut read, mut write) = tokio::io::split(bytes);
        let up = async {
            loop {
                let mut chunk = bytes::BytesMut::with_capacity(CHUNK);
                if read.read_buf(&mut chunk).await? == 0 {
                    return self.send(Message::End(ours)).await;
                }
                let chunks = vec![chunk.freeze()];
                self.send(Message::Data {
                    alias: ours,
                    chunks,
                })
                .await?;
            }
        };
        let down = async {
            loop {
                match outlet.recv().await {
                    Some(Piece::Data(chunk, room)) => {
                        write.write_all(&chunk).await?;
                        drop(room);
                    }
                    Some(Piece::End) => {
                        write.shutdown().await?;
                        return Ok(());
                    }
                    Some(Piece::Destroy) | None => return Err(Error::Closed),
                }
            }
        };
        let ended: Result<_, Error> = tokio::try_join!(up, down);
        if let Err(error) = &ended {
            self.destroy(ours, error);
        }
        self.remove(theirs);
    }

    /// Tells the other side that a stream is over, by our number for it.
    fn destroy(&self, ours: u32, error: &Error) {
        let error = match error {
            Error::Closed => None,
            error => Some(error.to_string()),
        };
        // A link that is over tells nobody anything.
        let _ = self.send_now(Message::Destroy {
            paired: true,
            alias: ours,
            error,
        });
    }
}
