//! Requests as they come: which targets want them, what their bodies decide, and how they become deliveries.

use std::mem::size_of;
use std::rc::Rc;
use std::time::Duration;

use super::admission::Upload;
use super::batching;
use super::common::Common;
use super::comparing;
use super::step::Step;
use super::wanted::{is_counted_later, Complete, Now, Targets, Wanted};
use super::Mirror;
use crate::delivery::admission::{Offer, Reservation};
use crate::delivery::drop_reason::DropReason;
use crate::engine::comparison::{Comparison, Reply};
use crate::engine::delivery::{Delivery, Load, One};
use crate::engine::host::Host;
use crate::http::headers::HeaderMap;
use crate::http::request_head::RequestHead;
use crate::http::text::text_of;
use crate::observe::metrics::Metric;
use crate::rewrite::capture::CapturedHead;
use crate::rewrite::reading::Reading;
use crate::select::{BodyValues, Request, Verdict};
use crate::template::{property, Property};

impl<H: Host> Mirror<H> {
    /// The targets that want a request, or may want it once its body is there; counts it for each of them for which that is decided, if not
    /// [later](is_counted_later).
    pub(in crate::engine) fn wanted(&mut self, head: &RequestHead<'_>, headers: &HeaderMap) -> Wanted {
        let mut wanted = Wanted::default();
        let Common { config, metrics, random, worker, .. } = &mut self.common;
        let mut random = || u64::from_le_bytes(random.take(|block| worker.random(block)));
        let request = Request::new(head, headers, &config.matched_parameters).with_max_work(config.reading.max_work);
        let mut overworked = Targets::default();
        for (index, (target, metrics)) in config.targets.iter().zip(metrics).enumerate() {
            let verdict = target.matcher.at_headers(&request);
            if verdict == Verdict::No {
                continue;
            }
            let is_in = target.sample.as_ref().is_none_or(|sample| sample.admits(headers, &mut random));
            if verdict == Verdict::TooMuchWork && is_in {
                metrics.add(Metric::Matched, 1);
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
                    metrics.add(Metric::Matched, 1);
                }
                if !is_in {
                    metrics.add(Metric::SampledOut, 1);
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
            let correlation_id = headers.get_all(self.common.config.correlation.header.as_bytes()).next().map(text_of);
            for target in overworked.iter() {
                self.common.drop_unsent(target, None, correlation_id.as_deref().unwrap_or_default(), DropReason::WorkLimit);
            }
        }
        wanted
    }

    /// Keeps what ties a request that is wanted to its copies, and what they need besides.
    pub(in crate::engine) fn capture(&mut self, wanted: Wanted, headers: &HeaderMap, head: &RequestHead<'_>) -> CapturedHead {
        let mut captured = CapturedHead::capture(headers, head, wanted.needs, &self.common.config.correlation);
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

    /// Takes bytes for a request that is not complete.
    pub(in crate::engine) fn grow_upload(&mut self, upload: &mut Upload, bytes: usize) -> bool {
        self.common.admission.has_room_for_upload(upload, bytes)
            && self.grow(&mut upload.reservation, bytes)
            && self.common.admission.grow_upload(upload, bytes)
    }

    /// Takes bytes from the worker's budget.
    pub(in crate::engine) fn grow(&mut self, reservation: &mut Reservation, bytes: usize) -> bool {
        // In most requests nothing has to make room.
        self.common.admission.budget.grow(reservation, bytes) || {
            let grown = self.batching.grow(&mut self.common, reservation, bytes);
            self.run_now();
            grown
        }
    }

    /// Takes a complete request in for each of these targets. All of them share its head and body.
    pub(in crate::engine) fn accept(&mut self, targets: Targets, complete: &Complete, comparisons: &[Comparison]) {
        let reading = Reading::new(&complete.head, &complete.body, &self.common.config.reading);
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
        let now = Now::new(&self.common.worker);
        let is_batched =
            |mirror: &Self, target: usize| mirror.common.config.targets.get(target).is_some_and(|target| target.batch.is_some());
        let batched = targets.iter().filter(|target| is_batched(self, *target)).count();
        for target in targets.iter() {
            if is_batched(self, target) {
                let shared = if batched > 1 { Some(reading) } else { None };
                self.batching.arrive(&mut self.common, target, complete, shared, &now);
            } else {
                self.offer(target, complete, Comparison::of(comparisons, target), reading, *now);
            }
            if !self.common.steps.is_empty() {
                self.run(*now);
            }
        }
    }

    /// Takes in those of these targets that wait for a response of such a status, and counts the others.
    pub(in crate::engine) fn accept_after_response(
        &mut self,
        later: Targets,
        complete: &Complete,
        status: Option<u16>,
        comparisons: &[Comparison],
    ) {
        let mut response = Targets::default();
        for target in later.iter() {
            if self.waits_for(target, status) {
                response.insert(target);
            } else {
                self.common.drop_unsent(target, None, complete.head.correlation_id(), DropReason::PrimaryFailed);
                comparing::not_responded(&mut self.common, Comparison::of(comparisons, target));
            }
        }
        self.accept(response, complete, comparisons);
        self.run_now();
    }

    /// The primary has responded, or never will.
    pub(in crate::engine) fn primary_responded(&mut self, comparisons: &[Comparison], primary: Reply) {
        let primary = Rc::new(primary);
        let pairs = comparisons.iter().filter_map(|comparison| comparison.primary_ended(&primary));
        self.common.steps.extend(pairs.map(Step::Compare));
        self.run_now();
    }

    /// What holds the responses of these targets against the primary's, one for each.
    pub(in crate::engine) fn comparisons(targets: Targets) -> Vec<Comparison> {
        targets.iter().map(Comparison::new).collect()
    }

    /// Counts a request that never became a delivery.
    pub(in crate::engine) fn give_up_incomplete(&self, wanted: Wanted, head: &CapturedHead, reason: DropReason) {
        for target in wanted.now.iter().chain(wanted.later.iter()) {
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

    /// Of these targets, those for which the body is not needed, and the others.
    pub(in crate::engine) fn by_need_of_body(&self, wanted: Wanted) -> (Wanted, Wanted) {
        let mut without = Targets::default();
        for (index, _) in self.common.config.targets.iter().enumerate().filter(|(_, target)| !target.reads.body) {
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

    /// True if a target waits for a response of such a status.
    fn waits_for(&self, target: usize, status: Option<u16>) -> bool {
        let statuses = self.common.config.targets.get(target).and_then(|target| target.after.as_ref());
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
        let id = self.common.id();
        let Complete { head, body, response } = complete;
        let Some(reservation) = self.batching.reserve(&mut self.common, complete.size().saturating_add(size_of::<Delivery>()))
        else {
            self.common.drop_unsent(target, Some(id), head.correlation_id(), DropReason::BufferFull);
            comparing::not_responded(&mut self.common, comparison);
            return;
        };
        let one = One { head: Rc::clone(head), body: Some(Rc::clone(body)), response: response.clone(), comparison, reservation };
        let delivery = Delivery { id, target, attempt: 1, load: Load::One(one), received: now, last_outcome: None };
        if self.common.admission.is_rate_limited(target, now) {
            self.common.follow(Step::give_up_before_attempt(delivery, DropReason::RateLimited));
            return;
        }
        let burden = delivery.burden();
        match self.common.admission.copies(target).map(|lane| lane.offer(delivery)) {
            Some(Offer::Go(delivery)) => self.attempt(delivery, Some(reading), now),
            Some(Offer::Queued) => self.common.count_queued(burden, 1),
            Some(Offer::Full(delivery)) => self.common.follow(Step::give_up_before_attempt(delivery, DropReason::QueueFull)),
            None => {}
        }
    }

    /// Lets the body of a complete request decide, and counts the request for those that want it. Gives who wants it after that. If the body
    /// cannot be read, nothing is known of the values in it: the request is given up for all targets that asked, and counted.
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
        for target in undecided.iter() {
            match self.common.config.targets.get(target).map(|target| target.matcher.at_end(&request)) {
                Some(Verdict::Yes) => self.count_decided(target, wanted.left_out.has(target)),
                Some(Verdict::TooMuchWork) => overworked.insert(target),
                _ => unwanted.insert(target),
            }
        }
        let asking = wanted.limited(|targets| targets.and(overworked));
        self.give_up_incomplete(asking, &complete.head, DropReason::WorkLimit);
        wanted.limited(|targets| targets.without(unwanted).without(overworked)).decided()
    }

    /// Counts a request that its body has decided, or that is given up before that.
    fn count_decided(&self, target: usize, is_left_out: bool) {
        if is_left_out || !self.common.config.targets.get(target).is_some_and(is_counted_later) {
            self.common.count(target, Metric::Matched);
        }
        if is_left_out {
            self.common.count(target, Metric::SampledOut);
        }
    }
}
