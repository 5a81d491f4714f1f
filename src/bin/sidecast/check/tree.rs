//! A document as a tree of values with positions. YAML and JSON give the same tree.

use std::ops::Range;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Number;

/// A value.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The position in the text. The end is only known for scalars.
    pub(crate) span: Range<usize>,
    pub(crate) kind: Kind,
}

/// The type of a value, with its content.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    List(Vec<Node>),
    Object(Vec<Member>),
}

/// A field of an object.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) key: String,
    pub(crate) key_at: usize,
    pub(crate) value: Node,
}

impl Node {
    /// The value of a field, spelled in `snake_case`, or in `camelCase`, as protobuf's JSON also allows. If a key is repeated, the last value
    /// counts.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        self.member(name).map(|member| &member.value)
    }

    /// The field with its key, found like [`Self::get`].
    pub(crate) fn member(&self, name: &str) -> Option<&Member> {
        self.members().iter().rev().find(|member| member.key == name || member.key == camel_case(name))
    }

    /// The value at a path of fields.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, name| node.get(name))
    }

    /// The text of a field.
    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        self.get(name)?.text()
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn is_true(&self) -> bool {
        matches!(self.kind, Kind::Bool(true))
    }

    /// The entries of a list. Empty for other values.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::List(items) => items,
            _ => &[],
        }
    }

    /// The fields of an object. Empty for other values.
    pub(crate) fn members(&self) -> &[Member] {
        match &self.kind {
            Kind::Object(members) => members,
            _ => &[],
        }
    }

    /// The value as JSON.
    pub(crate) fn to_json(&self) -> String {
        // Keys are text and numbers are finite, so serialization never fails.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The JSON pointer (RFC 6901) of a node in a document. `None` if it is not in it.
pub(crate) fn pointer(document: &Node, wanted: &Node) -> Option<String> {
    if std::ptr::eq(document, wanted) {
        return Some(String::new());
    }
    let items = document.items().iter().enumerate().map(|(index, item)| (index.to_string(), item));
    let members = document.members().iter().map(|member| (member.key.replace('~', "~0").replace('/', "~1"), &member.value));
    items.chain(members).find_map(|(key, node)| Some(format!("/{key}{}", pointer(node, wanted)?)))
}

pub(super) fn camel_case(name: &str) -> String {
    let mut upper = false;
    let mut camel = String::with_capacity(name.len());
    for char in name.chars() {
        match char {
            '_' => upper = true,
            char if std::mem::take(&mut upper) => camel.push(char.to_ascii_uppercase()),
            char => camel.push(char),
        }
    }
    camel
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.kind {
            Kind::Null => serializer.serialize_unit(),
            Kind::Bool(flag) => serializer.serialize_bool(*flag),
            Kind::Number(number) => number.serialize(serializer),
            Kind::String(text) => serializer.serialize_str(text),
            Kind::List(items) => serializer.collect_seq(items),
            Kind::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for member in members {
                    map.serialize_entry(&member.key, &member.value)?;
                }
                map.end()
            }
        }
    }
}

/// Parses JSON like the filter. Returns `None` if the text is not JSON.
pub(crate) fn from_json(text: &str) -> Option<Node> {
    Some(json_node(&sidecast::json::parse(text.as_bytes()).ok()?.root()))
}

/// The parser bounds the depth of the recursion.
fn json_node(node: &sidecast::json::Node<'_>) -> Node {
    use sidecast::json::Kind as Json;
    let kind = match node.kind() {
        Json::Null => Kind::Null,
        Json::Bool(flag) => Kind::Bool(flag),
        Json::Number(written) => serde_json::from_str(written).map_or(Kind::Null, Kind::Number),
        Json::String(text) => Kind::String(text.into_owned()),
        Json::Array(items) => Kind::List(items.map(|item| json_node(&item)).collect()),
        Json::Object(members) => Kind::Object(
            members
                .map(|(key, value)| Member { key: key.text().into_owned(), key_at: key.span().start, value: json_node(&value) })
                .collect(),
        ),
    };
    Node { span: node.span(), kind }
}
