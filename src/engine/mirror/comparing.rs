//! Compares a target's response with the primary's.

use std::time::Duration;

use uuid::Uuid;

use super::common::{signed, Common};
use super::step::Step;
use crate::compare::{compare_within, Verdict};
use crate::delivery::cause::Cause;
use crate::engine::comparison::{Comparison, Pair, Reply, Subject};
use crate::engine::delivery::{Delivery, Load};
use crate::engine::host::{Buffer, Host};
use crate::engine::journal;
use crate::http::unavailable::Unavailable;
use crate::http::work_limit::Work;
use crate::observe::metrics::Metric;

/// Records a target's response in the comparison. Called while the body of the response can be read.
pub(super) fn responded<H: Host>(
    common: &mut Common<H>,
    delivery: &mut Delivery,
    cause: Cause,
    elapsed: Duration,
    body_size: usize,
) {
    let Load::One(one) = &mut delivery.load else {
        return;
    };
    let Some(comparison) = one.comparison.take() else {
        return;
    };
    let subject = Subject { delivery_id: delivery.id, correlation_id: one.head.shared_correlation_id() };
    let reply = reply(common, delivery.target, cause, elapsed, body_size);
    if let Some(pair) = comparison.target_ended(reply, subject) {
        common.follow(Step::Compare(pair));
    }
}

/// Records in the comparison that there is no response.
pub(super) fn not_responded<H: Host>(common: &mut Common<H>, comparison: Option<Comparison>) {
    let subject = || Subject { delivery_id: Uuid::nil(), correlation_id: "".into() };
    if let Some(pair) = comparison.and_then(|comparison| comparison.target_ended(Reply::none(), subject())) {
        common.follow(Step::Compare(pair));
    }
}

/// The response to the call that just ended.
fn reply<H: Host>(common: &Common<H>, target: usize, cause: Cause, elapsed: Duration, body_size: usize) -> Reply {
    let Some(status) = cause.status() else {
        return Reply::none();
    };
    let header = |name| common.worker.call_header(name).unwrap_or_default();
    let mut reply = Reply {
        status: Some(status),
        content_type: header("content-type"),
        content_encoding: header("content-encoding"),
        elapsed,
        ..Reply::none()
    };
    if !common.target(target).is_some_and(|target| target.reads.compared_body) {
        return reply;
    }
    let budget = &common.admission.budget;
    let mut reservation = budget.reservation();
    reply.body = if body_size > common.config.max_body_bytes {
        Err(Unavailable::TooLong)
    } else if !budget.grow_spare(&mut reservation, body_size) {
        Err(Unavailable::NoRoom)
    } else if body_size == 0 {
        Ok(Vec::new())
    } else {
        common.worker.buffer(Buffer::CallResponseBody, body_size).map_err(|_| Unavailable::CutOff)
    };
    reply.reservation = Some(reservation);
    reply
}

/// Compares two responses, then counts and logs the result.
pub(super) fn compare<H: Host>(common: &mut Common<H>, pair: &Pair) {
    let work = Work::new(common.config.reading.max_work);
    compare_with(common, pair, &work);
    common.spend(work.spent());
}

fn compare_with<H: Host>(common: &Common<H>, pair: &Pair, work: &Work) {
    let Pair { target, primary, mirrored, subject } = pair;
    let target = *target;
    let Some(settings) = common.target(target).and_then(|target| target.compare.as_ref()) else {
        return;
    };
    let (Some(one), Some(other)) = (primary.response(), mirrored.response()) else {
        common.count(target, Metric::CompareNotComparable);
        return;
    };
    common.add(target, Metric::ComparePrimaryLatencyMs, signed(primary.elapsed.as_millis()));
    common.add(target, Metric::CompareTargetLatencyMs, signed(mirrored.elapsed.as_millis()));
    let verdict = compare_within(settings, &one, &other, common.config.max_body_bytes, work);
    common.count(
        target,
        match &verdict {
            Verdict::Match => Metric::CompareMatch,
            Verdict::StatusMismatch { .. } => Metric::CompareStatusMismatch,
            Verdict::BodyMismatch(_) => Metric::CompareBodyMismatch,
            Verdict::NotComparable { .. } => Metric::CompareNotComparable,
        },
    );
    if verdict != Verdict::Match {
        journal::compared(&common.worker, common.name(target), subject.delivery_id, &subject.correlation_id, &verdict);
    }
}
