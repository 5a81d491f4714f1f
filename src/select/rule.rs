//! A compiled rule. It checks cheap conditions first.

use regex_lite::Regex;

use super::body::{self, STRING};
use super::literal::literal_prefix;
use super::methods::MethodBits;
use super::request::Named;
use super::Request;
use crate::http::names::Method;
use crate::json::Pointer;
use crate::select::condition::{Conditions, ExactValue, TextCondition};
use crate::select::pattern::Pattern;

/// A compiled rule. It holds if all of its conditions hold.
#[derive(Debug)]
pub(super) struct Rule {
    methods: MethodBits,
    /// The listed methods that are outside of the standards.
    other_methods: Vec<String>,
    path: Option<Condition>,
    /// In lower case.
    authority: Option<Condition>,
    headers: Vec<Field>,
    parameters: Vec<Field>,
    values: Vec<Field>,
    /// The pointers of the values.
    pointers: Vec<Pointer>,
}

/// A condition on a named value.
#[derive(Debug)]
struct Field {
    name: String,
    condition: Condition,
}

#[derive(Debug)]
enum Condition {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Regex {
        regex: Regex,
        /// The text that every match begins with.
        prefix: String,
    },
    Present(bool),
}

/// A key of a rule in the index. Every request for which the rule holds has the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key<'a> {
    /// A path.
    Path(Part<'a>),
    /// An authority.
    Authority(Part<'a>),
    /// A named value and its text.
    Field(Source, &'a [u8], Part<'a>),
    /// A set of methods.
    Methods(MethodBits),
}

/// The source of a named value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// A header.
    Header = 0,
    /// A query parameter.
    Parameter = 1,
    /// A value of the body.
    Body = 2,
}

impl Source {
    /// The number of sources.
    pub(super) const COUNT: usize = 3;
}

/// The keys by which a rule is indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// The keys in the request's headers.
    OfHead,
    /// All keys.
    All,
}

/// What a key says about a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part<'a> {
    /// The whole text.
    Exact(&'a [u8]),
    /// The beginning of the text.
    Prefix(&'a [u8]),
    /// The end of the text.
    Suffix(&'a [u8]),
    /// Nothing.
    Unknown,
}

impl Key<'_> {
    const LAST_RANK: u8 = 6;

    /// The rank of a key. Keys with a lower rank are rarer among requests and cheaper to look up.
    fn rank(self) -> u8 {
        match self {
            Self::Path(Part::Exact(_)) => 0,
            Self::Path(Part::Prefix(_) | Part::Suffix(_)) => 1,
            Self::Field(_, _, Part::Exact(_)) | Self::Authority(Part::Exact(_)) => 2,
            Self::Field(_, _, Part::Prefix(_) | Part::Suffix(_)) | Self::Authority(Part::Prefix(_) | Part::Suffix(_)) => 3,
            Self::Methods(_) => 4,
            Self::Field(_, _, Part::Unknown) => 5,
            Self::Path(Part::Unknown) | Self::Authority(Part::Unknown) => Self::LAST_RANK,
        }
    }
}

impl Rule {
    /// True if all conditions hold. Conditions on the body are skipped if the request has no body yet.
    pub(super) fn holds(&self, request: &Request<'_>) -> bool {
        let path = || self.path.as_ref().is_none_or(|condition| condition.holds(request.path, request));
        let authority = || match &self.authority {
            None => true,
            Some(Condition::Present(present)) => request.authority().is_empty() != *present,
            Some(condition) => !request.authority().is_empty() && condition.holds(request.authority(), request),
        };
        let headers = || self.headers.iter().all(|field| field.holds_of_header(request));
        let parameters =
            || self.parameters.iter().all(|field| field.holds_among(request.parameters(), request, Condition::holds));
        let body = || {
            request.body.is_none_or(|body| {
                self.values.iter().all(|field| field.holds_among(body.all(), request, Condition::holds_in_body))
            })
        };
        self.has_method(request)
            && match self.path {
                Some(Condition::Regex { .. }) => headers() && authority() && path(),
                _ => path() && headers() && authority(),
            }
            && parameters()
            && body()
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

    /// The query parameters that the rule looks at.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &str> {
        self.parameters.iter().map(|field| field.name.as_str())
    }

    /// The pointers into bodies that the rule looks at.
    pub(super) fn pointers(&self) -> &[Pointer] {
        &self.pointers
    }

    /// All keys of the rule, sorted by rank.
    pub(super) fn keys(&self, wanted: Keys) -> Vec<Key<'_>> {
        let path = self.path.iter().map(|condition| Key::Path(condition.part()));
        let authority = self.authority.iter().map(|condition| Key::Authority(condition.part()));
        let values: &[Field] = if wanted == Keys::All { &self.values } else { &[] };
        let sources = [(Source::Header, self.headers.as_slice()), (Source::Parameter, &self.parameters), (Source::Body, values)];
        let fields = sources.into_iter().flat_map(|(source, fields)| fields.iter().filter_map(move |field| field.key(source)));
        let methods = (self.methods != MethodBits::ALL).then_some(Key::Methods(self.methods));
        // Every path begins with a slash.
        let path = path.map(|key| if key == Key::Path(Part::Prefix(b"/")) { Key::Path(Part::Unknown) } else { key });
        let keys: Vec<_> = path.chain(authority).chain(fields).chain(methods).filter(|key| !key.is_of_all()).collect();
        // The sort of the standard library would take 8 KiB of the module.
        (0..=Key::LAST_RANK).flat_map(|rank| keys.iter().copied().filter(move |key| key.rank() == rank)).collect()
    }
}

