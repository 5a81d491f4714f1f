//! Captures a request on its way to the primary: the primary's headers without hop-by-hop headers, Envoy's own headers and credentials, and the IDs
//! that tie a copy to its primary.

use std::mem::size_of;
use std::rc::Rc;

use uuid::Uuid;

use crate::http::header_names::{is_reserved, is_sensitive};
use crate::http::headers::HeaderMap;
use crate::http::text::text_of;
use crate::http::trace_context::{TraceContext, TRACEPARENT, TRACESTATE};
use crate::template::Property;

/// How copies are tied to their request.
#[derive(Clone, Debug)]
pub struct Correlation {
    /// The header of the correlation ID, in lower case.
    pub header: Rc<str>,
    /// True if copies carry a child of the client's `traceparent`.
    pub traceparent: bool,
}

/// What the copies of a request need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The headers of copies whose target changes nothing.
    pub plain: bool,
    /// All headers as the client sent them, for targets that choose among them.
    pub all: bool,
    /// The client's trace.
    pub trace: bool,
}

/// The captured headers of a request. All of its deliveries share them.
#[derive(Debug)]
pub struct CapturedHead {
    kept: HeaderMap,
    all: Option<HeaderMap>,
    properties: Vec<Property>,
    /// The header of the correlation ID.
    correlation_header: Rc<str>,
    correlation_id: Option<Rc<str>>,
    /// True if the client sent no correlation ID, and one was generated.
    made_correlation_id: bool,
    has_idempotency_key: bool,
    is_grpc: bool,
    /// True if copies carry a child of `trace` in place of the client's trace headers.
    traces: bool,
    trace: Option<TraceContext>,
}

impl CapturedHead {
    /// Captures what ties a request to its copies, and what the copies need. `trace` is the client's trace.
    pub fn capture(
        mut headers: HeaderMap,
        is_grpc: bool,
        trace: Option<TraceContext>,
        needs: Needs,
        correlation: &Correlation,
    ) -> Self {
        let trace = trace.filter(|_| correlation.traceparent && needs.trace);
        let mut captured = Self {
            kept: HeaderMap::default(),
            all: None,
            properties: Vec::new(),
            correlation_header: Rc::clone(&correlation.header),
            correlation_id: None,
            made_correlation_id: false,
            has_idempotency_key: false,
            is_grpc,
            traces: correlation.traceparent,
            trace,
        };
        if needs.all {
            captured.all = Some(headers.clone());
        }
        if !needs.plain {
            captured.correlation_id = headers.get_all(correlation.header.as_bytes()).next().map(|value| text_of(value).into());
            return captured;
        }
        let trace = captured.trace.is_some();
        headers.retain(|name, value| {
            let of_trace = correlation.traceparent && is_replaced(name, trace);
            if is_sensitive(name) || is_reserved(name) || is_empty_key(name, value) || of_trace {
                return false;
            }
            if captured.correlation_id.is_none() && name == correlation.header.as_bytes() {
                captured.correlation_id = Some(text_of(value).into());
            }
            captured.has_idempotency_key |= name == b"idempotency-key";
            true
        });
        // Frees the space of headers that were left out, such as a long cookie.
        headers.shrink();
        captured.kept = headers;
        captured
    }

    /// Generates a correlation ID if the client sent none.
    pub fn correlate(&mut self, fresh: impl FnOnce() -> Uuid) {
        if self.correlation_id.is_none() {
            let id = fresh().to_string();
            self.kept.push(self.correlation_header.as_bytes(), id.as_bytes());
            self.correlation_id = Some(id.into());
            self.made_correlation_id = true;
        }
    }

    /// Adds a property that templates name.
    pub fn push_property(&mut self, property: Property) {
        self.properties.push(property);
    }

    /// The properties that templates name.
    pub fn properties(&self) -> &[Property] {
        &self.properties
    }

    /// The header of the correlation ID, in lower case.
    pub fn correlation_header(&self) -> &str {
        &self.correlation_header
    }

    /// The full correlation ID. Read as ISO-8859-1 if it is not UTF-8.
    pub fn correlation_id(&self) -> &str {
        self.correlation_id.as_deref().unwrap_or_default()
    }

    /// A shared reference to the correlation ID.
    pub fn shared_correlation_id(&self) -> Rc<str> {
        self.correlation_id.clone().unwrap_or_default()
    }

    /// The correlation ID if it was generated. `None` if the client sent one.
    pub fn made_correlation_id(&self) -> Option<&str> {
        self.correlation_id.as_deref().filter(|_| self.made_correlation_id)
    }

    /// The client's idempotency key, if the headers are kept.
    pub fn idempotency_key(&self) -> Option<&[u8]> {
        let keys = self.all().get_all(b"idempotency-key").chain(self.kept.get_all(b"idempotency-key"));
        keys.into_iter().find(|value| !value.trim_ascii().is_empty())
    }

    /// True if the client's idempotency key is among the headers of plain copies.
    pub fn has_idempotency_key(&self) -> bool {
        self.has_idempotency_key
    }

    /// True if it is a gRPC request.
    pub fn is_grpc(&self) -> bool {
        self.is_grpc
    }

    /// Treats the request as not gRPC, whatever its content type says.
    pub fn set_plain(&mut self) {
        self.is_grpc = false;
    }

    /// The client's trace. `None` if copies carry no child of it.
    pub fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_ref()
    }

    /// True for the trace headers, if copies carry a trace.
    pub fn is_of_trace(&self, name: &[u8]) -> bool {
        self.traces && (name == TRACEPARENT || name == TRACESTATE)
    }

    /// True for the trace headers that copies do not carry unchanged.
    pub fn replaces(&self, name: &[u8]) -> bool {
        self.traces && is_replaced(name, self.trace.is_some())
    }

    /// The headers for targets that change nothing. Empty if no target needs them.
    pub fn kept(&self) -> &HeaderMap {
        &self.kept
    }

    /// All headers as the client sent them. Empty if no target needs them.
    pub fn all(&self) -> &HeaderMap {
        static NONE: HeaderMap = HeaderMap::new(Vec::new());
        self.all.as_ref().unwrap_or(&NONE)
    }

    /// The size in memory, in bytes.
    pub fn size(&self) -> usize {
        let of = |property: &Property| {
            let names = property.path.iter().map(|name| name.capacity().saturating_add(size_of::<String>()));
            names.fold(property.value.capacity().saturating_add(size_of::<Property>()), usize::saturating_add)
        };
        let properties = self.properties.iter().map(of).fold(0, usize::saturating_add);
        let headers = self.kept.size().saturating_add(self.all().size());
        headers.saturating_add(properties).saturating_add(self.correlation_id().len()).saturating_add(size_of::<Self>())
    }
}

/// Copies carry a child in place of the `traceparent`. A `tracestate` without a valid `traceparent` has no meaning (W3C Trace Context, 3.3).
fn is_replaced(name: &[u8], has_trace: bool) -> bool {
    name == TRACEPARENT || (name == TRACESTATE && !has_trace)
}

/// True for an empty `idempotency-key`. It counts as missing.
pub fn is_empty_key(name: &[u8], value: &[u8]) -> bool {
    name == b"idempotency-key" && value.trim_ascii().is_empty()
}

#[cfg(test)]
mod tests;
