//! Dead letters: a request that was given up becomes one POST to a cluster that keeps it.
//!
//! The default body, the envelope, holds the request as the target would have received it, and why it was given up. Header names and values that
//! are not UTF-8 are read as ISO-8859-1. A body that is not UTF-8 is base64.

use std::borrow::Cow;
use std::time::Duration;

use base64ct::{Base64, Encoding as _};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::delivery::cause::Cause;
use crate::delivery::drop_reason::DropReason;
use crate::http::headers::{HeaderMap, Pairs};
use crate::http::loop_mark;
use crate::http::query::Query;
use crate::http::text::text_of;
use crate::http::trace_context::TRACEPARENT;
use crate::http::work_limit::Work;
use crate::json::{Body, Document, Read};
use crate::rewrite::answers::AnswerReads;
use crate::rewrite::reading::Terms;
use crate::rewrite::shape::{has_host, Unfit};
use crate::template::{fits_authority, rfc3339, Answer, Env, Facts, JsonTemplate, Place, Property, Template, Values};

/// The dead-letter settings of a target.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The Envoy cluster that receives the letters.
    pub cluster: String,
    /// The timeout of the call.
    pub timeout: Duration,
    /// The path of the call.
    pub path: Template,
    /// The authority of the call.
    pub authority: Template,
    /// Additional headers of the call. One of them may replace `content-type`. Names are in lower case.
    pub headers: Vec<(String, Template)>,
    /// The drop reasons for which a letter is sent.
    pub on: Vec<DropReason>,
    /// A body in place of the envelope. `None` sends the envelope.
    pub body: Option<JsonTemplate>,
    /// The bodies of answers that the templates read.
    pub answers: AnswerReads,
}

/// A request that was given up.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    /// The ID of the delivery.
    pub id: Uuid,
    /// The name of the target.
    pub target: &'a str,
    /// The target's Envoy cluster.
    pub cluster: &'a str,
    /// Why the request was given up.
    pub reason: DropReason,
    /// The number of attempts made.
    pub attempts: u32,
    /// How the last attempt ended. `None` if there was no attempt.
    pub last_outcome: Option<Cause>,
    /// When the request was complete, as the time since 1970.
    pub received_at: Duration,
    /// When the request was given up, as the time since 1970.
    pub given_up_at: Duration,
    /// The correlation ID, which ties the letter to the primary's request.
    pub correlation_id: &'a str,
    /// The headers that the target would have received, including pseudo-headers.
    pub headers: &'a HeaderMap,
    /// The body that the target would have received.
    pub body: &'a [u8],
    /// What holds values of environment variables, which a letter does not show, or is left out for them: names of headers, `:path`, `:authority`
    /// and `:body`.
    pub redacted: &'a [&'a str],
    /// The latest of the answers that the request had. `None` if the target does not wait for any.
    pub answer: Option<&'a Answer>,
    /// The properties that templates name.
    pub properties: &'a [Property],
}

/// The call that delivers a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The headers, serialized for the host.
    pub headers: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
}

impl DeadLetter {
    /// The default authority: the name of the cluster. If the name has Istio's form `outbound|8080||host`, the authority is the host in it.
    pub fn default_authority(cluster: &str) -> Template {
        let host = cluster.rsplit('|').next().unwrap_or_default();
        Template::literal(host.chars().filter(|char| fits_authority(*char)).collect())
    }

    /// True if a request that was given up for this reason gets a letter.
    pub fn wants(&self, reason: DropReason) -> bool {
        self.on.contains(&reason)
    }

