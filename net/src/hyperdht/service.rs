//! Answers what other nodes ask: hands messages between peers on, and keeps records when this is a lasting node.

use super::{
    messages::command,
    records::{Now, RecordLimits, Records},
    router::{Route, Router},
    saved,
};
use crate::dht_rpc::{self, Answer, Incoming, Node};
use parking_lot::Mutex;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

pub(crate) struct Service {
    pub(crate) kept: Mutex<Kept>,
    limits: RecordLimits,
}

pub(crate) struct Kept {
    pub(crate) router: Router,
    /// From the first moment on at which this was a lasting node.
    pub(crate) records: Option<Records>,
    /// Has been a lasting node.
    lasting: bool,
    /// The clock of the node, when it was last heard.
    pub(crate) now: Duration,
}

impl Service {
    /// With the records of an earlier run, as [`save`](Self::save) wrote them.
    pub(crate) fn new(limits: RecordLimits, saved: Option<&[u8]>) -> Self {
        let mut router = Router::new(limits.announced(), Duration::ZERO);
        let moment = Now {
            at: Duration::ZERO,
            unix_ms: unix_ms(),
        };
        let seed = pome_cores::crypto::random_bytes();
        let records =
            saved.and_then(|saved| saved::load(saved, &limits, seed, &mut router, moment));
        Self {
            kept: Mutex::new(Kept {
                router,
                records,
                lasting: false,
                now: Duration::ZERO,
            }),
            limits,
        }
    }

    /// What is kept for others, as bytes; `None` when there is nothing.
    pub(crate) fn save(&self, at: Duration) -> Option<Vec<u8>> {
        let Kept {
            router, records, ..
        } = &mut *self.kept.lock();
        let moment = Now {
            at,
            unix_ms: unix_ms(),
        };
        Some(saved::save(router, records.as_mut()?, moment))
    }
}

/// What a lasting node of the HyperDHT answers, for who runs a [`Node`] by himself, as a simulation does.
pub fn answers(limits: RecordLimits) -> Arc<dyn dht_rpc::Service> {
    Arc::new(Service::new(limits, None))
}

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

impl dht_rpc::Service for Service {
    fn asked(&self, node: &mut Node, incoming: Incoming, now: Duration) {
        let Kept {
            router,
            records,
            lasting,
            now: seen,
        } = &mut *self.kept.lock();
        *seen = now;
        match incoming.request.command {
            command::PEER_HANDSHAKE | command::PEER_HOLEPUNCH => {
                let (mut incoming, route) = router.asked(incoming, now);
                match route {
                    Route::Nowhere => {}
                    Route::Relay(to, value) => node.relay(&incoming, to, Some(value)),
                    Route::Reply(to, value, closer_nodes) => {
                        incoming.from = to.unwrap_or(incoming.from);
                        let answer = Answer {
                            value,
                            closer_nodes,
                            ..Answer::default()
                        };
                        node.reply(&incoming, answer, now);
                    }
                }
            }
            command::FIND_PEER..=command::IMMUTABLE_GET if *lasting && node.id().is_some() => {
                let own = node.id().unwrap_or_default();
                let records = records.get_or_insert_with(|| {
                    let seed = pome_cores::crypto::random_bytes();
                    Records::new(&self.limits, seed, now)
                });
                let moment = Now {
                    at: now,
                    unix_ms: unix_ms(),
                };
                if let Some(answer) = records.asked(&own, router, &incoming, moment) {
                    node.reply(&incoming, answer, now);
                }
            }
            _ => node.refuse(&incoming, now),
        }
    }

    fn persistent(&self, persistent: bool) {
        self.kept.lock().lasting |= persistent;
    }
}
