//! What follows from something that has happened: a value, so that owners need not call one another.

use std::time::Duration;

use crate::delivery::breaker::Wait;
use crate::delivery::drop_reason::DropReason;
use crate::engine::comparison::Pair;
use crate::engine::delivery::{Burden, Delivery, GivenUp};

/// One thing to do next. Only [`Mirror::carry_out`](super::Mirror) does it.
pub(super) enum Step {
    /// A delivery with a place in flight is attempted.
    Attempt(Delivery),
    /// A delivery waits for so long before its next attempt, in places that are parked for it.
    BackOff(Delivery, Duration),
    /// The circuit breaker does not let the attempt of a delivery pass.
    Hold(Delivery, Wait),
    /// The circuit breaker of a target is asked for those that wait for it.
    AskBreaker(usize),
    /// A delivery was let go as a probe while so many others waited, itself included. If as many wait now, another worker was faster.
    ProbeSent { target: usize, waiting: usize },
    /// A delivery with parked places goes, or waits in them.
    Unpark(Delivery),
    /// The place in flight of a delivery that ended, or waits, goes to the next.
    FreePlace(usize),
    /// A delivery ends without success after so many attempts: as dead letters, or dropped.
    GiveUp(Delivery, u32, DropReason),
    /// A letter with a place is posted.
    Post(GivenUp),
    /// The place of a letter that ended goes to the next.
    FreeLetterPlace(usize),
    /// Two responses, which are both there, are compared.
    Compare(Pair),
}

impl Step {
    /// Gives up a delivery whose next attempt is not made.
    pub(super) fn give_up_before_attempt(delivery: Delivery, reason: DropReason) -> Self {
        let attempts = delivery.attempt.saturating_sub(1);
        Self::GiveUp(delivery, attempts, reason)
    }

    /// What waits with it, if it is deferred.
    pub(super) fn burden(&self) -> Option<Burden> {
        match self {
            Self::Attempt(delivery) => Some(delivery.burden()),
            Self::Post(given_up) => Some(given_up.delivery.burden()),
            _ => None,
        }
    }
}