    /// All templates in these settings.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let line = [&self.path, &self.authority].into_iter().chain(self.headers.iter().map(|(_, value)| value));
        line.chain(self.body.iter().flat_map(JsonTemplate::templates))
    }

    /// Fills in the environment variables of all templates.
    pub fn resolve_env(&mut self, env: Env<'_>) {
        self.path.resolve_env(env);
        self.authority.resolve_env(env);
        self.headers.iter_mut().for_each(|(_, value)| value.resolve_env(env));
        self.body.iter_mut().for_each(|body| body.resolve_env(env));
    }

    /// Renders the call for a letter. It carries the loop mark of the request's own copy, so that no filter on its way mirrors it. The values of a
    /// body that cannot be read are absent: a letter is not lost for them.
    ///
    /// # Errors
    /// Returns an error if the letter takes more work than one request may cause, or if a value in its path could lead to another path.
    pub fn call(&self, letter: &Letter<'_>, terms: &Terms, work: &Work) -> Result<Call, Unfit> {
        work.spend(letter.body.len().saturating_mul(2).saturating_add(letter.headers.size()))?;
        let envelope = letter.envelope();
        work.spend(envelope.len())?;
        let reads_body = !letter.body.is_empty() && self.templates().any(Template::reads_body_as_json);
        let text = if reads_body { std::str::from_utf8(letter.body).ok() } else { None };
        let document = text.map(|text| Document::new(text.into()));
        let answers = self.answers.open_readable(letter.answer, terms.max_body, work);
        let answer_bodies = answers.bodies(&terms.pointers, work);
        let query = Query::default();
        let values = Values::new(Facts {
            headers: letter.headers,
            body: document
                .as_ref()
                .map_or(Body::Raw(letter.body), |document| Body::Read(Read::new(document, &terms.pointers, work))),
            query: &query,
            work,
            target: letter.target,
            delivery_id: letter.id,
            correlation_id: letter.correlation_id,
            attempt: letter.attempts,
            now: letter.given_up_at,
            answer: letter.answer,
            answer_bodies: &answer_bodies,
            properties: letter.properties,
            dead_letter: Some(&envelope),
            shows_variables: true,
        });
        let mut headers = Pairs::with_capacity(5, 256);
        headers.push(b":method", b"POST");
        headers.push(b":path", &self.path.path(&values)?);
        let mut authority = self.authority.text(&values, Place::Authority);
        if !has_host(&authority) {
            authority = Self::default_authority(&self.cluster).text(&values, Place::Authority);
        }
        headers.push(b":authority", authority.as_bytes());
        if !self.headers.iter().any(|(name, _)| name == CONTENT_TYPE) {
            headers.push(CONTENT_TYPE.as_bytes(), b"application/json");
        }
        for (name, value) in &self.headers {
            headers.push(name.as_bytes(), value.text(&values, Place::Header).trim_ascii().as_bytes());
        }
        for mark in letter.headers.get_all(loop_mark::HEADER.as_bytes()) {
            headers.push(loop_mark::HEADER.as_bytes(), mark);
        }
        let body = self.body.as_ref().map(|template| template.json(&values));
        // Templates leave out whatever exceeds the work limit. This detects it.
        work.spend(0)?;
        Ok(Call { headers: headers.parts().followed_by(Pairs::default().parts()), body: body.unwrap_or(envelope) })
    }
}

const CONTENT_TYPE: &str = "content-type";

impl Letter<'_> {
    /// The envelope, as JSON.
    pub fn envelope(&self) -> Vec<u8> {
        let header = |name: &'static [u8]| self.headers.get_all(name).next().map(text_of);
        let (body, body_base64) = match std::str::from_utf8(self.body) {
            Ok(text) => (Some(text), None),
            Err(_) => (None, Some(Base64::encode_string(self.body))),
        };
        let envelope = Envelope {
            version: 1,
            id: self.id.to_string(),
            target: self.target,
            cluster: self.cluster,
            reason: self.reason.name(),
            attempts: self.attempts,
            last_outcome: self.last_outcome.map(Cause::label),
            received_at: rfc3339(self.received_at),
            given_up_at: rfc3339(self.given_up_at),
            correlation_id: self.correlation_id,
            traceparent: header(TRACEPARENT),
            request: Request {
                method: header(b":method"),
                path: header(b":path"),
                authority: header(b":authority"),
                headers: Fields(self.headers, text_of),
                headers_base64: self.holds_bytes().then_some(Fields(self.headers, in_base64)),
                redacted: self.redacted,
                body,
                body_base64,
            },
        };
        // Text and numbers always serialize.
        serde_json::to_vec(&envelope).unwrap_or_default()
    }

    /// True if a value is not UTF-8. As ISO-8859-1 it looks as if it were.
    fn holds_bytes(&self) -> bool {
        self.headers.iter().any(|(_, value)| std::str::from_utf8(value).is_err())
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    version: u32,
    id: String,
    target: &'a str,
    cluster: &'a str,
    reason: &'a str,
    attempts: u32,
    last_outcome: Option<Cow<'a, str>>,
    received_at: String,
    given_up_at: String,
    correlation_id: &'a str,
    traceparent: Option<Cow<'a, str>>,
    request: Request<'a>,
}

#[derive(Serialize)]
struct Request<'a> {
    method: Option<Cow<'a, str>>,
    path: Option<Cow<'a, str>>,
    authority: Option<Cow<'a, str>>,
    headers: Fields<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers_base64: Option<Fields<'a>>,
    redacted: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// Headers as a list of names and values, in order and without pseudo-headers. Values are written by the function.
struct Fields<'a>(&'a HeaderMap, fn(&[u8]) -> Cow<'_, str>);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.0.iter().filter(|(name, _)| !name.starts_with(b":"));
        serializer.collect_seq(fields.map(|(name, value)| (text_of(name), self.1(value))))
    }
}

fn in_base64(bytes: &[u8]) -> Cow<'_, str> {
    Base64::encode_string(bytes).into()
}

#[cfg(test)]
mod tests;
