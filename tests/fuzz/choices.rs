//! Decisions taken from random bytes. Once they are used up, every decision is the first possibility, so that what is made comes to
//! an end, and of what fails something small remains.

use arbitrary::Unstructured;

/// Bytes that decide.
pub(crate) struct Choices<'a>(Unstructured<'a>);

impl<'a> Choices<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(Unstructured::new(bytes))
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0.int_in_range(0..=end - 1).unwrap_or(0)
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    pub(crate) fn one_of<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }

    /// Up to `most` of what is made.
    pub(crate) fn some<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.arbitrary().unwrap_or(0)
    }

    pub(crate) fn bytes(&mut self, most: usize) -> Vec<u8> {
        self.some(most, |choices| choices.below(256) as u8)
    }

    /// Text of what is troublesome somewhere.
    pub(crate) fn text(&mut self, most: usize) -> String {
        const PIECES: [&str; 28] = [
            "a", "b", "0", " ", "\"", "\\", "/", "~", "\r\n", "\0", "\t", "\u{7f}", "%", "%2F", "?", "&", "=", "#", "${", "}",
            "é", "\u{85}", "\u{2028}", "😀", "\u{feff}", "..", "*", "@",
        ];
        self.some(most, |choices| *choices.one_of(&PIECES)).concat()
    }

    /// Damages bytes in up to `most` places.
    pub(crate) fn damage(&mut self, bytes: &mut Vec<u8>, most: usize) {
        for _ in 0..=self.below(most) {
            if bytes.is_empty() {
                return;
            }
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = self.below(256) as u8,
                2 => bytes.truncate(at),
                3 => drop(bytes.remove(at)),
                _ => {
                    let end = (at + self.below(16)).min(bytes.len());
                    let part = bytes[at..end].to_vec();
                    let to = self.below(bytes.len() + 1);
                    bytes.splice(to..to, part);
                }
            }
        }
    }
}
