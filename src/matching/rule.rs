//! One rule: all of its conditions hold. What is cheap to look at is looked at first.

use regex_lite::Regex;

use super::literal::literal_prefix;
use super::methods::MethodBits;
use super::Request;
use crate::config::names::Pattern;
use crate::config::raw;

/// A rule, compiled.
#[derive(Debug)]
pub(super) struct Rule {
    methods: MethodBits,
    /// The methods of no standard among them.
    other_methods: Vec<String>,
    path: Option<Condition>,
    headers: Vec<(String, Condition)>,
}

#[derive(Debug)]
enum Condition {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Regex {
        regex: Regex,
        /// What every match begins with.
        prefix: String,
    },
    Present(bool),
}

/// Something by which a rule can be filed: a request for which the rule holds has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key<'a> {
    /// A path.
    Path(Part<'a>),
    /// A header and its value.
    Header(&'a [u8], Part<'a>),
    /// One of some methods.
    Methods(MethodBits),
}

/// What is known of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part<'a> {
    /// All of it.
    Exact(&'a [u8]),
    /// How it begins.
    Prefix(&'a [u8]),
    /// How it ends.
    Suffix(&'a [u8]),
    /// Nothing.
    Unknown,
}

impl Key<'_> {
    const LAST_RANK: u8 = 6;

    /// The lower, the fewer requests have it, and the less it costs to look it up.
    fn rank(self) -> u8 {
        match self {
            Self::Path(Part::Exact(_)) => 0,
            Self::Path(Part::Prefix(_) | Part::Suffix(_)) => 1,
            Self::Header(_, Part::Exact(_)) => 2,
            Self::Header(_, Part::Prefix(_) | Part::Suffix(_)) => 3,
            Self::Methods(_) => 4,
            Self::Header(_, Part::Unknown) => 5,
            Self::Path(Part::Unknown) => Self::LAST_RANK,
        }
    }
}

impl Rule {
    /// True when all conditions hold.
    pub(super) fn holds(&self, request: &Request<'_>) -> bool {
        let path = || self.path.as_ref().is_none_or(|condition| condition.holds(request.path));
        let headers = || self.headers.iter().all(|header| header_holds(header, request));
        self.has_method(request)
            && match self.path {
                Some(Condition::Regex { .. }) => headers() && path(),
                _ => path() && headers(),
            }
    }

    fn has_method(&self, request: &Request<'_>) -> bool {
        let by_name = || self.other_methods.iter().any(|method| method.as_bytes() == request.method);
        self.methods == MethodBits::ALL
            || self.methods.overlap(request.method_bits) && (request.method_bits != MethodBits::OTHER || by_name())
    }

    /// The methods of requests for which the rule may hold.
    pub(super) fn methods(&self) -> MethodBits {
        self.methods
    }

    /// All that it can be filed by, by rank.
    pub(super) fn keys(&self) -> Vec<Key<'_>> {
        let path = self.path.iter().map(|condition| Key::Path(condition.part()));
        let headers = self.headers.iter().filter(|(_, condition)| !matches!(condition, Condition::Present(false)));
        let headers = headers.map(|(name, condition)| Key::Header(name.as_bytes(), condition.part()));
        let methods = (self.methods != MethodBits::ALL).then_some(Key::Methods(self.methods));
        // Every path begins with a slash.
        let path = path.map(|key| if key == Key::Path(Part::Prefix(b"/")) { Key::Path(Part::Unknown) } else { key });
        let keys: Vec<_> = path.chain(headers).chain(methods).collect();
        // Sorting, of the library, would take 8 KiB of the module.
        (0..=Key::LAST_RANK).flat_map(|rank| keys.iter().copied().filter(move |key| key.rank() == rank)).collect()
    }
}

fn header_holds((name, condition): &(String, Condition), request: &Request<'_>) -> bool {
    let mut values = request.headers.get_all(name.as_bytes());
    match condition {
        Condition::Present(false) => values.next().is_none(),
        condition => values.any(|value| condition.holds(value)),
    }
}

impl Condition {
    fn regex(pattern: Pattern) -> Self {
        Self::Regex { prefix: literal_prefix(pattern.text()), regex: pattern.0 }
    }

    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => value == text.as_bytes(),
            Self::Prefix(text) => value.starts_with(text.as_bytes()),
            Self::Suffix(text) => value.ends_with(text.as_bytes()),
            // Patterns are about text; a value that is none matches no pattern.
            Self::Regex { regex, prefix } => {
                value.starts_with(prefix.as_bytes()) && std::str::from_utf8(value).is_ok_and(|text| regex.is_match(text))
            }
            Self::Present(present) => *present,
        }
    }

    fn part(&self) -> Part<'_> {
        match self {
            Self::Exact(text) => Part::Exact(text.as_bytes()),
            Self::Prefix(text) | Self::Regex { prefix: text, .. } if !text.is_empty() => Part::Prefix(text.as_bytes()),
            Self::Suffix(text) if !text.is_empty() => Part::Suffix(text.as_bytes()),
            _ => Part::Unknown,
        }
    }
}

impl From<raw::Rule> for Rule {
    fn from(raw: raw::Rule) -> Self {
        let path = raw.path.and_then(|path| {
            let exact = path.exact.map(|text| Condition::Exact(text.0 .0));
            let prefix = path.prefix.map(|text| Condition::Prefix(text.0 .0));
            let regex = path.regex.map(|text| Condition::regex(text.0));
            exact.or(prefix).or(regex)
        });
        let headers = raw.headers.map_or_else(Vec::new, |headers| headers.0);
        let mut methods = MethodBits::ALL;
        let mut other_methods = Vec::new();
        if let Some(listed) = raw.methods {
            methods = MethodBits::NONE;
            for method in listed.0 {
                let bits = MethodBits::of(method.0 .0.as_bytes());
                methods = methods.with(bits);
                if bits == MethodBits::OTHER {
                    other_methods.push(method.0 .0);
                }
            }
        }
        Self { methods, other_methods, path, headers: headers.into_iter().filter_map(header_condition).collect() }
    }
}

/// The one condition that the grammar makes sure of.
fn header_condition(raw: raw::HeaderRule) -> Option<(String, Condition)> {
    let condition = raw
        .exact
        .map(Condition::Exact)
        .or(raw.prefix.map(Condition::Prefix))
        .or(raw.suffix.map(Condition::Suffix))
        .or(raw.regex.map(|text| Condition::regex(text.0)))
        .or(raw.present.map(Condition::Present))?;
    Some((raw.name.0 .0, condition))
}
