//! Intake: decides which targets want a request, by its headers or its body, and makes deliveries of it.

use std::mem::size_of;
use std::rc::Rc;
use std::time::Duration;

use super::admission::Upload;
use super::batching::{self, Batching};
use super::common::Common;
use super::comparing;
use super::ordering;
use super::step::Step;
use super::wanted::{is_counted_later, Complete, Now, Wanted};
use super::Mirror;
use crate::config::After;
use crate::delivery::admission::{Offer, Reservation};
use crate::delivery::cause::Cause;
use crate::delivery::drop_reason::DropReason;
use crate::engine::comparison::{Comparison, Reply};
use crate::engine::delivery::{Delivery, Load, One};
use crate::engine::host::Host;
use crate::engine::targets::Targets;
use crate::http::headers::HeaderMap;
use crate::http::request_head::RequestHead;
use crate::http::text::text_of;
use crate::http::trace_context::TraceContext;
use crate::http::work_limit::TooMuch;
use crate::observe::metrics::Metric;
use crate::rewrite::capture::CapturedHead;
use crate::rewrite::reading::Reading;
use crate::select::{BodyValues, Request, Verdict};
use crate::template::{property, Property};
use uuid::Uuid;

/// After so many unwanted requests in a row, the path is read alone. For an unwanted request with 14 headers that saves 3,200 instructions, and more
/// with more headers. For a wanted one it costs 10,300, because the path is read in vain.
const PATH_FIRST_AFTER: u32 = 16;

impl<H: Host> Mirror<H> {
    /// True if no target wants the current request because of its path. Reads nothing else, and only while requests are unwanted.
    pub(in crate::engine) fn is_unwanted_by_path(&mut self) -> bool {
        let Common { config, worker, .. } = &self.common;
        let Some(paths) = config.paths.as_ref().filter(|_| self.unwanted_in_a_row >= PATH_FIRST_AFTER) else {
            return false;
        };
        let is_unwanted = worker.request_header(":path").is_ok_and(|path| !paths.may_be_wanted(&path, config.reading.max_work));
        if !is_unwanted {
            self.unwanted_in_a_row = 0;
        }
        is_unwanted
    }

    /// Notes whether any target wanted a request.
    pub(in crate::engine) fn note_wanted(&mut self, is_wanted: bool) {
        self.unwanted_in_a_row = if is_wanted { 0 } else { self.unwanted_in_a_row.saturating_add(1) };
    }

