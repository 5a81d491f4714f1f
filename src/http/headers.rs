//! Header maps in the serialization of proxy-wasm: a count, the lengths of all names and values, then the bytes, each followed by a NUL. All
//! numbers are little-endian `u32` (proxy-wasm ABI 0.2.1). Names and values are bytes, because HTTP does not promise that a value is UTF-8. Reading
//! a map copies nothing. A map is built in the serialized form.

/// A serialized map from the host.
#[derive(Clone, Debug, Default)]
pub struct HeaderMap {
    bytes: Vec<u8>,
}

impl HeaderMap {
    /// Takes a serialized map. If the bytes are invalid, the map ends before the first invalid pair.
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// The size in memory, in bytes.
    pub fn size(&self) -> usize {
        self.bytes.capacity()
    }

    /// The number of pairs. It is the cost of looking for one.
    pub fn count(&self) -> usize {
        self.iter().lengths.len() / 8
    }

    /// All pairs of name and value, in order.
    pub fn iter(&self) -> Iter<'_> {
        let (lengths, data) = split_lengths(&self.bytes).unwrap_or_default();
        Iter { lengths, data }
    }

    /// A map of the pairs for which `keep` returns true, with some spare capacity. Consecutive pairs are copied at once.
    pub fn filtered(&self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) -> Pairs {
        let mut kept = Pairs::with_capacity(self.count(), self.bytes.len());
        let mut ahead = self.iter();
        let mut run = ahead.clone();
        let mut run_length = 0_u32;
        loop {
            let before = ahead.clone();
            let pair = ahead.next();
            if pair.is_some_and(|(name, value)| keep(name, value)) {
                run_length = run_length.saturating_add(1);
                continue;
            }
            kept.push_run(run_length, &run, &before);
            if pair.is_none() {
                return kept;
            }
            run = ahead.clone();
            run_length = 0;
        }
    }

    /// The values of all headers with this name.
    pub fn get_all<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value)
    }
}

fn split_lengths(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    rest.split_at_checked(count.checked_mul(8)?)
}

/// The pairs of a [`HeaderMap`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    lengths: &'a [u8],
    data: &'a [u8],
}

impl<'a> Iter<'a> {
    fn text(&mut self) -> Option<&'a [u8]> {
        let (length, lengths) = self.lengths.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (text, rest) = self.data.split_at_checked(length)?;
        let (_nul, data) = rest.split_first()?;
        self.lengths = lengths;
        self.data = data;
        Some(text)
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.text()?, self.text()?))
    }
}

/// A map under construction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs {
    count: u32,
    lengths: Vec<u8>,
    data: Vec<u8>,
}

impl Pairs {
    /// An empty map with capacity for `pairs` pairs and `bytes` bytes.
    pub fn with_capacity(pairs: usize, bytes: usize) -> Self {
        Self { count: 0, lengths: Vec::with_capacity(pairs.saturating_mul(8)), data: Vec::with_capacity(bytes) }
    }

