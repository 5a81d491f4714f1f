//! Header maps in the serialization of proxy-wasm: a count, the lengths of all names and values, then the bytes, each followed by a NUL. All
//! numbers are little-endian `u32` (proxy-wasm ABI 0.2.1). Names and values are bytes, because HTTP does not promise that a value is UTF-8. Reading
//! a map copies nothing. A map is changed in place, or built in the serialized form.

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
        self.iter().lengths.len() / PAIR
    }

    /// All pairs of name and value, in order.
    pub fn iter(&self) -> Iter<'_> {
        let (lengths, data) = split_lengths(&self.bytes).unwrap_or_default();
        Iter { lengths, data }
    }

    /// Keeps the pairs for which `keep` returns true, without new memory. Consecutive pairs are moved at once.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let Some((lengths, _)) = split_lengths(&self.bytes) else {
            self.bytes.clear();
            return;
        };
        let end_of_table = COUNT.saturating_add(lengths.len());
        let mut kept = Place { table: COUNT, data: end_of_table };
        let (mut run, mut ahead) = (kept, kept);
        loop {
            let pair = (ahead.table < end_of_table).then(|| ahead.pair(&self.bytes)).flatten();
            if let Some((name, value, next)) = pair {
                if keep(name, value) {
                    ahead = next;
                    continue;
                }
            }
            let next = pair.map(|(_, _, next)| next);
            kept = Place {
                table: move_back(&mut self.bytes, run.table..ahead.table, kept.table),
                data: move_back(&mut self.bytes, run.data..ahead.data, kept.data),
            };
            let Some(next) = next else {
                break;
            };
            (run, ahead) = (next, next);
        }
        let end = move_back(&mut self.bytes, end_of_table..kept.data, kept.table);
        self.bytes.truncate(end);
        let count = u32::try_from(kept.table / PAIR).unwrap_or(u32::MAX);
        if let Some(place) = self.bytes.first_chunk_mut() {
            *place = count.to_le_bytes();
        }
    }

    /// Appends a pair.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let pair = Pairs::from_iter([(name, value)]);
        self.bytes = self.parts().followed_by(pair.parts());
    }

    /// Frees unused memory. Keeps small amounts, which cost more to free than to keep.
    pub fn shrink(&mut self) {
        const REST: usize = 512;
        let wanted = self.bytes.len();
        if self.bytes.capacity() > wanted.saturating_add(wanted / 4).saturating_add(REST) {
            self.bytes.shrink_to_fit();
        }
    }

    /// The map, to serialize it together with others.
    pub fn parts(&self) -> Parts<'_> {
        let Iter { lengths, data } = self.iter();
        Parts { count: u32::try_from(lengths.len() / PAIR).unwrap_or(u32::MAX), lengths, data }
    }

    /// The values of all headers with this name.
    pub fn get_all<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value)
    }
}

/// The bytes of the count.
const COUNT: usize = 4;
/// The bytes of the two lengths of a pair.
const PAIR: usize = 8;

/// The position of a pair in a serialized map: of its lengths, and of its texts.
#[derive(Clone, Copy)]
struct Place {
    table: usize,
    data: usize,
}

impl Place {
    /// The pair at this position, and the position of the next.
    fn pair<'a>(&self, bytes: &'a [u8]) -> Option<(&'a [u8], &'a [u8], Self)> {
        let (lengths, data) = (bytes.get(self.table..)?.get(..PAIR)?, bytes.get(self.data..)?);
        let mut texts = Iter { lengths, data };
        let (name, value) = texts.next()?;
        let used = data.len().saturating_sub(texts.data.len());
        Some((name, value, Self { table: self.table.saturating_add(PAIR), data: self.data.saturating_add(used) }))
    }
}

/// Moves bytes towards the beginning. Returns where they end then.
fn move_back(bytes: &mut [u8], from: std::ops::Range<usize>, to: usize) -> usize {
    let end = to.saturating_add(from.len());
    if to < from.start && from.end <= bytes.len() {
        bytes.copy_within(from, to);
    }
    end
}

/// A map as the three parts of its serialized form.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    count: u32,
    lengths: &'a [u8],
    data: &'a [u8],
}

impl Parts<'_> {
    /// The number of pairs.
    pub fn count(&self) -> usize {
        usize::try_from(self.count).unwrap_or(usize::MAX)
    }

    /// The length of the serialized map in bytes.
    pub fn serialized_len(&self) -> usize {
        self.lengths.len().saturating_add(self.data.len()).saturating_add(COUNT)
    }

    /// Serializes this map, followed by the pairs of `more`.
    pub fn followed_by(&self, more: Parts<'_>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.serialized_len().saturating_add(more.serialized_len()));
        bytes.extend_from_slice(&self.count.saturating_add(more.count).to_le_bytes());
        for part in [self.lengths, more.lengths, self.data, more.data] {
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

fn split_lengths(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    rest.split_at_checked(count.checked_mul(PAIR)?)
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

    /// True if there is a pair with this name.
    pub fn has(&self, name: &[u8]) -> bool {
        let mut pairs = Iter { lengths: &self.lengths, data: &self.data };
        pairs.any(|(other, _)| other == name)
    }

    /// The map, to serialize it together with others.
    pub fn parts(&self) -> Parts<'_> {
        Parts { count: self.count, lengths: &self.lengths, data: &self.data }
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
        Self::new(pairs.parts().followed_by(Pairs::default().parts()))
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
        assert_eq!(map.parts().followed_by(Pairs::default().parts()), expected);
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
            let map = HeaderMap::new(built.parts().followed_by(Pairs::from_iter(second.clone()).parts()));
            let read: Vec<_> = map.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            prop_assert_eq!(read, [first, second].concat());
        }

        #[test]
        fn what_is_not_retained_leaves_no_trace(pairs in pairs()) {
            let keep = |name: &[u8], value: &[u8]| name.len().is_multiple_of(2) || value.is_empty();
            let mut map = HeaderMap::from(&Pairs::from_iter(pairs.clone()));
            map.retain(keep);
            let expected = Pairs::from_iter(pairs.into_iter().filter(|(name, value)| keep(name, value)));
            prop_assert_eq!(map.bytes, HeaderMap::from(&expected).bytes);
        }

        #[test]
        fn what_is_pushed_comes_last(pairs in pairs()) {
            let mut map = HeaderMap::from(&Pairs::from_iter(pairs.clone()));
            map.push(b"x", b"1");
            let expected = Pairs::from_iter([pairs, vec![(b"x".to_vec(), b"1".to_vec())]].concat());
            prop_assert_eq!(map.bytes, HeaderMap::from(&expected).bytes);
        }

        #[test]
        fn junk_reads_as_some_pairs(bytes in prop::collection::vec(any::<u8>(), 0..64), count in 0_u32..9) {
            let junk = [&count.to_le_bytes()[..], &bytes].concat();
            let mut map = HeaderMap::new(junk);
            let read: Vec<_> = map.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            prop_assert!(read.len() <= 8);
            map.retain(|name, _| name.is_empty());
            let kept: Vec<_> = map.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            prop_assert_eq!(kept, read.into_iter().filter(|(name, _)| name.is_empty()).collect::<Vec<_>>());
        }
    }
}
