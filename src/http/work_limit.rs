//! Work limits: counts what is decoded, searched and written for one request, over all targets.
//!
//! A small body can become large when it is decoded, and a template can use it many times. The worker does nothing else meanwhile, so the work is
//! bounded. It is counted and not timed: the same request costs the same everywhere.

use std::cell::Cell;

/// The work for a position in a JSON text: it is found, stored, and visited by a search.
pub const PLACE: usize = 4;
/// The work for a block of a compressed body: its tables are built anew.
pub const BLOCK: usize = 2_048;
/// The work for a byte of a query, which is split, decoded and sorted.
pub const QUERY_BYTE: usize = 8;

/// The work to see whether a header is the one that is looked for.
pub const HEADER: usize = 2;

/// The work to hash a byte for a signature.
pub const HASHED_BYTE: usize = 2;

/// The work to match a pattern against a byte of text.
pub const PATTERN_BYTE: usize = 24;

/// Counts work, in bytes that are read or written.
#[derive(Debug)]
pub struct Work {
    spent: Cell<usize>,
    max: usize,
}

/// The work exceeds the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch;

impl Work {
    /// Creates a counter with this limit.
    pub const fn new(max: usize) -> Self {
        Self { spent: Cell::new(0), max }
    }

    /// Creates a counter without a limit.
    pub const fn unbounded() -> Self {
        Self::new(usize::MAX)
    }

    /// Counts work before it is done.
    ///
    /// # Errors
    /// Returns an error if the work exceeds the limit. The caller must not do it then. All later calls fail, too.
    pub fn spend(&self, bytes: usize) -> Result<(), TooMuch> {
        let spent = self.spent.get().saturating_add(bytes);
        self.spent.set(spent);
        if spent > self.max {
            return Err(TooMuch);
        }
        Ok(())
    }

    /// True if this much more work is allowed.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.spent.get().saturating_add(bytes) <= self.max
    }

    /// True once the limit is exceeded.
    pub fn is_over(&self) -> bool {
        self.spent.get() > self.max
    }

    /// The work counted so far.
    pub fn spent(&self) -> usize {
        self.spent.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_stays_too_much() {
        let work = Work::new(10);
        assert_eq!(work.spend(10), Ok(()));
        assert!(!work.is_over() && !work.has_room(1));
        assert_eq!(work.spend(1), Err(TooMuch));
        assert_eq!((work.spend(0), work.is_over(), work.spent()), (Err(TooMuch), true, 11));
        assert_eq!(Work::unbounded().spend(usize::MAX), Ok(()));
    }
}
