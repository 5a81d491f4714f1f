//! One request on its way to the primary. The stream matches it once, copies its body chunk by chunk, and hands it to the root when it is complete
//! or its response is known. The stream never delays the request.

use std::mem::size_of;
use std::rc::Rc;

use super::comparison::Comparison;
use super::host::{Buffer, Host};
use super::journal;
use super::mirror::{Complete, Mirror, Upload, Wanted};
use super::primary_response::{has_switched_protocols, was_answered_early, ResponseCopy, SWITCHING_PROTOCOLS};
use super::targets::Targets;
use super::unexpected::Unexpected;
use super::worker::{number, Worker};
use crate::delivery::admission::Reservation;
use crate::delivery::cause::Cause;
use crate::delivery::drop_reason::DropReason;
use crate::http::body_buffer::BodyBuffer;
use crate::http::grpc::Messages;
use crate::http::headers::HeaderMap;
use crate::http::request_head::RequestHead;
use crate::rewrite::capture::CapturedHead;
use crate::rewrite::reading::Reading;

/// The state of a request.
pub(super) enum Stream {
    /// No callback has come yet.
    New,
    /// The request asks for an upgrade. The response decides whether it is one.
    Upgrading(HeaderMap, Upload),
    /// The body is being copied.
    Collecting(Collected),
    /// The request is complete. A target waits for the primary's response.
    AwaitingResponse(Waiting),
}

/// Whether the stream has more to see. A stream that no target wants, or that was handed over, is forgotten.
pub(super) enum Next {
    GoOn,
    /// The stream begins to hold an incomplete request.
    Incomplete,
    Forget,
}

/// What is copied of a request.
pub(super) struct Collected {
    wanted: Wanted,
    head: CapturedHead,
    body: BodyBuffer,
    /// The length of the body in bytes, if the request states it.
    length: Option<usize>,
    upload: Upload,
    response: ResponseCopy,
}

/// A complete request that waits for the primary's response.
pub(super) struct Waiting {
    later: Targets,
    /// The request and its reservation. `None` if only comparisons wait.
    complete: Option<(Complete, Reservation)>,
    comparisons: Vec<Comparison>,
    response: ResponseCopy,
}

impl Stream {
    pub(super) fn headers<H: Host>(&mut self, mirror: &mut Mirror<H>, end_of_stream: bool) -> Next {
        if !matches!(self, Self::New) {
            return out_of_order(&mirror.common.worker);
        }
        if mirror.is_unwanted_by_path() {
            return Next::Forget;
        }
        let Ok(headers) = mirror.common.worker.request_headers() else {
            return Next::Forget;
        };
        let mut begun = begin(mirror, headers, !end_of_stream, end_of_stream);
        if let Begun::Upgrade(headers) = begun {
            let mut upload = mirror.common.admission.upload();
            if mirror.grow_upload(&mut upload, headers.size().saturating_add(size_of::<Self>())) {
                *self = Self::Upgrading(headers, upload);
                return Next::Incomplete;
            }
            begun = begin(mirror, headers, false, false);
        }
        let Begun::Wanted(collected) = begun else {
            return Next::Forget;
        };
        *self = Self::Collecting(collected);
        if end_of_stream {
            self.complete(mirror)
        } else {
            Next::Incomplete
        }
    }

    /// True if the stream holds an incomplete request.
    pub(super) fn is_incomplete(&self) -> bool {
        matches!(self, Self::Upgrading(..) | Self::Collecting(_))
    }

    pub(super) fn body<H: Host>(&mut self, mirror: &mut Mirror<H>, size: usize, end_of_stream: bool) -> Next {
        let collected = match self {
            Self::Collecting(collected) => collected,
            // The body is not kept, because it may not be HTTP.
            Self::Upgrading(..) => return Next::GoOn,
            _ => return out_of_order(&mirror.common.worker),
        };
        match append(mirror, collected, size, end_of_stream) {
            Ok(()) if end_of_stream => self.complete(mirror),
            Ok(()) => Next::GoOn,
            Err(reason) => self.give_up(mirror, reason),
        }
    }

    /// Completes the request. Trailers are not copied: a call-out cannot carry them.
    pub(super) fn complete<H: Host>(&mut self, mirror: &mut Mirror<H>) -> Next {
        let mut collected = match std::mem::replace(self, Self::New) {
            Self::Collecting(collected) => collected,
            upgrading @ Self::Upgrading(..) => {
                *self = upgrading;
                return Next::GoOn;
            }
            other => {
                *self = other;
                return out_of_order(&mirror.common.worker);
            }
        };
        if collected.head.is_grpc() {
            match Messages::of(collected.body.bytes()) {
                Messages::One => {}
                Messages::Several => return give_up(mirror, collected, DropReason::GrpcStream),
                // The client chooses the content type, but it cannot pass off another body as gRPC.
                Messages::Foreign | Messages::Incomplete => collected.set_plain(),
            }
        }
        let Collected { wanted, head, body, upload, mut response, .. } = collected;
        let reservation = upload.complete();
        let mut complete =
            Complete { head: Rc::new(head), body: Rc::new(body.finish()), answer: None, followers: Targets::default() };
        let reading = Reading::new(&complete.head, &complete.body, &mirror.common.config.reading);
        let wanted = mirror.decide(wanted, &complete, &reading);
        complete.followers = wanted.followers;
        let comparisons = Mirror::<H>::comparisons(wanted.compared);
        if !comparisons.is_empty() {
            response.request_complete(&mirror.common.worker);
        }
        let mut reservation = Some(reservation);
        if wanted.later.is_empty() {
            // Each delivery reserves the bytes that it holds.
            reservation = None;
            response.only_compare();
        }
        mirror.accept_read(wanted.now, &complete, &reading, &comparisons);
        drop(reading);
        if wanted.later.is_empty() && comparisons.is_empty() {
            return Next::Forget;
        }
        let complete = reservation.map(|reservation| (complete, reservation));
        *self = Self::AwaitingResponse(Waiting { later: wanted.later, complete, comparisons, response });
        Next::GoOn
    }

