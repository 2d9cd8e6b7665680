//! Ways that were opened before, and may still be: the next connection to the same peer goes straight there. Source: hyperdht 6.34.0, `lib/socket-pool.js`.

use super::{HyperDht, stream::Way};
use crate::{dht_rpc::KeptSocket, driver::Connection};
use parking_lot::Mutex;
use std::{collections::HashMap, net::SocketAddr, time::Duration};

/// How long a way is known after the connection that went there has ended.
const LINGER: Duration = Duration::from_secs(3);
/// Ways that are known at a time; more are not kept.
const ROUTES_MAX: usize = 4_096;

struct Route {
    number: u64,
    way: Way,
    /// The node goes on reading from its socket.
    _kept: Option<KeptSocket>,
}

#[derive(Default)]
struct State {
    last: u64,
    routes: HashMap<[u8; 32], Route>,
}

/// By the keys of the peers.
#[derive(Default)]
pub(super) struct Routes(Mutex<State>);

impl Routes {
    pub(super) fn get(&self, peer: &[u8; 32]) -> Option<Way> {
        let state = self.0.lock();
        state.routes.get(peer).map(|route| route.way.clone())
    }

    fn forget(&self, peer: &[u8; 32], number: u64) {
        let mut state = self.0.lock();
        let is_same = |route: &Route| route.number == number;
        if state.routes.get(peer).is_some_and(is_same) {
            state.routes.remove(peer);
        }
    }
}

impl HyperDht {
    /// Knows the way of a connection as long as that lives, and for a moment more; if it fails, the way may be gone, too.
    pub(super) fn keep_route(
        &self,
        peer: [u8; 32],
        connection: &Connection,
        kept: Option<KeptSocket>,
    ) {
        let Some((socket, SocketAddr::V4(to))) = connection.udx().and_then(|udx| udx.way()) else {
            return;
        };
        // A way by a socket that is gone soon leads nowhere.
        if connection.is_relayed() || self.dht().which(&socket).is_none() {
            return;
        }
        let number = {
            let state = &mut *self.inner.routes.0.lock();
            if state.routes.len() >= ROUTES_MAX {
                return;
            }
            state.last += 1;
            let route = Route {
                number: state.last,
                way: (socket, to),
                _kept: kept,
            };
            state.routes.insert(peer, route);
            state.last
        };
        let (dht, connection) = (self.clone(), connection.downgrade());
        tokio::spawn(async move {
            if connection.closed().await.is_ok() {
                tokio::time::sleep(LINGER).await;
            }
            dht.inner.routes.forget(&peer, number);
        });
    }
}
