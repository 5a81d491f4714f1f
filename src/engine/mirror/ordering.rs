//! Order by key: of the copies of one target that have the same key, only one is under way. The others wait for it to end, in the order of their
//! arrival.
//!
//! A copy has its key for itself from its first attempt until it ends, also while it waits for a back-off or for the breaker. Its end, delivered or
//! given up, gives the key to the next copy. Copies that wait have parked places. A key is known only while a copy has it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::mem::size_of;
use std::rc::Rc;

use super::common::Common;
use super::step::Step;
use crate::config::Config;
use crate::delivery::drop_reason::DropReason;
use crate::engine::delivery::Delivery;
use crate::engine::host::Host;
use crate::rewrite::reading::Reading;

/// The keys of each target, in the order of the configuration. `None` for a target without an order.
pub(super) struct Ordering(Vec<Option<Keys>>);

/// The copies that wait for each key that a copy has. Clients choose the keys, so the map is one that no choice of them makes slow.
type Keys = BTreeMap<Rc<[u8]>, VecDeque<Delivery>>;

impl Ordering {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.targets.iter().map(|target| target.order.as_ref().map(|_| Keys::new())).collect())
    }

    /// Returns a copy whose key is free, which now has it. Otherwise the copy waits for the key, or is given up because there is no place.
    pub(super) fn enter<H: Host>(
        &mut self,
        common: &mut Common<H>,
        mut delivery: Delivery,
        key: Rc<[u8]>,
    ) -> Option<Delivery> {
        let Some(keys) = self.keys(delivery.target) else {
            return Some(delivery);
        };
        match keys.entry(key) {
            Entry::Vacant(free) => {
                delivery.set_key(Rc::clone(free.key()));
                free.insert(VecDeque::new());
                Some(delivery)
            }
            Entry::Occupied(mut waiting) => {
                if common.admission.park(delivery.target, 1) {
                    common.count_queued(delivery.burden(), 1);
                    waiting.get_mut().push_back(delivery);
                } else {
                    common.follow(Step::give_up_before_attempt(delivery, DropReason::QueueFull));
                }
                None
            }
        }
    }

    /// Gives a key to the copy that has waited for it longest. If none waits, the key is forgotten.
    pub(super) fn free<H: Host>(&mut self, common: &mut Common<H>, target: usize, key: &Rc<[u8]>) {
        let Some(keys) = self.keys(target) else {
            return;
        };
        // The drain takes the keys of the copies that it gives up. A later copy may have an equal key since.
        if !keys.get_key_value(key).is_some_and(|(own, _)| Rc::ptr_eq(own, key)) {
            return;
        }
        let next = keys.get_mut(key).and_then(|waiting| {
            let next = waiting.pop_front();
            // A queue that was long once need not stay allocated.
            if waiting.len() <= waiting.capacity() / 4 {
                waiting.shrink_to(waiting.len().saturating_mul(2));
            }
            next
        });
        if let Some(mut next) = next {
            next.set_key(Rc::clone(key));
            common.follow(Step::Unpark(next));
        } else {
            keys.remove(key);
        }
    }

    /// Removes and returns the copies of a target that wait for their keys, and forgets all of its keys.
    pub(super) fn take(&mut self, target: usize) -> impl Iterator<Item = Delivery> {
        self.keys(target).map(std::mem::take).unwrap_or_default().into_values().flatten()
    }

    fn keys(&mut self, target: usize) -> Option<&mut Keys> {
        self.0.get_mut(target)?.as_mut()
    }
}

/// The key of a request, if the target orders its copies and the request has one.
pub(super) fn key<H: Host>(common: &mut Common<H>, target: usize, reading: &Reading<'_>) -> Option<Rc<[u8]>> {
    let order = common.target(target)?.order.as_ref()?;
    let before = reading.work().spent();
    let key = order.of(reading);
    common.spend(reading.work().spent().saturating_sub(before));
    key
}

/// The bytes that a copy holds for its key: the key itself, an entry of a map that may be half empty, and a spare place in a queue.
pub(super) fn bytes_of(key: &[u8]) -> usize {
    let entry = size_of::<(Rc<[u8]>, VecDeque<Delivery>)>();
    let held = [size_of::<[usize; 2]>(), entry, entry, size_of::<Delivery>()];
    held.into_iter().fold(key.len(), usize::saturating_add)
}

/// Handles the end of a delivery, delivered or given up: its key goes to the next copy.
pub(super) fn delivery_ended<H: Host>(common: &mut Common<H>, delivery: &mut Delivery) {
    if let Some(key) = delivery.take_key() {
        common.follow(Step::FreeKey(delivery.target, key));
    }
}
