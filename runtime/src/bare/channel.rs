//! bare-channel and bare-broadcast-channel: messages between the threads of a program.
//!
//! A channel is known by its number, which a program hands from thread to thread; another program of the process has channels of its own. Each port of a channel has a queue of what others wrote; whoever changes a
//! queue tells the port that waits for it, in its thread's loop and, where the thread stands still, by a condition.
//!
//! ```text
//! open ──end──▶ ended: writes no more, still reads ──close──▶ closed: its queue is gone
//! ```
//!
//! A port whose thread has gone is closed. The channel is forgotten when all of its ports are (a channel of two: when both have been there).

use crate::{
    engine::{clone::Clone, error::throw, host::Host, uncatchable},
    event_loop::{Held, Loop, Root, Sender},
};
use parking_lot::{Condvar, Mutex};
use rquickjs::{
    Class, Ctx, Function, JsLifetime, Object, Result, Value, class::Trace, prelude::Func,
};
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How many messages wait for a port at most.
const CAPACITY: usize = 1024;

/// How many ports a channel of many has in its life at most.
const PORTS_MAX: usize = 65536;

/// How long a thread that stands still goes without looking whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// The channels of a program, which its threads share.
#[derive(Default)]
pub(crate) struct Channels {
    open: Mutex<HashMap<u64, Arc<Channel>>>,
    made: AtomicU64,
}

/// Between two ports, or many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pair,
    Many,
}

struct Channel {
    all: Weak<Channels>,
    number: u64,
    kind: Kind,
    sides: Mutex<Vec<Side>>,
    changed: Condvar,
}

/// A port as the others see it.
#[derive(Default)]
struct Side {
    queue: VecDeque<Arc<Clone>>,
    is_connected: bool,
    has_ended: bool,
    is_closed: bool,
    news: Option<News>,
}

/// Who hears of changes; one event at a time is on its way.
struct News {
    sender: Sender,
    callback: Root,
    is_told: bool,
}

impl Side {
    fn is_there(&self) -> bool {
        self.is_connected && !self.is_closed
    }

    /// Has the thread of the port look at it.
    fn tell(&mut self, channel: &Arc<Channel>, index: usize) {
        let Some(news) = self.news.as_mut().filter(|news| !news.is_told) else {
            return;
        };
        news.is_told = true;
        let (channel, callback) = (channel.clone(), news.callback);
        // A loop that has ended hears of nothing.
        let _ = news.sender.send(move |ctx| {
            if let Some(news) = channel.sides.lock()[index].news.as_mut() {
                news.is_told = false;
            }
            let callback = Loop::get(ctx).rooted(ctx, callback);
            match callback.and_then(Value::into_function) {
                Some(callback) => callback.call(()),
                None => Ok(()),
            }
        });
    }
}

/// What became of a message.
enum Written {
    Yes,
    /// Somebody who would get it has no room.
    Full,
    /// Nobody will ever get it.
    Gone,
}

impl Channel {
    fn connect(
        all: &Arc<Channels>,
        number: u64,
        kind: Kind,
        news: News,
    ) -> Option<(Arc<Self>, usize)> {
        let mut open = all.open.lock();
        let channel = open.entry(number).or_insert_with(|| {
            let count = if kind == Kind::Pair { 2 } else { 0 };
            Arc::new(Self {
                all: Arc::downgrade(all),
                number,
                kind,
                sides: Mutex::new((0..count).map(|_| Side::default()).collect()),
                changed: Condvar::new(),
            })
        });
        let mut sides = channel.sides.lock();
        let free = sides.iter().position(|side| !side.is_connected);
        let index = match (kind, free) {
            (Kind::Many, _) if sides.len() < PORTS_MAX => {
                sides.push(Side::default());
                sides.len() - 1
            }
            (Kind::Pair, Some(index)) => index,
            _ => return None,
        };
        sides[index].is_connected = true;
        sides[index].news = Some(news);
        if kind == Kind::Many {
            channel.tell_others(&mut sides, index);
        }
        let has_news = !sides[index].queue.is_empty() || channel.is_over(&sides, index);
        if kind == Kind::Many || has_news {
            sides[index].tell(channel, index);
        }
        drop(sides);
        Some((channel.clone(), index))
    }

