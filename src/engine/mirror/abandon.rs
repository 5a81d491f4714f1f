//! The end of a configuration: takes no new requests, and gives up deliveries and letters that do not end in time.

use std::time::Duration;

use super::attempts::InFlight;
use super::dead_letters;
use super::drain::{Doomed, Drain};
use super::step::Step;
use super::Mirror;
use crate::delivery::drop_reason::DropReason;
use crate::engine::host::Host;
use crate::observe::metrics::Metric;

impl<H: Host> Mirror<H> {
    /// Begins the drain. Closes all batches as they are. Deliveries that wait or are in flight get the drain timeout to end.
    pub(in crate::engine) fn drain(&mut self) {
        let now = self.common.worker.monotonic();
        for target in 0..self.target_count() {
            self.batching.close(&mut self.common, target, now);
            self.run(now);
        }
        if !self.is_idle() {
            self.drain = Drain::Deliveries(now.saturating_add(self.common.config.drain_timeout));
            let next = self.next_due(now);
            self.common.arm(next, now);
        }
    }

    /// Gives up whatever the drain leaves no more time for.
    pub(super) fn abandon_late(&mut self, now: Duration) {
        match self.drain {
            Drain::Deliveries(end) if end <= now => {
                if self.condemned.is_empty() {
                    self.condemn_deliveries();
                }
                self.abandon(now);
                // What is left is due again in the next tick.
                if self.condemned.is_empty() {
                    let targets = self.common.config.targets.iter();
                    // Letters get as long as the slowest dead-letter cluster may take.
                    let timeouts = targets.filter_map(|target| Some(target.dead_letter.as_ref()?.timeout));
                    self.drain = Drain::Letters(now.saturating_add(timeouts.max().unwrap_or_default()));
                }
            }
            Drain::Letters(end) if end <= now => {
                if self.condemned.is_empty() {
                    self.condemn_letters();
                }
                self.abandon(now);
            }
            _ => {}
        }
    }

    fn condemn_deliveries(&mut self) {
        let Self { common, attempts, breakers, deferred, backoffs, ordering, condemned, .. } = self;
        let all = &mut condemned.0;
        all.extend(attempts.take().map(Doomed::Attempt));
        all.extend(deferred.take_deliveries().into_iter().chain(backoffs.take()).map(Doomed::Waiting));
        for target in 0..common.config.targets.len() {
            all.extend(ordering.take(target).map(Doomed::Waiting));
            all.extend(breakers.take(target).into_iter().map(Doomed::Waiting));
            let queue = common.admission.copies(target).map(|limiter| limiter.clear()).unwrap_or_default();
            all.extend(queue.into_iter().map(Doomed::Waiting));
        }
    }

    fn condemn_letters(&mut self) {
        let Self { common, letters, deferred, condemned, .. } = self;
        let all = &mut condemned.0;
        for step in deferred.take() {
            match step {
                Step::Post(given_up) => all.push_back(Doomed::WaitingLetter(given_up)),
                Step::Compare(pair) => common.count(pair.target, Metric::CompareNotComparable),
                // All deliveries were given up before. Nothing else is deferred.
                _ => {}
            }
        }
        all.extend(letters.take().map(Doomed::Letter));
        for target in 0..common.config.targets.len() {
            let queue = common.admission.letters(target).map(|limiter| limiter.clear()).unwrap_or_default();
            all.extend(queue.into_iter().map(Doomed::WaitingLetter));
        }
    }

    /// Gives up what is condemned, until the callback has done its share of work.
    fn abandon(&mut self, now: Duration) {
        while !self.common.is_spent() {
            let Some(doomed) = self.condemned.0.pop_front() else {
                return;
            };
            let Self { common, breakers, .. } = self;
            match doomed {
                Doomed::Attempt(InFlight { delivery, permit, .. }) => {
                    common.add(delivery.target, Metric::Inflight, -1);
                    breakers.settle(common, delivery.target, permit, None, None, now);
                    let attempts = delivery.attempt;
                    common.follow(Step::GiveUp(delivery, attempts, DropReason::Shutdown));
                }
                Doomed::Waiting(delivery) => {
                    common.count_queued(delivery.burden(), -1);
                    common.follow(Step::give_up_before_attempt(delivery, DropReason::Shutdown));
                }
                Doomed::Letter(given_up) => {
                    common.add(given_up.delivery.target, Metric::Inflight, -1);
                    dead_letters::lose(common, &given_up);
                }
                Doomed::WaitingLetter(given_up) => {
                    common.count_queued(given_up.delivery.burden(), -1);
                    dead_letters::lose(common, &given_up);
                }
            }
            self.run(now);
        }
    }
}
