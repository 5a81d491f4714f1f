//! The grammar of which requests a target gets and in which form: `sample`, `request`, `batch`, `compare`.

use std::collections::BTreeMap;

use deserr::{Deserr, IntoValue, Map, Value, ValuePointerRef};

use super::fields::fields;
use super::names::{AbsolutePath, PartPattern, RewrittenPath};
use super::problem::{found, Problems};
use super::raw_sign::{Sign, SIGNED};
use super::scalar::{Apart, Millis, Percent, Size, Text, Whole, HOUR};
#[cfg(feature = "cli")]
use super::schema;
use super::templates::{AuthorityTemplate, HeaderTemplate, PathTemplate};
use crate::http::names::{Method, ReadHeader, SentHeader};
use crate::json::Pointer;
use crate::rewrite::shape::{Piece, Substitution};
use crate::template::{JsonTemplate, Template};
use std::str::FromStr;

/// `sample`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields, extend("$comment" = "configuration.md#sampling")))]
pub struct Sample {
    /// The percentage of matching requests to copy.
    pub percent: Percent,
    /// Requests with the same key are all copied or all left out. Absent: requests are chosen at random.
    #[deserr(default)]
    pub key: Option<SampleKey>,
}

/// `sample.key`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct SampleKey {
    /// The header whose value is the key.
    pub header: Text<ReadHeader>,
}

/// `request`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields, validate = consistent -> Problems)]
#[cfg_attr(
    feature = "cli",
    derive(schemars::JsonSchema),
    schemars(
        deny_unknown_fields,
        transform = schema::at_most_one(&["path", "prefix_rewrite", "regex_rewrite"]),
        extend("$comment" = "shaping.md")
    )
)]
pub struct RequestShape {
    /// Another method. Absent: the primary's, or `POST` for a batch.
    #[deserr(default)]
    pub method: Option<Text<Method>>,
    /// Another path and query. Absent: the primary's. At most one of `path`, `prefix_rewrite` and `regex_rewrite`.
    #[deserr(default)]
    pub path: Option<Text<PathTemplate>>,
    /// Replaces the beginning of the path. The query stays.
    #[deserr(default, from(Apart<Option<PrefixRewrite>>) = Apart::section)]
    pub prefix_rewrite: Option<PrefixRewrite>,
    /// Replaces what a pattern matches in the path. The query stays.
    #[deserr(default, from(Apart<Option<RegexRewrite>>) = Apart::section)]
    pub regex_rewrite: Option<RegexRewrite>,
    /// Another authority, a host with or without a port. Absent: the primary's.
    #[deserr(default)]
    pub authority: Option<Text<AuthorityTemplate>>,
    /// Which headers are sent. Absent: the primary's, without credentials.
    #[deserr(default, from(Apart<Option<HeaderShape>>) = Apart::section)]
    pub headers: Option<HeaderShape>,
    /// Which body is sent. Absent: the primary's, byte for byte.
    #[deserr(default, from(Apart<Option<BodyShape>>) = Apart::section)]
    pub body: Option<BodyShape>,
    /// Signs each attempt. Set exactly one field. Absent: no signature.
    #[deserr(default, from(Apart<Option<Sign>>) = Apart::section)]
    pub sign: Option<Sign>,
}

fn consistent(request: RequestShape, location: ValuePointerRef<'_>) -> Result<RequestShape, Problems> {
    let mut problems = Problems::default();
    let given = [request.path.is_some(), request.prefix_rewrite.is_some(), request.regex_rewrite.is_some()];
    let count = given.iter().filter(|given| **given).count();
    if count > 1 {
        let expected = format!("expected at most one of `path`, `prefix_rewrite`, `regex_rewrite`, found {count}");
        problems.extend(Problems::at(location, expected));
    }
    if let (Some(sign), Some(headers)) = (&request.sign, &request.headers) {
        let location = location.push_key("headers");
        for name in headers.set.iter().flat_map(|set| set.0.keys()).filter(|name| sign.makes(name)) {
            problems.extend(Problems::at(location.push_key("set").push_key(name), SIGNED));
        }
        if let Forward::Only(names) = &headers.forward {
            for (index, _) in names.iter().enumerate().filter(|(_, name)| sign.makes(&name.0 .0)) {
                problems.extend(Problems::at(location.push_key("forward").push_index(index), SIGNED));
            }
        }
    }
    if problems.is_empty() {
        Ok(request)
    } else {
        Err(problems)
    }
}

