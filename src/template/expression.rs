//! The expressions that may appear in `${...}`, and their syntax.

use super::answer::{AnswerPart, Answerer};
use crate::http::invalid::Invalid;
use crate::http::names::{HeaderName, ReadHeader};
use crate::json::{Pointer, SinglePointer};
use std::str::FromStr;

/// An expression in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// The request's method.
    Method,
    /// The request's path without its query, unchanged.
    Path,
    /// The request's query without its question mark, unchanged.
    WholeQuery,
    /// The first query parameter of this name.
    Query(String),
    /// The request's authority.
    Authority,
    /// The first header of this name.
    Header(ReadHeader),
    /// The body, parsed as JSON.
    Body,
    /// The value at a pointer into the body, parsed as JSON.
    BodyPointer(Pointer),
    /// The body as text.
    BodyText,
    /// The body as base64.
    BodyBase64,
    /// The name of the target.
    Target,
    /// The ID of the delivery.
    DeliveryId,
    /// The correlation ID.
    CorrelationId,
    /// The number of the attempt, from 1.
    Attempt,
    /// The time, as RFC 3339.
    Now,
    /// The time, in milliseconds since 1970.
    NowMs,
    /// The time, in seconds since 1970.
    NowS,
    /// An environment variable of the VM.
    Env(String),
    /// A property of Envoy. Its path is split at the dots.
    Property(Vec<String>),
    /// A part of the response of the primary, or of another target.
    Answer(Answerer, AnswerPart),
    /// The envelope of the dead letter, as JSON.
    DeadLetter,
    /// The envelope of the dead letter, as base64 of its JSON.
    DeadLetterBase64,
}

/// The forms of all expressions, for messages and hints.
pub const KNOWN: &[&str] = &[
    "method",
    "path",
    "query",
    "query:NAME",
    "authority",
    "header:NAME",
    "body",
    "body:/POINTER",
    "body_text",
    "body_base64",
    "target",
    "delivery_id",
    "correlation_id",
    "attempt",
    "now",
    "now_s",
    "now_ms",
    "env:NAME",
    "property:PATH",
    "response:status",
    "response:header:NAME",
    "response:body",
    "response:body:/POINTER",
    "response:body_text",
    "target:NAME:status",
    "target:NAME:header:NAME",
    "target:NAME:body",
    "target:NAME:body:/POINTER",
    "target:NAME:body_text",
    "dead_letter",
    "dead_letter_base64",
];

impl FromStr for Expression {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (kind, argument) = match text.split_once(':') {
            Some((kind, argument)) => (kind, Some(argument)),
            None => (text, None),
        };
        Ok(match (kind, argument) {
            ("method", None) => Self::Method,
            ("path", None) => Self::Path,
            ("query", None) => Self::WholeQuery,
            ("query", Some(name)) if !name.is_empty() => Self::Query(name.to_owned()),
            ("authority", None) => Self::Authority,
            ("header", Some(name)) => Self::Header(ReadHeader::from_str(name)?),
            ("body", None) => Self::Body,
            ("body", Some(pointer)) => Self::BodyPointer(SinglePointer::from_str(pointer)?.0),
            ("body_text", None) => Self::BodyText,
            ("body_base64", None) => Self::BodyBase64,
            ("target", None) => Self::Target,
            ("delivery_id", None) => Self::DeliveryId,
            ("correlation_id", None) => Self::CorrelationId,
            ("attempt", None) => Self::Attempt,
            ("now", None) => Self::Now,
            ("now_ms", None) => Self::NowMs,
            ("now_s", None) => Self::NowS,
            ("env", Some(name)) if !name.is_empty() && !name.contains(['=', '\0']) => Self::Env(name.to_owned()),
            ("property", Some(path)) if !path.is_empty() => Self::Property(path.split('.').map(str::to_owned).collect()),
            ("response", Some(part)) => Self::Answer(Answerer::Primary, answer_part(text, part)?),
            ("target", Some(argument)) => match argument.split_once(':') {
                Some((name, part)) if !name.is_empty() => Self::Answer(Answerer::Target(name.into()), answer_part(text, part)?),
                _ => return Err(unknown(text)),
            },
            ("dead_letter", None) => Self::DeadLetter,
            ("dead_letter_base64", None) => Self::DeadLetterBase64,
            _ => return Err(unknown(text)),
        })
    }
}

/// The part of an answer. `text` is the whole expression.
fn answer_part(text: &str, part: &str) -> Result<AnswerPart, Invalid> {
    let (kind, argument) = match part.split_once(':') {
        Some((kind, argument)) => (kind, Some(argument)),
        None => (part, None),
    };
    Ok(match (kind, argument) {
        ("status", None) => AnswerPart::Status,
        ("header", Some(name)) => AnswerPart::Header(HeaderName::from_str(name)?),
        ("body", None) => AnswerPart::Body,
        ("body", Some(pointer)) => AnswerPart::BodyPointer(SinglePointer::from_str(pointer)?.0),
        ("body_text", None) => AnswerPart::BodyText,
        _ => return Err(unknown(text)),
    })
}

fn unknown(text: &str) -> Invalid {
    Invalid::UnknownExpression { found: text.to_owned(), known: KNOWN }
}
