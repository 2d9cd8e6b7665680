//! Falls silent and comes back, as before and after the machine sleeps or the network is to be left alone.

use super::{Error, HyperDht};
use crate::{Error as NetError, driver::WeakConnection};
use parking_lot::Mutex;
use tokio::task::JoinSet;

/// Connections below this number are not looked through for those that are over.
const SOME: usize = 32;

/// All that there are, and some that are over.
#[derive(Default)]
pub(super) struct Connections(Mutex<(Vec<WeakConnection>, usize)>);

impl Connections {
    pub(super) fn add(&self, connection: WeakConnection) {
        let (list, look_at) = &mut *self.0.lock();
        list.push(connection);
        if list.len() >= SOME.max(*look_at) {
            list.retain(|connection| !connection.is_over());
            *look_at = 2 * list.len();
        }
    }

    fn take(&self) -> Vec<WeakConnection> {
        std::mem::take(&mut self.0.lock().0)
    }
}

impl HyperDht {
    /// Takes the announcements of its servers back, ends all connections with `SUSPENDED`, and falls silent: it asks and answers nobody, and what is asked of it
    /// fails with [`Error::Suspended`]. The sockets stay open (npm closes them and opens them again).
    pub async fn suspend(&self) {
        // Nothing new is connected meanwhile.
        self.inner.suspended.send_replace(true);
        let mut suspending = JoinSet::new();
        for server in self.servers() {
            suspending.spawn(async move { server.suspend().await });
        }
        while suspending.join_next().await.is_some() {}
        let connections = self.inner.connections.take();
        for connection in &connections {
            connection.fail(NetError::Suspended);
        }
        // Those at the other end are told before the sockets are left alone.
        for connection in connections {
            let _ = connection.closed().await;
        }
        self.dht().suspend();
    }

    /// Goes on: looks around, and announces its servers again. Those that were suspended by themselves go on, too.
    pub async fn resume(&self) {
        self.dht().resume();
        self.inner.random_punches.lock().resumed();
        self.inner.suspended.send_replace(false);
        for server in self.servers() {
            server.resume();
        }
    }

    /// Goes on after the machine has got another address (see [`NetworkWatch`](crate::networks::NetworkWatch)): finds out which one others see, and announces its
    /// servers again.
    pub fn network_changed(&self) {
        self.dht().network_changed();
        for server in self.servers() {
            server.announcer.refresh();
        }
    }

    /// True between [`suspend`](Self::suspend) and [`resume`](Self::resume).
    pub fn is_suspended(&self) -> bool {
        *self.inner.suspended.borrow()
    }

    fn servers(&self) -> Vec<std::sync::Arc<super::server::Listener>> {
        let mut servers = self.inner.servers.lock();
        servers.retain(|server| server.strong_count() > 0);
        servers
            .iter()
            .filter_map(std::sync::Weak::upgrade)
            .collect()
    }

    /// Gives up when the node is suspended.
    pub(super) async fn unless_suspended<T>(
        &self,
        act: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut suspended = self.inner.suspended.subscribe();
        let is_suspended = async {
            if suspended.wait_for(|suspended| *suspended).await.is_err() {
                std::future::pending().await
            }
        };
        tokio::select! {
            biased;
            () = is_suspended => Err(Error::Suspended),
            done = act => done,
        }
    }
}
