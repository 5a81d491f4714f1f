//! Conditions on the headers of a request, in the forms of Envoy: its matcher, and the matches of its routes.

use super::set;
use serde_json::{json, Value};

/// A condition on the headers of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Predicate {
    /// It holds for every request.
    Always,
    /// It holds for no request.
    Never,
    /// The header has a value, and its text is such. Envoy joins the values of a repeated header with commas.
    Header(String, Text),
    Not(Box<Predicate>),
    Any(Vec<Predicate>),
    Every(Vec<Predicate>),
}

/// A condition on a text. The texts of all but `Exact` have at least one character: Envoy refuses others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Text {
    Present,
    Exact(Literal),
    Prefix(Literal),
    Suffix(Literal),
    Contains(Literal),
    /// A pattern of RE2 that matches the whole text.
    Pattern(String),
}

/// A text to compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Literal {
    pub(super) text: String,
    pub(super) ignores_case: bool,
}

/// Every byte. To some Envoys, RE2's dot is a byte, to others a character, which bytes that are not UTF-8 are not.
pub(super) const ANY_BYTES: &str = r"\C*";

impl Predicate {
    /// The number of conditions on headers.
    pub(super) fn conditions(&self) -> usize {
        match self {
            Self::Always | Self::Never => 0,
            Self::Header(..) => 1,
            Self::Not(inner) => inner.conditions(),
            Self::Any(all) | Self::Every(all) => all.iter().map(Self::conditions).fold(0, usize::saturating_add),
        }
    }

    pub(super) fn header(name: &str, text: Text) -> Self {
        Self::Header(name.to_owned(), text)
    }

