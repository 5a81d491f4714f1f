//! One request on its way to the primary: looked at once, copied chunk by chunk, handed to its root when it is complete, or when its
//! answer is known. It is never held back.

use std::rc::Rc;

use super::calls::{self, Buffer};
use super::journal;
use super::mirror::{Comparison, Complete, Mirror, Targets, Wanted};
use super::primary::{was_answered_early, AnswerCopy};
use super::unexpected::{self, Unexpected};
use crate::capture::{CapturedHead, RequestHead};
use crate::growing::Growing;
use crate::grpc::Messages;
use crate::outbox::Charge;
use crate::reading::Reading;
use crate::stats::DropReason;
use crate::template::Answered;

/// Where a request stands.
pub(super) enum Stream {
    /// Nothing of it has been seen.
    New,
    /// Its body is being copied.
    Collecting(Collected),
    /// It is complete, and somebody waits for its answer.
    Answering(Waiting),
}

/// Whether there is more to see of a stream. One that nobody wants, or that was handed over, is forgotten.
pub(super) enum Next {
    GoOn,
    Forget,
}

/// What is copied of a request.
pub(super) struct Collected {
    wanted: Wanted,
    head: CapturedHead,
    body: Growing,
    /// How long the body is going to be, if the request says so.
    length: Option<usize>,
    /// Bytes taken from the worker's budget for it.
    charge: Charge,
    /// The same among those of all requests that are not complete.
    upload: Charge,
    answer: AnswerCopy,
}

/// What waits for the primary's answer.
pub(super) struct Waiting {
    later: Targets,
    /// The request, and the bytes taken for it; none when only comparisons wait.
    complete: Option<(Complete, Charge)>,
    comparisons: Vec<Comparison>,
    answer: AnswerCopy,
}

impl Stream {
    pub(super) fn headers(&mut self, mirror: &mut Mirror, end_of_stream: bool) -> Next {
        if !matches!(self, Self::New) {
            return out_of_order();
        }
        let Some(collected) = begin(mirror) else {
            return Next::Forget;
        };
        *self = Self::Collecting(collected);
        if end_of_stream {
            self.complete(mirror)
        } else {
            Next::GoOn
        }
    }

    pub(super) fn body(&mut self, mirror: &mut Mirror, size: usize, end_of_stream: bool) -> Next {
        let Self::Collecting(collected) = self else {
            return out_of_order();
        };
        match append(mirror, collected, size) {
            Ok(()) if end_of_stream => self.complete(mirror),
            Ok(()) => Next::GoOn,
            Err(reason) => self.give_up(mirror, reason),
        }
    }

    /// The request is complete. If it ended with trailers, they are left behind: a call-out cannot carry them.
    pub(super) fn complete(&mut self, mirror: &mut Mirror) -> Next {
        let collected = match std::mem::replace(self, Self::New) {
            Self::Collecting(collected) => collected,
            other => {
                *self = other;
                return out_of_order();
            }
        };
        if collected.head.is_grpc() && Messages::of(collected.body.bytes()) != Messages::One {
            return give_up(mirror, collected, DropReason::GrpcStream);
        }
        let Collected { wanted, head, body, charge, mut answer, upload, .. } = collected;
        // It is complete now.
        drop(upload);
        let complete = Complete { head: Rc::new(head), body: Rc::new(body.finish()), answered: None };
        let reading = Reading::new(&complete.head, &complete.body, &mirror.config.reading);
        let wanted = mirror.decide(wanted, &complete, &reading);
        let comparisons = Mirror::comparisons(wanted.compared);
        if !comparisons.is_empty() {
            answer.request_complete();
        }
        let mut charge = Some(charge);
        if wanted.later.is_empty() {
            // Each delivery takes what it holds from the budget itself.
            charge = None;
        }
        mirror.accept_read(wanted.now, &complete, &reading, &comparisons);
        drop(reading);
        if wanted.later.is_empty() && comparisons.is_empty() {
            return Next::Forget;
        }
        let complete = charge.map(|charge| (complete, charge));
        *self = Self::Answering(Waiting { later: wanted.later, complete, comparisons, answer });
        Next::GoOn
    }

    /// The headers of the primary's answer.
    pub(super) fn answer_headers(&mut self, mirror: &Mirror, end_of_stream: bool) -> Next {
        self.with_answer(|answer| answer.headers(mirror, end_of_stream))
    }

    /// A chunk of the primary's answer.
    pub(super) fn answer_body(&mut self, mirror: &Mirror, size: usize, end_of_stream: bool) -> Next {
        self.with_answer(|answer| answer.append(mirror, size, end_of_stream))
    }

    /// The trailers of the primary's answer.
    pub(super) fn answer_trailers(&mut self) -> Next {
        self.with_answer(AnswerCopy::trailers)
    }

    fn with_answer(&mut self, step: impl FnOnce(&mut AnswerCopy)) -> Next {
        if let Self::Collecting(Collected { answer, .. }) | Self::Answering(Waiting { answer, .. }) = self {
            step(answer);
        }
        Next::GoOn
    }

