//! Values that no target may see are taken out of a body.

use std::borrow::Cow;

use crate::http::work::{TooMuch, Work, PLACE};
use crate::json::Pointer;
use crate::json::{Json, Kind, Node, PointerSet, Trail};

/// What stands in the place of a value that was taken out.
const REDACTED: &[u8] = br#""[redacted]""#;

/// Which values are taken out.
#[derive(Clone, Debug)]
pub struct Redaction {
    places: PointerSet,
    number: usize,
}

impl Redaction {
    /// Takes out the values at these pointers.
    pub fn new(pointers: impl IntoIterator<Item = Pointer>) -> Self {
        Self { places: PointerSet::new(pointers), number: 0 }
    }

    /// Its number: redactions of one configuration that take out the same have the same.
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

    /// The body that was parsed, with the string `[redacted]` for every value that a pointer names, whatever is in it, and for
    /// all values of a repeated key. Every other byte is as it was; a body without such values is not copied.
    pub fn apply<'a>(&self, json: &Json<'a>) -> Cow<'a, [u8]> {
        let body = json.body();
        match self.copy(body, json.root(), &Work::unbounded()) {
            Ok(copy) if !copy.is_empty() => Cow::Owned(copy),
            _ => Cow::Borrowed(body),
        }
    }

    /// The same for a text whose value is `root`.
    ///
    /// # Errors
    /// It takes too much work.
    pub fn write(&self, text: &str, root: Node<'_>, work: &Work) -> Result<String, TooMuch> {
        let copy = self.copy(text.as_bytes(), root, work)?;
        if copy.is_empty() {
            work.spend(text.len())?;
            return Ok(text.to_owned());
        }
        // Whole values of text were replaced by text.
        Ok(String::from_utf8(copy).unwrap_or_default())
    }

    /// A copy without those values; nothing if there are none.
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

/// A copy in the making.
struct Copy<'a> {
    body: &'a [u8],
    /// How much of the body is dealt with.
    copied: usize,
    out: Vec<u8>,
    work: &'a Work,
}

impl Copy<'_> {
    /// Recurses as deep as JSON that was parsed may be nested.
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
                    // Escapes are decoded.
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