    /// Handles the headers of the primary's response.
    pub(super) fn response_headers<H: Host>(&mut self, mirror: &mut Mirror<H>, end_of_stream: bool) -> Next {
        if let Self::Upgrading(..) = self {
            let has_switched = number(mirror.common.worker.response_header(":status")) == Some(SWITCHING_PROTOCOLS);
            if let Next::Forget = self.upgrade_responded(mirror, has_switched) {
                return Next::Forget;
            }
        }
        self.with_response(|response| response.headers(mirror, end_of_stream))
    }

    /// Handles the response to a request that asked for an upgrade. If it was upgraded, it is not mirrored. Otherwise the primary executed it like
    /// any other request, and it is mirrored like one whose response came before the end of its body.
    fn upgrade_responded<H: Host>(&mut self, mirror: &mut Mirror<H>, has_switched: bool) -> Next {
        let Self::Upgrading(headers, upload) = std::mem::replace(self, Self::New) else {
            return Next::GoOn;
        };
        drop(upload);
        // A request that switched protocols is not counted.
        let begun = if has_switched { Begun::Unwanted } else { begin(mirror, headers, false, false) };
        let Begun::Wanted(mut collected) = begun else {
            return Next::Forget;
        };
        // A request that states no length has no body.
        collected.length = collected.length.or(Some(0));
        *self = Self::Collecting(collected);
        Next::GoOn
    }

    /// Handles a chunk of the body of the primary's response.
    pub(super) fn response_body<H: Host>(&mut self, mirror: &mut Mirror<H>, size: usize, end_of_stream: bool) -> Next {
        self.with_response(|response| response.append(mirror, size, end_of_stream))
    }

    /// Handles the trailers of the primary's response.
    pub(super) fn response_trailers<H: Host>(&mut self, worker: &Worker<H>) -> Next {
        self.with_response(|response| response.trailers(worker))
    }

    fn with_response(&mut self, step: impl FnOnce(&mut ResponseCopy)) -> Next {
        if let Self::Collecting(Collected { response, .. }) | Self::AwaitingResponse(Waiting { response, .. }) = self {
            step(response);
        }
        Next::GoOn
    }

    /// Ends the stream.
    pub(super) fn done<H: Host>(&mut self, mirror: &mut Mirror<H>) -> Next {
        if let Self::Upgrading(..) = self {
            self.upgrade_responded(mirror, has_switched_protocols(&mirror.common.worker));
        }
        match std::mem::replace(self, Self::New) {
            Self::New | Self::Upgrading(..) => Next::Forget,
            Self::Collecting(collected) if was_answered_early(&mirror.common.worker) => self.answered_early(mirror, collected),
            Self::Collecting(collected) => give_up(mirror, collected, DropReason::Truncated),
            Self::AwaitingResponse(waiting) => {
                waiting.end(mirror);
                Next::Forget
            }
        }
    }

    /// Handles a request that was answered before its end was seen. Targets that need no body get their copy. All targets get one if the body is
    /// complete: then only the end-of-stream mark is missing.
    fn answered_early<H: Host>(&mut self, mirror: &mut Mirror<H>, mut collected: Collected) -> Next {
        if Messages::of(collected.body.bytes()) == Messages::Foreign {
            collected.set_plain();
        }
        if collected.length == Some(collected.body.len()) {
            *self = Self::Collecting(collected);
            self.complete(mirror);
            return self.done(mirror);
        }
        let Collected { wanted, head, upload, response, .. } = collected;
        let reservation = upload.complete();
        let (bodiless, others) = mirror.by_need_of_body(wanted);
        mirror.give_up_answered_early(wanted, others, &head, response.end(&mirror.common.worker));
        let complete = Complete { head: Rc::new(head), body: Rc::default(), answer: None, followers: bodiless.followers };
        let comparisons = Mirror::<H>::comparisons(bodiless.compared);
        mirror.accept(bodiless.now, &complete, &comparisons);
        Waiting { later: bodiless.later, complete: Some((complete, reservation)), comparisons, response }.end(mirror);
        Next::Forget
    }

