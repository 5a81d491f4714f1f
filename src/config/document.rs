//! Converts the document that Envoy hands over to a JSON value.
//!
//! A `google.protobuf.StringValue` arrives as its text. A `google.protobuf.Struct` arrives as its serialized message, although Envoy's
//! documentation promises JSON (`MessageUtil::anyToBytes` unwraps only strings and bytes). So both forms are read.
//!
//! `serde_json` silently keeps the last of two equal keys. Here, a repeated key is a problem with a path, because the user may have meant the value
//! that was lost.

use std::fmt;

use prost::Message;
use prost_types::value::Kind;
use prost_types::Struct;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::problem::{child_path, Mistake, Problems};
use crate::json::MAX_WHOLE_DOUBLE;

/// Parses a document, and collects repeated keys as problems.
///
/// # Errors
/// Returns a problem with line and column if the text is neither JSON nor a Struct.
pub(super) fn parse(text: &[u8], problems: &mut Problems) -> Result<Value, Problems> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let seed = Node { path: String::new(), problems };
    let parsed = seed.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    parsed.or_else(|error| {
        // A Struct is never valid JSON: the lengths in it are control characters.
        if let Some(value) = Struct::decode(text).ok().filter(|fields| !fields.fields.is_empty()) {
            return Ok(object(value));
        }
        let mut syntax = Problems::default();
        let expected = if text.iter().all(u8::is_ascii_whitespace) {
            "empty, expected a JSON object with `targets`".to_owned()
        } else {
            format!("not valid JSON: {error}")
        };
        syntax.push("", expected);
        Err(syntax)
    })
}

fn object(fields: Struct) -> Value {
    Value::Object(fields.fields.into_iter().map(|(key, value)| (key, json(value))).collect())
}

fn json(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => Value::Bool(flag),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::StructValue(fields)) => object(fields),
        Some(Kind::ListValue(list)) => Value::Array(list.values.into_iter().map(json).collect()),
        // A Struct knows only doubles. Whole numbers become integers again.
        Some(Kind::NumberValue(number)) if number.fract() == 0.0 && number.abs() <= MAX_WHOLE_DOUBLE => {
            Value::Number((number as i64).into())
        }
        Some(Kind::NumberValue(number)) => Number::from_f64(number).map_or(Value::Null, Value::Number),
    }
}

struct Node<'p> {
    path: String,
    problems: &'p mut Problems,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) =
            entries.next_element_seed(Node { path: format!("{}[{}]", self.path, list.len()), problems: &mut *self.problems })?
        {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let path = child_path(&self.path, &key);
            if object.contains_key(&key) {
                self.problems.push(path.clone(), Mistake::Repeated);
            }
            let value = entries.next_value_seed(Node { path, problems: &mut *self.problems })?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}
