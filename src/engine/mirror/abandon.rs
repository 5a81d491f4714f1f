//! The end of a configuration: takes no new requests, and gives up deliveries and letters that do not end in time.

use std::time::Duration;

use super::dead_letters;
use super::drain::Drain;
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
                self.abandon_deliveries(now);
                let targets = self.common.config.targets.iter();
                // Letters get as long as the slowest dead-letter cluster may take.
                let timeouts = targets.filter_map(|target| Some(target.dead_letter.as_ref()?.timeout));
                self.drain = Drain::Letters(now.saturating_add(timeouts.max().unwrap_or_default()));
            }
            Drain::Letters(end) if end <= now => self.abandon_letters(),
            _ => {}
        }
    }

    fn abandon_deliveries(&mut self, now: Duration) {
        let Self { common, attempts, breakers, deferred, backoffs, .. } = self;
        for attempt in attempts.abandon(common) {
            breakers.settle(common, attempt.delivery.target, attempt.permit, None, None, now);
            let attempts = attempt.delivery.attempt;
            common.follow(Step::GiveUp(attempt.delivery, attempts, DropReason::Shutdown));
        }
        deferred.abandon_deliveries(common);
        let mut waiting: Vec<_> = backoffs.take().collect();
        for target in 0..common.config.targets.len() {
            waiting.extend(breakers.take(target));
            waiting.extend(common.admission.copies(target).map(|limiter| limiter.clear()).into_iter().flatten());
        }
        for delivery in waiting {
            common.count_queued(delivery.burden(), -1);
            common.follow(Step::give_up_before_attempt(delivery, DropReason::Shutdown));
        }
        self.run(now);
    }

    fn abandon_letters(&mut self) {
        let Self { common, letters, deferred, .. } = self;
        for step in deferred.take() {
            match step {
                Step::Post(given_up) => {
                    common.count_queued(given_up.delivery.burden(), -1);
                    dead_letters::lose(common, &given_up);
                }
                Step::Compare(pair) => common.count(pair.target, Metric::CompareNotComparable),
                // All deliveries were given up before. Nothing else is deferred.
                _ => {}
            }
        }
        letters.abandon(common);
        for target in 0..common.config.targets.len() {
            let waiting = common.admission.letters(target).map(|limiter| limiter.clear()).unwrap_or_default();
            for given_up in waiting {
                common.count_queued(given_up.delivery.burden(), -1);
                dead_letters::lose(common, &given_up);
            }
        }
    }
}
