//! What is read and kept of a request on its way to the primary: the primary's headers, less what belongs to one connection, to
//! Envoy or to somebody's credentials, and what ties a copy to its primary.

use std::mem::size_of;
use std::rc::Rc;

use uuid::Uuid;

use crate::http::header_names::{is_reserved, is_sensitive};
use crate::http::headers::{HeaderMap, Pairs};
use crate::http::request_head::RequestHead;
use crate::http::text::text_of;
use crate::http::trace_context::{TraceContext, TRACEPARENT, TRACESTATE};
use crate::template::Property;

/// Room for a correlation id that is made, and the name of its header.
const MADE_ID: usize = 64;

/// What ties copies to their request.
#[derive(Clone, Debug)]
pub struct Correlation {
    /// The header of the correlation id, in lower case.
    pub header: Rc<str>,
    /// Copies carry a child of the client's `traceparent`.
    pub traceparent: bool,
}

/// What the copies of a request need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The headers that a copy carries whose target asks for no changes.
    pub plain: bool,
    /// The client's trace.
    pub trace: bool,
}

/// What is kept of a request's headers until it is complete; shared by all of its deliveries.
#[derive(Debug)]
pub struct CapturedHead {
    kept: Pairs,
    all: Option<HeaderMap>,
    properties: Vec<Property>,
    /// The header of the correlation id.
    correlation_header: Rc<str>,
    correlation_id: Option<Rc<str>>,
    /// The client sent no correlation id.
    made_correlation_id: bool,
    has_idempotency_key: bool,
    is_grpc: bool,
    /// Its trace is that of `trace`, and not what its headers say.
    traces: bool,
    trace: Option<TraceContext>,
}

impl CapturedHead {
    /// Keeps what ties a request to its copies, and what they need besides.
    pub fn capture(headers: &HeaderMap, head: &RequestHead<'_>, needs: Needs, correlation: &Correlation) -> Self {
        let trace = (correlation.traceparent && needs.trace).then(|| head.trace()).flatten();
        let mut captured = Self {
            kept: Pairs::default(),
            all: None,
            properties: Vec::new(),
            correlation_header: Rc::clone(&correlation.header),
            correlation_id: None,
            made_correlation_id: false,
            has_idempotency_key: false,
            is_grpc: head.is_grpc,
            traces: correlation.traceparent,
            trace,
        };
        let mut seen = |name: &[u8], value: &[u8]| {
            if captured.correlation_id.is_none() && name == correlation.header.as_bytes() {
                captured.correlation_id = Some(text_of(value).into());
            }
            captured.has_idempotency_key |= name == b"idempotency-key";
        };
        if needs.plain {
            let trace = captured.trace.is_some();
            captured.kept = headers.filtered(|name, value| {
                let of_trace = correlation.traceparent && is_replaced(name, trace);
                if is_sensitive(name) || is_reserved(name) || is_empty_key(name, value) || of_trace {
                    return false;
                }
                seen(name, value);
                true
            });
            // What was left out, a long cookie perhaps, is not to be held. A correlation id may follow.
            captured.kept.shrink(MADE_ID);
        } else {
            captured.correlation_id = headers.get_all(correlation.header.as_bytes()).next().map(|value| text_of(value).into());
        }
        captured
    }

    /// Keeps the headers as they came, too, for targets that choose among them.
    pub fn keep_all(&mut self, headers: HeaderMap) {
        self.all = Some(headers);
    }

    /// Gives the request a correlation id if the client gave it none.
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

    /// The header of the correlation id, in lower case.
    pub fn correlation_header(&self) -> &str {
        &self.correlation_header
    }

    /// The correlation id, whole; ISO-8859-1 if it is not UTF-8.
    pub fn correlation_id(&self) -> &str {
        self.correlation_id.as_deref().unwrap_or_default()
    }

    /// The same, to be kept.
    pub fn shared_correlation_id(&self) -> Rc<str> {
        self.correlation_id.clone().unwrap_or_default()
    }

    /// The correlation id if the client sent none, and it was made.
    pub fn made_correlation_id(&self) -> Option<&str> {
        self.correlation_id.as_deref().filter(|_| self.made_correlation_id)
    }

    /// The client's idempotency key is among what plain copies carry.
    pub fn has_idempotency_key(&self) -> bool {
        self.has_idempotency_key
    }

    /// It is a gRPC request.
    pub fn is_grpc(&self) -> bool {
        self.is_grpc
    }

    /// It is a plain request, whatever its content type says.
    pub fn set_plain(&mut self) {
        self.is_grpc = false;
    }

    /// The client's trace, if copies carry a child of it.
    pub fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_ref()
    }

    /// True for the headers of a trace.
    pub fn is_of_trace(&self, name: &[u8]) -> bool {
        self.traces && (name == TRACEPARENT || name == TRACESTATE)
    }

    /// True for the headers of a trace that copies do not carry as they came.
    pub fn replaces(&self, name: &[u8]) -> bool {
        self.traces && is_replaced(name, self.trace.is_some())
    }

    /// The headers as targets receive them that ask for no changes, if that was needed.
    pub fn kept(&self) -> &Pairs {
        &self.kept
    }

    /// The headers as they came; none of them if that was not needed.
    pub fn all(&self) -> &HeaderMap {
        static NONE: HeaderMap = HeaderMap::new(Vec::new());
        self.all.as_ref().unwrap_or(&NONE)
    }

    /// The bytes of memory that it takes.
    pub fn size(&self) -> usize {
        let of = |property: &Property| {
            let names = property.path.iter().map(|name| name.capacity().saturating_add(size_of::<String>()));
            names.fold(property.value.capacity().saturating_add(size_of::<Property>()), usize::saturating_add)
        };
        let properties = self.properties.iter().map(of).fold(0, usize::saturating_add);
        let headers = self.kept.capacity().saturating_add(self.all().size());
        headers.saturating_add(properties).saturating_add(self.correlation_id().len()).saturating_add(size_of::<Self>())
    }
}

/// A child is sent in the place of a `traceparent`. A `tracestate` means nothing without a valid one (W3C Trace Context, 3.3).
fn is_replaced(name: &[u8], has_trace: bool) -> bool {
    name == TRACEPARENT || (name == TRACESTATE && !has_trace)
}

/// True for an `idempotency-key` that says nothing: it is as good as none.
pub fn is_empty_key(name: &[u8], value: &[u8]) -> bool {
    name == b"idempotency-key" && value.trim_ascii().is_empty()
}

#[cfg(test)]
mod tests;
