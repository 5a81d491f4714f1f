//! Answers: the responses that templates read, of the primary and of other targets.

use std::mem::size_of;
use std::rc::Rc;

use crate::http::headers::HeaderMap;
use crate::http::names::HeaderName;
use crate::http::unavailable::Unavailable;
use crate::json::{Body, Pointer};

/// Who answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answerer {
    /// The primary.
    Primary,
    /// The target of this name.
    Target(Rc<str>),
}

/// The part of an answer that an expression reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerPart {
    /// The status.
    Status,
    /// The first header of this name.
    Header(HeaderName),
    /// The body, parsed as JSON.
    Body,
    /// The value at a pointer into the body, parsed as JSON.
    BodyPointer(Pointer),
    /// The body as text.
    BodyText,
}

impl AnswerPart {
    /// True for a part of the body.
    pub const fn is_of_body(&self) -> bool {
        matches!(self, Self::Body | Self::BodyPointer(_) | Self::BodyText)
    }

    /// True for a part that cannot be read without the headers. One of them says how the body is encoded.
    pub const fn needs_headers(&self) -> bool {
        matches!(self, Self::Header(_)) || self.is_of_body()
    }

    /// True for a part of the body that must be JSON.
    pub const fn is_of_json(&self) -> bool {
        matches!(self, Self::Body | Self::BodyPointer(_))
    }
}

/// An answer to a request or to a copy of it. Only what expressions read is kept.
#[derive(Debug)]
pub struct Answer {
    /// Who answered.
    pub of: Answerer,
    /// The status. `None` if there was no response, or only a part of one.
    pub status: Option<u16>,
    /// The headers. Empty if no expression reads them.
    pub headers: HeaderMap,
    /// The body as it was received. Empty if no expression reads it.
    pub body: Result<Vec<u8>, Unavailable>,
    /// The answer that the request had before this one.
    pub before: Option<Rc<Self>>,
}

impl Answer {
    /// An answer without headers and without a body.
    pub fn new(of: Answerer, status: Option<u16>) -> Self {
        Self { of, status, headers: HeaderMap::default(), body: Ok(Vec::new()), before: None }
    }

    /// This answer and those before it, the latest first.
    pub fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |answer| answer.before.as_deref())
    }

    /// The latest answer of this answerer.
    pub fn of(&self, answerer: &Answerer) -> Option<&Self> {
        self.all().find(|answer| answer.of == *answerer)
    }

    /// The size of this answer and those before it in memory, in bytes.
    pub fn size(&self) -> usize {
        let of = |answer: &Self| {
            let body = answer.body.as_ref().map_or(0, Vec::capacity);
            answer.headers.size().saturating_add(body).saturating_add(size_of::<Self>())
        };
        self.all().map(of).fold(0, usize::saturating_add)
    }
}

/// The body of an answer as expressions see it.
#[derive(Clone, Copy, Debug)]
pub struct AnswerBody<'a> {
    /// Who answered.
    pub of: &'a Answerer,
    /// The body: decoded and redacted.
    pub body: Body<'a>,
}
