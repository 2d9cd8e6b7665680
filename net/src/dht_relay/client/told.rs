//! What a relay tells its client, and what that does about it.

use super::{shaking::refuses, *};

impl Inner {
    pub(super) fn keys(&self, key_pair: &KeyPair) -> Keys {
        Keys {
            public: key_pair.public,
            secret: self.options.custodial.then(|| *key_pair.secret_key()),
        }
    }

    pub(super) async fn send(&self, message: Message) -> Result<(), RelayError> {
        self.link.send(message).await.map_err(|_| RelayError::Gone)
    }

    pub(super) async fn read(self: &Arc<Self>) -> Result<(), Error> {
        while let Some(message) = self.link.recv(false).await? {
            if let Some(message) = self.link.carry(message).await {
                self.handle(message)?;
            }
        }
        Ok(())
    }

    fn handle(self: &Arc<Self>, message: Message) -> Result<(), Error> {
        match message {
            Message::Open {
                alias,
                remote_alias,
                proof,
            } => {
                let mut state = self.state.lock();
                let Some(opening) = state.opening.remove(&remote_alias) else {
                    return Ok(());
                };
                let local = opening.key_pair.public;
                let Some((keys, sealed)) = state.keys(&proof, local, opening.remote) else {
                    return Ok(());
                };
                self.link.add(alias, opening.inlet);
                let _ = opening.tell.send(Ok(Opened {
                    theirs: alias,
                    keys,
                    sealed,
                }));
            }
            Message::Destroy {
                paired: false,
                alias,
                error,
            } => {
                if let Some(opening) = self.state.lock().opening.remove(&alias) {
                    let said = error.unwrap_or_default();
                    let _ = opening.tell.send(Err(RelayError::Refused { said }));
                }
            }
            Message::Listening {
                alias,
                remote_alias,
                address,
            } => {
                let mut state = self.state.lock();
                if let Some(opening) = state.opening_servers.remove(&remote_alias) {
                    state.servers.insert(alias, opening.listening);
                    let _ = opening.tell.send((alias, address));
                }
            }
            Message::Closed(alias) => {
                let mut state = self.state.lock();
                if let Some(server) = state.servers.remove(&alias) {
                    state.signees.remove(&server.ours);
                }
                if let Some((ours, tell)) = state.closing.remove(&alias) {
                    state.signees.remove(&ours);
                    let _ = tell.send(());
                }
            }
            Message::Incoming {
                id,
                server,
                remote_public_key,
                payload,
            } => {
                let firewall = {
                    let state = self.state.lock();
                    let server = state.servers.get(&server);
                    server.map(|server| server.firewall.clone())
                };
                let refused = match firewall {
                    None => true,
                    Some(firewall) => refuses(firewall.as_ref(), &remote_public_key, &payload),
                };
                self.link.send_now(if refused {
                    Message::Deny(id)
                } else {
                    Message::Accept(id)
                })?;
            }
            Message::Connection {
                alias,
                server,
                remote_public_key,
                proof,
            } => self.arrived(alias, server, remote_public_key, &proof)?,
            Message::Result { id, data } => {
                let state = self.state.lock();
                if let Some(question) = state.questions.get(&id)
                    && let Ok(found) = Announcers::decode(&data)
                {
                    let _ = question.try_send(found);
                }
            }
            Message::Finished(id) => {
                let mut state = self.state.lock();
                state.questions.remove(&id);
                state.signees.remove(&id);
            }
            Message::SignAnnounce(wanted) => self.sign(&wanted, Purpose::Announce)?,
            Message::SignUnannounce(wanted) => self.sign(&wanted, Purpose::Unannounce)?,
            Message::NoiseSend {
                id,
                stream,
                payload,
            } => self.shake_send(id, stream, &payload)?,
            Message::NoiseReceive {
                id,
                server,
                payload,
            } => self.shake_receive(id, server, &payload)?,
            // Of a relay: what only a relay is told.
            _ => {}
        }
        Ok(())
    }

