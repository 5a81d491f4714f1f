//! The bodies of answers, as the expressions of one rendering read them: decoded, redacted, and parsed where JSON is asked for.
//!
//! What is read is known with the configuration. Templates that read no body of an answer cost nothing here.

use std::borrow::Cow;

use crate::http::content_coding::{self, Undecodable};
use crate::http::unavailable::Unavailable;
use crate::http::work_limit::{TooMuch, Work};
use crate::json::{Body, Document, PointerSet, Read, Unread};
use crate::rewrite::redact::Redaction;
use crate::template::{Answer, AnswerBody, AnswerPart, Answerer, Expression, Template};

/// The bodies of answers that some templates read.
#[derive(Clone, Debug, Default)]
pub struct AnswerReads {
    readers: Vec<Reader>,
    redact: Option<Redaction>,
}

/// One answerer whose body is read.
#[derive(Clone, Debug)]
struct Reader {
    of: Answerer,
    /// True if an expression reads the body as JSON.
    as_json: bool,
}

/// Why the body of an answer cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is too long, as it came or decoded.
    TooLong,
    /// There was no room for it.
    NoRoom,
    /// It is not JSON, or has a content coding that is not supported.
    NotJson,
    /// Reading it takes more work than one request may cause.
    TooMuchWork,
}

/// The opened bodies.
#[derive(Debug, Default)]
pub struct Opened<'r>(Vec<(&'r Answerer, Content<'r>)>);

#[derive(Debug)]
enum Content<'r> {
    /// Bytes of which only the text is read.
    Raw(Cow<'r, [u8]>),
    Json(Document<'r>),
}

impl AnswerReads {
    /// What these templates read. The values that `redact` names are redacted in all of it.
    pub fn new<'t>(templates: impl Iterator<Item = &'t Template>, redact: Option<&Redaction>) -> Self {
        let mut readers: Vec<Reader> = Vec::new();
        for expression in templates.flat_map(Template::expressions) {
            let Expression::Answer(of, part) = expression else { continue };
            if !AnswerPart::is_of_body(part) {
                continue;
            }
            match readers.iter_mut().find(|reader| reader.of == *of) {
                Some(reader) => reader.as_json |= part.is_of_json(),
                None => readers.push(Reader { of: of.clone(), as_json: part.is_of_json() }),
            }
        }
        // Without a reader there is nothing to redact.
        let redact = redact.filter(|_| !readers.is_empty()).cloned();
        Self { readers, redact }
    }

    /// True if the body of an answer is read.
    pub fn reads_bodies(&self) -> bool {
        !self.readers.is_empty()
    }

    /// Opens the bodies. `answer` is the latest answer, and `max_body` the most bytes that a body may decode to. A body that is empty, or of which
    /// there is no answer, is left out: all its values are absent.
    ///
    /// # Errors
    /// Returns an error if a body cannot be read in the way that is asked for. What cannot be read cannot be redacted.
    pub fn open<'r>(&'r self, answer: Option<&'r Answer>, max_body: usize, work: &Work) -> Result<Opened<'r>, Unreadable> {
        self.open_each(answer, max_body, work, false)
    }

    /// Opens the bodies like [`Self::open`], and leaves out those that cannot be read.
    pub fn open_readable<'r>(&'r self, answer: Option<&'r Answer>, max_body: usize, work: &Work) -> Opened<'r> {
        self.open_each(answer, max_body, work, true).unwrap_or_default()
    }

    /// Opens the bodies. With `leave_out`, leaves out those that cannot be read.
    fn open_each<'r>(
        &'r self,
        answer: Option<&'r Answer>,
        max_body: usize,
        work: &Work,
        leave_out: bool,
    ) -> Result<Opened<'r>, Unreadable> {
        let mut opened = Vec::new();
        for reader in &self.readers {
            let Some(answer) = answer.and_then(|answer| answer.of(&reader.of)) else { continue };
            match self.content(reader, answer, max_body, work) {
                Ok(Some(content)) => opened.push((&reader.of, content)),
                Err(unreadable) if !leave_out => return Err(unreadable),
                Ok(None) | Err(_) => {}
            }
        }
        Ok(Opened(opened))
    }

    /// The content of one body. `None` if there is nothing in it to read.
    fn content<'r>(
        &self,
        reader: &Reader,
        answer: &'r Answer,
        max_body: usize,
        work: &Work,
    ) -> Result<Option<Content<'r>>, Unreadable> {
        let body = match &answer.body {
            Ok(body) if body.is_empty() => return Ok(None),
            Ok(body) => body,
            Err(Unavailable::TooLong) => return Err(Unreadable::TooLong),
            Err(Unavailable::NoRoom) => return Err(Unreadable::NoRoom),
            Err(Unavailable::CutOff) if reader.as_json => return Err(Unreadable::NotJson),
            Err(Unavailable::CutOff) => return Ok(None),
        };
        let needs_json = reader.as_json || self.redact.is_some();
        let coding = answer.headers.get_all(b"content-encoding").next().unwrap_or_default();
        let decoded = match content_coding::decode_within(coding, body, max_body, work) {
            Ok(decoded) => decoded,
            Err(Undecodable::TooMuchWork) => return Err(Unreadable::TooMuchWork),
            Err(Undecodable::TooLong) => return Err(Unreadable::TooLong),
            Err(_) if needs_json => return Err(Unreadable::NotJson),
            Err(_) => Cow::Borrowed(body.as_slice()),
        };
        if !needs_json {
            return Ok(Some(Content::Raw(decoded)));
        }
        // What a coding holds may be empty, too.
        if decoded.is_empty() {
            return Ok(None);
        }
        let text = match decoded {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| Unreadable::NotJson)?,
            Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| Unreadable::NotJson)?,
        };
        let document = Document::new(text);
        let root = document.root(work)?;
        let Some(redact) = &self.redact else {
            return Ok(Some(Content::Json(document)));
        };
        let redacted = Document::new(Cow::Owned(redact.write(document.text(), root, work)?));
        if reader.as_json {
            redacted.root(work)?;
        }
        Ok(Some(Content::Json(redacted)))
    }
}

impl Opened<'_> {
    /// The bodies, to look up values in. `pointers` are the pointers that are found together.
    pub fn bodies<'v>(&'v self, pointers: &'v PointerSet, work: &'v Work) -> Vec<AnswerBody<'v>> {
        let body = |content: &'v Content<'_>| match content {
            Content::Raw(bytes) => Body::Raw(bytes),
            Content::Json(document) => Body::Read(Read::new(document, pointers, work)),
        };
        self.0.iter().map(|(of, content)| AnswerBody { of, body: body(content) }).collect()
    }
}

impl From<Unread> for Unreadable {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::NotJson => Self::NotJson,
            Unread::TooMuchWork => Self::TooMuchWork,
        }
    }
}

impl From<TooMuch> for Unreadable {
    fn from(_: TooMuch) -> Self {
        Self::TooMuchWork
    }
}
