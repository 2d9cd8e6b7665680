//! One stream of bytes: connected or opened, read, written, ended, closed.

use std::{
    future::Future,
    io,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rquickjs::{Class, Ctx, Function, IntoJs, JsLifetime, Value, class::Trace};
use tokio::{io::unix::AsyncFd, sync::watch};

use super::{address, poll, stdio};
use crate::{
    bare::{
        failure::Failure,
        fs::descriptors,
        reply::Reply,
        task::{self, Liveness},
    },
    engine::bytes,
    permissions,
};

/// How much one read takes at most where the caller does not say, in bytes.
const READ_MAX_BYTES: usize = 65536;

type Open = Arc<AsyncFd<OwnedFd>>;

/// What the operations under way on a stream share.
struct Shared {
    open: Mutex<Option<Open>>,
    is_closed: watch::Sender<bool>,
}

impl Shared {
    fn get(&self) -> Result<Open, Failure> {
        self.open
            .lock()
            .clone()
            .ok_or_else(|| Failure::named("ENOTCONN"))
    }

    fn set(&self, fd: OwnedFd) -> Result<(), Failure> {
        let fd = poll::watch(fd)?;
        *self.open.lock() = Some(Arc::new(fd));
        Ok(())
    }

    /// What `future` comes to, or `ECANCELED` as soon as the stream is closed.
    async fn until_closed<T>(
        &self,
        future: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut is_closed = self.is_closed.subscribe();
        tokio::select! {
            biased;
            _ = is_closed.wait_for(|is_closed| *is_closed) => Err(Failure::named("ECANCELED")),
            output = future => output,
        }
    }
}

/// A stream over a descriptor. Reads are asked for one by one; a write is done at once as far as it goes.
#[derive(Trace, JsLifetime)]
#[rquickjs::class]
pub(crate) struct Stream {
    #[qjs(skip_trace)]
    shared: Arc<Shared>,
    /// Of reads, which may go on for ever.
    #[qjs(skip_trace)]
    live: Rc<Liveness>,
    /// Of what ends by itself: the process waits for it, unref'd or not, so that what was written gets out.
    #[qjs(skip_trace)]
    requests: Rc<Liveness>,
}

impl Stream {
    /// One that is neither connected nor open.
    pub(crate) fn unopened(ctx: &Ctx<'_>) -> Self {
        Self {
            shared: Arc::new(Shared {
                open: Mutex::new(None),
                is_closed: watch::Sender::new(false),
            }),
            live: Liveness::new(ctx),
            requests: Liveness::new(ctx),
        }
    }

    /// One over a descriptor that does not wait.
    pub(crate) fn over(ctx: &Ctx<'_>, fd: OwnedFd) -> Result<Self, Failure> {
        let stream = Self::unopened(ctx);
        stream.shared.set(fd)?;
        Ok(stream)
    }

    /// As [`Stream::over`], as what a native operation answers with.
    pub(crate) fn reply(fd: OwnedFd) -> Reply {
        Reply::Made(Box::new(move |ctx| {
            let stream = Self::over(ctx, fd).map_err(|failure| failure.throw(ctx))?;
            Class::instance(ctx.clone(), stream)?.into_js(ctx)
        }))
    }

    fn run<'js>(
        &self,
        ctx: &Ctx<'js>,
        live: &Rc<Liveness>,
        callback: Function<'js>,
        future: impl Future<Output = Result<Reply, Failure>> + Send + 'static,
    ) {
        let shared = self.shared.clone();
        task::run(ctx, live, callback, async move {
            shared.until_closed(future).await
        });
    }

    fn with_open<T>(
        &self,
        ctx: &Ctx<'_>,
        look: impl FnOnce(&OwnedFd) -> Result<T, Failure>,
    ) -> rquickjs::Result<T> {
        self.shared
            .get()
            .and_then(|open| look(open.get_ref()))
            .map_err(|failure| failure.throw(ctx))
    }
}

#[rquickjs::methods]
impl Stream {
    #[qjs(constructor)]
    fn new(ctx: Ctx<'_>) -> Self {
        Self::unopened(&ctx)
    }

