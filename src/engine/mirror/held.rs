//! Retries that a circuit breaker does not let pass. They wait in their places until it does.
//!
//! The retries of one target wait together, and one look at the breaker is for all of them. It is taken when the breaker's open time is over, as
//! soon as this worker knows of a change, and, while probes are under way, every [`LOOK_EVERY`], because another worker may close the breaker. So what
//! a target costs while it is spared does not depend on how many retries wait.

use std::collections::BTreeMap;
use std::time::Duration;

use super::delivery::Delivery;
use super::{Mirror, TargetLane};
use crate::delivery::admission::Weigh;
use crate::delivery::breaker::{Admission, Outlook, Permit, Sample, Wait};
use crate::delivery::drop_reason::DropReason;
use crate::delivery::outcome::Cause;
use crate::engine::host::Host;

/// How often the breaker is looked at while probes are under way.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The retries of one target that wait for its breaker.
#[derive(Default)]
pub(super) struct Held {
    /// By the time at which they are too old, and a number that tells those of the same time apart.
    deliveries: BTreeMap<(Duration, u64), Delivery>,
    /// When the breaker is looked at next.
    look_at: Option<Duration>,
}

impl Held {
    /// When the breaker is to be looked at; none when nothing waits.
    pub(super) fn due(&self) -> Option<Duration> {
        self.look_at.filter(|_| !self.deliveries.is_empty())
    }

    /// All that waits. Nothing does afterwards.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Delivery> {
        std::mem::take(self).deliveries.into_values()
    }

    fn look_by(&mut self, time: Duration) {
        self.look_at = Some(self.look_at.map_or(time, |earlier| earlier.min(time)));
    }

    /// The next that is too old at this time.
    fn expired(&mut self, time: Duration) -> Option<Delivery> {
        let oldest = self.deliveries.first_entry().filter(|oldest| oldest.key().0 <= time)?;
        Some(oldest.remove())
    }
}

impl Wait {
    /// How long nothing changes, as far as is known.
    fn pause(self) -> Duration {
        match self {
            Self::Open(left) => left,
            Self::Probes(left) => left.min(LOOK_EVERY),
        }
    }

    /// How long nothing passes for sure.
    fn at_least(self) -> Duration {
        match self {
            Self::Open(left) => left,
            Self::Probes(_) => Duration::ZERO,
        }
    }
}

impl<H: Host> Mirror<H> {
    /// Asks the breaker of a target whether an attempt may be made.
    pub(super) fn admit(&mut self, target: usize, now: Duration) -> Admission {
        let Some(TargetLane { guard, metrics, .. }) = self.lanes.get_mut(target) else {
            return Admission::Deny(Wait::Open(Duration::ZERO));
        };
        let admission = guard.admit(metrics, now);
        if let Admission::Pass(Permit::Counted(_) | Permit::Unseen) = admission {
            self.look_soon(target, now);
        }
        admission
    }

    /// Tells a target's breaker how an attempt ended; `cause` is for the log.
    pub(super) fn settle(&mut self, target: usize, permit: Permit, sample: Option<Sample>, cause: Option<Cause>, now: Duration) {
        if let Some(TargetLane { guard, metrics, .. }) = self.lanes.get_mut(target) {
            guard.settle(permit, sample, cause, metrics, now);
        }
        if let Permit::Probe(_) = permit {
            self.look_soon(target, now);
        }
    }

    /// The breaker does not let an attempt pass. A first attempt is dropped. A retry waits on in its place and spends nothing on that, unless it
    /// is too old before the breaker can let it pass.
    pub(super) fn spare(&mut self, delivery: Delivery, now: Duration, wait: Wait) {
        let Some(expiry) = self.expiry_of_retry(&delivery).filter(|expiry| *expiry > now.saturating_add(wait.at_least())) else {
            self.give_up_before_attempt(delivery, DropReason::CircuitOpen, now);
            return;
        };
        let target = delivery.target;
        if !self.lanes.get_mut(target).is_some_and(|lane| lane.lane.park(delivery.weight())) {
            self.give_up_before_attempt(delivery, DropReason::CircuitOpen, now);
            return;
        }
        self.count_queued(delivery.burden(), 1);
        self.serial = self.serial.wrapping_add(1);
        let key = (expiry, self.serial);
        if let Some(lane) = self.lanes.get_mut(target) {
            lane.held.deliveries.insert(key, delivery);
        }
        self.look_by(target, now.saturating_add(wait.pause()), now);
    }

