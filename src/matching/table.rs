//! What belongs to texts. All tables, of whatever, are one type of hash map: each further one takes 2 KiB of the module.

use rustc_hash::FxHashMap;

/// Something for each of some texts.
#[derive(Debug)]
pub(super) struct Table<T> {
    places: FxHashMap<Box<[u8]>, usize>,
    items: Vec<T>,
}

impl<T> Table<T> {
    pub(super) fn new() -> Self {
        Self { places: FxHashMap::default(), items: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.places.keys().map(|text| &**text)
    }

    /// What belongs to a text.
    pub(super) fn get(&self, text: &[u8]) -> Option<&T> {
        self.items.get(*self.places.get(text)?)
    }

    /// What belongs to a text and may be changed; `new` if nothing did.
    pub(super) fn get_or_insert(&mut self, text: &[u8], new: T) -> Option<&mut T> {
        let place = *self.places.entry(text.into()).or_insert(self.items.len());
        if place == self.items.len() {
            self.items.push(new);
        }
        self.items.get_mut(place)
    }

    /// The same texts, to each what is made of its own.
    pub(super) fn map<U>(self, make: impl FnMut(T) -> U) -> Table<U> {
        Table { places: self.places, items: self.items.into_iter().map(make).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_held_once() {
        let mut table = Table::new();
        for (text, number) in [(&b"a"[..], 1), (b"b", 2), (b"a", 3), (b"", 4)] {
            *table.get_or_insert(text, 0).unwrap() += number;
        }
        assert_eq!(table.items, [4, 2, 4]);
        let table = table.map(|number| number * 10);
        assert_eq!((table.get(b"a"), table.get(b"b"), table.get(b""), table.get(b"c")), (Some(&40), Some(&20), Some(&40), None));
        assert_eq!(table.texts().count(), 3);
    }
}