    /// Appends a pair.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.count = self.count.saturating_add(1);
        for text in [name, value] {
            // The memory of a wasm module ends at 4 GiB, so no text is longer.
            let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
            self.lengths.extend_from_slice(&length.to_le_bytes());
            self.data.extend_from_slice(text);
            self.data.push(0);
        }
    }

    /// Appends the pairs between two positions of one map.
    fn push_run(&mut self, count: u32, from: &Iter<'_>, to: &Iter<'_>) {
        let between = |from: &[u8], to: &[u8]| from.len().saturating_sub(to.len());
        let lengths = from.lengths.get(..between(from.lengths, to.lengths)).unwrap_or_default();
        let data = from.data.get(..between(from.data, to.data)).unwrap_or_default();
        self.count = self.count.saturating_add(count);
        self.lengths.extend_from_slice(lengths);
        self.data.extend_from_slice(data);
    }

    /// Frees unused memory, but keeps room for `room` bytes. Keeps small amounts, which cost more to free than to keep.
    pub fn shrink(&mut self, room: usize) {
        const REST: usize = 512;
        for part in [&mut self.lengths, &mut self.data] {
            let wanted = part.len().saturating_add(room);
            if part.capacity() > wanted.saturating_add(wanted / 4).saturating_add(REST) {
                part.shrink_to(wanted);
            }
        }
    }

    /// The size in memory, in bytes.
    pub fn capacity(&self) -> usize {
        self.lengths.capacity().saturating_add(self.data.capacity())
    }

    /// The number of pairs.
    pub fn count(&self) -> usize {
        usize::try_from(self.count).unwrap_or(usize::MAX)
    }

    /// True if there is a pair with this name.
    pub fn has(&self, name: &[u8]) -> bool {
        let mut pairs = Iter { lengths: &self.lengths, data: &self.data };
        pairs.any(|(other, _)| other == name)
    }

    /// The length of the serialized map in bytes.
    pub fn serialized_len(&self) -> usize {
        self.lengths.len().saturating_add(self.data.len()).saturating_add(4)
    }

    /// Serializes this map, followed by the pairs of `more`.
    pub fn serialize_with(&self, more: &Self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.serialized_len().saturating_add(more.serialized_len()));
        bytes.extend_from_slice(&self.count.saturating_add(more.count).to_le_bytes());
        for part in [&self.lengths, &more.lengths, &self.data, &more.data] {
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Pairs {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut map = Self::default();
        for (name, value) in pairs {
            map.push(name.as_ref(), value.as_ref());
        }
        map
    }
}

impl From<&Pairs> for HeaderMap {
    fn from(pairs: &Pairs) -> Self {
        Self::new(pairs.serialize_with(&Pairs::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_serialized_form_is_that_of_the_abi() {
        let map = Pairs::from_iter([(":path", "/a"), ("x", "")]);
        let expected = [&[2, 0, 0, 0][..], &[5, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], b":path\0/a\0x\0\0"].concat();
        assert_eq!(map.serialize_with(&Pairs::default()), expected);
    }

    #[test]
    fn all_values_of_a_name_are_found_in_order() {
        let map = HeaderMap::from(&Pairs::from_iter([("a", "1"), ("b", "2"), ("a", "3")]));
        assert_eq!(map.get_all(b"a").collect::<Vec<_>>(), [b"1", b"3"]);
    }

    #[test]
    fn an_empty_map_has_no_pairs() {
        assert_eq!(HeaderMap::new(Vec::new()).iter().count(), 0);
        assert_eq!(HeaderMap::new(vec![0, 0, 0, 0]).iter().count(), 0);
    }

    fn pairs() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
        prop::collection::vec((prop::collection::vec(any::<u8>(), 0..9), prop::collection::vec(any::<u8>(), 0..40)), 0..12)
    }

    proptest! {
        #[test]
        fn what_is_pushed_is_read_back(first in pairs(), second in pairs()) {
            let built = Pairs::from_iter(first.clone());
            let map = HeaderMap::new(built.serialize_with(&Pairs::from_iter(second.clone())));
            let read: Vec<_> = map.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            prop_assert_eq!(read, [first, second].concat());
        }

        #[test]
        fn filtering_keeps_what_it_is_told_to(pairs in pairs()) {
            let keep = |name: &[u8], value: &[u8]| name.len().is_multiple_of(2) || value.is_empty();
            let filtered = HeaderMap::from(&Pairs::from_iter(pairs.clone())).filtered(keep);
            let expected = Pairs::from_iter(pairs.into_iter().filter(|(name, value)| keep(name, value)));
            prop_assert_eq!(filtered, expected);
        }

        #[test]
        fn junk_reads_as_some_pairs(bytes in prop::collection::vec(any::<u8>(), 0..64), count in 0_u32..9) {
            let junk = [&count.to_le_bytes()[..], &bytes].concat();
            prop_assert!(HeaderMap::new(junk).iter().count() <= 8);
        }
    }
}
