//! What a reader sees: the layers of the index at one moment.

use crate::{
    error::Error,
    index::{Cursor, Found, Layer, Lender, Memtable, Slot, Table, key_hash},
};
use bytes::Bytes;
use std::{ops::Bound, sync::Arc};

/// The layers below the memtable. Never changed: a freeze or a checkpoint makes a new one. While one lives, the files it shows stay.
#[derive(Default)]
pub(crate) struct Lower {
    /// Memtables that are full, newest first.
    pub(crate) frozen: Vec<Arc<Memtable>>,
    /// Newest first.
    pub(crate) tables: Vec<Arc<Table>>,
    layers: Vec<Layer>,
}

impl Lower {
    pub(crate) fn new(frozen: Vec<Arc<Memtable>>, tables: Vec<Arc<Table>>) -> Self {
        let layers = frozen
            .iter()
            .map(|memtable| Layer::Memory(memtable.clone()))
            .chain(tables.iter().map(|table| Layer::Table(table.clone())))
            .collect();
        Self {
            frozen,
            tables,
            layers,
        }
    }

    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    pub(crate) fn table_layers(&self) -> &[Layer] {
        &self.layers[self.frozen.len()..]
    }
}

/// What the newest of these layers that knows the key says; `Deleted` when none does.
pub(crate) fn get(layers: &[Layer], key: &[u8]) -> Result<Slot, Error> {
    let hash = key_hash(key);
    for layer in layers {
        if let Found::Here(slot) = layer.get(key, hash)? {
            return Ok(slot);
        }
    }
    Ok(Slot::Deleted)
}

/// What is true now.
pub(crate) struct State {
    pub(crate) memtable: Memtable,
    pub(crate) lower: Arc<Lower>,
}

impl State {
    /// Makes the memtable a frozen one, and begins a new one.
    pub(crate) fn freeze(&mut self) {
        if self.memtable.is_empty() {
            return;
        }
        let full = Arc::new(std::mem::take(&mut self.memtable));
        let mut frozen = vec![full];
        frozen.extend(self.lower.frozen.iter().cloned());
        self.lower = Arc::new(Lower::new(frozen, self.lower.tables.clone()));
    }

    pub(crate) fn view(&self) -> View {
        View {
            memtable: Arc::new(self.memtable.clone()),
            lower: self.lower.clone(),
        }
    }
}

/// A moment, kept.
#[derive(Clone)]
pub(crate) struct View {
    memtable: Arc<Memtable>,
    lower: Arc<Lower>,
}

impl View {
    pub(crate) fn lower(&self) -> &Arc<Lower> {
        &self.lower
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Slot, Error> {
        match self.memtable.get(key) {
            Found::Here(slot) => Ok(slot),
            Found::Unknown => get(self.lower.layers(), key),
        }
    }

    /// All layers, newest first.
    pub(crate) fn layers(&self) -> Vec<Layer> {
        let mut layers = Vec::with_capacity(1 + self.lower.layers().len());
        if !self.memtable.is_empty() {
            layers.push(Layer::Memory(self.memtable.clone()));
        }
        layers.extend_from_slice(self.lower.layers());
        layers
    }

    pub(crate) fn cursor(&self, low: Bound<Bytes>, high: Bound<Bytes>) -> Cursor {
        Cursor::new(self.layers(), low, high)
    }

    pub(crate) fn lender(&self, low: &Bound<Bytes>, high: Bound<Bytes>) -> Lender<'_> {
        let frozen = self.lower.frozen.iter().map(|memtable| &**memtable);
        let newest = (!self.memtable.is_empty()).then_some(&*self.memtable);
        let memtables = newest.into_iter().chain(frozen);
        let tables = self.lower.tables.iter().map(|table| &**table);
        Lender::new(memtables, tables, low, high)
    }
}