    /// When a retry is too old; none for a first attempt.
    fn expiry_of_retry(&self, delivery: &Delivery) -> Option<Duration> {
        let retry = self.config.targets.get(delivery.target)?.retry.as_ref().filter(|_| delivery.attempt > 1)?;
        Some(delivery.received.saturating_add(retry.expire_after))
    }

    /// The breaker may have changed: those who wait for it look as soon as the root ticks.
    fn look_soon(&mut self, target: usize, now: Duration) {
        self.look_by(target, now, now);
    }

    fn look_by(&mut self, target: usize, time: Duration, now: Duration) {
        if let Some(held) = self.lanes.get_mut(target).map(|lane| &mut lane.held).filter(|held| !held.deliveries.is_empty()) {
            held.look_by(time);
            self.arm_by(time, now);
        }
    }

    /// Looks at the breaker of a target for all that wait for it, if it is time.
    pub(super) fn held_due(&mut self, target: usize, now: Duration) {
        let Some(lane) = self.lanes.get_mut(target).filter(|lane| lane.held.due().is_some_and(|due| due <= now)) else {
            return;
        };
        lane.held.look_at = None;
        self.give_up_held(target, now, now);
        while let Some(TargetLane { guard, held, lane, .. }) = self.lanes.get_mut(target) {
            if held.deliveries.is_empty() {
                return;
            }
            match guard.outlook(now) {
                Outlook::Closed => return self.release_all(target, now),
                // The one that is too old first. It decides about the others.
                Outlook::Probe if lane.has_room() => {
                    let waiting = held.deliveries.len();
                    if let Some((_, probe)) = held.deliveries.pop_first() {
                        self.leave_wait(probe, now);
                    }
                    if self.lanes.get(target).is_some_and(|lane| lane.held.deliveries.len() >= waiting) {
                        // Another worker was faster, so it waits again.
                        return self.look_by(target, now.saturating_add(LOOK_EVERY), now);
                    }
                }
                Outlook::Probe => return held.look_by(now.saturating_add(LOOK_EVERY)),
                Outlook::Denied(wait) => {
                    held.look_by(now.saturating_add(wait.pause()));
                    return self.give_up_held(target, now.saturating_add(wait.at_least()), now);
                }
            }
        }
    }

    /// Gives up those that are too old at that time.
    fn give_up_held(&mut self, target: usize, time: Duration, now: Duration) {
        while let Some(delivery) = self.lanes.get_mut(target).and_then(|lane| lane.held.expired(time)) {
            if let Some(lane) = self.lanes.get_mut(target) {
                lane.lane.leave(delivery.weight());
            }
            self.count_queued(delivery.burden(), -1);
            self.give_up_before_attempt(delivery, DropReason::CircuitOpen, now);
        }
    }

    /// The breaker is closed. All that waited for it go, each after a back-off, so that they do not come at once.
    fn release_all(&mut self, target: usize, now: Duration) {
        let Some(lane) = self.lanes.get_mut(target) else { return };
        let retry = self.config.targets.get(target).and_then(|target| target.retry.as_ref());
        for delivery in lane.held.take() {
            let random = u64::from_le_bytes(self.random.take(|block| self.worker.random(block)));
            let attempts = delivery.attempt.saturating_sub(1);
            let delay = retry.map_or(Duration::ZERO, |retry| retry.backoff.delay(attempts, random));
            self.serial = self.serial.wrapping_add(1);
            // They keep the places that they have, and are counted as waiting already.
            self.waiting.insert((now.saturating_add(delay), self.serial), delivery);
        }
    }
}