    fn others(&self, sides: &[Side], index: usize) -> Vec<usize> {
        match self.kind {
            // The second port need not have come yet: what is written waits for it.
            Kind::Pair => vec![1 - index],
            Kind::Many => (0..sides.len())
                .filter(|other| *other != index && sides[*other].is_there())
                .collect(),
        }
    }

    fn tell_others(self: &Arc<Self>, sides: &mut [Side], index: usize) {
        for other in self.others(sides, index) {
            sides[other].tell(self, other);
        }
        self.changed.notify_all();
    }

    /// True when nothing more will come for a port.
    fn is_over(&self, sides: &[Side], index: usize) -> bool {
        match self.kind {
            Kind::Pair => sides[1 - index].has_ended,
            Kind::Many => sides[index].has_ended,
        }
    }

    fn write(self: &Arc<Self>, index: usize, message: Clone) -> Written {
        let mut sides = self.sides.lock();
        let others = self.others(&sides, index);
        if sides[index].has_ended
            || (self.kind == Kind::Pair && others.iter().any(|other| sides[*other].has_ended))
        {
            return Written::Gone;
        }
        if others
            .iter()
            .any(|other| sides[*other].queue.len() >= CAPACITY)
        {
            return Written::Full;
        }
        let message = Arc::new(message);
        for other in others {
            sides[other].queue.push_back(message.clone());
            sides[other].tell(self, other);
        }
        self.changed.notify_all();
        Written::Yes
    }

    fn has_room(&self, index: usize) -> bool {
        let sides = self.sides.lock();
        self.others(&sides, index).iter().all(|other| {
            let side = &sides[*other];
            side.has_ended || side.queue.len() < CAPACITY
        })
    }

    fn read(self: &Arc<Self>, index: usize) -> Option<Arc<Clone>> {
        let mut sides = self.sides.lock();
        let was_full = sides[index].queue.len() >= CAPACITY;
        let message = sides[index].queue.pop_front()?;
        if was_full {
            self.tell_others(&mut sides, index);
        }
        Some(message)
    }

    fn end(self: &Arc<Self>, index: usize) {
        let mut sides = self.sides.lock();
        if !std::mem::replace(&mut sides[index].has_ended, true) {
            self.tell_others(&mut sides, index);
        }
    }

    fn close(self: &Arc<Self>, index: usize) {
        self.end(index);
        let all = self.all.upgrade();
        let open = all.as_ref().map(|all| all.open.lock());
        let mut sides = self.sides.lock();
        if std::mem::replace(&mut sides[index].is_closed, true) {
            return;
        }
        sides[index].queue.clear();
        sides[index].news = None;
        if let Some(mut open) = open
            && sides.iter().all(|side| side.is_closed)
        {
            open.remove(&self.number);
        }
        self.tell_others(&mut sides, index);
    }

    /// Stands still until `is_ready`; false when the thread is to end.
    fn wait(&self, ctx: &Ctx<'_>, is_ready: impl Fn(&[Side]) -> bool) -> bool {
        let host = Host::get(ctx);
        let mut sides = self.sides.lock();
        while !is_ready(&sides) {
            if host.interrupt.load(Ordering::Relaxed) {
                return false;
            }
            self.changed.wait_for(&mut sides, LOOK);
        }
        true
    }
}

/// A port, in its own thread.
#[derive(Trace, JsLifetime)]
#[rquickjs::class]
pub(crate) struct Port {
    #[qjs(skip_trace)]
    channel: Arc<Channel>,
    #[qjs(skip_trace)]
    index: usize,
    #[qjs(skip_trace)]
    callback: Root,
    /// Keeps the thread alive while the port is open.
    #[qjs(skip_trace)]
    handle: Held,
}

