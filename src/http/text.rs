//! Text in HTTP: request targets, names and values.

use std::borrow::Cow;

/// Splits a request target into its path and, if there is a question mark, its query. A `#` ends both.
pub fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    let target = target.split(|byte| *byte == b'#').next().unwrap_or_default();
    let mut parts = target.splitn(2, |byte| *byte == b'?');
    (parts.next().unwrap_or_default(), parts.next())
}

/// The text of a header name or value: UTF-8, or else ISO-8859-1, in which every byte is a character (RFC 9110, 5.5).
pub fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// Decodes `N` bytes of lower-case hexadecimal digits. Returns `None` for anything else.
pub(super) fn lower_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let is_lower = !text.iter().any(u8::is_ascii_uppercase);
    (is_lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}
