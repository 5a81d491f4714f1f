//! What takes much work - putting requests together, writing letters, comparing responses - does not all happen in one callback, in which the
//! worker does nothing else: beyond a share it waits for the next tick, in its order.

use std::collections::VecDeque;
use std::time::Duration;

use super::common::Common;
use super::step::Step;
use crate::delivery::drop_reason::DropReason;
use crate::engine::host::Host;

/// How long what was deferred waits: the shortest period of a tick.
const SOON: Duration = Duration::from_millis(1);

/// Steps that wait for nothing but time of the worker. Deliveries and letters among them keep their places in flight.
#[derive(Default)]
pub(super) struct Deferred(VecDeque<Step>);

impl Deferred {
    pub(super) fn defer<H: Host>(&mut self, common: &mut Common<H>, step: Step, now: Duration) {
        if let Some(burden) = step.burden() {
            common.count_queued(burden, 1);
        }
        self.0.push_back(step);
        common.arm_by(now.saturating_add(SOON), now);
    }

    /// When something that was deferred can go on.
    pub(super) fn due(&self, now: Duration) -> Option<Duration> {
        (!self.0.is_empty()).then(|| now.saturating_add(SOON))
    }

    /// The next, if the callback has not done its share.
    pub(super) fn resume<H: Host>(&mut self, common: &mut Common<H>) -> Option<Step> {
        if common.is_spent() {
            return None;
        }
        let step = self.0.pop_front()?;
        if let Some(burden) = step.burden() {
            common.count_queued(burden, -1);
        }
        Some(step)
    }

    /// The time of a drain is over: gives up the deliveries that were deferred. Letters and comparisons go on.
    pub(super) fn abandon_deliveries<H: Host>(&mut self, common: &mut Common<H>) {
        for step in std::mem::take(&mut self.0) {
            match step {
                Step::Attempt(delivery) => {
                    common.count_queued(delivery.burden(), -1);
                    common.follow(Step::give_up_before_attempt(delivery, DropReason::Shutdown));
                }
                other => self.0.push_back(other),
            }
        }
    }

    /// All that was deferred. Nothing is afterwards.
    pub(super) fn take(&mut self) -> VecDeque<Step> {
        std::mem::take(&mut self.0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
