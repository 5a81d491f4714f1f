//! Calls for attempts and dead letters: how the request is rendered, and how the outcome is read.

use std::borrow::Cow;
use std::time::Duration;

use super::common::Common;
use crate::delivery::cause::Cause;
use crate::delivery::drop_reason::DropReason;
use crate::delivery::outcome::{may_be_made_by_envoy, End, Outcome};
use crate::engine::delivery::{Batch, Delivery, Load};
use crate::engine::host::{Buffer, Host};
use crate::engine::worker::{number, Worker};
use crate::http::grpc;
use crate::rewrite::items::Format;
use crate::rewrite::reading::Reading;
use crate::rewrite::shape::{Attempt, Call, Source};

/// How many bytes of a local reply of Envoy are read to learn what happened.
const ENVOYS_TEXT: usize = 512;

/// The purpose of a rendered request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// To send to the target.
    Call,
    /// To show in a dead letter. An item of a batch stands alone there.
    Letter,
}

/// Why no call was made.
pub(super) enum NoCall {
    /// The request cannot be shaped for its target. It is dropped for this reason.
    Unfit(DropReason),
    /// The call failed like an attempt.
    Failed(Cause),
}

/// The end of a call, as the callback reports it.
#[derive(Clone, Copy)]
pub(super) struct Response {
    /// The number of headers; 0 if there was no response.
    pub(super) headers: u32,
    pub(super) body_size: usize,
}

impl<H: Host> Common<H> {
    /// Renders the call of a delivery. `reading` is a reading of its single request. `at` supplies the time at which the request was complete,
    /// since 1970.
    pub(super) fn call<'r>(
        &self,
        delivery: &'r Delivery,
        reading: Option<&'r Reading<'_>>,
        number: u32,
        span_id: [u8; 8],
        form: Form,
        at: impl FnOnce() -> Duration,
    ) -> Result<Call<'r>, NoCall> {
        let target = self.target(delivery.target).ok_or(NoCall::Failed(Cause::HostError))?;
        let is_shown = form == Form::Letter;
        let is_dated = !is_shown && target.shape.signs_time();
        let sent_at = if is_dated { self.worker.wall_clock() } else { Duration::ZERO };
        let attempt = Attempt { target: &target.name, number, delivery_id: delivery.id, span_id, at: sent_at, is_shown };
        let guard = &self.config.loop_guard;
        let call = match &delivery.load {
            Load::One(one) => {
                let at = if target.reads.time { at() } else { Duration::ZERO };
                let reading = reading.ok_or(NoCall::Failed(Cause::HostError))?;
                target.shape.call(&Source { reading, answer: one.answer.as_deref(), at }, &attempt, guard)
            }
            Load::Batch(batch) => {
                let format = target.batch.map(|batch| batch.format).filter(|_| !is_shown);
                target.shape.batch_call(&batch.line, batch.body(format), &attempt, guard)
            }
        };
        call.map_err(|unfit| match DropReason::of_unfit(unfit) {
            Some(reason) => NoCall::Unfit(reason),
            None => NoCall::Failed(Cause::HeadersTooLarge),
        })
    }

    /// Reads the outcome of the call that just ended and took `elapsed`, with as few host calls as possible.
    pub(super) fn outcome(&self, target: usize, is_grpc: bool, elapsed: Duration, response: Response) -> Outcome {
        let Response { headers, body_size } = response;
        if headers == 0 {
            let timeout = self.target(target).map_or(Duration::ZERO, |target| target.timeout);
            return self.judge(target, End::NoResponse { elapsed, timeout });
        }
        let status: Option<u16> = number(self.worker.call_header(":status"));
        let grpc = (is_grpc && status == Some(200)).then(|| grpc_status(&self.worker));
        let mut from_upstream = true;
        let mut text = Vec::new();
        if grpc.map(grpc::http_status).or(status).is_some_and(may_be_made_by_envoy) {
            from_upstream = self.worker.call_header("x-envoy-upstream-service-time").is_ok_and(|time| !time.is_empty());
            if !from_upstream {
                text = match grpc {
                    Some(_) => self.worker.call_header("grpc-message").unwrap_or_default(),
                    None if body_size > 0 => {
                        self.worker.buffer(Buffer::CallResponseBody, body_size.min(ENVOYS_TEXT)).unwrap_or_default()
                    }
                    None => Vec::new(),
                };
            }
        }
        self.judge(target, End::Response { status, from_upstream, text: &text, grpc })
    }

    pub(super) fn judge(&self, target: usize, end: End<'_>) -> Outcome {
        self.target(target).map_or(Outcome::HOST_ERROR, |target| target.policy.judge(end))
    }
}

impl Batch {
    /// Renders the body of a call: the items in the given format, or the only item as it is.
    fn body(&self, format: Option<Format>) -> Cow<'_, [u8]> {
        let mut items = self.items.iter().map(|item| item.json.as_slice());
        match format {
            Some(format) => Cow::Owned(format.join(items)),
            None => Cow::Borrowed(items.next().unwrap_or_default()),
        }
    }
}

/// The gRPC status of the call that just ended. It is in the headers of a response without a body, otherwise in the trailers.
fn grpc_status(worker: &Worker<impl Host>) -> u32 {
    let status = number(worker.call_header("grpc-status"));
    status.or_else(|| number(worker.call_trailer("grpc-status"))).unwrap_or(grpc::UNKNOWN)
}