    /// Returns the targets that want a request, or may want it once its body is complete. Counts the request as matched for each target that is
    /// decided, except for targets that [count later](is_counted_later).
    pub(in crate::engine) fn wanted(&mut self, head: &RequestHead<'_>, headers: &HeaderMap) -> Wanted {
        let mut wanted = Wanted::default();
        let Common { config, metrics, random, worker, .. } = &mut self.common;
        let mut random = || u64::from_le_bytes(random.take(|block| worker.random(block)));
        let request = Request::new(head, headers, &config.matched_parameters).with_max_work(config.reading.max_work);
        let mut overworked = Targets::default();
        let mut consider = |wanted: &mut Wanted, overworked: &mut Targets, index: usize, leader: Verdict| {
            let (Some(target), Some(metrics)) = (config.targets.get(index), metrics.get(index)) else {
                return;
            };
            let verdict = match (target.matcher.at_headers(&request), leader) {
                (Verdict::No, _) => return,
                (Verdict::Yes | Verdict::ByBody, Verdict::ByBody) => Verdict::ByBody,
                (_, Verdict::TooMuchWork) => Verdict::TooMuchWork,
                (verdict, _) => verdict,
            };
            let is_in = target.sample.as_ref().is_none_or(|sample| sample.admits(headers, &mut random));
            if verdict == Verdict::TooMuchWork && is_in {
                metrics.add(Metric::Matched, 1);
                overworked.insert(index);
                return;
            }
            if verdict == Verdict::ByBody {
                wanted.undecided.insert(index);
                // The rules are evaluated again with the body, and read all headers then.
                wanted.needs.all = true;
                if !is_in {
                    wanted.left_out.insert(index);
                    return;
                }
            } else {
                if !is_in || !is_counted_later(target) {
                    metrics.add(Metric::Matched, 1);
                }
                if !is_in {
                    metrics.add(Metric::SampledOut, 1);
                    return;
                }
            }
            if target.compare.as_ref().is_some_and(|compare| compare.samples(random())) {
                wanted.compared.insert(index);
            }
            match target.after {
                After::Request => wanted.now.insert(index),
                After::Response(_) => wanted.later.insert(index),
                After::Target(_) => wanted.followers.insert(index),
            }
            // A key takes all headers, also where the copy is plain.
            wanted.needs.plain |= !target.reads.headers || (target.order.is_some() && target.shape.is_plain());
            wanted.needs.trace |= target.batch.is_none();
            wanted.needs.all |= target.reads.headers;
            wanted.reads = wanted.reads.and(target.reads);
        };
        for (index, target) in config.targets.iter().enumerate() {
            if target.after.leader().is_none() {
                consider(&mut wanted, &mut overworked, index, Verdict::Yes);
            }
        }
        // Each follower comes after its leader. It wants only what its leader gets.
        for follower in &config.followers {
            let leader = config.targets.get(*follower).and_then(|target| target.after.leader());
            let verdict = match leader {
                Some(leader) if overworked.has(leader) => Verdict::TooMuchWork,
                Some(leader) if !wanted.all().has(leader) => continue,
                Some(leader) if wanted.undecided.has(leader) => Verdict::ByBody,
                _ => Verdict::Yes,
            };
            consider(&mut wanted, &mut overworked, *follower, verdict);
        }
        if !overworked.is_empty() {
            let correlation_id = headers.get_all(self.common.config.correlation.header.as_bytes()).next().map(text_of);
            for target in overworked.iter() {
                self.common.drop_unsent(target, None, correlation_id.as_deref().unwrap_or_default(), DropReason::WorkLimit);
            }
        }
        wanted
    }

    /// Captures what ties a wanted request to its copies, and what the targets read of it.
    pub(in crate::engine) fn capture(
        &mut self,
        wanted: Wanted,
        headers: HeaderMap,
        is_grpc: bool,
        trace: Option<TraceContext>,
    ) -> CapturedHead {
        let mut captured = CapturedHead::capture(headers, is_grpc, trace, wanted.needs, &self.common.config.correlation);
        captured.correlate(|| self.common.id());
        if wanted.reads.properties {
            for path in &self.common.config.properties {
                let segments: Vec<&str> = path.iter().map(String::as_str).collect();
                if let Some(value) = self.common.worker.property(&segments).ok().and_then(|value| property::text(path, value)) {
                    captured.push_property(Property { path: path.clone(), value });
                }
            }
        }
        captured
    }

    /// Reserves bytes for an incomplete request. Returns false if there is no room.
    pub(in crate::engine) fn grow_upload(&mut self, upload: &mut Upload, bytes: usize) -> bool {
        self.common.admission.has_room_for_upload(upload, bytes)
            && self.grow(&mut upload.reservation, bytes)
            && self.common.admission.grow_upload(upload, bytes)
    }

    /// Grows a reservation from the worker's budget. Arrivals of batches hold more bytes than their items, so they are rendered before there is no
    /// room. What follows from that is carried out first, because it may free bytes, too.
    pub(in crate::engine) fn grow(&mut self, reservation: &mut Reservation, bytes: usize) -> bool {
        // For most requests nothing has to be freed first.
        self.common.admission.budget.grow(reservation, bytes) || {
            let now = self.common.worker.monotonic();
            for target in 0..self.target_count() {
                self.batching.gather(&mut self.common, target, now);
                self.run(now);
            }
            self.common.admission.budget.grow(reservation, bytes)
        }
    }

    /// Reserves bytes in the same way.
    fn reserve(&mut self, bytes: usize) -> Option<Reservation> {
        let mut reservation = self.common.admission.budget.reservation();
        self.grow(&mut reservation, bytes).then_some(reservation)
    }

