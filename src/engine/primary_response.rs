//! The primary's response: what the engine copies of it, and how it ended.

use std::time::Duration;

use super::comparison::Reply;
use super::host::{Buffer, Host};
use super::mirror::{Mirror, Wanted};
use super::worker::{number, Worker};
use crate::delivery::admission::Reservation;
use crate::delivery::cause::Cause;
use crate::http::body_buffer::BodyBuffer;
use crate::http::grpc;
use crate::http::headers::HeaderMap;
use crate::http::unavailable::Unavailable;
use crate::template::{Answer, Answerer};

/// Envoy's response flags for a response that is missing, cut off, or a local reply of Envoy in place of one that came too late
/// (`envoy/stream_info/stream_info.h`, `CoreResponseFlag`): upstream request timeout, stream idle timeout, upstream max stream duration, duration
/// timeout.
const TIMED_OUT: u64 = 0x4 | 0x1_0000 | 0x8_0000 | 0x40_0000;

/// Response flags for a response that is missing or cut off because a connection broke, or was not made: local reset, upstream remote reset,
/// upstream connection failure, upstream connection termination, upstream protocol error.
const BROKEN: u64 = 0x8 | 0x10 | 0x20 | 0x40 | 0x80_0000;

/// Response flags for a client that ended its request before it was complete: downstream connection termination, downstream protocol error,
/// downstream remote reset.
const CLIENT_LEFT: u64 = 0x4000 | 0x4_0000 | 0x1000_0000;

/// The copied parts of a response.
pub(super) struct ResponseCopy {
    reads_headers: bool,
    headers: HeaderMap,
    /// The bytes reserved in the worker's budget for the headers.
    headers_reservation: Option<Reservation>,
    /// True if an expression reads the body.
    reads_body: bool,
    /// True if the body is compared.
    compares_body: bool,
    /// `None` if nothing needs the body.
    body: Option<Result<BodyBuffer, Unavailable>>,
    /// The bytes reserved in the worker's budget for the body.
    reservation: Option<Reservation>,
    /// True if the request is gRPC and a target needs the status of the response.
    reads_grpc: bool,
    grpc: Option<u32>,
    /// True once the response has ended.
    ended: bool,
    /// When the request was complete. Set only if the response is compared. If the response ended before that, its elapsed time is zero.
    complete_at: Option<Duration>,
}

impl ResponseCopy {
    /// Begins a copy of what the targets need.
    pub(super) fn begin(wanted: Wanted, is_grpc: bool) -> Self {
        let compared = !wanted.compared.is_empty();
        let reads_body = wanted.reads.response_body;
        let compares_body = compared && wanted.reads.compared_body;
        Self {
            reads_headers: compared || wanted.reads.response_headers,
            headers: HeaderMap::default(),
            headers_reservation: None,
            reads_body,
            compares_body,
            body: (reads_body || compares_body).then(|| Ok(BodyBuffer::default())),
            reservation: None,
            reads_grpc: is_grpc && (compared || !wanted.later.is_empty()),
            grpc: None,
            ended: false,
            complete_at: None,
        }
    }

    /// Treats the response as not gRPC, because the request turned out not to be.
    pub(super) fn set_plain(&mut self) {
        self.reads_grpc = false;
    }

    /// Keeps nothing for expressions any more, because no target with any waits for the response.
    pub(super) fn only_compare(&mut self) {
        self.reads_body = false;
        if !self.compares_body {
            self.body = None;
            self.reservation = None;
        }
    }

    /// Records that the request is complete. The primary's elapsed time runs from here, as the target's runs from its call.
    pub(super) fn request_complete<H: Host>(&mut self, worker: &Worker<H>) {
        self.complete_at = Some(worker.monotonic());
    }

    pub(super) fn headers<H: Host>(&mut self, mirror: &Mirror<H>, end_of_stream: bool) {
        self.ended = end_of_stream;
        if self.reads_headers {
            self.headers = mirror.common.worker.response_headers().unwrap_or_default();
            // The headers are kept even without room: templates and comparisons cannot do without them.
            self.headers_reservation = Some(mirror.common.admission.budget.reserve_anyway(self.headers.size()));
        }
        if self.reads_grpc {
            self.grpc = number(mirror.common.worker.response_header("grpc-status"));
        }
    }

    pub(super) fn trailers<H: Host>(&mut self, worker: &Worker<H>) {
        self.ended = true;
        if self.reads_grpc {
            self.grpc = self.grpc.or_else(|| number(worker.response_trailer("grpc-status")));
        }
    }

