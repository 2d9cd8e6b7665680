//! Handshakes in which a client takes part through its relay: what it says is sealed between it and the peer.

use super::*;

impl Inner {
    /// Makes the next message of a handshake: the first as who connects, the second as who is connected to.
    pub(super) fn shake_send(
        &self,
        id: u32,
        stream: Option<u32>,
        payload: &[u8],
    ) -> Result<(), Error> {
        let mut state = self.state.lock();
        if let Some(stream) = stream {
            let Some(opening) = state.opening.get(&stream) else {
                return Ok(());
            };
            if state.shaking.len() >= HANDSHAKES_MAX {
                return Ok(());
            }
            let noise = shaking(&opening.key_pair, Some(&opening.remote))?;
            let remote = Some(opening.remote);
            let now = Shaking::Now {
                noise: Box::new(noise),
                remote,
                server: None,
            };
            state.shaking.insert(id, now);
        }
        let Some(Shaking::Now {
            mut noise,
            remote,
            server,
        }) = state.shaking.remove(&id)
        else {
            return Ok(());
        };
        let message = noise.send(payload)?;
        let reply = state.shaken(id, noise, remote, server, message.into())?;
        drop(state);
        self.link.send_now(Message::NoiseReply(reply))
    }

    /// Reads a message of a handshake: the second as who connects, the first as who is connected to.
    pub(super) fn shake_receive(
        &self,
        id: u32,
        server: Option<u32>,
        message: &[u8],
    ) -> Result<(), Error> {
        let mut state = self.state.lock();
        let mut firewall = None;
        if let Some(server) = server {
            let Some(listening) = state.servers.get(&server) else {
                return Ok(());
            };
            if state.shaking.len() >= HANDSHAKES_MAX {
                return Ok(());
            }
            firewall.clone_from(&listening.firewall);
            let noise = shaking(&listening.key_pair, None)?;
            let now = Shaking::Now {
                noise: Box::new(noise),
                remote: None,
                server: Some(server),
            };
            state.shaking.insert(id, now);
        }
        let Some(Shaking::Now {
            mut noise, server, ..
        }) = state.shaking.remove(&id)
        else {
            return Ok(());
        };
        // What a stranger sent says nothing about the relay.
        let payload = noise.receive(message).unwrap_or_default();
        let remote = noise.remote_public_key();
        let is_refused = payload.is_empty()
            || server.is_some()
                && remote.is_none_or(|key| refuses(firewall.as_ref(), &key, &payload));
        let reply = if is_refused {
            NoiseReply {
                id,
                is_initiator: server.is_none(),
                payload: Bytes::new(),
                remote_public_key: remote,
                complete: None,
            }
        } else {
            state.shaken(id, noise, remote, server, payload.into())?
        };
        drop(state);
        self.link.send_now(Message::NoiseReply(reply))
    }
}

impl State {
    /// What a stream is keyed by, and whether its bytes are sealed by us.
    pub(super) fn keys(
        &mut self,
        proof: &Proof,
        local: [u8; 32],
        remote: [u8; 32],
    ) -> Option<(noise::Keys, bool)> {
        match proof {
            Proof::Hash(hash) => {
                let keys = noise::Keys {
                    tx: random_bytes::<32>().into(),
                    rx: random_bytes::<32>().into(),
                    hash: *hash,
                    public_key: local,
                    remote_public_key: remote,
                };
                Some((keys, false))
            }
            Proof::Handshake(id) => match self.shaking.remove(id)? {
                Shaking::Done(keys) if keys.remote_public_key == remote => Some((keys, true)),
                _ => None,
            },
        }
    }

    /// What the relay is told after a step of a handshake.
    fn shaken(
        &mut self,
        id: u32,
        noise: Box<Handshake>,
        remote: Option<[u8; 32]>,
        server: Option<u32>,
        payload: Bytes,
    ) -> Result<NoiseReply, Error> {
        let mut reply = NoiseReply {
            id,
            is_initiator: server.is_none(),
            payload,
            remote_public_key: remote,
            complete: None,
        };
        if noise.is_complete() {
            let keys = noise.finish()?;
            let secret = hash_keyed(&keys.hash, &[&namespaces().peer_holepunch]);
            reply.complete = Some((stream_id(&keys.hash, Role::Initiator), secret));
            self.shaking.insert(id, Shaking::Done(keys));
        } else {
            let now = Shaking::Now {
                noise,
                remote,
                server,
            };
            self.shaking.insert(id, now);
        }
        Ok(reply)
    }
}

fn shaking(key_pair: &KeyPair, server: Option<&[u8; 32]>) -> Result<Handshake, Error> {
    let role = match server {
        Some(_) => Role::Initiator,
        None => Role::Responder,
    };
    let prologue = &namespaces().peer_handshake;
    Handshake::new(
        Pattern::Ik,
        role,
        key_pair,
        server,
        prologue,
        random_bytes(),
    )
}

/// True when a server's firewall wants nothing of a peer.
pub(super) fn refuses(firewall: Option<&ServerFirewall>, key: &[u8; 32], payload: &[u8]) -> bool {
    let Some(firewall) = firewall else {
        return false;
    };
    let nowhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
    match NoisePayload::decode(payload) {
        Ok(payload) => firewall(key, &payload, nowhere),
        Err(_) => true,
    }
}
