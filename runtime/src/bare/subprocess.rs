//! bare-subprocess: other programs, with their streams.

use std::{
    io::{Read, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, Command, ExitStatus, Stdio},
    rc::Rc,
};

use parking_lot::Mutex;
use rquickjs::{
    Array, Class, Ctx, Function, JsLifetime, Object, Value, class::Trace, prelude::Func,
};

use super::{
    failure::Failure,
    fs::descriptors::{self, Descriptors},
    io::Stream,
    os,
    reply::Reply,
    task::{self, Liveness},
};
use crate::{engine::bytes, permissions};

/// What a program is started with, as the face gives it.
struct Wanted {
    command: Command,
    /// Which of the three are pipes.
    pipes: [bool; 3],
    /// Whether it talks with us: how, in the words of `BARE_CHANNEL_SERIALIZATION_MODE`.
    channel: Option<String>,
}

/// Programs are started one at a time: what one of them is to have, no other one gets.
static STARTING: Mutex<()> = Mutex::new(());

impl Wanted {
    fn read(ctx: &Ctx<'_>, options: &Object<'_>) -> rquickjs::Result<Self> {
        let file: String = options.get("file")?;
        let args: Vec<String> = options.get("args")?;
        let cwd: String = options.get("cwd")?;
        let env: Vec<Vec<String>> = options.get("env")?;
        let is_detached: bool = options.get("detached")?;
        let (uid, gid): (i64, i64) = (options.get("uid")?, options.get("gid")?);
        let stdio: Array<'_> = options.get("stdio")?;

        let mut command = Command::new(file);
        command.args(args).current_dir(cwd).env_clear();
        for pair in env {
            if let [name, value] = pair.as_slice() {
                command.env(name, value);
            }
        }
        if let Ok(uid) = u32::try_from(uid) {
            command.uid(uid);
        }
        if let Ok(gid) = u32::try_from(gid) {
            command.gid(gid);
        }
        if is_detached {
            command.process_group(0);
        }
        let mut pipes = [false; 3];
        for (index, is_pipe) in pipes.iter_mut().enumerate() {
            let wanted: Value<'_> = stdio.get(index)?;
            let (stdio, piped) = Self::stdio(&descriptors::of(ctx), &wanted)
                .map_err(|failure| failure.throw(ctx))?;
            *is_pipe = piped;
            match index {
                0 => command.stdin(stdio),
                1 => command.stdout(stdio),
                _ => command.stderr(stdio),
            };
        }
        Ok(Self {
            command,
            pipes,
            channel: options.get("channel")?,
        })
    }

    /// Starts it; our end of the channel, if it has one.
    fn spawn(mut self) -> Result<(Child, Option<OwnedFd>), Failure> {
        let _starting = STARTING.lock();
        let Some(mode) = self.channel else {
            // Those of this process mean nothing in another.
            self.command
                .env_remove("BARE_CHANNEL_FD")
                .env_remove("BARE_CHANNEL_SERIALIZATION_MODE");
            return Ok((self.command.spawn()?, None));
        };
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty())?;
        self.command
            .env("BARE_CHANNEL_FD", theirs.as_raw_fd().to_string())
            .env("BARE_CHANNEL_SERIALIZATION_MODE", mode);
        Ok((self.command.spawn()?, Some(ours.into())))
    }

    fn permit(&self, ctx: &Ctx<'_>) -> rquickjs::Result<()> {
        let program = self.command.get_program().to_string_lossy();
        permissions::process(ctx, &program).map_err(|refused| refused.throw(ctx))
    }

    /// A slot is a descriptor by number, `'pipe'` or `'ignore'`.
    fn stdio(open: &Descriptors, wanted: &Value<'_>) -> Result<(Stdio, bool), Failure> {
        if let Some(fd) = wanted.as_number() {
            let fd = open.get(fd as i64)?;
            return Ok((Stdio::from(fd.as_fd().try_clone_to_owned()?), false));
        }
        let word = wanted.as_string().and_then(|word| word.to_string().ok());
        match word.as_deref() {
            Some("pipe") => Ok((Stdio::piped(), true)),
            Some("ignore") => Ok((Stdio::null(), false)),
            _ => Err(Failure::named("EINVAL")),
        }
    }
}

/// A program that was started.
#[derive(Trace, JsLifetime)]
#[rquickjs::class]
pub(crate) struct Process {
    #[qjs(skip_trace)]
    child: Mutex<Option<Child>>,
    #[qjs(skip_trace)]
    pipes: Mutex<[Option<OwnedFd>; 4]>,
    #[qjs(skip_trace)]
    live: Rc<Liveness>,
    #[qjs(get)]
    pid: u32,
}

