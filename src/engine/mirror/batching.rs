//! Batching: collects requests, renders them as items, and sends a batch when it is complete.

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

/// The batches of all targets, in the order of the configuration. `None` for a target without batching.
pub(super) struct Batching(Vec<Option<TargetBatches>>);

/// The requests and items of one target that wait for a batch.
struct TargetBatches {
    arrivals: Arrivals<Arrival>,
    /// Items that do not fill a batch yet. Each has a parked place.
    collector: Collector<BatchItem>,
    /// What the gauges show of the arrivals. They show only the first arrival, which is enough for them not to be 0 while requests wait.
    shown: Waiting,
}

/// A request that is to be rendered as an item.
struct Arrival {
    complete: Complete,
    /// When the request was complete. If the target is not dated ([`is_dated`]), when the first of the requests was complete that are rendered
    /// together with it.
    received: Duration,
    /// When the request was complete, as the time since 1970. Set only if the target reads the time.
    at: Duration,
    /// The bytes reserved in the worker's budget for the request.
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

/// A change of the gauges of waiting requests and bytes. Negative if less waits than before.
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

    /// When the next work of this target is due. `None` if nothing waits.
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

    /// Adds a request, which has a parked place. If the batches of other targets read the request, too, it is rendered at once, so that it is read
    /// only once.
    pub(super) fn arrive<H: Host>(
        &mut self,
        common: &mut Common<H>,
        index: usize,
        (complete, reservation): (&Complete, Reservation),
        shared: Option<&Reading<'_>>,
        now: &Now<H>,
    ) {
        let target = common.target(index);
        let at = time_read(common, index);
        let is_dated = target.is_some_and(is_dated);
        let Some(batches) = self.target(index) else {
            return;
        };
        let first = batches.arrivals.first().map(|first| first.received);
        let received = first.filter(|_| !is_dated).unwrap_or_else(|| **now);
        let arrival = Arrival { complete: complete.clone(), received, at, reservation };
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

    /// Drops a request that finds no place. It is rendered first, for its letter.
    pub(super) fn refuse<H: Host>(
        &mut self,
        common: &mut Common<H>,
        index: usize,
        (complete, reservation): (&Complete, Reservation),
        shared: Option<&Reading<'_>>,
        now: Duration,
    ) {
        count_as_matched(common, index, 1);
        let arrival = Arrival { complete: complete.clone(), received: now, at: time_read(common, index), reservation };
        if let Some((line, item)) = self.item(common, index, arrival, shared) {
            let is_rate_limited = common.admission.is_rate_limited(index, now);
            let reason = if is_rate_limited { DropReason::RateLimited } else { DropReason::QueueFull };
            give_up_item(common, index, line, item, reason);
        }
    }

    /// The bytes that an arrival holds.
    pub(super) fn bytes_of(complete: &Complete) -> usize {
        complete.size().saturating_add(size_of::<Arrival>())
    }

    /// Renders the arrivals as items, until the work share of the callback is spent.
    pub(super) fn gather<H: Host>(&mut self, common: &mut Common<H>, index: usize, now: Duration) {
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
            // The next tick renders the rest.
            batches.shown = Waiting::one(&first.reservation);
            change = change.and(batches.shown);
            batches.arrivals.put_back(rest, now);
        }
        show(common, index, change);
        self.arm(common, index, now);
    }

    /// Renders a request, which has a place, as an item, or gives it up. Adds the change of the gauges to `change`.
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

    /// Reserves bytes in the worker's budget. Arrivals hold more bytes than their items will. If there is no room, all arrivals are rendered first
    /// to free the difference.
    pub(super) fn reserve<H: Host>(&mut self, common: &mut Common<H>, bytes: usize) -> Option<Reservation> {
        let mut reservation = common.admission.budget.reservation();
        self.grow(common, &mut reservation, bytes).then_some(reservation)
    }