    /// Takes in a complete request for the batches of a target.
    fn arrive(&mut self, target: usize, complete: &Complete, shared: Option<&Reading<'_>>, now: &Now<H>) {
        let Some(reservation) = self.reserve(Batching::bytes_of(complete)) else {
            batching::count_as_matched(&self.common, target, 1);
            let id = self.common.id();
            self.common.drop_unsent(target, Some(id), complete.head.correlation_id(), DropReason::BufferFull);
            return;
        };
        if self.has_place(target, now) {
            self.batching.arrive(&mut self.common, target, (complete, reservation), shared, now);
        } else {
            self.batching.refuse(&mut self.common, target, (complete, reservation), shared, **now);
        }
    }

    /// Parks one more request. If there is no place, renders the arrivals first: their batch may go, or some of them be dropped.
    fn has_place(&mut self, target: usize, now: &Now<H>) -> bool {
        self.common.admission.park(target, 1) || {
            self.batching.gather(&mut self.common, target, **now);
            self.run_at(now);
            self.common.admission.park(target, 1)
        }
    }

    /// Takes in a complete request for the given targets. All of them share its head and body.
    pub(in crate::engine) fn accept(&mut self, targets: Targets, complete: &Complete, comparisons: &[Comparison]) {
        let reading = Reading::new(&complete.head, &complete.body, &self.common.config.reading);
        self.accept_read(targets, complete, &reading, comparisons);
    }

    /// Takes in a complete request, of which `reading` may have read something already.
    pub(in crate::engine) fn accept_read(
        &mut self,
        targets: Targets,
        complete: &Complete,
        reading: &Reading<'_>,
        comparisons: &[Comparison],
    ) {
        let now = Now::new(&self.common.worker);
        let is_batched =
            |mirror: &Self, target: usize| mirror.common.config.targets.get(target).is_some_and(|target| target.batch.is_some());
        let batched = targets.iter().filter(|target| is_batched(self, *target)).count();
        for target in targets.iter() {
            if is_batched(self, target) {
                let shared = if batched > 1 { Some(reading) } else { None };
                self.arrive(target, complete, shared, &now);
            } else {
                self.offer(target, complete, Comparison::of(comparisons, target), reading, *now);
            }
            if !self.common.steps.is_empty() {
                self.run_at(&now);
            }
        }
    }

    /// Takes in a request for those targets that wait for a response that ended like this. For the others, nothing follows.
    pub(in crate::engine) fn accept_after_response(
        &mut self,
        later: Targets,
        complete: &Complete,
        end: Option<Cause>,
        comparisons: &[Comparison],
    ) {
        let mut triggered = Targets::default();
        for target in later.iter() {
            if self.waits_for(target, end) {
                triggered.insert(target);
            } else {
                self.nothing_follows(target, complete);
                comparing::not_responded(&mut self.common, Comparison::of(comparisons, target));
            }
        }
        self.accept(triggered, complete, comparisons);
        self.run_now();
    }

    /// Records the primary's response, or that there is none, in all comparisons.
    pub(in crate::engine) fn primary_responded(&mut self, comparisons: &[Comparison], primary: Reply) {
        let primary = Rc::new(primary);
        let pairs = comparisons.iter().filter_map(|comparison| comparison.primary_ended(&primary));
        self.common.steps.extend(pairs.map(Step::Compare));
        self.run_now();
    }

    /// Creates a comparison for each of the given targets.
    pub(in crate::engine) fn comparisons(targets: Targets) -> Vec<Comparison> {
        targets.iter().map(Comparison::new).collect()
    }

    /// Drops a request that never became a delivery, for all targets that want it.
    pub(in crate::engine) fn give_up_incomplete(&self, wanted: Wanted, head: &CapturedHead, reason: DropReason) {
        for target in wanted.all().iter() {
            if wanted.undecided.has(target) {
                self.count_decided(target, false);
            }
            batching::count_as_matched(&self.common, target, 1);
            self.common.drop_unsent(target, None, head.correlation_id(), reason);
            if wanted.compared.has(target) {
                self.common.count(target, Metric::CompareNotComparable);
            }
        }
        for target in wanted.left_out.iter() {
            self.count_decided(target, true);
        }
    }

