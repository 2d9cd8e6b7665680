//! How a JavaScript object orders its names: array indexes first, by number; then the others, as they came.

use std::collections::HashMap;

/// The number of a name that is an array index: canonical decimal, below 2³² − 1.
fn array_index(name: &str) -> Option<u32> {
    let canonical = name == "0" || !name.starts_with(['0', '+']);
    name.parse()
        .ok()
        .filter(|index| canonical && *index != u32::MAX)
}

/// The items in the order in which JavaScript would list them.
pub(crate) fn in_key_order<T>(
    items: impl IntoIterator<Item = T>,
    name: impl Fn(&T) -> &str,
) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    if items.iter().any(|item| array_index(name(item)).is_some()) {
        items.sort_by_key(|item| {
            let index = array_index(name(item));
            (index.is_none(), index)
        });
    }
    items
}

/// Collects names and values; setting a name again keeps its place.
#[derive(Debug)]
pub(crate) struct Entries<V> {
    list: Vec<(String, V)>,
    places: HashMap<String, usize>,
}

impl<V> Default for Entries<V> {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            places: HashMap::new(),
        }
    }
}

impl<V> Entries<V> {
    pub(crate) fn set(&mut self, name: String, value: V) {
        match self.places.get(&name) {
            Some(place) => self.list[*place].1 = value,
            None => {
                self.places.insert(name.clone(), self.list.len());
                self.list.push((name, value));
            }
        }
    }
    pub(crate) fn into_list(self) -> Vec<(String, V)> {
        self.list
    }
}
