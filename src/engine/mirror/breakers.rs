//! The circuit breakers of all targets, and the retries that wait for them. First attempts are dropped while a breaker is open; retries wait in
//! their places.
//!
//! All waiting retries of one target share one look at the breaker. The engine looks when the breaker's open time is over, as soon as this worker
//! knows of a change, and every [`LOOK_EVERY`] while probes are in flight, because another worker may close the breaker. So the cost of an open
//! breaker does not depend on the number of waiting retries.

use std::collections::BTreeMap;
use std::time::Duration;

use super::backoffs::Backoffs;
use super::common::{Common, GIVEN_UP};
use super::copy_end;
use super::step::Step;
use crate::delivery::admission::Weigh;
use crate::delivery::breaker::{Admission, Outlook, Permit, Sample, Wait};
use crate::delivery::cause::Cause;
use crate::delivery::drop_reason::DropReason;
use crate::engine::delivery::Delivery;
use crate::engine::host::Host;
use crate::engine::shared_breaker::SharedBreaker;

/// The time between looks at the breaker while probes are in flight.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// One entry for each target, in the order of the configuration.
pub(super) struct Breakers<H>(Vec<Guarded<H>>);

/// A target's breaker, and the retries that wait for it.
struct Guarded<H> {
    guard: SharedBreaker<H>,
    held: Held,
}

/// The retries of one target that wait for its breaker.
#[derive(Default)]
struct Held {
    /// Sorted by expiry. A serial number distinguishes retries that expire at the same time.
    deliveries: BTreeMap<(Duration, u64), Delivery>,
    serial: u64,
    /// When to look at the breaker next.
    look_at: Option<Duration>,
}

impl Held {
    /// When to look at the breaker. `None` if no retry waits.
    fn due(&self) -> Option<Duration> {
        self.look_at.filter(|_| !self.deliveries.is_empty())
    }

    fn add(&mut self, delivery: Delivery, expiry: Duration) {
        self.serial = self.serial.wrapping_add(1);
        self.deliveries.insert((expiry, self.serial), delivery);
    }

    /// Removes and returns all waiting retries.
    fn take(&mut self) -> impl Iterator<Item = Delivery> {
        self.look_at = None;
        std::mem::take(&mut self.deliveries).into_values()
    }

    fn look_by<H: Host>(&mut self, common: &mut Common<H>, time: Duration, now: Duration) {
        if !self.deliveries.is_empty() {
            self.look_at = Some(self.look_at.map_or(time, |earlier| earlier.min(time)));
            common.arm_by(time, now);
        }
    }

    /// Removes and returns a retry that has expired at the given time.
    fn expired(&mut self, time: Duration) -> Option<Delivery> {
        let oldest = self.deliveries.first_entry().filter(|oldest| oldest.key().0 <= time)?;
        Some(oldest.remove())
    }

    /// Gives up the retries that have expired at the given time. If there are very many, the next tick gives up the rest.
    fn give_up<H: Host>(&mut self, common: &mut Common<H>, time: Duration, now: Duration) {
        let mut work = 0_usize;
        for _ in 0..GIVEN_UP {
            if common.is_spent_with(work) {
                break;
            }
            let Some(delivery) = self.expired(time) else {
                return;
            };
            work = work.saturating_add(common.target(delivery.target).map_or(0, |target| copy_end::work_of(target, &delivery)));
            common.admission.leave(delivery.target, delivery.weight());
            common.count_queued(delivery.burden(), -1);
            common.follow(Step::give_up_before_attempt(delivery, DropReason::CircuitOpen));
        }
        self.look_by(common, now, now);
    }
}

impl Wait {
    /// How long to wait until the next look at the breaker.
    fn pause(self) -> Duration {
        match self {
            Self::Open(left) => left,
            Self::Probes(left) => left.min(LOOK_EVERY),
        }
    }

    /// How long the breaker certainly denies every attempt.
    fn at_least(self) -> Duration {
        match self {
            Self::Open(left) => left,
            Self::Probes(_) => Duration::ZERO,
        }
    }
}

impl<H: Host> Breakers<H> {
    pub(super) fn new(guards: impl Iterator<Item = SharedBreaker<H>>) -> Self {
        Self(guards.map(|guard| Guarded { guard, held: Held::default() }).collect())
    }

    /// Asks a target's breaker whether an attempt may be made.
    pub(super) fn admit(&mut self, common: &mut Common<H>, target: usize, now: Duration) -> Admission {
        let (Some(Guarded { guard, held }), Some(metrics)) = (self.0.get_mut(target), common.metrics(target)) else {
            return Admission::Deny(Wait::Open(Duration::ZERO));
        };
        let admission = guard.admit(metrics, now);
        if let Admission::Pass(Permit::Counted(_) | Permit::Unseen) = admission {
            held.look_by(common, now, now);
        }
        admission
    }

    /// Tells a target's breaker how an attempt ended. `cause` is for the log.
    pub(super) fn settle(
        &mut self,
        common: &mut Common<H>,
        target: usize,
        permit: Permit,
        sample: Option<Sample>,
        cause: Option<Cause>,
        now: Duration,
    ) {
        let Some(Guarded { guard, held }) = self.0.get_mut(target) else {
            return;
        };
        if let Some(metrics) = common.metrics(target) {
            guard.settle(permit, sample, cause, metrics, now);
        }
        if let Permit::Probe(_) = permit {
            held.look_by(common, now, now);
        }
    }

