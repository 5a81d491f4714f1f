//! The request that a target receives: the primary's, changed as the target asks, less what is not its business, plus what ties it
//! to its primary and its delivery.
//!
//! A target that asks for nothing gets what [`CapturedHead`] keeps, without another look. What a target asks for is put together
//! anew for each attempt, from the headers and the body as they came: so nothing is held twice.

mod body;
mod head;
mod path;

pub use body::{BodyRewrite, Content};
pub use head::{has_host, Forward, HeadRewrite};
pub use path::{PathRewrite, Piece, Substitution};

use std::borrow::Cow;
use std::time::Duration;

use uuid::Uuid;

use self::body::BodyKind;
use crate::http::headers::{HeaderMap, Pairs};
use crate::http::loop_mark::{self, LoopGuard};
use crate::http::trace_context::TRACEPARENT;
use crate::http::work::TooMuch;
use crate::json::{Body, Unread};
use crate::rewrite::capture::CapturedHead;
use crate::rewrite::items::Format;
use crate::rewrite::reading::Reading;
use crate::template::{Env, Facts, PrimaryResponse, Template, UnsafePath, Values};

/// Envoy refuses a call-out with more headers (`source/extensions/common/wasm`, its default `HeaderMap` limits).
const MAX_HEADERS: usize = 1_024;
/// Envoy refuses a call-out with more bytes of headers.
const MAX_HEADER_BYTES: usize = 1 << 20;

/// What a target asks for.
#[derive(Debug, Default)]
pub struct Rewrite {
    /// The request line and the headers.
    pub head: HeadRewrite,
    /// The body.
    pub body: BodyRewrite,
}

/// A complete request, and what is known about it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'r, 'a> {
    /// Its headers and body, and what was read of them, for whichever target.
    pub reading: &'r Reading<'a>,
    /// The primary's response, if it was waited for.
    pub response: Option<&'r PrimaryResponse>,
    /// When it was complete, since 1970.
    pub at: Duration,
}

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
    /// It is not for its target, but to be shown in a dead letter: the values of environment variables are left out.
    pub is_shown: bool,
}

/// A call as Envoy takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// Its headers, serialized for the host.
    pub headers: Vec<u8>,
    /// Its body.
    pub body: Cow<'a, [u8]>,
}

/// Why there is no request for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The body is no JSON, or is encoded in a way that is not read here.
    BodyNotJson,
    /// It takes more work than a request may cause.
    TooMuchWork,
    /// There are more headers than Envoy takes.
    HeadersTooLarge,
    /// The path would lead elsewhere than what its target asks for says.
    UnsafePath,
}

impl From<UnsafePath> for Unfit {
    fn from(_: UnsafePath) -> Self {
        Self::UnsafePath
    }
}

impl From<Unread> for Unfit {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::NotJson => Self::BodyNotJson,
            Unread::TooMuchWork => Self::TooMuchWork,
        }
    }
}

impl From<TooMuch> for Unfit {
    fn from(_: TooMuch) -> Self {
        Self::TooMuchWork
    }
}

impl Rewrite {
    /// True when the target asks for nothing.
    pub fn is_plain(&self) -> bool {
        self.head.is_plain() && self.body.is_plain()
    }

    /// True when the target receives a gRPC request as it is, and so responds as gRPC does.
    pub fn is_grpc(&self, head: &CapturedHead) -> bool {
        head.is_grpc() && self.body.is_plain()
    }

    /// True when a copy cannot be made without the primary's body: it is sent, or something is read from it.
    pub fn needs_body(&self) -> bool {
        matches!(self.body.content, Content::Primary) || self.templates().any(Template::reads_body)
    }

