//! The values of a body that rules look at.

use super::request::Named;
use super::table::Table;
use crate::json::{Kind, Node, Pointer, Read, Unread};

/// The prefix of an encoded string. It keeps values of different types from having the same bytes.
pub(super) const STRING: &str = "s";

/// The values at the pointers that rules look at.
#[derive(Debug, Default)]
pub struct BodyValues {
    values: Vec<Named<'static>>,
}

impl BodyValues {
    /// Reads the values at these pointers in a request body. Returns no values if the body is empty.
    ///
    /// # Errors
    /// Returns an error if the body is not JSON, has a content coding that is not supported, or takes too much work.
    pub fn read(pointers: &[Pointer], body: Option<Read<'_>>) -> Result<Self, Unread> {
        let mut values = Self::default();
        let Some(body) = body else {
            return Ok(values);
        };
        body.root()?;
        for pointer in pointers {
            if let Some(value) = body.at(pointer)? {
                values.push(pointer, value);
            }
        }
        Ok(values)
    }

    /// Adds the value at a pointer. Each pointer is given once.
    pub fn push(&mut self, pointer: &Pointer, value: Node<'_>) {
        self.values.push((pointer.to_string().into_bytes().into(), written(value).into()));
    }

    /// Describes the value at a pointer, for messages.
    pub fn get(&self, pointer: &str) -> Option<String> {
        let (_, value) = self.values.iter().find(|(other, _)| **other == *pointer.as_bytes())?;
        let text = String::from_utf8_lossy(value);
        Some(match (text.split_at_checked(1)?, text.as_ref()) {
            (("s", text), _) => format!("the string {text:?}"),
            (("n", _), _) => "another number".to_owned(),
            (_, "t") => "true".to_owned(),
            (_, "f") => "false".to_owned(),
            (_, "z") => "null".to_owned(),
            _ => "a list or an object".to_owned(),
        })
    }

    /// All pointers and their values.
    pub(super) fn all(&self) -> &[Named<'static>] {
        &self.values
    }
}

/// Returns the pointers without repetitions.
pub fn each_once<'p>(pointers: impl Iterator<Item = &'p Pointer>) -> Vec<Pointer> {
    let mut seen = Table::new();
    let mut once = Vec::new();
    for pointer in pointers {
        let count = seen.len();
        seen.get_or_insert(pointer.to_string().as_bytes(), ());
        if seen.len() > count {
            once.push(pointer.clone());
        }
    }
    once
}

/// Encodes a value so that equal values are equal bytes. All lists and objects have the same encoding: rules only ask whether they are present.
fn written(value: Node<'_>) -> Vec<u8> {
    match value.kind() {
        Kind::Null => b"z".to_vec(),
        Kind::Bool(flag) => of_flag(flag).into(),
        Kind::Number(number) => of_number(number).into(),
        Kind::String(text) => of_text(&text).into(),
        Kind::Array(_) | Kind::Object(_) => b"c".to_vec(),
    }
}

pub(super) fn of_text(text: &str) -> String {
    format!("{STRING}{text}")
}

pub(super) fn of_number(number: &str) -> String {
    format!("n{}", crate::json::canonical(number))
}

pub(super) fn of_flag(flag: bool) -> String {
    if flag { "t" } else { "f" }.to_owned()
}

pub(super) fn of_null() -> String {
    "z".to_owned()
}