    #[qjs(rename = "connectTcp")]
    fn connect_tcp<'js>(
        &self,
        ctx: Ctx<'js>,
        port: u16,
        host: String,
        callback: Function<'js>,
    ) -> rquickjs::Result<()> {
        permissions::socket(&ctx, &format!("{host}:{port}"))
            .map_err(|refused| refused.throw(&ctx))?;
        let address =
            address::socket_address(&host, port).map_err(|failure| failure.throw(&ctx))?;
        let shared = self.shared.clone();
        self.run(&ctx, &self.requests, callback, async move {
            let stream = tokio::net::TcpStream::connect(address).await?;
            shared.set(stream.into_std()?.into())?;
            Ok(Reply::Nothing)
        });
        Ok(())
    }

    #[qjs(rename = "connectUnix")]
    fn connect_unix<'js>(
        &self,
        ctx: Ctx<'js>,
        path: String,
        callback: Function<'js>,
    ) -> rquickjs::Result<()> {
        // Who listens there may do what the program may not.
        let asked = permissions::file(&ctx, &path)
            .and_then(|place| permissions::socket(&ctx, &path).map(|()| place));
        let place = asked.map_err(|refused| refused.throw(&ctx))?;
        let shared = self.shared.clone();
        self.run(&ctx, &self.requests, callback, async move {
            let socket = place.at()?.reach()?;
            let stream = tokio::net::UnixStream::connect(socket.path()).await?;
            shared.set(stream.into_std()?.into())?;
            Ok(Reply::Nothing)
        });
        Ok(())
    }

    /// Takes over a descriptor by number; one of the three that a process starts with stays open for others. Answers with whether it can be read.
    fn open(&self, ctx: Ctx<'_>, fd: i32) -> rquickjs::Result<bool> {
        let open = || -> Result<bool, Failure> {
            let known = match fd {
                0..=2 => descriptors::of(&ctx).get(fd.into())?,
                _ => descriptors::of(&ctx).take(fd.into())?,
            };
            let access = rustix::fs::fcntl_getfl(&known)? & rustix::fs::OFlags::RWMODE;
            self.shared.set(stdio::without_waiting(known.as_fd())?)?;
            Ok(access != rustix::fs::OFlags::WRONLY)
        };
        open().map_err(|failure| failure.throw(&ctx))
    }

    /// `callback(err, bytes)`, with null for the end.
    fn read<'js>(&self, ctx: Ctx<'js>, max: usize, callback: Function<'js>) {
        let open = self.shared.get();
        self.run(&ctx, &self.live, callback, async move {
            let data = read(&*open?, max.clamp(1, READ_MAX_BYTES)).await?;
            Ok(if data.is_empty() {
                Reply::Null
            } else {
                Reply::Bytes(data)
            })
        });
    }

    /// True when all of it was taken at once; else `callback(err)` says when.
    fn write<'js>(
        &self,
        ctx: Ctx<'js>,
        data: Value<'js>,
        callback: Function<'js>,
    ) -> rquickjs::Result<bool> {
        let open = self.shared.get();
        let started = bytes::read(&data, |data| start_write(open.as_ref().ok(), data))?;
        match started {
            Ok(None) => Ok(true),
            Ok(Some(rest)) => {
                self.run(&ctx, &self.requests, callback, async move {
                    write_all(&*open?, &rest).await?;
                    Ok(Reply::Nothing)
                });
                Ok(false)
            }
            Err(failure) => {
                self.run(&ctx, &self.requests, callback, async move { Err(failure) });
                Ok(false)
            }
        }
    }

    /// No more will be written; what is there may still be read.
    fn end<'js>(&self, ctx: Ctx<'js>, callback: Function<'js>) {
        let open = self.shared.get();
        self.run(&ctx, &self.requests, callback, async move {
            match rustix::net::shutdown(open?.get_ref(), rustix::net::Shutdown::Write) {
                // A pipe or terminal ends when it is closed; a peer that is gone already knows.
                Ok(()) | Err(rustix::io::Errno::NOTSOCK | rustix::io::Errno::NOTCONN) => {
                    Ok(Reply::Nothing)
                }
                Err(errno) => Err(errno.into()),
            }
        });
    }

    /// What is under way ends with `ECANCELED`; then `callback()`.
    fn close<'js>(&self, ctx: Ctx<'js>, callback: Function<'js>) {
        self.shared.is_closed.send_replace(true);
        self.shared.open.lock().take();
        task::run(&ctx, &self.live, callback, async {
            Ok::<_, Failure>(Reply::Nothing)
        });
    }

    #[qjs(rename = "setRef")]
    fn set_ref(&self, wanted: bool) {
        self.live.set(wanted);
    }

    #[qjs(rename = "localAddress")]
    fn local_address(&self) -> Option<Reply> {
        let open = self.shared.get().ok()?;
        socket2::SockRef::from(open.get_ref())
            .local_addr()
            .ok()?
            .as_socket()
            .map(address::reply)
    }

    #[qjs(rename = "remoteAddress")]
    fn remote_address(&self) -> Option<Reply> {
        let open = self.shared.get().ok()?;
        socket2::SockRef::from(open.get_ref())
            .peer_addr()
            .ok()?
            .as_socket()
            .map(address::reply)
    }

    #[qjs(rename = "setNoDelay")]
    fn set_no_delay(&self, ctx: Ctx<'_>, enable: bool) -> rquickjs::Result<()> {
        self.with_open(&ctx, |fd| {
            Ok(socket2::SockRef::from(fd).set_tcp_nodelay(enable)?)
        })
    }

    /// `delay` in seconds; 0 leaves the system's.
    #[qjs(rename = "setKeepAlive")]
    fn set_keep_alive(&self, ctx: Ctx<'_>, enable: bool, delay: u32) -> rquickjs::Result<()> {
        self.with_open(&ctx, |fd| {
            let socket = socket2::SockRef::from(fd);
            socket.set_keepalive(enable)?;
            if enable && delay > 0 {
                let every =
                    socket2::TcpKeepalive::new().with_time(Duration::from_secs(delay.into()));
                socket.set_tcp_keepalive(&every)?;
            }
            Ok(())
        })
    }

    /// Columns and rows of a terminal.
    #[qjs(rename = "windowSize")]
    fn window_size(&self, ctx: Ctx<'_>) -> rquickjs::Result<Vec<u16>> {
        self.with_open(&ctx, |fd| {
            let size = rustix::termios::tcgetwinsize(fd)?;
            Ok(vec![size.ws_col, size.ws_row])
        })
    }

    /// The mode of a terminal: 0 normal, 1 raw.
    #[qjs(rename = "setMode")]
    fn set_mode(&self, ctx: Ctx<'_>, mode: u8) -> rquickjs::Result<()> {
        self.with_open(&ctx, |fd| super::super::terminal::set_mode(fd, mode))
    }
}

