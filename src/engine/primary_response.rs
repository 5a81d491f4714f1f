//! The primary's response: what is copied of it on its way to the client, and how it ended.

use std::time::Duration;

use super::comparison::Reply;
use super::host::{Buffer, Host};
use super::mirror::{Mirror, Wanted};
use super::worker::{number, Worker};
use crate::compare::Unavailable;
use crate::delivery::admission::Reservation;
use crate::http::body_buffer::BodyBuffer;
use crate::http::grpc;
use crate::http::headers::HeaderMap;

/// Envoy's response flags that say that a response is missing, cut off, or Envoy's own in the place of one that came too late
/// (`envoy/stream_info/stream_info.h`, `CoreResponseFlag`): upstream request timeout, local reset, upstream remote reset, upstream connection
/// failure, upstream connection termination, stream idle timeout, upstream max stream duration, duration timeout, upstream protocol error.
const FAILED: u64 = 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x1_0000 | 0x8_0000 | 0x40_0000 | 0x80_0000;

/// Response flags that say that the client ended its request before that was complete: its connection closed, what it sent was no HTTP, it reset
/// its stream.
const CLIENT_LEFT: u64 = 0x4000 | 0x4_0000 | 0x1000_0000;

/// What is copied of a response.
pub(super) struct ResponseCopy {
    reads_headers: bool,
    headers: HeaderMap,
    /// Bytes taken from the worker's budget for the headers.
    headers_reservation: Option<Reservation>,
    /// None when nobody compares it.
    body: Option<Result<BodyBuffer, Unavailable>>,
    reservation: Option<Reservation>,
    /// It is of a gRPC request, and somebody waits for its status.
    reads_grpc: bool,
    grpc: Option<u32>,
    /// It came to its end.
    ended: bool,
    /// When the request was complete, if the response is compared. A response that ended before that took no time.
    complete_at: Option<Duration>,
}

impl ResponseCopy {
    /// What is needed for those who want a request.
    pub(super) fn begin(wanted: Wanted, is_grpc: bool) -> Self {
        let compared = !wanted.compared.is_empty();
        Self {
            reads_headers: compared || wanted.reads.response_headers,
            headers: HeaderMap::default(),
            headers_reservation: None,
            body: (compared && wanted.reads.response_body).then(|| Ok(BodyBuffer::default())),
            reservation: None,
            reads_grpc: is_grpc && (compared || !wanted.later.is_empty()),
            grpc: None,
            ended: false,
            complete_at: None,
        }
    }

    /// The request is no gRPC, and so neither is its response.
    pub(super) fn set_plain(&mut self) {
        self.reads_grpc = false;
    }

    /// The request is complete, and its response is compared: the primary's time runs from here, as the target's does from its call.
    pub(super) fn request_complete<H: Host>(&mut self, worker: &Worker<H>) {
        self.complete_at = Some(worker.monotonic());
    }

    pub(super) fn headers<H: Host>(&mut self, mirror: &Mirror<H>, end_of_stream: bool) {
        self.ended = end_of_stream;
        if self.reads_headers {
            self.headers = mirror.common.worker.response_headers().unwrap_or_default();
            // Without them nobody could be told what the response was.
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

    pub(super) fn append<H: Host>(&mut self, mirror: &Mirror<H>, size: usize, end_of_stream: bool) {
        self.ended = end_of_stream;
        let Some(Ok(body)) = &mut self.body else {
            return;
        };
        if size == 0 {
            return;
        }
        let reservation = self.reservation.get_or_insert_with(|| mirror.common.admission.budget.reservation());
        let more = body.better(size, mirror.common.config.max_body_bytes);
        let failure = if body.len().saturating_add(size) > mirror.common.config.max_body_bytes {
            Unavailable::TooLong
        } else if !mirror.common.admission.budget.grow_spare(reservation, more) {
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

    /// Its headers, if templates read them; `again`: a comparison needs them, too.
    pub(super) fn take_headers(&mut self, again: bool) -> HeaderMap {
        if again {
            return self.headers.clone();
        }
        // Each delivery takes what it holds from the budget itself.
        self.headers_reservation = None;
        std::mem::take(&mut self.headers)
    }

    /// The response, for a comparison; without a status it was none.
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
    /// The status of the response, at the end of its stream; none when there was no response, or not all of it. A status of gRPC counts as the one
    /// of HTTP that it stands for.
    pub(super) fn status<H: Host>(&self, worker: &Worker<H>) -> Option<u16> {
        match status(worker)? {
            200 if self.reads_grpc => Some(grpc::http_status(self.grpc.unwrap_or(grpc::UNKNOWN))),
            status => Some(status),
        }
    }
}

fn status(worker: &Worker<impl Host>) -> Option<u16> {
    // Without them, it is not known whether the response is a whole one.
    let failed = property(worker, "flags")? & FAILED != 0;
    code(worker).filter(|_| !failed)
}

/// True at the end of a stream whose request is not complete, if that is so because it was answered, by the primary or by Envoy. Otherwise the client
/// left, or nobody knows.
pub(super) fn was_answered_early(worker: &Worker<impl Host>) -> bool {
    property(worker, "flags").is_some_and(|flags| flags & CLIENT_LEFT == 0) && code(worker).is_some()
}

/// True if the response turned the stream into something that is not HTTP, at the end of the stream.
pub(super) fn has_switched_protocols(worker: &Worker<impl Host>) -> bool {
    code(worker) == Some(SWITCHING_PROTOCOLS)
}

/// The status with which an upgrade begins.
pub(super) const SWITCHING_PROTOCOLS: u16 = 101;

/// The status that the client was given; none when there was none.
fn code(worker: &Worker<impl Host>) -> Option<u16> {
    property(worker, "code").filter(|code| (100..600).contains(code)).and_then(|code| u16::try_from(code).ok())
}

/// A number that Envoy knows of the response.
fn property(worker: &Worker<impl Host>, name: &str) -> Option<u64> {
    let value = worker.property(&["response", name]).ok()?;
    Some(u64::from_le_bytes(value.try_into().ok()?))
}
