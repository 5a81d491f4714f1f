//! The phases of a drain.

use std::time::Duration;

/// The phase of a drain.
#[derive(Clone, Copy, Default)]
pub(super) enum Drain {
    /// The configuration is in force.
    #[default]
    No,
    /// The configuration takes no new requests. Deliveries that have not ended by this time are given up.
    Deliveries(Duration),
    /// All deliveries have ended. Letters that have not ended by this time are given up.
    Letters(Duration),
}

impl Drain {
    pub(super) fn end(self) -> Option<Duration> {
        match self {
            Self::No => None,
            Self::Deliveries(end) | Self::Letters(end) => Some(end),
        }
    }
}