    /// Copies a chunk of the body. A comparison may be left out for lack of room, but a copy whose expressions read the body would be lost: for
    /// these the whole budget may be used.
    pub(super) fn append<H: Host>(&mut self, mirror: &mut Mirror<H>, size: usize, end_of_stream: bool) {
        self.ended = end_of_stream;
        let Some(Ok(body)) = &mut self.body else {
            return;
        };
        if size == 0 {
            return;
        }
        let reservation = self.reservation.get_or_insert_with(|| mirror.common.admission.budget.reservation());
        let max = mirror.common.config.max_body_bytes;
        let (mut more, least) = (body.better(size, max), body.least(size));
        let mut has_room = |mirror: &mut Mirror<H>, more: &mut usize| {
            if !self.reads_body {
                return mirror.common.admission.budget.grow_spare(reservation, *more);
            }
            [*more, least].into_iter().any(|bytes| {
                *more = bytes;
                mirror.grow(reservation, bytes)
            })
        };
        let failure = if body.len().saturating_add(size) > max {
            Unavailable::TooLong
        } else if !has_room(mirror, &mut more) {
            Unavailable::NoRoom
        } else {
            match mirror.common.worker.buffer(Buffer::ResponseBody, size) {
                Ok(chunk) if chunk.len() == size => {
                    body.push(chunk, more);
                    return;
                }
                _ => Unavailable::CutOff,
            }
        };
        self.reservation = None;
        self.body = Some(Err(failure));
    }

    /// Takes what templates read. `status` is `None` if there was no whole response. With `again`, keeps a copy for a comparison.
    pub(super) fn answer(&mut self, status: Option<u16>, again: bool) -> Answer {
        let headers = self.take_headers(again);
        let body = if self.reads_body && status.is_some() { self.take_body(again) } else { Ok(Vec::new()) };
        Answer { headers, body, ..Answer::new(Answerer::Primary, status) }
    }

    /// Takes the body for templates. With `again`, keeps a copy for a comparison.
    fn take_body(&mut self, again: bool) -> Result<Vec<u8>, Unavailable> {
        if again && self.compares_body {
            return match &self.body {
                Some(Ok(body)) if self.ended => Ok(body.bytes().to_vec()),
                Some(Err(unavailable)) => Err(*unavailable),
                _ => Err(Unavailable::CutOff),
            };
        }
        // Each delivery reserves the bytes that it holds.
        self.reservation = None;
        match self.body.take() {
            Some(Ok(body)) if self.ended => Ok(body.finish()),
            Some(Err(unavailable)) => Err(unavailable),
            _ => Err(Unavailable::CutOff),
        }
    }

    /// Takes the headers for templates. With `again`, keeps a copy for a comparison.
    fn take_headers(&mut self, again: bool) -> HeaderMap {
        if again {
            return self.headers.clone();
        }
        // Each delivery reserves the bytes that it holds.
        self.headers_reservation = None;
        std::mem::take(&mut self.headers)
    }

    /// Makes a reply for a comparison. `status` is `None` if there was no response.
    pub(super) fn reply<H: Host>(self, worker: &Worker<H>, status: Option<u16>) -> Reply {
        let header = |name: &'static [u8]| self.headers.get_all(name).next().unwrap_or_default().to_vec();
        Reply {
            status,
            content_type: header(b"content-type"),
            content_encoding: header(b"content-encoding"),
            elapsed: self.complete_at.map_or(Duration::ZERO, |complete| worker.monotonic().saturating_sub(complete)),
            body: self.body.filter(|_| self.ended).unwrap_or(Err(Unavailable::CutOff)).map(BodyBuffer::finish),
            reservation: self.reservation,
        }
    }
}

impl ResponseCopy {
    /// How the response ended, read at the end of its stream. `None` if the client left before, or if the host does not tell.
    pub(super) fn end<H: Host>(&self, worker: &Worker<H>) -> Option<Cause> {
        // Without the flags, it is unknown whether the response is whole.
        let flags = property(worker, "flags")?;
        if flags & TIMED_OUT != 0 {
            return Some(Cause::Timeout);
        }
        if flags & BROKEN != 0 {
            return Some(Cause::Reset);
        }
        Some(match code(worker)? {
            200 if self.reads_grpc => Cause::Grpc(self.grpc.unwrap_or(grpc::UNKNOWN)),
            status => Cause::Status(status),
        })
    }
}

/// True if an incomplete request ended because it was answered, by the primary or by Envoy. False if the client left, or if the reason is unknown.
/// Called at the end of the stream.
pub(super) fn was_answered_early(worker: &Worker<impl Host>) -> bool {
    property(worker, "flags").is_some_and(|flags| flags & CLIENT_LEFT == 0) && code(worker).is_some()
}

/// True if the response switched the stream to a protocol other than HTTP. Called at the end of the stream.
pub(super) fn has_switched_protocols(worker: &Worker<impl Host>) -> bool {
    code(worker) == Some(SWITCHING_PROTOCOLS)
}

/// The status of a response that accepts an upgrade.
pub(super) const SWITCHING_PROTOCOLS: u16 = 101;

/// The status that the client received. `None` if it received no response.
fn code(worker: &Worker<impl Host>) -> Option<u16> {
    property(worker, "code").filter(|code| (100..600).contains(code)).and_then(|code| u16::try_from(code).ok())
}

/// A numeric property of the response.
fn property(worker: &Worker<impl Host>, name: &str) -> Option<u64> {
    let value = worker.property(&["response", name]).ok()?;
    Some(u64::from_le_bytes(value.try_into().ok()?))
}
