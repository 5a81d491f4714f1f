//! Deliveries that wait for a time: the next attempt after a back-off.

use std::collections::BTreeMap;
use std::time::Duration;

use super::common::Common;
use crate::engine::delivery::Delivery;
use crate::engine::host::Host;

/// Deliveries by the time at which they are due, and a number that tells those of the same time apart.
#[derive(Default)]
pub(super) struct Backoffs {
    deliveries: BTreeMap<(Duration, u64), Delivery>,
    serial: u64,
}

impl Backoffs {
    /// Lets a delivery with parked places wait for so long.
    pub(super) fn add<H: Host>(&mut self, common: &mut Common<H>, delivery: Delivery, delay: Duration, now: Duration) {
        common.count_queued(delivery.burden(), 1);
        let due = now.saturating_add(delay);
        self.add_counted(delivery, due);
        common.arm_by(due, now);
    }

    /// Lets a delivery wait until a time that has been counted as waiting before. The caller sees to the tick.
    pub(super) fn add_counted(&mut self, delivery: Delivery, due: Duration) {
        self.serial = self.serial.wrapping_add(1);
        self.deliveries.insert((due, self.serial), delivery);
    }

    /// When the first is due.
    pub(super) fn due(&self) -> Option<Duration> {
        self.deliveries.first_key_value().map(|((due, _), _)| *due)
    }

    /// The next that is due.
    pub(super) fn next(&mut self, now: Duration) -> Option<Delivery> {
        let first = self.deliveries.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    /// All that waits. Nothing does afterwards.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Delivery> {
        std::mem::take(&mut self.deliveries).into_values()
    }
}
