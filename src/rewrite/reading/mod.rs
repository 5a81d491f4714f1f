//! The reading of a request, shared by all of its targets: the decoded body, the positions of the values in it, the redacted body, the values at
//! the pointers that targets name, and the query.
//!
//! Everything is read on first use, and counted as [`Work`]. A reading exists while the engine hands the request to its targets. Waiting copies do
//! not keep it: they hold the original body.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::rc::Rc;

use crate::http::content_coding::{self, Undecodable};
use crate::http::query::Query;
use crate::http::work_limit::Work;
use crate::json::{Document, PointerSet, Read, Unread};
use crate::rewrite::capture::CapturedHead;
use crate::rewrite::redact::Redaction;

/// The most redactions. There are at most as many as targets.
const MAX_REDACTIONS: usize = 32;

/// The settings and limits for reading requests.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The most bytes that a body may decode to.
    pub max_body: usize,
    /// The most work for one request.
    pub max_work: usize,
    /// All pointers into bodies that any target uses. They are found together in one pass.
    pub pointers: Rc<PointerSet>,
}

/// A complete request, and what was read of it so far.
#[derive(Debug)]
pub struct Reading<'a> {
    head: &'a CapturedHead,
    body: &'a [u8],
    terms: Terms,
    work: Work,
    query: Query,
    decoded: OnceCell<Result<Document<'a>, Unread>>,
    /// One cell for each redaction, at its number.
    redacted: OnceCell<Vec<OnceCell<Result<Document<'static>, Unread>>>>,
}

impl<'a> Reading<'a> {
    /// Creates a reading of a request of which nothing is read yet.
    pub fn new(head: &'a CapturedHead, body: &'a [u8], terms: &Terms) -> Self {
        Self {
            head,
            body,
            terms: terms.clone(),
            work: Work::new(terms.max_work),
            query: Query::default(),
            decoded: OnceCell::new(),
            redacted: OnceCell::new(),
        }
    }

    /// The captured headers.
    pub fn head(&self) -> &'a CapturedHead {
        self.head
    }

    /// The original body.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// True if `part` is the whole original body.
    pub fn is_plain(&self, part: &[u8]) -> bool {
        std::ptr::eq(part, self.body)
    }

    /// The settings and limits.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The work done for this request.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// The query. It is parsed on first use of a parameter.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// The body without its content coding. It must be UTF-8 text.
    ///
    /// # Errors
    /// Returns an error if the body cannot be decoded, is not UTF-8, or takes too much work.
    pub fn decoded(&self) -> Result<&Document<'a>, Unread> {
        self.decoded.get_or_init(|| self.decode()).as_ref().map_err(|unread| *unread)
    }

    /// The decoded body with a redaction applied.
    ///
    /// # Errors
    /// Returns an error if the body cannot be read as JSON, or takes too much work. What cannot be read cannot be redacted.
    pub fn redacted(&self, redaction: &Redaction) -> Result<&Document<'_>, Unread> {
        let decoded = self.decoded()?;
        let all = self.redacted.get_or_init(|| (0..MAX_REDACTIONS).map(|_| OnceCell::new()).collect());
        let Some(redacted) = all.get(redaction.number()) else {
            return Err(Unread::TooMuchWork);
        };
        redacted
            .get_or_init(|| {
                let root = decoded.root(&self.work)?;
                let text = redaction.write(decoded.text(), root, &self.work)?;
                Ok(Document::new(Cow::Owned(text)))
            })
            .as_ref()
            .map_err(|unread| *unread)
    }

    /// The decoded body, to look up values in. `None` if the body is empty.
    ///
    /// # Errors
    /// Returns an error if the body cannot be decoded, is not UTF-8, or takes too much work.
    pub fn look_into_body(&self) -> Result<Option<Read<'_>>, Unread> {
        if self.body.is_empty() {
            return Ok(None);
        }
        self.decoded().map(|decoded| Some(self.look_into(decoded)))
    }

    /// Prepares a decoded body for looking up values.
    pub fn look_into<'r>(&'r self, document: &'r Document<'r>) -> Read<'r> {
        Read::new(document, &self.terms.pointers, &self.work)
    }

    fn decode(&self) -> Result<Document<'a>, Unread> {
        let coding = self.head.all().get_all(b"content-encoding").next().unwrap_or_default();
        let text = match content_coding::decode_within(coding, self.body, self.terms.max_body, &self.work) {
            Ok(Cow::Borrowed(body)) => Cow::Borrowed(std::str::from_utf8(body).map_err(|_| Unread::NotJson)?),
            Ok(Cow::Owned(body)) => Cow::Owned(String::from_utf8(body).map_err(|_| Unread::NotJson)?),
            Err(Undecodable::TooMuchWork) => return Err(Unread::TooMuchWork),
            Err(_) => return Err(Unread::NotJson),
        };
        Ok(Document::new(text))
    }
}

#[cfg(test)]
mod tests;
