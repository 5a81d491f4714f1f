//! The body that a target receives.

use super::Unfit;
use crate::http::header_names::describes_body;
use crate::json::Body;
use crate::rewrite::reading::Reading;
use crate::rewrite::redact::Redaction;
use crate::template::{Env, JsonTemplate, Template, Values};

/// What a target asks for its body.
#[derive(Debug, Default)]
pub struct BodyRewrite {
    /// What is taken out of the primary's body, before anything else sees it.
    pub redact: Option<Redaction>,
    /// What is sent.
    pub content: Content,
}

/// What is sent as a body.
#[derive(Debug, Default)]
pub enum Content {
    /// The primary's.
    #[default]
    Primary,
    /// JSON with values put in.
    Template(JsonTemplate),
    /// Nothing.
    Omitted,
}

/// What a body is to the headers that describe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyKind {
    /// The primary's bytes: what describes them stays.
    Primary,
    /// The primary's, with changes: its type stays, its encoding and digests do not.
    Redacted,
    /// Another one, which is JSON.
    Json,
    /// There is none.
    Omitted,
}

impl BodyRewrite {
    pub(super) fn is_plain(&self) -> bool {
        self.redact.is_none() && matches!(self.content, Content::Primary)
    }

    pub(super) fn kind(&self) -> BodyKind {
        match (&self.content, &self.redact) {
            (Content::Primary, None) => BodyKind::Primary,
            (Content::Primary, Some(_)) => BodyKind::Redacted,
            (Content::Template(_), _) => BodyKind::Json,
            (Content::Omitted, _) => BodyKind::Omitted,
        }
    }

    pub(super) fn templates(&self) -> impl Iterator<Item = &Template> {
        let template = match &self.content {
            Content::Template(template) => Some(template),
            Content::Primary | Content::Omitted => None,
        };
        template.into_iter().flat_map(JsonTemplate::templates)
    }

    pub(super) fn resolve_env(&mut self, env: Env<'_>) {
        if let Content::Template(template) = &mut self.content {
            template.resolve_env(env);
        }
    }

    /// The primary's body as expressions see it: decoded, if it `is_read`, and redacted. What cannot be read cannot be redacted, and so does
    /// not leave.
    pub(super) fn read<'r>(&self, reading: &'r Reading<'_>, is_read: bool) -> Result<Body<'r>, Unfit> {
        if reading.body().is_empty() || !(is_read || self.redact.is_some()) {
            return Ok(Body::Raw(reading.body()));
        }
        let document = match &self.redact {
            Some(redaction) => reading.redacted(redaction)?,
            None => reading.decoded()?,
        };
        Ok(Body::Read(reading.look_into(document)))
    }
}

impl Content {
    /// What is sent in the place of the primary's body; none when that is sent.
    pub(super) fn written(&self, values: &Values<'_>) -> Option<Vec<u8>> {
        match self {
            Self::Primary => None,
            Self::Template(template) => Some(template.json(values)),
            Self::Omitted => Some(Vec::new()),
        }
    }
}

impl BodyKind {
    /// True if a header may stay that describes the primary's body; none for headers that describe no body.
    pub(super) fn keeps(self, name: &[u8]) -> Option<bool> {
        describes_body(name).then_some(match self {
            Self::Primary => true,
            Self::Redacted => {
                matches!(name, b"content-type" | b"content-language" | b"content-location" | b"content-disposition")
            }
            Self::Json | Self::Omitted => false,
        })
    }
}
