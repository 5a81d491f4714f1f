//! Requests for a batch: they come, are made items together, and go when the batch is complete.

use std::borrow::Cow;
use std::mem::size_of;
use std::rc::Rc;
use std::time::Duration;

use super::delivery::{Batch, BatchItem, Delivery, Load};
use super::intake::{is_counted_later, Complete, Now};
use super::{signed, Mirror};
use crate::config::Target;
use crate::delivery::admission::Charge;
use crate::delivery::arrivals::{self, Arrivals};
use crate::delivery::batch::{self, Collector, Completed, Settings};
use crate::delivery::drop_reason::DropReason;
use crate::engine::host::Host;
use crate::engine::ids::random_id;
use crate::http::headers::Pairs;
use crate::observe::metrics::Metric;
use crate::rewrite::reading::Reading;
use crate::rewrite::shape::{Attempt, Source};

/// What one target's batches are made of.
pub(super) struct Batching {
    arrivals: Arrivals<Arrival>,
    /// Items that are not enough for a batch yet; each has a place in the lane.
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
    charge: Charge,
}

impl arrivals::Arrival for Arrival {
    fn body_bytes(&self) -> usize {
        self.complete.body.len()
    }

    fn held(&self) -> usize {
        self.charge.bytes()
    }
}

/// Requests that wait, and their bytes, as gauges tell of them; negative for what waits no longer.
#[derive(Clone, Copy, Default)]
struct Waiting {
    copies: i64,
    bytes: i64,
}

impl Waiting {
    fn one(charge: &Charge) -> Self {
        Self { copies: 1, bytes: signed(charge.bytes()) }
    }

    fn and(self, other: Self) -> Self {
        Self { copies: self.copies.saturating_add(other.copies), bytes: self.bytes.saturating_add(other.bytes) }
    }

    fn negative(self) -> Self {
        Self { copies: self.copies.saturating_neg(), bytes: self.bytes.saturating_neg() }
    }
}

impl Batching {
    pub(super) fn new(settings: Settings) -> Self {
        Self { arrivals: Arrivals::new(settings.max_delay), collector: Collector::new(settings), shown: Waiting::default() }
    }

    /// When there is something to do next; none when there is nothing.
    pub(super) fn due(&self) -> Option<Duration> {
        self.arrivals.due().into_iter().chain(self.collector.due()).min()
    }
}

impl<H: Host> Mirror<H> {
    /// Takes in a request for the batches of a target. If it is being read for the batches of others, too, it becomes an item at once, so that
    /// it is read once.
    pub(super) fn arrive(&mut self, index: usize, complete: &Complete, shared: Option<&Reading<'_>>, now: &Now<H>) {
        let Some(charge) = self.charge(complete.size().saturating_add(size_of::<Arrival>())) else {
            self.count_as_matched(index, 1);
            let id = random_id(self.random.take(|block| self.worker.random(block)));
            self.give_up_unsent(index, Some(id), complete.head.correlation_id(), DropReason::BufferFull);
            return;
        };
        let target = self.config.targets.get(index);
        let at = if target.is_some_and(|target| target.reads.time) { self.worker.wall_clock() } else { Duration::ZERO };
        let is_dated = target.is_some_and(is_dated);
        let arrival = |received| Arrival { complete: complete.clone(), received, at, charge };
        if !self.has_place(index, now) {
            self.count_as_matched(index, 1);
            if let Some((line, item)) = self.item(index, arrival(**now), shared) {
                let reason = if self.is_rate_limited(index, **now) { DropReason::RateLimited } else { DropReason::QueueFull };
                self.give_up_item(index, line, item, reason, **now);
            }
            return;
        }
        let Some(batching) = self.batching(index) else {
            return;
        };
        let first = batching.arrivals.first().map(|first| first.received);
        let received = first.filter(|_| !is_dated).unwrap_or_else(|| **now);
        let arrival = arrival(received);
        if shared.is_some() && first.is_none() {
            self.count_as_matched(index, 1);
            let mut change = Waiting::default();
            self.become_item(index, arrival, shared, **now, &mut change);
            self.show(index, change);
            let due = self.batching(index).and_then(|batching| batching.due());
            self.arm_for(due, **now);
            return;
        }
        let size = Waiting::one(&arrival.charge);
        if batching.arrivals.add(arrival, received, batching.collector.room()) {
            self.gather(index, **now);
        } else if first.is_none() {
            batching.shown = size;
            let due = batching.due();
            self.show(index, size);
            self.arm_for(due, **now);
        }
    }

