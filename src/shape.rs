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

/// What decides about a request before anything of it is kept.
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
                _ if name == loop_guard::HEADER.as_bytes() => head.is_copy |= guard.recognises(value),
                _ => {}
            }
        }
        head
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
    pub fn capture(headers: &HeaderMap, config: &Config) -> Self {
        let trace = config.traceparent.then(|| parent(headers)).flatten();
        let mut captured =
            Self { kept: Pairs::with_capacity(32, 1_024), correlation_id: None, has_idempotency_key: false, trace };
        let named_by_connection: Vec<&[u8]> =
            headers.get_all(b"connection").flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii).collect();
        for (name, value) in headers.iter() {
            let trace_header = name == TRACEPARENT || (name == TRACESTATE && trace.is_none());
            if is_withheld(name)
                || (config.traceparent && trace_header)
                || named_by_connection.iter().any(|named| named.eq_ignore_ascii_case(name))
            {
                continue;
            }
            if name == config.correlation_header.as_bytes() && captured.correlation_id.is_none() {
                captured.correlation_id = Some(logged(value));
            }
            captured.has_idempotency_key |= name == b"idempotency-key";
            captured.kept.push(name, value);
        }
        captured
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
        added.push(b"x-sidecast-attempt", attempt.number.to_string().as_bytes());
        added.push(loop_guard::HEADER.as_bytes(), guard.mark(id).as_bytes());
        if !self.has_idempotency_key {
            added.push(b"idempotency-key", id.as_bytes());
        }
        if let Some(trace) = &self.trace {
            added.push(TRACEPARENT, trace.child(attempt.span_id).as_bytes());
        }
        let count = self.kept.count().saturating_add(added.count());
        let bytes = self.kept.serialized_len().saturating_add(added.serialized_len());
        if count > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
            return Err(HeadersTooLarge);
        }
        Ok(self.kept.serialize_with(&added))
    }
}

/// The client's trace, if it sent exactly one `traceparent` and that is valid.
fn parent(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all(TRACEPARENT);
    let value = values.next()?;
    values.next().is_none().then(|| TraceContext::parse(value)).flatten()
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

/// True for headers that no target receives: those of one connection (RFC 9110, 7.6.1), what Envoy would obey or set itself,
/// our own, and credentials.
fn is_withheld(name: &[u8]) -> bool {
    match name {
        // Of one connection or one message framing.
        b"connection" | b"keep-alive" | b"te" | b"trailer" | b"transfer-encoding" | b"upgrade" | b"http2-settings"
        | b"content-length" | b"expect" => true,
        // Credentials.
        b"authorization" | b"cookie" | b"x-api-key" | b"x-forwarded-client-cert" => true,
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
