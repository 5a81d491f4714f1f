//! Requests as they come: which targets want them, and how they become deliveries.

use std::cell::OnceCell;
use std::mem::size_of;
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use super::comparison::Comparison;
use super::delivery::{Delivery, Load, One};
use super::Mirror;
use crate::config::{Reads, Target};
use crate::delivery::admission::{Charge, Offer};
use crate::delivery::drop_reason::DropReason;
use crate::engine::host::Host;
use crate::engine::ids::random_id;
use crate::engine::worker::Worker;
use crate::http::headers::HeaderMap;
use crate::http::request_head::RequestHead;
use crate::http::text::text_of;
use crate::observe::metrics::Metric;
use crate::rewrite::capture::{CapturedHead, Needs};
use crate::rewrite::reading::Reading;
use crate::select::{Request, Verdict};
use crate::template::property;
use crate::template::{Answered, Property};

/// Targets of a configuration, a bit each: there are at most 32.
#[derive(Clone, Copy, Default)]
pub(in crate::engine) struct Targets(u32);

impl Targets {
    pub(in crate::engine) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn insert(&mut self, target: usize) {
        self.0 |= u32::try_from(target).ok().and_then(|target| 1_u32.checked_shl(target)).unwrap_or(0);
    }

    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        (0..32).filter(move |target| self.0 & (1 << target) != 0)
    }

    /// Those that are among others, too.
    pub(super) fn and(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Those that are not among others.
    pub(super) fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    pub(super) fn has(self, target: usize) -> bool {
        self.iter().any(|other| other == target)
    }
}

/// Who wants a request, and what for.
#[derive(Clone, Copy, Default)]
pub(in crate::engine) struct Wanted {
    /// Those that get it once it is complete.
    pub(in crate::engine) now: Targets,
    /// Those that wait for the primary's answer.
    pub(in crate::engine) later: Targets,
    /// Those whose answers are compared with the primary's.
    pub(in crate::engine) compared: Targets,
    /// Those of them for which the body decides; nothing is counted for them yet.
    pub(super) undecided: Targets,
    /// Those for which the body decides whether they are counted, and which get nothing: their sample leaves the request out.
    pub(super) left_out: Targets,
    needs: Needs,
    /// What else must be kept for one of them.
    pub(in crate::engine) reads: Reads,
}

impl Wanted {
    pub(in crate::engine) fn is_empty(self) -> bool {
        self.now.is_empty() && self.later.is_empty() && self.left_out.is_empty()
    }

    /// The same once all is decided.
    pub(super) fn decided(self) -> Self {
        Self { undecided: Targets::default(), left_out: Targets::default(), ..self }
    }

    /// Leaves of its targets those that `choose` leaves.
    pub(super) fn limited(self, choose: impl Fn(Targets) -> Targets) -> Self {
        Self {
            now: choose(self.now),
            later: choose(self.later),
            compared: choose(self.compared),
            undecided: choose(self.undecided),
            left_out: choose(self.left_out),
            ..self
        }
    }
}

/// A complete request.
#[derive(Clone)]
pub(in crate::engine) struct Complete {
    pub(in crate::engine) head: Rc<CapturedHead>,
    pub(in crate::engine) body: Rc<Vec<u8>>,
    /// The primary's answer, if it was waited for.
    pub(in crate::engine) answered: Option<Rc<Answered>>,
}

impl Complete {
    /// The bytes it takes to hold.
    pub(super) fn size(&self) -> usize {
        let answer_size = self.answered.as_ref().map_or(0, |answered| answered.headers.size());
        self.head.size().saturating_add(self.body.capacity()).saturating_add(answer_size)
    }
}

/// The time, read once, and only if somebody asks.
pub(super) struct Now<H> {
    worker: Rc<Worker<H>>,
    time: OnceCell<Duration>,
}

impl<H: Host> Now<H> {
    fn new(worker: &Rc<Worker<H>>) -> Self {
        Self { worker: Rc::clone(worker), time: OnceCell::new() }
    }
}

impl<H: Host> Deref for Now<H> {
    type Target = Duration;

    fn deref(&self) -> &Duration {
        self.time.get_or_init(|| self.worker.monotonic())
    }
}

