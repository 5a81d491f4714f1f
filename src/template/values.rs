//! What expressions refer to.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt::Write;
use std::time::{Duration, SystemTime};

use data_encoding::BASE64;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::Expression;
use crate::config::names::Pointer;
use crate::headers::HeaderMap;

/// A request, and what is known about its delivery.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Its headers, pseudo headers included.
    pub headers: &'a HeaderMap,
    /// Its body.
    pub body: &'a [u8],
    /// The target's name.
    pub target: &'a str,
    /// The delivery's id.
    pub delivery_id: Uuid,
    /// The correlation id.
    pub correlation_id: &'a str,
    /// The number of the attempt, from 1; 0 when none was made.
    pub attempt: u32,
    /// The time, since 1970.
    pub now: Duration,
    /// The envelope of a dead letter, which is JSON; none elsewhere.
    pub dead_letter: Option<&'a [u8]>,
}

/// The values of all expressions for one request.
#[derive(Debug)]
pub struct Values<'a> {
    facts: Facts<'a>,
    /// The body as JSON, parsed when somebody asks for it; null if it is none.
    body: OnceCell<Value>,
}

/// The value of an expression.
pub(super) enum Found<'v> {
    Absent,
    Text(Cow<'v, str>),
    Number(u64),
    Json(&'v Value),
    /// JSON that is written already.
    Written(&'v [u8]),
}

impl<'a> Values<'a> {
    /// Values made of these facts.
    pub fn new(facts: Facts<'a>) -> Self {
        Self { facts, body: OnceCell::new() }
    }

    /// Envoy's properties and the primary's answer are not known here: they are absent.
    pub(super) fn get(&self, expression: &Expression) -> Found<'_> {
        let facts = &self.facts;
        match expression {
            Expression::Method => self.header(b":method"),
            Expression::Path => self.path_and_query().map_or(Found::Absent, |(path, _)| Found::Text(text_of(path))),
            Expression::Query(name) => self.query(name),
            Expression::Authority => self.header(b":authority"),
            Expression::Header(name) => self.header(name.0.as_bytes()),
            Expression::Body => Found::Json(self.json()),
            Expression::BodyPointer(pointer) => at(self.json(), pointer).map_or(Found::Absent, Found::Json),
            Expression::BodyText => Found::Text(String::from_utf8_lossy(facts.body)),
            Expression::BodyBase64 => base64(facts.body),
            Expression::Target => Found::Text(facts.target.into()),
            Expression::DeliveryId => Found::Text(facts.delivery_id.to_string().into()),
            Expression::CorrelationId => Found::Text(facts.correlation_id.into()),
            Expression::Attempt => Found::Number(facts.attempt.into()),
            Expression::Now => Found::Text(rfc3339(facts.now).into()),
            Expression::NowMs => Found::Number(u64::try_from(facts.now.as_millis()).unwrap_or(u64::MAX)),
            Expression::DeadLetter => facts.dead_letter.map_or(Found::Absent, Found::Written),
            Expression::DeadLetterBase64 => facts.dead_letter.map_or(Found::Absent, base64),
            Expression::Env(_) | Expression::Property(_) | Expression::ResponseStatus | Expression::ResponseHeader(_) => {
                Found::Absent
            }
        }
    }

    fn header(&self, name: &[u8]) -> Found<'_> {
        let value = self.facts.headers.iter().find_map(|(other, value)| (other == name).then_some(value));
        value.map_or(Found::Absent, |value| Found::Text(text_of(value)))
    }

    fn path_and_query(&self) -> Option<(&[u8], &[u8])> {
        let target = self.facts.headers.iter().find_map(|(name, value)| (name == b":path").then_some(value))?;
        let target = target.split(|byte| *byte == b'#').next().unwrap_or_default();
        let mut parts = target.splitn(2, |byte| *byte == b'?');
        Some((parts.next().unwrap_or_default(), parts.next().unwrap_or_default()))
    }

    /// The first parameter of that name, read as HTML forms write it: `+` is a space.
    fn query(&self, name: &str) -> Found<'_> {
        let query = self.path_and_query().map_or(&[][..], |(_, query)| query);
        let value = form_urlencoded::parse(query).find_map(|(other, value)| (other == name).then_some(value));
        value.map_or(Found::Absent, Found::Text)
    }

    fn json(&self) -> &Value {
        // Nesting deeper than 128 is an error of the parser, and so is no JSON here.
        self.body.get_or_init(|| serde_json::from_slice(self.facts.body).unwrap_or_default())
    }
}

impl<'v> Found<'v> {
    pub(super) fn into_text(self) -> Cow<'v, str> {
        match self {
            Self::Absent | Self::Json(Value::Null) => "".into(),
            Self::Text(text) => text,
            Self::Number(number) => number.to_string().into(),
            Self::Json(Value::String(text)) => text.into(),
            // JSON always serializes.
            Self::Json(value) => serde_json::to_string(value).unwrap_or_default().into(),
            Self::Written(json) => String::from_utf8_lossy(json),
        }
    }

    pub(super) fn write_json(self, json: &mut Vec<u8>) {
        match self {
            Self::Absent => json.extend_from_slice(b"null"),
            Self::Text(text) => write_json(json, &text),
            Self::Number(number) => write_json(json, &number),
            Self::Json(value) => write_json(json, value),
            Self::Written(written) => json.extend_from_slice(written),
        }
    }
}

/// Writes JSON at the end of some.
pub(super) fn write_json<T: Serialize + ?Sized>(json: &mut Vec<u8>, value: &T) {
    // Text, numbers and JSON always serialize, and memory takes all of it.
    serde_json::to_writer(json, value).unwrap_or_default();
}

/// The value at a pointer without `*` (RFC 6901).
fn at<'v>(json: &'v Value, pointer: &Pointer) -> Option<&'v Value> {
    pointer.0.iter().try_fold(json, |value, segment| match value {
        Value::Object(fields) => fields.get(segment),
        Value::Array(entries) => {
            let padded = segment.starts_with('+') || (segment.starts_with('0') && segment != "0");
            entries.get(segment.parse::<usize>().ok().filter(|_| !padded)?)
        }
        _ => None,
    })
}

fn base64(bytes: &[u8]) -> Found<'static> {
    Found::Text(BASE64.encode(bytes).into())
}

/// The text of a header's name or value: UTF-8, or else ISO-8859-1, in which every byte is a character (RFC 9110, 5.5).
pub fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// A time since 1970 as RFC 3339, in UTC and with milliseconds; empty after the year 9999.
pub fn rfc3339(time: Duration) -> String {
    let mut text = String::new();
    if let Some(time) = SystemTime::UNIX_EPOCH.checked_add(time) {
        // An error means a year of five digits.
        write!(text, "{}", humantime::format_rfc3339_millis(time)).unwrap_or_default();
    }
    text
}
