//! The body that a target receives.

use super::Unfit;
use crate::http::header_names::describes_body;
use crate::json::Body;
use crate::rewrite::reading::Reading;
use crate::rewrite::redact::Redaction;
use crate::template::{Env, JsonTemplate, Template, Values};

/// The changes that a target makes to the body.
#[derive(Debug, Default)]
pub struct BodyRewrite {
    /// The values to redact in the primary's body, before anything else reads it.
    pub redact: Option<Redaction>,
    /// The content of the body.
    pub content: Content,
}

/// The content of the body that is sent.
#[derive(Debug, Default)]
pub enum Content {
    /// The primary's body.
    #[default]
    Primary,
    /// JSON with values filled in.
    Template(JsonTemplate),
    /// No body.
    Omitted,
}

/// The kind of body, which decides about the headers that describe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyKind {
    /// The primary's bytes. The headers that describe them stay.
    Primary,
    /// The primary's body with changes. Its type stays; its encoding and digests do not.
    Redacted,
    /// Another body, which is JSON.
    Json,
    /// No body.
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

    /// The primary's body as expressions see it: decoded if `is_read`, and redacted. A body that cannot be read cannot be redacted, and is
    /// therefore not sent.
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
    /// The content that replaces the primary's body. `None` if the primary's body is sent.
    pub(super) fn written(&self, values: &Values<'_>) -> Option<Vec<u8>> {
        match self {
            Self::Primary => None,
            Self::Template(template) => Some(template.json(values)),
            Self::Omitted => Some(Vec::new()),
        }
    }
}

impl BodyKind {
    /// Whether a header that describes the primary's body stays. `None` for headers that do not describe a body.
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
