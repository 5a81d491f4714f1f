//! The request line and the headers that a target receives.

use super::body::BodyKind;
use super::path::PathRewrite;
use crate::http::header_names::{is_reserved, is_sensitive};
use crate::http::headers::Pairs;
use crate::http::trace_context::TRACEPARENT;
use crate::rewrite::capture::{is_empty_key, CapturedHead};
use crate::template::{Env, Place, Template, UnsafePath, Values};

/// What a target asks for its request line and headers.
#[derive(Debug, Default)]
pub struct HeadRewrite {
    /// In place of the primary's method.
    pub method: Option<String>,
    /// In place of the primary's path and query.
    pub path: PathRewrite,
    /// In place of the primary's authority.
    pub authority: Option<Template>,
    /// Which of the primary's headers are sent.
    pub forward: Forward,
    /// The sensitive ones are among them without being named.
    pub forward_sensitive: bool,
    /// Headers that are not sent, in lower case.
    pub remove: Vec<String>,
    /// Headers that are sent in place of any of that name, in lower case.
    pub set: Vec<(String, Template)>,
}

/// Which headers of the primary's request a target receives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Forward {
    /// All but the sensitive ones.
    #[default]
    All,
    /// These, in lower case.
    Only(Vec<String>),
}

/// The request line and headers that a target asks for.
pub(super) struct Chosen {
    pub(super) pairs: Pairs,
    pub(super) has_idempotency_key: bool,
}

impl HeadRewrite {
    pub(super) fn is_plain(&self) -> bool {
        let line = self.method.is_none() && self.path.is_plain() && self.authority.is_none();
        line && self.forward == Forward::All && !self.forward_sensitive && self.remove.is_empty() && self.set.is_empty()
    }

    pub(super) fn templates(&self) -> impl Iterator<Item = &Template> {
        self.path.template().into_iter().chain(&self.authority).chain(self.set.iter().map(|(_, value)| value))
    }

    pub(super) fn resolve_env(&mut self, env: Env<'_>) {
        let texts =
            self.path.template_mut().into_iter().chain(&mut self.authority).chain(self.set.iter_mut().map(|(_, value)| value));
        texts.for_each(|text| text.resolve_env(env));
    }

    /// True for a header in which the value of an environment variable is sent.
    pub(super) fn sets_variable(&self, name: &[u8]) -> bool {
        self.set.iter().any(|(other, value)| other.as_bytes() == name && value.holds_variable())
    }

    /// True for a header that the target neither sets nor removes.
    pub(super) fn leaves(&self, name: &[u8]) -> bool {
        let named = |other: &String| other.as_bytes() == name;
        !self.remove.iter().any(named) && !self.set.iter().any(|(other, _)| named(other))
    }

    /// The request line and headers of a request with such a body. What ties the copy to its primary is sent whatever `forward` says: the
    /// correlation id, the trace, and what describes the body.
    pub(super) fn choose(&self, head: &CapturedHead, values: &Values<'_>, body: BodyKind) -> Result<Chosen, UnsafePath> {
        let traced = self.leaves(TRACEPARENT);
        let wanted = |name: &[u8]| match body.keeps(name) {
            Some(keeps) => keeps,
            // A `tracestate` means nothing by itself.
            None if head.is_of_trace(name) => traced,
            None => self.forwards(name) || name == head.correlation_header().as_bytes(),
        };
        let mut chosen = self.line(head, values, None)?;
        self.pick(&mut chosen, head, wanted);
        if let Some(id) = head.made_correlation_id().filter(|_| self.leaves(head.correlation_header().as_bytes())) {
            chosen.push(head.correlation_header().as_bytes(), id.as_bytes());
        }
        if body == BodyKind::Json {
            self.push_content_type(&mut chosen, "application/json");
        }
        self.push_set(&mut chosen, values);
        Ok(chosen)
    }

    /// The same for the call of a batch, which speaks for many requests: of their headers it carries only those that the target names.
    pub(super) fn choose_for_batch(
        &self,
        head: &CapturedHead,
        values: &Values<'_>,
        content_type: &str,
    ) -> Result<Pairs, UnsafePath> {
        let mut chosen = self.line(head, values, Some("POST"))?;
        if let Forward::Only(_) = self.forward {
            self.pick(&mut chosen, head, |name| self.forwards(name) && BodyKind::Json.keeps(name).is_none());
        }
        self.push_content_type(&mut chosen, content_type);
        self.push_set(&mut chosen, values);
        Ok(chosen.pairs)
    }

    /// The request line; `method` stands in the place of the primary's if the target asks for none.
    fn line(&self, head: &CapturedHead, values: &Values<'_>, method: Option<&str>) -> Result<Chosen, UnsafePath> {
        let mut chosen = Chosen { pairs: Pairs::with_capacity(16, 512), has_idempotency_key: false };
        for (name, value) in head.all().iter().filter(|(name, _)| name.starts_with(b":")) {
            match name {
                b":method" => chosen.push(name, self.method.as_deref().or(method).map_or(value, str::as_bytes)),
                b":path" => chosen.push(name, &self.path.of(value, values)?),
                b":authority" => {
                    let asked = self.authority.as_ref().map(|authority| authority.text(values, Place::Authority));
                    // One that came to nothing is no host: the primary's stays.
                    let asked = asked.filter(|authority| has_host(authority));
                    chosen.push(name, asked.as_ref().map_or(value, |text| text.as_bytes()));
                }
                _ => chosen.push(name, value),
            }
        }
        Ok(chosen)
    }

    /// Adds the headers of the primary's request that are wanted, and may be sent at all.
    fn pick(&self, chosen: &mut Chosen, head: &CapturedHead, wanted: impl Fn(&[u8]) -> bool) {
        for (name, value) in head.all().iter().filter(|(name, _)| !name.starts_with(b":") && wanted(name)) {
            if self.leaves(name) && !is_reserved(name) && !head.replaces(name) {
                chosen.push(name, value);
            }
        }
    }

    fn forwards(&self, name: &[u8]) -> bool {
        match &self.forward {
            Forward::All => self.forward_sensitive || !is_sensitive(name),
            Forward::Only(names) => names.iter().any(|named| named.as_bytes() == name),
        }
    }

    fn push_content_type(&self, chosen: &mut Chosen, value: &str) {
        if self.leaves(b"content-type") {
            chosen.push(b"content-type", value.as_bytes());
        }
    }

    fn push_set(&self, chosen: &mut Chosen, values: &Values<'_>) {
        for (name, value) in &self.set {
            chosen.push(name.as_bytes(), value.text(values, Place::Header).trim_ascii().as_bytes());
        }
    }
}

impl Chosen {
    fn push(&mut self, name: &[u8], value: &[u8]) {
        if is_empty_key(name, value) {
            return;
        }
        self.has_idempotency_key |= name == b"idempotency-key";
        self.pairs.push(name, value);
    }
}

/// True for an authority that is more than a port.
pub fn has_host(authority: &str) -> bool {
    !authority.is_empty() && !authority.starts_with(':')
}
