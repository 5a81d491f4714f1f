//! Rendering of paths: what stays literal, what is a value, and what must not be sent.

use std::borrow::Cow;

use percent_encoding::{percent_decode, percent_encode, percent_encode_byte, AsciiSet, NON_ALPHANUMERIC};

use super::{Expression, Part, Place, Secret, Template, Values, REDACTED};

/// A path that may lead elsewhere than its text says: it has a segment `.` or `..`, or does not begin with a slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsafePath;

/// The characters to encode in `${path}` inside of a query: all but the unreserved characters and the slash.
const OF_PATH_IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// How often the search for dot segments decodes a path. More than one decoding is for servers that decode more often than they should.
const DECODINGS: usize = 3;

impl Template {
    /// Renders the path and query of a path template. Values are encoded ([`Place::Path`]). Only `${path}` in the path and `${query}` in the query
    /// stay unchanged. `${path}` in the query keeps its slashes. If `${query}` is empty, one separator before or behind it is removed:
    /// `/a?${query}` becomes `/a`.
    ///
    /// # Errors
    /// Returns an error if the path may lead elsewhere than its text says.
    pub fn path(&self, values: &Values<'_>) -> Result<Vec<u8>, UnsafePath> {
        if let [Part::Literal(text)] = self.parts.as_slice() {
            // The configuration has checked a literal path.
            return Ok(text.clone().into_bytes());
        }
        let mut path = Vec::new();
        let mut parts = self.parts.iter().peekable();
        let mut in_query = false;
        let mut skips_separator = false;
        while let Some(part) = parts.next() {
            let skips = std::mem::take(&mut skips_separator);
            match part {
                Part::Literal(text) => {
                    let text = text.strip_prefix('&').filter(|_| skips).unwrap_or(text);
                    in_query |= text.contains('?');
                    path.extend_from_slice(text.as_bytes());
                }
                Part::Variable(Secret(value)) if values.shows_variables() => push(&mut path, value),
                Part::Variable(_) => push(&mut path, REDACTED),
                Part::Expression(Expression::Path) if !in_query => push_as_it_came(&mut path, values.path()),
                Part::Expression(Expression::Path) => {
                    percent_encode(values.path(), OF_PATH_IN_QUERY).for_each(|piece| path.extend_from_slice(piece.as_bytes()));
                }
                Part::Expression(Expression::WholeQuery) if in_query => {
                    let query = values.query().unwrap_or_default();
                    push_as_it_came(&mut path, query);
                    if query.is_empty() {
                        skips_separator = matches!(parts.peek(), Some(Part::Literal(next)) if next.starts_with('&'));
                        if !skips_separator {
                            path.pop_if(|last| matches!(last, b'?' | b'&'));
                        }
                    }
                }
                Part::Expression(expression) => push(&mut path, &values.get(expression).into_text()),
            }
        }
        check_path(&path).map(|()| path)
    }
}

fn push(path: &mut Vec<u8>, value: &str) {
    let mut text = String::new();
    Place::Path.put(&mut text, value);
    path.extend_from_slice(text.as_bytes());
}

/// Adds an unchanged value. Only spaces and control characters are encoded, because they would end an HTTP/1 request line.
fn push_as_it_came(path: &mut Vec<u8>, value: &[u8]) {
    for byte in value {
        if *byte <= b' ' || *byte == 0x7f {
            path.extend_from_slice(percent_encode_byte(*byte).as_bytes());
        } else {
            path.push(*byte);
        }
    }
}

/// Checks for segments that a server may take for the current or the parent directory, in any spelling: with slashes or backslashes, encoded or
/// not, with parameters behind a semicolon, with spaces around them.
///
/// # Errors
/// Returns an error if there is such a segment, or if the path does not begin with a slash.
pub fn check_path(path: &[u8]) -> Result<(), UnsafePath> {
    if !path.starts_with(b"/") {
        return Err(UnsafePath);
    }
    let mut path: Cow<'_, [u8]> = path.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default().into();
    for decoding in 0..=DECODINGS {
        if path.split(|byte| matches!(byte, b'/' | b'\\')).any(is_dots) {
            return Err(UnsafePath);
        }
        if decoding == DECODINGS || !path.contains(&b'%') {
            break;
        }
        path = percent_decode(&path).collect::<Vec<u8>>().into();
    }
    Ok(())
}

fn is_dots(segment: &[u8]) -> bool {
    let segment = segment.split(|byte| *byte == b';').next().unwrap_or_default();
    let is_blank = |byte: &u8| *byte <= b' ' || *byte == 0x7f;
    let start = segment.iter().position(|byte| !is_blank(byte)).unwrap_or(segment.len());
    let end = segment.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last.saturating_add(1));
    matches!(segment.get(start..end), Some(b"." | b".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_of_dots_are_found_however_they_are_written() {
        for path in [
            "/.",
            "/..",
            "/a/./b",
            "/a/../b",
            "/a/..",
            "/a/..?x",
            "/a/..#x",
            "/a/%2e%2E/b",
            "/a/.%2e",
            "/a/%252e%252e",
            "/a/%25252e/b",
            "/a\\..\\b",
            "/a/..%2Fb",
            "/a%2f..%2fb",
            "/a/..%5cb",
            "/a%5C..",
            "/a/..;v=1/b",
            "/a/..%3Bv",
            "/a/..%20/b",
            "/a/%00../b",
            "//..",
        ] {
            assert_eq!(check_path(path.as_bytes()), Err(UnsafePath), "{path}");
        }
    }

    #[test]
    fn other_segments_are_not() {
        for path in
            ["/", "//", "/a", "/...", "/a..b/..c/d..", "/.well-known/x", "/a?x=/../", "/a?..", "/%2525252e", "/a;..", "/%", "/%2"]
        {
            assert_eq!(check_path(path.as_bytes()), Ok(()), "{path}");
        }
    }

    #[test]
    fn a_path_begins_with_a_slash() {
        for path in ["", "a", "?a", "*", "%2Fa", "\\a"] {
            assert_eq!(check_path(path.as_bytes()), Err(UnsafePath), "{path}");
        }
    }
}
