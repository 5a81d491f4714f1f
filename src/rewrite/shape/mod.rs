//! The request that a target receives: the primary's request with the target's changes, without credentials and hop-by-hop headers, plus the
//! headers that tie it to its primary and its delivery.
//!
//! A target without changes receives what [`CapturedHead`] keeps. For other targets, the request is rendered anew for each attempt, from the
//! original headers and body. So nothing is held twice.

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
use crate::http::headers::{HeaderMap, Pairs, Parts};
use crate::http::loop_mark::{self, LoopGuard};
use crate::http::trace_context::TRACEPARENT;
use crate::http::work_limit::TooMuch;
use crate::json::{Body, Unread};
use crate::rewrite::answers::{AnswerReads, Opened, Unreadable};
use crate::rewrite::capture::CapturedHead;
use crate::rewrite::items::Format;
use crate::rewrite::reading::Reading;
use crate::rewrite::signing::Signing;
use crate::template::{Answer, AnswerBody, Env, Facts, Template, UnsafePath, Values};

/// The most headers: Envoy refuses a call-out with more (`source/extensions/common/wasm`, its default `HeaderMap` limits).
const MAX_HEADERS: usize = 1_024;
/// The most bytes of headers: Envoy refuses a call-out with more.
const MAX_HEADER_BYTES: usize = 1 << 20;

/// The changes that a target makes to the request.
#[derive(Debug, Default)]
pub struct Rewrite {
    /// The changes of the request line and headers.
    pub head: HeadRewrite,
    /// The changes of the body.
    pub body: BodyRewrite,
    /// The bodies of answers that the templates read.
    pub answers: AnswerReads,
}

/// A complete request, and what is known about it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'r, 'a> {
    /// The headers and body, and what was read of them, for any target.
    pub reading: &'r Reading<'a>,
    /// The latest of the answers that the request had, if the target waits for any.
    pub answer: Option<&'r Answer>,
    /// When the request was complete, as the time since 1970.
    pub at: Duration,
}

/// The data of one attempt.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The name of the target.
    pub target: &'a str,
    /// The number of the attempt, from 1.
    pub number: u32,
    /// The ID of the delivery. It is the same for all attempts.
    pub delivery_id: Uuid,
    /// The span ID of the attempt in its trace.
    pub span_id: [u8; 8],
    /// When the attempt is made, as the time since 1970. Zero if the target does not sign it.
    pub at: Duration,
    /// True if the request is rendered for a dead letter, not for its target. Values of environment variables and signatures are then left out.
    pub is_shown: bool,
}

/// A call-out in the form that the host takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// The headers, serialized for the host.
    pub headers: Vec<u8>,
    /// The body.
    pub body: Cow<'a, [u8]>,
}

/// Why a request cannot be shaped for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The body is not JSON, or has a content coding that is not supported.
    BodyNotJson,
    /// The request takes more work than one request may cause.
    TooMuchWork,
    /// The request has more headers than Envoy accepts.
    HeadersTooLarge,
    /// A value in the path could lead to another path than the configured one.
    UnsafePath,
    /// An expression reads the body of a response that is too long.
    ResponseTooLarge,
    /// An expression reads the body of a response for which there was no room.
    NoRoomForResponse,
    /// An expression reads the body of a response that is not JSON, or has a content coding that is not supported.
    ResponseNotJson,
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

impl From<Unreadable> for Unfit {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::TooLong => Self::ResponseTooLarge,
            Unreadable::NoRoom => Self::NoRoomForResponse,
            Unreadable::NotJson => Self::ResponseNotJson,
            Unreadable::TooMuchWork => Self::TooMuchWork,
        }
    }
}

impl From<TooMuch> for Unfit {
    fn from(_: TooMuch) -> Self {
        Self::TooMuchWork
    }
}

impl Rewrite {
    /// True if the target makes no changes.
    pub fn is_plain(&self) -> bool {
        self.head.is_plain() && self.body.is_plain()
    }

    /// True if the target receives a gRPC request unchanged, and so responds with gRPC.
    pub fn is_grpc(&self, head: &CapturedHead) -> bool {
        head.is_grpc() && self.body.is_plain()
    }

    /// True if a copy cannot be made without the primary's body: the body is sent, or a template reads it.
    pub fn needs_body(&self) -> bool {
        matches!(self.body.content, Content::Primary) || self.templates().any(Template::reads_body)
    }