#[rquickjs::methods]
impl Process {
    #[qjs(constructor)]
    fn new<'js>(ctx: Ctx<'js>, options: Object<'js>) -> rquickjs::Result<Self> {
        let wanted = Wanted::read(&ctx, &options)?;
        wanted.permit(&ctx)?;
        let (mut child, channel) = wanted.spawn().map_err(|failure| failure.throw(&ctx))?;
        let pipes = [
            child.stdin.take().map(OwnedFd::from),
            child.stdout.take().map(OwnedFd::from),
            child.stderr.take().map(OwnedFd::from),
            channel,
        ];
        Ok(Self {
            pid: child.id(),
            child: Mutex::new(Some(child)),
            pipes: Mutex::new(pipes),
            live: Liveness::new(&ctx),
        })
    }

    /// Our end of a pipe, once; 3 is the channel.
    fn pipe<'js>(
        &self,
        ctx: Ctx<'js>,
        index: usize,
    ) -> rquickjs::Result<Option<Class<'js, Stream>>> {
        let taken = self.pipes.lock().get_mut(index).and_then(Option::take);
        let Some(fd) = taken else { return Ok(None) };
        let open = || -> Result<Stream, Failure> {
            let status = rustix::fs::fcntl_getfl(&fd)?;
            rustix::fs::fcntl_setfl(&fd, status | rustix::fs::OFlags::NONBLOCK)?;
            Stream::over(&ctx, fd)
        };
        let stream = open().map_err(|failure| failure.throw(&ctx))?;
        Class::instance(ctx, stream).map(Some)
    }

    /// `callback(err, [code, signal])` when the program has ended; one of the two is null.
    fn wait<'js>(&self, ctx: Ctx<'js>, callback: Function<'js>) {
        let child = self.child.lock().take();
        task::run(&ctx, &self.live, callback, async move {
            let mut child = child.ok_or_else(|| Failure::named("ESRCH"))?;
            let ended = tokio::task::spawn_blocking(move || child.wait());
            match ended.await {
                Ok(status) => Ok(ended_reply(status?)),
                Err(_) => Err(Failure::named("ECANCELED")),
            }
        });
    }

    fn kill(&self, ctx: Ctx<'_>, signal: i32) -> rquickjs::Result<()> {
        let pid = i32::try_from(self.pid).unwrap_or(i32::MAX);
        os::kill(pid, signal)
            .map(|_| ())
            .map_err(|failure| failure.throw(&ctx))
    }

    #[qjs(rename = "setRef")]
    fn set_ref(&self, wanted: bool) {
        self.live.set(wanted);
    }
}

fn ended_reply(status: ExitStatus) -> Reply {
    let number = |number: Option<i32>| number.map_or(Reply::Null, |n| Reply::Number(n.into()));
    Reply::List(vec![number(status.code()), number(status.signal())])
}

/// Runs a program to its end: `[pid, code, signal, stdout, stderr]`. Of what it prints at most `max` bytes are kept for each stream.
fn run_to_end<'js>(
    ctx: Ctx<'js>,
    options: Object<'js>,
    input: Value<'js>,
    max: f64,
) -> rquickjs::Result<Reply> {
    let mut wanted = Wanted::read(&ctx, &options)?;
    wanted.permit(&ctx)?;
    let input = match input.is_object() {
        true => Some(bytes::copy(&input)?),
        false => None,
    };
    if input.is_some() {
        wanted.command.stdin(Stdio::piped());
    } else if wanted.pipes[0] {
        wanted.command.stdin(Stdio::null());
    }
    collect(wanted.command, input, max as u64).map_err(|failure| failure.throw(&ctx))
}

fn collect(mut command: Command, input: Option<Vec<u8>>, max: u64) -> Result<Reply, Failure> {
    let mut child = {
        let _starting = STARTING.lock();
        command.spawn()?
    };
    let pid = child.id();
    let feeder = child.stdin.take().zip(input).map(|(mut stdin, input)| {
        // A program that ends before it has read everything is not an error of ours.
        std::thread::spawn(move || stdin.write_all(&input).ok())
    });
    let out = child.stdout.take().map(|pipe| keep(pipe, max));
    let err = child.stderr.take().map(|pipe| keep(pipe, max));
    let status = child.wait()?;
    let kept = |thread: Option<std::thread::JoinHandle<Vec<u8>>>| match thread {
        Some(thread) => Reply::Bytes(thread.join().unwrap_or_default()),
        None => Reply::Null,
    };
    let reply = vec![
        Reply::Number(pid.into()),
        ended_reply(status),
        kept(out),
        kept(err),
    ];
    if let Some(feeder) = feeder {
        let _joined = feeder.join();
    }
    Ok(Reply::List(reply))
}

/// Reads all, keeps `max` bytes: a program that prints more must not wait for us.
fn keep(pipe: impl Read + Send + 'static, max: u64) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut pipe = pipe.take(max);
        let mut kept = Vec::new();
        // What could be read until an error is what there is.
        let _read = pipe.read_to_end(&mut kept);
        let _rest = std::io::copy(&mut pipe.into_inner(), &mut std::io::sink());
        kept
    })
}

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    Class::<Process>::define(&native)?;
    native.set("run", Func::from(run_to_end))?;
    Ok(native)
}