async fn read(open: &AsyncFd<OwnedFd>, max: usize) -> Result<Vec<u8>, Failure> {
    let mut data = vec![0; max];
    loop {
        let mut ready = open.readable().await?;
        let attempt = ready.try_io(|fd| {
            rustix::io::read(fd.get_ref(), data.as_mut_slice()).map_err(io::Error::from)
        });
        match attempt {
            Ok(Ok(length)) => {
                data.truncate(length);
                // A short read does not keep a long buffer.
                data.shrink_to_fit();
                return Ok(data);
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            // The other side of a terminal is gone.
            Ok(Err(error))
                if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) =>
            {
                return Ok(Vec::new());
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(_not_ready) => {}
        }
    }
}

/// Writes what goes at once; answers with a copy of the rest.
fn start_write(open: Option<&Open>, data: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    let open = open.ok_or_else(|| Failure::named("ENOTCONN"))?;
    let mut left = data;
    while !left.is_empty() {
        match rustix::io::write(open.get_ref(), left) {
            Ok(length) => left = left.get(length..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return Ok(Some(left.to_vec())),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(None)
}

async fn write_all(open: &AsyncFd<OwnedFd>, data: &[u8]) -> Result<(), Failure> {
    let mut left = data;
    while !left.is_empty() {
        let mut ready = open.writable().await?;
        let attempt =
            ready.try_io(|fd| rustix::io::write(fd.get_ref(), left).map_err(io::Error::from));
        match attempt {
            Ok(Ok(length)) => left = left.get(length..).unwrap_or_default(),
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(Err(error)) => return Err(error.into()),
            Err(_not_ready) => {}
        }
    }
    Ok(())
}
