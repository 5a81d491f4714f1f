//! The request that a target receives: the primary's, less what belongs to one connection, to Envoy or to somebody's
//! credentials, plus what ties it to its primary and its delivery.

use uuid::Uuid;

use crate::config::Config;
use crate::headers::{HeaderMap, Pairs};
use crate::loop_guard::{self, LoopGuard};
use crate::trace_context::{TraceContext, TRACEPARENT, TRACESTATE};

/// Envoy refuses a call-out with more headers (`source/extensions/common/wasm`, its default `HeaderMap` limits).
const MAX_HEADERS: usize = 1_024;
/// Envoy refuses a call-out with more bytes of headers.
const MAX_HEADER_BYTES: usize = 1 << 20;
/// The most of a client's correlation id that goes into a log line.
const MAX_LOGGED_ID: usize = 128;

/// What decides about a request, and about what is kept of it; read in one pass.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RequestHead<'a> {
    /// `:method`.
    pub method: &'a [u8],
    /// `:path` without its query.
    pub path: &'a [u8],
    /// It turns its connection into something that is not HTTP: CONNECT or an upgrade.
    pub tunnels: bool,
    /// It is a copy that some Sidecast made.
    pub is_copy: bool,
    /// There is a `connection` header, which may name further headers of this connection.
    has_connection: bool,
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
                b":path" => head.path = value.split(|byte| *byte == b'?' || *byte == b'#').next().unwrap_or_default(),
                b":protocol" | b"upgrade" => head.tunnels = true,
                b"connection" => head.has_connection = true,
                TRACEPARENT => head.traceparent = (value, head.traceparent.1.saturating_add(1)),
                _ if name == loop_guard::HEADER.as_bytes() => head.is_copy |= guard.recognises(value),
                _ => {}
            }
        }
        head
    }

    /// The client's trace, if it sent exactly one `traceparent` and that is valid.
    fn trace(&self) -> Option<TraceContext> {
        match self.traceparent {
            (value, 1) => TraceContext::parse(value),
            _ => None,
        }
    }
}

/// What is kept of a request's headers until it is complete; shared by all of its deliveries.
#[derive(Debug)]
pub struct CapturedHead {
    kept: Pairs,
    correlation_id: Option<Box<str>>,
    has_idempotency_key: bool,
    trace: Option<TraceContext>,
}

impl CapturedHead {
    /// Keeps what targets may see of a request.
    pub fn capture(headers: &HeaderMap, head: &RequestHead<'_>, config: &Config) -> Self {
        let trace = config.traceparent.then(|| head.trace()).flatten();
        let named_by_connection: Vec<&[u8]> = if head.has_connection { named_by_connection(headers) } else { Vec::new() };
        let mut correlation_id = None;
        let mut has_idempotency_key = false;
        let kept = headers.filtered(|name, value| {
            let of_trace = config.traceparent && (name == TRACEPARENT || (name == TRACESTATE && trace.is_none()));
            if is_withheld(name) || of_trace || named_by_connection.iter().any(|named| named.eq_ignore_ascii_case(name)) {
                return false;
            }
            if correlation_id.is_none() && name == config.correlation_header.as_bytes() {
                correlation_id = Some(logged(value));
            }
            has_idempotency_key |= name == b"idempotency-key";
            true
        });
        Self { kept, correlation_id, has_idempotency_key, trace }
    }

    /// Gives the request a correlation id if the client gave it none.
    pub fn correlate(&mut self, header: &str, fresh: impl FnOnce() -> Uuid) {
        if self.correlation_id.is_none() {
            let id = fresh().to_string();
            self.kept.push(header.as_bytes(), id.as_bytes());
            self.correlation_id = Some(id.into_boxed_str());
        }
    }

    /// The correlation id as it may stand in a log line.
    pub fn correlation_id(&self) -> &str {
        self.correlation_id.as_deref().unwrap_or_default()
    }

    /// The bytes it takes to hold.
    pub fn size(&self) -> usize {
        self.kept.serialized_len()
    }

    /// The headers of one attempt, serialized for the host.
    ///
    /// # Errors
    /// There are more of them than Envoy takes.
    pub fn for_attempt(&self, attempt: &Attempt<'_>, guard: &LoopGuard) -> Result<Vec<u8>, HeadersTooLarge> {
        let mut id = Uuid::encode_buffer();
        let id: &str = attempt.delivery_id.hyphenated().encode_lower(&mut id);
        let mut added = Pairs::with_capacity(6, 384);
        added.push(b"x-sidecast-target", attempt.target.as_bytes());
        match attempt.number {
            1 => added.push(b"x-sidecast-attempt", b"1"),
            later => added.push(b"x-sidecast-attempt", later.to_string().as_bytes()),
        }
        added.push(loop_guard::HEADER.as_bytes(), guard.mark(id).as_bytes());
        if !self.has_idempotency_key {
            added.push(b"idempotency-key", id.as_bytes());
        }
        if let Some(trace) = &self.trace {
            added.push(TRACEPARENT, &trace.child(attempt.span_id));
        }
        let count = self.kept.count().saturating_add(added.count());
        let bytes = self.kept.serialized_len().saturating_add(added.serialized_len());
        if count > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
            return Err(HeadersTooLarge);
        }
        Ok(self.kept.serialize_with(&added))
    }
}

/// The headers that `connection` says are of this connection alone.
fn named_by_connection(headers: &HeaderMap) -> Vec<&[u8]> {
    headers.get_all(b"connection").flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii).collect()
}

/// More headers than Envoy takes in a call-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadersTooLarge;

/// What is particular to one attempt.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The target's name.
    pub target: &'a str,
    /// Its number, from 1.
    pub number: u32,
    /// The delivery's id: the same over all attempts.
    pub delivery_id: Uuid,
    /// The id of the attempt in its trace.
    pub span_id: [u8; 8],
}

/// True for headers that no target receives: the reserved ones, and credentials.
fn is_withheld(name: &[u8]) -> bool {
    matches!(name, b"authorization" | b"cookie" | b"x-api-key" | b"x-forwarded-client-cert") || is_reserved(name)
}

/// True for headers that are nobody's to pass on or to choose: those of one connection or one message's framing (RFC 9110,
/// 7.6.1), what Envoy would obey or set itself, and our own.
pub fn is_reserved(name: &[u8]) -> bool {
    match name {
        b"connection" | b"keep-alive" | b"te" | b"trailer" | b"transfer-encoding" | b"upgrade" | b"http2-settings"
        | b"content-length" | b"expect" => true,
        _ => name.starts_with(b"x-envoy-") || name.starts_with(b"proxy-") || name.starts_with(b"x-sidecast-") || name.is_empty(),
    }
}

/// A client's value, made fit for a log line: text of a bounded length.
fn logged(value: &[u8]) -> Box<str> {
    let start = value.get(..MAX_LOGGED_ID).unwrap_or(value);
    String::from_utf8_lossy(start).into()
}

#[cfg(test)]
mod tests;
