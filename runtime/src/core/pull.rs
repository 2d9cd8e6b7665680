//! Streams that JavaScript reads piece by piece, several pieces at a crossing.

use super::bridge::{Failure, Out, Outcome, call_back, held, take};
use futures_util::{FutureExt, Stream, StreamExt, stream::BoxStream};
use rquickjs::{Ctx, Function, Object, Result};
use std::sync::Arc;
use tokio::sync::{Mutex, watch};

/// Most pieces at a crossing.
const PIECES: usize = 64;

/// A stream that is being read.
#[derive(Clone)]
pub(super) struct Pull {
    state: Arc<Mutex<State>>,
    closed: Arc<watch::Sender<bool>>,
}

struct State {
    stream: BoxStream<'static, Outcome>,
    /// Told after what came before it.
    failure: Option<Failure>,
    over: bool,
}

impl Pull {
    pub(super) fn new(stream: impl Stream<Item = Outcome> + Send + 'static) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                stream: stream.boxed(),
                failure: None,
                over: false,
            })),
            closed: Arc::new(watch::Sender::new(false)),
        }
    }

    /// What a read comes to; nothing once it was closed.
    async fn next(self) -> Outcome {
        let mut closed = self.closed.subscribe();
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => Ok(Out::Null),
            pieces = self.pieces() => pieces,
        }
    }

    /// Waits for one piece, and takes what else is there; null at the end.
    async fn pieces(&self) -> Outcome {
        let mut state = self.state.lock().await;
        if let Some(failure) = state.failure.take() {
            return Err(failure);
        }
        if state.over {
            return Ok(Out::Null);
        }
        let mut pieces = Vec::new();
        match state.stream.next().await {
            Some(piece) => pieces.push(piece?),
            None => {
                state.over = true;
                return Ok(Out::Null);
            }
        }
        while pieces.len() < PIECES
            && let Some(next) = state.stream.next().now_or_never()
        {
            match next {
                Some(Ok(piece)) => pieces.push(piece),
                Some(Err(failure)) => {
                    state.failure = Some(failure);
                    break;
                }
                None => {
                    state.over = true;
                    break;
                }
            }
        }
        Ok(Out::List(pieces))
    }
}

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    super::functions!(ctx, native, { "pull" => pull, "pullClose" => close });
    Ok(())
}

/// The next pieces, or null.
fn pull<'js>(ctx: Ctx<'js>, id: u32, stay: bool, callback: Function<'js>) -> Result<()> {
    let pull: Pull = held(&ctx, id)?;
    call_back(&ctx, stay, callback, pull.next())
}

/// Ends a stream, also while it is being read.
fn close(id: u32) {
    if let Some(pull) = take::<Pull>(id) {
        pull.closed.send_replace(true);
    }
}
