//! Admission for each target: the bounds on calls in flight, on waiting copies, and on their bytes.

use std::time::Duration;

use crate::config::{Config, Target};
use crate::delivery::admission::{ByteBudget, Limiter, Reservation};
use crate::delivery::rate_limit::TokenBucket;
use crate::engine::delivery::{Delivery, GivenUp};

/// The bounds of one worker.
pub(in crate::engine) struct Admission {
    pub(in crate::engine) budget: ByteBudget,
    /// The bytes of incomplete requests. They count in `budget`, too.
    uploads: ByteBudget,
    max_bytes: usize,
    /// One entry for each target, in the order of the configuration.
    targets: Vec<Places>,
}

/// The places of one target.
struct Places {
    copies: Limiter<Delivery>,
    /// Letters have the same bounds as copies, but places of their own: copies that fill the queue must not keep letters from leaving.
    letters: Limiter<GivenUp>,
    rate: Option<TokenBucket>,
}

/// The bytes reserved for an incomplete request.
pub(in crate::engine) struct Upload {
    /// The reservation in the worker's budget.
    pub(in crate::engine) reservation: Reservation,
    /// The same bytes, in the part of the budget for incomplete requests.
    part: Reservation,
}

impl Upload {
    /// Ends the upload: the request is complete. Returns the reservation in the worker's budget.
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

    /// The limiter of a target's copies.
    pub(super) fn copies(&mut self, target: usize) -> Option<&mut Limiter<Delivery>> {
        self.targets.get_mut(target).map(|places| &mut places.copies)
    }

    /// The limiter of a target's letters.
    pub(super) fn letters(&mut self, target: usize) -> Option<&mut Limiter<GivenUp>> {
        self.targets.get_mut(target).map(|places| &mut places.letters)
    }

    /// Takes places for copies that wait outside the queue. Returns false and takes nothing if there are too few.
    pub(super) fn park(&mut self, target: usize, copies: usize) -> bool {
        self.copies(target).is_some_and(|limiter| limiter.park(copies))
    }

    /// Gives back the places of copies that waited outside the queue and are dropped.
    pub(super) fn leave(&mut self, target: usize, copies: usize) {
        if let Some(limiter) = self.copies(target) {
            limiter.leave(copies);
        }
    }

    /// True if the target's rate limit is exhausted. Otherwise takes a token.
    pub(super) fn is_rate_limited(&mut self, target: usize, now: Duration) -> bool {
        let rate = self.targets.get_mut(target).and_then(|places| places.rate.as_mut());
        rate.is_some_and(|rate| !rate.take(now))
    }

    /// True if nothing waits and nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.targets.iter().all(|places| places.copies.is_idle() && places.letters.is_idle())
    }

    /// Begins an incomplete request that holds no bytes yet.
    pub(in crate::engine) fn upload(&self) -> Upload {
        Upload { reservation: self.budget.reservation(), part: self.uploads.reservation() }
    }

    /// True if an incomplete request may take `bytes` more. All incomplete requests together get three quarters of the budget. A single one gets
    /// seven eighths. The rest is kept for requests that complete.
    pub(super) fn has_room_for_upload(&self, upload: &Upload, bytes: usize) -> bool {
        let own = upload.part.bytes().saturating_add(bytes);
        let all = self.uploads.used().saturating_add(bytes);
        let share = if all == own { 7 } else { 6 };
        all <= self.max_bytes / 8 * share
    }

    /// Counts bytes, already taken from the budget, as bytes of an incomplete request.
    pub(super) fn grow_upload(&self, upload: &mut Upload, bytes: usize) -> bool {
        self.uploads.grow(&mut upload.part, bytes)
    }

    /// True while incomplete requests take more than half of the budget. The engine then gives up the oldest of them: a client that sends a request
    /// and does not end it must not take the room of others.
    pub(in crate::engine) fn has_too_many_uploads(&self) -> bool {
        self.uploads.used() > self.max_bytes / 2
    }
}
