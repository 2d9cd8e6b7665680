//! Answering requests.

use super::{
    events::PeerId,
    machine::Machine,
    messages::{Data, INVALID_REQUEST, Message, NOT_AVAILABLE, NoData, Request},
    peer::Closing,
};
use crate::{
    core::{Core, Head},
    error::Error,
    merkle::Proof,
};

/// What an answer came to.
enum Answer {
    Proof(Box<Proof>),
    No(u64),
    /// The core has changed meanwhile.
    Again,
}

impl Machine {
    /// The answer to the next request or want of a peer. Answers are made one by one, as the driver has room for them.
    pub(crate) fn answer(&mut self, core: &Core, id: PeerId) -> Option<Message> {
        loop {
            let shown = self.shown.clone()?;
            let peer = self.peers.get_mut(&id)?;
            if peer.closing.is_some() {
                return None;
            }
            if let Some(want) = peer.due.wants.pop_front() {
                self.answer_want(core, id, want);
                if let Some(message) = self.peers.get_mut(&id)?.due.messages.pop_front() {
                    return Some(message);
                }
                continue;
            }
            let request = peer.serve.pop_front()?;
            let answer = match self.proof(core, &shown, &request) {
                Ok(answer) => answer,
                Err(Error::Tree(error)) => {
                    tracing::debug!(%error, peer = id, "a request of a peer makes no sense");
                    self.invalid_request(core, id);
                    Answer::No(INVALID_REQUEST)
                }
                Err(error) => {
                    tracing::warn!(%error, "a request of a peer cannot be answered");
                    Answer::No(NOT_AVAILABLE)
                }
            };
            match answer {
                Answer::Again => {
                    self.peers.get_mut(&id)?.serve.push_front(request);
                    self.show(core);
                    self.shown.as_ref()?;
                }
                Answer::No(reason) => {
                    let request = request.id;
                    return Some(Message::NoData(NoData { request, reason }));
                }
                Answer::Proof(proof) => {
                    if let Some(block) = &proof.block {
                        let bytes = block.value.len() as u64;
                        core.replication.uploaded(block.index, bytes, id);
                    }
                    return Some(Message::Data(Box::new(Data {
                        request: request.id,
                        proof: *proof,
                    })));
                }
            }
        }
    }

    fn proof(&self, core: &Core, shown: &Head, request: &Request) -> Result<Answer, Error> {
        let verifier = core.verifier().filter(|known| !known.is_compat());
        let manifest = || verifier.filter(|_| request.manifest);
        let manifest = manifest().map(|known| known.manifest().clone());
        let no = |manifest: Option<_>| match manifest {
            None => Answer::No(NOT_AVAILABLE),
            manifest => Answer::Proof(Box::new(Proof {
                fork: shown.tree.fork,
                manifest,
                ..Proof::default()
            })),
        };
        if request.fork != shown.tree.fork {
            return Ok(no(manifest));
        }
        let block = match request.proof.block {
            Some(asked) if asked.index >= shown.tree.length || !self.is_durable(asked.index) => {
                return Ok(no(manifest));
            }
            Some(asked) => match core.block(asked.index)? {
                Some(block) => Some(block),
                None => return Ok(no(manifest)),
            },
            None => None,
        };
        let nodes = |index| core.node(index);
        let proof = shown.tree.proof(&nodes, &request.proof, block);
        // what was read is of the shown history only if that has not been cut meanwhile
        let still = core.shown().0;
        if still.is_none_or(|still| still.tree.fork != shown.tree.fork) {
            return Ok(Answer::Again);
        }
        let mut proof = proof?;
        if let Some(upgrade) = &mut proof.upgrade {
            upgrade.signature = shown.signature(core);
        }
        proof.manifest = manifest;
        Ok(Answer::Proof(Box::new(proof)))
    }

    /// Sends a block that was not asked for to the peers that take such.
    pub(crate) fn push(&mut self, core: &Core, index: u64) {
        self.show(core);
        let Some(shown) = self.shown.clone() else {
            return;
        };
        for peer in self.peers.values_mut().filter(|peer| peer.opened) {
            let remote = peer.remote;
            if !remote.allow_push
                || !remote.downloading
                || remote.fork != shown.tree.fork
                || index >= shown.tree.length
                || peer.has(index)
                || peer.closing == Some(Closing::Channel)
            {
                continue;
            }
            // What was pushed before comes before this.
            let length = match peer.pushed {
                (length, fork) if fork == remote.fork => length.max(remote.length),
                _ => remote.length,
            };
            let upgrade = (index >= length).then(|| crate::merkle::UpgradeRequest {
                start: length,
                length: shown.tree.length - length,
            });
            if upgrade.is_some() {
                peer.pushed = (shown.tree.length, remote.fork);
            }
            let nodes = crate::merkle::Tree::max_missing_nodes(2 * index, length);
            let behind = peer.serve.iter().take_while(|other| other.id == 0).count();
            let request = Request {
                id: 0,
                fork: shown.tree.fork,
                proof: crate::merkle::ProofRequest {
                    block: Some(crate::merkle::NodeRequest { index, nodes }),
                    upgrade,
                    ..Default::default()
                },
                manifest: length == 0,
                priority: 0,
            };
            peer.serve.insert(behind, request);
            peer.mark();
        }
    }
}
