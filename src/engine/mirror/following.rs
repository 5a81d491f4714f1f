//! Chains: what follows from the end of a copy.
//!
//! A delivery carries the set of the targets that follow it for this request. When it ends, it hands the request on to those whose cause came true.
//! They share its head and body. For the others, and for all that would have followed them, nothing follows.

use std::mem::size_of;
use std::rc::Rc;
use std::time::Duration;

use uuid::Uuid;

use super::common::Common;
use super::drain::Drain;
use super::step::Step;
use super::wanted::Complete;
use super::Mirror;
use crate::config::After;
use crate::delivery::cause::Cause;
use crate::delivery::drop_reason::DropReason;
use crate::delivery::trigger::Outcome;
use crate::engine::delivery::{Delivery, Load};
use crate::engine::host::{Buffer, Host};
use crate::engine::ids::derived_id;
use crate::engine::targets::Targets;
use crate::http::unavailable::Unavailable;
use crate::template::{Answer, Answerer};

/// The end of a copy that other targets wait for.
pub(super) struct CopyEnd {
    leader: usize,
    complete: Complete,
    /// What the IDs of the followers are derived from.
    key: Vec<u8>,
    outcome: Outcome,
    /// How the last attempt ended. `None` if there was none.
    cause: Option<Cause>,
}

impl CopyEnd {
    /// The end of a delivery. `None` if no target waits for it.
    pub(super) fn of<H: Host>(common: &Common<H>, delivery: &Delivery, outcome: Outcome) -> Option<Self> {
        let Load::One(one) = &delivery.load else {
            return None;
        };
        if one.followers.is_empty() {
            return None;
        }
        let complete = Complete {
            head: Rc::clone(&one.head),
            body: one.body.clone().unwrap_or_default(),
            answer: one.answer.clone(),
            followers: one.followers,
        };
        Some(Self::of_request(common, delivery.target, delivery.id, complete, outcome, delivery.last_outcome))
    }

    fn of_request<H: Host>(
        common: &Common<H>,
        leader: usize,
        id: Uuid,
        complete: Complete,
        outcome: Outcome,
        cause: Option<Cause>,
    ) -> Self {
        let is_follower = common.target(leader).is_some_and(|target| target.after.leader().is_some());
        // The ID of a follower's copy is derived itself.
        let clients = if is_follower { None } else { complete.head.idempotency_key() };
        let key = clients.map_or_else(|| id.as_bytes().to_vec(), <[u8]>::to_vec);
        Self { leader, complete, key, outcome, cause }
    }
}

/// Adds a target's answer to those that the request had, if a follower reads it. Called while the response of the call can be read.
pub(super) fn answered<H: Host>(common: &mut Common<H>, delivery: &mut Delivery, cause: Cause, body_size: usize) {
    let Load::One(one) = &mut delivery.load else {
        return;
    };
    if one.followers.is_empty() {
        return;
    }
    let Some(target) = common.target(delivery.target).filter(|target| target.kept.answer) else {
        return;
    };
    let mut answer = Answer::new(Answerer::Target(target.name.as_str().into()), cause.status());
    if answer.status.is_some() {
        if target.kept.headers {
            answer.headers = common.worker.call_headers().unwrap_or_default();
        }
        if target.kept.body && body_size > 0 {
            answer.body = body(common, body_size);
        }
    }
    answer.before = one.answer.take();
    one.answer = Some(Rc::new(answer));
}

fn body<H: Host>(common: &Common<H>, size: usize) -> Result<Vec<u8>, Unavailable> {
    if size > common.config.max_body_bytes {
        return Err(Unavailable::TooLong);
    }
    // Each follower reserves the bytes that it holds. This only asks whether there is room.
    common.admission.budget.reserve(size).ok_or(Unavailable::NoRoom)?;
    match common.worker.buffer(Buffer::CallResponseBody, size) {
        Ok(body) if body.len() == size => Ok(body),
        _ => Err(Unavailable::CutOff),
    }
}

impl<H: Host> Mirror<H> {
    /// Hands a request on to the targets that follow its copy.
    pub(super) fn follow(&mut self, end: &CopyEnd, now: Duration) {
        let CopyEnd { leader, complete, key, outcome, cause } = end;
        let count = self.common.target(*leader).map_or(0, |target| target.followers.len());
        for place in 0..count {
            let follower = self.common.target(*leader).and_then(|target| target.followers.get(place)).copied();
            let Some(follower) = follower.filter(|follower| complete.followers.has(*follower)) else {
                continue;
            };
            if self.is_triggered(follower, *outcome, *cause) {
                self.begin_follower(follower, complete, key, now);
            } else {
                self.nothing_follows(follower, complete);
            }
        }
    }

    fn is_triggered(&self, follower: usize, outcome: Outcome, cause: Option<Cause>) -> bool {
        let after = self.common.target(follower).map(|target| &target.after);
        matches!(after, Some(After::Target(trigger)) if trigger.covers(outcome, cause))
    }

    fn begin_follower(&mut self, target: usize, complete: &Complete, key: &[u8], now: Duration) {
        let id = derived_id(key, self.common.name(target));
        let size = complete.size().saturating_add(size_of::<Delivery>());
        // Steps that free bytes are added to the list. They are carried out after this one.
        let reservation = self.batching.reserve(&mut self.common, size);
        let Some(delivery) = self.delivery(target, id, complete, None, reservation, now) else {
            return;
        };
        if self.is_past_deliveries(now) {
            self.common.follow(Step::give_up_before_attempt(delivery, DropReason::Shutdown));
        } else {
            self.admit(delivery, None, now);
        }
    }

    /// True if a drain leaves no time for further attempts.
    fn is_past_deliveries(&self, now: Duration) -> bool {
        match self.drain {
            Drain::No => false,
            Drain::Deliveries(end) => end <= now,
            Drain::Letters(_) => true,
        }
    }

    /// Counts that a target's copy is not due, nor those of the targets that would have followed it.
    pub(super) fn nothing_follows(&self, target: usize, complete: &Complete) {
        let mut gone = Targets::default();
        gone.insert(target);
        for target in gone.with_followers(&self.common.config, complete.followers).iter() {
            self.common.not_triggered(target, complete.head.correlation_id());
        }
    }

    /// Ends a copy that never became a delivery, for the targets that wait for it.
    pub(super) fn ended_unsent(&mut self, target: usize, id: Uuid, complete: &Complete) {
        if !complete.followers.is_empty() {
            let end = CopyEnd::of_request(&self.common, target, id, complete.clone(), Outcome::GivenUp, None);
            self.common.follow(Step::Follow(Box::new(end)));
        }
    }
}
