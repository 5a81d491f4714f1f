//! Redaction: replaces values that a target may not see.

use std::borrow::Cow;

use crate::http::work_limit::{TooMuch, Work, PLACE};
use crate::json::Pointer;
use crate::json::{Json, Kind, Node, PointerSet, Trail};

/// The replacement of a redacted value.
const REDACTED: &[u8] = br#""[redacted]""#;

/// The values to redact.
#[derive(Clone, Debug)]
pub struct Redaction {
    places: PointerSet,
    number: usize,
}

impl Redaction {
    /// Creates a redaction of the values at these pointers.
    pub fn new(pointers: impl IntoIterator<Item = Pointer>) -> Self {
        Self { places: PointerSet::new(pointers), number: 0 }
    }

    /// The number of the redaction. Equal redactions of one configuration share a number.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Numbers the redactions of a configuration.
    pub fn number_all<'r>(redactions: impl Iterator<Item = &'r mut Self>) {
        let mut known: Vec<PointerSet> = Vec::new();
        for redaction in redactions {
            redaction.number = known.iter().position(|places| *places == redaction.places).unwrap_or(known.len());
            if redaction.number == known.len() {
                known.push(redaction.places.clone());
            }
        }
    }

    /// Replaces every value that a pointer names with the string `[redacted]`, with everything in it, and all values of a repeated key. All other
    /// bytes stay the same. A body without such values is not copied.
    pub fn apply<'a>(&self, json: &Json<'a>) -> Cow<'a, [u8]> {
        let body = json.body();
        match self.copy(body, json.root(), &Work::unbounded()) {
            Ok(copy) if !copy.is_empty() => Cow::Owned(copy),
            _ => Cow::Borrowed(body),
        }
    }

    /// Redacts a text whose value is `root`.
    ///
    /// # Errors
    /// Returns an error if it takes too much work.
    pub fn write(&self, text: &str, root: Node<'_>, work: &Work) -> Result<String, TooMuch> {
        let copy = self.copy(text.as_bytes(), root, work)?;
        if copy.is_empty() {
            work.spend(text.len())?;
            return Ok(text.to_owned());
        }
        // Whole values were replaced in valid text, so the result is valid text.
        Ok(String::from_utf8(copy).unwrap_or_default())
    }

    /// Copies the body with the values replaced. Returns an empty vector if there are none.
    fn copy(&self, body: &[u8], root: Node<'_>, work: &Work) -> Result<Vec<u8>, TooMuch> {
        let mut copy = Copy { body, copied: 0, out: Vec::new(), work };
        copy.node(root, &mut self.places.trail());
        if !copy.out.is_empty() {
            copy.up_to(body.len());
        }
        work.spend(0)?;
        Ok(copy.out)
    }
}

/// The state of a copy.
struct Copy<'a> {
    body: &'a [u8],
    /// How many bytes of the body are handled.
    copied: usize,
    out: Vec<u8>,
    work: &'a Work,
}

impl Copy<'_> {
    /// Recurses no deeper than parsed JSON may be nested.
    fn node(&mut self, node: Node<'_>, trail: &mut Trail<'_>) {
        if self.work.spend(PLACE.saturating_mul(trail.width())).is_err() {
            return;
        }
        if trail.is_named() {
            let span = node.span();
            self.up_to(span.start);
            if self.work.spend(REDACTED.len()).is_ok() {
                self.out.extend_from_slice(REDACTED);
            }
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
                    // Reading the key decodes its escapes.
                    if self.work.spend(key.written().len()).is_err() {
                        return;
                    }
                    trail.enter_key(&key.text());
                    self.node(value, trail);
                    trail.leave();
                }
            }
            _ => {}
        }
    }

    fn up_to(&mut self, end: usize) {
        let before = self.body.get(self.copied..end).unwrap_or_default();
        if self.work.spend(before.len()).is_ok() {
            self.out.extend_from_slice(before);
        }
        self.copied = end;
    }
}

#[cfg(test)]
mod tests;
