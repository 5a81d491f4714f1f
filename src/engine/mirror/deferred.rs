//! What takes much work - putting requests together, writing letters, comparing answers - does not all happen in one callback, in which the
//! worker does nothing else: beyond a share it waits for the next tick, in its order.

use std::collections::VecDeque;
use std::time::Duration;

use super::comparison::Pair;
use super::delivery::{Burden, Delivery};
use super::given_up::GivenUp;
use super::Mirror;
use crate::delivery::drop_reason::DropReason;
use crate::engine::host::Host;
use crate::observe::metrics::Metric;

/// A callback begins nothing further that takes work once it has done this part of what one request may cause.
const SHARE: usize = 4;
/// How long what was deferred waits: the shortest period of a tick.
const SOON: Duration = Duration::from_millis(1);

/// The work of the callback at hand, and what it leaves to the next ones.
#[derive(Default)]
pub(super) struct Slice {
    spent: usize,
    deferred: VecDeque<Deferred>,
}

/// Something that waits for nothing but time of the worker.
pub(super) enum Deferred {
    /// A delivery, which has a place among those that are under way.
    Attempt(Delivery),
    /// A letter, which has a place, too.
    Letter(GivenUp),
    /// Two answers.
    Comparison(Pair),
}

impl Deferred {
    fn burden(&self) -> Option<Burden> {
        match self {
            Self::Attempt(delivery) => Some(delivery.burden()),
            Self::Letter(letter) => Some(letter.burden()),
            Self::Comparison(_) => None,
        }
    }
}

impl<H: Host> Mirror<H> {
    /// A callback begins.
    pub(in crate::engine) fn begin(&mut self) {
        self.slice.spent = 0;
    }

    /// Counts work that was done in this callback.
    pub(super) fn spend(&mut self, work: usize) {
        self.slice.spent = self.slice.spent.saturating_add(work);
    }

    /// True when this callback has done its share.
    pub(super) fn is_spent(&self) -> bool {
        self.slice.spent >= self.config.reading.max_work / SHARE
    }

    pub(super) fn defer(&mut self, deferred: Deferred, now: Duration) {
        if let Some(burden) = deferred.burden() {
            self.count_queued(burden, 1);
        }
        self.slice.deferred.push_back(deferred);
        self.arm_by(now.saturating_add(SOON), now);
    }

    /// When something that was deferred can go on.
    pub(super) fn deferred_due(&self, now: Duration) -> Option<Duration> {
        (!self.slice.deferred.is_empty()).then(|| now.saturating_add(SOON))
    }

    /// Goes on with what was deferred.
    pub(super) fn resume(&mut self, now: Duration) {
        while !self.is_spent() {
            let Some(deferred) = self.slice.deferred.pop_front() else {
                return;
            };
            if let Some(burden) = deferred.burden() {
                self.count_queued(burden, -1);
            }
            match deferred {
                Deferred::Attempt(delivery) => self.send(delivery, now),
                Deferred::Letter(letter) => self.post(letter, now),
                Deferred::Comparison(pair) => self.compare(pair),
            }
        }
    }

    /// The time of a drain is over: gives up the deliveries that were deferred. Letters and comparisons go on.
    pub(super) fn abandon_deferred_deliveries(&mut self, now: Duration) {
        for deferred in std::mem::take(&mut self.slice.deferred) {
            match deferred {
                Deferred::Attempt(delivery) => {
                    self.count_queued(delivery.burden(), -1);
                    self.give_up_before_attempt(delivery, DropReason::Shutdown, now);
                }
                other => self.slice.deferred.push_back(other),
            }
        }
    }

    /// The time of the letters is over, too.
    pub(super) fn abandon_deferred_letters(&mut self) {
        for deferred in std::mem::take(&mut self.slice.deferred) {
            match deferred {
                Deferred::Letter(letter) => {
                    self.count_queued(letter.burden(), -1);
                    self.count(letter.target(), Metric::Dropped(letter.reason()));
                }
                Deferred::Comparison(pair) => self.count(pair.target(), Metric::CompareNotComparable),
                // All of them were given up before.
                Deferred::Attempt(_) => {}
            }
        }
    }

    /// True when nothing was deferred.
    pub(super) fn has_nothing_deferred(&self) -> bool {
        self.slice.deferred.is_empty()
    }
}
