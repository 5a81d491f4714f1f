//! The parts of a request's headers that are read before anything is kept.

use super::grpc;
use super::headers::HeaderMap;
use super::loop_mark::{self, LoopGuard};
use super::text::split_query;
use super::trace_context::{TraceContext, TRACEPARENT};

/// The headers that decide about a request and about what is kept of it, read in one pass.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RequestHead<'a> {
    /// `:method`.
    pub method: &'a [u8],
    /// `:path` without its query.
    pub path: &'a [u8],
    /// The query of `:path`, without its question mark.
    pub query: &'a [u8],
    /// `:authority`.
    pub authority: &'a [u8],
    /// True if the request turns its connection into a tunnel: CONNECT.
    pub tunnels: bool,
    /// True if the request asks for an upgrade. Only the response tells whether the connection stays HTTP.
    pub upgrades: bool,
    /// True if the request is a copy that a Sidecast made.
    pub is_copy: bool,
    /// True if the request is gRPC.
    pub is_grpc: bool,
    /// The length of the body in bytes, if the request states it.
    pub content_length: Option<usize>,
    /// The last `traceparent`, and the number of them.
    traceparent: (&'a [u8], usize),
}

impl<'a> RequestHead<'a> {
    /// Reads the headers of a request.
    pub fn read(headers: &'a HeaderMap, guard: &LoopGuard) -> Self {
        let mut head = Self::default();
        for (name, value) in headers.iter() {
            match name {
                b":method" => {
                    head.method = value;
                    head.tunnels |= value == b"CONNECT";
                }
                b":path" => {
                    let (path, query) = split_query(value);
                    (head.path, head.query) = (path, query.unwrap_or_default());
                }
                b":authority" => head.authority = value,
                b":protocol" => head.tunnels = true,
                b"upgrade" => head.upgrades = true,
                b"content-length" => head.content_length = std::str::from_utf8(value).ok().and_then(|length| length.parse().ok()),
                b"content-type" => head.is_grpc = grpc::is_grpc(value),
                TRACEPARENT => head.traceparent = (value, head.traceparent.1.saturating_add(1)),
                _ if name == loop_mark::HEADER.as_bytes() => head.is_copy |= guard.recognises(value),
                _ => {}
            }
        }
        // gRPC uses only POST, and the body of an upgrade does not consist of gRPC messages.
        head.is_grpc &= head.method == b"POST" && !head.upgrades;
        head
    }

    /// The client's trace. `None` unless the client sent exactly one valid `traceparent`.
    pub fn trace(&self) -> Option<TraceContext> {
        match self.traceparent {
            (value, 1) => TraceContext::parse(value),
            _ => None,
        }
    }
}
