//! What is read of a request, read once for all of its targets: its body decoded, where the values in it are, what redaction leaves
//! of it, the values at the pointers that targets name, and its query.
//!
//! Everything is read when somebody asks for it first, and counted as [`Work`]. It is kept for as long as the request is handed to
//! its targets, not while copies wait: they hold the body as it came.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::rc::Rc;

use crate::http::content_coding::{self, Undecodable};
use crate::http::query::Query;
use crate::http::work::Work;
use crate::json::{Document, PointerSet, Read, Unread};
use crate::rewrite::capture::CapturedHead;
use crate::rewrite::redact::Redaction;

/// There are at most as many redactions as targets.
const MAX_REDACTIONS: usize = 32;

/// Under which terms requests are read.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The most bytes that an encoded body may have once it is decoded.
    pub max_body: usize,
    /// The most work for one request.
    pub max_work: usize,
    /// All pointers into bodies that anybody may ask for: they are found together.
    pub pointers: Rc<PointerSet>,
}

/// A complete request, and what was read of it.
#[derive(Debug)]
pub struct Reading<'a> {
    head: &'a CapturedHead,
    body: &'a [u8],
    terms: Terms,
    work: Work,
    query: Query,
    decoded: OnceCell<Result<Document<'a>, Unread>>,
    /// A place for each redaction, by its number.
    redacted: OnceCell<Vec<OnceCell<Result<Document<'static>, Unread>>>>,
}

impl<'a> Reading<'a> {
    /// A request of which nothing was read yet.
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

    /// Its headers.
    pub fn head(&self) -> &'a CapturedHead {
        self.head
    }

    /// Its body as it came.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// True if this is all of its body as it came.
    pub fn is_plain(&self, part: &[u8]) -> bool {
        std::ptr::eq(part, self.body)
    }

    /// What was done for it.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// Its query, read when somebody asks for a parameter.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// Its body without its content coding, which must be text for it to be JSON.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn decoded(&self) -> Result<&Document<'a>, Unread> {
        self.decoded.get_or_init(|| self.decode()).as_ref().map_err(|unread| *unread)
    }

    /// The same with a redaction applied to it. What cannot be read cannot be redacted.
    ///
    /// # Errors
    /// Why it cannot be read.
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

    /// Its body, for whoever looks into it; none if it is empty.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn look_into_body(&self) -> Result<Option<Read<'_>>, Unread> {
        if self.body.is_empty() {
            return Ok(None);
        }
        self.decoded().map(|decoded| Some(self.look_into(decoded)))
    }

    /// A body that was read, for whoever looks into it.
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
