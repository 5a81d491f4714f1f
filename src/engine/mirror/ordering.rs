//! Order by key: a copy whose key another copy of its target has waits for that one's end, in a parked place.
//!
//! A copy has its key from before its first attempt until it ends, also while it waits for a place in flight, a back-off or the breaker. Its end,
//! delivered or given up, gives the key to the next copy.

use std::rc::Rc;

use super::common::Common;
use super::step::Step;
use crate::config::Config;
use crate::delivery::drop_reason::DropReason;
use crate::delivery::key_order::{Key, KeyOrder};
use crate::engine::delivery::Delivery;
use crate::engine::host::Host;
use crate::http::work_limit::TooMuch;
use crate::rewrite::reading::Reading;

/// The keys of each target, in the order of the configuration. `None` for a target without an order.
pub(super) struct Ordering(Vec<Option<KeyOrder<Delivery>>>);

impl Ordering {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.targets.iter().map(|target| target.order.as_ref().map(|_| KeyOrder::default())).collect())
    }

    /// True if copies of the target are in order by key.
    pub(super) fn is_of(&self, target: usize) -> bool {
        self.0.get(target).is_some_and(Option::is_some)
    }

    /// Returns a copy whose key is free, which now has it. Otherwise the copy waits for the key, or is given up because there is no place.
    pub(super) fn enter<H: Host>(&mut self, common: &mut Common<H>, mut delivery: Delivery, key: Key) -> Option<Delivery> {
        let Some(order) = self.target(delivery.target) else {
            return Some(delivery);
        };
        if order.take(&key) {
            delivery.set_key(key);
            return Some(delivery);
        }
        if !common.admission.park(delivery.target, 1) {
            common.follow(Step::give_up_before_attempt(delivery, DropReason::QueueFull));
            return None;
        }
        common.count_queued(delivery.burden(), 1);
        order.wait(&key, delivery)
    }

    /// Gives a key to the copy that has waited for it longest, if one waits.
    pub(super) fn free<H: Host>(&mut self, common: &mut Common<H>, target: usize, key: &Key) {
        if let Some(mut next) = self.target(target).and_then(|order| order.free(key)) {
            next.set_key(Rc::clone(key));
            common.follow(Step::Unpark(next));
        }
    }

    /// Removes and returns the copies of a target that wait for their keys, and forgets all of its keys.
    pub(super) fn take(&mut self, target: usize) -> impl Iterator<Item = Delivery> {
        self.target(target).map(KeyOrder::clear).into_iter().flatten()
    }

    fn target(&mut self, target: usize) -> Option<&mut KeyOrder<Delivery>> {
        self.0.get_mut(target)?.as_mut()
    }
}

/// The key of a request, if the target orders its copies and the request has one.
pub(super) fn key<H: Host>(common: &mut Common<H>, target: usize, reading: &Reading<'_>) -> Result<Option<Key>, TooMuch> {
    let Some(order) = common.target(target).and_then(|target| target.order.as_ref()) else {
        return Ok(None);
    };
    let before = reading.work().spent();
    let key = order.of(reading);
    common.spend(reading.work().spent().saturating_sub(before));
    key
}

/// The bytes that a copy holds for its key.
pub(super) fn bytes_of(key: &Key) -> usize {
    KeyOrder::<Delivery>::bytes_of(key)
}

/// Handles the end of a delivery, delivered or given up: its key goes to the next copy.
pub(super) fn delivery_ended<H: Host>(common: &mut Common<H>, delivery: &mut Delivery) {
    if let Some(key) = delivery.take_key() {
        common.follow(Step::FreeKey(delivery.target, key));
    }
}
