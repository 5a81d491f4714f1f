//! The work that one request may cause: what is decoded, searched and written for it, over all targets.
//!
//! A body that is small on the wire can be large when it is decoded, and a template can name it many times. A worker does
//! nothing else meanwhile, so the work has a bound. It is counted, not timed: the same request costs the same everywhere.

use std::cell::Cell;

/// A place in a JSON text: it is found, kept, and looked at by whoever searches.
pub const PLACE: usize = 4;
/// A block of a compressed body: its tables are built anew.
pub const BLOCK: usize = 2_048;
/// A byte of a query, which is split, decoded and sorted.
pub const QUERY_BYTE: usize = 8;

/// A byte of text that a pattern is held against.
pub const PATTERN_BYTE: usize = 24;

/// Counts work, in bytes that are read or written.
#[derive(Debug)]
pub struct Work {
    spent: Cell<usize>,
    max: usize,
}

/// There is more work than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch;

impl Work {
    /// No work yet, and at most so much.
    pub const fn new(max: usize) -> Self {
        Self { spent: Cell::new(0), max }
    }

    /// Work without a bound.
    pub const fn unbounded() -> Self {
        Self::new(usize::MAX)
    }

    /// Counts work that is about to be done.
    ///
    /// # Errors
    /// It is too much, and must not be done. That stays so.
    pub fn spend(&self, bytes: usize) -> Result<(), TooMuch> {
        let spent = self.spent.get().saturating_add(bytes);
        self.spent.set(spent);
        if spent > self.max {
            return Err(TooMuch);
        }
        Ok(())
    }

    /// True if so much more may be done.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.spent.get().saturating_add(bytes) <= self.max
    }

    /// True once there was too much.
    pub fn is_over(&self) -> bool {
        self.spent.get() > self.max
    }

    /// All that was counted.
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
