//! The routing table: nodes by how many leading bits of their id are those of ours, at most [`K`] in each row.

use super::id::{Id, closer, shared_bits};
use std::{collections::BTreeMap, net::SocketAddrV4};

/// Nodes in a row, and in an answer.
pub(crate) const K: usize = 20;

/// A node of the table. Times are counted in ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: Id,
    pub(crate) address: SocketAddrV4,
    pub(crate) added: u64,
    /// When it was asked or heard last.
    pub(crate) pinged: u64,
    pub(crate) seen: u64,
    /// When it last told us our address.
    pub(crate) sampled: Option<u64>,
    pub(crate) down_hints: u32,
}

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) id: Id,
    rows: BTreeMap<usize, Vec<Entry>>,
    len: usize,
}

impl Table {
    pub(crate) fn new(id: Id) -> Self {
        Self {
            id,
            rows: BTreeMap::new(),
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn row(&self, id: &Id) -> usize {
        shared_bits(&self.id, id).min(255)
    }

    pub(crate) fn get(&mut self, id: &Id) -> Option<&mut Entry> {
        let row = self.row(id);
        self.rows
            .get_mut(&row)?
            .iter_mut()
            .find(|entry| entry.id == *id)
    }

    /// False when its row is full, or when it is our own.
    pub(crate) fn add(&mut self, entry: Entry) -> bool {
        if entry.id == self.id {
            return false;
        }
        let row = self
            .rows
            .entry(shared_bits(&self.id, &entry.id).min(255))
            .or_default();
        match row.binary_search_by(|known| known.id.cmp(&entry.id)) {
            Ok(_) => false,
            Err(_) if row.len() >= K => false,
            Err(at) => {
                row.insert(at, entry);
                self.len += 1;
                true
            }
        }
    }

    pub(crate) fn remove(&mut self, id: &Id) -> Option<Entry> {
        let row = self.row(id);
        let entries = self.rows.get_mut(&row)?;
        let at = entries.iter().position(|entry| entry.id == *id)?;
        self.len -= 1;
        Some(entries.remove(at))
    }

    /// The nodes in whose row this id would be.
    pub(crate) fn neighbours(&self, id: &Id) -> &[Entry] {
        self.rows.get(&self.row(id)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.rows.values_mut().flatten()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.rows.values().flatten()
    }

    /// Up to `count` nodes that are closest to the target, the closest first.
    pub(crate) fn closest(&self, target: &Id, count: usize) -> Vec<(Id, SocketAddrV4)> {
        // Rows that share more bits with the target hold closer nodes: its own row first, then those beyond it, then the others from the longest.
        let own = self.row(target);
        let mut found: Vec<(Id, SocketAddrV4)> = Vec::new();
        let mut take = |row: &Vec<Entry>| {
            found.extend(row.iter().map(|entry| (entry.id, entry.address)));
            found.len() >= count
        };
        let full = self.rows.get(&own).is_some_and(&mut take);
        if !full {
            let beyond = self.rows.range(own + 1..).map(|(_, row)| row);
            for row in beyond {
                take(row);
            }
            for (_, row) in self.rows.range(..own).rev() {
                if take(row) {
                    break;
                }
            }
        }
        found.sort_by(|a, b| closer(target, &a.0, &b.0));
        found.truncate(count);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dht_rpc::id::node_id;
    use std::net::Ipv4Addr;

    #[test]
    fn the_closest_are_the_closest() {
        let address = |n: u16| SocketAddrV4::new(Ipv4Addr::LOCALHOST, n);
        let mut table = Table::new(node_id(address(1)));
        let mut all = Vec::new();
        for port in 2..600 {
            let id = node_id(address(port));
            let entry = Entry {
                id,
                address: address(port),
                added: 0,
                pinged: 0,
                seen: 0,
                sampled: None,
                down_hints: 0,
            };
            if table.add(entry.clone()) {
                all.push(id);
                assert!(!table.add(entry));
            }
        }
        assert_eq!(table.len(), all.len());
        for port in 1..200 {
            let target = node_id(address(port + 10_000));
            all.sort_by(|a, b| closer(&target, a, b));
            let found: Vec<Id> = table
                .closest(&target, K)
                .into_iter()
                .map(|(id, _)| id)
                .collect();
            assert_eq!(found, all[..K], "target {port}");
        }
        let gone = all[3];
        assert!(table.remove(&gone).is_some());
        assert!(table.get(&gone).is_none());
        assert!(table.neighbours(&gone).iter().all(|e| e.id != gone));
    }
}
