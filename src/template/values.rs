//! The values of expressions.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::{Duration, SystemTime};

use base64ct::{Base64, Encoding as _};
use serde::Serialize;
use uuid::Uuid;

use super::answer::{Answer, AnswerBody, AnswerPart, Answerer};
use super::Expression;
use crate::http::headers::HeaderMap;
use crate::http::query::Query;
use crate::http::text::{split_query, text_of};
use crate::http::work_limit::{Work, HEADER};
use crate::json::Body;
use crate::json::{Kind, Node};

/// A property of Envoy, with its value at the time of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The path, split at the dots.
    pub path: Vec<String>,
    /// The value, as text.
    pub value: String,
}

/// A request, and what is known about its delivery.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The headers, including pseudo-headers.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: Body<'a>,
    /// The query parameters.
    pub query: &'a Query,
    /// Counts the work of reading and writing values.
    pub work: &'a Work,
    /// The name of the target.
    pub target: &'a str,
    /// The ID of the delivery.
    pub delivery_id: Uuid,
    /// The correlation ID.
    pub correlation_id: &'a str,
    /// The number of the attempt, from 1; 0 if there was no attempt.
    pub attempt: u32,
    /// The time since 1970.
    pub now: Duration,
    /// The latest of the answers that the request had so far. `None` if the target does not wait for any.
    pub answer: Option<&'a Answer>,
    /// The bodies of those answers of which an expression reads the body.
    pub answer_bodies: &'a [AnswerBody<'a>],
    /// The properties that templates name.
    pub properties: &'a [Property],
    /// The envelope of a dead letter, as JSON. `None` outside of dead letters.
    pub dead_letter: Option<&'a [u8]>,
    /// True if environment variables show their values. False if the result is for others than the target, such as a dead letter.
    pub shows_variables: bool,
}

/// The values of all expressions for one request.
#[derive(Debug)]
pub struct Values<'a> {
    facts: Facts<'a>,
}

/// The value of an expression.
pub(super) enum Found<'v> {
    Absent,
    Text(Cow<'v, str>),
    Number(u64),
    Json(Node<'v>),
    /// Serialized JSON.
    Written(&'v [u8]),
}

impl<'a> Values<'a> {
    /// Creates the values from these facts.
    pub fn new(facts: Facts<'a>) -> Self {
        Self { facts }
    }

    /// The value of an expression. Writing it is work. Once the work limit is exceeded, all values are absent.
    pub(super) fn get(&self, expression: &Expression) -> Found<'_> {
        if self.facts.work.is_over() {
            return Found::Absent;
        }
        let found = self.find(expression);
        match self.facts.work.spend(found.cost()) {
            Ok(()) => found,
            Err(_) => Found::Absent,
        }
    }

    /// Counts work with a value. Returns false if it exceeds the limit; the caller must not do it then.
    pub(crate) fn affords(&self, work: usize) -> bool {
        self.facts.work.spend(work).is_ok()
    }

    fn find(&self, expression: &Expression) -> Found<'_> {
        let facts = &self.facts;
        match expression {
            Expression::Method => self.header(b":method"),
            Expression::Path => Found::Text(text_of(self.path())),
            Expression::WholeQuery => self.query().map_or(Found::Absent, |query| Found::Text(text_of(query))),
            Expression::Query(name) => self.parameter(name),
            Expression::Authority => self.header(b":authority"),
            Expression::Header(name) => self.header(name.0.as_bytes()),
            Expression::Body => facts.body.root().map_or(Found::Absent, Found::Json),
            Expression::BodyPointer(pointer) => facts.body.at(pointer).map_or(Found::Absent, Found::Json),
            Expression::BodyText => self.text(facts.body.bytes()),
            Expression::BodyBase64 => self.base64(facts.body.bytes()),
            Expression::Target => Found::Text(facts.target.into()),
            Expression::DeliveryId => Found::Text(facts.delivery_id.to_string().into()),
            Expression::CorrelationId => Found::Text(facts.correlation_id.into()),
            Expression::Attempt => Found::Number(facts.attempt.into()),
            Expression::Now => Found::Text(rfc3339(facts.now).into()),
            Expression::NowS => Found::Number(facts.now.as_secs()),
            Expression::NowMs => Found::Number(u64::try_from(facts.now.as_millis()).unwrap_or(u64::MAX)),
            Expression::DeadLetter => facts.dead_letter.map_or(Found::Absent, Found::Written),
            Expression::DeadLetterBase64 => facts.dead_letter.map_or(Found::Absent, |letter| self.base64(letter)),
            Expression::Property(path) => {
                let property = facts.properties.iter().find(|property| property.path == *path);
                property.map_or(Found::Absent, |property| Found::Text(property.value.as_str().into()))
            }
            Expression::Answer(of, part) => self.of_answer(of, part),
            Expression::Env(_) => Found::Absent,
        }
    }

    fn of_answer(&self, of: &Answerer, part: &AnswerPart) -> Found<'_> {
        let answer = || self.facts.answer.and_then(|answer| answer.of(of));
        let body = || self.facts.answer_bodies.iter().find(|answer| answer.of == of).map(|answer| answer.body);
        match part {
            AnswerPart::Status => {
                answer().and_then(|answer| answer.status).map_or(Found::Absent, |status| Found::Number(status.into()))
            }
            AnswerPart::Header(name) => answer().map_or(Found::Absent, |answer| first(&answer.headers, name.0.as_bytes())),
            AnswerPart::Body => body().and_then(|body| body.root()).map_or(Found::Absent, Found::Json),
            AnswerPart::BodyPointer(pointer) => body().and_then(|body| body.at(pointer)).map_or(Found::Absent, Found::Json),
            AnswerPart::BodyText => body().map_or(Found::Absent, |body| self.text(body.bytes())),
        }
    }

    pub(super) fn shows_variables(&self) -> bool {
        self.facts.shows_variables
    }

    /// The first header of this name. All headers may be looked at for it.
    fn header(&self, name: &[u8]) -> Found<'_> {
        if self.affords(self.facts.headers.count().saturating_mul(HEADER)) {
            first(self.facts.headers, name)
        } else {
            Found::Absent
        }
    }

    /// The unchanged path, and the query if there is a question mark.
    fn path_and_query(&self) -> (&'a [u8], Option<&'a [u8]>) {
        let target = self.facts.headers.iter().find_map(|(name, value)| (name == b":path").then_some(value));
        split_query(target.unwrap_or_default())
    }

    /// The unchanged path without its query.
    pub fn path(&self) -> &'a [u8] {
        self.path_and_query().0
    }

    /// The unchanged query without its question mark.
    pub(super) fn query(&self) -> Option<&'a [u8]> {
        self.path_and_query().1
    }

    /// The first query parameter of this name. It is decoded like HTML forms: `+` is a space.
    fn parameter(&self, name: &str) -> Found<'_> {
        let value = self.facts.query.get(self.query().unwrap_or_default(), name, self.facts.work);
        value.map_or(Found::Absent, |value| Found::Text(value.into()))
    }

    /// Bytes as text. Invalid UTF-8 is replaced.
    fn text(&self, bytes: &'a [u8]) -> Found<'_> {
        match self.facts.work.spend(bytes.len()) {
            Ok(()) => Found::Text(String::from_utf8_lossy(bytes)),
            Err(_) => Found::Absent,
        }
    }

    fn base64(&self, bytes: &[u8]) -> Found<'static> {
        match self.facts.work.spend(bytes.len()) {
            Ok(()) => Found::Text(Base64::encode_string(bytes).into()),
            Err(_) => Found::Absent,
        }
    }
}