impl<H: Host> Mirror<H> {
    /// The targets that want a request, or may want it once its body is there; counts it for each of them for which that is decided, if not
    /// [later](is_counted_later).
    pub(in crate::engine) fn wanted(&mut self, head: &RequestHead<'_>, headers: &HeaderMap) -> Wanted {
        let mut wanted = Wanted::default();
        let Self { config, lanes, random, worker, .. } = self;
        let mut random = || u64::from_le_bytes(random.take(|block| worker.random(block)));
        let request = Request::new(head, headers, &config.matched_parameters).with_max_work(config.reading.max_work);
        let mut overworked = Targets::default();
        for (index, (target, lane)) in config.targets.iter().zip(lanes).enumerate() {
            let verdict = target.matcher.at_headers(&request);
            if verdict == Verdict::No {
                continue;
            }
            let is_in = target.sample.as_ref().is_none_or(|sample| sample.admits(headers, &mut random));
            if verdict == Verdict::TooMuchWork && is_in {
                lane.metrics.add(Metric::Matched, 1);
                overworked.insert(index);
                continue;
            }
            if verdict == Verdict::ByBody {
                wanted.undecided.insert(index);
                // The rules are held against all of the request then.
                wanted.reads.headers = true;
                if !is_in {
                    wanted.left_out.insert(index);
                    continue;
                }
            } else {
                if !is_in || !is_counted_later(target) {
                    lane.metrics.add(Metric::Matched, 1);
                }
                if !is_in {
                    lane.metrics.add(Metric::SampledOut, 1);
                    continue;
                }
            }
            if target.compare.as_ref().is_some_and(|compare| compare.samples(random())) {
                wanted.compared.insert(index);
            }
            let phase = if target.after.is_none() { &mut wanted.now } else { &mut wanted.later };
            phase.insert(index);
            wanted.needs.plain |= !target.reads.headers;
            wanted.needs.trace |= target.batch.is_none();
            wanted.reads = wanted.reads.and(target.reads);
        }
        if !overworked.is_empty() {
            let correlation_id = headers.get_all(self.config.correlation.header.as_bytes()).next().map(text_of);
            for target in overworked.iter() {
                self.give_up_unsent(target, None, correlation_id.as_deref().unwrap_or_default(), DropReason::WorkLimit);
            }
        }
        wanted
    }

    /// Keeps what ties a request that is wanted to its copies, and what they need besides.
    pub(in crate::engine) fn capture(&mut self, wanted: Wanted, headers: &HeaderMap, head: &RequestHead<'_>) -> CapturedHead {
        let mut captured = CapturedHead::capture(headers, head, wanted.needs, &self.config.correlation);
        captured.correlate(|| random_id(self.random.take(|block| self.worker.random(block))));
        if wanted.reads.properties {
            for path in &self.config.properties {
                if let Some(value) = self.worker.property(path).ok().and_then(|value| property::text(path, value)) {
                    captured.push_property(Property { path: path.clone(), value });
                }
            }
        }
        captured
    }

    /// Takes bytes for a request that is not complete. Together such requests get three quarters of the room, and one that is alone seven
    /// eighths: the rest is for those that end.
    pub(in crate::engine) fn grow_upload(&mut self, charge: &mut Charge, upload: &mut Charge, bytes: usize) -> bool {
        let own = upload.bytes().saturating_add(bytes);
        let all = self.uploads.used().saturating_add(bytes);
        let share = if all == own { 7 } else { 6 };
        let fits = all <= self.config.max_buffered_bytes / 8 * share;
        fits && self.grow(charge, bytes) && self.uploads.grow(upload, bytes)
    }

    /// True while requests that are not complete take more than half of the room. The oldest of them have to go: whoever sends a request and does
    /// not end it must not take the room of those that do.
    pub(in crate::engine) fn has_too_many_uploads(&self) -> bool {
        self.uploads.used() > self.config.max_buffered_bytes / 2
    }

    /// Takes a complete request in for each of these targets. All of them share its head and body.
    pub(in crate::engine) fn accept(&mut self, targets: Targets, complete: &Complete, comparisons: &[Comparison]) {
        let reading = Reading::new(&complete.head, &complete.body, &self.config.reading);
        self.accept_read(targets, complete, &reading, comparisons);
    }

    /// The same for a request of which something was read already.
    pub(in crate::engine) fn accept_read(
        &mut self,
        targets: Targets,
        complete: &Complete,
        reading: &Reading<'_>,
        comparisons: &[Comparison],
    ) {
        let now = Now::new(&self.worker);
        let is_batched =
            |mirror: &Self, target: usize| mirror.config.targets.get(target).is_some_and(|target| target.batch.is_some());
        let batched = targets.iter().filter(|target| is_batched(self, *target)).count();
        for target in targets.iter() {
            if is_batched(self, target) {
                let shared = if batched > 1 { Some(reading) } else { None };
                self.arrive(target, complete, shared, &now);
            } else {
                self.offer(target, complete, comparison_of(comparisons, target), reading, *now);
            }
        }
    }

    /// Takes in those of these targets that wait for an answer of such a status, and counts the others.
    pub(in crate::engine) fn accept_answered(
        &mut self,
        later: Targets,
        complete: &Complete,
        status: Option<u16>,
        comparisons: &[Comparison],
    ) {
        let mut answered = Targets::default();
        for target in later.iter() {
            if self.waits_for(target, status) {
                answered.insert(target);
            } else {
                self.give_up_unsent(target, None, complete.head.correlation_id(), DropReason::PrimaryFailed);
                self.unanswered(comparison_of(comparisons, target));
            }
        }
        self.accept(answered, complete, comparisons);
    }

