//! The path that a target receives.

use std::borrow::Cow;

use regex_lite::Regex;

use crate::http::text::split_query;
use crate::http::work_limit::PATTERN_BYTE;
use crate::template::{check_path, Template, UnsafePath, Values};

/// The change that a target makes to the primary's path.
#[derive(Debug, Default)]
pub enum PathRewrite {
    /// No change.
    #[default]
    Primary,
    /// This path and query.
    Template(Template),
    /// Replaces the beginning of the path, like Envoy's `prefix_rewrite`.
    Prefix {
        /// The prefix to replace.
        prefix: String,
        /// The new prefix.
        replacement: String,
    },
    /// Replaces every match of a pattern in the path, like Envoy's `regex_rewrite`.
    Regex {
        /// The pattern to replace.
        pattern: Regex,
        /// The replacement of each match.
        substitution: Substitution,
    },
}

/// Text that may contain groups of a pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Substitution(pub Vec<Piece>);

/// A piece of a [`Substitution`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Literal text.
    Text(String),
    /// The text that a group of the pattern matched. 0 is the whole match.
    Group(usize),
}

impl PathRewrite {
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Primary)
    }

    /// The template. `None` for other changes.
    pub fn template(&self) -> Option<&Template> {
        match self {
            Self::Template(template) => Some(template),
            _ => None,
        }
    }

    pub(super) fn template_mut(&mut self) -> Option<&mut Template> {
        match self {
            Self::Template(template) => Some(template),
            _ => None,
        }
    }

    /// The path and query in place of the primary's `target`. A path that does not match the rewrite stays as it is.
    pub(super) fn of<'t>(&self, target: &'t [u8], values: &Values<'_>) -> Result<Cow<'t, [u8]>, UnsafePath> {
        let (path, _) = split_query(target);
        let rewritten = match self {
            Self::Primary => None,
            Self::Template(template) => return template.path(values).map(Cow::Owned),
            Self::Prefix { prefix, replacement } => {
                path.strip_prefix(prefix.as_bytes()).map(|rest| [replacement.as_bytes(), rest].concat())
            }
            Self::Regex { pattern, substitution } => replaced(pattern, substitution, path, values),
        };
        let Some(mut rewritten) = rewritten else {
            return Ok(Cow::Borrowed(target));
        };
        check_path(&rewritten)?;
        rewritten.extend_from_slice(target.get(path.len()..).unwrap_or_default());
        Ok(Cow::Owned(rewritten))
    }
}

/// The path with every match of the pattern replaced. `None` if there is no match, or if it takes too much work.
///
/// Each search may look at all of the rest of the path, even if it finds a match at once: a group that is optional is tried to the end.
fn replaced(pattern: &Regex, substitution: &Substitution, path: &[u8], values: &Values<'_>) -> Option<Vec<u8>> {
    // Patterns match text only.
    let path = std::str::from_utf8(path).ok()?;
    let mut out = Vec::with_capacity(path.len());
    let mut end = 0;
    let mut has_match = false;
    let mut matches = pattern.captures_iter(path);
    loop {
        if !values.affords(path.len().saturating_sub(end).saturating_mul(PATTERN_BYTE)) {
            return None;
        }
        let Some(captures) = matches.next() else {
            break;
        };
        let whole = captures.get(0)?.range();
        out.extend_from_slice(path.get(end..whole.start)?.as_bytes());
        for piece in &substitution.0 {
            out.extend_from_slice(match piece {
                Piece::Text(text) => text.as_bytes(),
                Piece::Group(group) => captures.get(*group).map_or("", |group| group.as_str()).as_bytes(),
            });
        }
        end = whole.end;
        has_match = true;
    }
    out.extend_from_slice(path.get(end..)?.as_bytes());
    has_match.then_some(out)
}