#[rquickjs::methods]
impl Port {
    /// A port of the channel `number`; `callback()` is called when something about it may have changed.
    #[qjs(constructor)]
    fn new<'js>(ctx: Ctx<'js>, number: f64, many: bool, callback: Function<'js>) -> Result<Self> {
        let event_loop = Loop::get(&ctx);
        let callback = event_loop.root(&ctx, callback.into_value());
        let news = News {
            sender: event_loop.sender(),
            callback,
            is_told: false,
        };
        let kind = if many { Kind::Many } else { Kind::Pair };
        let all = &Host::get(&ctx).channels;
        match Channel::connect(all, number as u64, kind, news) {
            Some((channel, index)) => Ok(Self {
                channel,
                index,
                callback,
                handle: event_loop.hold(event_loop.handle(true)),
            }),
            None => {
                event_loop.unroot(callback);
                Err(throw(
                    &ctx,
                    "CHANNEL_IS_FULL",
                    "CHANNEL_IS_FULL: all ports of the channel are connected",
                ))
            }
        }
    }

    /// The next message in an array; undefined when none is there.
    fn read<'js>(&self, ctx: Ctx<'js>) -> Result<Option<Vec<Value<'js>>>> {
        match self.channel.read(self.index) {
            Some(message) => Ok(Some(vec![message.value(&ctx)?])),
            None => Ok(None),
        }
    }

    /// 1 when it was written, 0 when there is no room, -1 when nobody will read it.
    fn write(&self, value: Value<'_>) -> Result<i32> {
        let message = Clone::of(&value)?;
        Ok(match self.channel.write(self.index, message) {
            Written::Yes => 1,
            Written::Full => 0,
            Written::Gone => -1,
        })
    }

    /// Stands still until there is something to read, or never will be; on a channel of many also until there are not `peers` others any more.
    #[qjs(rename = "waitToRead")]
    fn wait_to_read(&self, ctx: Ctx<'_>, peers: usize) -> Result<()> {
        let (channel, index) = (&self.channel, self.index);
        let is_ready = |sides: &[Side]| {
            !sides[index].queue.is_empty()
                || channel.is_over(sides, index)
                || (channel.kind == Kind::Many && channel.others(sides, index).len() != peers)
        };
        match channel.wait(&ctx, is_ready) {
            true => Ok(()),
            false => Err(uncatchable::unwind(&ctx)),
        }
    }

    #[qjs(rename = "waitToWrite")]
    fn wait_to_write(&self, ctx: Ctx<'_>) -> Result<()> {
        let (channel, index) = (&self.channel, self.index);
        let is_ready = |sides: &[Side]| {
            let mut others = channel.others(sides, index).into_iter();
            others.all(|other| sides[other].has_ended || sides[other].queue.len() < CAPACITY)
        };
        match channel.wait(&ctx, is_ready) {
            true => Ok(()),
            false => Err(uncatchable::unwind(&ctx)),
        }
    }

    #[qjs(rename = "hasRoom")]
    fn has_room(&self) -> bool {
        self.channel.has_room(self.index)
    }

    #[qjs(rename = "isOver")]
    fn is_over(&self) -> bool {
        let sides = self.channel.sides.lock();
        self.channel.is_over(&sides, self.index)
    }

    fn peers(&self) -> usize {
        let sides = self.channel.sides.lock();
        match self.channel.kind {
            Kind::Pair => usize::from(sides[1 - self.index].is_there()),
            Kind::Many => self.channel.others(&sides, self.index).len(),
        }
    }

    fn end(&self) {
        self.channel.end(self.index);
    }

    fn close(&self, ctx: Ctx<'_>) {
        self.channel.close(self.index);
        let event_loop = Loop::get(&ctx);
        event_loop.unroot(self.callback);
        event_loop.release(self.handle);
    }

    #[qjs(rename = "setRef")]
    fn set_ref(&self, ctx: Ctx<'_>, is_ref: bool) {
        Loop::get(&ctx).ref_held(self.handle, is_ref);
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // The thread has gone, or nobody can read it any more.
        self.channel.close(self.index);
    }
}

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    Class::<Port>::define(&native)?;
    native.set(
        "number",
        Func::from(|ctx: Ctx<'js>| {
            let made = &Host::get(&ctx).channels.made;
            (made.fetch_add(1, Ordering::Relaxed) + 1) as f64
        }),
    )?;
    native.set("maxPorts", PORTS_MAX)?;
    Ok(native)
}