    /// True if the primary's body is read as JSON, so that a body that is none cannot be copied.
    pub fn reads_json(&self) -> bool {
        self.body.redact.is_some() || self.reads_body_as_json()
    }

    /// All templates in these settings.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.head.templates().chain(self.body.templates())
    }

    /// Where values of environment variables stand: names of headers, `:path`, `:authority` and `:body`.
    pub fn variable_places(&self) -> impl Iterator<Item = &str> {
        let is_in_body = self.body.templates().any(Template::holds_variable);
        self.head.variable_places().chain(is_in_body.then_some(":body"))
    }

    /// True if the time of an attempt must be known, because it is signed.
    pub fn signs_time(&self) -> bool {
        self.head.sign.as_ref().is_some_and(Signing::is_dated)
    }

    /// The work to sign a body of this length.
    pub fn work_to_sign(&self, body: usize) -> usize {
        self.head.sign.as_ref().map_or(0, |signing| signing.work(body))
    }

    /// Fills in the environment variables of all templates.
    pub fn resolve_env(&mut self, env: Env<'_>) {
        self.head.resolve_env(env);
        self.body.resolve_env(env);
    }

    /// Renders the call of one attempt.
    ///
    /// # Errors
    /// Returns an error if the request cannot be shaped for the target.
    pub fn call<'r>(&self, source: &Source<'r, '_>, attempt: &Attempt<'_>, guard: &LoopGuard) -> Result<Call<'r>, Unfit> {
        let reading = source.reading;
        let head = reading.head();
        let mut added = Added::new(attempt, guard);
        if self.is_grpc(head) {
            // A gRPC server may refuse requests without `te: trailers`, and a proxy responds to them without trailers.
            added.0.push(b"te", b"trailers");
        }
        if self.is_plain() {
            if !head.has_idempotency_key() {
                added.identify(attempt);
            }
            added.trace(head, attempt);
            return Ok(Call { headers: added.behind(head.kept().parts())?, body: Cow::Borrowed(reading.body()) });
        }
        self.spend_on_headers(reading)?;
        let read = self.body.read(reading, self.reads_body_as_json())?;
        let opened = self.open_answers(source)?;
        let bodies = opened.bodies(&reading.terms().pointers, reading.work());
        let values = self.values(source, attempt, read, &bodies)?;
        let written = self.body.content.written(&values);
        let chosen = self.head.choose(head, &values, self.body.kind());
        // Templates leave out whatever exceeds the work limit. This detects it.
        reading.work().spend(0)?;
        let chosen = chosen?;
        if !chosen.has_idempotency_key {
            added.identify(attempt);
        }
        if self.head.leaves(TRACEPARENT) {
            added.trace(head, attempt);
        }
        let body = match (self.body.kind(), written) {
            (_, Some(written)) => Cow::Owned(written),
            // The body is sent encoded, even if it was decoded for reading.
            (BodyKind::Primary, None) => Cow::Borrowed(reading.body()),
            (_, None) => Cow::Borrowed(read.bytes()),
        };
        if !attempt.is_shown {
            reading.work().spend(self.work_to_sign(body.len()))?;
        }
        added.sign(self.head.sign.as_ref(), attempt, &body);
        Ok(Call { headers: added.behind(chosen.pairs.parts())?, body })
    }

    /// Renders a request as an item of a batch. Returns the request line and headers of its call, and the item, which is JSON on one line.
    ///
    /// # Errors
    /// Returns an error if the body is not JSON, if a value in the path could lead to another path, or if it takes too much work.
    pub fn item<'r>(
        &self,
        source: &Source<'r, '_>,
        attempt: &Attempt<'_>,
        format: Format,
    ) -> Result<(Pairs, Cow<'r, [u8]>), Unfit> {
        let reading = source.reading;
        let is_item = matches!(self.body.content, Content::Primary);
        self.spend_on_headers(reading)?;
        let read = self.body.read(reading, is_item || self.reads_body_as_json())?;
        let opened = self.open_answers(source)?;
        let bodies = opened.bodies(&reading.terms().pointers, reading.work());
        let values = self.values(source, attempt, read, &bodies)?;
        let written = self.body.content.written(&values);
        let line = self.head.choose_for_batch(reading.head(), &values, format.content_type());
        reading.work().spend(0)?;
        let line = line?;
        let json = match (written, read) {
            (Some(written), _) => Cow::Owned(written),
            (None, Body::Read(read)) => read.compact()?,
            // The body is empty.
            (None, Body::Raw(_)) => return Err(Unfit::BodyNotJson),
        };
        Ok((line, json))
    }

    /// Renders the call of an attempt of a batch, or of a single item of it. `line` is the request line and headers of the items.
    ///
    /// # Errors
    /// Returns an error if there are too many headers.
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
        added.sign(self.head.sign.as_ref(), attempt, &body);
        let headers = if attempt.is_shown {
            let mut shown = HeaderMap::from(line);
            shown.retain(|name, _| !self.head.sets_variable(name));
            added.behind(shown.parts())
        } else {
            added.behind(line.parts())
        };
        Ok(Call { headers: headers?, body })
    }

    /// Counts the work with the headers: they are copied, and each is held against the names in the settings.
    fn spend_on_headers(&self, reading: &Reading<'_>) -> Result<(), TooMuch> {
        let headers = reading.head().all();
        reading.work().spend(headers.size().saturating_add(headers.count().saturating_mul(self.head.named())))
    }

    /// Opens the bodies of answers that the templates read.
    fn open_answers<'r>(&'r self, source: &Source<'r, '_>) -> Result<Opened<'r>, Unreadable> {
        self.answers.open(source.answer, source.reading.terms().max_body, source.reading.work())
    }

    /// True if a template reads the body as JSON.
    fn reads_body_as_json(&self) -> bool {
        self.templates().any(Template::reads_body_as_json)
    }

    /// The values that templates refer to. Parses the body as JSON if a template needs that. An empty body is not JSON, but there is nothing to
    /// read in it either: all its values count as absent.
    fn values<'v>(
        &self,
        source: &Source<'v, '_>,
        attempt: &Attempt<'v>,
        body: Body<'v>,
        answer_bodies: &'v [AnswerBody<'v>],
    ) -> Result<Values<'v>, Unfit> {
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
            answer: source.answer,
            answer_bodies,
            properties: head.properties(),
            dead_letter: None,
            shows_variables: !attempt.is_shown,
        }))
    }
}

