//! Hears from the kernel (netlink) that addresses, interfaces or routes have changed.

use super::{Network, networks};
use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, bind, netlink::SocketAddrNetlink, recv,
    socket_with,
};
use std::{io, os::fd::OwnedFd, time::Duration};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::Instant,
};

/// Interfaces, IPv4 addresses and IPv4 routes: RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV4_ROUTE.
const GROUPS: u32 = 0x1 | 0x10 | 0x40;
/// A change is made of several: they are looked at together when nothing more has come for so long …
const QUIET: Duration = Duration::from_millis(50);
/// … or after so long, whatever comes.
const AT_LAST: Duration = Duration::from_millis(250);

/// When the networks are looked at again, and whether they have changed. Times are durations since any fixed moment.
///
/// ```
/// use pome_net::networks::{Changes, networks};
/// use std::time::Duration;
/// let mut changes = Changes::new(networks());
/// changes.noticed(Duration::ZERO);
/// let due = changes.poll_timeout().unwrap();
/// assert_eq!(changes.handle_timeout(due, networks), None, "they are the same");
/// ```
#[derive(Debug)]
pub struct Changes {
    last: Vec<Network>,
    first: Option<Duration>,
    due: Option<Duration>,
}

impl Changes {
    /// Begins with these.
    pub fn new(networks: Vec<Network>) -> Self {
        Self {
            last: networks,
            first: None,
            due: None,
        }
    }

    /// The kernel says that something has changed.
    pub fn noticed(&mut self, now: Duration) {
        let first = *self.first.get_or_insert(now);
        self.due = Some((now + QUIET).min(first + AT_LAST));
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.due
    }

    /// The time has come, or may have: the networks, if they are others than before.
    pub fn handle_timeout(
        &mut self,
        now: Duration,
        look: impl FnOnce() -> Vec<Network>,
    ) -> Option<Vec<Network>> {
        if self.due.is_none_or(|due| due > now) {
            return None;
        }
        (self.first, self.due) = (None, None);
        let networks = look();
        if networks == self.last {
            return None;
        }
        self.last.clone_from(&networks);
        Some(networks)
    }
}

/// Tells when the machine gets another address, or loses one.
#[derive(Debug)]
pub struct NetworkWatch {
    socket: AsyncFd<OwnedFd>,
    changes: Changes,
    epoch: Instant,
}

impl NetworkWatch {
    /// Begins to watch.
    ///
    /// # Errors
    /// Those of the system: no netlink, as in some sandboxes.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        #[expect(
            deprecated,
            reason = "sound for a descriptor that is owned; what replaces it is an unsafe function"
        )]
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        Ok(Self {
            socket,
            changes: Changes::new(networks()),
            epoch: Instant::now(),
        })
    }

    /// Waits for the next change: the networks as they are then. Cancel safe.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn changed(&mut self) -> io::Result<Vec<Network>> {
        loop {
            let due = self.changes.poll_timeout();
            let at = self.epoch + due.unwrap_or(Duration::from_secs(3600));
            let noticed = tokio::select! {
                noticed = read(&self.socket) => Some(noticed?),
                () = tokio::time::sleep_until(at), if due.is_some() => None,
            };
            let now = self.epoch.elapsed();
            match noticed {
                Some(()) => self.changes.noticed(now),
                None => {
                    if let Some(networks) = self.changes.handle_timeout(now, networks) {
                        return Ok(networks);
                    }
                }
            }
        }
    }
}

/// Waits until the kernel has said something. What it says is not looked at: the addresses themselves are.
async fn read(socket: &AsyncFd<OwnedFd>) -> io::Result<()> {
    let mut buffer = [0; 8 << 10];
    loop {
        let mut ready = socket.readable().await?;
        let read = ready.try_io(|socket| {
            match recv(socket.get_ref(), &mut buffer[..], RecvFlags::empty()) {
                // It said more than the kernel keeps for us: that is a change, too.
                Ok(_) | Err(rustix::io::Errno::NOBUFS) => Ok(()),
                Err(error) => Err(error.into()),
            }
        });
        match read {
            Ok(done) => return done,
            Err(_would_block) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn network(last: u8) -> Network {
        Network {
            address: Ipv4Addr::new(10, 0, 0, last),
            prefix: 24,
            is_loopback: false,
        }
    }

    #[test]
    fn many_notices_are_one_change() {
        let mut changes = Changes::new(vec![network(1)]);
        assert_eq!(changes.poll_timeout(), None);
        changes.noticed(at(1_000));
        changes.noticed(at(1_040));
        assert_eq!(changes.poll_timeout(), Some(at(1_090)));
        let never = || -> Vec<Network> { panic!("too early to look") };
        assert_eq!(changes.handle_timeout(at(1_089), never), None);
        let new = vec![network(2)];
        assert_eq!(
            changes.handle_timeout(at(1_090), || new.clone()),
            Some(new.clone())
        );
        assert_eq!(changes.poll_timeout(), None);
        // The same again is none; back again is one.
        changes.noticed(at(2_000));
        assert_eq!(changes.handle_timeout(at(2_050), || new.clone()), None);
        changes.noticed(at(3_000));
        let old = vec![network(1)];
        assert_eq!(changes.handle_timeout(at(3_050), || old.clone()), Some(old));
    }

    #[test]
    fn noise_does_not_put_it_off() {
        let mut changes = Changes::new(vec![]);
        for time in (0..1_000).step_by(10) {
            changes.noticed(at(time));
            if changes.poll_timeout().is_some_and(|due| due <= at(time)) {
                assert_eq!(time, 250);
                return;
            }
        }
        panic!("never looked");
    }
}
