//! What is read of a request's headers before anything is kept of it.

use super::grpc;
use super::headers::HeaderMap;
use super::loop_mark::{self, LoopGuard};
use super::text::split_query;
use super::trace_context::{TraceContext, TRACEPARENT};

/// What decides about a request, and about what is kept of it; read in one pass.
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
    /// It turns its connection into something that is not HTTP: CONNECT.
    pub tunnels: bool,
    /// It asks for the same. Only the response tells whether it is one of HTTP all the same.
    pub upgrades: bool,
    /// It is a copy that some Sidecast made.
    pub is_copy: bool,
    /// It is a gRPC request.
    pub is_grpc: bool,
    /// The length of its body, if it says so.
    pub content_length: Option<usize>,
    /// `traceparent`, and how many of them there are.
    traceparent: (&'a [u8], usize),
}

impl<'a> RequestHead<'a> {
    /// Reads what decides.
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
        // gRPC knows no other method, and an upgrade has no body that would be one of its messages.
        head.is_grpc &= head.method == b"POST" && !head.upgrades;
        head
    }

    /// The client's trace, if it sent exactly one `traceparent` and that is valid.
    pub fn trace(&self) -> Option<TraceContext> {
        match self.traceparent {
            (value, 1) => TraceContext::parse(value),
            _ => None,
        }
    }
}