/// `request.prefix_rewrite`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields, extend("$comment" = "shaping.md#path-and-authority")))]
pub struct PrefixRewrite {
    /// The beginning to replace. A path that begins otherwise is not changed.
    pub prefix: Text<AbsolutePath>,
    /// The new beginning.
    pub replacement: Text<RewrittenPath>,
}

/// `request.regex_rewrite`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields, validate = groups_exist -> Problems)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields, extend("$comment" = "shaping.md#path-and-authority")))]
pub struct RegexRewrite {
    /// What to replace in the path, wherever it matches. A path without a match is not changed.
    pub pattern: Text<PartPattern>,
    /// The replacement: `\1` to `\9` are the groups of the pattern, `\0` is the whole match, `\\` is a backslash.
    pub substitution: Text<Substitution>,
}

fn groups_exist(rewrite: RegexRewrite, location: ValuePointerRef<'_>) -> Result<RegexRewrite, Problems> {
    let groups = rewrite.pattern.0 .0.captures_len();
    let missing = rewrite.substitution.0 .0.iter().find_map(|piece| match piece {
        Piece::Group(group) if *group >= groups => Some(*group),
        _ => None,
    });
    match missing {
        None => Ok(rewrite),
        Some(group) => {
            let last = groups.saturating_sub(1);
            let expected = format!("expected a group of the pattern, which has {last}, found \\{group}");
            Err(Problems::at(location.push_key("substitution"), expected))
        }
    }
}

/// `request.headers`.
#[derive(Debug, Default, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields, default, extend("$comment" = "shaping.md#headers")))]
pub struct HeaderShape {
    /// Which headers of the primary's request are sent.
    #[deserr(default)]
    pub forward: Forward,
    /// What happens to credentials.
    #[deserr(default)]
    pub sensitive: Sensitive,
    /// Headers that are not sent.
    #[deserr(default)]
    pub remove: Vec<Text<SentHeader>>,
    /// Headers to set, with templates of their values. Each replaces all headers of that name.
    #[deserr(default)]
    pub set: Option<SetHeaders>,
}

/// `request.headers.forward`.
#[derive(Debug, Default)]
pub enum Forward {
    /// All of them.
    #[default]
    All,
    /// None of them.
    None,
    /// These.
    Only(Vec<Text<SentHeader>>),
}

impl Deserr<Problems> for Forward {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        match value {
            Value::String(text) if text == "all" => Ok(Self::All),
            Value::String(text) if text == "none" => Ok(Self::None),
            Value::Sequence(names) => Vec::deserialize_from_value(Value::<V>::Sequence(names), location).map(Self::Only),
            other => Err(Problems::at(
                location,
                format!("expected \"all\", \"none\" or a list of header names, found {}", found(&other)),
            )),
        }
    }
}

/// `request.headers.sensitive`.
#[derive(Clone, Copy, Debug, Default, Deserr, PartialEq, Eq)]
#[deserr(error = Problems, rename_all = lowercase)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema, serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Sensitive {
    /// Left out unless `forward` names them.
    #[default]
    Strip,
    /// Sent like the others.
    Forward,
}

/// `headers.set`: names, in lower case, and the values they get.
#[derive(Debug)]
pub struct SetHeaders(pub BTreeMap<String, Template>);

impl Deserr<Problems> for SetHeaders {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        let Value::Map(entries) = value else {
            return Err(Problems::at(location, format!("expected an object of headers, found {}", found(&value))));
        };
        let mut problems = Problems::default();
        let mut headers = BTreeMap::new();
        for (key, value) in entries.into_iter() {
            let place = location.push_key(&key);
            let name = SentHeader::from_str(&key).map_err(|expected| Problems::at(place, expected));
            let text = Text::<HeaderTemplate>::deserialize_from_value(value.into_value(), place);
            match (name, text) {
                (Ok(name), Ok(text)) => {
                    if headers.insert(name.0, text.0 .0).is_some() {
                        problems.extend(Problems::at(place, "given twice: header names ignore case"));
                    }
                }
                (name, text) => {
                    problems.extend(name.err().unwrap_or_default());
                    problems.extend(text.err().unwrap_or_default());
                }
            }
        }
        if problems.is_empty() {
            Ok(Self(headers))
        } else {
            Err(problems)
        }
    }
}

