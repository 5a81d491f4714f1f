//! Values of a body as rules see them.

use super::request::Named;
use super::table::Table;
use crate::json::{Kind, Node, Pointer, Read, Unread};

/// What comes before the text of a string: values of different types never are the same bytes.
pub(super) const STRING: &str = "s";

/// The values at the places in a body that rules look at.
#[derive(Debug, Default)]
pub struct BodyValues {
    values: Vec<Named<'static>>,
}

impl BodyValues {
    /// The values at these places in the body of a request; none if it is empty.
    ///
    /// # Errors
    /// The body is no JSON, is encoded in a way that is not read here, or takes too much work.
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

    /// Adds the value at a place. Each place is given once.
    pub fn push(&mut self, pointer: &Pointer, value: Node<'_>) {
        self.values.push((pointer.to_string().into_bytes().into(), written(value).into()));
    }

    /// What a value is, for messages: a string, a number, a word, or a list or object.
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

    /// The places and the values there.
    pub(super) fn all(&self) -> &[Named<'static>] {
        &self.values
    }
}

/// Each of these places once.
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

/// A value in a form in which equal values are equal bytes. Lists and objects are all alike: rules ask only whether they are there.
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
