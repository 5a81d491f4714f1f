//! Conditions of routes as terms. A condition that the filter has no rule for is an error, which says why.

use serde_json::json;

use super::rule::Rule;
use super::shape::refused;
use super::term::Term;
use super::text::{escaped, Text};

/// Alternatives, or why no rule can say it.
pub(super) type Terms = Result<Vec<Term>, String>;

/// How a text is compared, as all sources have it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Compared {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    Regex(String),
    Present,
}

impl Compared {
    /// As a condition of the filter.
    pub(super) fn text(&self, ignores_case: bool) -> Result<Text, String> {
        let either = |before: &str, text: &str, after: &str| Text::Regex(format!("(?is){before}{}{after}", escaped(text)));
        Ok(match self {
            Self::Present => Text::Present(true),
            Self::Prefix(text) | Self::Suffix(text) | Self::Contains(text) if text.is_empty() => Text::Present(true),
            Self::Exact(text) if ignores_case && has_case(text) => either("", text, ""),
            Self::Prefix(text) if ignores_case && has_case(text) => either("", text, ".*"),
            Self::Suffix(text) if ignores_case && has_case(text) => either(".*", text, ""),
            Self::Contains(text) if ignores_case => either(".*", text, ".*"),
            Self::Exact(text) => Text::Exact(text.clone()),
            Self::Prefix(text) => Text::Prefix(text.clone()),
            Self::Suffix(text) => Text::Suffix(text.clone()),
            Self::Contains(text) => Text::Regex(format!("(?s).*{}.*", escaped(text))),
            Self::Regex(pattern) => pattern_of(pattern)?,
        })
    }

    /// The text of an exact comparison.
    fn exact(&self) -> Option<&str> {
        match self {
            Self::Exact(text) => Some(text),
            _ => None,
        }
    }
}

fn has_case(text: &str) -> bool {
    text.chars().any(|char| char.is_ascii_alphabetic())
}

/// A pattern of RE2. Where the filter's patterns mean something else, it is refused.
fn pattern_of(pattern: &str) -> Result<Text, String> {
    if !pattern.contains(|char: char| r"\.+*?()|[]{}^$".contains(char)) {
        return Ok(Text::Exact(pattern.to_owned()));
    }
    // RE2 takes a repetition without a lower bound as text.
    if pattern.contains("{,") || pattern.contains(r"\C") {
        return Err(format!("the pattern {pattern:?} has another meaning for the filter"));
    }
    match refused(&json!({"match": [{"headers": [{"name": "x", "regex": pattern}]}]})) {
        Some(problem) => Err(format!("the pattern {pattern:?}: {problem}")),
        None => Ok(Text::Regex(pattern.to_owned())),
    }
}

/// A rule that the filter takes, as the only alternative.
pub(super) fn legal(rule: Rule) -> Terms {
    match refused(&json!({"match": [rule]})) {
        Some(problem) => Err(problem),
        None => Ok(vec![Term::of(rule)]),
    }
}

/// The opposite of a rule that the filter takes.
fn illegal(rule: Rule) -> Terms {
    legal(rule.clone()).map(|_| vec![Term::not(rule)])
}

/// A path without its query.
pub(super) fn path(compared: &Compared, ignores_case: bool) -> Terms {
    let never = |text: &str| !text.starts_with('/') || text.contains(['?', '#']);
    match compared {
        Compared::Prefix(text) if matches!(text.as_str(), "" | "/") => Ok(vec![Term::default()]),
        // Every path starts with a slash, and ends before its query.
        Compared::Prefix(text) | Compared::Exact(text) if never(text) => Ok(Vec::new()),
        compared => legal(Rule::path(compared.text(ignores_case)?)),
    }
}

/// A path, or more: where no rule can say a pattern, the text that it begins with. Says why, then.
pub(super) fn path_or_more(compared: &Compared, ignores_case: bool) -> (Vec<Term>, Option<String>) {
    let why = match path(compared, ignores_case) {
        Ok(terms) => return (terms, None),
        Err(why) => why,
    };
    let beginning = match compared {
        Compared::Regex(pattern) => path(&beginning_of(pattern), false).ok(),
        _ => None,
    };
    (beginning.unwrap_or_else(|| vec![Term::default()]), Some(why))
}

fn beginning_of(pattern: &str) -> Compared {
    match super::text::beginning(pattern) {
        (text, true) => Compared::Regex(format!("(?is){}.*", escaped(&text))),
        (text, false) if text.starts_with('/') => Compared::Prefix(text),
        _ => Compared::Prefix(String::new()),
    }
}

