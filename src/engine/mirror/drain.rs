//! The phases of a drain, and what it still has to give up.

use std::collections::VecDeque;
use std::time::Duration;

use super::attempts::InFlight;
use crate::engine::delivery::{Delivery, GivenUp};

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

/// What a drain that has timed out still has to give up. Until then it counts as before: as in flight, or as queued.
#[derive(Default)]
pub(super) struct Condemned(pub(super) VecDeque<Doomed>);

/// One of them.
pub(super) enum Doomed {
    Attempt(InFlight),
    Waiting(Delivery),
    Letter(GivenUp),
    WaitingLetter(GivenUp),
}

impl Condemned {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
