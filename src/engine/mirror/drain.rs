//! How far a configuration is on its way out.

use std::time::Duration;

/// How far a configuration is on its way out.
#[derive(Clone, Copy, Default)]
pub(super) enum Drain {
    /// It is in force.
    #[default]
    No,
    /// No new request comes; deliveries that have not ended by then are given up.
    Deliveries(Duration),
    /// Letters that have not ended by then are given up, too.
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
