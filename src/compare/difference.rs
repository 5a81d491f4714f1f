//! The differences between two bodies, in the form of a log line.

use serde::Serialize;

use crate::json::Node;

/// The most differences that are listed. Others are only counted.
const MAX_TOLD: usize = 10;
/// The most characters of a pointer.
const MAX_POINTER: usize = 200;
/// The most characters of a value.
const MAX_VALUE: usize = 64;

/// The differences between two bodies. As JSON, a part of a log line: `"differences":[{"pointer":"/a/b","kind":"value"}],"more":3`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Differences {
    differences: Vec<Difference>,
    #[serde(skip_serializing_if = "is_zero")]
    more: usize,
}

// Serde requires this signature.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The JSON pointer to it, shortened if it is long.
    pub pointer: String,
    /// The kind of difference.
    pub kind: DifferenceKind,
    /// The beginning of the primary's value, if values may be logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// The beginning of the target's value, if values may be logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// The kind of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// Only the primary has the value.
    MissingInTarget,
    /// Only the target has the value.
    MissingInPrimary,
    /// The values have different types, or only one body is JSON.
    Type,
    /// The values have the same type, but differ.
    Value,
    /// The bodies differ as bytes. They are not compared as JSON.
    Bytes,
}

impl Differences {
    /// True if there are no differences.
    pub fn is_empty(&self) -> bool {
        self.differences.is_empty()
    }

    /// The listed differences.
    pub fn told(&self) -> &[Difference] {
        &self.differences
    }

    /// The number of differences that are not listed.
    pub fn more(&self) -> usize {
        self.more
    }

    /// Adds a difference. `difference` is called only if it is listed.
    pub(super) fn add(&mut self, difference: impl FnOnce() -> Difference) {
        if self.differences.len() < MAX_TOLD {
            self.differences.push(difference());
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// Compares two bodies byte by byte. The listed values begin at the first differing byte.
    pub(super) fn of_bytes(tell_values: bool, primary: &[u8], target: &[u8]) -> Self {
        let mut differences = Self::default();
        if primary != target {
            let common = primary.iter().zip(target).take_while(|(ours, theirs)| ours == theirs).count();
            let [primary, target] = [primary, target].map(|body| {
                // A character takes at most four bytes; one more character shows that the value goes on.
                let part = body.get(common..).unwrap_or_default();
                let part = part.get(..4 * (MAX_VALUE + 1)).unwrap_or(part);
                tell_values.then(|| cut(&String::from_utf8_lossy(part), MAX_VALUE))
            });
            differences.add(|| Difference { pointer: String::new(), kind: DifferenceKind::Bytes, primary, target });
        }
        differences
    }
}

/// A value as it is logged: without white space between its tokens, shortened if it is long.
pub(super) fn value_text(node: Node<'_>) -> String {
    let mut text = Vec::new();
    node.write_compact(&mut text);
    cut(&String::from_utf8_lossy(&text), MAX_VALUE)
}

/// The beginning of a text. `…` stands for the rest.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most).and_then(|(end, _)| text.get(..end)) {
        Some(start) => format!("{start}…"),
        None => text.to_owned(),
    }
}

/// The path to a value, from the inside to the outside.
#[derive(Clone, Copy)]
pub(super) enum Path<'p> {
    Whole,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl Path<'_> {
    /// The path as a JSON pointer (RFC 6901), shortened if it is long.
    pub(super) fn pointer(&self) -> String {
        let mut segments = Vec::new();
        let mut place = self;
        loop {
            place = match place {
                Path::Whole => break,
                Path::Key(outer, key) => {
                    segments.push(key.replace('~', "~0").replace('/', "~1"));
                    outer
                }
                Path::Index(outer, index) => {
                    segments.push(index.to_string());
                    outer
                }
            };
        }
        let pointer: String = segments.iter().rev().flat_map(|segment| ["/", segment]).collect();
        cut(&pointer, MAX_POINTER)
    }
}
