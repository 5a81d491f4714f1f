//! Deferred steps. Rendering requests, writing letters and comparing responses take much work, and the worker does nothing else meanwhile. So a
//! callback does a share of the work. Steps beyond it wait for the next tick, in order.

use std::collections::VecDeque;
use std::time::Duration;

use super::common::Common;
use super::step::Step;
use crate::engine::delivery::Delivery;
use crate::engine::host::Host;

/// The delay of deferred steps: the shortest tick period.
const SOON: Duration = Duration::from_millis(1);

/// Steps that wait only for processing time. Deliveries and letters among them keep their places in flight.
#[derive(Default)]
pub(super) struct Deferred {
    steps: VecDeque<Step>,
    /// How many of them admit deliveries.
    admissions: usize,
}

impl Deferred {
    pub(super) fn defer<H: Host>(&mut self, common: &mut Common<H>, step: Step, now: Duration) {
        if let Some(burden) = step.burden() {
            common.count_queued(burden, 1);
        }
        if let Step::Admit(_) = step {
            self.admissions = self.admissions.saturating_add(1);
        }
        self.steps.push_back(step);
        common.arm_by(now.saturating_add(SOON), now);
    }

    /// When the next deferred step can run.
    pub(super) fn due(&self, now: Duration) -> Option<Duration> {
        (!self.steps.is_empty()).then(|| now.saturating_add(SOON))
    }

    /// Removes and returns the next step, unless the callback has done its share of work.
    pub(super) fn resume<H: Host>(&mut self, common: &mut Common<H>) -> Option<Step> {
        if common.is_spent() {
            return None;
        }
        let step = self.steps.pop_front()?;
        if let Step::Admit(_) = step {
            self.admissions = self.admissions.saturating_sub(1);
        }
        if let Some(burden) = step.burden() {
            common.count_queued(burden, -1);
        }
        Some(step)
    }

    /// Removes and returns the deferred deliveries, which still count as queued. Letters and comparisons stay.
    pub(super) fn take_deliveries(&mut self) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for step in self.take() {
            match step {
                Step::Admit(delivery) | Step::Attempt(delivery) => deliveries.push(delivery),
                other => self.steps.push_back(other),
            }
        }
        deliveries
    }

    /// Removes and returns all deferred steps.
    pub(super) fn take(&mut self) -> VecDeque<Step> {
        self.admissions = 0;
        std::mem::take(&mut self.steps)
    }

    /// True if the step must wait for those that were deferred before it: deliveries are admitted in order.
    pub(super) fn is_behind(&self, step: &Step) -> bool {
        self.admissions > 0 && matches!(step, Step::Admit(_))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}
