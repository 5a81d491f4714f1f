//! Requests for a batch: they come, are made items together, and go when the batch is complete.

use std::borrow::Cow;
use std::mem::size_of;
use std::rc::Rc;
use std::time::Duration;

use super::common::{signed, Common};
use super::step::Step;
use super::wanted::{is_counted_later, Complete, Now};
use crate::config::{Config, Target};
use crate::delivery::admission::Reservation;
use crate::delivery::arrivals::{self, Arrivals};
use crate::delivery::batch::{Collector, Completed, Settings};
use crate::delivery::drop_reason::DropReason;
use crate::engine::delivery::{Batch, BatchItem, Delivery, Load};
use crate::engine::host::Host;
use crate::http::headers::Pairs;
use crate::observe::metrics::Metric;
use crate::rewrite::reading::Reading;
use crate::rewrite::shape::{Attempt, Source};

/// The batches of all targets, in the order of the configuration; none for a target without.
pub(super) struct Batching(Vec<Option<TargetBatches>>);

/// What one target's batches are made of.
struct TargetBatches {
    arrivals: Arrivals<Arrival>,
    /// Items that are not enough for a batch yet; each has a parked place.
    collector: Collector<BatchItem>,
    /// What the gauges have of the arrivals: the first of them, so that nothing waits while they say that nothing does.
    shown: Waiting,
}

/// A request that is to become an item.
struct Arrival {
    complete: Complete,
    /// When it was complete; or, unless its target [`is_dated`], when the first of those was that are made items with it.
    received: Duration,
    /// When it was complete, since 1970, if that is read.
    at: Duration,
    /// Bytes taken from the worker's budget for it.
    reservation: Reservation,
}

impl arrivals::Arrival for Arrival {
    fn body_bytes(&self) -> usize {
        self.complete.body.len()
    }

    fn held(&self) -> usize {
        self.reservation.bytes()
    }
}

/// Requests that wait, and their bytes, as gauges tell of them; negative for what waits no longer.
#[derive(Clone, Copy, Default)]
struct Waiting {
    copies: i64,
    bytes: i64,
}

impl Waiting {
    fn one(reservation: &Reservation) -> Self {
        Self { copies: 1, bytes: signed(reservation.bytes()) }
    }

    fn and(self, other: Self) -> Self {
        Self { copies: self.copies.saturating_add(other.copies), bytes: self.bytes.saturating_add(other.bytes) }
    }

    fn negative(self) -> Self {
        Self { copies: self.copies.saturating_neg(), bytes: self.bytes.saturating_neg() }
    }
}

impl TargetBatches {
    fn new(settings: Settings) -> Self {
        Self { arrivals: Arrivals::new(settings.max_delay), collector: Collector::new(settings), shown: Waiting::default() }
    }

    /// When there is something to do next; none when there is nothing.
    fn due(&self) -> Option<Duration> {
        self.arrivals.due().into_iter().chain(self.collector.due()).min()
    }
}