/// The headers that every attempt adds.
struct Added(Pairs);

impl Added {
    fn new(attempt: &Attempt<'_>, guard: &LoopGuard) -> Self {
        let mut id = Uuid::encode_buffer();
        let id: &str = attempt.delivery_id.hyphenated().encode_lower(&mut id);
        let mut pairs = Pairs::with_capacity(6, 384);
        pairs.push(b"x-sidecast-target", attempt.target.as_bytes());
        // Most copies need one attempt, and each header costs Envoy some 2,300 instructions.
        if attempt.number > 1 {
            pairs.push(b"x-sidecast-attempt", attempt.number.to_string().as_bytes());
        }
        pairs.push(loop_mark::HEADER.as_bytes(), guard.mark(id).as_bytes());
        Self(pairs)
    }

    /// Adds the delivery ID as the idempotency key. Called if the client sent none.
    fn identify(&mut self, attempt: &Attempt<'_>) {
        let mut id = Uuid::encode_buffer();
        let id: &str = attempt.delivery_id.hyphenated().encode_lower(&mut id);
        self.0.push(b"idempotency-key", id.as_bytes());
    }

    /// Adds a child of the client's trace.
    fn trace(&mut self, head: &CapturedHead, attempt: &Attempt<'_>) {
        if let Some(trace) = head.trace() {
            self.0.push(TRACEPARENT, &trace.child(attempt.span_id));
        }
    }

    /// Adds the signature of the body that is sent. A letter has none.
    fn sign(&mut self, signing: Option<&Signing>, attempt: &Attempt<'_>, body: &[u8]) {
        if let Some(signing) = signing.filter(|_| !attempt.is_shown) {
            let mut id = Uuid::encode_buffer();
            signing.sign(&mut self.0, attempt.delivery_id.hyphenated().encode_lower(&mut id), attempt.at, body);
        }
    }

    /// Serializes the given headers followed by these.
    fn behind(&self, headers: Parts<'_>) -> Result<Vec<u8>, Unfit> {
        let added = self.0.parts();
        let count = headers.count().saturating_add(added.count());
        let bytes = headers.serialized_len().saturating_add(added.serialized_len());
        if count > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
            return Err(Unfit::HeadersTooLarge);
        }
        Ok(headers.followed_by(added))
    }
}

#[cfg(test)]
mod tests;