    /// Splits targets into those that do not need the body, and the others.
    pub(in crate::engine) fn by_need_of_body(&self, wanted: Wanted) -> (Wanted, Wanted) {
        let mut without = Targets::default();
        for (index, _) in self.common.config.targets.iter().enumerate().filter(|(_, target)| !target.reads.body) {
            without.insert(index);
        }
        let mut without = without.without(wanted.undecided);
        // A follower has the body of its leader. Each follower comes after its leader.
        for follower in &self.common.config.followers {
            let leader = self.common.target(*follower).and_then(|target| target.after.leader());
            if leader.is_some_and(|leader| !without.has(leader)) {
                without.remove(*follower);
            }
        }
        (wanted.limited(|targets| targets.and(without)), wanted.limited(|targets| targets.without(without)))
    }

    /// Drops a request that was answered before its body was complete, for the targets in `wanted`, which need the body. `all` are all targets that
    /// want the request, and `end` is how the response ended.
    pub(in crate::engine) fn give_up_answered_early(&self, all: Wanted, wanted: Wanted, head: &CapturedHead, end: Option<Cause>) {
        let mut refused = Targets::default();
        for target in all.later.iter().filter(|target| !self.waits_for(*target, end)) {
            refused.insert(target);
        }
        // A follower may need the body though its leader does not.
        let refused = refused.with_followers(&self.common.config, all.followers).and(wanted.all());
        for target in refused.iter() {
            if wanted.undecided.has(target) {
                self.count_decided(target, false);
            }
            self.common.not_triggered(target, head.correlation_id());
            if wanted.compared.has(target) {
                self.common.count(target, Metric::CompareNotComparable);
            }
        }
        self.give_up_incomplete(wanted.limited(|targets| targets.without(refused)), head, DropReason::AnsweredEarly);
    }

    /// True if the target waits for a response that ended like this.
    fn waits_for(&self, target: usize, end: Option<Cause>) -> bool {
        match (self.common.target(target).map(|target| &target.after), end) {
            (Some(After::Response(patterns)), Some(end)) => patterns.iter().any(|pattern| pattern.covers(end)),
            _ => false,
        }
    }

    fn offer(
        &mut self,
        target: usize,
        complete: &Complete,
        comparison: Option<Comparison>,
        reading: &Reading<'_>,
        now: Duration,
    ) {
        let id = self.common.id();
        let reservation = self.reserve(complete.size().saturating_add(size_of::<Delivery>()));
        if let Some(delivery) = self.delivery(target, id, complete, comparison, reservation, now) {
            self.admit(delivery, Some(reading), now);
        }
    }

    /// Makes the delivery of a request. Without a reservation, the request is dropped.
    pub(super) fn delivery(
        &mut self,
        target: usize,
        id: Uuid,
        complete: &Complete,
        comparison: Option<Comparison>,
        reservation: Option<Reservation>,
        now: Duration,
    ) -> Option<Delivery> {
        let Complete { head, body, answer, followers } = complete;
        let Some(reservation) = reservation else {
            self.common.drop_unsent(target, Some(id), head.correlation_id(), DropReason::BufferFull);
            comparing::not_responded(&mut self.common, comparison);
            self.ended_unsent(target, id, complete);
            return None;
        };
        let followers = match self.common.target(target) {
            Some(target) if !target.followers.is_empty() => *followers,
            _ => Targets::default(),
        };
        let one = One {
            head: Rc::clone(head),
            body: Some(Rc::clone(body)),
            answer: answer.clone(),
            followers,
            comparison,
            key: None,
            reservation,
        };
        Some(Delivery { id, target, attempt: 1, load: Load::One(one), received: now, last_outcome: None })
    }

    /// Attempts a delivery, lets it wait, or gives it up. `reading` is a reading of its request that other targets share.
    pub(super) fn admit(&mut self, delivery: Delivery, reading: Option<&Reading<'_>>, now: Duration) {
        let target = delivery.target;
        if self.common.admission.is_rate_limited(target, now) {
            self.common.follow(Step::give_up_before_attempt(delivery, DropReason::RateLimited));
            return;
        }
        let Some(delivery) = self.in_turn(delivery, reading) else {
            return;
        };
        let burden = delivery.burden();
        match self.common.admission.copies(target).map(|limiter| limiter.offer(delivery)) {
            Some(Offer::Go(delivery)) => match reading {
                Some(_) => self.attempt(delivery, reading, now),
                None => self.common.follow(Step::Attempt(delivery)),
            },
            Some(Offer::Queued) => self.common.count_queued(burden, 1),
            Some(Offer::Full(delivery)) => self.common.follow(Step::give_up_before_attempt(delivery, DropReason::QueueFull)),
            None => {}
        }
    }