impl Batching {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.targets.iter().map(|target| target.batch.map(TargetBatches::new)).collect())
    }

    /// When the first batch is due.
    pub(super) fn due(&self) -> Option<Duration> {
        self.0.iter().flatten().filter_map(TargetBatches::due).min()
    }

    /// Takes in a request for the batches of a target. If it is being read for the batches of others, too, it becomes an item at once, so that
    /// it is read once.
    pub(super) fn arrive<H: Host>(
        &mut self,
        common: &mut Common<H>,
        index: usize,
        complete: &Complete,
        shared: Option<&Reading<'_>>,
        now: &Now<H>,
    ) {
        let Some(reservation) = self.reserve(common, complete.size().saturating_add(size_of::<Arrival>())) else {
            count_as_matched(common, index, 1);
            let id = common.id();
            common.drop_unsent(index, Some(id), complete.head.correlation_id(), DropReason::BufferFull);
            return;
        };
        let target = common.target(index);
        let at = if target.is_some_and(|target| target.reads.time) { common.worker.wall_clock() } else { Duration::ZERO };
        let is_dated = target.is_some_and(is_dated);
        let arrival = |received| Arrival { complete: complete.clone(), received, at, reservation };
        if !self.has_place(common, index, now) {
            count_as_matched(common, index, 1);
            if let Some((line, item)) = self.item(common, index, arrival(**now), shared) {
                let is_rate_limited = common.admission.is_rate_limited(index, **now);
                let reason = if is_rate_limited { DropReason::RateLimited } else { DropReason::QueueFull };
                give_up_item(common, index, line, item, reason);
            }
            return;
        }
        let Some(batches) = self.target(index) else {
            return;
        };
        let first = batches.arrivals.first().map(|first| first.received);
        let received = first.filter(|_| !is_dated).unwrap_or_else(|| **now);
        let arrival = arrival(received);
        if shared.is_some() && first.is_none() {
            count_as_matched(common, index, 1);
            let mut change = Waiting::default();
            self.become_item(common, index, arrival, shared, &mut change);
            show(common, index, change);
            self.arm(common, index, **now);
            return;
        }
        let size = Waiting::one(&arrival.reservation);
        if batches.arrivals.add(arrival, received, batches.collector.room()) {
            self.gather(common, index, **now);
        } else if first.is_none() {
            batches.shown = size;
            show(common, index, size);
            self.arm(common, index, **now);
        }
    }

    /// Takes a place for one more. Of what has come before, some may not become items, and so leave theirs.
    fn has_place<H: Host>(&mut self, common: &mut Common<H>, index: usize, now: &Now<H>) -> bool {
        common.admission.park(index, 1) || {
            self.gather(common, index, **now);
            common.admission.park(index, 1)
        }
    }

    /// Makes items of the requests that have come.
    fn gather<H: Host>(&mut self, common: &mut Common<H>, index: usize, now: Duration) {
        let Some(batches) = self.target(index).filter(|batches| !batches.arrivals.is_empty()) else {
            return;
        };
        let mut arrivals = batches.arrivals.take().into_iter();
        let mut change = std::mem::take(&mut batches.shown).negative();
        let mut count = 0_usize;
        while !common.is_spent() {
            let Some(arrival) = arrivals.next() else {
                break;
            };
            count = count.saturating_add(1);
            self.become_item(common, index, arrival, None, &mut change);
        }
        count_as_matched(common, index, count);
        let rest: Vec<_> = arrivals.collect();
        if let (Some(first), Some(batches)) = (rest.first(), self.target(index)) {
            // Those that are left are the next tick's.
            batches.shown = Waiting::one(&first.reservation);
            change = change.and(batches.shown);
            batches.arrivals.put_back(rest, now);
        }
        show(common, index, change);
        self.arm(common, index, now);
    }

    /// A request, which has a place, becomes an item, or is given up. `change` is what gauges have to tell of it.
    fn become_item<H: Host>(
        &mut self,
        common: &mut Common<H>,
        index: usize,
        arrival: Arrival,
        shared: Option<&Reading<'_>>,
        change: &mut Waiting,
    ) {
        let Some((line, item)) = self.item(common, index, arrival, shared) else {
            common.admission.leave(index, 1);
            return;
        };
        if common.admission.is_rate_limited(index, item.received) {
            common.admission.leave(index, 1);
            give_up_item(common, index, line, item, DropReason::RateLimited);
            return;
        }
        *change = change.and(Waiting::one(&item.reservation));
        let Some(batches) = self.target(index) else {
            return;
        };
        let received = item.received;
        let Completed { before, full } = batches.collector.add(line, item, received);
        for batch in before.into_iter().chain(full) {
            show(common, index, std::mem::take(change));
            let delivery = delivery_of(common, index, batch.line, batch.items);
            common.follow(Step::Unpark(delivery));
        }
    }

    /// Takes bytes from the worker's budget. What has come for batches holds more than their items will: before there is no room, they are made
    /// of it.
    pub(super) fn reserve<H: Host>(&mut self, common: &mut Common<H>, bytes: usize) -> Option<Reservation> {
        let mut reservation = common.admission.budget.reservation();
        self.grow(common, &mut reservation, bytes).then_some(reservation)
    }

    /// Grows a reservation in the same way.
    pub(super) fn grow<H: Host>(&mut self, common: &mut Common<H>, reservation: &mut Reservation, bytes: usize) -> bool {
        common.admission.budget.grow(reservation, bytes) || {
            let now = common.worker.monotonic();
            for index in 0..self.0.len() {
                self.gather(common, index, now);
            }
            common.admission.budget.grow(reservation, bytes)
        }
    }

    /// The item that a request becomes, and what its call has to say; none if it was given up.
    fn item<H: Host>(
        &mut self,
        common: &mut Common<H>,
        index: usize,
        arrival: Arrival,
        shared: Option<&Reading<'_>>,
    ) -> Option<(Pairs, BatchItem)> {
        let Arrival { complete, received, at, reservation } = arrival;
        // What the item holds is taken instead.
        drop(reservation);
        match shared {
            Some(reading) => self.item_of(common, index, &complete, (received, at), reading),
            None => {
                let own = Reading::new(&complete.head, &complete.body, &common.config.reading);
                self.item_of(common, index, &complete, (received, at), &own)
            }
        }
    }

    /// The same for a request that is complete since then, by both clocks.
    fn item_of<H: Host>(
        &mut self,
        common: &mut Common<H>,
        index: usize,
        complete: &Complete,
        (received, at): (Duration, Duration),
        reading: &Reading<'_>,
    ) -> Option<(Pairs, BatchItem)> {
        let id = common.id();
        let correlation_id = complete.head.correlation_id();
        let target = common.target(index)?;
        let format = target.batch?.format;
        let attempt = Attempt { target: &target.name, number: 1, delivery_id: id, span_id: [0; 8], is_shown: false };
        let source = Source { reading, response: complete.response.as_deref(), at };
        let before = reading.work().spent();
        let item = target.shape.item(&source, &attempt, format);
        common.spend(reading.work().spent().saturating_sub(before));
        let (line, json) = match item {
            Ok(item) => item,
            Err(unfit) => {
                // An item has no headers of its own, so it cannot have too many.
                let reason = DropReason::of_unfit(unfit).unwrap_or(DropReason::NotRetryable);
                common.drop_unsent(index, Some(id), correlation_id, reason);
                return None;
            }
        };
        let json = match json {
            Cow::Borrowed(json) if json.len() == complete.body.len() && reading.is_plain(json) => Rc::clone(&complete.body),
            Cow::Borrowed(json) => Rc::new(json.to_vec()),
            Cow::Owned(mut json) => {
                json.shrink_to_fit();
                Rc::new(json)
            }
        };
        // What the call says is held once for all of its items, and by each of their letters.
        let held = [json.capacity(), correlation_id.len(), line.serialized_len(), size_of::<BatchItem>()];
        let Some(reservation) = self.reserve(common, held.into_iter().fold(0, usize::saturating_add)) else {
            common.drop_unsent(index, Some(id), correlation_id, DropReason::BufferFull);
            return None;
        };
        Some((line, BatchItem { id, correlation_id: complete.head.shared_correlation_id(), json, received, reservation }))
    }

    /// The time of a target's arrivals, or of its batch, may have come.
    pub(super) fn go_if_due<H: Host>(&mut self, common: &mut Common<H>, index: usize, now: Duration) {
        if self.target(index).and_then(|batches| batches.arrivals.due()).is_some_and(|due| due <= now) {
            self.gather(common, index, now);
        }
        // Those that came first may have waited for as long as their batch may.
        if self.target(index).and_then(|batches| batches.collector.due()).is_some_and(|due| due <= now) {
            self.close(common, index, now);
        }
    }

    /// Lets all go that has come for a target's batches.
    pub(super) fn close<H: Host>(&mut self, common: &mut Common<H>, index: usize, now: Duration) {
        self.gather(common, index, now);
        if let Some(batch) = self.target(index).and_then(|batches| batches.collector.close()) {
            let delivery = delivery_of(common, index, batch.line, batch.items);
            common.follow(Step::Unpark(delivery));
        }
    }

    fn target(&mut self, index: usize) -> Option<&mut TargetBatches> {
        self.0.get_mut(index)?.as_mut()
    }

    /// Makes sure that the root ticks when there is something to do for a target.
    fn arm<H: Host>(&mut self, common: &mut Common<H>, index: usize, now: Duration) {
        if let Some(due) = self.target(index).and_then(|batches| batches.due()) {
            common.arm_by(due, now);
        }
    }
}

