//! Deliveries that wait for their back-off to end.

use std::collections::BTreeMap;
use std::time::Duration;

use super::common::Common;
use crate::engine::delivery::Delivery;
use crate::engine::host::Host;

/// Waiting deliveries, sorted by due time. A serial number distinguishes deliveries that are due at the same time.
#[derive(Default)]
pub(super) struct Backoffs {
    deliveries: BTreeMap<(Duration, u64), Delivery>,
    serial: u64,
}

impl Backoffs {
    /// Adds a delivery that waits for `delay`. Its places are already parked.
    pub(super) fn add<H: Host>(&mut self, common: &mut Common<H>, delivery: Delivery, delay: Duration, now: Duration) {
        common.count_queued(delivery.burden(), 1);
        let due = now.saturating_add(delay);
        self.add_counted(delivery, due);
        common.arm_by(due, now);
    }

    /// Adds a delivery that already counts as queued, due at `due`. The caller arms the tick.
    pub(super) fn add_counted(&mut self, delivery: Delivery, due: Duration) {
        self.serial = self.serial.wrapping_add(1);
        self.deliveries.insert((due, self.serial), delivery);
    }

    /// When the first delivery is due.
    pub(super) fn due(&self) -> Option<Duration> {
        self.deliveries.first_key_value().map(|((due, _), _)| *due)
    }

    /// Removes and returns a delivery that is due, unless the callback has done its share of work.
    pub(super) fn next<H: Host>(&mut self, common: &Common<H>, now: Duration) -> Option<Delivery> {
        if common.is_spent() {
            return None;
        }
        let first = self.deliveries.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    /// Removes and returns all deliveries.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Delivery> {
        std::mem::take(&mut self.deliveries).into_values()
    }
}
