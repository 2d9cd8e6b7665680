//! What is being opened under which protocol and id, by whom.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

/// A protocol and an id under it. No id and an empty one are the same, as on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic {
    /// The name of the protocol.
    pub protocol: Box<str>,
    /// The id of what is spoken about; may be empty.
    pub id: Box<[u8]>,
}

impl Topic {
    /// Puts both together.
    pub fn new(protocol: &str, id: &[u8]) -> Self {
        Self {
            protocol: protocol.into(),
            id: id.into(),
        }
    }
}

/// All that goes on under one topic. The ids in the lists are those of protomux, from 1.
#[derive(Debug, Default)]
pub(super) struct Info {
    /// It, and its aliases.
    names: Vec<Topic>,
    /// How many channels we have opened here.
    pub(super) opened: usize,
    /// Who was told that the peer opens, and has not settled yet.
    pub(super) pairing: usize,
    /// The peer's channels that nobody took yet.
    pub(super) incoming: VecDeque<u64>,
    /// Our channels that the peer has not answered.
    pub(super) outgoing: VecDeque<u64>,
}

/// Stands for an [`Info`].
pub(super) type InfoId = u64;

#[derive(Debug, Default)]
pub(super) struct Topics {
    names: HashMap<Topic, InfoId>,
    infos: HashMap<InfoId, Info>,
    next: InfoId,
}

impl Topics {
    pub(super) fn find(&self, topic: &Topic) -> Option<&Info> {
        self.infos.get(self.names.get(topic)?)
    }

    /// The one of this topic, made if there is none. What goes on under an alias already, as when the peer was first with another name, is the
    /// same (npm loses it then).
    pub(super) fn enter(&mut self, topic: &Topic, aliases: &[&str]) -> InfoId {
        if let Some(id) = self.names.get(topic) {
            return *id;
        }
        let aliases = aliases.iter().map(|alias| Topic::new(alias, &topic.id));
        let names: Vec<Topic> = std::iter::once(topic.clone()).chain(aliases).collect();
        let known = names.iter().find_map(|name| self.names.get(name).copied());
        let id = known.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        let info = self.infos.entry(id).or_default();
        for name in names {
            if let Entry::Vacant(vacant) = self.names.entry(name.clone()) {
                vacant.insert(id);
                info.names.push(name);
            }
        }
        id
    }

    pub(super) fn get(&mut self, id: InfoId) -> Option<&mut Info> {
        self.infos.get_mut(&id)
    }

    /// Forgets it when nothing goes on there.
    pub(super) fn leave(&mut self, id: InfoId) {
        let idle = self.infos.get(&id).is_some_and(|info| {
            info.opened == 0
                && info.pairing == 0
                && info.outgoing.is_empty()
                && info.incoming.is_empty()
        });
        if idle && let Some(info) = self.infos.remove(&id) {
            for name in info.names {
                self.names.remove(&name);
            }
        }
    }
}