/// `request.body`.
#[derive(Debug, Default, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
#[cfg_attr(
    feature = "cli",
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, default, transform = schema::no_template_of_nothing, extend("$comment" = "shaping.md#body"))
)]
pub struct BodyShape {
    /// Any JSON, with expressions in its strings, in place of the primary's body. Not with `omit`.
    #[deserr(default)]
    pub template: Option<JsonTemplate>,
    /// Values to mask before templates and expressions read the body; `*` stands for every key or index.
    #[deserr(default)]
    pub redact: Vec<Text<Pointer>>,
    /// No body is sent.
    #[deserr(default)]
    pub omit: bool,
}

/// `response`.
#[derive(Debug, Default)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields, default, extend("$comment" = "shaping.md#answers")))]
pub struct ResponseShape {
    /// Values to mask in the JSON of every response, before the target's expressions read it; `*` stands for every key or index.
    pub redact: Vec<Text<Pointer>>,
}

// Read by hand: a derived reader takes more of the module.
impl Deserr<Problems> for ResponseShape {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        let mut response = Self::default();
        fields(value, location, &["redact"], &mut |name, value, place| {
            (name == "redact").then(|| Vec::deserialize_from_value(value, place).map(|pointers| response.redact = pointers))
        })?;
        Ok(response)
    }
}

/// `batch`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields, default, extend("$comment" = "shaping.md#batches")))]
pub struct Batch {
    /// The most requests in one call. At most `limits.max_queued`.
    #[deserr(default = Self::default().max_items)]
    pub max_items: Whole<1, 10_000>,
    /// The most bytes in the body of a call. A single longer item is sent alone.
    #[deserr(default = Self::default().max_bytes)]
    pub max_bytes: Size<1, { 1 << 30 }>,
    /// How long the first request waits for others.
    #[deserr(default = Self::default().max_delay)]
    pub max_delay: Millis<1, HOUR>,
    /// The form of the body.
    #[deserr(default)]
    pub format: BatchFormat,
}

impl Default for Batch {
    fn default() -> Self {
        Self { max_items: Whole(100), max_bytes: Size(256 << 10), max_delay: Millis(20), format: BatchFormat::default() }
    }
}

/// `batch.format`.
#[derive(Clone, Copy, Debug, Default, Deserr)]
#[deserr(error = Problems)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema, serde::Serialize), serde(rename_all = "snake_case"))]
pub enum BatchFormat {
    /// One JSON list.
    #[default]
    #[deserr(rename = "json_array")]
    JsonArray,
    /// One JSON value per line.
    #[deserr(rename = "ndjson")]
    Ndjson,
}

/// `compare`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields, default, extend("$comment" = "shaping.md#comparing-responses")))]
pub struct Compare {
    /// The percentage of responses to compare, chosen at random.
    #[deserr(default = Self::default().percent)]
    pub percent: Percent,
    /// Compares statuses.
    #[deserr(default = Self::default().status)]
    pub status: bool,
    /// How bodies are compared.
    #[deserr(default)]
    pub body: CompareBody,
    /// JSON values to leave out of the comparison; `*` stands for every key or index.
    #[deserr(default)]
    pub ignore: Vec<Text<Pointer>>,
    /// JSON lists whose order does not matter; `*` stands for every key or index.
    #[deserr(default)]
    pub unordered: Vec<Text<Pointer>>,
    /// Logs the values that differ.
    #[deserr(default)]
    pub log_values: bool,
}

impl Default for Compare {
    fn default() -> Self {
        Self {
            percent: Percent(100.0),
            status: true,
            body: CompareBody::default(),
            ignore: Vec::new(),
            unordered: Vec::new(),
            log_values: false,
        }
    }
}

/// `compare.body`.
#[derive(Clone, Copy, Debug, Default, Deserr)]
#[deserr(error = Problems, rename_all = lowercase)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema, serde::Serialize), serde(rename_all = "lowercase"))]
pub enum CompareBody {
    /// As JSON values, if both are JSON; else byte by byte.
    #[default]
    Json,
    /// Byte by byte.
    Exact,
    /// Not at all.
    None,
}
