//! Configuration text to a JSON value. `serde_json` keeps the last of two equal keys in silence; here a repeated key is a
//! problem with a path, because the half that was lost is the half somebody meant.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::problem::{child_path, Problems};

/// Parses one JSON document, collecting repeated keys as problems.
///
/// # Errors
/// The text is no JSON; the problem tells line and column.
pub(super) fn parse(text: &[u8], problems: &mut Problems) -> Result<Value, Problems> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let seed = Node { path: String::new(), problems };
    let parsed = seed.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    parsed.map_err(|error| {
        let mut syntax = Problems::default();
        let expected = if text.iter().all(u8::is_ascii_whitespace) {
            "empty, expected a JSON object with `targets`".to_owned()
        } else {
            format!("not valid JSON: {error}")
        };
        syntax.push("", expected);
        syntax
    })
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
                self.problems.push(path.clone(), "given twice");
            }
            let value = entries.next_value_seed(Node { path, problems: &mut *self.problems })?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}