    pub(super) fn not(inner: Self) -> Self {
        match inner {
            Self::Always => Self::Never,
            Self::Never => Self::Always,
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// Holds if any of them does.
    pub(super) fn any(all: impl IntoIterator<Item = Self>) -> Self {
        let mut kept: Vec<Self> = Vec::new();
        for one in all {
            match one {
                Self::Always => return Self::Always,
                Self::Never => {}
                Self::Any(inner) => inner.into_iter().for_each(|one| push_new(&mut kept, one)),
                other => push_new(&mut kept, other),
            }
        }
        // Envoy refuses lists of one.
        match kept.len() {
            0 => Self::Never,
            1 => kept.pop().unwrap_or(Self::Never),
            _ => Self::Any(kept),
        }
    }

    /// Holds if every one of them does.
    pub(super) fn every(all: impl IntoIterator<Item = Self>) -> Self {
        let mut kept: Vec<Self> = Vec::new();
        for one in all {
            match one {
                Self::Never => return Self::Never,
                Self::Always => {}
                Self::Every(inner) => inner.into_iter().for_each(|one| push_new(&mut kept, one)),
                other => push_new(&mut kept, other),
            }
        }
        match kept.len() {
            0 => Self::Always,
            1 => kept.pop().unwrap_or(Self::Always),
            _ => Self::Every(kept),
        }
    }

    /// As a `Predicate` of `xds.type.matcher.v3.Matcher`. `Always` and `Never` have no such form.
    pub(super) fn to_xds(&self) -> Value {
        let list = |all: &[Self]| json!({"predicate": all.iter().map(Self::to_xds).collect::<Vec<_>>()});
        match self {
            Self::Always | Self::Never => Value::Null,
            Self::Header(name, text) => json!({"single_predicate": {
                "input": {
                    "name": "request-header",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
                        "header_name": name,
                    },
                },
                "value_match": text.to_xds(),
            }}),
            Self::Not(inner) => json!({"not_matcher": inner.to_xds()}),
            Self::Any(all) => json!({"or_matcher": list(all)}),
            Self::Every(all) => json!({"and_matcher": list(all)}),
        }
    }

    /// As lists of `HeaderMatcher`s for matches of routes, of which any may hold. What routes cannot express is left out, so a list may hold for more
    /// requests than the predicate does, never for fewer. `left_out` becomes true then.
    pub(super) fn to_routes(&self, left_out: &mut bool) -> Vec<Vec<Value>> {
        match self {
            Self::Never => Vec::new(),
            Self::Any(all) if self.as_one_header().is_none() => {
                let mut lists: Vec<Vec<Value>> = Vec::new();
                for list in all.iter().flat_map(|one| one.to_routes(left_out)) {
                    if !lists.contains(&list) {
                        lists.push(list);
                    }
                }
                lists
            }
            Self::Every(all) => {
                let mut lists = vec![Vec::new()];
                for one in all {
                    let more = one.to_routes(left_out);
                    // A product of lists would grow without bounds.
                    match more.as_slice() {
                        [more] => lists.iter_mut().for_each(|list: &mut Vec<Value>| list.extend(more.iter().cloned())),
                        more if lists.len() == 1 => {
                            let first = lists.pop().unwrap_or_default();
                            lists = more.iter().map(|more| first.iter().chain(more).cloned().collect()).collect();
                        }
                        _ => *left_out = true,
                    }
                }
                lists
            }
            other => vec![other.to_header_matchers(left_out)],
        }
    }

    fn to_header_matchers(&self, left_out: &mut bool) -> Vec<Value> {
        let (inner, inverted) = match self {
            Self::Not(inner) => (&**inner, true),
            other => (other, false),
        };
        match (inner.as_one_header(), inner) {
            // To a route, a header that is absent has no text, not even one that is not such. At most it is taken for an empty one.
            (Some((_, text)), _) if inverted && text != Text::Present && text.may_be_empty() => {
                *left_out = true;
                Vec::new()
            }
            (Some((name, text)), _) => vec![text.to_header_matcher(name, inverted)],
            // None of them holds.
            (None, Self::Any(all)) if inverted => {
                all.iter().flat_map(|one| Self::not(one.clone()).to_header_matchers(left_out)).collect()
            }
            (None, Self::Always) if !inverted => Vec::new(),
            _ => {
                *left_out = true;
                Vec::new()
            }
        }
    }

    /// The only header that the predicate is about, and what its text is.
    fn as_one_header(&self) -> Option<(&str, Text)> {
        match self {
            Self::Header(name, text) => Some((name, text.clone())),
            Self::Any(all) => {
                let (mut names, mut patterns) = (Vec::new(), Vec::new());
                for one in all {
                    let Self::Header(name, text) = one else { return None };
                    names.push(name.as_str());
                    patterns.push(text.to_pattern());
                }
                let name = names.first().copied()?;
                names.iter().all(|other| *other == name).then(|| (name, Text::Pattern(patterns.join("|"))))
            }
            _ => None,
        }
    }
}

fn push_new(kept: &mut Vec<Predicate>, one: Predicate) {
    if !kept.contains(&one) {
        kept.push(one);
    }
}

impl Text {
    pub(super) fn exact(text: &str) -> Self {
        Self::Exact(Literal::of(text))
    }

    /// A prefix. An empty one is the beginning of every text.
    pub(super) fn prefix(text: &str) -> Self {
        if text.is_empty() {
            Self::Present
        } else {
            Self::Prefix(Literal::of(text))
        }
    }

    /// A suffix. An empty one is the end of every text.
    pub(super) fn suffix(text: &str) -> Self {
        if text.is_empty() {
            Self::Present
        } else {
            Self::Suffix(Literal::of(text))
        }
    }

    pub(super) fn contains(text: &str) -> Self {
        if text.is_empty() {
            Self::Present
        } else {
            Self::Contains(Literal::of(text))
        }
    }