    /// Gives up an incomplete request.
    pub(super) fn give_up<H: Host>(&mut self, mirror: &mut Mirror<H>, reason: DropReason) -> Next {
        if let Self::Upgrading(..) = self {
            self.upgrade_responded(mirror, false);
        }
        match std::mem::replace(self, Self::New) {
            Self::Collecting(collected) => give_up(mirror, collected, reason),
            _ => Next::Forget,
        }
    }
}

impl Collected {
    fn set_plain(&mut self) {
        self.head.set_plain();
        self.response.set_plain();
    }
}

impl Waiting {
    fn end<H: Host>(self, mirror: &mut Mirror<H>) {
        let Self { later, complete, comparisons, mut response } = self;
        let end = response.end(&mirror.common.worker);
        let status = end.and_then(Cause::status);
        if let Some((mut complete, reservation)) = complete {
            // Each delivery reserves the bytes that it holds.
            drop(reservation);
            complete.answer = Some(Rc::new(response.answer(status, !comparisons.is_empty())));
            mirror.accept_after_response(later, &complete, end, &comparisons);
        }
        if !comparisons.is_empty() {
            mirror.primary_responded(&comparisons, response.reply(&mirror.common.worker, status));
        }
    }
}

fn give_up<H: Host>(mirror: &mut Mirror<H>, collected: Collected, reason: DropReason) -> Next {
    let Collected { wanted, head, upload, .. } = collected;
    drop(upload);
    mirror.give_up_incomplete(wanted, &head, reason);
    Next::Forget
}

/// Handles a callback after the end of a request. A stream that waits for the response keeps waiting.
fn out_of_order(worker: &Worker<impl Host>) -> Next {
    worker.note(Unexpected::OutOfOrder);
    Next::GoOn
}

/// What the headers of a request say.
// The value is taken apart at once, so a box would be a wasted allocation.
#[allow(clippy::large_enum_variant)]
enum Begun {
    /// No target wants it.
    Unwanted,
    /// It asks for an upgrade.
    Upgrade(HeaderMap),
    Wanted(Collected),
}

/// Matches a request by its headers. Takes it for an upgrade only if `may_upgrade`. If `is_complete`, its bytes do not count as those of incomplete
/// requests.
fn begin<H: Host>(mirror: &mut Mirror<H>, headers: HeaderMap, may_upgrade: bool, is_complete: bool) -> Begun {
    let head = RequestHead::read(&headers, &mirror.common.config.loop_guard);
    if head.tunnels {
        return Begun::Unwanted;
    }
    if head.is_copy {
        journal::loop_stopped(&mirror.common.worker);
        return Begun::Unwanted;
    }
    if head.upgrades && may_upgrade {
        return Begun::Upgrade(headers);
    }
    let wanted = mirror.wanted(&head, &headers);
    mirror.note_wanted(!wanted.is_empty());
    if wanted.is_empty() {
        return Begun::Unwanted;
    }
    let response = ResponseCopy::begin(wanted, head.is_grpc);
    let (is_grpc, length, trace) = (head.is_grpc, head.content_length, wanted.needs.trace.then(|| head.trace()).flatten());
    let head = mirror.capture(wanted, headers, is_grpc, trace);
    let mut upload = mirror.common.admission.upload();
    let size = head.size().saturating_add(size_of::<Stream>());
    let has_room = if is_complete { mirror.grow(&mut upload.reservation, size) } else { mirror.grow_upload(&mut upload, size) };
    if !has_room {
        mirror.give_up_incomplete(wanted, &head, DropReason::BufferFull);
        return Begun::Unwanted;
    }
    Begun::Wanted(Collected { wanted, head, body: BodyBuffer::default(), length, upload, response })
}

/// Copies a chunk of the body. `is_last` says that the request is complete with it.
fn append<H: Host>(mirror: &mut Mirror<H>, collected: &mut Collected, size: usize, is_last: bool) -> Result<(), DropReason> {
    if size == 0 {
        return Ok(());
    }
    if collected.body.len().saturating_add(size) > mirror.common.config.max_body_bytes {
        return Err(DropReason::BodyTooLarge);
    }
    let Collected { body, upload, .. } = collected;
    let least = body.least(size);
    let mut more = if is_last { least } else { body.better(size, mirror.common.config.max_body_bytes) };
    let mut grow = |more| if is_last { mirror.grow(&mut upload.reservation, more) } else { mirror.grow_upload(upload, more) };
    if !grow(more) {
        more = least;
        if !grow(more) {
            return Err(DropReason::BufferFull);
        }
    }
    match mirror.common.worker.buffer(Buffer::RequestBody, size) {
        Ok(chunk) if chunk.len() == size => body.push(chunk, more),
        // A copy that misses a chunk is useless.
        short => {
            if short.is_ok() {
                mirror.common.worker.note(Unexpected::ShortChunk);
            }
            return Err(DropReason::Truncated);
        }
    }
    match Messages::of(collected.body.bytes()) {
        Messages::Several if collected.head.is_grpc() => Err(DropReason::GrpcStream),
        _ => Ok(()),
    }
}
