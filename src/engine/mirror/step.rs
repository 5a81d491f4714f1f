//! Steps: what to do next, as values, so that the parts of the mirror need not call one another.

use std::time::Duration;

use super::copy_end::CopyEnd;
use crate::delivery::breaker::Wait;
use crate::delivery::drop_reason::DropReason;
use crate::delivery::key_order::Key;
use crate::engine::comparison::Pair;
use crate::engine::delivery::{Burden, Delivery, GivenUp};

/// One thing to do next. Only [`Mirror::carry_out`](super::Mirror) does it.
pub(super) enum Step {
    /// Admit a follower's delivery. Reading its key takes work.
    Admit(Delivery),
    /// Attempt a delivery that has a place in flight.
    Attempt(Delivery),
    /// Let a delivery wait for this back-off before its next attempt. Its places are parked.
    BackOff(Delivery, Duration),
    /// Handle a delivery whose attempt the circuit breaker denies.
    Hold(Delivery, Wait),
    /// Ask a target's circuit breaker for the retries that wait for it.
    AskBreaker(usize),
    /// A probe was sent while `waiting` retries waited, the probe included. If as many wait now, another worker took the permit first.
    ProbeSent { target: usize, waiting: usize },
    /// Send a delivery that has parked places, or let it wait in them for a place in flight.
    Unpark(Delivery),
    /// Give the place in flight of a delivery that ended, or waits, to the next one.
    FreePlace(usize),
    /// Give the key of a target's delivery that ended to the next one.
    FreeKey(usize, Key),
    /// Give up a delivery after this number of attempts: write dead letters, or drop it.
    GiveUp(Delivery, u32, DropReason),
    /// A request that was given up becomes a dead letter. The letter goes, waits, or is lost.
    Letter(GivenUp),
    /// Send a letter that has a place in flight.
    Post(GivenUp),
    /// Give the place of a letter that ended to the next one.
    FreeLetterPlace(usize),
    /// Hand a request on to the targets that follow a copy that ended.
    Follow(Box<CopyEnd>),
    /// Compare two responses, both of which have arrived.
    Compare(Pair),
}

impl Step {
    /// Gives up a delivery before its next attempt.
    pub(super) fn give_up_before_attempt(delivery: Delivery, reason: DropReason) -> Self {
        let attempts = delivery.attempt.saturating_sub(1);
        Self::GiveUp(delivery, attempts, reason)
    }

    /// The places and bytes that the step takes while it is deferred. `None` if it takes none.
    pub(super) fn burden(&self) -> Option<Burden> {
        match self {
            Self::Admit(delivery) | Self::Attempt(delivery) => Some(delivery.burden()),
            Self::Post(given_up) => Some(given_up.delivery.burden()),
            _ => None,
        }
    }
}