    /// Returns a copy that need not wait for another of its key. Otherwise the copy waits, or is given up.
    fn in_turn(&mut self, mut delivery: Delivery, shared: Option<&Reading<'_>>) -> Option<Delivery> {
        let target = delivery.target;
        if !self.ordering.is_of(target) {
            return Some(delivery);
        }
        let key = match shared {
            Some(reading) => ordering::key(&mut self.common, target, reading),
            None => {
                let own = delivery.reading(&self.common.config.reading);
                own.map_or(Ok(None), |reading| ordering::key(&mut self.common, target, &reading))
            }
        };
        let key = match key {
            Ok(Some(key)) => key,
            Ok(None) => return Some(delivery),
            // Sent without its key, it could overtake another.
            Err(TooMuch) => {
                self.common.follow(Step::give_up_before_attempt(delivery, DropReason::WorkLimit));
                return None;
            }
        };
        let Self { common, batching, .. } = self;
        let has_room =
            delivery.reservation().is_some_and(|reservation| batching.grow(common, reservation, ordering::bytes_of(&key)));
        if has_room {
            self.ordering.enter(&mut self.common, delivery, key)
        } else {
            self.common.follow(Step::give_up_before_attempt(delivery, DropReason::BufferFull));
            None
        }
    }

    /// Evaluates the undecided targets with the body of a complete request, and counts the request for those that want it. Returns the targets that
    /// still want it. If the body cannot be read, its values are unknown: the request is dropped, and counted, for all undecided targets.
    pub(in crate::engine) fn decide(&self, wanted: Wanted, complete: &Complete, reading: &Reading<'_>) -> Wanted {
        let undecided = wanted.undecided;
        if undecided.is_empty() {
            return wanted;
        }
        let headers = complete.head.all();
        let body = match reading.look_into_body().and_then(|body| BodyValues::read(&self.common.config.matched_pointers, body)) {
            Ok(body) => body,
            Err(unread) => {
                let asking = wanted.limited(|targets| targets.and(undecided));
                self.give_up_incomplete(asking, &complete.head, unread.into());
                return wanted.limited(|targets| targets.without(undecided));
            }
        };
        let head = RequestHead::read(headers, &self.common.config.loop_guard);
        let request = Request::new(&head, headers, &self.common.config.matched_parameters).with_body(&body);
        let request = request.with_max_work(self.common.config.reading.max_work);
        let mut unwanted = Targets::default();
        let mut overworked = Targets::default();
        let config = &self.common.config;
        let first = undecided.iter().filter(|target| !config.followers.contains(target));
        for target in first.chain(config.followers.iter().copied().filter(|follower| undecided.has(*follower))) {
            let leader = config.targets.get(target).and_then(|target| target.after.leader());
            if leader.is_some_and(|leader| unwanted.has(leader) || wanted.left_out.has(leader)) {
                unwanted.insert(target);
                continue;
            }
            let verdict = config.targets.get(target).map(|target| target.matcher.at_end(&request));
            let is_overworked = leader.is_some_and(|leader| overworked.has(leader));
            match verdict {
                Some(Verdict::Yes) if !is_overworked => self.count_decided(target, wanted.left_out.has(target)),
                Some(Verdict::Yes | Verdict::TooMuchWork) => overworked.insert(target),
                _ => unwanted.insert(target),
            }
        }
        let asking = wanted.limited(|targets| targets.and(overworked));
        self.give_up_incomplete(asking, &complete.head, DropReason::WorkLimit);
        wanted.limited(|targets| targets.without(unwanted).without(overworked)).decided()
    }

    /// Counts a request as matched for a target that its body has decided, or for which it is given up before that.
    fn count_decided(&self, target: usize, is_left_out: bool) {
        if is_left_out || !self.common.config.targets.get(target).is_some_and(is_counted_later) {
            self.common.count(target, Metric::Matched);
        }
        if is_left_out {
            self.common.count(target, Metric::SampledOut);
        }
    }
}
