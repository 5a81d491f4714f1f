//! Why a body that arrived is not there.

/// Why a body is not available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// It was longer than the limit.
    TooLong,
    /// The budget had no room for it.
    NoRoom,
    /// It did not arrive completely.
    CutOff,
}
