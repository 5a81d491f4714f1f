//! A map from texts to items. All tables share one type of hash map, because each further type takes 2 KiB of the module.

use rustc_hash::FxHashMap;

/// A map from texts to items.
#[derive(Debug)]
pub(super) struct Table<T> {
    places: FxHashMap<Box<[u8]>, usize>,
    items: Vec<T>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Table<T> {
    pub(super) fn new() -> Self {
        Self { places: FxHashMap::default(), items: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// The position of a text, from 0.
    pub(super) fn place(&self, text: &[u8]) -> Option<usize> {
        self.places.get(text).copied()
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.places.keys().map(|text| &**text)
    }

    /// The item of a text.
    pub(super) fn get(&self, text: &[u8]) -> Option<&T> {
        self.items.get(self.place(text)?)
    }

    /// The item of a text. Inserts `new` if there is none.
    pub(super) fn get_or_insert(&mut self, text: &[u8], new: T) -> Option<&mut T> {
        let place = *self.places.entry(text.into()).or_insert(self.items.len());
        if place == self.items.len() {
            self.items.push(new);
        }
        self.items.get_mut(place)
    }

    /// The same texts, with each item converted.
    pub(super) fn map<U>(self, make: impl FnMut(T) -> U) -> Table<U> {
        Table { places: self.places, items: self.items.into_iter().map(make).collect() }
    }
}

/// The bit for the length of a text, modulo 64.
pub(super) fn length_bit(text: &[u8]) -> u64 {
    1 << (text.len() % 64)
}

/// A filter that rejects most names that no rule uses, for less than the cost of a hash.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// One bit for each length, modulo 64.
    lengths: u64,
    /// One bit for some names each. See [`Self::place`].
    bits: [u64; 16],
}

impl Names {
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut all = Self::default();
        for name in names {
            all.lengths |= length_bit(name);
            let (word, bit) = Self::place(name);
            if let Some(word) = all.bits.get_mut(word) {
                *word |= bit;
            }
        }
        all
    }

    /// False if the name is certainly none of these.
    pub(super) fn may_have(&self, name: &[u8]) -> bool {
        if self.lengths & length_bit(name) == 0 {
            return false;
        }
        let (word, bit) = Self::place(name);
        self.bits.get(word).is_some_and(|word| word & bit != 0)
    }

    /// The position of the bit of a name. It depends on the length and the last character, in which names mostly differ.
    fn place(name: &[u8]) -> (usize, u64) {
        let last = usize::from(name.last().copied().unwrap_or_default());
        (last % 16, 1 << (name.len().wrapping_add(last.wrapping_mul(5)) % 64))
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
