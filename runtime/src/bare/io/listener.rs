//! A socket that listens, on an IP address or a path.

use std::{
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    sync::Arc,
};

use parking_lot::Mutex;
use rquickjs::{Ctx, Function, JsLifetime, class::Trace};
use rustix::{
    fs::{AtFlags, unlinkat},
    net::SocketFlags,
};
use tokio::{io::unix::AsyncFd, sync::watch};

use super::{address, poll, stream::Stream};
use crate::{
    bare::{
        failure::Failure,
        reply::Reply,
        task::{self, Liveness},
    },
    permissions::{self, Place},
};

/// A listening socket. Connections are asked for one by one.
#[derive(Trace, JsLifetime)]
#[rquickjs::class]
pub(crate) struct Listener {
    #[qjs(skip_trace)]
    open: Mutex<Option<Arc<AsyncFd<OwnedFd>>>>,
    #[qjs(skip_trace)]
    path: Mutex<Option<Place>>,
    #[qjs(skip_trace)]
    is_closed: watch::Sender<bool>,
    #[qjs(skip_trace)]
    live: Rc<Liveness>,
}

impl Listener {
    fn listen(&self, socket: socket2::Socket, backlog: i32) -> Result<(), Failure> {
        socket.listen(backlog)?;
        socket.set_nonblocking(true)?;
        *self.open.lock() = Some(Arc::new(poll::watch(OwnedFd::from(socket))?));
        Ok(())
    }

    fn listen_on_address(&self, port: u16, host: &str, backlog: i32) -> Result<Reply, Failure> {
        let address = address::socket_address(host, port)?;
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )?;
        // A server that starts again may have its port back at once.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        let bound = socket.local_addr()?;
        self.listen(socket, backlog)?;
        Ok(bound.as_socket().map_or(Reply::Nothing, address::reply))
    }

    fn listen_on_path(&self, path: Place, backlog: i32) -> Result<(), Failure> {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        let at = path.at()?;
        socket.bind(&socket2::SockAddr::unix(at.path())?)?;
        *self.path.lock() = Some(path);
        self.listen(socket, backlog)
    }
}

#[rquickjs::methods]
impl Listener {
    #[qjs(constructor)]
    fn new(ctx: Ctx<'_>) -> Self {
        Self {
            open: Mutex::new(None),
            path: Mutex::new(None),
            is_closed: watch::Sender::new(false),
            live: Liveness::new(&ctx),
        }
    }

    /// The address that it got; port 0 takes a free one.
    #[qjs(rename = "listenTcp")]
    fn listen_tcp(
        &self,
        ctx: Ctx<'_>,
        port: u16,
        host: String,
        backlog: i32,
    ) -> rquickjs::Result<Reply> {
        permissions::socket(&ctx, &format!("{host}:{port}"))
            .map_err(|refused| refused.throw(&ctx))?;
        self.listen_on_address(port, &host, backlog)
            .map_err(|failure| failure.throw(&ctx))
    }

    #[qjs(rename = "listenUnix")]
    fn listen_unix(&self, ctx: Ctx<'_>, path: String, backlog: i32) -> rquickjs::Result<()> {
        let path = permissions::entry(&ctx, path).map_err(|refused| refused.throw(&ctx))?;
        self.listen_on_path(path, backlog)
            .map_err(|failure| failure.throw(&ctx))
    }

    /// `callback(err, stream)` with the next connection.
    fn accept<'js>(&self, ctx: Ctx<'js>, callback: Function<'js>) {
        let open = self.open.lock().clone();
        let mut is_closed = self.is_closed.subscribe();
        task::run(&ctx, &self.live, callback, async move {
            let open = open.ok_or_else(|| Failure::named("EINVAL"))?;
            tokio::select! {
                biased;
                _ = is_closed.wait_for(|is_closed| *is_closed) => Err(Failure::named("ECANCELED")),
                accepted = accept(&open) => accepted.map(Stream::reply),
            }
        });
    }

    /// No more connections; a path is removed. Then `callback()`.
    fn close<'js>(&self, ctx: Ctx<'js>, callback: Function<'js>) {
        self.is_closed.send_replace(true);
        self.open.lock().take();
        if let Some(path) = self.path.lock().take() {
            // A path that somebody else removed already is gone, as it should be.
            let _gone = path
                .at()
                .and_then(|at| unlinkat(at.folder(), at.name(), AtFlags::empty()));
        }
        task::run(&ctx, &self.live, callback, async {
            Ok::<_, Failure>(Reply::Nothing)
        });
    }

    #[qjs(rename = "setRef")]
    fn set_ref(&self, wanted: bool) {
        self.live.set(wanted);
    }
}

async fn accept(open: &AsyncFd<OwnedFd>) -> Result<OwnedFd, Failure> {
    loop {
        let mut ready = open.readable().await?;
        let attempt = ready.try_io(|fd| {
            rustix::net::accept_with(
                fd.get_ref().as_fd(),
                SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
            )
            .map_err(std::io::Error::from)
        });
        match attempt {
            Ok(Ok(fd)) => return Ok(fd),
            // A connection that ended before it was taken is none.
            Ok(Err(error))
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::Interrupted | std::io::ErrorKind::ConnectionAborted
                ) => {}
            Ok(Err(error)) => return Err(error.into()),
            Err(_not_ready) => {}
        }
    }
}