impl Key<'_> {
    /// True for a key that every request has. Such a key finds nothing.
    fn is_of_all(self) -> bool {
        self == Self::Authority(Part::Unknown)
    }
}

impl Field {
    fn holds_of_header(&self, request: &Request<'_>) -> bool {
        if !request.may_look_through_headers() {
            return false;
        }
        let mut values = request.headers.get_all(self.name.as_bytes());
        match &self.condition {
            Condition::Present(false) => values.next().is_none(),
            condition => values.any(|value| condition.holds(value, request)),
        }
    }

    /// Like [`Self::holds_of_header`], among fields that occur once.
    fn holds_among(
        &self,
        fields: &[Named<'_>],
        request: &Request<'_>,
        holds: fn(&Condition, &[u8], &Request<'_>) -> bool,
    ) -> bool {
        let field = fields.iter().find(|(name, _)| **name == *self.name.as_bytes());
        match (&self.condition, field) {
            (Condition::Present(false), field) => field.is_none(),
            (condition, Some((_, value))) => holds(condition, value, request),
            (_, None) => false,
        }
    }

    /// The key of the condition. `None` if the condition holds for an absent value.
    fn key(&self, source: Source) -> Option<Key<'_>> {
        let is_there = !matches!(self.condition, Condition::Present(false));
        is_there.then(|| Key::Field(source, self.name.as_bytes(), self.condition.part()))
    }
}

impl Condition {
    /// The condition that is set. The grammar of the configuration ensures that it is exactly one.
    fn of_text(text: TextCondition) -> Option<Self> {
        text.exact
            .map(Self::Exact)
            .or(text.prefix.map(Self::Prefix))
            .or(text.suffix.map(Self::Suffix))
            .or(text.regex.map(Self::regex))
            .or(text.present.map(Self::Present))
    }

    fn regex(pattern: Pattern) -> Self {
        Self::Regex { prefix: literal_prefix(pattern.text()), regex: pattern.0 }
    }

    fn holds(&self, value: &[u8], request: &Request<'_>) -> bool {
        match self {
            Self::Exact(text) => value == text.as_bytes(),
            Self::Prefix(text) => value.starts_with(text.as_bytes()),
            Self::Suffix(text) => value.ends_with(text.as_bytes()),
            Self::Regex { regex, prefix } => value.starts_with(prefix.as_bytes()) && matches_text(regex, value, request),
            Self::Present(present) => *present,
        }
    }

