//! Converts the grammar of shaping to what the filter runs.

use std::time::Duration;

use super::raw_after::{self, OutcomeName};
use super::raw_shape::{self, BatchFormat, RequestShape, Sensitive};
use super::scalar::{NonEmpty, Text};
use super::templates::PathTemplate;
use super::{bytes, signing, After, Target};
use crate::compare;
use crate::delivery::batch::{self};
use crate::delivery::trigger::{EndPattern, Outcome, Trigger};
use crate::http::status::StatusPattern;
use crate::json::Pointer;
use crate::json::PointerSet;
use crate::rewrite::answers::AnswerReads;
use crate::rewrite::items::Format;
use crate::rewrite::redact::Redaction;
use crate::rewrite::shape::{BodyRewrite, Content, Forward, HeadRewrite, PathRewrite, Rewrite};
use crate::select::sampling::Sampling;
use crate::template::{AnswerPart, Env, Expression, Template};

/// What a target waits for. `names` are the names of all targets.
pub(super) fn after(after: raw_after::After, statuses: Option<NonEmpty<EndPattern>>, names: &[String]) -> After {
    match after {
        raw_after::After::Request => After::Request,
        raw_after::After::Response => {
            After::Response(statuses.map_or_else(|| vec![EndPattern::Status(StatusPattern::class(2))], |statuses| statuses.0))
        }
        raw_after::After::Target(after) => {
            let outcome = match (after.outcome, &after.statuses) {
                (Some(OutcomeName::Delivered), _) | (None, None) => Some(Outcome::Delivered),
                (Some(OutcomeName::GivenUp), _) => Some(Outcome::GivenUp),
                (None, Some(_)) => None,
            };
            // The name is known: otherwise the configuration would have been refused.
            let leader = names.iter().position(|name| *name == after.target.0 .0).unwrap_or_default();
            After::Target(Trigger { leader, outcome, statuses: after.statuses.map(|statuses| statuses.0) })
        }
    }
}

/// What a target receives. `redact` holds for the answers that it reads.
pub(super) fn shape(raw: Option<RequestShape>, redact: Option<&Redaction>, env: Env<'_>) -> Rewrite {
    let Some(raw) = raw else {
        return Rewrite::default();
    };
    let mut head = HeadRewrite {
        method: raw.method.map(|method| method.0 .0),
        path: path(raw.path, raw.prefix_rewrite, raw.regex_rewrite),
        authority: raw.authority.map(|authority| authority.0 .0),
        sign: raw.sign.as_ref().map(|sign| signing::signing(sign, env)),
        ..HeadRewrite::default()
    };
    if let Some(headers) = raw.headers {
        head.forward = match headers.forward {
            raw_shape::Forward::All => Forward::All,
            raw_shape::Forward::None => Forward::Only(Vec::new()),
            raw_shape::Forward::Only(names) => Forward::Only(names.into_iter().map(|name| name.0 .0).collect()),
        };
        head.forward_sensitive = headers.sensitive == Sensitive::Forward;
        head.remove = headers.remove.into_iter().map(|name| name.0 .0).collect();
        head.set = headers.set.map_or_else(Vec::new, |set| set.0.into_iter().collect());
    }
    let mut body = BodyRewrite::default();
    if let Some(raw) = raw.body {
        body.redact = redaction(raw.redact);
        body.content = match raw.template {
            Some(template) => Content::Template(template),
            None if raw.omit => Content::Omitted,
            None => Content::Primary,
        };
    }
    let mut shape = Rewrite { head, body, answers: AnswerReads::default() };
    shape.answers = AnswerReads::new(shape.templates(), redact);
    shape.resolve_env(env);
    shape
}

/// The redaction of the values at these pointers. `None` if there are no pointers.
pub(super) fn redaction(pointers: Vec<Text<Pointer>>) -> Option<Redaction> {
    (!pointers.is_empty()).then(|| Redaction::new(pointers.into_iter().map(|pointer| pointer.0)))
}

/// The path that a target receives. At most one of the arguments is given.
fn path(
    template: Option<Text<PathTemplate>>,
    prefix: Option<raw_shape::PrefixRewrite>,
    regex: Option<raw_shape::RegexRewrite>,
) -> PathRewrite {
    let template = template.map(|template| PathRewrite::Template(template.0 .0));
    let prefix = prefix.map(|rewrite| PathRewrite::Prefix { prefix: rewrite.prefix.0 .0, replacement: rewrite.replacement.0 .0 });
    let regex = regex.map(|rewrite| PathRewrite::Regex { pattern: rewrite.pattern.0 .0, substitution: rewrite.substitution.0 });
    template.or(prefix).or(regex).unwrap_or_default()
}

/// The batch settings.
pub(super) fn batch(raw: raw_shape::Batch) -> batch::Settings {
    batch::Settings {
        max_items: bytes(raw.max_items.0),
        max_bytes: bytes(raw.max_bytes.0),
        max_delay: Duration::from_millis(raw.max_delay.0),
        format: match raw.format {
            BatchFormat::JsonArray => Format::JsonArray,
            BatchFormat::Ndjson => Format::Ndjson,
        },
    }
}

/// The pointers into bodies that templates and orders of these targets name, and those that rules look at.
pub(super) fn pointers(targets: &[Target], matched: &[Pointer]) -> PointerSet {
    let expressions = targets.iter().flat_map(Target::templates).flat_map(Template::expressions);
    let named = expressions.filter_map(|expression| match expression {
        Expression::BodyPointer(pointer) | Expression::Answer(_, AnswerPart::BodyPointer(pointer)) => Some(pointer.clone()),
        _ => None,
    });
    let ordered = targets.iter().filter_map(|target| target.order.as_ref()?.pointer().cloned());
    PointerSet::new(named.chain(ordered).chain(matched.iter().cloned()))
}

/// The properties of Envoy that templates of these targets name, each once.
pub(super) fn properties(targets: &[Target]) -> Vec<Vec<String>> {
    let mut properties = Vec::new();
    for expression in targets.iter().flat_map(Target::templates).flat_map(Template::expressions) {
        match expression {
            Expression::Property(path) if !properties.contains(path) => properties.push(path.clone()),
            _ => {}
        }
    }
    properties
}

impl From<super::raw_shape::Compare> for compare::Settings {
    fn from(raw: super::raw_shape::Compare) -> Self {
        Self {
            percent: raw.percent.0,
            status: raw.status,
            body: match raw.body {
                super::raw_shape::CompareBody::Json => compare::BodyMode::Json,
                super::raw_shape::CompareBody::Exact => compare::BodyMode::Exact,
                super::raw_shape::CompareBody::None => compare::BodyMode::None,
            },
            ignore: PointerSet::new(raw.ignore.into_iter().map(|pointer| pointer.0)),
            unordered: (!raw.unordered.is_empty()).then(|| PointerSet::new(raw.unordered.into_iter().map(|pointer| pointer.0))),
            log_values: raw.log_values,
        }
    }
}

impl From<super::raw_shape::Sample> for Sampling {
    fn from(raw: super::raw_shape::Sample) -> Self {
        Self::new(raw.percent.0, raw.key.map(|key| key.header.0 .0))
    }
}
