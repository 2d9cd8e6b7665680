//! The rounds of a loop, and how it ends.

use super::{Event, Loop};
use crate::engine::host::Host;
use rquickjs::{Context, Ctx, Error, Result, Value};
use std::{rc::Rc, time::Instant};
use tokio::sync::mpsc;

/// How many events of native objects are run before timers are looked at again.
const EVENTS_PER_ROUND: usize = 64;

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With nothing left to do, or by `Bare.exit()`.
    Exit,
    /// By an error that nobody caught; it has been printed.
    Abort,
}

/// Runs `enter`, then the loop until it ends.
pub(crate) fn run(
    context: &Context,
    event_loop: &Loop,
    host: &Rc<Host>,
    enter: impl FnOnce(&Ctx<'_>) -> Result<()>,
) -> std::io::Result<Ended> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let round = Round {
        context,
        event_loop,
        host,
    };
    round.call(enter);
    let ended = runtime.block_on(event_loop.0.local.run_until(round.all()));
    Ok(ended)
}

struct Round<'a> {
    context: &'a Context,
    event_loop: &'a Loop,
    host: &'a Rc<Host>,
}

impl Round<'_> {
    async fn all(&self) -> Ended {
        let taken = self.event_loop.0.events.borrow_mut().take();
        let Some(mut events) = taken else {
            return Ended::Exit;
        };
        self.settle();
        while !self.host.has_ended() {
            let mut has_run = self.timers();
            has_run |= self.immediates();
            has_run |= self.events(&mut events);
            if self.event_loop.0.local_count.get() > 0 {
                tokio::task::yield_now().await;
            }
            if has_run || self.host.has_ended() {
                continue;
            }
            if !self.event_loop.is_alive() && events.is_empty() {
                self.call(|ctx| self.host.before_exit(ctx));
                self.settle();
                if !self.event_loop.is_alive() && events.is_empty() {
                    break;
                }
                continue;
            }
            if let Some(event) = self.wait(&mut events).await {
                self.call(event);
                self.settle();
            }
        }
        if !self.host.is_aborted() {
            self.host.enter_exit();
            self.call(|ctx| self.host.exit(ctx));
        }
        match self.host.is_aborted() {
            true => Ended::Abort,
            false => Ended::Exit,
        }
    }

    async fn wait(&self, events: &mut mpsc::UnboundedReceiver<Event>) -> Option<Event> {
        let deadline = self.event_loop.0.timers.borrow().next_deadline();
        match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), events.recv())
                .await
                .ok()
                .flatten(),
            None => events.recv().await,
        }
    }

    fn timers(&self) -> bool {
        let timers = &self.event_loop.0.timers;
        let (now, until) = (Instant::now(), timers.borrow().newest());
        let mut has_run = false;
        loop {
            let due = timers.borrow_mut().take_due(now, until);
            let Some(callback) = due else {
                return has_run;
            };
            has_run = true;
            self.call(|ctx| callback.restore(ctx)?.call::<_, ()>(()));
            self.settle();
            if self.host.has_ended() {
                return true;
            }
        }
    }

    fn immediates(&self) -> bool {
        let immediates = &self.event_loop.0.immediates;
        let mut count = immediates.borrow().len();
        let has_run = count > 0;
        while count > 0 && !self.host.has_ended() {
            count -= 1;
            // One may have been stopped by another.
            let next = immediates.borrow_mut().pop_front();
            let Some(next) = next else {
                break;
            };
            self.call(|ctx| next.callback.restore(ctx)?.call::<_, ()>(()));
            self.settle();
        }
        has_run
    }

    fn events(&self, events: &mut mpsc::UnboundedReceiver<Event>) -> bool {
        for count in 0..EVENTS_PER_ROUND {
            if self.host.has_ended() {
                return true;
            }
            match events.try_recv() {
                Ok(event) => self.call(event),
                Err(_) => return count > 0,
            }
            self.settle();
        }
        true
    }

    /// One call into JavaScript; what it throws has no other catcher.
    fn call(&self, event: impl FnOnce(&Ctx<'_>) -> Result<()>) {
        self.context.with(|ctx| {
            if let Err(error) = event(&ctx) {
                self.fail(&ctx, error);
            }
        });
    }

    fn fail(&self, ctx: &Ctx<'_>, error: Error) {
        let thrown = match error {
            Error::Exception => ctx.catch(),
            error => match crate::engine::error::throw(ctx, "", error.to_string()) {
                Error::Exception => ctx.catch(),
                _ => Value::new_undefined(ctx.clone()),
            },
        };
        self.host.uncaught(ctx, thrown);
    }

    /// Runs all jobs, then reports what was rejected and not handled, until there is nothing more of either.
    fn settle(&self) {
        while !self.host.has_ended() {
            match self.context.runtime().execute_pending_job() {
                Ok(true) => {}
                Ok(false) => {
                    let rejected = self.host.take_rejections();
                    if rejected.is_empty() {
                        return;
                    }
                    for rejection in rejected {
                        if self.host.has_ended() {
                            return;
                        }
                        self.call(|ctx| self.host.rejected(ctx, rejection));
                    }
                }
                Err(failed) => failed.0.with(|ctx| self.fail(&ctx, Error::Exception)),
            }
        }
    }
}