    /// The stream is over.
    pub(super) fn done(&mut self, mirror: &mut Mirror) -> Next {
        match std::mem::replace(self, Self::New) {
            Self::New => Next::Forget,
            Self::Collecting(collected) if was_answered_early() => self.answered_early(mirror, collected),
            Self::Collecting(collected) => give_up(mirror, collected, DropReason::Truncated),
            Self::Answering(waiting) => {
                waiting.end(mirror);
                Next::Forget
            }
        }
    }

    /// The request was answered before its end was seen. Targets that need no body get their copy, and so do all if the body is there: what is
    /// missing then is only the mark of its end.
    fn answered_early(&mut self, mirror: &mut Mirror, collected: Collected) -> Next {
        if collected.length == Some(collected.body.len()) {
            *self = Self::Collecting(collected);
            self.complete(mirror);
            return self.done(mirror);
        }
        let Collected { wanted, head, charge, answer, .. } = collected;
        let (bodiless, others) = mirror.by_need_of_body(wanted);
        mirror.give_up_answered_early(others, &head, answer.status());
        let complete = Complete { head: Rc::new(head), body: Rc::default(), answered: None };
        let comparisons = Mirror::comparisons(bodiless.compared);
        mirror.accept(bodiless.now, &complete, &comparisons);
        Waiting { later: bodiless.later, complete: Some((complete, charge)), comparisons, answer }.end(mirror);
        Next::Forget
    }

    fn give_up(&mut self, mirror: &mut Mirror, reason: DropReason) -> Next {
        match std::mem::replace(self, Self::New) {
            Self::Collecting(collected) => give_up(mirror, collected, reason),
            _ => Next::Forget,
        }
    }
}

impl Waiting {
    fn end(self, mirror: &mut Mirror) {
        let Self { later, complete, comparisons, mut answer } = self;
        let status = answer.status();
        if let Some((mut complete, charge)) = complete {
            // Each delivery takes what it holds from the budget itself.
            drop(charge);
            complete.answered =
                status.map(|status| Rc::new(Answered { status, headers: answer.answered_headers(!comparisons.is_empty()) }));
            mirror.accept_answered(later, &complete, status, &comparisons);
        }
        if !comparisons.is_empty() {
            mirror.primary_answered(&comparisons, answer.reply(status));
        }
    }
}

fn give_up(mirror: &mut Mirror, collected: Collected, reason: DropReason) -> Next {
    let Collected { wanted, head, charge, .. } = collected;
    drop(charge);
    mirror.give_up_incomplete(wanted, &head, reason);
    Next::Forget
}

/// More of a request comes after its end. What waits for the answer goes on to do so.
fn out_of_order() -> Next {
    unexpected::note(Unexpected::OutOfOrder);
    Next::GoOn
}

/// Looks at a request; none when no target wants it.
fn begin(mirror: &mut Mirror) -> Option<Collected> {
    let headers = calls::request_headers().ok()?;
    let head = RequestHead::read(&headers, &mirror.config.loop_guard);
    if head.tunnels {
        return None;
    }
    if head.is_copy {
        journal::loop_stopped();
        return None;
    }
    let wanted = mirror.wanted(&head, &headers);
    if wanted.is_empty() {
        return None;
    }
    let answer = AnswerCopy::begin(wanted, head.is_grpc);
    let length = head.content_length;
    let mut head = mirror.capture(wanted, &headers, &head);
    if wanted.reads.headers {
        head.keep_all(headers);
    }
    let Some(charge) = mirror.charge(head.size()) else {
        mirror.give_up_incomplete(wanted, &head, DropReason::BufferFull);
        return None;
    };
    let upload = mirror.uploads.nothing();
    Some(Collected { wanted, head, body: Growing::default(), length, charge, upload, answer })
}

/// Copies a chunk.
fn append(mirror: &mut Mirror, collected: &mut Collected, size: usize) -> Result<(), DropReason> {
    if size == 0 {
        return Ok(());
    }
    if collected.body.len().saturating_add(size) > mirror.config.max_body_bytes {
        return Err(DropReason::BodyTooLarge);
    }
    let Collected { body, charge, upload, .. } = collected;
    let mut more = body.better(size, mirror.config.max_body_bytes);
    if !mirror.grow_upload(charge, upload, more) {
        more = body.least(size);
        if !mirror.grow_upload(charge, upload, more) {
            return Err(DropReason::BufferFull);
        }
    }
    match calls::buffer(Buffer::RequestBody, size) {
        Ok(chunk) if chunk.len() == size => body.push(chunk, more),
        // A copy with a hole in it is no copy.
        short => {
            if short.is_ok() {
                unexpected::note(Unexpected::ShortChunk);
            }
            return Err(DropReason::Truncated);
        }
    }
    match Messages::of(collected.body.bytes()) {
        Messages::Several if collected.head.is_grpc() => Err(DropReason::GrpcStream),
        _ => Ok(()),
    }
}