    /// All templates that stand in it.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.head.templates().chain(self.body.templates())
    }

    /// Reads the environment variables of all templates.
    pub fn resolve_env(&mut self, env: Env<'_>) {
        self.head.resolve_env(env);
        self.body.resolve_env(env);
    }

    /// The call of one attempt.
    ///
    /// # Errors
    /// There can be no such request.
    pub fn call<'r>(&self, source: &Source<'r, '_>, attempt: &Attempt<'_>, guard: &LoopGuard) -> Result<Call<'r>, Unfit> {
        let reading = source.reading;
        let head = reading.head();
        let mut added = Added::new(attempt, guard);
        if self.is_grpc(head) {
            // A server of gRPC may refuse requests without it, and a proxy answers them without trailers.
            added.0.push(b"te", b"trailers");
        }
        if self.is_plain() {
            if !head.has_idempotency_key() {
                added.identify(attempt);
            }
            added.trace(head, attempt);
            return Ok(Call { headers: added.behind(head.kept())?, body: Cow::Borrowed(reading.body()) });
        }
        reading.work().spend(head.all().size())?;
        let read = self.body.read(reading, self.reads_body_as_json())?;
        let values = self.values(source, attempt, read)?;
        let written = self.body.content.written(&values);
        let chosen = self.head.choose(head, &values, self.body.kind());
        // What was too much was left out.
        reading.work().spend(0)?;
        let chosen = chosen?;
        if !chosen.has_idempotency_key {
            added.identify(attempt);
        }
        if self.head.leaves(TRACEPARENT) {
            added.trace(head, attempt);
        }
        let headers = added.behind(&chosen.pairs)?;
        let body = match (self.body.kind(), written) {
            (_, Some(written)) => Cow::Owned(written),
            // Still encoded, even if it was decoded to be read.
            (BodyKind::Primary, None) => Cow::Borrowed(reading.body()),
            (_, None) => Cow::Borrowed(read.bytes()),
        };
        Ok(Call { headers, body })
    }

    /// A request as an item of a batch: what its call has to say, and the item, which is JSON on one line.
    ///
    /// # Errors
    /// Its body is no JSON, its path is not to be sent, or it takes too much work.
    pub fn item<'r>(
        &self,
        source: &Source<'r, '_>,
        attempt: &Attempt<'_>,
        format: Format,
    ) -> Result<(Pairs, Cow<'r, [u8]>), Unfit> {
        let reading = source.reading;
        let is_item = matches!(self.body.content, Content::Primary);
        reading.work().spend(reading.head().all().size())?;
        let read = self.body.read(reading, is_item || self.reads_body_as_json())?;
        let values = self.values(source, attempt, read)?;
        let written = self.body.content.written(&values);
        let line = self.head.choose_for_batch(reading.head(), &values, format.content_type());
        reading.work().spend(0)?;
        let line = line?;
        let json = match (written, read) {
            (Some(written), _) => Cow::Owned(written),
            (None, Body::Read(read)) => read.compact()?,
            // It is empty.
            (None, Body::Raw(_)) => return Err(Unfit::BodyNotJson),
        };
        Ok((line, json))
    }

    /// The call of an attempt of a batch, or of one item of it, whose `line` is that of its items.
    ///
    /// # Errors
    /// There are too many headers.
    pub fn batch_call<'a>(
        &self,
        line: &Pairs,
        body: Cow<'a, [u8]>,
        attempt: &Attempt<'_>,
        guard: &LoopGuard,
    ) -> Result<Call<'a>, Unfit> {
        let mut added = Added::new(attempt, guard);
        if !line.has(b"idempotency-key") {
            added.identify(attempt);
        }
        let headers = if attempt.is_shown {
            added.behind(&HeaderMap::from(line).filtered(|name, _| !self.head.sets_variable(name)))
        } else {
            added.behind(line)
        };
        Ok(Call { headers: headers?, body })
    }

    /// True when an expression needs the body as JSON.
    fn reads_body_as_json(&self) -> bool {
        self.templates().any(Template::reads_body_as_json)
    }

    /// The values that templates refer to, for a body that is read as JSON if one of them needs that. An empty body is no JSON, but there is
    /// nothing in it to be read either: what is asked of it is absent.
    fn values<'v>(&self, source: &Source<'v, '_>, attempt: &Attempt<'v>, body: Body<'v>) -> Result<Values<'v>, Unfit> {
        let reading = source.reading;
        let head = reading.head();
        if let (Body::Read(read), true) = (body, self.reads_body_as_json()) {
            read.root()?;
        }
        Ok(Values::new(Facts {
            headers: head.all(),
            body,
            query: reading.query(),
            work: reading.work(),
            target: attempt.target,
            delivery_id: attempt.delivery_id,
            correlation_id: head.correlation_id(),
            attempt: attempt.number,
            now: source.at,
            response: source.response,
            properties: head.properties(),
            dead_letter: None,
            shows_variables: !attempt.is_shown,
        }))
    }
}

/// The headers that every attempt carries besides.
struct Added(Pairs);

impl Added {
    fn new(attempt: &Attempt<'_>, guard: &LoopGuard) -> Self {
        let mut id = Uuid::encode_buffer();
        let id: &str = attempt.delivery_id.hyphenated().encode_lower(&mut id);
        let mut pairs = Pairs::with_capacity(6, 384);
        pairs.push(b"x-sidecast-target", attempt.target.as_bytes());
        match attempt.number {
            1 => pairs.push(b"x-sidecast-attempt", b"1"),
            later => pairs.push(b"x-sidecast-attempt", later.to_string().as_bytes()),
        }
        pairs.push(loop_mark::HEADER.as_bytes(), guard.mark(id).as_bytes());
        Self(pairs)
    }

    /// The delivery's id, where the client sent no key of its own.
    fn identify(&mut self, attempt: &Attempt<'_>) {
        let mut id = Uuid::encode_buffer();
        let id: &str = attempt.delivery_id.hyphenated().encode_lower(&mut id);
        self.0.push(b"idempotency-key", id.as_bytes());
    }

    /// A child of the client's trace.
    fn trace(&mut self, head: &CapturedHead, attempt: &Attempt<'_>) {
        if let Some(trace) = head.trace() {
            self.0.push(TRACEPARENT, &trace.child(attempt.span_id));
        }
    }

    /// These behind others, in the form in which they are sent.
    fn behind(&self, pairs: &Pairs) -> Result<Vec<u8>, Unfit> {
        let count = pairs.count().saturating_add(self.0.count());
        let bytes = pairs.serialized_len().saturating_add(self.0.serialized_len());
        if count > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
            return Err(Unfit::HeadersTooLarge);
        }
        Ok(pairs.serialize_with(&self.0))
    }
}

#[cfg(test)]
mod tests;