/// Counts requests that were not when they came.
pub(super) fn count_as_matched<H: Host>(common: &Common<H>, index: usize, requests: usize) {
    if common.target(index).is_some_and(is_counted_later) {
        common.add(index, Metric::Matched, signed(requests));
    }
}

/// A batch is complete, or gives up one of its items.
fn delivery_of<H: Host>(common: &mut Common<H>, target: usize, line: Pairs, items: Vec<BatchItem>) -> Delivery {
    Delivery {
        id: common.id(),
        target,
        attempt: 1,
        // Items come in the order of time.
        received: items.first().map(|item| item.received).unwrap_or_default(),
        load: Load::Batch(Batch { line: Rc::new(line), items }),
        last_outcome: None,
    }
}

fn give_up_item<H: Host>(common: &mut Common<H>, index: usize, line: Pairs, item: BatchItem, reason: DropReason) {
    let delivery = delivery_of(common, index, line, vec![item]);
    common.follow(Step::give_up_before_attempt(delivery, reason));
}

fn show<H: Host>(common: &Common<H>, index: usize, Waiting { copies, bytes }: Waiting) {
    for (gauge, change) in [(Metric::Queued, copies), (Metric::QueuedBytes, bytes)] {
        if change != 0 {
            common.add(index, gauge, change);
        }
    }
}

/// True for a target for which the time of each request counts. For others it is not worth a host call: a batch waits from its first request
/// on, which came before all others.
fn is_dated(target: &Target) -> bool {
    target.rate.is_some() || target.dead_letter.is_some()
}
