//! Descriptors that a program did not open itself: what they are, and how to use them without waiting.

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::OnceLock,
};

use parking_lot::Mutex;
use rquickjs::Ctx;
use rustix::{
    fs::{self as sys, FileType, OFlags},
    io::{FdFlags, fcntl_setfd},
};

use super::poll;
use crate::bare::{failure::Failure, fs::descriptors};

/// What a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Terminal,
    Tcp,
    Udp,
    Pipe,
    File,
    Unknown,
}

impl Kind {
    pub(super) fn of(ctx: &Ctx<'_>, fd: i32) -> Self {
        match descriptors::of(ctx).get(fd.into()) {
            Ok(fd) => Self::of_open(fd.as_fd()),
            Err(_) => Self::Unknown,
        }
    }

    fn of_open(fd: BorrowedFd<'_>) -> Self {
        if rustix::termios::isatty(fd) {
            return Self::Terminal;
        }
        let Ok(stat) = sys::fstat(fd) else {
            return Self::Unknown;
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile | FileType::CharacterDevice | FileType::BlockDevice => Self::File,
            FileType::Fifo => Self::Pipe,
            FileType::Socket => Self::of_socket(fd),
            _ => Self::Unknown,
        }
    }

    fn of_socket(fd: BorrowedFd<'_>) -> Self {
        use rustix::net::{AddressFamily, SocketType, sockopt};
        let domain = sockopt::socket_domain(fd).ok();
        match (domain, sockopt::socket_type(fd)) {
            (Some(AddressFamily::UNIX), Ok(SocketType::STREAM)) => Self::Pipe,
            (Some(AddressFamily::INET | AddressFamily::INET6), Ok(SocketType::STREAM)) => Self::Tcp,
            (Some(AddressFamily::INET | AddressFamily::INET6), Ok(SocketType::DGRAM)) => Self::Udp,
            _ => Self::Unknown,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Terminal => "tty",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Pipe => "pipe",
            Self::File => "file",
            Self::Unknown => "unknown",
        }
    }
}

/// A descriptor of ours for the same pipe, socket or terminal, that does not wait.
///
/// Waiting or not is a property of what is open, which other processes share (a shell and its programs share a terminal). So it is opened anew
/// where the system can; only a socket, which has no name to open, is changed.
pub(super) fn without_waiting(fd: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    let access = sys::fcntl_getfl(fd)? & OFlags::RWMODE;
    let name = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if let Ok(opened) = sys::open(name, flags, sys::Mode::empty()) {
        return Ok(opened);
    }
    let copy = fd.try_clone_to_owned()?;
    let status = sys::fcntl_getfl(&copy)?;
    sys::fcntl_setfl(&copy, status | OFlags::NONBLOCK)?;
    Ok(copy)
}

/// The two ends of a new pipe, reader first.
pub(super) fn pipe(ctx: Ctx<'_>) -> rquickjs::Result<Vec<i32>> {
    let ends = rustix::pipe::pipe().map_err(|errno| Failure::from(errno).throw(&ctx))?;
    enter(&ctx, [ends.0, ends.1])
}

/// Two sockets that are connected to each other.
pub(super) fn socketpair(ctx: Ctx<'_>) -> rquickjs::Result<Vec<i32>> {
    let (first, second) =
        std::os::unix::net::UnixStream::pair().map_err(|error| Failure::from(error).throw(&ctx))?;
    enter(&ctx, [first.into(), second.into()])
}

fn enter(ctx: &Ctx<'_>, ends: [OwnedFd; 2]) -> rquickjs::Result<Vec<i32>> {
    for end in &ends {
        fcntl_setfd(end, FdFlags::CLOEXEC).map_err(|errno| Failure::from(errno).throw(ctx))?;
    }
    let open = descriptors::of(ctx);
    Ok(ends.into_iter().map(|end| open.enter(end)).collect())
}

/// What talks with whoever started this process.
struct Channel {
    number: i32,
    /// Until a program asks for it.
    unclaimed: Mutex<Option<OwnedFd>>,
    /// In the words of `BARE_CHANNEL_SERIALIZATION_MODE`.
    mode: Option<String>,
}

static CHANNEL: OnceLock<Option<Channel>> = OnceLock::new();

/// Takes over the descriptor by which the starter of this process wants to talk with its program, if it left one: the socket whose number is in the
/// environment (`BARE_CHANNEL_FD`). A program has no such channel unless this came first.
///
/// To be called before anything else is opened in this process: a file that is opened later may get that number.
pub fn claim_channel() {
    CHANNEL.get_or_init(|| {
        let number: i32 = std::env::var("BARE_CHANNEL_FD").ok()?.parse().ok()?;
        let fd = poll::inherited(number)?;
        // Not for the programs that are started from here.
        fcntl_setfd(&fd, FdFlags::CLOEXEC).ok()?;
        Some(Channel {
            number: fd.as_raw_fd(),
            unclaimed: Mutex::new(Some(fd)),
            mode: std::env::var("BARE_CHANNEL_SERIALIZATION_MODE").ok(),
        })
    });
}

/// The descriptor by which this process talks with its starter, open for the first program that asks; nothing where the starter wants no talk.
pub(super) fn channel(ctx: Ctx<'_>) -> Option<i32> {
    let channel = CHANNEL.get()?.as_ref()?;
    if let Some(fd) = channel.unclaimed.lock().take() {
        descriptors::of(&ctx).enter(fd);
    }
    Some(channel.number)
}

/// How the starter wants to talk.
pub(crate) fn channel_mode() -> Option<String> {
    CHANNEL.get()?.as_ref()?.mode.clone()
}