    /// Takes a place for one more. Of what has come before, some may not become items, and so leave theirs.
    fn has_place(&mut self, index: usize, now: &Now<H>) -> bool {
        let park = |mirror: &mut Self| mirror.lanes.get_mut(index).is_some_and(|lane| lane.lane.park(1));
        park(self) || {
            self.gather(index, **now);
            park(self)
        }
    }

    /// Makes items of the requests that have come.
    fn gather(&mut self, index: usize, now: Duration) {
        let Some(batching) = self.batching(index) else {
            return;
        };
        if batching.arrivals.is_empty() {
            return;
        }
        let mut arrivals = batching.arrivals.take().into_iter();
        let mut change = std::mem::take(&mut batching.shown).negative();
        let mut count = 0_usize;
        while !self.is_spent() {
            let Some(arrival) = arrivals.next() else {
                break;
            };
            count = count.saturating_add(1);
            self.become_item(index, arrival, None, now, &mut change);
        }
        self.count_as_matched(index, count);
        let rest: Vec<_> = arrivals.collect();
        if let (Some(first), Some(batching)) = (rest.first(), self.batching(index)) {
            // Those that are left are the next tick's.
            batching.shown = Waiting::one(&first.charge);
            change = change.and(batching.shown);
            batching.arrivals.put_back(rest, now);
        }
        self.show(index, change);
        let due = self.batching(index).and_then(|batching| batching.due());
        self.arm_for(due, now);
    }

    /// A request, which has a place, becomes an item, or is given up. `change` is what gauges have to tell of it.
    fn become_item(&mut self, index: usize, arrival: Arrival, shared: Option<&Reading<'_>>, now: Duration, change: &mut Waiting) {
        let Some((line, item)) = self.item(index, arrival, shared) else {
            self.leave_parked(index);
            return;
        };
        if self.is_rate_limited(index, item.received) {
            self.leave_parked(index);
            self.give_up_item(index, line, item, DropReason::RateLimited, now);
            return;
        }
        *change = change.and(Waiting::one(&item.charge));
        let Some(batching) = self.batching(index) else {
            return;
        };
        let received = item.received;
        let Completed { before, full } = batching.collector.add(line, item, received);
        for batch in before.into_iter().chain(full) {
            self.show(index, std::mem::take(change));
            self.let_go(index, batch, now);
        }
    }

    /// Counts requests that were not when they came.
    pub(super) fn count_as_matched(&self, index: usize, requests: usize) {
        if self.config.targets.get(index).is_some_and(is_counted_later) {
            self.add(index, Metric::Matched, signed(requests));
        }
    }

    /// Takes bytes from the worker's budget. What has come for batches holds more than their items will: before there is no room, they are made
    /// of it.
    pub(in crate::engine) fn charge(&mut self, bytes: usize) -> Option<Charge> {
        let mut charge = self.budget.nothing();
        self.grow(&mut charge, bytes).then_some(charge)
    }

    /// Grows a charge.
    pub(in crate::engine) fn grow(&mut self, charge: &mut Charge, bytes: usize) -> bool {
        self.budget.grow(charge, bytes) || {
            let now = self.worker.monotonic();
            for index in 0..self.lanes.len() {
                self.gather(index, now);
            }
            self.budget.grow(charge, bytes)
        }
    }

    /// The item that a request becomes, and what its call has to say; none if it was given up.
    fn item(&mut self, index: usize, arrival: Arrival, shared: Option<&Reading<'_>>) -> Option<(Pairs, BatchItem)> {
        let Arrival { complete, received, at, charge } = arrival;
        // What the item holds is taken instead.
        drop(charge);
        match shared {
            Some(reading) => self.item_of(index, &complete, (received, at), reading),
            None => {
                let own = Reading::new(&complete.head, &complete.body, &self.config.reading);
                self.item_of(index, &complete, (received, at), &own)
            }
        }
    }

