//! The server's part in opening a way through the NATs in front of it and of a client. Source: hyperdht 6.34.0, `lib/server.js`.

use super::{
    messages::{Holepunch, HolepunchPayload, Wire, error, firewall},
    router::mode,
    server::{Listener, Punching},
};
use crate::dht_rpc::Incoming;
use pome_cores::crypto::random_bytes;
use std::{net::SocketAddrV4, sync::Weak};

impl Listener {
    /// A client tells something about the way.
    pub(super) async fn told(&self, mut incoming: Incoming, message: Holepunch) {
        let pending = {
            let slots = self.pending.lock();
            slots.by_id.get(&message.id).and_then(Weak::upgrade)
        };
        let Some(punching) = pending.and_then(|pending| pending.punching.clone()) else {
            return;
        };
        let Some(client) = message.peer_address else {
            return;
        };
        let Some(said) = punching.secure.open(&message.payload) else {
            return;
        };
        let Some(answer) = self.answer(&punching, &incoming, client, said).await else {
            return;
        };
        let message = Holepunch {
            mode: mode::FROM_SERVER,
            id: 0,
            payload: punching.secure.seal(&answer, random_bytes()).into(),
            peer_address: Some(client),
        };
        let to = incoming.from;
        incoming.socket = match answer.error {
            error::NONE | error::TRY_LATER => punching.puncher.which(),
            _ => incoming.socket,
        };
        let value = message.encode().into();
        self.dht.dht().relay(&incoming, to, Some(value));
    }

    /// What the client is told, and done for it.
    async fn answer(
        &self,
        punching: &Punching,
        incoming: &Incoming,
        client: SocketAddrV4,
        said: HolepunchPayload,
    ) -> Option<HolepunchPayload> {
        let Punching {
            secure, puncher, ..
        } = punching;
        let is_newer = {
            let mut round = punching.round.lock();
            let newer = said.round >= *round;
            *round = (*round).max(said.round);
            newer
        };
        let abort = |error| {
            punching.aborted.notify_one();
            Some(HolepunchPayload {
                error,
                round: *punching.round.lock(),
                ..HolepunchPayload::default()
            })
        };
        if said.error != error::NONE {
            return abort(error::ABORTED);
        }
        let token = secure.token(*client.ip());
        let is_relay = self.announcer.is_relay(incoming.from);
        let echoed = is_relay && said.remote_token == Some(token);
        if incoming.socket == puncher.which() {
            puncher.add_sample(incoming.socket, incoming.request.to, incoming.from);
        }
        if is_newer {
            puncher.update_remote(
                said.punching,
                said.firewall,
                said.addresses.as_deref().unwrap_or_default(),
                echoed.then_some(*client.ip()),
            );
        }
        let stable = puncher.analyze(false).await;
        if !puncher.remote_punches() && !stable && !puncher.analyze(true).await {
            return abort(error::ABORTED);
        }
        let (ours, addresses) = puncher.nat();
        let is_consistent = ours == firewall::OPEN || ours == firewall::CONSISTENT;
        // The client has opened its NAT for this very address: one packet may be all it takes.
        if let Some(seen) = said.remote_address
            && is_consistent
            && addresses.as_ref().is_some_and(|list| list.contains(&seen))
        {
            puncher.ping(client);
        }
        if puncher.remote_punches() {
            if !self.options.holepunch.agrees(puncher) {
                return abort(error::ABORTED);
            }
            let is_random =
                ours >= firewall::RANDOM || puncher.remote_firewall() >= firewall::RANDOM;
            if is_random
                && !puncher.is_punching()
                && !self.dht.inner.random_punches.lock().is_free()
            {
                self.dht.inner.punches.lock().try_later += 1;
                if !punching.relayed {
                    return abort(error::TRY_LATER);
                }
                return Some(HolepunchPayload {
                    error: error::TRY_LATER,
                    firewall: ours,
                    round: *punching.round.lock(),
                    punching: puncher.is_punching(),
                    addresses,
                    token: is_relay.then_some(token),
                    remote_token: said.token,
                    ..HolepunchPayload::default()
                });
            }
            if !puncher.punch().await {
                return abort(error::ABORTED);
            }
            punching.begun.notify_one();
        }
        if ours != firewall::UNKNOWN {
            puncher.freeze();
        }
        Some(HolepunchPayload {
            error: error::NONE,
            firewall: ours,
            round: *punching.round.lock(),
            connected: false,
            punching: puncher.is_punching(),
            addresses,
            remote_address: None,
            token: is_relay.then_some(token),
            remote_token: said.token,
        })
    }
}