    /// Handles an attempt that the breaker denies. A first attempt is dropped. A retry keeps waiting in its place, which uses up no attempt and no
    /// budget. A retry that expires before the breaker can let it pass is dropped.
    pub(super) fn hold(&mut self, common: &mut Common<H>, delivery: Delivery, wait: Wait, now: Duration) {
        let expiry = expiry_of_retry(common, &delivery).filter(|expiry| *expiry > now.saturating_add(wait.at_least()));
        let place = expiry.filter(|_| common.admission.park(delivery.target, delivery.weight()));
        let (Some(expiry), Some(Guarded { held, .. })) = (place, self.0.get_mut(delivery.target)) else {
            common.follow(Step::give_up_before_attempt(delivery, DropReason::CircuitOpen));
            return;
        };
        common.count_queued(delivery.burden(), 1);
        held.add(delivery, expiry);
        held.look_by(common, now.saturating_add(wait.pause()), now);
    }

    /// True if it is time to look at the breaker for the retries that wait.
    pub(super) fn is_due(&self, target: usize, now: Duration) -> bool {
        self.0.get(target).and_then(|guarded| guarded.held.due()).is_some_and(|due| due <= now)
    }

    /// When to look at the first breaker.
    pub(super) fn due(&self) -> Option<Duration> {
        self.0.iter().filter_map(|guarded| guarded.held.due()).min()
    }

    /// Looks at a target's breaker for all retries that wait for it.
    pub(super) fn ask(&mut self, common: &mut Common<H>, backoffs: &mut Backoffs, target: usize, now: Duration) {
        let Some(Guarded { guard, held }) = self.0.get_mut(target) else {
            return;
        };
        held.look_at = None;
        held.give_up(common, now, now);
        if held.deliveries.is_empty() {
            return;
        }
        match guard.outlook(now) {
            Outlook::Closed => {
                // Each waiting retry goes after a back-off, so that they do not all go at once.
                for delivery in held.take() {
                    let random = common.random();
                    let retry = common.target(target).and_then(|target| target.retry.as_ref());
                    let attempts = delivery.attempt.saturating_sub(1);
                    let delay = retry.map_or(Duration::ZERO, |retry| retry.backoff.delay(attempts, random));
                    // The retries keep their places, and count as queued already.
                    let due = now.saturating_add(delay);
                    backoffs.add_counted(delivery, due);
                    common.arm_by(due, now);
                }
            }
            // The retry that expires first becomes the probe. Its outcome decides about the others.
            Outlook::Probe if common.admission.copies(target).is_some_and(|limiter| limiter.has_room()) => {
                let waiting = held.deliveries.len();
                if let Some((_, probe)) = held.deliveries.pop_first() {
                    common.follow(Step::Unpark(probe));
                    common.follow(Step::ProbeSent { target, waiting });
                }
            }
            Outlook::Probe => held.look_by(common, now.saturating_add(LOOK_EVERY), now),
            Outlook::Denied(wait) => {
                held.look_by(common, now.saturating_add(wait.pause()), now);
                held.give_up(common, now.saturating_add(wait.at_least()), now);
            }
        }
    }

    /// Handles a probe that was sent while `waiting` retries waited, the probe included. Unless it waits again, the breaker may let another probe
    /// pass.
    pub(super) fn probe_sent(&mut self, common: &mut Common<H>, target: usize, waiting: usize, now: Duration) {
        let Some(Guarded { held, .. }) = self.0.get_mut(target) else {
            return;
        };
        if held.deliveries.len() >= waiting {
            // Another worker took the probe's permit first.
            held.look_by(common, now.saturating_add(LOOK_EVERY), now);
        } else if !held.deliveries.is_empty() {
            common.follow(Step::AskBreaker(target));
        }
    }

    /// Removes and returns all retries that wait for a target's breaker.
    pub(super) fn take(&mut self, target: usize) -> Vec<Delivery> {
        self.0.get_mut(target).map(|guarded| guarded.held.take().collect()).unwrap_or_default()
    }

    /// Leaves the breakers that no other configuration of this worker uses.
    pub(super) fn leave<'a>(&mut self, common: &Common<H>, others: impl Iterator<Item = &'a Self> + Clone)
    where
        H: 'a,
    {
        for (target, Guarded { guard, .. }) in self.0.iter_mut().enumerate() {
            let of_name = || others.clone().flat_map(|other| &other.0).filter(|other| other.guard.has_name_of(guard));
            let (has_name, is_shared) = (of_name().next().is_some(), of_name().any(|other| other.guard.shares_with(guard)));
            if let Some(metrics) = common.metrics(target).filter(|_| !has_name) {
                guard.show_closed(metrics);
            }
            if !is_shared {
                guard.leave();
            }
        }
    }
}

/// When a retry expires. `None` for a first attempt, and for a target without retries.
fn expiry_of_retry<H: Host>(common: &Common<H>, delivery: &Delivery) -> Option<Duration> {
    let retry = common.target(delivery.target)?.retry.as_ref().filter(|_| delivery.attempt > 1)?;
    Some(delivery.received.saturating_add(retry.expire_after))
}