    /// What holds the answers of these targets against the primary's, one for each.
    pub(in crate::engine) fn comparisons(targets: Targets) -> Vec<Comparison> {
        targets.iter().map(Comparison::new).collect()
    }

    /// Counts a request that never became a delivery.
    pub(in crate::engine) fn give_up_incomplete(&self, wanted: Wanted, head: &CapturedHead, reason: DropReason) {
        for target in wanted.now.iter().chain(wanted.later.iter()) {
            if wanted.undecided.has(target) {
                self.count_decided(target, false);
            }
            self.count_as_matched(target, 1);
            self.give_up_unsent(target, None, head.correlation_id(), reason);
            if wanted.compared.has(target) {
                self.count(target, Metric::CompareNotComparable);
            }
        }
        for target in wanted.left_out.iter() {
            self.count_decided(target, true);
        }
    }

    /// Of these targets, those for which the body is not needed, and the others.
    pub(in crate::engine) fn by_need_of_body(&self, wanted: Wanted) -> (Wanted, Wanted) {
        let mut without = Targets::default();
        for (index, _) in self.config.targets.iter().enumerate().filter(|(_, target)| !target.reads.body) {
            without.insert(index);
        }
        let without = without.without(wanted.undecided);
        (wanted.limited(|targets| targets.and(without)), wanted.limited(|targets| targets.without(without)))
    }

    /// Counts a request that was answered, with this status, before its body was complete, for those that cannot be served without the body.
    pub(in crate::engine) fn give_up_answered_early(&self, wanted: Wanted, head: &CapturedHead, status: Option<u16>) {
        let mut refused = Targets::default();
        for target in wanted.later.iter().filter(|target| !self.waits_for(*target, status)) {
            refused.insert(target);
        }
        self.give_up_incomplete(wanted.limited(|targets| targets.and(refused)), head, DropReason::PrimaryFailed);
        self.give_up_incomplete(wanted.limited(|targets| targets.without(refused)), head, DropReason::AnsweredEarly);
    }

    /// True if a target waits for an answer of such a status.
    fn waits_for(&self, target: usize, status: Option<u16>) -> bool {
        let statuses = self.config.targets.get(target).and_then(|target| target.after.as_ref());
        status.is_some_and(|status| statuses.is_some_and(|statuses| statuses.iter().any(|wanted| wanted.covers(status))))
    }

    fn offer(
        &mut self,
        target: usize,
        complete: &Complete,
        comparison: Option<Comparison>,
        reading: &Reading<'_>,
        now: Duration,
    ) {
        let id = random_id(self.random.take(|block| self.worker.random(block)));
        let Complete { head, body, answered } = complete;
        let Some(charge) = self.charge(complete.size().saturating_add(size_of::<Delivery>())) else {
            self.give_up_unsent(target, Some(id), head.correlation_id(), DropReason::BufferFull);
            self.unanswered(comparison);
            return;
        };
        let one = One { head: Rc::clone(head), body: Some(Rc::clone(body)), answered: answered.clone(), comparison, charge };
        let delivery = Delivery { id, target, attempt: 1, load: Load::One(one), received: now, last_outcome: None };
        if self.is_rate_limited(target, now) {
            self.give_up_before_attempt(delivery, DropReason::RateLimited, now);
            return;
        }
        let burden = delivery.burden();
        match self.lanes.get_mut(target).map(|lane| lane.lane.offer(delivery)) {
            Some(Offer::Go(delivery)) => self.send_read(delivery, now, Some(reading)),
            Some(Offer::Queued) => self.count_queued(burden, 1),
            Some(Offer::Full(delivery)) => self.give_up_before_attempt(delivery, DropReason::QueueFull, now),
            None => {}
        }
    }

    pub(super) fn is_rate_limited(&mut self, target: usize, now: Duration) -> bool {
        self.lanes.get_mut(target).and_then(|lane| lane.rate.as_mut()).is_some_and(|rate| !rate.take(now))
    }
}

/// True for a target whose requests are counted as matched when they become items of a batch, or are given up before, all that have come at
/// once. What waits for the primary's answer is counted before that: it may wait for long.
pub(super) fn is_counted_later(target: &Target) -> bool {
    target.batch.is_some() && target.after.is_none()
}

/// What holds a target's answer against the primary's, if they are compared.
fn comparison_of(comparisons: &[Comparison], target: usize) -> Option<Comparison> {
    comparisons.iter().find(|comparison| comparison.target() == target).cloned()
}