    /// Signs what the relay announces in our name: for the place that we asked it to, and our own key.
    fn sign(&self, wanted: &SignWanted, purpose: Purpose) -> Result<(), Error> {
        let signee = self.state.lock().signees.get(&wanted.signee).cloned();
        let (Some((target, key_pair)), Ok(node)) = (signee, <[u8; 32]>::try_from(&wanted.node[..]))
        else {
            return Ok(());
        };
        let place = Place {
            target,
            token: wanted.token,
            node,
        };
        let announce = Announce {
            peer: Some(Peer {
                public_key: key_pair.public,
                relay_addresses: wanted.relay_addresses.clone(),
            }),
            ..Announce::default()
        };
        let signature = place.sign(purpose, &announce, &key_pair);
        self.link.send_now(Message::Signature {
            id: wanted.id,
            signature: Bytes::copy_from_slice(&signature),
        })
    }

    /// A peer has come to a server of ours.
    fn arrived(
        self: &Arc<Self>,
        theirs: u32,
        server: u32,
        remote: [u8; 32],
        proof: &Proof,
    ) -> Result<(), Error> {
        let mut state = self.state.lock();
        let Some(listening) = state.servers.get(&server) else {
            return Ok(());
        };
        let Ok(place) = listening.accepted.clone().try_reserve_owned() else {
            // Nobody accepts what comes: it goes again by itself.
            return Ok(());
        };
        let local = listening.key_pair.public;
        let Some((keys, sealed)) = state.keys(proof, local, remote) else {
            return Ok(());
        };
        drop(state);
        let ours = self.link.number();
        let (inlet, outlet) = inlet();
        if !self.link.add(theirs, inlet) {
            return Ok(());
        }
        self.link.send_now(Message::Connected {
            alias: ours,
            remote_alias: theirs,
        })?;
        let opened = Opened {
            theirs,
            keys,
            sealed,
        };
        let connection = self.connection(Role::Responder, opened, ours, outlet);
        tokio::spawn(async move {
            if connection.opened().await.is_ok() {
                place.send(connection);
            }
        });
        Ok(())
    }

    /// The connection whose bytes go through the relay.
    pub(super) fn connection(
        self: &Arc<Self>,
        role: Role,
        opened: Opened,
        ours: u32,
        outlet: Outlet,
    ) -> Connection {
        let Opened {
            theirs,
            keys,
            sealed,
        } = opened;
        let (near, far) = tokio::io::duplex(PIPE);
        let keep_alive = self.options.connection_keep_alive;
        if sealed {
            let link = self.clone();
            tokio::spawn(async move {
                link.link.carry_bytes(far, outlet, ours, theirs).await;
            });
            return keyed(near, role, keys, keep_alive);
        }
        // The relay speaks to the peer: between it and us there is no other seal than that of the stream to the relay. What the connection seals on its own is
        // opened again at the other end of the pipe.
        let other = noise::Keys {
            tx: keys.rx.clone(),
            rx: keys.tx.clone(),
            hash: keys.hash,
            public_key: keys.remote_public_key,
            remote_public_key: keys.public_key,
        };
        let messages = keyed(far, role.other(), other, None).messages();
        let link = self.clone();
        tokio::spawn(async move {
            link.link
                .carry_messages(&messages, outlet, ours, theirs)
                .await;
        });
        keyed(near, role, keys, None)
    }
}

fn keyed(
    pipe: DuplexStream,
    role: Role,
    keys: noise::Keys,
    keep_alive: Option<Duration>,
) -> Connection {
    let options = StreamOptions {
        keep_alive,
        ..StreamOptions::default()
    };
    let entropy = Entropy::random();
    let stream = SecretStream::from_keys(Instant::now(), role, keys, entropy, options.clone());
    let options = ConnectionOptions {
        stream: options,
        ..ConnectionOptions::default()
    };
    Connection::with_stream(pipe, stream, options)
}
