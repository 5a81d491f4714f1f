//! Requests whose body decides: targets whose rules look at it want a request, or do not, once it is complete.

use super::intake::{is_counted_later, Complete, Targets, Wanted};
use super::Mirror;
use crate::delivery::drop_reason::DropReason;
use crate::engine::host::Host;
use crate::http::request_head::RequestHead;
use crate::observe::metrics::Metric;
use crate::rewrite::reading::Reading;
use crate::select::{BodyValues, Request, Verdict};

impl<H: Host> Mirror<H> {
    /// Lets the body of a complete request decide, and counts the request for those that want it. Gives who wants it after that. If the body
    /// cannot be read, nothing is known of the values in it: the request is given up for all targets that asked, and counted.
    pub(in crate::engine) fn decide(&self, wanted: Wanted, complete: &Complete, reading: &Reading<'_>) -> Wanted {
        let undecided = wanted.undecided;
        if undecided.is_empty() {
            return wanted;
        }
        let headers = complete.head.all();
        let body = match reading.look_into_body().and_then(|body| BodyValues::read(&self.config.matched_pointers, body)) {
            Ok(body) => body,
            Err(unread) => {
                let asking = wanted.limited(|targets| targets.and(undecided));
                self.give_up_incomplete(asking, &complete.head, unread.into());
                return wanted.limited(|targets| targets.without(undecided));
            }
        };
        let head = RequestHead::read(headers, &self.config.loop_guard);
        let request = Request::new(&head, headers, &self.config.matched_parameters).with_body(&body);
        let request = request.with_max_work(self.config.reading.max_work);
        let mut unwanted = Targets::default();
        let mut overworked = Targets::default();
        for target in undecided.iter() {
            match self.config.targets.get(target).map(|target| target.matcher.at_end(&request)) {
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
    pub(super) fn count_decided(&self, target: usize, is_left_out: bool) {
        if is_left_out || !self.config.targets.get(target).is_some_and(is_counted_later) {
            self.count(target, Metric::Matched);
        }
        if is_left_out {
            self.count(target, Metric::SampledOut);
        }
    }
}