    pub(super) fn ignoring_case(self) -> Self {
        let ignoring = |literal: Literal| Literal { ignores_case: true, ..literal };
        match self {
            Self::Exact(literal) => Self::Exact(ignoring(literal)),
            Self::Prefix(literal) => Self::Prefix(ignoring(literal)),
            Self::Suffix(literal) => Self::Suffix(ignoring(literal)),
            Self::Contains(literal) => Self::Contains(ignoring(literal)),
            other => other,
        }
    }

    /// As a `xds.type.matcher.v3.StringMatcher`.
    fn to_xds(&self) -> Value {
        let regex = |pattern: &str| json!({"safe_regex": {"google_re2": {}, "regex": pattern}});
        match self {
            Self::Present => regex(ANY_BYTES),
            Self::Pattern(pattern) => regex(pattern),
            Self::Exact(literal) => literal.to_matcher("exact"),
            Self::Prefix(literal) => literal.to_matcher("prefix"),
            Self::Suffix(literal) => literal.to_matcher("suffix"),
            Self::Contains(literal) => literal.to_matcher("contains"),
        }
    }

    /// True unless an empty text is certainly not such.
    fn may_be_empty(&self) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(literal) => literal.text.is_empty(),
            Self::Prefix(_) | Self::Suffix(_) | Self::Contains(_) => false,
            Self::Pattern(pattern) => {
                let pattern = format!("^(?:{})$", pattern.replace(r"\C", "(?s:.)"));
                regex_lite::Regex::new(&pattern).map_or(true, |pattern| pattern.is_match(""))
            }
        }
    }

    fn to_pattern(&self) -> String {
        match self {
            Self::Present => ANY_BYTES.to_owned(),
            Self::Pattern(pattern) => format!("(?:{pattern})"),
            Self::Exact(literal) => literal.to_pattern(),
            Self::Prefix(literal) => format!("{}{ANY_BYTES}", literal.to_pattern()),
            Self::Suffix(literal) => format!("{ANY_BYTES}{}", literal.to_pattern()),
            Self::Contains(literal) => format!("{ANY_BYTES}{}{ANY_BYTES}", literal.to_pattern()),
        }
    }

    /// As a `envoy.config.route.v3.HeaderMatcher`.
    fn to_header_matcher(&self, name: &str, inverted: bool) -> Value {
        let mut matcher = match self {
            Self::Present => json!({"name": name, "present_match": true}),
            Self::Pattern(pattern) => json!({"name": name, "string_match": {"safe_regex": {"regex": pattern}}}),
            other => json!({"name": name, "string_match": other.to_xds()}),
        };
        if inverted {
            set(&mut matcher, "invert_match", true);
            if *self != Self::Present {
                set(&mut matcher, "treat_missing_header_as_empty", true);
            }
        }
        matcher
    }
}

impl Literal {
    fn of(text: &str) -> Self {
        Self { text: text.to_owned(), ignores_case: false }
    }

    fn to_matcher(&self, kind: &str) -> Value {
        let mut matcher = json!({ kind: self.text });
        if self.ignores_case {
            set(&mut matcher, "ignore_case", true);
        }
        matcher
    }

    fn to_pattern(&self) -> String {
        if self.ignores_case {
            escaped_in_both_cases(&self.text)
        } else {
            escaped(&self.text)
        }
    }
}

/// The text as a pattern of RE2. What is not ASCII stands for itself, because Envoys differ in whether a code point in a pattern is that of a character or
/// of a byte.
pub(super) fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_ascii_alphanumeric() || "/_-=,:;&% @~\"'<>!".contains(char) || !char.is_ascii() {
            pattern.push(char);
        } else {
            pattern.push_str(&format!("\\x{{{:x}}}", u32::from(char)));
        }
    }
    pattern
}

/// The same, with both cases of its letters.
fn escaped_in_both_cases(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_ascii_alphabetic() {
            pattern.push_str(&format!("[{}{}]", char.to_ascii_uppercase(), char.to_ascii_lowercase()));
        } else {
            pattern.push_str(&escaped(&char.to_string()));
        }
    }
    pattern
}