    /// Checks a value of a body. Suffixes and patterns apply to strings only.
    fn holds_in_body(&self, value: &[u8], request: &Request<'_>) -> bool {
        let string = || value.strip_prefix(STRING.as_bytes());
        match self {
            Self::Suffix(text) => string().is_some_and(|value| value.ends_with(text.as_bytes())),
            Self::Regex { regex, prefix } => {
                let text = string().filter(|_| value.starts_with(prefix.as_bytes()));
                text.is_some_and(|text| matches_text(regex, text, request))
            }
            _ => self.holds(value, request),
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

    /// The condition in lower case, for an authority.
    fn in_lower_case(self) -> Self {
        match self {
            Self::Exact(text) => Self::Exact(text.to_ascii_lowercase()),
            Self::Prefix(text) => Self::Prefix(text.to_ascii_lowercase()),
            Self::Suffix(text) => Self::Suffix(text.to_ascii_lowercase()),
            Self::Regex { regex, prefix } => Self::Regex { regex, prefix: prefix.to_ascii_lowercase() },
            Self::Present(present) => Self::Present(present),
        }
    }

    /// The condition for an encoded value of a body.
    fn in_body(self) -> Self {
        match self {
            Self::Prefix(text) => Self::Prefix(body::of_text(&text)),
            Self::Regex { regex, prefix } => Self::Regex { regex, prefix: body::of_text(&prefix) },
            other => other,
        }
    }
}

/// True if the pattern matches. Patterns match text only, so a value that is not UTF-8 never matches. If the request has no work left, the pattern
/// is not tried.
fn matches_text(regex: &Regex, value: &[u8], request: &Request<'_>) -> bool {
    request.may_try_pattern(value.len()) && std::str::from_utf8(value).is_ok_and(|text| regex.is_match(text))
}

impl From<Conditions> for Rule {
    fn from(conditions: Conditions) -> Self {
        let mut methods = MethodBits::ALL;
        let mut other_methods = Vec::new();
        if let Some(listed) = conditions.methods {
            methods = MethodBits::NONE;
            for Method(method) in listed {
                let bits = MethodBits::of(method.as_bytes());
                methods = methods.with(bits);
                if bits == MethodBits::OTHER {
                    other_methods.push(method);
                }
            }
        }
        let fields = |named: Vec<(String, TextCondition)>| {
            named.into_iter().filter_map(|(name, condition)| Field::new(name, condition)).collect()
        };
        let pointers = conditions.body.iter().map(|(pointer, ..)| pointer.clone()).collect();
        let values = conditions.body.into_iter().filter_map(|(pointer, exact, condition)| {
            let exact = exact.as_ref().map(|value| Condition::Exact(exact_value(value)));
            let condition = exact.or_else(|| Condition::of_text(condition).map(Condition::in_body))?;
            Some(Field { name: pointer.to_string(), condition })
        });
        Self {
            methods,
            other_methods,
            path: conditions.path.and_then(Condition::of_text),
            authority: conditions.authority.and_then(Condition::of_text).map(Condition::in_lower_case),
            headers: fields(conditions.headers),
            parameters: fields(conditions.query),
            values: values.collect(),
            pointers,
        }
    }
}

/// An exact value in the encoding of [`BodyValues`](super::body::BodyValues).
fn exact_value(value: &ExactValue) -> String {
    match value {
        ExactValue::Null => body::of_null(),
        ExactValue::Flag(flag) => body::of_flag(*flag),
        ExactValue::Number(number) => body::of_number(number),
        ExactValue::Text(text) => body::of_text(text),
    }
}

impl Field {
    fn new(name: String, text: TextCondition) -> Option<Self> {
        Condition::of_text(text).map(|condition| Self { name, condition })
    }
}
