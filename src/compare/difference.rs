//! Where two bodies differ, as a log line tells it.

use serde::Serialize;

use crate::json::Node;

/// So many differences are told; the others are counted.
const MAX_TOLD: usize = 10;
/// The most characters of a pointer.
const MAX_POINTER: usize = 200;
/// The most characters of a value.
const MAX_VALUE: usize = 64;

/// Where two bodies differ. As JSON, a part of a log line: `"differences":[{"pointer":"/a/b","kind":"value"}],"more":3`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Differences {
    differences: Vec<Difference>,
    #[serde(skip_serializing_if = "is_zero")]
    more: usize,
}

// The signature is serde's.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where it is: a JSON pointer, cut off if it is long.
    pub pointer: String,
    /// What it is.
    pub kind: DifferenceKind,
    /// The beginning of what the primary has there, if values may be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// The same of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// What a difference is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// The primary alone has it.
    MissingInTarget,
    /// The target alone has it.
    MissingInPrimary,
    /// Values of two types, or one body that is JSON and one that is not.
    Type,
    /// Values of one type.
    Value,
    /// Bodies that are not compared as JSON.
    Bytes,
}

impl Differences {
    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.differences.is_empty()
    }

    /// The first of them.
    pub fn told(&self) -> &[Difference] {
        &self.differences
    }

    /// How many there are besides those that are told.
    pub fn more(&self) -> usize {
        self.more
    }

    /// Takes note of a difference, which is made only if it is told.
    pub(super) fn add(&mut self, difference: impl FnOnce() -> Difference) {
        if self.differences.len() < MAX_TOLD {
            self.differences.push(difference());
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// The difference of two bodies that are compared byte by byte, their values told from where they part.
    pub(super) fn of_bytes(tell_values: bool, primary: &[u8], target: &[u8]) -> Self {
        let mut differences = Self::default();
        if primary != target {
            let common = primary.iter().zip(target).take_while(|(ours, theirs)| ours == theirs).count();
            let [primary, target] = [primary, target].map(|body| {
                // A character takes four bytes at most; one more shows that there is a rest.
                let part = body.get(common..).unwrap_or_default();
                let part = part.get(..4 * (MAX_VALUE + 1)).unwrap_or(part);
                tell_values.then(|| cut(&String::from_utf8_lossy(part), MAX_VALUE))
            });
            differences.add(|| Difference { pointer: String::new(), kind: DifferenceKind::Bytes, primary, target });
        }
        differences
    }
}

/// A value as it is told: without white space between its tokens, cut off if it is long.
pub(super) fn value_text(node: Node<'_>) -> String {
    let mut text = Vec::new();
    node.write_compact(&mut text);
    cut(&String::from_utf8_lossy(&text), MAX_VALUE)
}

/// The beginning of a text; `…` stands for the rest of it.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most).and_then(|(end, _)| text.get(..end)) {
        Some(start) => format!("{start}…"),
        None => text.to_owned(),
    }
}

/// The way to a value, from the inside to the outside.
#[derive(Clone, Copy)]
pub(super) enum Path<'p> {
    Whole,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl Path<'_> {
    /// The way as a JSON pointer (RFC 6901), cut off if it is long.
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
