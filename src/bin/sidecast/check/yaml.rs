//! Parses YAML to a tree.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::{Location, Spanned};

use super::tree::{Kind, Member, Node};

/// Parses all documents of a YAML text.
///
/// # Errors
/// Returns a message and the byte at which the text is invalid.
pub(super) fn read(text: &str) -> Result<Vec<Node>, (usize, String)> {
    // The library bounds the depth and the expansion of aliases by default.
    let options = serde_saphyr::options! { with_snippet: false };
    match serde_saphyr::from_multiple_with_options::<Spanned<Yaml>>(text, options) {
        Ok(documents) => Ok(documents.into_iter().map(yaml_node).collect()),
        Err(error) => {
            let at = error.location().map_or(0, |location| byte_of(text, &location));
            let message = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
            let place = error.location().map(|location| format!(" at line {}, column {}", location.line(), location.column()));
            let message = place.and_then(|place| message.strip_suffix(&place).map(str::to_owned)).unwrap_or(message);
            Err((at, message))
        }
    }
}

fn byte_of(text: &str, location: &Location) -> usize {
    let by_chars = || text.char_indices().nth(usize::try_from(location.span().offset()).ok()?).map(|(index, _)| index);
    let by_bytes = location.span().byte_offset().and_then(|offset| usize::try_from(offset).ok());
    by_bytes.or_else(by_chars).unwrap_or(text.len()).min(text.len())
}

/// Converts a value to what Envoy makes of it when it reads the YAML in `text` into a Struct. Envoy recognises only 64-bit integers, with a leading
/// zero as octal. All other numbers become text.
pub(super) fn as_envoy_reads(node: &Node, text: &str) -> Node {
    let written = text.get(node.span.clone()).unwrap_or_default();
    let kind = match &node.kind {
        Kind::Null => Kind::Null,
        Kind::Bool(flag) => Kind::Bool(*flag),
        Kind::Number(_) => match whole(written) {
            Some(whole) if i32::try_from(whole).is_ok() => Kind::Number(whole.into()),
            Some(whole) => Kind::String(whole.to_string()),
            None => Kind::String(written.to_owned()),
        },
        Kind::String(text) => Kind::String(text.clone()),
        Kind::List(items) => Kind::List(items.iter().map(|item| as_envoy_reads(item, text)).collect()),
        Kind::Object(members) => Kind::Object(
            members
                .iter()
                .map(|member| Member {
                    key: member.key.clone(),
                    key_at: member.key_at,
                    value: as_envoy_reads(&member.value, text),
                })
                .collect(),
        ),
    };
    Node { span: node.span.clone(), kind }
}

/// Parses a whole number like C's `strtoll`.
fn whole(written: &str) -> Option<i64> {
    let digits = written.strip_prefix(['+', '-']).unwrap_or(written);
    let sign = if written.starts_with('-') { "-" } else { "" };
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    // A second sign is invalid.
    let digits = Some(digits).filter(|digits| !digits.starts_with(['+', '-']))?;
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

/// A value as serde produces it.
enum Yaml {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    List(Vec<Spanned<Yaml>>),
    Object(Vec<(Spanned<String>, Spanned<Yaml>)>),
}

/// The position of a value. For an alias, the position of its anchor.
fn span_of(location: &Location) -> Range<usize> {
    let bytes = |bytes: Option<u64>| bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or_default();
    let start = bytes(location.span().byte_offset());
    start..start.saturating_add(bytes(location.span().byte_len()))
}

fn yaml_node(spanned: Spanned<Yaml>) -> Node {
    let kind = match spanned.value {
        Yaml::Null => Kind::Null,
        Yaml::Bool(flag) => Kind::Bool(flag),
        Yaml::Number(number) => Kind::Number(number),
        Yaml::String(text) => Kind::String(text),
        Yaml::List(items) => Kind::List(items.into_iter().map(yaml_node).collect()),
        Yaml::Object(members) => Kind::Object(
            members
                .into_iter()
                .map(|(key, value)| Member { key_at: span_of(&key.defined).start, key: key.value, value: yaml_node(value) })
                .collect(),
        ),
    };
    Node { span: span_of(&spanned.defined), kind }
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(YamlVisitor)
    }
}

struct YamlVisitor;

impl<'de> Visitor<'de> for YamlVisitor {
    type Value = Yaml;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Yaml, E> {
        Ok(Yaml::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Yaml, E> {
        Ok(Yaml::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Yaml, E> {
        Ok(Yaml::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Yaml, E> {
        Ok(Number::from_f64(value).map_or(Yaml::Null, Yaml::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Yaml, E> {
        Ok(Yaml::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Yaml, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Yaml::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Yaml, A::Error> {
        let mut members = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            members.push(entry);
        }
        Ok(Yaml::Object(members))
    }
}
