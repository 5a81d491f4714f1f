//! Places and bytes: what may be in flight, what may wait, and how much of it.

use std::time::Duration;

use crate::config::{Config, Target};
use crate::delivery::admission::{ByteBudget, Limiter, Reservation};
use crate::delivery::rate_limit::TokenBucket;
use crate::engine::delivery::{Delivery, GivenUp};

/// The bounds of one worker.
pub(in crate::engine) struct Admission {
    pub(in crate::engine) budget: ByteBudget,
    /// The bytes of requests that are not complete, which are part of the others.
    uploads: ByteBudget,
    max_bytes: usize,
    /// One for each target of the configuration, in its order.
    targets: Vec<Places>,
}

/// The places of one target.
struct Places {
    copies: Limiter<Delivery>,
    /// Bounded like the copies, and apart from them: a target that takes up all places of its own must not keep letters from leaving.
    letters: Limiter<GivenUp>,
    rate: Option<TokenBucket>,
}

/// Bytes taken for a request that is not complete.
pub(in crate::engine) struct Upload {
    /// From the worker's budget.
    pub(in crate::engine) reservation: Reservation,
    /// The same bytes, from the part of it that such requests get.
    part: Reservation,
}

impl Upload {
    /// The request is complete now: the bytes that stay taken.
    pub(in crate::engine) fn complete(self) -> Reservation {
        self.reservation
    }
}

impl Admission {
    pub(super) fn new(config: &Config) -> Self {
        let places = |target: &Target| Places {
            copies: Limiter::new(target.max_in_flight, target.max_queued),
            letters: Limiter::new(target.max_in_flight, target.max_queued),
            rate: target.rate.clone(),
        };
        Self {
            budget: ByteBudget::new(config.max_buffered_bytes),
            uploads: ByteBudget::new(config.max_buffered_bytes),
            max_bytes: config.max_buffered_bytes,
            targets: config.targets.iter().map(places).collect(),
        }
    }

    /// The places of a target's copies.
    pub(super) fn copies(&mut self, target: usize) -> Option<&mut Limiter<Delivery>> {
        self.targets.get_mut(target).map(|places| &mut places.copies)
    }

    /// The places of a target's letters.
    pub(super) fn letters(&mut self, target: usize) -> Option<&mut Limiter<GivenUp>> {
        self.targets.get_mut(target).map(|places| &mut places.letters)
    }

    /// Takes places for copies that wait elsewhere; false when there are not so many.
    pub(super) fn park(&mut self, target: usize, copies: usize) -> bool {
        self.copies(target).is_some_and(|lane| lane.park(copies))
    }

    /// Gives back places of copies that wait elsewhere no longer, and do not go either.
    pub(super) fn leave(&mut self, target: usize, copies: usize) {
        if let Some(lane) = self.copies(target) {
            lane.leave(copies);
        }
    }

    /// True when the rate of a target is used up.
    pub(super) fn is_rate_limited(&mut self, target: usize, now: Duration) -> bool {
        let rate = self.targets.get_mut(target).and_then(|places| places.rate.as_mut());
        rate.is_some_and(|rate| !rate.take(now))
    }

    /// True when nothing waits and nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.targets.iter().all(|places| places.copies.is_idle() && places.letters.is_idle())
    }

    /// A request begins of which nothing is held yet.
    pub(in crate::engine) fn upload(&self) -> Upload {
        Upload { reservation: self.budget.reservation(), part: self.uploads.reservation() }
    }

    /// True if a request that is not complete may take so many more bytes. Together such requests get three quarters of the room, and one that
    /// is alone seven eighths: the rest is for those that end.
    pub(super) fn has_room_for_upload(&self, upload: &Upload, bytes: usize) -> bool {
        let own = upload.part.bytes().saturating_add(bytes);
        let all = self.uploads.used().saturating_add(bytes);
        let share = if all == own { 7 } else { 6 };
        all <= self.max_bytes / 8 * share
    }

    /// Counts bytes that were taken from the budget as those of a request that is not complete.
    pub(super) fn grow_upload(&self, upload: &mut Upload, bytes: usize) -> bool {
        self.uploads.grow(&mut upload.part, bytes)
    }

    /// True while requests that are not complete take more than half of the room. The oldest of them have to go: whoever sends a request and does
    /// not end it must not take the room of those that do.
    pub(in crate::engine) fn has_too_many_uploads(&self) -> bool {
        self.uploads.used() > self.max_bytes / 2
    }
}