impl<'v> Found<'v> {
    /// The number of bytes to write.
    fn cost(&self) -> usize {
        match self {
            Self::Absent | Self::Number(_) => 0,
            Self::Text(text) => text.len(),
            Self::Json(node) => node.written().len(),
            Self::Written(json) => json.len(),
        }
    }

    pub(super) fn into_text(self) -> Cow<'v, str> {
        match self {
            Self::Absent => "".into(),
            Self::Text(text) => text,
            Self::Number(number) => number.to_string().into(),
            Self::Json(node) => match node.kind() {
                Kind::Array(_) | Kind::Object(_) => compact(node).into(),
                _ => node.text(),
            },
            Self::Written(json) => String::from_utf8_lossy(json),
        }
    }

    pub(super) fn write_json(self, json: &mut Vec<u8>) {
        match self {
            Self::Absent => json.extend_from_slice(b"null"),
            Self::Text(text) => write_json(json, &text),
            Self::Number(number) => write_json(json, &number),
            Self::Json(node) => node.write_compact(json),
            Self::Written(written) => json.extend_from_slice(written),
        }
    }
}

/// Appends a value as JSON.
pub(super) fn write_json<T: Serialize + ?Sized>(json: &mut Vec<u8>, value: &T) {
    // Text, numbers and JSON always serialize, and writing to memory never fails.
    serde_json::to_writer(json, value).unwrap_or_default();
}

/// JSON on one line, otherwise as written.
fn compact(node: Node<'_>) -> String {
    let mut text = Vec::new();
    node.write_compact(&mut text);
    // The result is a part of UTF-8 text.
    String::from_utf8(text).unwrap_or_default()
}

/// The first header of this name.
fn first<'a>(headers: &'a HeaderMap, name: &[u8]) -> Found<'a> {
    let value = headers.iter().find_map(|(other, value)| (other == name).then_some(value));
    value.map_or(Found::Absent, |value| Found::Text(text_of(value)))
}

/// A time since 1970 as RFC 3339, in UTC with milliseconds. Empty after the year 9999.
pub fn rfc3339(time: Duration) -> String {
    let mut text = String::new();
    if let Some(time) = SystemTime::UNIX_EPOCH.checked_add(time) {
        // An error means a year of five digits.
        write!(text, "{}", humantime::format_rfc3339_millis(time)).unwrap_or_default();
    }
    text
}
