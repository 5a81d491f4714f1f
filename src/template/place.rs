//! The places of values in text, and what a value must not contain there.

use percent_encoding::{utf8_percent_encode, AsciiSet, NON_ALPHANUMERIC};

/// All but the unreserved characters (RFC 3986, 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The place of a value in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Plain text. Values stay unchanged.
    Text,
    /// A path or its query. All but the unreserved characters are percent-encoded (RFC 3986, 2.3), so that a value is one segment, or one name or
    /// value of a query. A value that is already percent-encoded is encoded again: a server that decodes it once gets the value. Encoding would not
    /// change the meaning of dots (RFC 3986, 6.2.2.2). The whole path is therefore checked for dot segments.
    Path,
    /// A header value. Control characters except for the tab are removed: CR, LF and NUL would end the value, and the others are not allowed (RFC
    /// 9110, 5.5).
    Header,
    /// An authority. Characters that may not appear in a host and port are removed.
    Authority,
}

impl Place {
    /// The work of making a value fit, in addition to writing it.
    pub(super) fn cost(self, value: &str) -> usize {
        value.len().saturating_mul(match self {
            Self::Text => 0,
            Self::Path => 8,
            Self::Header | Self::Authority => 4,
        })
    }

    /// Appends a value to a text.
    pub(super) fn put(self, text: &mut String, value: &str) {
        match self {
            Self::Text => text.push_str(value),
            Self::Path => text.extend(utf8_percent_encode(value, RESERVED)),
            Self::Header => text.extend(value.chars().filter(|char| fits_header(*char))),
            Self::Authority => text.extend(value.chars().filter(|char| fits_authority(*char))),
        }
    }
}

fn fits_header(char: char) -> bool {
    !char.is_ascii_control() || char == '\t'
}

/// True for the characters of a host and port (RFC 3986, 3.2.2). Excludes those for user names.
pub fn fits_authority(char: char) -> bool {
    char.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:[]%".contains(char)
}