/// A path with whole segments at its beginning.
pub(super) fn segments(text: &str, ignores_case: bool) -> Terms {
    let mut all = path(&Compared::Exact(text.to_owned()), ignores_case)?;
    all.extend(path(&Compared::Prefix(format!("{text}/")), ignores_case)?);
    Ok(all)
}

/// How a header is compared.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) compared: Compared,
    pub(super) ignores_case: bool,
    pub(super) is_inverted: bool,
    /// An absent header is an empty one.
    pub(super) absent_is_empty: bool,
}

impl Header {
    pub(super) fn terms(&self) -> Terms {
        let name = self.name.to_ascii_lowercase();
        match name.as_str() {
            ":method" => self.method(),
            ":path" => self.path(),
            ":authority" | "host" => self.of(&Rule::authority),
            _ if name.starts_with(':') => Err(format!("a condition on {name}")),
            _ => self.of(&|text| Rule::header(&name, text)),
        }
    }

    fn of(&self, rule: &dyn Fn(Text) -> Rule) -> Terms {
        let text = self.compared.text(self.ignores_case)?;
        if self.compared == Compared::Present {
            return if self.is_inverted { illegal(rule(text)) } else { legal(rule(text)) };
        }
        let is_empty_such = text.holds("") == Some(true) || text == Text::Present(true);
        let present = rule(Text::Present(true));
        let mut terms = if self.is_inverted {
            let mut terms = illegal(rule(text))?;
            let misses = self.absent_is_empty && !is_empty_such;
            if !misses {
                terms = terms.iter().filter_map(|term| term.and(&Term::of(present.clone())).ok().flatten()).collect();
            }
            terms
        } else {
            legal(rule(text))?
        };
        if !self.is_inverted && self.absent_is_empty && is_empty_such {
            terms.extend(illegal(present)?);
        }
        Ok(terms)
    }

    fn method(&self) -> Terms {
        let methods = match &self.compared {
            Compared::Present if self.is_inverted => return Ok(Vec::new()),
            Compared::Present => return Ok(vec![Term::default()]),
            Compared::Exact(method) if !self.ignores_case => vec![method.clone()],
            Compared::Regex(pattern) => alternatives(pattern).ok_or_else(|| format!("a pattern for methods, {pattern:?}"))?,
            _ => return Err("a part of a method".to_owned()),
        };
        let rule = Rule::methods(methods);
        if self.is_inverted {
            illegal(rule)
        } else {
            legal(rule)
        }
    }

    /// The path with its query.
    fn path(&self) -> Terms {
        match &self.compared {
            Compared::Prefix(text) if !self.ignores_case && !self.is_inverted && !text.contains(['?', '#']) => {
                path(&self.compared, false)
            }
            _ => Err("a condition on :path, which includes the query".to_owned()),
        }
    }
}

/// The words of a pattern that has nothing but alternatives.
fn alternatives(pattern: &str) -> Option<Vec<String>> {
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    let pattern = pattern.strip_suffix('$').unwrap_or(pattern);
    let inner = pattern.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(pattern);
    let inner = inner.strip_prefix("?:").unwrap_or(inner);
    let words: Vec<String> = inner.split('|').map(str::to_owned).collect();
    words
        .iter()
        .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-'))
        .then_some(words)
}

/// A parameter of the query. Envoy compares it as it is sent, the filter decodes it.
pub(super) fn parameter(name: &str, compared: &Compared, ignores_case: bool) -> Terms {
    let is_encoded = |text: &str| text.contains(['%', '+', '&', '#', ' ']);
    let text = match compared {
        Compared::Exact(text) | Compared::Prefix(text) | Compared::Suffix(text) | Compared::Contains(text) => text,
        Compared::Regex(pattern) => pattern,
        Compared::Present => "",
    };
    let is_special = is_encoded(name) || (is_encoded(text) && !matches!(compared, Compared::Regex(_))) || text.contains('%');
    if is_special {
        return Err(format!("the parameter {name:?} with an encoded value: the filter decodes it"));
    }
    legal(Rule::parameter(name, compared.text(ignores_case)?))
}

/// Requests of gRPC.
pub(super) fn grpc() -> Vec<Term> {
    let of = |text| Term::of(Rule::header("content-type", text));
    vec![of(Text::Exact("application/grpc".to_owned())), of(Text::Prefix("application/grpc+".to_owned()))]
}

/// True if the authority is compared with a text that has letters: Envoy minds their case.
pub(super) fn minds_case(header: &Header) -> bool {
    let is_host = matches!(header.name.to_ascii_lowercase().as_str(), ":authority" | "host");
    is_host && !header.ignores_case && header.compared.exact().is_none_or(has_case) && header.compared != Compared::Present
}
