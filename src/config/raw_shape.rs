//! The grammar of which requests a target gets and in which form: `sample`, `request`, `batch`, `compare`.

use std::collections::BTreeMap;

use deserr::{Deserr, IntoValue, Map, Value, ValuePointerRef};

use super::names::{HeaderName, Method, Pointer};
use super::problem::{found, Problems};
use super::scalar::{FromText, Millis, Percent, Size, Text, Whole, HOUR};
use super::templates::{AuthorityTemplate, HeaderTemplate, PathTemplate};
use crate::capture::is_reserved;
use crate::template::{JsonTemplate, Template};

/// `sample`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
pub struct Sample {
    /// How many of a hundred.
    pub percent: Percent,
    /// What decides.
    #[deserr(default)]
    pub key: Option<SampleKey>,
}

/// `sample.key`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
pub struct SampleKey {
    /// The header whose value is the key.
    pub header: Text<HeaderName>,
}

/// `request`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
pub struct RequestShape {
    /// Another method.
    #[deserr(default)]
    pub method: Option<Text<Method>>,
    /// Another path.
    #[deserr(default)]
    pub path: Option<Text<PathTemplate>>,
    /// Another authority.
    #[deserr(default)]
    pub authority: Option<Text<AuthorityTemplate>>,
    /// Which headers.
    #[deserr(default)]
    pub headers: Option<HeaderShape>,
    /// Which body.
    #[deserr(default)]
    pub body: Option<BodyShape>,
}

/// `request.headers`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
pub struct HeaderShape {
    /// Which of the primary's.
    #[deserr(default)]
    pub forward: Forward,
    /// What happens to the sensitive ones.
    #[deserr(default)]
    pub sensitive: Sensitive,
    /// Which are taken out.
    #[deserr(default)]
    pub remove: Vec<Text<HeaderName>>,
    /// Which are put in.
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
    Only(Vec<Text<HeaderName>>),
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
pub enum Sensitive {
    /// They are left out unless they are named.
    #[default]
    Strip,
    /// They are sent like the others.
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
            let name = settable_name(&key).map_err(|expected| Problems::at(place, expected));
            let text = Text::<HeaderTemplate>::deserialize_from_value(value.into_value(), place);
            match (name, text) {
                (Ok(name), Ok(text)) => {
                    if headers.insert(name.0, text.0 .0).is_some() {
                        problems.extend(Problems::at(place, "given twice: names of headers have no case"));
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

/// The name of a header that the user may set.
fn settable_name(text: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_text(text)?;
    match name.0.as_str() {
        "host" => Err("this header is set by `authority`".to_owned()),
        reserved if is_reserved(reserved.as_bytes()) => {
            Err("this header is set by Envoy or Sidecast, or belongs to one connection".to_owned())
        }
        _ => Ok(name),
    }
}

/// `request.body`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
pub struct BodyShape {
    /// Another body.
    #[deserr(default)]
    pub template: Option<JsonTemplate>,
    /// What is taken out of the primary's body first.
    #[deserr(default)]
    pub redact: Vec<Text<Pointer>>,
    /// No body at all.
    #[deserr(default)]
    pub omit: bool,
}

/// `batch`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
pub struct Batch {
    /// Items in one call.
    #[deserr(default = Whole(100))]
    pub max_items: Whole<1, 10_000>,
    /// Bytes in one call.
    #[deserr(default = Size(256 << 10))]
    pub max_bytes: Size<1, { 1 << 30 }>,
    /// How long the first item waits.
    #[deserr(default = Millis(20))]
    pub max_delay: Millis<1, HOUR>,
    /// How the items are put together.
    #[deserr(default)]
    pub format: BatchFormat,
}

/// `batch.format`.
#[derive(Clone, Copy, Debug, Default, Deserr)]
#[deserr(error = Problems)]
pub enum BatchFormat {
    /// One JSON list.
    #[default]
    #[deserr(rename = "json_array")]
    JsonArray,
    /// One JSON value a line.
    #[deserr(rename = "ndjson")]
    Ndjson,
}

/// `compare`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
pub struct Compare {
    /// How many of a hundred.
    #[deserr(default)]
    pub percent: Option<Percent>,
    /// Statuses are compared.
    #[deserr(default)]
    pub status: Option<bool>,
    /// How bodies are compared.
    #[deserr(default)]
    pub body: Option<CompareBody>,
    /// What is left out of the comparison.
    #[deserr(default)]
    pub ignore: Option<Vec<Text<Pointer>>>,
    /// Values may stand in the log.
    #[deserr(default)]
    pub log_values: Option<bool>,
}

/// `compare.body`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, rename_all = lowercase)]
pub enum CompareBody {
    /// As JSON values.
    Json,
    /// Byte by byte.
    Exact,
    /// Not at all.
    None,
}