    /// The same for a request that is complete since then, by both clocks.
    fn item_of(
        &mut self,
        index: usize,
        complete: &Complete,
        (received, at): (Duration, Duration),
        reading: &Reading<'_>,
    ) -> Option<(Pairs, BatchItem)> {
        let id = random_id(self.random.take(|block| self.worker.random(block)));
        let correlation_id = complete.head.correlation_id();
        let target = self.config.targets.get(index)?;
        let format = target.batch?.format;
        let attempt = Attempt { target: &target.name, number: 1, delivery_id: id, span_id: [0; 8], is_shown: false };
        let source = Source { reading, answered: complete.answered.as_deref(), at };
        let before = reading.work().spent();
        let item = target.shape.item(&source, &attempt, format);
        self.spend(reading.work().spent().saturating_sub(before));
        let (line, json) = match item {
            Ok(item) => item,
            Err(unfit) => {
                // An item has no headers of its own, so it cannot have too many.
                let reason = DropReason::of_unfit(unfit).unwrap_or(DropReason::NotRetryable);
                self.give_up_unsent(index, Some(id), correlation_id, reason);
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
        let Some(charge) = self.charge(held.into_iter().fold(0, usize::saturating_add)) else {
            self.give_up_unsent(index, Some(id), correlation_id, DropReason::BufferFull);
            return None;
        };
        Some((line, BatchItem { id, correlation_id: complete.head.shared_correlation_id(), json, received, charge }))
    }

    fn batching(&mut self, index: usize) -> Option<&mut Batching> {
        self.lanes.get_mut(index)?.batching.as_mut()
    }

    fn leave_parked(&mut self, index: usize) {
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.lane.leave(1);
        }
    }

    fn give_up_item(&mut self, index: usize, line: Pairs, item: BatchItem, reason: DropReason, now: Duration) {
        let delivery = self.delivery_of(index, line, vec![item]);
        self.give_up_before_attempt(delivery, reason, now);
    }

    /// The time of what has come for a target's batches, or of the open one, may be there.
    pub(super) fn batch_due(&mut self, index: usize, now: Duration) {
        if self.batching(index).and_then(|batching| batching.arrivals.due()).is_some_and(|due| due <= now) {
            self.gather(index, now);
        }
        // Those that came first may have waited for as long as their batch may.
        if self.batching(index).and_then(|batching| batching.collector.due()).is_some_and(|due| due <= now) {
            self.close_batch(index, now);
        }
    }

    /// Lets all go that has come for a target's batches.
    pub(super) fn close_batch(&mut self, index: usize, now: Duration) {
        self.gather(index, now);
        if let Some(batch) = self.batching(index).and_then(|batching| batching.collector.close()) {
            self.let_go(index, batch, now);
        }
    }

    /// A batch is complete: it goes, or waits in the places of its items.
    fn let_go(&mut self, target: usize, batch: batch::Batch<BatchItem>, now: Duration) {
        let delivery = self.delivery_of(target, batch.line, batch.items);
        self.leave_wait(delivery, now);
    }

    fn delivery_of(&mut self, target: usize, line: Pairs, items: Vec<BatchItem>) -> Delivery {
        Delivery {
            id: random_id(self.random.take(|block| self.worker.random(block))),
            target,
            attempt: 1,
            // Items come in the order of time.
            received: items.first().map(|item| item.received).unwrap_or_default(),
            load: Load::Batch(Batch { line: Rc::new(line), items }),
            last_outcome: None,
        }
    }

    fn show(&self, index: usize, Waiting { copies, bytes }: Waiting) {
        for (gauge, change) in [(Metric::Queued, copies), (Metric::QueuedBytes, bytes)] {
            if change != 0 {
                self.add(index, gauge, change);
            }
        }
    }

    fn arm_for(&mut self, due: Option<Duration>, now: Duration) {
        if let Some(due) = due {
            self.arm_by(due, now);
        }
    }
}

/// True for a target for which the time of each request counts. For others it is not worth a host call: a batch waits from its first request
/// on, which came before all others.
fn is_dated(target: &Target) -> bool {
    target.rate.is_some() || target.dead_letter.is_some()
}
