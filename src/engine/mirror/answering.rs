//! Keeps the answers of targets for those that follow them.

use std::rc::Rc;

use super::common::Common;
use crate::delivery::cause::Cause;
use crate::engine::delivery::{Delivery, Load};
use crate::engine::host::{Buffer, Host};
use crate::http::unavailable::Unavailable;
use crate::template::{Answer, Answerer};

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

/// Adds the status of the last attempt, if the answer of the target was not kept because another attempt was to follow.
pub(super) fn gave_up<H: Host>(common: &Common<H>, delivery: &mut Delivery) {
    let kept = common.target(delivery.target).filter(|target| target.kept.answer);
    let (Some(target), Some(cause), Load::One(one)) = (kept, delivery.last_outcome, &mut delivery.load) else {
        return;
    };
    let of = Answerer::Target(target.name.as_str().into());
    if !one.followers.is_empty() && one.answer.as_ref().is_none_or(|answer| answer.of != of) {
        one.answer = Some(Rc::new(Answer { before: one.answer.take(), ..Answer::new(of, cause.status()) }));
    }
}

/// Drops a target's own answer. It is for those that follow the target, so a letter waits without it.
pub(super) fn forget_own<H: Host>(common: &Common<H>, delivery: &mut Delivery) {
    let name = common.name(delivery.target);
    let Load::One(one) = &mut delivery.load else {
        return;
    };
    let is_own = |answer: &Rc<Answer>| matches!(&answer.of, Answerer::Target(of) if **of == *name);
    if let Some(own) = one.answer.take_if(|answer| is_own(answer)) {
        one.answer.clone_from(&own.before);
    }
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