    /// Grows a reservation. Frees bytes in the same way as [`Self::reserve`].
    pub(super) fn grow<H: Host>(&mut self, common: &mut Common<H>, reservation: &mut Reservation, bytes: usize) -> bool {
        common.admission.budget.grow(reservation, bytes) || {
            let now = common.worker.monotonic();
            for index in 0..self.0.len() {
                self.gather(common, index, now);
            }
            common.admission.budget.grow(reservation, bytes)
        }
    }

    /// Renders a request as an item, together with the headers of its call. Returns `None` if the request was given up.
    fn item<H: Host>(
        &mut self,
        common: &mut Common<H>,
        index: usize,
        arrival: Arrival,
        shared: Option<&Reading<'_>>,
    ) -> Option<(Pairs, BatchItem)> {
        let Arrival { complete, received, at, reservation } = arrival;
        // The item makes a reservation of its own.
        drop(reservation);
        match shared {
            Some(reading) => self.item_of(common, index, &complete, (received, at), reading),
            None => {
                let own = Reading::new(&complete.head, &complete.body, &common.config.reading);
                self.item_of(common, index, &complete, (received, at), &own)
            }
        }
    }

    /// Renders the item from a reading. `received` is by the monotonic clock, `at` by the wall clock.
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
        let attempt =
            Attempt { target: &target.name, number: 1, delivery_id: id, span_id: [0; 8], at: Duration::ZERO, is_shown: false };
        let source = Source { reading, answer: complete.answer.as_deref(), at };
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
        // The headers are held once for all items, and by each of their letters.
        let held = [json.capacity(), correlation_id.len(), line.parts().serialized_len(), size_of::<BatchItem>()];
        let Some(reservation) = self.reserve(common, held.into_iter().fold(0, usize::saturating_add)) else {
            common.drop_unsent(index, Some(id), correlation_id, DropReason::BufferFull);
            return None;
        };
        Some((line, BatchItem { id, correlation_id: complete.head.shared_correlation_id(), json, received, reservation }))
    }

    /// Renders the arrivals of a target, or sends its batch, if they are due.
    pub(super) fn go_if_due<H: Host>(&mut self, common: &mut Common<H>, index: usize, now: Duration) {
        if self.target(index).and_then(|batches| batches.arrivals.due()).is_some_and(|due| due <= now) {
            self.gather(common, index, now);
        }
        // The oldest items may have waited for the maximum delay of a batch by now.
        if self.target(index).and_then(|batches| batches.collector.due()).is_some_and(|due| due <= now) {
            self.close(common, index, now);
        }
    }

    /// Renders all arrivals of a target and sends its batch, complete or not.
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

    /// Makes sure that the root ticks when the target's next work is due.
    fn arm<H: Host>(&mut self, common: &mut Common<H>, index: usize, now: Duration) {
        if let Some(due) = self.target(index).and_then(|batches| batches.due()) {
            common.arm_by(due, now);
        }
    }
}

/// The wall-clock time, if a target reads it.
fn time_read<H: Host>(common: &Common<H>, index: usize) -> Duration {
    let reads = common.target(index).is_some_and(|target| target.reads.time);
    if reads {
        common.worker.wall_clock()
    } else {
        Duration::ZERO
    }
}

/// Counts requests as matched that were not counted when they arrived.
pub(super) fn count_as_matched<H: Host>(common: &Common<H>, index: usize, requests: usize) {
    if common.target(index).is_some_and(is_counted_later) {
        common.add(index, Metric::Matched, signed(requests));
    }
}

/// Makes a delivery of a complete batch, or of one item that is given up.
fn delivery_of<H: Host>(common: &mut Common<H>, target: usize, line: Pairs, items: Vec<BatchItem>) -> Delivery {
    Delivery {
        id: common.id(),
        target,
        attempt: 1,
        // Items are sorted by time.
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

/// True if the target needs the time of each request. For other targets the time is not worth a host call: a batch waits from its first request on,
/// and the later requests cannot be due before it.
fn is_dated(target: &Target) -> bool {
    target.rate.is_some() || target.dead_letter.is_some()
}
