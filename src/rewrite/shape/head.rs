//! The request line and the headers that a target receives.

use super::body::BodyKind;
use super::path::PathRewrite;
use crate::http::header_names::{is_reserved, is_sensitive};
use crate::http::headers::Pairs;
use crate::http::trace_context::TRACEPARENT;
use crate::rewrite::capture::{is_empty_key, CapturedHead};
use crate::rewrite::signing::Signing;
use crate::template::{Env, Place, Template, UnsafePath, Values};

/// The changes that a target makes to the request line and headers.
#[derive(Debug, Default)]
pub struct HeadRewrite {
    /// The method. `None` keeps the primary's.
    pub method: Option<String>,
    /// The change of the path and query.
    pub path: PathRewrite,
    /// The authority. `None` keeps the primary's.
    pub authority: Option<Template>,
    /// The primary's headers to forward.
    pub forward: Forward,
    /// True if sensitive headers are forwarded without being named.
    pub forward_sensitive: bool,
    /// Headers to remove, in lower case.
    pub remove: Vec<String>,
    /// Headers to set. Each replaces any header of its name. Names are in lower case.
    pub set: Vec<(String, Template)>,
    /// True if the client's idempotency key is not the copy's: the copy waits for that of another target, and the same service may get both.
    pub has_own_key: bool,
    /// How calls are signed. `None` does not sign them.
    pub sign: Option<Signing>,
}

/// The headers of the primary's request that a target receives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Forward {
    /// All headers but the sensitive ones.
    #[default]
    All,
    /// These headers, in lower case.
    Only(Vec<String>),
}

/// The request line and headers after the target's changes.
pub(super) struct Chosen {
    pub(super) pairs: Pairs,
    pub(super) has_idempotency_key: bool,
}

impl HeadRewrite {
    pub(super) fn is_plain(&self) -> bool {
        let line = self.method.is_none() && self.path.is_plain() && self.authority.is_none();
        let headers = self.forward == Forward::All && !self.forward_sensitive && self.remove.is_empty() && self.set.is_empty();
        line && headers && self.sign.is_none() && !self.has_own_key
    }

    pub(super) fn templates(&self) -> impl Iterator<Item = &Template> {
        self.path.template().into_iter().chain(&self.authority).chain(self.set.iter().map(|(_, value)| value))
    }

    pub(super) fn resolve_env(&mut self, env: Env<'_>) {
        let texts =
            self.path.template_mut().into_iter().chain(&mut self.authority).chain(self.set.iter_mut().map(|(_, value)| value));
        texts.for_each(|text| text.resolve_env(env));
    }

    /// True for a header that is set to a value of an environment variable.
    pub(super) fn sets_variable(&self, name: &[u8]) -> bool {
        self.set.iter().any(|(other, value)| other.as_bytes() == name && value.holds_variable())
    }

    /// Where values of environment variables stand: names of headers, and pseudo-headers.
    pub(super) fn variable_places(&self) -> impl Iterator<Item = &str> {
        let path = self.path.template().map(|path| (":path", path));
        let line = path.into_iter().chain(self.authority.as_ref().map(|authority| (":authority", authority)));
        let places = line.chain(self.set.iter().map(|(name, value)| (name.as_str(), value)));
        places.filter(|(_, value)| value.holds_variable()).map(|(name, _)| name)
    }

    /// How many names each header of the request is held against.
    pub(super) fn named(&self) -> usize {
        let forwarded = match &self.forward {
            Forward::All => 0,
            Forward::Only(names) => names.len(),
        };
        forwarded.saturating_add(self.remove.len()).saturating_add(self.set.len())
    }

    /// True for a header that the target neither sets nor removes.
    pub(super) fn leaves(&self, name: &[u8]) -> bool {
        let named = |other: &String| other.as_bytes() == name;
        !self.remove.iter().any(named) && !self.set.iter().any(|(other, _)| named(other))
    }

    /// Chooses the request line and headers for a request with this kind of body. Three things are sent whatever `forward` says: the correlation
    /// ID, the trace, and the headers that describe the body.
    pub(super) fn choose(&self, head: &CapturedHead, values: &Values<'_>, body: BodyKind) -> Result<Chosen, UnsafePath> {
        let traced = self.leaves(TRACEPARENT);
        let wanted = |name: &[u8]| match body.keeps(name) {
            Some(keeps) => keeps,
            // A `tracestate` has no meaning without a `traceparent`.
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

    /// Chooses the request line and headers for a batch. A batch carries many requests, so of their headers it has only those that the target
    /// names.
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

    /// The request line. `method` replaces the primary's if the target sets none.
    fn line(&self, head: &CapturedHead, values: &Values<'_>, method: Option<&str>) -> Result<Chosen, UnsafePath> {
        let mut chosen = Chosen { pairs: Pairs::with_capacity(16, 512), has_idempotency_key: false };
        for (name, value) in head.all().iter().filter(|(name, _)| name.starts_with(b":")) {
            match name {
                b":method" => chosen.push(name, self.method.as_deref().or(method).map_or(value, str::as_bytes)),
                b":path" => chosen.push(name, &self.path.of(value, values)?),
                b":authority" => {
                    let asked = self.authority.as_ref().map(|authority| authority.text(values, Place::Authority));
                    // An empty authority is no host: the primary's stays.
                    let asked = asked.filter(|authority| has_host(authority));
                    chosen.push(name, asked.as_ref().map_or(value, |text| text.as_bytes()));
                }
                _ => chosen.push(name, value),
            }
        }
        Ok(chosen)
    }

    /// Adds the wanted headers of the primary's request that may be sent.
    fn pick(&self, chosen: &mut Chosen, head: &CapturedHead, wanted: impl Fn(&[u8]) -> bool) {
        for (name, value) in head.all().iter().filter(|(name, _)| !name.starts_with(b":") && wanted(name)) {
            let is_others = self.signs(name) || (self.has_own_key && name == b"idempotency-key");
            if self.leaves(name) && !is_reserved(name) && !head.replaces(name) && !is_others {
                chosen.push(name, value);
            }
        }
    }

    /// True for a header that a signature makes. The client's would be read as ours.
    fn signs(&self, name: &[u8]) -> bool {
        self.sign.as_ref().is_some_and(|signing| signing.scheme().makes(name))
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
