//! Properties: how paths and values look to the filter.

/// A value as Envoy serializes it: text as its bytes, numbers as eight bytes and booleans as one, in the machine's order.
pub(crate) struct PropertyValue(pub(super) Vec<u8>);

impl From<&str> for PropertyValue {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<i64> for PropertyValue {
    fn from(number: i64) -> Self {
        Self(number.to_le_bytes().into())
    }
}

impl From<bool> for PropertyValue {
    fn from(truth: bool) -> Self {
        Self(vec![truth.into()])
    }
}

/// A path as a filter writes it: its segments, with NULs between them. Dots mean nothing, since a segment may contain them.
pub(super) fn path(segments: &[&str]) -> Vec<u8> {
    segments.join("\0").into_bytes()
}
