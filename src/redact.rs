//! Values that no target may see are taken out of a body.

use std::borrow::Cow;

use crate::config::names::Pointer;
use crate::json::{Json, Kind, Node, Places, Trail};

/// What stands in the place of a value that was taken out.
const REDACTED: &[u8] = br#""[redacted]""#;

/// Which values are taken out.
#[derive(Clone, Debug)]
pub struct Redaction {
    places: Places,
}

impl Redaction {
    /// Takes out the values at these pointers.
    pub fn new(pointers: impl IntoIterator<Item = Pointer>) -> Self {
        Self { places: Places::new(pointers) }
    }

    /// The body that was parsed, with the string `[redacted]` for every value that a pointer names, whatever is in it, and for
    /// all values of a repeated key. Every other byte is as it was; a body without such values is not copied.
    pub fn apply<'a>(&self, json: &Json<'a>) -> Cow<'a, [u8]> {
        let body = json.body();
        let mut copy = Copy { body, copied: 0, out: Vec::new() };
        copy.node(json.root(), &mut self.places.trail());
        if copy.out.is_empty() {
            return Cow::Borrowed(body);
        }
        copy.up_to(body.len());
        Cow::Owned(copy.out)
    }
}

/// A copy in the making.
struct Copy<'a> {
    body: &'a [u8],
    /// How much of the body is dealt with.
    copied: usize,
    out: Vec<u8>,
}

impl Copy<'_> {
    /// Recurses as deep as JSON that was parsed may be nested.
    fn node(&mut self, node: Node<'_>, trail: &mut Trail<'_>) {
        if trail.is_named() {
            let span = node.span();
            self.up_to(span.start);
            self.out.extend_from_slice(REDACTED);
            self.copied = span.end;
            return;
        }
        if !trail.leads_on() {
            return;
        }
        match node.kind() {
            Kind::Array(items) => {
                for (index, item) in items.enumerate() {
                    trail.enter_index(index);
                    self.node(item, trail);
                    trail.leave();
                }
            }
            Kind::Object(members) => {
                for (key, value) in members {
                    trail.enter_key(&key.text());
                    self.node(value, trail);
                    trail.leave();
                }
            }
            _ => {}
        }
    }

    fn up_to(&mut self, end: usize) {
        self.out.extend_from_slice(self.body.get(self.copied..end).unwrap_or_default());
        self.copied = end;
    }
}

#[cfg(test)]
mod tests;
