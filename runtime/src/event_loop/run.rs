//! The rounds of a loop, and how it ends.
//!
//! ```text
//! active ──suspend──▶ suspending ──nothing left to do──▶ suspended ──wakeup──▶ awake ──deadline──▶ suspended
//!    ▲                                                                                                 │
//!    └──────────────────────────────────── resume, from any of them ───────────────────────────────────┘
//! ```

use super::{Control, Event, Loop, Message};
use crate::engine::host::Host;
use rquickjs::{Context, Ctx, Error, Result, Value};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Active,
    Suspending,
    Suspended,
    Awake(Instant),
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
        phase: Cell::new(Phase::Active),
        backlog: RefCell::default(),
    };
    let within = runtime.enter();
    round.call(enter);
    drop(within);
    let ended = runtime.block_on(event_loop.0.local.run_until(round.all()));
    Ok(ended)
}

struct Round<'a> {
    context: &'a Context,
    event_loop: &'a Loop,
    host: &'a Rc<Host>,
    phase: Cell<Phase>,
    /// Events that came while the program stood still.
    backlog: RefCell<VecDeque<Event>>,
}

type Messages = mpsc::UnboundedReceiver<Message>;

impl Round<'_> {
    async fn all(&self) -> Ended {
        let taken = self.event_loop.0.events.borrow_mut().take();
        let Some(mut queue) = taken else {
            return Ended::Exit;
        };
        self.settle();
        while !self.host.has_ended() {
            if self.phase.get() == Phase::Suspended {
                match queue.recv().await {
                    Some(Message::Control(control)) => self.control(control),
                    Some(Message::Event(event)) => self.backlog.borrow_mut().push_back(event),
                    None => break,
                }
                continue;
            }
            let mut has_run = self.timers();
            has_run |= self.immediates();
            has_run |= self.events(&mut queue);
            if self.event_loop.0.local_count.get() > 0 {
                tokio::task::yield_now().await;
            }
            if has_run || self.host.has_ended() {
                self.look_at_deadline();
                continue;
            }
            if self.is_done(&queue) {
                if self.phase.get() != Phase::Active {
                    self.idle();
                    continue;
                }
                self.event_loop.look_again();
                if !self.is_done(&queue) {
                    continue;
                }
                self.call(|ctx| self.host.before_exit(ctx));
                self.settle();
                self.event_loop.look_again();
                if self.is_done(&queue) {
                    break;
                }
                continue;
            }
            if let Some(message) = self.wait(&mut queue).await {
                self.take(message);
            }
            self.look_at_deadline();
        }
        if !self.host.is_aborted() {
            self.host.enter_exit();
            self.call(|ctx| self.host.exit(ctx));
            self.settle();
        }
        match self.host.is_aborted() {
            true => Ended::Abort,
            false => Ended::Exit,
        }
    }

    fn is_done(&self, queue: &Messages) -> bool {
        !self.event_loop.is_alive() && queue.is_empty() && self.backlog.borrow().is_empty()
    }

    async fn wait(&self, queue: &mut Messages) -> Option<Message> {
        let mut deadline = self.event_loop.0.timers.borrow().next_deadline();
        if let Phase::Awake(until) = self.phase.get() {
            deadline = Some(deadline.map_or(until, |deadline| deadline.min(until)));
        }
        match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), queue.recv())
                .await
                .ok()
                .flatten(),
            None => queue.recv().await,
        }
    }

    fn look_at_deadline(&self) {
        if let Phase::Awake(until) = self.phase.get()
            && Instant::now() >= until
        {
            self.idle();
        }
    }

    fn take(&self, message: Message) {
        match message {
            Message::Event(event) => {
                self.call(event);
                self.settle();
            }
            Message::Control(control) => self.control(control),
        }
    }

    fn control(&self, control: Control) {
        let phase = self.phase.get();
        let (next, name, time) = match (control, phase) {
            (Control::Suspend { linger }, Phase::Active) => {
                (Phase::Suspending, "suspend", Some(linger))
            }
            (Control::Wakeup { deadline }, Phase::Suspended) => {
                let length =
                    Duration::try_from_secs_f64(deadline.max(0.0) / 1000.0).unwrap_or_default();
                (
                    Phase::Awake(Instant::now() + length),
                    "wakeup",
                    Some(deadline),
                )
            }
            (Control::Idle, Phase::Suspending | Phase::Awake(_)) => return self.idle(),
            (Control::Resume, Phase::Suspending | Phase::Suspended | Phase::Awake(_)) => {
                (Phase::Active, "resume", None)
            }
            _ => return,
        };
        self.phase.set(next);
        self.host.steer_threads(control);
        self.call(|ctx| self.host.tell(ctx, name, time));
        self.settle();
    }

    fn idle(&self) {
        self.phase.set(Phase::Suspended);
        self.call(|ctx| self.host.tell(ctx, "idle", None));
        self.settle();
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

    fn events(&self, queue: &mut Messages) -> bool {
        for count in 0..EVENTS_PER_ROUND {
            if self.host.has_ended() || self.phase.get() == Phase::Suspended {
                return true;
            }
            let late = self.backlog.borrow_mut().pop_front();
            match late
                .map(Message::Event)
                .map_or_else(|| queue.try_recv(), Ok)
            {
                Ok(message) => self.take(message),
                Err(_) => return count > 0,
            }
        }
        true
    }

    /// One call into JavaScript; what it throws has no other catcher.
    fn call(&self, event: impl FnOnce(&Ctx<'_>) -> Result<()>) {
        self.event_loop.next_turn();
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
        self.run_jobs();
        let guards = std::mem::take(&mut *self.event_loop.0.guards.borrow_mut());
        drop(guards);
    }

    fn run_jobs(&self) {
        while !self.host.has_ended() {
            self.event_loop.next_turn();
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
